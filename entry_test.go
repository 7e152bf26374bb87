package kest_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// payload decodes what was signed.
func payload(t testing.TB, jws string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[1])
	must(t, err)
	var out map[string]any
	must(t, json.Unmarshal(raw, &out))
	return out
}

// TestEntryMembers (SPEC §2, F-AE-01…13): all 18 members of one call with everything.
func TestEntryMembers(t *testing.T) {
	deviation := policy.Deviation{Policy: "org/e", Tier: policy.Enterprise, Scope: "pay.*"}
	explained := policy.Deviation{Policy: "org/p", Tier: policy.Platform, Scope: "*", Reason: "CHG-1", Approver: "ciso"}
	r := newRig(t, func(c *kest.Config) {
		c.Enterprise, c.Platform, c.Application = []string{"z/e", "org/e"}, []string{"org/p"}, []string{"a/2", "a/1"}
		c.Deviations = []policy.Deviation{deviation, explained}
	})
	ctx, s := kest.StartSession(kest.WithIdentity(t.Context(), kest.Identity{User: "alice"}))
	must(t, step(t, r.Guard, "before", kest.AddTaints("a", "b"), kest.SourceType("user_input"))(ctx, nil))
	before := s.Passport().Last()
	start := time.Now().UnixMilli()
	signed := signedBy(t, r.Guard, ctx, order{"o-1", 99.95},
		kest.Operation("pay.process"), kest.Policy("f/2", "f/1"), kest.Classification("data"),
		kest.SourceType("third_party_api"), kest.AddTaints("c", "c"), kest.RemoveTaints("b"), kest.TrustOverride(77),
		kest.Sanitizer("redact"), kest.Label("team", "x"), kest.Label("a", "1"), kest.Environment(map[string]string{"region": "us", "az": "1"}), kest.Environment(map[string]string{"region": "eu"}),
		kest.Resource("order/o-1"), kest.ResourceAttributes(map[string]any{"b": []int{1, 2}, "a": 1.50}))
	got := payload(t, signed.JWS())
	hash := sha256.Sum256([]byte(`{"Amount":99.95,"ID":"o-1"}`))
	span := r.spans.last(t)
	want := map[string]any{
		"schema_version": "0.3.0", "runtime": map[string]any{"name": "kest-go", "version": kest.Version},
		"operation": "pay.process", "classification": "data", "trust_score": 77.0,
		"parent_ids":   []any{before.Hash().String()},
		"added_taints": []any{"c", "contains_data"}, "removed_taints": []any{"b"}, "taints": []any{"a", "c", "contains_data"},
		"labels": map[string]any{
			"principal": payments, "trace_id": s.TraceID(), "kest.identity": `{"user":"alice"}`, "kest.resource_id": "order/o-1",
			"kest.resource_attr": `{"a":1.5,"b":[1,2]}`, "kest.source_type": "third_party_api", "kest.trust_override": "77", "kest.policy_revision": "mock",
			"kest.sanitizer": "redact", "team": "x", "a": "1",
		},
		"policy_context": map[string]any{
			"enterprise_policies": []any{"z/e", "org/e"}, "platform_policies": []any{"org/p"}, "app_policies": []any{"a/2", "a/1"},
			"function_policies": []any{"kest/allow_trusted", "f/2", "f/1"},
			"deviations": []any{
				map[string]any{"policy": "org/e", "tier": "enterprise", "reason": nil, "approver": nil},
				map[string]any{"policy": "org/p", "tier": "platform", "reason": "CHG-1", "approver": "ciso"},
			},
		},
		"environment":  map[string]any{"az": "1", "region": "eu"},
		"otel_context": map[string]any{"traceparent": "00-" + span.context.TraceID().String() + "-" + span.context.SpanID().String() + "-01"},
		"metadata":     nil, "input_hash": hex.EncodeToString(hash[:]), "content_hash": "",
	}
	id, _ := got["entry_id"].(string)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("entry_id %q", id)
	}
	if at, _ := got["timestamp_ms"].(float64); int64(at) < start || int64(at) > time.Now().UnixMilli() {
		t.Errorf("timestamp_ms %v", got["timestamp_ms"])
	}
	if len(got) != 18 {
		t.Errorf("%d members", len(got))
	}
	for member, value := range want {
		if g, w := fmt.Sprintf("%#v", got[member]), fmt.Sprintf("%#v", value); g != w {
			t.Errorf("%s\n got %s\nwant %s", member, g, w)
		}
	}
	r.verify(s.Passport())
}

