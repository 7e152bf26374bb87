package cedar_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/policytest"
)

// contract are the policies of the contract in Cedar. A policy that "has no value" is one whose forbid cannot be
// computed: Cedar then says Allow, with an error beside it.
var contract = map[string]string{
	policytest.AllowTrusted:  permit(policytest.AllowTrusted, "context.trust_score >= 40"),
	policytest.DenyAll:       permit(policytest.DenyAll, "true") + forbid(policytest.DenyAll, "true"),
	policytest.AllowWorkload: permit(policytest.AllowWorkload, `principal == Workload::"`+policytest.Workload+`" && context.subject.workload == "`+policytest.Workload+`"`),
	policytest.Undefined:     permit(policytest.Undefined, "true") + forbid(policytest.Undefined, "context.subject.nothing == 1"),
	policytest.NotBoolean:    permit(policytest.NotBoolean, "true") + forbid(policytest.NotBoolean, `context["subject.workload"]`),
}

// The contract of every engine, against the real one.
func TestContract(t *testing.T) {
	a := start(t, write(t, contract))
	policytest.TestEngine(t, policytest.Harness{
		New:           func(t *testing.T) policy.Engine { return engine(t, cedaragent.Config{URL: a.URL}) },
		Unsupported:   map[string]string{policytest.Slow: "Cedar has no loops"},
		UnknownDenies: true,
	})
}

// A row asks one condition about a changed input.
type row struct {
	name, condition string
	change          func(*policy.Input)
	want            string // "allow", "deny" or "error"
}

func unchanged(*policy.Input) {}

func attributes(m map[string]any) func(*policy.Input) {
	return func(in *policy.Input) { in.Attributes = m }
}

// table is what policies can say about an input, and what must come of it with every Cedar engine.
var table = []row{
	{"both forms", `context.subject.user == "alice" && context["subject.user"] == context.subject.user`, unchanged, "allow"},
	{"identity", `context["identity.agent"] == "agent-7" && context.identity has task`, unchanged, "allow"},
	{"trust", `context.trust_score == context.subject.trust_score && context["subject.trust_score"] == 100`, unchanged, "allow"},
	{"too little trust", `context.trust_score > 100`, unchanged, "deny"},
	{"taint", `context.subject.taints.contains("contains_data") && !context["subject.taints"].contains("x")`, unchanged, "allow"},
	{"empty set", `context["subject.taints"].isEmpty()`, func(in *policy.Input) { in.Subject.Taints = nil }, "allow"},
	{"null is absent", `context.subject has user || context has "subject.user" || context.identity has user`, func(in *policy.Input) { in.Subject.User = "" }, "deny"},
	{"absent is an error", `context.subject.user == "alice"`, func(in *policy.Input) { in.Subject.User = "" }, "error"},
	{"has guards", `!(context.subject has user) || context.subject.user == "alice"`, func(in *policy.Input) { in.Subject.User = "" }, "allow"},
	{"resource", `resource == Resource::"order/ORD-123" && context.object.id == "order/ORD-123"`, unchanged, "allow"},
	{"no resource", `resource == Resource::"*" && !(context.object has id)`, func(in *policy.Input) { in.Object.ID = "" }, "allow"},
	{"another type", `principal == User::"` + policytest.Workload + `"`, unchanged, "deny"},
	{"is", `principal is Workload && resource is Resource && action is Action`, unchanged, "allow"},
	{"set with records", `context["object.attributes.tags"].containsAll(["urgent", 7])`, unchanged, "allow"},
	{"deviations", `context.environment.active_deviations.contains({policy: "org/audit", tier: "platform", reason: "CHG-1", approver: "ciso"})`, unchanged, "allow"},
	{"deviation without approver", `context.environment.active_deviations.contains({policy: "p", tier: "platform"})`,
		func(in *policy.Input) {
			in.Environment.ActiveDeviations = []policy.Deviation{{Policy: "p", Tier: policy.Platform}}
		}, "allow"},
	{"parents", `context.environment.parent_hash == "` + strings.Repeat("ab", 32) + `" && !context.environment.is_root`, unchanged, "allow"},
	{"lineage", `context.lineage.principals == ["` + policytest.Workload + `"] && context["lineage.min_trust"] == 100`, unchanged, "allow"},
	{"attributes", `context.attributes.nested.list == [true] && context["attributes.nested.list"] == [true]`, unchanged, "allow"},
	{"odd names", `context.attributes["a b\"c"] == "x\ny" && context["attributes.a b\"c"] == "x\ny" && context["attributes."] == 1`,
		attributes(map[string]any{`a b"c`: "x\ny", "": 1}), "allow"},
	{"dotted name", `context.attributes["http.method"] == "GET" && context["attributes.http.method"] == "GET"`, attributes(map[string]any{"http.method": "GET"}), "allow"},
	{"whole float", `context.attributes.n == 7 && context.attributes.z == 0`, attributes(map[string]any{"n": 7.0, "z": math.Copysign(0, -1)}), "allow"},
	{"big number", `context.attributes.n == 9007199254740991`, attributes(map[string]any{"n": int64(1<<53 - 1)}), "allow"},
	{"decimals", `context.attributes.d.lessThan(decimal("87.6")) && context.attributes.n == decimal("-0.0001") && context["attributes.n"] == context.attributes.n`,
		attributes(map[string]any{"d": 87.5, "n": -0.0001}), "allow"},
	{"decimal is no number", `context.attributes.d > 40`, attributes(map[string]any{"d": 87.5}), "error"},
	{"number is no text", `context.attributes.n == 40`, attributes(map[string]any{"n": "40"}), "deny"},
	{"overflow", `context.trust_score * 9223372036854775807 > 0`, unchanged, "error"},
	{"text is no number", `context.attributes.n >= 40`, attributes(map[string]any{"n": "high"}), "error"},
}

