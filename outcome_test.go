package kest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/telemetry"
)

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// TestReceipt (SPEC §10): what the body returned, when, and where the lineage stood.
func TestReceipt(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	f := kest.MustVerified(r.Guard, func(ctx context.Context, _ order) (map[string]any, error) {
		time.Sleep(2 * time.Millisecond)
		r.entry(ctx)
		return map[string]any{"z": int64(9007199254740993), "a": "é<"}, nil
	}, kest.Operation("x"), kest.Policy("a/b"))
	start := time.Now().UnixMilli()
	if _, err := f(ctx, order{}); err != nil {
		t.Fatal(err)
	}
	entry := slices.Collect(func(yield func(*lineage.Signed) bool) {
		for _, e := range s.Passport().All() {
			yield(e)
			return
		}
	})[0]
	got, e := r.receipt(entry), entry.Entry()
	if got.EntryHash != entry.Hash() || got.EntryID != e.ID || got.Status != lineage.OutcomeOK || got.ErrorType != "" ||
		got.ContentHash != hashOf(`{"a":"é<","z":9007199254740993}`) || !slices.Equal(got.Tips, s.Passport().Tips()) ||
		len(got.Tips) != 1 || got.Tips[0] == entry.Hash() {
		t.Errorf("%+v", got)
	}
	if got.StartedMS < start || got.EndedMS < got.StartedMS+1 || got.EndedMS > time.Now().UnixMilli() {
		t.Errorf("started %d, ended %d", got.StartedMS, got.EndedMS)
	}
	kept := r.sink.last(t, telemetry.Receipt)
	if kept.Hash != entry.Hash() || kept.EntryID != e.ID || kept.TraceID != s.TraceID() || kept.Operation != "x" || kept.Principal != payments {
		t.Errorf("kept %+v", kept)
	}
	if signed := r.sink.records[0]; signed.Kind != telemetry.Entry || signed.JWS != entry.JWS() || signed.Hash != entry.Hash() {
		t.Errorf("first record %+v", signed)
	}
}

// TestResultWithoutHash: a result that cannot be encoded has no hash, and the caller gets it all the same.
func TestResultWithoutHash(t *testing.T) {
	for name, out := range map[string]any{
		"channel": make(chan int), "text": "\xff", "encoder fails": custom(func() ([]byte, error) { return nil, errCause }),
		"encoder panics": custom(func() ([]byte, error) { panic("no") }),
	} {
		r := newRig(t)
		f := kest.MustVerified(r.Guard, func(context.Context, order) (any, error) { return out, nil }, kest.Operation("x"), kest.Policy("a/b"))
		ctx, s := kest.StartSession(t.Context())
		got, err := f(ctx, order{})
		if err != nil || fmt.Sprintf("%p", got) != fmt.Sprintf("%p", out) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if receipt := r.receipt(s.Passport().Last()); receipt.ContentHash != "" || receipt.Status != lineage.OutcomeOK {
			t.Errorf("%s: %+v", name, receipt)
		}
	}
}

// TestNoReceipts: one signature a call; the hash goes to the span.
func TestNoReceipts(t *testing.T) {
	signatures := 0
	r := newRig(t, func(c *kest.Config) {
		c.NoReceipts = true
		c.Identity = signing(t, func(ctx context.Context, m []byte, next lineage.Signer) ([]byte, error) {
			signatures++
			return next.Sign(ctx, m)
		})
	})
	must(t, r.call(t.Context()))
	s := r.spans.last(t)
	if signatures != 1 || len(r.sink.records) != 1 || s.attributes["kest.content_hash"].AsString() != hashOf(`"shipped"`) {
		t.Errorf("%d signatures, %d records, span %v", signatures, len(r.sink.records), s.attributes)
	}
	if v := s.attributes["kest.receipt"]; v.AsString() != "" {
		t.Errorf("receipt %v", v)
	}
}

