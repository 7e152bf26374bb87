package decisionlog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

// The contract holds through the log, with and without everything that can be optional, and no attribute shows.
func TestContract(t *testing.T) { // SPEC §7
	for name, c := range map[string]decisionlog.Config{
		"plain": {},
		"full":  {Engine: &full{Engine: policytest.Func(answer)}, SampleAllows: 3},
		"input": {Input: true, Mask: []decisionlog.Mask{{Path: "attributes.card"}, {Path: "attributes.nested.*", With: "-"}}},
	} {
		t.Run(name, func(t *testing.T) {
			e, o := open(t, c)
			policytest.TestEngine(t, policytest.Harness{New: func(*testing.T) policy.Engine { return e }})
			if log := o.String(); strings.Contains(log, secret) || !strings.Contains(log, policytest.AllowTrusted) {
				t.Errorf("the log is empty or repeats the secret: %.300s", log)
			}
		})
	}
}

func TestRecord(t *testing.T) {
	in := policytest.Input(40)
	common := map[string]any{
		"msg": "kest: policy decision", "tier": "function", "operation": "payments.process", "workload": policytest.Workload,
		"entry_id": in.Environment.EntryID, "trace_id": in.Environment.TraceID, "duration": 3e9,
	}
	for _, test := range []struct {
		name, policy string
		d            policy.Decision
		err          error
		want         map[string]any
	}{
		{"allow", "a/b", policy.Decision{Allow: true, Revision: "r7", Reason: "because"}, nil,
			map[string]any{"level": "INFO", "result": "allow", "policy": "a/b", "revision": "r7", "reason": "because"}},
		{"denial", "a/b", policy.Decision{Revision: "r7"}, nil,
			map[string]any{"level": "WARN", "result": "deny", "policy": "a/b", "revision": "r7"}},
		{"error", "a/b", policy.Decision{}, policy.ErrIndefinite,
			map[string]any{"level": "ERROR", "result": "error", "policy": "a/b", "reason": policy.ErrIndefinite.Error()}},
		{"error beside an allow", "a/b", policy.Decision{Allow: true}, policy.ErrUnavailable,
			map[string]any{"level": "ERROR", "result": "error", "policy": "a/b", "reason": policy.ErrUnavailable.Error()}},
		{"bounds", strings.Repeat("a", 5000), policy.Decision{Revision: "\xff" + strings.Repeat("r", 5000), Reason: strings.Repeat("x", 5000)}, nil,
			map[string]any{"level": "WARN", "result": "deny", "policy": strings.Repeat("a", 256) + "…",
				"revision": "\uFFFD" + strings.Repeat("r", 255) + "…", "reason": strings.Repeat("x", 1024) + "…"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, o := open(t, decisionlog.Config{Engine: engine(func(context.Context, string, *policy.Input) (policy.Decision, error) {
					time.Sleep(3 * time.Second)
					return test.d, test.err
				})})
				s := &span{}
				d, err := e.Evaluate(withSpan(s), test.policy, in)
				if d != test.d || err != test.err {
					t.Errorf("%+v, %v", d, err)
				}
				maps.Copy(test.want, common)
				records := o.records(t)
				if len(records) != 1 {
					t.Fatalf("%d records", len(records))
				}
				got := records[0]
				delete(got, "time")
				if !maps.Equal(got, test.want) {
					t.Errorf("record\n got %v\nwant %v", got, test.want)
				}
				event := map[string]any{}
				for name, value := range test.want {
					event["kest.decision."+name] = value
				}
				delete(event, "kest.decision.level")
				delete(event, "kest.decision.msg")
				delete(event, "kest.decision.duration")
				event["kest.decision.duration_ns"] = int64(3e9)
				if got := s.events["policy.decision"]; !maps.Equal(got, event) {
					t.Errorf("event\n got %v\nwant %v", got, event)
				}
			})
		})
	}
}

// engine is a function as an engine, with no checks.
type engine policytest.Answer

func (e engine) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	return e(ctx, name, in)
}

func TestNoInputByDefault(t *testing.T) {
	e, o := open(t, decisionlog.Config{})
	s := &span{}
	e.Evaluate(withSpan(s), policytest.AllowTrusted, policytest.Input(40))
	for _, hidden := range []string{secret, "alice", "agent-7", "payments:write", "ORD-123", "urgent"} {
		if strings.Contains(o.String(), hidden) || strings.Contains(fmt.Sprint(s.events), hidden) {
			t.Errorf("%q is in %s %v", hidden, o, s.events)
		}
	}
}