// ask names what comes of a question.
func ask(t *testing.T, e policy.Engine, name string, in *policy.Input) string {
	t.Helper()
	d, err := e.Evaluate(t.Context(), name, in)
	switch {
	case err != nil && d.Allow:
		return "allow beside an error"
	case errors.Is(err, policy.ErrUnavailable):
		t.Errorf("%s: %v", name, err)
		return "unavailable"
	case err != nil:
		return "error"
	case d.Allow:
		return "allow"
	}
	return "deny"
}

// rows makes the policies of the table. Each row is asked three ways: its condition permits, its condition forbids
// what is permitted otherwise, and what it permits is forbidden.
func rows() map[string]string {
	policies := map[string]string{}
	for i, r := range table {
		p, f, b := fmt.Sprintf("permit/r%d", i), fmt.Sprintf("forbid/r%d", i), fmt.Sprintf("both/r%d", i)
		policies[p] = permit(p, r.condition)
		policies[f] = permit(f, "true") + forbid(f, r.condition)
		policies[b] = permit(b, r.condition) + forbid(b, r.condition)
	}
	return policies
}

// What the real engine decides about an input as cedaragent writes it.
func TestDecisions(t *testing.T) {
	e := engine(t, cedaragent.Config{URL: start(t, write(t, rows())).URL})
	for i, r := range table {
		in := policytest.Input(100)
		r.change(in)
		got := ask(t, e, fmt.Sprintf("permit/r%d", i), in)
		if got != r.want {
			t.Errorf("%s: %s; want %s", r.name, got, r.want)
		}
		// A forbid that cannot be computed must not let the call through.
		if forbidden := ask(t, e, fmt.Sprintf("forbid/r%d", i), in); got == "allow" && forbidden != "deny" {
			t.Errorf("%s: forbidden, yet %s", r.name, forbidden)
		}
		if both := ask(t, e, fmt.Sprintf("both/r%d", i), in); both == "allow" {
			t.Errorf("%s: permitted and forbidden, yet allowed", r.name)
		}
	}
	for name, condition := range map[string]string{"absent": "absent is an error", "overflow": "overflow", "type": "text is no number"} {
		for i, r := range table {
			if r.name != condition {
				continue
			}
			in := policytest.Input(100)
			r.change(in)
			if got := ask(t, e, fmt.Sprintf("forbid/r%d", i), in); got != "error" {
				t.Errorf("%s: a forbid that cannot be computed gives %s", name, got)
			}
		}
	}
}