// TestPolicyRevision: the entry, and the record of a denial, name the text of the policies that decided, in words that
// an engine cannot use to fill entries or to hide among others.
func TestPolicyRevision(t *testing.T) {
	revisions := map[string]string{
		"a/1": "sha256:aa", "a/2": "sha256:aa", "a/3": "sha256:bb", "none": "", "comma": "x,y", "space": "x y", "control": "x\x1b[2J",
		"utf8": "\xff", "long": strings.Repeat("x", 1<<20), "b/1": "b1", "b/2": "b2", "b/3": "b3", "b/4": "b4", "b/5": "b5",
	}
	r := newRig(t, func(c *kest.Config) {
		c.Engine = policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
			d := policy.Decision{Allow: name != "deny", Revision: revisions[name]}
			if name == "deny" {
				d.Revision = "sha256:dd"
			}
			return d, nil
		})
	})
	for want, names := range map[string][]string{
		"": {"none", "comma", "space", "control", "utf8"}, "sha256:aa": {"a/1", "a/2", "comma"}, strings.Repeat("x", 40): {"long"},
		"sha256:aa,sha256:bb": {"a/1", "a/2", "a/3", "none"}, "b1,b2,b3,b4": {"b/1", "b/2", "b/3", "b/4", "b/5", "b/1"},
	} {
		slices.Sort(names)
		e := r.entry(t.Context(), kest.Policy(slices.Compact(names)...))
		if got := e.Labels[lineage.LabelPolicyRevision]; got != want {
			t.Errorf("%q: %q, want %q", names, got, want)
		}
	}
	denied := wantDenied(t, r.call(t.Context(), kest.Policy("a/1", "deny")))
	record, err := r.verifier.VerifyDenial(t.Context(), denied.Record)
	if err != nil || record.Entry.Labels[lineage.LabelPolicyRevision] != "sha256:aa,sha256:dd" {
		t.Errorf("denial: %q, %v", record.Entry.Labels[lineage.LabelPolicyRevision], err)
	}
}

// TestMinimalEntry: what is there when nothing was asked for.
func TestMinimalEntry(t *testing.T) {
	r := newRig(t, func(c *kest.Config) {
		c.TracerProvider, c.Engine = nil, policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) {
			return policy.Decision{Allow: true}, nil
		})
	})
	signed := signedBy(t, r.Guard, context.Background(), struct{}{})
	got, e := payload(t, signed.JWS()), signed.Entry()
	labels, _ := got["labels"].(map[string]any)
	if names := slices.Sorted(maps.Keys(labels)); !slices.Equal(names, []string{"kest.source_type", "principal", "trace_id"}) {
		t.Errorf("labels %q", names)
	}
	for member, want := range map[string]any{
		"parent_ids": []any{"0"}, "taints": []any{}, "added_taints": []any{}, "removed_taints": []any{}, // TC-01
		"environment": map[string]any{}, "otel_context": map[string]any{}, "classification": "system", "trust_score": 100.0,
	} {
		if g, w := fmt.Sprintf("%#v", got[member]), fmt.Sprintf("%#v", want); g != w {
			t.Errorf("%s: %s, want %s", member, g, w)
		}
	}
	hash := sha256.Sum256([]byte("{}"))
	if e.InputHash != hex.EncodeToString(hash[:]) || e.SourceType() != "internal" {
		t.Errorf("%+v", e)
	}
}

// TestEntryIDsAscend (F-AE-03, NF-SEC-05): within the process, over all guards.
func TestEntryIDsAscend(t *testing.T) {
	a, b := newRig(t), newRig(t)
	last := ""
	for range 50 {
		for _, r := range []*rig{a, b} {
			if id := r.entry(t.Context()).ID; id <= last {
				t.Fatalf("%s after %s", id, last)
			} else {
				last = id
			}
		}
	}
}

