package kest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

func text(context.Context, order) (string, error)            { return "", nil }
func number(context.Context, int) (string, error)            { return "", nil }
func facts(context.Context, int) (map[string]any, error)     { return nil, nil }
func stringer(context.Context, fmt.Stringer) (string, error) { return "", nil }

// TestOptionMistakes (F-GC-04, SPEC §7, §11.6): every misuse is reported when the function is wrapped.
func TestOptionMistakes(t *testing.T) {
	r := newRig(t, func(c *kest.Config) { c.Origins = map[string]int{"partner": 50} })
	named, pol := kest.Operation("x"), kest.Policy("a/b")
	tests := []struct {
		name    string
		options []kest.Option
		want    []string
	}{
		{"no policy", []kest.Option{named}, []string{"no policy", "kest.Policy"}},
		{"no name", []kest.Option{named, pol, kest.Policy()}, []string{"no name given"}},
		{"empty policy", []kest.Option{named, kest.Policy("")}, []string{"empty policy name"}},
		{"hostile policy", []kest.Option{named, kest.Policy("a/../b")}, []string{"a/../b"}},
		{"policy twice", []kest.Option{named, pol, pol}, []string{`"a/b" is listed twice`}},
		{"source type", []kest.Option{named, pol, kest.SourceType("internets")}, []string{`"internets"`, "internet", "partner", "Config.Origins"}},
		{"empty source type", []kest.Option{named, pol, kest.SourceType("")}, []string{"SourceType: empty"}},
		{"classification", []kest.Option{named, pol, kest.Classification("")}, []string{"Classification: empty"}},
		{"empty taint", []kest.Option{named, pol, kest.AddTaints("")}, []string{"empty taint"}},
		{"empty removed taint", []kest.Option{named, pol, kest.RemoveTaints(""), kest.Sanitizer("s")}, []string{"empty taint"}},
		{"removal without reason", []kest.Option{named, pol, kest.RemoveTaints("x")}, []string{"RemoveTaints needs TrustOverride, or Sanitizer"}},
		{"override 101", []kest.Option{named, pol, kest.TrustOverride(101)}, []string{"101 is outside 0…100"}},
		{"override -1", []kest.Option{named, pol, kest.TrustOverride(-1)}, []string{"-1 is outside"}},
		{"sanitizer", []kest.Option{named, pol, kest.Sanitizer("")}, []string{"Sanitizer: empty"}},
		{"label principal", []kest.Option{named, pol, kest.Label("principal", "x")}, []string{`"principal"`, "belongs to the library"}},
		{"label trace", []kest.Option{named, pol, kest.Label("trace_id", "x")}, []string{`"trace_id"`}},
		{"label kest.*", []kest.Option{named, pol, kest.Label("kest.anything", "x")}, []string{`"kest.anything"`}},
		{"label without name", []kest.Option{named, pol, kest.Label("", "x")}, []string{`""`}},
		{"empty operation", []kest.Option{kest.Operation(""), pol}, []string{"Operation"}},
		{"join operation", []kest.Option{kest.Operation("kest.join"), pol}, []string{"belongs to the library"}},
		{"user resolver", []kest.Option{named, pol, kest.UserFrom(number)}, []string{"UserFrom: the resolver takes int, but the function takes kest_test.order"}},
		{"agent resolver", []kest.Option{named, pol, kest.AgentFrom(number)}, []string{"AgentFrom", "int", "kest_test.order"}},
		{"task resolver", []kest.Option{named, pol, kest.TaskFrom(number)}, []string{"TaskFrom", "int", "kest_test.order"}},
		{"resource resolver", []kest.Option{named, pol, kest.ResourceFrom(number)}, []string{"ResourceFrom", "int", "kest_test.order"}},
		{"attribute resolvers", []kest.Option{named, pol, kest.ResourceAttributesFrom(facts), kest.AttributesFrom(facts)},
			[]string{"2 problems", "ResourceAttributesFrom: the resolver takes int", "\tAttributesFrom: the resolver takes int"}},
		{"digest resolver", []kest.Option{named, pol, kest.InputDigestFrom(number)}, []string{"InputDigestFrom", "int"}},
		{"pointer and value", []kest.Option{named, pol, kest.UserFrom(func(context.Context, *order) (string, error) { return "", nil })}, []string{"*kest_test.order"}},
		{"interface that fits", []kest.Option{named, pol, kest.UserFrom(stringer)}, []string{"fmt.Stringer"}},
		{"nil resolvers", []kest.Option{named, pol, kest.UserFrom[order](nil), kest.AttributesFrom[order](nil)}, []string{"UserFrom: nil resolver", "AttributesFrom: nil resolver"}},
		{"digest and none", []kest.Option{named, pol, kest.InputDigestFrom(text), kest.NoInputHash()}, []string{"exclude each other"}},
		{"nil engine", []kest.Option{named, pol, kest.WithEngine(nil)}, []string{"WithEngine: nil engine"}},
		{"nil provider", []kest.Option{named, pol, kest.WithProvider(nil)}, []string{"WithProvider: nil provider"}},
		{"nil trust", []kest.Option{named, pol, kest.WithTrust(nil)}, []string{"WithTrust: nil evaluator"}},
		{"nil option", []kest.Option{named, pol, nil}, []string{"option 2 is nil"}},
		{"text", []kest.Option{kest.Operation("a\xff"), pol, kest.Label("l", "\xfe"), kest.Environment(map[string]string{"e": "\xfd"}), kest.AddTaints("\xfc")},
			[]string{"4 problems", `"a\xff" is not valid UTF-8`, `"\xfe"`, `"\xfd"`, `"\xfc"`}},
		{"everything at once", []kest.Option{kest.Policy("", "x", "x"), kest.SourceType("y"), kest.TrustOverride(200), kest.RemoveTaints("z"), kest.Label("kest.x", ""), kest.WithEngine(nil)},
			[]string{"6 problems"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for how, guard := range map[string]*kest.Guard{"guard": r.Guard, "default": nil} {
				if how == "default" && (strings.HasSuffix(test.name, "source type") && test.name != "empty source type" || test.name == "everything at once") {
					continue // needs the guard; see TestConfigureValidatesWrapped
				}
				f, err := kest.Verified(guard, ship, test.options...)
				if f != nil {
					t.Errorf("%s: a function was returned", how)
				}
				config := wantConfig(t, err)
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %q is not in: %v", how, want, err)
					}
				}
				for _, problem := range config.Problems {
					if !errors.Is(err, problem) {
						t.Errorf("%s: %v is not matched", how, problem)
					}
				}
			}
		})
	}
	removal := []kest.Option{named, pol, kest.RemoveTaints("x"), kest.TrustOverride(0)}
	if _, err := kest.Verified(r.Guard, ship, removal...); err != nil {
		t.Errorf("removal with an override of 0: %v", err)
	}
}