// ids are such as a workload or an object would never have, and as an attacker would choose them.
func ids() []string {
	all := []string{
		"", "a", "A", "*", " a", "a ", "spiffe://example.org/a", `"`, `\`, `\"`, `a"`, `a\`, `'`, `''`, "a\nb", "a\r", "a\t", "\x00", "a\x00b",
		"\x1b[2J", "\x7f", "\u0080", "é", "e\u0301", "\u0301", "日本", "\U0001f600", "\u200b", "\u202ea", "\u2028", "\ufeff", "\ue000", "\ufffd",
		`a"; permit(principal, action, resource); //`, `Workload::"a"`, `a", action, resource) when { true }; permit(principal == Workload::"b`,
		`a" || true || "`, `\u{61}`, `\x61`, `\0`, `a // comment`, `a/* */`, `{"__entity":{"type":"Workload","id":"a"}}`, `?principal`,
		strings.Repeat("a", 10_000), strings.Repeat(`"`, 1000), strings.Repeat(`\`, 1001),
	}
	random := rand.New(rand.NewPCG(7, 5))
	alphabet := []rune("ab\"\"''\\\\\\u{}x0123456789\n\r\t\x00\x01\x1f :é日\u00a0\u200d\u0301\U0001f4a9\U0010ffff/*;=")
	for range 150 {
		id := make([]rune, 1+random.IntN(12))
		for i := range id {
			id[i] = alphabet[random.IntN(len(alphabet))]
		}
		all = append(all, string(id))
	}
	return all
}

// Every id is itself to the real engine and no other, as a principal and as a resource.
func TestHostileIDs(t *testing.T) {
	all, policies := ids(), map[string]string{}
	for i, id := range all {
		name := fmt.Sprintf("id/n%d", i)
		resource := id
		if id == "" {
			resource = "*"
		}
		policies[name] = permit(name, "principal == Workload::"+quoted(id)+" && resource == Resource::"+quoted(resource))
	}
	e := engine(t, cedaragent.Config{URL: start(t, write(t, policies)).URL})
	for i, id := range all {
		in := policytest.Input(100)
		in.Subject.Workload, in.Object.ID = id, id
		if got := ask(t, e, fmt.Sprintf("id/n%d", i), in); got != "allow" {
			t.Errorf("%.80q: %s as itself", id, got)
		}
		for _, other := range []int{0, 1, 7, (i + 1) % len(all), (i + 5) % len(all)} {
			if got := ask(t, e, fmt.Sprintf("id/n%d", other), in); all[other] != id && got != "deny" {
				t.Errorf("%.80q: %s as %.80q", id, got, all[other])
			}
		}
	}
}

// What the real engine does not accept is an error: plain ids are no entity UIDs to it, and neither are other keys.
func TestRefusals(t *testing.T) {
	a := start(t, write(t, contract), "an-api-key")
	for name, c := range map[string]cedaragent.Config{
		"no key":      {},
		"wrong key":   {BearerToken: cedaragent.StaticToken("another"), BareToken: true},
		"with Bearer": {BearerToken: cedaragent.StaticToken("an-api-key")},
		"plain":       {BearerToken: cedaragent.StaticToken("an-api-key"), BareToken: true, Plain: true},
		"wrong base":  {URL: strings.TrimSuffix(a.URL, "/v1"), BearerToken: cedaragent.StaticToken("an-api-key"), BareToken: true},
	} {
		if c.URL == "" {
			c.URL = a.URL
		}
		d, err := engine(t, c).Evaluate(t.Context(), policytest.AllowTrusted, policytest.Input(100))
		if d.Allow || !errors.Is(err, policy.ErrUnavailable) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	e := engine(t, cedaragent.Config{URL: a.URL, BearerToken: cedaragent.StaticToken("an-api-key"), BareToken: true})
	if got := ask(t, e, policytest.AllowTrusted, policytest.Input(100)); got != "allow" {
		t.Error(got)
	}
	a.Kill()
	if d, err := e.Evaluate(t.Context(), policytest.AllowTrusted, policytest.Input(100)); d.Allow || !errors.Is(err, policy.ErrUnavailable) {
		t.Errorf("after the server has died: %+v, %v", d, err)
	}
}

// BenchmarkReal is one evaluation by the real engine.
func BenchmarkReal(b *testing.B) {
	e := engine(b, cedaragent.Config{URL: start(b, write(b, contract)).URL})
	in := policytest.Input(100)
	for b.Loop() {
		if d, err := e.Evaluate(b.Context(), policytest.AllowTrusted, in); err != nil || !d.Allow {
			b.Fatalf("%+v, %v", d, err)
		}
	}
}