func TestNilInput(t *testing.T) {
	e, o := open(t, decisionlog.Config{Input: true, SampleAllows: 1000})
	if d, err := e.Evaluate(context.Background(), "a", nil); err == nil || d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
	if r := o.records(t); len(r) != 1 || r[0]["result"] != "error" {
		t.Errorf("%v", r)
	}
}

// TestSampling: a trace is logged whole or not at all, the same by each process, and only allows are left out.
func TestSampling(t *testing.T) {
	const traces = 2000
	logged := func() (allows map[string]int, denials int) {
		e, o := open(t, decisionlog.Config{SampleAllows: 10})
		for i := range traces {
			in := policytest.Input(40)
			in.Environment.TraceID = fmt.Sprintf("%032x", i) // not random at all
			for range 3 {
				e.Evaluate(context.Background(), policytest.AllowTrusted, in)
			}
			e.Evaluate(context.Background(), policytest.DenyAll, in)
			e.Evaluate(context.Background(), policytest.Missing, in)
		}
		allows = map[string]int{}
		for _, r := range o.records(t) {
			if r["result"] == "allow" {
				allows[r["trace_id"].(string)]++
			} else {
				denials++
			}
		}
		return allows, denials
	}
	allows, denials := logged()
	if denials != 2*traces {
		t.Errorf("%d denials and errors logged, want %d", denials, 2*traces)
	}
	if n := len(allows); n < traces/20 || n > traces/5 {
		t.Errorf("%d of %d traces have allows, want about 1 in 10", n, traces)
	}
	for id, n := range allows {
		if n != 3 {
			t.Fatalf("trace %s: %d of 3 allows", id, n)
		}
	}
	if again, _ := logged(); !maps.Equal(again, allows) {
		t.Error("another process chooses other traces")
	}
}