// TestResolverOfInterface: an interface argument may be nil, and resolvers get the nil.
func TestResolverOfInterface(t *testing.T) {
	r := newRig(t)
	f := kest.MustVerified(r.Guard, func(_ context.Context, in fmt.Stringer) (bool, error) { return in == nil, nil },
		kest.Operation("x"), kest.Policy("a/b"), kest.UserFrom(func(_ context.Context, in fmt.Stringer) (string, error) {
			if in != nil {
				return "", errCause
			}
			return "nobody", nil
		}))
	if isNil, err := f(t.Context(), nil); err != nil || !isNil {
		t.Errorf("%t, %v", isNil, err)
	}
}

type shop struct{}

func (shop) Sell(context.Context, order) (string, error)    { return "", nil }
func (*shop) Refund(context.Context, order) (string, error) { return "", nil }

func generic[T any](context.Context, T) (string, error) { return "", nil }

var (
	literalVar = func(context.Context, order) (string, error) { return "", nil }
	namedVar   = ship
)

// TestOperationNames (F-AE-04): stable names, and none for what has none.
func TestOperationNames(t *testing.T) {
	r := newRig(t)
	s := &shop{}
	local := func(context.Context, order) (string, error) { return "", nil }
	for _, test := range []struct {
		name, want string // "": refused
		fn         func(context.Context, order) (string, error)
	}{
		{"function", "kest_test.ship", ship}, {"variable with a function", "kest_test.ship", namedVar},
		{"method value", "kest_test.shop.Sell", s.Sell}, {"pointer method value", "kest_test.shop.Refund", s.Refund},
		{"method of a value", "kest_test.shop.Sell", shop{}.Sell},
		{"literal", "", local}, {"literal in a variable", "", literalVar},
	} {
		f, err := kest.Verified(r.Guard, test.fn, kest.Policy("a/b"))
		if test.want == "" {
			if wantConfig(t, err); !strings.Contains(err.Error(), "give it one with kest.Operation") {
				t.Errorf("%s: %v", test.name, err)
			}
			if _, err := kest.Verified(r.Guard, test.fn, kest.Policy("a/b"), kest.Operation("y")); err != nil {
				t.Errorf("%s, named: %v", test.name, err)
			}
			continue
		}
		must(t, err)
		if _, err := f(t.Context(), order{}); err != nil {
			t.Fatal(err)
		}
		calls := r.engine.Calls()
		if got := calls[len(calls)-1].Input.Environment.Operation; got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	// The compiler names an instance after where it is used, so it needs a name too, or gets the generic one.
	if f, err := kest.Verified(r.Guard, generic[order], kest.Policy("a/b")); err != nil {
		if !strings.Contains(err.Error(), "kest.Operation") {
			t.Error(err)
		}
	} else if _, err := f(t.Context(), order{}); err != nil {
		t.Error(err)
	} else if calls := r.engine.Calls(); calls[len(calls)-1].Input.Environment.Operation != "kest_test.generic" {
		t.Errorf("generic: %q", calls[len(calls)-1].Input.Environment.Operation)
	}
}

// TestConfigMistakes (F-GC-02): everything that is wrong with a configuration, in one error.
func TestConfigMistakes(t *testing.T) {
	good := func() kest.Config {
		return kest.Config{Engine: policytest.Allow(), Identity: identitytest.New(payments)}
	}
	deviation := func(d policy.Deviation) func(*kest.Config) {
		return func(c *kest.Config) { c.Platform, c.Deviations = []string{"p/1"}, []policy.Deviation{d} }
	}
	for name, test := range map[string]struct {
		change func(*kest.Config)
		want   []string
	}{
		"names": {func(c *kest.Config) {
			c.Enterprise, c.Platform, c.Application = []string{""}, []string{"a b"}, []string{"../x"}
		}, []string{"enterprise policy: empty", "platform policy", "application policy"}},
		"twice":                       {func(c *kest.Config) { c.Platform = []string{"a", "b", "a"} }, []string{`platform policy "a" is listed twice`}},
		"no engine":                   {func(c *kest.Config) { c.Engine, c.Application = nil, []string{"a"} }, []string{"no engine", "set Engine"}},
		"timeout":                     {func(c *kest.Config) { c.PolicyTimeout = -1 }, []string{"PolicyTimeout is negative"}},
		"fixed origin":                {func(c *kest.Config) { c.Origins = map[string]int{"internal": 5} }, []string{`"internal" is fixed`}},
		"origin score":                {func(c *kest.Config) { c.Origins = map[string]int{"a": 101, "b": -1, "": 5} }, []string{"101", "-1", "empty name"}},
		"classification":              {func(c *kest.Config) { c.Classifications = map[string][]string{"": {"x"}, "y": {""}} }, []string{`classification "": empty`, `classification "y": empty`}},
		"function deviation":          {deviation(policy.Deviation{Policy: "p/1", Tier: policy.Function, Scope: "*"}), []string{"cannot be deviated"}},
		"deviation of nothing":        {deviation(policy.Deviation{Policy: "p/2", Tier: policy.Platform, Scope: "*"}), []string{"no platform policy has that name"}},
		"deviation of another tier":   {deviation(policy.Deviation{Policy: "p/1", Tier: policy.Enterprise, Scope: "*"}), []string{"no enterprise policy has that name"}},
		"deviation without scope":     {deviation(policy.Deviation{Policy: "p/1", Tier: policy.Platform}), []string{"empty scope"}},
		"deviation with unknown tier": {deviation(policy.Deviation{Policy: "p/1", Tier: "x", Scope: "*"}), []string{"unknown tier"}},
		"all": {func(c *kest.Config) {
			c.Engine, c.Enterprise, c.PolicyTimeout, c.Origins = nil, []string{"a b"}, -5, map[string]int{"llm": 100}
		}, []string{"4 problems", "config"}},
	} {
		c := good()
		test.change(&c)
		g, err := kest.New(c)
		if g != nil {
			t.Errorf("%s: a guard was returned", name)
		}
		wantConfig(t, err)
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in: %v", name, want, err)
			}
		}
	}
	c := good()
	c.Engine = nil
	g, err := kest.New(c)
	must(t, err)
	_, err = kest.Verified(g, ship, kest.Policy("a/b"))
	if wantConfig(t, err); !strings.Contains(err.Error(), "no engine for the function policies; set Config.Engine") {
		t.Error(err)
	}
	if _, err := kest.Verified(g, ship, kest.Policy("a/b"), kest.WithEngine(policytest.Allow())); err != nil {
		t.Error(err)
	}
}