// TestTC04TC05Trust (F-TS-01, F-TS-02, F-TS-04, F-TS-05, F-TS-06) and what a reader computes from it agree.
func TestTC04TC05Trust(t *testing.T) {
	r := newRig(t, func(c *kest.Config) { c.Origins = map[string]int{"partner": 55} })
	ctx, s := kest.StartSession(t.Context())
	for _, test := range []struct {
		want    int
		options []kest.Option
	}{
		{10, []kest.Option{kest.SourceType("internet")}},
		{10, []kest.Option{kest.SourceType("internal")}}, // TC-04
		{100, []kest.Option{kest.TrustOverride(100)}},    // TC-05
		{55, []kest.Option{kest.SourceType("partner")}},
		{49, []kest.Option{kest.SourceType("verified_rag")}}, // floor(55 × 90 / 100)
		{0, []kest.Option{kest.SourceType("llm")}},
		{0, nil},
		{0, []kest.Option{kest.TrustOverride(0)}},
	} {
		e := r.entry(ctx, test.options...)
		calls := r.engine.Calls()
		in := calls[len(calls)-1].Input
		if e.TrustScore != test.want || in.TrustScore != test.want || in.Subject.TrustScore != test.want {
			t.Errorf("trust %d, policy sees %d, want %d", e.TrustScore, in.TrustScore, test.want)
		}
	}
	r.verify(s.Passport())

	w := newRig(t, func(c *kest.Config) { c.Trust = lineage.Weighted{History: 50} })
	ctx, s = kest.StartSession(t.Context())
	w.entry(ctx, kest.SourceType("user_input"))
	if e := w.entry(ctx, kest.SourceType("internet")); e.TrustScore != 25 {
		t.Errorf("weighted: %d", e.TrustScore)
	}
	w.verify(s.Passport())
	if e := w.entry(ctx, kest.WithTrust(constantTrust(3))); e.TrustScore != 3 {
		t.Errorf("own evaluator: %d", e.TrustScore)
	}
}

// TestTC06Taints (F-TT-01, F-TT-02, F-TT-03, F-TT-04, F-TT-05, F-TT-06): inherited ∪ added − removed, sorted.
func TestTC06Taints(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	r.entry(ctx, kest.AddTaints("b", "a"))
	if e := r.entry(ctx, kest.AddTaints("c"), kest.RemoveTaints("b"), kest.Sanitizer("s")); !slices.Equal(e.Taints, []string{"a", "c"}) {
		t.Errorf("%q", e.Taints)
	}
	if e := r.entry(ctx, kest.AddTaints("z", "y", "z"), kest.RemoveTaints("z", "y", "z"), kest.Sanitizer("s")); !slices.Equal(e.RemovedTaints, []string{"y", "z"}) {
		t.Errorf("%q", e.RemovedTaints)
	}
	if e := r.entry(ctx); !slices.Equal(e.Taints, []string{"a", "c"}) { // removal holds for descendants
		t.Errorf("%q", e.Taints)
	}
	calls := r.engine.Calls()
	if in := calls[len(calls)-1].Input; !slices.Equal(in.Subject.Taints, []string{"a", "c"}) {
		t.Errorf("policy sees %q", in.Subject.Taints)
	}
	r.verify(s.Passport())
}

