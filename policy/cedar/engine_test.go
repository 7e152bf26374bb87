package cedar_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/policytest"
)

// The contract of every engine (F-PE-02, F-PE-09, SPEC §7), against cedar-go itself.
func TestContract(t *testing.T) {
	policytest.TestEngine(t, policytest.Harness{
		New: func(t *testing.T) policy.Engine {
			return load(t, cedar.Config{}, tree{
				"kest/allow_trusted.cedar":  guide,
				"kest/deny_all.cedar":       "forbid(principal, action, resource);",
				"kest/allow_workload.cedar": `permit(principal == Workload::"` + policytest.Workload + `", action, resource);`,
				"kest/undefined.cedar":      "permit(principal, action, resource) when { context.nothing > 1000 };",
				"kest/not_boolean.cedar":    `permit(principal, action, resource) when { "true" };`,
			})
		},
		Unsupported: map[string]string{policytest.Slow: "Cedar has no loops: nothing that can be loaded takes 30 s"},
	})
}

// The guide's policy, from disk (SPEC §7, TC-09).
func TestGuidePolicy(t *testing.T) {
	engine, err := cedar.Dir("testdata/guide")
	if err != nil {
		t.Fatal(err)
	}
	for trust, want := range map[int]bool{-1: false, 0: false, 39: false, 40: true, 100: true} {
		d, err := engine.Evaluate(t.Context(), "kest/allow_trusted", call(trust))
		if err != nil || d.Allow != want || d.Revision != engine.Revision() {
			t.Errorf("trust %d: %+v, %v", trust, d, err)
		}
		reason := "no permit of testdata/guide/kest/allow_trusted.cedar applies"
		if want {
			reason = `permit "policy0" (testdata/guide/kest/allow_trusted.cedar:1)`
		}
		if d.Reason != reason {
			t.Errorf("trust %d: reason %q, want %q", trust, d.Reason, reason)
		}
	}
}