// checking is an engine that knows its policies.
type checking struct {
	*policytest.Mock
	known string
}

func (c checking) Check(name string) error {
	if name != c.known {
		return fmt.Errorf("%w: did you mean %q?", policy.ErrUnknownPolicy, c.known)
	}
	return nil
}

// TestCheckedPolicies: an engine that can tell is asked before the first call.
func TestCheckedPolicies(t *testing.T) {
	engine := checking{policytest.Allow(), "good"}
	c := kest.Config{Engine: engine, Identity: identitytest.New(payments), Enterprise: []string{"good"}, Platform: []string{"bad1"}, Application: []string{"good", "bad2"}}
	_, err := kest.New(c)
	if config := wantConfig(t, err); len(config.Problems) != 2 || !errors.Is(err, policy.ErrUnknownPolicy) || !strings.Contains(err.Error(), `platform policy "bad1"`) || !strings.Contains(err.Error(), `application policy "bad2"`) {
		t.Error(err)
	}
	c.Platform, c.Application = nil, nil
	g, err := kest.New(c)
	must(t, err)
	_, err = kest.Verified(g, ship, kest.Policy("good", "bad3"))
	if wantConfig(t, err); !strings.Contains(err.Error(), `function policy "bad3"`) {
		t.Error(err)
	}
	c.Engine, c.Enterprise, c.Application = policytest.Allow(), nil, []string{"any"}
	g, err = kest.New(c)
	must(t, err)
	_, err = kest.Verified(g, ship, kest.Policy("good"), kest.WithEngine(engine)) // decides application policies too
	if wantConfig(t, err); !strings.Contains(err.Error(), `application policy "any"`) {
		t.Error(err)
	}
	if engine.Count() != 0 {
		t.Error("a policy was evaluated")
	}
}

// TestConfigDefaults: what zero means.
func TestConfigDefaults(t *testing.T) {
	g, err := kest.New(kest.Config{Identity: identitytest.New(payments)})
	must(t, err)
	c := g.Config()
	if c.PolicyTimeout.String() != "1s" || c.SpanPassport != 64<<10 || c.Trust != (lineage.Attenuate{}) || c.Logger == nil {
		t.Errorf("%+v", c)
	}
}