// TestClassificationTaints (F-TT-02, SPEC §2): defaults, replacement, addition, and suppression by removal.
func TestClassificationTaints(t *testing.T) {
	r := newRig(t, func(c *kest.Config) {
		c.Classifications = map[string][]string{"critic": {"y", "x"}, "pii": {"pii"}, "data": nil}
	})
	plain := newRig(t)
	for _, test := range []struct {
		r       *rig
		name    string
		options []kest.Option
		want    []string
	}{
		{plain, "data", nil, []string{"contains_data"}}, {plain, "critic", nil, []string{"requires_review"}},
		{plain, "sanitizer", nil, []string{"sanitized"}}, {plain, "system", nil, nil}, {plain, "other", nil, nil},
		{r, "critic", nil, []string{"x", "y"}}, {r, "pii", []kest.Option{kest.AddTaints("a")}, []string{"a", "pii"}}, {r, "data", nil, nil},
		{r, "sanitizer", nil, []string{"sanitized"}},
		{r, "critic", []kest.Option{kest.RemoveTaints("x"), kest.Sanitizer("s")}, []string{"y"}},
	} {
		e := test.r.entry(t.Context(), append(test.options, kest.Classification(test.name))...)
		if !slices.Equal(e.AddedTaints, test.want) || !slices.Equal(e.Taints, test.want) || e.Classification != test.name {
			t.Errorf("%s: added %q, taints %q, want %q", test.name, e.AddedTaints, e.Taints, test.want)
		}
	}
	// An explicit addition that is also removed is recorded as both.
	e := plain.entry(t.Context(), kest.AddTaints("x"), kest.RemoveTaints("x"), kest.TrustOverride(5))
	if !slices.Equal(e.AddedTaints, []string{"x"}) || !slices.Equal(e.RemovedTaints, []string{"x"}) || len(e.Taints) != 0 {
		t.Errorf("%+v", e)
	}
}

type loop struct{ Next *loop }

type custom func() ([]byte, error)

func (c custom) MarshalJSON() ([]byte, error) { return c() }