// TestLateFailures: after the decision or the body, a signer or a sink that fails changes nothing but the log.
func TestLateFailures(t *testing.T) {
	count := 0
	secondFails := func(ctx context.Context, m []byte, next lineage.Signer) ([]byte, error) {
		if count++; count > 1 {
			return nil, errCause
		}
		return next.Sign(ctx, m)
	}
	for _, test := range []struct {
		name, log string
		change    func(*kest.Config)
		deny      bool
	}{
		{"receipt sink", "receipt could not be kept", func(c *kest.Config) { c.Sink.(*sink).fail = map[telemetry.Kind]error{telemetry.Receipt: errCause} }, false},
		{"receipt signer", "receipt could not be signed", func(c *kest.Config) { c.Identity = signing(t, secondFails) }, false},
		{"denial sink", "denial record could not be kept", func(c *kest.Config) { c.Sink.(*sink).fail = map[telemetry.Kind]error{telemetry.Denial: errCause} }, true},
		{"denial signer", "denial record could not be signed", func(c *kest.Config) { c.Identity = identitytest.FailingSigner(payments, errCause) }, true},
	} {
		r := newRig(t, test.change)
		var options []kest.Option
		if test.deny {
			options = append(options, kest.WithEngine(policytest.Deny()))
		}
		ctx, s := kest.StartSession(t.Context())
		err := r.call(ctx, options...)
		if test.deny {
			if denied := wantDenied(t, err); (denied.Record == "") != (test.name == "denial signer") {
				t.Errorf("%s: record %q", test.name, denied.Record)
			}
		} else if err != nil || s.Passport().Len() != 1 {
			t.Errorf("%s: %v, %d entries", test.name, err, s.Passport().Len())
		}
		if log := r.log.String(); !strings.Contains(log, test.log) || !strings.Contains(log, `"level":"ERROR"`) || !strings.Contains(log, errCause.Error()) || !strings.Contains(log, `"entry_id":"0`) {
			t.Errorf("%s: log %s", test.name, log)
		}
	}
}

// TestRecordsOutliveTheCall: the caller's context may end in the body; what happened is recorded, in bounded time.
func TestRecordsOutliveTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		ctx, s := kest.StartSession(ctx)
		f := kest.MustVerified(r.Guard, func(context.Context, order) (string, error) { cancel(); return "x", nil }, kest.Operation("x"), kest.Policy("a/b"))
		if _, err := f(ctx, order{}); err != nil {
			t.Fatal(err)
		}
		if got := r.receipt(s.Passport().Last()); got.Status != lineage.OutcomeOK {
			t.Errorf("%+v", got)
		}
		hanging := newRig(t, func(c *kest.Config) { c.Sink = hangingSink{} })
		start := time.Now()
		if err := hanging.call(t.Context()); err != nil || time.Since(start) > time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// hangingSink keeps entries and never finishes anything else before its context ends.
type hangingSink struct{}

