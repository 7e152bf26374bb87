package kest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/telemetry"
)

// TestTC07DenyingMock (F-PE-07): the body does not run, nothing joins the lineage, and the refusal is on record.
func TestTC07DenyingMock(t *testing.T) {
	r := newRig(t, func(c *kest.Config) { c.Engine = policytest.Deny() })
	ran := 0
	f := kest.MustVerified(r.Guard, func(context.Context, order) (string, error) { ran++; return "x", nil },
		kest.Operation("test.op"), kest.Policy("kest/allow_trusted"))
	ctx, session := kest.StartSession(context.Background())
	out, err := f(ctx, order{})
	denied := wantDenied(t, err)
	if ran != 0 || out != "" || session.Passport().Len() != 0 {
		t.Errorf("body ran %d times, result %q, session has %d entries", ran, out, session.Passport().Len())
	}
	if denied.Operation != "test.op" || denied.Policy != "kest/allow_trusted" || denied.Tier != policy.Function ||
		denied.Err != nil || !strings.Contains(denied.Reason, "denies everything") || denied.EntryID == "" {
		t.Errorf("%+v", denied)
	}
	record, err := r.verifier.VerifyDenial(ctx, denied.Record)
	if err != nil || record.Policy != denied.Policy || record.Tier != "function" || record.Reason != denied.Reason ||
		record.Entry.ID != denied.EntryID || record.Entry.Operation != "test.op" {
		t.Errorf("record %+v, %v", record, err)
	}
	if kept := r.sink.last(t, telemetry.Denial); kept.JWS != denied.Record || kept.EntryID != denied.EntryID ||
		kept.Hash != (lineage.Hash{}) || kept.Principal != payments || kept.Operation != "test.op" || kept.TraceID == "" {
		t.Errorf("kept %+v", kept)
	}
}

// TestTC08AllowAndDeny (F-PE-04): every policy must allow; the order does not matter.
func TestTC08AllowAndDeny(t *testing.T) {
	for _, names := range [][]string{{"a/allow", "a/deny"}, {"a/deny", "a/allow"}, {"a/allow", "a/deny", "a/allow2"}} {
		r := newRig(t, func(c *kest.Config) { c.Engine = allowOnly("a/allow", "a/allow2") })
		if denied := wantDenied(t, r.call(t.Context(), kest.Policy(names...), kest.Operation("x"))); denied.Policy == "a/allow" {
			t.Errorf("%q: denied by %s", names, denied.Policy)
		}
	}
	r := newRig(t, func(c *kest.Config) { c.Engine = allowOnly("kest/allow_trusted", "a/allow") })
	if err := r.call(t.Context(), kest.Policy("a/allow")); err != nil {
		t.Error(err)
	}
}