// handler can panic in each of its methods, and remembers whether its context had ended.
type handler struct {
	slog.Handler
	onEnabled, onHandle any
	ended               error
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool {
	if h.onEnabled != nil {
		panic(h.onEnabled)
	}
	return h.Handler.Enabled(ctx, l)
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if h.ended = ctx.Err(); h.onHandle != nil {
		panic(h.onHandle)
	}
	return errors.Join(h.Handler.Handle(ctx, r), errors.New("disk full"))
}

// TestFaultsChangeNothing: whatever breaks, the decision is the engine's (SPEC §10), and what can still be written is.
func TestFaultsChangeNothing(t *testing.T) {
	text := func() slog.Handler { return slog.NewTextHandler(io.Discard, nil) }
	for name, test := range map[string]struct {
		handler *handler
		span    *span
		event   bool
	}{
		"Enabled panics":  {&handler{Handler: text(), onEnabled: "x"}, &span{}, true},
		"Handle panics":   {&handler{Handler: text(), onHandle: errors.New("x")}, &span{}, true},
		"Handle fails":    {&handler{Handler: text()}, &span{}, true},
		"the span panics": {&handler{Handler: text()}, &span{panics: true}, false},
		"both panic":      {&handler{Handler: text(), onHandle: "x"}, &span{panics: true}, false},
	} {
		e, _ := open(t, decisionlog.Config{Logger: slog.New(test.handler)})
		for trust, allow := range map[int]bool{39: false, 40: true} {
			d, err := e.Evaluate(withSpan(test.span), policytest.AllowTrusted, policytest.Input(trust))
			if err != nil || d.Allow != allow {
				t.Errorf("%s: %+v, %v", name, d, err)
			}
		}
		if _, ok := test.span.events["policy.decision"]; ok != test.event {
			t.Errorf("%s: event %t", name, ok)
		}
	}
}

// TestEndedContext: the record of a call that timed out is written like any other.
func TestEndedContext(t *testing.T) {
	h := &handler{Handler: slog.NewTextHandler(io.Discard, nil), ended: errors.New("not called")}
	e, _ := open(t, decisionlog.Config{Logger: slog.New(h)})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Evaluate(ctx, policytest.AllowTrusted, policytest.Input(40)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if h.ended != nil {
		t.Errorf("the handler's context: %v", h.ended)
	}
}

// TestEnginePanic: it is on record, and goes on to the caller, also when the log panics on the way.
func TestEnginePanic(t *testing.T) {
	o := &output{}
	for _, on := range []any{nil, "log"} {
		e, _ := open(t, decisionlog.Config{
			Logger: slog.New(&handler{Handler: slog.NewJSONHandler(o, nil), onHandle: on}),
			Engine: engine(func(context.Context, string, *policy.Input) (policy.Decision, error) { panic("engine") }),
		})
		func() {
			defer func() {
				if r := recover(); r != "engine" {
					t.Errorf("panic %v", r)
				}
			}()
			e.Evaluate(context.Background(), "a", policytest.Input(40))
			t.Error("the panic is gone")
		}()
	}
	if r := o.records(t); len(r) != 1 || r[0]["result"] != "error" || r[0]["reason"] != "the engine panicked" {
		t.Errorf("%v", r)
	}
}

func TestQuietLoggerCostsNoInput(t *testing.T) {
	called := false
	e, o := open(t, decisionlog.Config{
		Logger: slog.New(slog.DiscardHandler), Input: true,
		Mask: []decisionlog.Mask{{Path: "attributes", Func: func(v any) (any, error) { called = true; return v, nil }}},
	})
	e.Evaluate(context.Background(), policytest.AllowTrusted, policytest.Input(40))
	if called || o.String() != "" {
		t.Error("the input was masked for nobody")
	}
}

func TestDefaultLogger(t *testing.T) {
	e, err := decisionlog.New(decisionlog.Config{Engine: policytest.Allow()})
	if err != nil {
		t.Fatal(err)
	}
	o, old := &output{}, slog.Default()
	t.Cleanup(func() { slog.SetDefault(old) })
	slog.SetDefault(slog.New(slog.NewJSONHandler(o, nil))) // after New: it is the default at the decision
	e.Evaluate(context.Background(), "a", policytest.Input(40))
	if len(o.records(t)) != 1 {
		t.Errorf("%s", o)
	}
}

func TestConfig(t *testing.T) {
	_, err := decisionlog.New(decisionlog.Config{
		SampleAllows: -1, Mask: []decisionlog.Mask{{Path: "subject.usr"}, {Path: "a..b"}},
	})
	for _, want := range []string{"no Engine", "negative", `"subject.usr"`, `"a..b"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := decisionlog.New(decisionlog.Config{Engine: policytest.Allow(), MaxInput: -1}); err == nil {
		t.Error("a negative limit is accepted")
	}
}

// TestOptionalInterfaces: what the engine offers besides answers is still there, and what it does not offer is not
// made up.
func TestOptionalInterfaces(t *testing.T) {
	type offers interface {
		Revision() string
		Policies() []string
		io.Closer
	}
	inner := &full{Engine: policytest.Allow()}
	e, _ := open(t, decisionlog.Config{Engine: inner})
	if c, ok := e.(policy.Checker); !ok || c.Check(policytest.Missing) == nil || c.Check(policytest.DenyAll) != nil {
		t.Errorf("checker %t", ok)
	}
	o := e.(offers)
	if o.Revision() != "r1" || !slices.Equal(o.Policies(), inner.Policies()) || o.Close() != nil || inner.closed != 1 {
		t.Errorf("%q %q, closed %d times", o.Revision(), o.Policies(), inner.closed)
	}

	e, _ = open(t, decisionlog.Config{Engine: policytest.Allow()})
	if _, ok := e.(policy.Checker); ok {
		t.Error("a checker around an engine that is none")
	}
	if o := e.(offers); o.Revision() != "" || o.Policies() != nil || o.Close() != nil {
		t.Error("something was made up")
	}
}

func TestConcurrent(t *testing.T) {
	e, o := open(t, decisionlog.Config{Input: true, SampleAllows: 2, Mask: []decisionlog.Mask{
		{Path: "attributes.card", Func: func(any) (any, error) { return "hash", nil }}, {Path: "*.*.*"},
	}})
	in := policytest.Input(39)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				e.Evaluate(context.Background(), policytest.AllowTrusted, in)
			}
		})
	}
	wg.Wait()
	if n := len(o.records(t)); n != 400 {
		t.Errorf("%d records", n)
	}
}