func (hangingSink) Record(ctx context.Context, r telemetry.Record) error {
	if r.Kind == telemetry.Entry {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestSpan (F-TE-01, F-TE-02): name, scope and attributes.
func TestSpan(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	r.entry(ctx, kest.AddTaints("b", "a"))
	first := s.Passport().Last()
	r.entry(ctx, kest.SourceType("user_input"))
	span, signed := r.spans.last(t), s.Passport().Last()
	e := signed.Entry()
	text, _ := s.Passport().MarshalText()
	want := map[string]attribute.Value{
		"kest.signature": attribute.StringValue(signed.JWS()), "kest.parent_hash": attribute.StringValue(first.Hash().String()),
		"kest.passport": attribute.StringValue(string(text)), "kest.entry_id": attribute.StringValue(e.ID),
		"kest.workload_id": attribute.StringValue(payments), "kest.trust_score": attribute.IntValue(40),
		"kest.operation": attribute.StringValue("test.op"), "kest.chain_tip": attribute.StringValue(signed.Hash().String()),
		"kest.taints": attribute.StringSliceValue([]string{"a", "b"}), "kest.content_hash": attribute.StringValue(hashOf("0")),
		"kest.receipt": attribute.StringValue(r.sink.last(t, telemetry.Receipt).JWS),
	}
	if span.name != "kest.verified.test.op" || len(span.attributes) != len(want) || span.status.String() != "Unset" {
		t.Errorf("span %q, %d attributes, status %v", span.name, len(span.attributes), span.status)
	}
	for key, value := range want {
		if got := span.attributes[key]; got != value {
			t.Errorf("%s = %v, want %v", key, got.String(), value.String())
		}
	}
	if !r.spans.scopes["kest.core@"+kest.Version] || len(r.spans.scopes) != 1 {
		t.Errorf("scopes %v", r.spans.scopes)
	}
	if root := r.spans.all[0].attributes["kest.parent_hash"]; root.AsString() != "0" {
		t.Errorf("root's parent %v", root.AsString())
	}
	// A join names all its parents.
	must(t, kest.Join(ctx, foreign(t, "p")))
	r.entry(ctx)
	if got := strings.Split(r.spans.last(t).attributes["kest.parent_hash"].AsString(), ","); len(got) != 2 || !slices.IsSorted(got) {
		t.Errorf("parents %q", got)
	}
	// Callees' spans are children of their caller's.
	must(t, step(t, r.Guard, "a")(t.Context(), func(ctx context.Context) { must(t, step(t, r.Guard, "b")(ctx, nil)) }))
	if n := len(r.spans.all); r.spans.all[n-1].parent != r.spans.all[n-2].context.SpanID() {
		t.Error("the callee's span is not a child of the caller's")
	}
}

// TestSpanPassport: capped, and left out.
func TestSpanPassport(t *testing.T) {
	for limit, want := range map[int][]bool{0: {true, true}, -1: {false, false}, 2000: {true, false}, 1: {false, false}} {
		r := newRig(t, func(c *kest.Config) { c.SpanPassport = limit })
		ctx, _ := kest.StartSession(t.Context())
		for i := range want {
			r.entry(ctx)
			if _, got := r.spans.last(t).attributes["kest.passport"]; got != want[i] {
				t.Errorf("limit %d, call %d: %t", limit, i, got)
			}
		}
	}
	r := newRig(t)
	r.spans.off = true
	if e := r.entry(t.Context()); !strings.HasSuffix(string(e.OTelContext), `-00"}`) {
		t.Errorf("otel_context %s", e.OTelContext)
	}
	if s := r.spans.last(t); len(s.attributes) != 0 {
		t.Errorf("a span that is not recorded has %v", s.attributes)
	}
}

// TestDeniedSpanAndLog (F-TE-03, NF-OBS-01).
func TestDeniedSpanAndLog(t *testing.T) {
	r := newRig(t, tiered, func(c *kest.Config) { c.Engine = policytest.Deny() })
	denied := wantDenied(t, r.call(t.Context(), kest.Operation("test.op"), kest.AddTaints("x")))
	s := r.spans.last(t)
	for key, want := range map[string]string{
		"kest.denied_policy": "e/1", "kest.denied_tier": "enterprise", "kest.denial": denied.Record,
		"kest.operation": "test.op", "kest.entry_id": denied.EntryID,
	} {
		if got := s.attributes[key].AsString(); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	if s.status.String() != "Error" || !strings.Contains(s.description, "denied by enterprise policy e/1") || s.attributes["kest.signature"].AsString() != "" {
		t.Errorf("span %v %q", s.status, s.description)
	}
	var line map[string]any
	must(t, json.Unmarshal([]byte(r.log.String()), &line)) // one line
	for key, want := range map[string]any{
		"level": "WARN", "msg": "kest: call denied", "operation": "test.op", "entry_id": denied.EntryID, "policy": "e/1",
		"tier": "enterprise", "workload": payments, "reason": denied.Reason, "trust_score": 100.0, "trace_id": s.context.TraceID().String(),
	} {
		if line[key] != want {
			t.Errorf("log %s = %v, want %v", key, line[key], want)
		}
	}
}

// TestDenialReason: what an engine says is bounded and made text, so that it cannot keep the record from being
// signed.
func TestDenialReason(t *testing.T) {
	for _, reason := range []string{"\xff\xfeshort", strings.Repeat("ä", 5000), strings.Repeat("x", 1<<20) + "\xff", "line\nbreak"} {
		for _, err := range []error{nil, fmt.Errorf("%s", reason)} {
			r := newRig(t, func(c *kest.Config) {
				c.Engine = policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) {
					return policy.Decision{Reason: reason}, err
				})
			})
			denied := wantDenied(t, r.call(t.Context()))
			if record, err := r.verifier.VerifyDenial(t.Context(), denied.Record); err != nil || record.Reason != denied.Reason || record.Reason == "" {
				t.Errorf("%.20q: %v, %q", reason, err, record.Reason)
			}
			if len(denied.Reason) > 1100 || len(denied.Error()) > 1300 || len(r.log.String()) > 3000 {
				t.Errorf("%.20q: reason of %d bytes, error of %d, log of %d", reason, len(denied.Reason), len(denied.Error()), len(r.log.String()))
			}
		}
	}
}

// TestSecretsStayPut (SPEC §8, F-ID-04): neither the private key nor an argument, a result or the text of a
// body's error is in anything that the guard writes.
func TestSecretsStayPut(t *testing.T) {
	const secret = "4111-1111-1111-1111"
	key := identitytest.Key(payments)
	var out bytes.Buffer
	scenario := func(change func(*kest.Config), body func() (any, error), options ...kest.Option) {
		r := newRig(t, func(c *kest.Config) { c.Enterprise = []string{"e/1"} }, change)
		f := kest.MustVerified(r.Guard, func(context.Context, secretive) (any, error) { return body() },
			append([]kest.Option{kest.Operation("x"), kest.Policy("a/b")}, options...)...)
		func() {
			defer func() { recover() }()
			_, err := f(t.Context(), secretive{Card: secret})
			if err != nil && err.Error() != secret { // the body's own error is the caller's business
				fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
			}
		}()
		fmt.Fprintf(&out, "%s\n%+v\n%#v\n", r.log.String(), r.Guard.Config(), r.Guard.Config().Identity)
		for _, s := range r.spans.all {
			fmt.Fprintf(&out, "%s %s %v\n", s.name, s.description, s.attributes)
			for _, v := range s.attributes {
				fmt.Fprintln(&out, v.String())
			}
		}
		for _, record := range r.sink.records {
			raw, err := base64.RawURLEncoding.DecodeString(strings.Split(record.JWS, ".")[1])
			must(t, err)
			fmt.Fprintf(&out, "%+v\n%s\n", record, raw)
		}
	}
	none := func(*kest.Config) {}
	ok := func() (any, error) { return map[string]string{"card": secret}, nil }
	repeats := kest.UserFrom(func(_ context.Context, s secretive) (string, error) { return "", fmt.Errorf("bad card %s", s.Card) })
	scenario(none, ok)
	scenario(none, func() (any, error) { return nil, fmt.Errorf("%s", secret) })
	scenario(none, func() (any, error) { panic(secret) })
	scenario(func(c *kest.Config) { c.Engine = policytest.Deny() }, ok)
	scenario(func(c *kest.Config) { c.Identity = identitytest.FailingSigner(payments, nil) }, ok)
	mark := out.Len()
	func() { // what a resolver says goes to the caller, and to nobody else
		r := newRig(t)
		f := kest.MustVerified(r.Guard, func(context.Context, secretive) (any, error) { return nil, nil }, kest.Operation("x"), kest.Policy("a/b"), repeats)
		if _, err := f(t.Context(), secretive{Card: secret}); err == nil || !strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
		s := r.spans.last(t)
		fmt.Fprintf(&out, "%s %s %v\n", r.log.String(), s.description, s.attributes)
		if !strings.Contains(s.description, "resolve") {
			t.Errorf("span %q", s.description)
		}
	}()
	text := out.String()
	if out.Len() == mark || len(text) < 10_000 || !strings.Contains(text, payments) {
		t.Fatalf("only %d bytes were looked at", len(text))
	}
	for name, forbidden := range map[string]string{
		"argument": secret, "seed in hex": hex.EncodeToString(key.Seed()), "seed in base64": base64.StdEncoding.EncodeToString(key.Seed())[:40],
		"seed in base64url": base64.RawURLEncoding.EncodeToString(key.Seed())[:40], "seed": string(key.Seed()), "seed as a list": strings.Trim(fmt.Sprint(key.Seed()[:8]), "[]"),
	} {
		if strings.Contains(text, forbidden) {
			t.Errorf("the %s is written somewhere", name)
		}
	}
}

// TestErrorTexts: one line each, with what to change where there is something.
func TestErrorTexts(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&kest.DeniedError{Operation: "op", Tier: "platform", Policy: "a/b"}, "kest: op: denied by platform policy a/b"},
		{&kest.DeniedError{Operation: "op", Tier: "platform", Policy: "a/b", Reason: "too late"}, "kest: op: denied by platform policy a/b: too late"},
		{&kest.DeniedError{Operation: "op", Tier: "platform", Policy: "a/b", Reason: "the cause", Err: errCause}, "kest: op: denied by platform policy a/b, which could not decide: the cause"},
		{&kest.CallError{Operation: "op", Step: kest.StepSign, Err: errCause}, "kest: op: sign: the cause"},
		{&kest.ConfigError{Subject: "config", Problems: []error{errCause}}, "kest: config: the cause"},
		{&kest.ConfigError{Subject: "op", Problems: []error{errCause, fmt.Errorf("a\nb")}}, "kest: op: 2 problems\n\tthe cause\n\ta\n\tb"},
	} {
		if test.err.Error() != test.want {
			t.Errorf("%q, want %q", test.err, test.want)
		}
	}
}

// TestIdentityFailureClass: a workload that has lost its identity answers as one that is out of order for a while, not as
// one with a bug.
func TestIdentityFailureClass(t *testing.T) {
	for _, cause := range []error{identity.ErrNotReady, identity.ErrExpired, identity.ErrRevoked} {
		err := &kest.CallError{Step: kest.StepSign, Err: fmt.Errorf("identity: %w", cause)}
		if class := propagate.ClassOf(err); class != propagate.Unavailable {
			t.Errorf("%v is %s", cause, class.Title())
		}
	}
	if class := propagate.ClassOf(&kest.CallError{Step: kest.StepSign, Err: errors.New("x")}); class != propagate.Fault {
		t.Errorf("another failure is %s", class.Title())
	}
}