// TestLifecycleOrder (F-PE-01, F-PE-10): policies by tier, signature, sink, body, receipt.
func TestLifecycleOrder(t *testing.T) {
	var r *rig
	r = newRig(t, func(c *kest.Config) {
		c.Engine = policytest.Func(func(_ context.Context, name string, in *policy.Input) (policy.Decision, error) {
			r.steps.add("policy " + string(in.Environment.PolicyTier) + " " + name)
			return policy.Decision{Allow: true}, nil
		})
		c.Identity = signing(t, func(ctx context.Context, m []byte, next lineage.Signer) ([]byte, error) {
			r.steps.add("sign")
			return next.Sign(ctx, m)
		})
		c.Enterprise, c.Platform, c.Application = []string{"e/1", "e/2"}, []string{"p/1"}, []string{"a/1"}
	})
	f := kest.MustVerified(r.Guard, func(ctx context.Context, _ order) (string, error) {
		r.steps.add("body")
		if e := kest.CurrentEntry(ctx); e == nil || kest.CurrentPassport(ctx).Last() != e {
			t.Error("the body does not see its own entry")
		}
		return "", nil
	}, kest.Operation("x"), kest.Policy("f/1", "f/2"), kest.UserFrom(func(context.Context, order) (string, error) {
		r.steps.add("resolve")
		return "u", nil
	}))
	if _, err := f(t.Context(), order{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"resolve", "policy enterprise e/1", "policy enterprise e/2", "policy platform p/1",
		"policy application a/1", "policy function f/1", "policy function f/2", "sign", "sink entry", "body", "sign", "sink receipt"}
	if !slices.Equal(r.steps.events, want) {
		t.Errorf("order\n got %q\nwant %q", r.steps.events, want)
	}
}

var errCause = errors.New("the cause")

func fails[T any](context.Context, order) (T, error) { var none T; return none, errCause }

// TestStepFailures (F-PE-10, F-ID-02, F-ID-05): whatever fails before the body stops the call with the step and the cause.
func TestStepFailures(t *testing.T) {
	sign := func(out []byte, err error) func(*testing.T, *kest.Config) {
		return func(t *testing.T, c *kest.Config) {
			c.Identity = signing(t, func(context.Context, []byte, lineage.Signer) ([]byte, error) { return out, err })
		}
	}
	tests := []struct {
		name   string
		step   kest.Step
		cause  error
		config func(*testing.T, *kest.Config)
		option kest.Option
		text   string
	}{
		{"no credential", kest.StepExtract, errCause, func(_ *testing.T, c *kest.Config) { c.Identity = identitytest.Failing(errCause) }, nil, "identity"},
		{"neither credential nor error", kest.StepExtract, nil, func(_ *testing.T, c *kest.Config) {
			c.Identity = provider{func(context.Context) (lineage.Signer, error) { return nil, nil }}
		}, nil, "neither a signer nor an error"},
		{"user", kest.StepResolve, errCause, nil, kest.UserFrom(fails[string]), "user"},
		{"agent", kest.StepResolve, errCause, nil, kest.AgentFrom(fails[string]), "agent"},
		{"task", kest.StepResolve, errCause, nil, kest.TaskFrom(fails[string]), "task"},
		{"resource", kest.StepResolve, errCause, nil, kest.ResourceFrom(fails[string]), "resource"},
		{"resource attributes", kest.StepResolve, errCause, nil, kest.ResourceAttributesFrom(fails[map[string]any]), "resource attributes"},
		{"attributes", kest.StepResolve, errCause, nil, kest.AttributesFrom(fails[map[string]any]), "attributes"},
		{"digest", kest.StepInput, errCause, nil, kest.InputDigestFrom(fails[string]), ""},
		{"digest of another form", kest.StepInput, nil, nil, kest.InputDigestFrom(func(context.Context, order) (string, error) {
			return strings.Repeat("A", 64), nil
		}), "lower-case hex"},
		{"empty digest", kest.StepInput, nil, nil, kest.InputDigestFrom(func(context.Context, order) (string, error) { return "", nil }), "InputDigestFrom"},
		{"evaluator", kest.StepBuild, nil, nil, kest.WithTrust(constantTrust(101)), "outside 0…100"},
		{"evaluator, negative", kest.StepBuild, nil, nil, kest.WithTrust(constantTrust(-1)), "outside 0…100"},
		{"user that is no text", kest.StepBuild, nil, nil, kest.User("a\xff"), "identity"},
		{"signer", kest.StepSign, errCause, sign(nil, errCause), nil, "sign entry"},
		{"signer without signature", kest.StepSign, nil, sign(nil, nil), nil, "0 bytes"},
		{"short signature", kest.StepSign, nil, sign(make([]byte, 63), nil), nil, "63 bytes"},
		{"long signature", kest.StepSign, nil, sign(make([]byte, 65), nil), nil, "65 bytes"},
		{"signature and error", kest.StepSign, errCause, sign(make([]byte, 64), errCause), nil, ""},
		{"entry too large", kest.StepSign, lineage.ErrLimit, nil, kest.Label("x", strings.Repeat("x", 8<<10+1)), "limit"},
		{"too many taints", kest.StepSign, lineage.ErrLimit, nil, kest.AddTaints(manyTaints(257)...), "taints"},
		{"sink", kest.StepRecord, errCause, func(_ *testing.T, c *kest.Config) {
			c.Sink.(*sink).fail = map[telemetry.Kind]error{telemetry.Entry: errCause}
		}, nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, func(c *kest.Config) {
				if test.config != nil {
					test.config(t, c)
				}
			})
			options := []kest.Option{kest.Operation("test.op"), kest.Policy("kest/allow_trusted")}
			if test.option != nil {
				options = append(options, test.option)
			}
			ran := false
			f := kest.MustVerified(r.Guard, func(context.Context, order) (string, error) { ran = true; return "x", nil }, options...)
			ctx, session := kest.StartSession(t.Context())
			out, err := f(ctx, order{})
			stopped := wantStopped(t, err, test.step)
			if ran || out != "" || session.Passport().Len() != 0 {
				t.Errorf("body ran: %t, result %q, %d entries", ran, out, session.Passport().Len())
			}
			if test.cause != nil && !errors.Is(err, test.cause) {
				t.Errorf("%v does not match its cause", err)
			}
			if stopped.Operation != "test.op" || !strings.Contains(err.Error(), test.text) ||
				!strings.HasPrefix(err.Error(), "kest: test.op: "+string(test.step)+": ") {
				t.Errorf("error %q, want %q in it", err, test.text)
			}
			if s := r.spans.last(t); s.status.String() != "Error" {
				t.Errorf("span status %v", s.status)
			}
			if before := test.step == kest.StepSign || test.step == kest.StepRecord; (r.engine.Count() > 0) != before {
				t.Errorf("the engine was asked %d times", r.engine.Count())
			}
			// The next call of the session is not affected.
			if err := r.call(ctx, kest.WithProvider(identitytest.New(payments))); err != nil && test.step != kest.StepRecord {
				t.Error(err)
			}
		})
	}
}