// Only an allow without any error allows (SPEC §7). Of the errors, each one denies, whoever raised it.
func TestAnswers(t *testing.T) {
	const all = "(principal, action, resource)"
	tests := []struct {
		name, text string
		allow      bool
		want       string // of the reason, or of the error when it begins with !
	}{
		{"permit", "permit" + all + ";", true, `permit "policy0" (p.cedar:1)`},
		{"none applies", "permit" + all + " when { false };", false, "no permit of p.cedar applies"},
		{"only a forbid that does not apply", "forbid" + all + " when { false };", false, "no permit of p.cedar applies"},
		{"forbid overrides", "permit" + all + ";\n@id(\"stop\")\nforbid" + all + ";", false, `forbid "stop" (p.cedar:2)`},
		{"two permits", "permit" + all + ";\npermit" + all + ";", true, `permit "policy0" (p.cedar:1); permit "policy1" (p.cedar:2)`},
		{"ten permits", strings.Repeat("permit"+all+";\n", 10), true, `(p.cedar:8); and 2 more`},
		{"id", `@id("a \"b\"` + `\n` + `c") permit` + all + ";", true, `permit "a \"b\" c" (p.cedar:1)`},
		{"empty id", `@id permit` + all + ";", true, `permit "policy0"`},
		{"unless", "permit" + all + " unless { context.trust_score < 40 };", true, "permit"},
		{"principal", `permit(principal == Workload::"spiffe://example.org/payments", action, resource);`, true, "permit"},
		{"other principal", `permit(principal == Workload::"spiffe://example.org/other", action, resource);`, false, "no permit"},
		{"other type", `permit(principal == User::"spiffe://example.org/payments", action, resource);`, false, "no permit"},
		{"action", `permit(principal, action == Action::"p", resource);`, true, "permit"},
		{"other action", `permit(principal, action == Action::"q", resource);`, false, "no permit"},
		{"resource", `permit(principal, action, resource == Resource::"invoice/7");`, true, "permit"},
		{"any resource is none", `permit(principal, action, resource == Resource::"*");`, false, "no permit"},
		{"types", `permit(principal is Workload, action, resource is Resource);`, true, "permit"},
		// A forbid whose condition fails is skipped by Cedar, so the permit beside it would allow.
		{"forbid errs", "permit" + all + ";\nforbid" + all + " when { context.nothing == 1 };", false,
			`!forbid "policy1" (p.cedar:2): record does not have the attribute ` + "`nothing`"},
		{"permit errs beside a permit", "permit" + all + ";\npermit" + all + " when { context.nothing == 1 };", false, `!permit "policy1" (p.cedar:2)`},
		{"permit errs beside a forbid", "forbid" + all + ";\npermit" + all + " when { context.nothing == 1 };", false, `!permit "policy1" (p.cedar:2)`},
		{"two err", "@id(\"a\") forbid" + all + " when { 1 };\n@id(\"b\") forbid" + all + " when { context.x };", false, `!forbid "a" (p.cedar:1): type error: expected bool, got long; forbid "b" (p.cedar:2)`},
		{"type confusion", `permit` + all + ` when { "high" >= 40 };`, false, "!type error: expected comparable value, got string"},
		{"type confusion of the input", `permit` + all + ` when { context.subject.user >= 40 };`, false, "!type error: expected comparable value, got string"},
		{"condition that is a string", `permit` + all + ` when { "true" };`, false, "!type error: expected bool, got string"},
		{"condition that is a number", `permit` + all + ` when { 1 };`, false, "!type error: expected bool, got long"},
		{"overflow", `permit` + all + ` when { context.trust_score * 9223372036854775807 > 0 };`, false, "!a number is out of range"},
		{"no IP address", `permit` + all + ` when { ip(context.subject.user).isLoopback() };`, false, "!error parsing ip value"},
		{"no decimal", `permit` + all + ` when { decimal(context.subject.user).lessThan(decimal("1.0")) };`, false, "!error parsing decimal value"},
		{"no duration", `permit` + all + ` when { duration(context.subject.user) < duration("1s") };`, false, "!error parsing duration value"},
		{"entity without attributes", `permit` + all + ` when { principal.level == 1 };`, false, "!an entity does not exist; add it to the entities file"},
		{"tag of nobody", `permit` + all + ` when { principal.getTag(context.subject.user) == 1 };`, false, "!an entity does not exist"},
		{"null is absent", `permit` + all + ` when { context.subject.agent == "" };`, false, "!does not have the attribute `agent`"},
		{"has", `permit` + all + ` when { !(context.subject has agent) && context.subject has user };`, true, "permit"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := one(t, test.text).Evaluate(t.Context(), "p", call(80))
			want, fails := strings.CutPrefix(test.want, "!")
			got := d.Reason
			if fails {
				if !errors.Is(err, policy.ErrIndefinite) || d != (policy.Decision{}) {
					t.Fatalf("%+v, %v", d, err)
				}
				got = err.Error()
				for _, secret := range []string{"spiffe://", "ada", "922337"} {
					if strings.Contains(got, secret) {
						t.Errorf("the error quotes the input: %v", err)
					}
				}
			} else if err != nil || d.Allow != test.allow {
				t.Fatalf("%+v, %v; want allow %t", d, err, test.allow)
			}
			if !strings.Contains(got, want) {
				t.Errorf("%q; want %q", got, want)
			}
		})
	}
}