// TestInputHash (F-AE-12): the SHA-256 of the argument's RFC 8785 form, integers exact.
func TestInputHash(t *testing.T) {
	r := newRig(t)
	hash := func(in any) string { return signedBy(t, r.Guard, t.Context(), in).Entry().InputHash }
	for _, test := range []struct {
		in   any
		text string
	}{
		{map[string]any{"z": 3, "a": 1, "m": 2}, `{"a":1,"m":2,"z":3}`},
		{int64(math.MaxInt64), "9223372036854775807"}, {int64(math.MaxInt64 - 1), "9223372036854775806"},
		{uint64(math.MaxUint64), "18446744073709551615"}, {int64(9007199254740993), "9007199254740993"},
		{1e21, "1e+21"}, {0.1, "0.1"}, {math.Copysign(0, -1), "0"}, {nil, "null"}, {[]string(nil), "null"}, {"<&>\u2028é", "\"<&>\u2028é\""},
		{order{"a", 1.0}, `{"Amount":1,"ID":"a"}`}, {`\ufffd`, `"\\ufffd"`}, {`\\ufffd`, `"\\\\ufffd"`}, {"\ufffd", "\"\ufffd\""},
		{json.RawMessage(`{"b":1, "a": "\u0041"}`), `{"a":"A","b":1}`},
	} {
		want := sha256.Sum256([]byte(test.text))
		if got := hash(test.in); got != hex.EncodeToString(want[:]) {
			t.Errorf("%v: %s, want that of %s", test.in, got, test.text)
		}
	}
	if hash(int64(9007199254740993)) == hash(int64(9007199254740992)) {
		t.Error("two integers have one hash")
	}
	ring := &loop{}
	ring.Next = ring
	deep := any(1)
	for range 70 {
		deep = []any{deep}
	}
	for name, in := range map[string]any{
		"channel": make(chan int), "function": func() {}, "NaN": math.NaN(), "infinity": math.Inf(1), "cycle": ring, "deep": deep,
		"invalid UTF-8": "a\xff", "invalid key": map[string]int{"\xc0": 1}, "both": `\ufffd` + "\xff", "nested": []any{map[string]any{"x": "\xed\xa0\x80"}},
		"own encoder": custom(func() ([]byte, error) { return nil, errCause }), "duplicate": json.RawMessage(`{"a":1,"a":2}`),
		"raw bytes": json.RawMessage("\"\xff\""), "lone surrogate": json.RawMessage(`"\ud800"`), "complex": complex(1, 2),
	} {
		f := kest.MustVerified(r.Guard, func(context.Context, any) (int, error) { t.Errorf("%s: the body ran", name); return 0, nil },
			kest.Operation("x"), kest.Policy("a/b"))
		_, err := f(t.Context(), in)
		if wantStopped(t, err, kest.StepInput); !strings.Contains(err.Error(), "InputDigestFrom or NoInputHash") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInputHashOptions: another digest, or none; then anything may be the argument.
func TestInputHashOptions(t *testing.T) {
	r := newRig(t)
	digest := strings.Repeat("0a", 32)
	from := kest.InputDigestFrom(func(_ context.Context, c chan int) (string, error) { return digest, nil })
	if e := signedBy(t, r.Guard, t.Context(), make(chan int), from).Entry(); e.InputHash != digest {
		t.Errorf("%q", e.InputHash)
	}
	if e := signedBy(t, r.Guard, t.Context(), make(chan int), kest.NoInputHash()).Entry(); e.InputHash != "" {
		t.Errorf("%q", e.InputHash)
	}
}

// TestAttributesAreFrozen: what policies see is what was signed, and nobody can change it afterwards.
func TestAttributesAreFrozen(t *testing.T) {
	r := newRig(t)
	nested := map[string]any{"level": 1}
	attributes := map[string]any{"nested": nested, "when": time.Unix(0, 0).UTC(), "n": json.Number("7"), "f": 1.5, "none": nil}
	options := []kest.Option{kest.ResourceAttributes(attributes), kest.Attributes(attributes),
		kest.ResourceFrom(func(_ context.Context, o order) (string, error) { return "order/" + o.ID, nil })}
	nested["level"] = 2
	f := kest.MustVerified(r.Guard, func(ctx context.Context, _ order) (string, error) {
		const want = `{"f":1.5,"n":7,"nested":{"level":2},"none":null,"when":"1970-01-01T00:00:00Z"}`
		if e := kest.CurrentEntry(ctx).Entry(); e.Labels[lineage.LabelResourceAttributes] != want || e.Labels[lineage.LabelResourceID] != "order/7" {
			t.Errorf("%q", e.Labels)
		}
		return "", nil
	}, append(options, kest.Operation("x"), kest.Policy("a/b"))...)
	nested["level"], attributes["later"] = 3, make(chan int)
	if _, err := f(t.Context(), order{ID: "7"}); err != nil {
		t.Fatal(err)
	}
	in := r.engine.Calls()[0].Input
	want := map[string]any{"f": 1.5, "n": 7, "nested": map[string]any{"level": 2}, "none": nil, "when": "1970-01-01T00:00:00Z"}
	if got := fmt.Sprintf("%#v", in.Object.Attributes); got != fmt.Sprintf("%#v", want) || got != fmt.Sprintf("%#v", in.Attributes) || in.Object.ID != "order/7" {
		t.Errorf("policy sees %#v", in.Object)
	}
	if _, whole := in.Object.Attributes["n"].(int); !whole {
		t.Errorf("a whole number is a %T", in.Object.Attributes["n"])
	}
	for name, bad := range map[string]any{"channel": make(chan int), "large": int64(1) << 53, "text": "\xff", "NaN": math.NaN()} {
		resolve := func(context.Context, order) (map[string]any, error) { return map[string]any{name: bad}, nil }
		for _, option := range []kest.Option{kest.ResourceAttributesFrom(resolve), kest.AttributesFrom(resolve)} {
			wantStopped(t, r.call(t.Context(), kest.Operation("x"), option), kest.StepResolve)
		}
		for _, option := range []kest.Option{kest.ResourceAttributes(map[string]any{name: bad}), kest.Attributes(map[string]any{name: bad})} {
			_, err := kest.Verified(r.Guard, ship, kest.Policy("a/b"), option)
			wantConfig(t, err)
		}
	}
	empty := func(context.Context, order) (map[string]any, error) { return map[string]any{}, nil }
	if e := r.entry(t.Context(), kest.ResourceAttributesFrom(empty)); e.Labels[lineage.LabelResourceAttributes] != "" {
		t.Errorf("%q", e.Labels)
	}
}

// TestConfigIsCopied: nothing that the caller does to its Config or options afterwards has an effect.
func TestConfigIsCopied(t *testing.T) {
	engine := allowOnly("e/1", "p/1", "a/1", "f/1")
	names := map[policy.Tier][]string{policy.Enterprise: {"e/1"}, policy.Platform: {"p/1"}, policy.Application: {"a/1"}}
	origins, classes := map[string]int{"partner": 50}, map[string][]string{"pii": {"pii"}}
	deviations := []policy.Deviation{{Policy: "p/1", Tier: policy.Platform, Scope: "nothing"}}
	r := newRig(t, func(c *kest.Config) {
		c.Engine, c.Origins, c.Classifications, c.Deviations = engine, origins, classes, deviations
		c.Enterprise, c.Platform, c.Application = names[policy.Enterprise], names[policy.Platform], names[policy.Application]
	})
	function, taints, environment := []string{"f/1"}, []string{"t"}, map[string]string{"k": "v"}
	options := []kest.Option{
		kest.Operation("x"), kest.Policy(function...), kest.AddTaints(taints...), kest.Environment(environment),
		kest.SourceType("partner"), kest.Classification("pii"),
	}
	body := func(ctx context.Context, _ order) (lineage.Entry, error) { return kest.CurrentEntry(ctx).Entry(), nil }
	f := kest.MustVerified(r.Guard, body, options...)
	for _, list := range [][]string{names[policy.Enterprise], names[policy.Platform], names[policy.Application], function, taints, classes["pii"]} {
		list[0] = "changed"
	}
	origins["partner"], classes["pii"], environment["k"] = 99, nil, "changed"
	deviations[0].Scope = "*"
	seen := r.Config()
	seen.Enterprise[0], seen.Origins["partner"], seen.Classifications["pii"][0], seen.Deviations[0].Scope = "changed", 98, "changed", "*"
	function[0], taints[0] = "f/1", "t" // of options that are used again
	for _, f := range []func(context.Context, order) (lineage.Entry, error){f, kest.MustVerified(r.Guard, body, append(options, kest.Environment(map[string]string{"k": "v"}))...)} {
		engine.Reset()
		e, err := f(t.Context(), order{})
		if err != nil {
			t.Fatal(err)
		}
		if e.TrustScore != 50 || !slices.Equal(e.Taints, []string{"pii", "t"}) || e.Environment != `{"k":"v"}` || len(e.Policies.Deviations) != 0 ||
			fmt.Sprint(e.Policies.Enterprise, e.Policies.Function) != "[e/1] [f/1]" {
			t.Errorf("%+v", e)
		}
		if got := engine.Names(); !slices.Equal(got, []string{"e/1", "p/1", "a/1", "f/1"}) {
			t.Errorf("asked %q", got)
		}
	}
	if c := r.Config(); c.Origins["partner"] != 50 || c.Deviations[0].Scope != "nothing" || c.Enterprise[0] != "e/1" || c.Classifications["pii"][0] != "pii" {
		t.Errorf("%+v", c)
	}
}

// labeler knows more about its workload, and tries to say what is not its business.
type labeler struct {
	lineage.Signer
	labels map[string]string
}

func (l labeler) Labels() map[string]string { return l.labels }

// TestProviderLabels (SPEC §8 OIDC): what the provider knows of the workload is signed into the entry; it replaces nothing
// that Kest or the call says.
func TestProviderLabels(t *testing.T) {
	r := newRig(t, func(c *kest.Config) {
		next := c.Identity
		c.Identity = provider{func(ctx context.Context) (lineage.Signer, error) {
			s, err := next.Signer(ctx)
			return labeler{s, map[string]string{
				lineage.LabelIssuer: "https://issuer.example", lineage.LabelSubject: "payments", "team": "provider",
				lineage.LabelPrincipal: "somebody else", lineage.LabelTraceID: "0", lineage.LabelSourceType: "system",
				lineage.LabelTrustOverride: "100",
			}}, err
		}}
	})
	e := r.entry(t.Context(), kest.Label("team", "call"), kest.SourceType("user_input"), kest.TrustOverride(7))
	for name, want := range map[string]string{
		lineage.LabelIssuer: "https://issuer.example", lineage.LabelSubject: "payments", "team": "call",
		lineage.LabelPrincipal: payments, lineage.LabelSourceType: "user_input", lineage.LabelTrustOverride: "7",
	} {
		if e.Labels[name] != want {
			t.Errorf("%s is %q, want %q", name, e.Labels[name], want)
		}
	}
	if len(e.Labels[lineage.LabelTraceID]) != 32 {
		t.Errorf("trace id %q", e.Labels[lineage.LabelTraceID])
	}
}