type constantTrust int

func (c constantTrust) Trust(int, []int) int { return int(c) }

func manyTaints(n int) (taints []string) {
	for i := range n {
		taints = append(taints, fmt.Sprintf("t%d", i))
	}
	return taints
}

// TestResolverErrorOfAnotherCall: the error is that of the outer call, whatever a resolver returns.
func TestResolverErrorOfAnotherCall(t *testing.T) {
	r := newRig(t)
	inner := kest.MustVerified(r.Guard, ship, kest.Policy("a/b"), kest.WithEngine(policytest.Deny()), kest.Operation("inner"))
	err := r.call(t.Context(), kest.Operation("outer"), kest.UserFrom(inner))
	stopped, ok := err.(*kest.CallError)
	if !ok || stopped.Operation != "outer" || stopped.Step != kest.StepResolve || !errors.Is(err, kest.ErrDenied) {
		t.Errorf("%T %v", err, err)
	}
}

// TestIndecision (F-PE-05, F-PE-08): whatever is not a definite allow denies, and the error says why.
func TestIndecision(t *testing.T) {
	allow := policy.Decision{Allow: true}
	for name, test := range map[string]struct {
		decision policy.Decision
		err      error
	}{
		"unavailable": {policy.Decision{}, policy.ErrUnavailable}, "unknown": {policy.Decision{}, policy.ErrUnknownPolicy},
		"indefinite": {policy.Decision{}, policy.ErrIndefinite}, "error with allow": {allow, errCause},
		"its own deadline": {allow, context.DeadlineExceeded}, "its own cancel": {policy.Decision{}, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *kest.Config) {
				c.Engine = policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) {
					return test.decision, test.err
				})
			})
			err := r.call(t.Context())
			denied := wantDenied(t, err)
			if !errors.Is(err, test.err) || denied.Err == nil || !strings.Contains(err.Error(), test.err.Error()) ||
				!strings.Contains(err.Error(), "could not decide") {
				t.Errorf("%v", err)
			}
			if _, err := r.verifier.VerifyDenial(t.Context(), denied.Record); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPolicyTimeout (F-PE-08, SPEC §7): the default is 1 s for each policy; an allow after it does not count.
func TestPolicyTimeout(t *testing.T) {
	for _, late := range []bool{false, true} {
		for _, timeout := range []time.Duration{0, 3 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *kest.Config) {
					c.PolicyTimeout = timeout
					c.Engine = policytest.Func(func(ctx context.Context, _ string, _ *policy.Input) (policy.Decision, error) {
						<-ctx.Done()
						if late {
							return policy.Decision{Allow: true}, nil
						}
						return policy.Decision{}, ctx.Err()
					})
				})
				start, want := time.Now(), max(timeout, time.Second)
				if timeout != 0 {
					want = timeout
				}
				err := r.call(context.Background())
				if denied := wantDenied(t, err); denied.Err == nil || denied.Record == "" {
					t.Errorf("%+v", denied)
				}
				if late && !errors.Is(err, policy.ErrUnavailable) || !late && !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "\n") {
					t.Errorf("late %t: %q", late, err)
				}
				if took := time.Since(start); took != want {
					t.Errorf("took %v, want %v", took, want)
				}
			})
		}
	}
}