// An id is a value: whatever is in it, it is that workload's or that object's and nobody else's.
func TestHostileIDs(t *testing.T) {
	ids := []string{
		``, `"`, `\`, `\"`, `a" || true || "`, `"; permit(principal, action, resource); //`, `") || Workload::("`, "a\nb", "a\x00b",
		`Workload::"admin"`, `admin`, "*", "\u202eadmin", "ädmin", "a\u0308dmin", "😀", strings.Repeat("x", 10<<10), `{"__entity": {"type": "Workload", "id": "admin"}}`,
	}
	engine := load(t, cedar.Config{Entities: "e.json"}, tree{
		"admin.cedar":    `permit(principal == Workload::"admin", action, resource);`,
		"object.cedar":   `permit(principal, action, resource == Resource::"admin");`,
		"none.cedar":     `permit(principal, action, resource == Resource::"*");`,
		"group.cedar":    `permit(principal in Group::"admins", action, resource);`,
		"same.cedar":     `permit(principal, action, resource) when { context.subject.workload == context["subject.workload"] && context.subject.workload == context.object.id };`,
		"same.cedar.bak": `not loaded`,
		"e.json":         `[{"uid": {"type": "Workload", "id": "admin"}, "parents": [{"type": "Group", "id": "admins"}], "attrs": {}}]`,
	})
	for _, id := range ids {
		in := call(80)
		in.Subject.Workload, in.Object.ID = id, id
		for name, want := range map[string]bool{
			"admin": id == "admin", "group": id == "admin", "object": id == "admin",
			"none": id == "" || id == "*", "same": true,
		} {
			if id == "" && name == "same" { // no object, so no id of it
				continue
			}
			d, err := engine.Evaluate(t.Context(), name, in)
			if err != nil || d.Allow != want {
				t.Errorf("%s, id %.40q: %+v %v", name, id, d, err)
			}
		}
	}
	for _, set := range []func(*policy.Input){
		func(in *policy.Input) { in.Subject.Workload = "admin\xff" }, func(in *policy.Input) { in.Object.ID = "\xc0\xaf" },
	} {
		in := call(80)
		set(in)
		if _, err := engine.Evaluate(t.Context(), "none", in); !errors.Is(err, policy.ErrIndefinite) || !strings.Contains(err.Error(), "UTF-8") {
			t.Error("not UTF-8:", err)
		}
	}
}

// What fails about an entity is told without its id, even if that looks like what cedar-go says.
func TestErrorsOfEntities(t *testing.T) {
	const id = "spiffe://x does not have the attribute secret"
	for condition, want := range map[string]string{
		"principal.level == 1":                        "an entity does not have the attribute `level`; ask with \"has\" first",
		"principal.getTag(\"secret\") == 1":           "an entity does not have the tag; ask with hasTag first",
		"principal.getTag(context.subject.user) == 1": "an entity does not have the tag; ask with hasTag first",
		"Group::\"secret\".level == 1":                "an entity does not exist; add it to the entities file",
		"principal has level || principal > 1":        "type error: ",
	} {
		engine := load(t, cedar.Config{}, tree{
			"p.cedar":       "permit(principal, action, resource) when { " + condition + " };",
			"entities.json": `[{"uid": {"type": "Workload", "id": "` + id + `"}, "parents": [], "attrs": {}}]`,
		})
		in := call(80)
		in.Subject.Workload, in.Subject.User = id, "x` does not have the attribute `secret"
		_, err := engine.Evaluate(t.Context(), "p", in)
		if !errors.Is(err, policy.ErrIndefinite) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; want %q", condition, err, want)
		}
	}
}

// A file is one policy, and its path is the name. Nothing else is.
func TestNames(t *testing.T) {
	engine := load(t, cedar.Config{}, tree{
		"kest/allow-trusted.cedar": "permit(principal, action, resource);", "kest/v1.2/x.cedar": "permit(principal, action, resource);",
		"kest/allow-trusted/deeper.cedar": "forbid(principal, action, resource);", ".git/x.cedar": "broken", "README.md": "x",
		"kest/data.json": "x", "kest/p.rego": "x", "p.cedar": guide, "P.cedar": "forbid(principal, action, resource);",
	})
	want := []string{"P", "kest/allow-trusted", "kest/allow-trusted/deeper", "kest/v1.2/x", "p"}
	if got := engine.Policies(); !slices.Equal(got, want) {
		t.Fatalf("policies %q, want %q", got, want)
	}
	for _, name := range []string{"kest/allow-trusted", "kest/v1.2/x", "p"} {
		if d, err := engine.Evaluate(t.Context(), name, call(40)); err != nil || !d.Allow || engine.Check(name) != nil {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
	unknown := append(policytest.HostileNames(), "kest/data", "kest", "kest/v1.2", "p.cedar", "kest/p", "KEST/allow-trusted",
		"x", ".git/x", "../cedar/p", "./p", "P/", strings.Repeat("a", 10<<10))
	for _, name := range unknown {
		d, err := engine.Evaluate(t.Context(), name, call(100))
		if d.Allow || !errors.Is(err, policy.ErrUnknownPolicy) || len(err.Error()) > 600 {
			t.Errorf("%.40q: %+v %v", name, d, err)
		}
		if err := engine.Check(name); !errors.Is(err, policy.ErrUnknownPolicy) {
			t.Errorf("check %.40q: %v", name, err)
		}
	}
	for _, name := range []string{"a b.cedar", "kest/ö.cedar", "a%2f.cedar", strings.Repeat("a", 260) + ".cedar", `kest\p.cedar`} {
		_, err := cedar.FS(tree{name: guide}.fs())
		if _, ok := errors.AsType[*cedar.SourceError](err); !ok || !strings.Contains(err.Error(), "rename the file") {
			t.Errorf("%.40q: %v", name, err)
		}
	}
}

// The order of the file, not of a map, is the order of reasons.
func TestReasonsAreOrdered(t *testing.T) {
	engine := one(t, strings.Repeat("permit(principal, action, resource);\n", 8))
	first, err := engine.Evaluate(t.Context(), "p", call(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if d, _ := engine.Evaluate(t.Context(), "p", call(1)); d != first {
			t.Fatalf("%+v, then %+v", first, d)
		}
	}
}

// ending is a context that ends after it was looked at n times.
type ending struct {
	context.Context
	n int
}

func (c *ending) Err() error {
	if c.n--; c.n < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// A deadline that passes during an evaluation ends it at the next statement, and an answer that comes too late is none.
func TestDeadlineBetweenStatements(t *testing.T) {
	engine := one(t, "permit(principal, action, resource);\npermit(principal, action, resource) when { context.nothing };")
	for n, late := range []bool{true, true, true, true, false} { // before, each of two statements, after
		_, err := engine.Evaluate(&ending{t.Context(), n}, "p", call(80))
		if got := errors.Is(err, context.DeadlineExceeded); got != late || late != errors.Is(err, policy.ErrUnavailable) {
			t.Errorf("after %d looks: %v", n, err)
		}
	}
}

// What attributes can do at most: sets whose members all have one hash cost the square of their number, and so does
// each comparison. Cedar cannot be interrupted, so this has to be short.
func TestWorstInput(t *testing.T) {
	collide := func() []any {
		var all []any
		for i := range 1360 {
			all = append(all, []any{i + 1, -i - 1})
		}
		return all
	}
	mixed := make([]any, 0, 4000)
	for i := range 2000 {
		mixed = append(mixed, i+1)
	}
	for i := range 2000 {
		mixed = append(mixed, float64(i+1)/10_000)
	}
	deep := any([]any{})
	for range 60 {
		deep = []any{deep, deep}[:1]
	}
	engine := when(t, "[context.attributes.x].containsAll([context.attributes.x]) && context.attributes.x == context.attributes.x")
	for name, x := range map[string]any{"one hash": collide(), "mixed": mixed, "deep": deep, "text": strings.Repeat("x", 1<<19)} {
		in := call(80)
		in.Attributes = map[string]any{"x": x}
		start := time.Now()
		d, err := engine.Evaluate(t.Context(), "p", in)
		if took := time.Since(start); err != nil || !d.Allow || took > 10*time.Second {
			t.Errorf("%s: %+v %v in %v", name, d, err, took)
		} else {
			t.Logf("%s: %v", name, took)
		}
	}
}