// TestCancelledContext (SPEC §1): the context's error, not a denial, whenever before the body it ends.
func TestCancelledContext(t *testing.T) {
	for _, where := range []string{"before", "policy", "policy allows", "sign", "record"} {
		for _, deadline := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				want, ctx, stop := context.Canceled, t.Context(), context.CancelFunc(nil)
				ctx, stop = context.WithCancel(ctx)
				if deadline {
					want = context.DeadlineExceeded
					ctx, stop = context.WithTimeout(t.Context(), time.Millisecond)
				}
				defer stop()
				end := func() {
					if deadline {
						time.Sleep(2 * time.Millisecond)
					} else {
						stop()
					}
				}
				r := newRig(t, func(c *kest.Config) {
					c.Engine = policytest.Func(func(ctx context.Context, _ string, _ *policy.Input) (policy.Decision, error) {
						if strings.HasPrefix(where, "policy") {
							end()
						}
						return policy.Decision{Allow: where != "policy"}, nil
					})
					c.Identity = signing(t, func(ctx context.Context, m []byte, next lineage.Signer) ([]byte, error) {
						if where == "sign" {
							end()
						}
						return next.Sign(ctx, m)
					})
					if where == "record" {
						c.Sink = sinkFunc(end)
					}
				})
				if where == "before" {
					end()
				}
				ran := false
				f := kest.MustVerified(r.Guard, func(context.Context, order) (string, error) { ran = true; return "", nil },
					kest.Operation("x"), kest.Policy("a/b"))
				_, err := f(ctx, order{})
				if _, ok := err.(*kest.CallError); !ok || ran || !errors.Is(err, want) || errors.Is(err, kest.ErrDenied) {
					t.Errorf("%s, deadline %t: ran %t, error %T %v", where, deadline, ran, err, err)
				}
				if stopped, _ := err.(*kest.CallError); where == "before" && stopped.Step != kest.StepExtract {
					t.Errorf("stopped at %s", stopped.Step)
				}
				if logged := strings.Contains(r.log.String(), "denied"); logged != (where == "policy") { // which refused
					t.Errorf("%s: denial logged: %t: %s", where, logged, r.log.String())
				}
			})
		}
	}
}

type sinkFunc func()

func (f sinkFunc) Record(context.Context, telemetry.Record) error { f(); return nil }

type bodyError struct{ detail string }

func (e *bodyError) Error() string { return e.detail }

// TestBodyError: returned unchanged, recorded as error with its type and without its text.
func TestBodyError(t *testing.T) {
	r := newRig(t)
	want := &bodyError{"card 4111-1111 refused"}
	f := kest.MustVerified(r.Guard, func(context.Context, order) (string, error) { return "partial", want },
		kest.Operation("x"), kest.Policy("a/b"))
	ctx, session := kest.StartSession(t.Context())
	out, err := f(ctx, order{})
	if err != error(want) || out != "partial" {
		t.Fatalf("%q, %v", out, err)
	}
	receipt := r.receipt(session.Passport().Last())
	if receipt.Status != lineage.OutcomeError || receipt.ErrorType != "*kest_test.bodyError" || receipt.ContentHash != "" {
		t.Errorf("receipt %+v", receipt)
	}
	if s := r.spans.last(t); s.status.String() != "Error" || strings.Contains(s.description, "4111") {
		t.Errorf("span %v %q", s.status, s.description)
	}
}

// receipt returns the verified receipt that the sink got last.
func (r *rig) receipt(entry *lineage.Signed) lineage.Receipt {
	r.t.Helper()
	receipt, err := r.verifier.VerifyReceipt(context.Background(), r.sink.last(r.t, telemetry.Receipt).JWS, entry)
	if err != nil {
		r.t.Fatal(err)
	}
	return receipt
}

// TestBodyPanics: recorded, and raised again unchanged; the call still joins the caller's lineage.
func TestBodyPanics(t *testing.T) {
	value := &bodyError{"x"}
	for name, test := range map[string]struct {
		body  func()
		check func(any) bool
	}{
		"value":  {func() { panic(value) }, func(v any) bool { return v == any(value) }},
		"string": {func() { panic("boom") }, func(v any) bool { return v == any("boom") }},
		"nil map": {func() { var m map[string]int; m["a"] = 1 }, func(v any) bool {
			err, _ := v.(error)
			var re runtime.Error
			return errors.As(err, &re)
		}},
		"nil": {func() { panic(nil) }, func(v any) bool { _, ok := v.(*runtime.PanicNilError); return ok }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			f := kest.MustVerified(r.Guard, func(context.Context, order) (string, error) { test.body(); return "", nil },
				kest.Operation("x"), kest.Policy("a/b"))
			ctx, session := kest.StartSession(t.Context())
			func() {
				defer func() {
					if v := recover(); !test.check(v) {
						t.Errorf("recovered %T %v", v, v)
					}
				}()
				f(ctx, order{})
				t.Error("no panic")
			}()
			if got := r.receipt(session.Passport().Last()).Status; got != lineage.OutcomePanic {
				t.Errorf("receipt status %q", got)
			}
			if s := r.spans.last(t); s.status.String() != "Error" {
				t.Errorf("span %v", s.status)
			}
		})
	}
}

// TestGoexit: a body that ends its goroutine leaves a receipt that does not say ok.
func TestGoexit(t *testing.T) {
	r := newRig(t)
	f := kest.MustVerified(r.Guard, func(context.Context, order) (string, error) { runtime.Goexit(); return "", nil },
		kest.Operation("x"), kest.Policy("a/b"))
	ctx, session := kest.StartSession(t.Context())
	done := make(chan bool)
	go func() {
		defer close(done)
		f(ctx, order{})
		t.Error("the goroutine went on")
	}()
	<-done
	if got := r.receipt(session.Passport().Last()).Status; got != lineage.OutcomePanic {
		t.Errorf("receipt status %q", got)
	}
}

// TestPanicsBeforeTheBody: a resolver, an engine or a signer that panics does not let the body run, and the span
// ends.
func TestPanicsBeforeTheBody(t *testing.T) {
	boom := func() { panic(errCause) }
	for name, set := range map[string]func(*kest.Config, *[]kest.Option){
		"resolver": func(_ *kest.Config, o *[]kest.Option) {
			*o = append(*o, kest.UserFrom(func(context.Context, order) (string, error) { boom(); return "", nil }))
		},
		"engine": func(c *kest.Config, _ *[]kest.Option) {
			c.Engine = policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) {
				boom()
				return policy.Decision{Allow: true}, nil
			})
		},
		"signer": func(c *kest.Config, _ *[]kest.Option) {
			c.Identity = signing(t, func(context.Context, []byte, lineage.Signer) ([]byte, error) { boom(); return nil, nil })
		},
		"sink": func(c *kest.Config, _ *[]kest.Option) { c.Sink = sinkFunc(boom) },
	} {
		options := []kest.Option{kest.Operation("x"), kest.Policy("a/b")}
		r := newRig(t, func(c *kest.Config) { set(c, &options) })
		ran := false
		f := kest.MustVerified(r.Guard, func(context.Context, order) (string, error) { ran = true; return "", nil }, options...)
		func() {
			defer func() {
				if recover() != any(errCause) {
					t.Errorf("%s: the panic was changed", name)
				}
			}()
			f(t.Context(), order{})
		}()
		if ran {
			t.Errorf("%s: the body ran", name)
		}
		r.spans.last(t)
	}
}

func TestNilFunction(t *testing.T) {
	r := newRig(t)
	f, err := kest.Verified[order, string](r.Guard, nil, kest.Policy("a/b"))
	if wantConfig(t, err); f != nil {
		t.Error("a function was returned")
	}
	defer func() {
		if err, _ := recover().(error); err == nil || !strings.Contains(err.Error(), "nil function") {
			t.Errorf("MustVerified panics with %v", err)
		}
	}()
	kest.MustVerified[order, string](r.Guard, nil)
}
