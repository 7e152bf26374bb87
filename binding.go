package kest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// check notes what is wrong with the options under any guard.
func (s *settings) check() {
	if len(s.policies) == 0 {
		s.problem("no policy; name at least one with kest.Policy")
	}
	s.problems = append(s.problems, each(policy.Tiers{Function: s.policies}.Validate())...)
	for _, err := range each(policy.Tiers{Function: s.shadow}.Validate()) {
		s.problem("ShadowPolicy: %w", err)
	}
	for _, name := range s.shadow {
		if slices.Contains(s.policies, name) {
			s.problem("ShadowPolicy: %q is enforced, too; take it out of one of the two", name)
		}
	}
	for _, list := range [][]string{s.added, s.removed} {
		if slices.Contains(list, "") {
			s.problem("empty taint")
		}
	}
	if len(s.removed) > 0 && s.override == nil && s.sanitizer == "" {
		s.problem("RemoveTaints needs TrustOverride, or Sanitizer with the name of the procedure that justifies it")
	}
	for _, text := range slices.Concat([]string{s.operation, s.classification, s.sanitizer}, s.added, s.removed,
		slices.Collect(maps.Keys(s.labels)), slices.Collect(maps.Values(s.labels)),
		slices.Collect(maps.Keys(s.environment)), slices.Collect(maps.Values(s.environment))) {
		if !utf8.ValidString(text) {
			s.problem("%q is not valid UTF-8 and cannot be signed", text)
		}
	}
	if s.digest != nil && s.noInputHash {
		s.problem("InputDigestFrom and NoInputHash exclude each other")
	}
}

// binding is what the options mean under one guard: everything that does not depend on the call is computed once.
type binding struct {
	*settings
	guard    *core
	provider identity.Provider
	trust    lineage.TrustEvaluator
	steps    []step
	trials   []step             // policies that are observed only
	maybe    []policy.Deviation // that may lift one of the steps, by scope; expiry is checked at the call

	added, removed []string // sorted; added includes what the classification brings
	policies       lineage.PolicyContext
	environment    lineage.Object
	labels         map[string]string // the fixed ones
	spanName       string
}

// ownLabels is the most that the library adds to an entry, but for the revision of policies, which yields.
const ownLabels = 12

// step is one policy to ask.
type step struct {
	tier   policy.Tier
	name   string
	names  []string // of the whole tier
	engine policy.Engine
}

// bind resolves the options against a guard (F-GC-03) and reports everything that is wrong.
func (s *settings) bind(g *core) (*binding, error) {
	problems := slices.Clone(s.problems)
	c := &g.config
	b := &binding{settings: s, guard: g, provider: c.Identity, trust: c.Trust, spanName: "kest.verified." + s.operation}
	if s.identity != nil {
		b.provider = s.identity
	}
	if s.trust != nil {
		b.trust = s.trust
	}
	if s.sourceType != "" {
		if _, known := g.origins.Score(s.sourceType); !known {
			problems = append(problems, fmt.Errorf("unknown source type %q; known are %q; register others in Config.Origins",
				s.sourceType, g.origins.Names()))
		}
	}
	tiers := policy.Tiers{Enterprise: c.Enterprise, Platform: c.Platform, Application: c.Application, Function: s.policies}
	trials := c.Shadow
	trials.Function = s.shadow
	for _, tier := range policy.Order() {
		b.steps = append(b.steps, b.stepsOf(tier, tiers.Names(tier))...)
		b.trials = append(b.trials, b.stepsOf(tier, trials.Names(tier))...)
		problems = append(problems, b.checkSteps(tier, slices.Concat(tiers.Names(tier), trials.Names(tier)))...)
	}
	if n := len(s.labels) + ownLabels; len(b.trials) > 0 && n > g.labels {
		problems = append(problems, fmt.Errorf("%d labels leave no room for what policies under trial say; an entry has %d, of which "+
			"the library needs %d", len(s.labels), g.labels, ownLabels))
	}
	if len(b.trials) > maxShadow {
		problems = append(problems, fmt.Errorf("%d policies are under trial; at most %d can be", len(b.trials), maxShadow))
	}
	for _, d := range c.Deviations {
		if slices.ContainsFunc(b.steps, func(st step) bool { return d.Covers(st.tier, st.name, s.operation) }) {
			b.maybe = append(b.maybe, d)
		}
	}
	b.policies = lineage.PolicyContext{
		Enterprise: c.Enterprise, Platform: c.Platform, Application: c.Application, Function: s.policies,
	}
	if err := b.prepare(); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, &ConfigError{Subject: s.operation, Problems: problems}
	}
	return b, nil
}

// engineOf is the engine that decides a tier, and whether it is the function's own.
func (b *binding) engineOf(tier policy.Tier) (engine policy.Engine, own bool) {
	if b.engine != nil && (tier == policy.Application || tier == policy.Function) {
		return b.engine, true
	}
	return b.guard.config.Engine, false
}

func (b *binding) stepsOf(tier policy.Tier, names []string) []step {
	engine, _ := b.engineOf(tier)
	steps := make([]step, len(names))
	for i, name := range names {
		steps[i] = step{tier: tier, name: name, names: names, engine: engine}
	}
	return steps
}

func (b *binding) checkSteps(tier policy.Tier, names []string) []error {
	engine, own := b.engineOf(tier)
	if engine == nil && len(names) > 0 {
		return []error{fmt.Errorf("no engine for the %s policies; set Config.Engine", tier)}
	}
	if own || tier == policy.Function {
		return checkPolicies(engine, tier, names)
	}
	return nil // New checked the guard's own
}

// prepare computes the fixed parts of the entry.
func (b *binding) prepare() error {
	b.removed = sortedSet(b.settings.removed)
	for _, taint := range b.guard.config.taintsOf(b.classification) {
		if !slices.Contains(b.removed, taint) { // SPEC §2: an auto-taint that is also removed is not added
			b.added = append(b.added, taint)
		}
	}
	b.added = sortedSet(append(b.added, b.settings.added...))
	if len(b.settings.environment) > 0 {
		object, err := lineage.NewObject(b.settings.environment)
		if err != nil {
			return fmt.Errorf("environment: %w", err)
		}
		b.environment = object
	}
	b.labels = map[string]string{}
	maps.Copy(b.labels, b.settings.labels)
	if b.override != nil {
		b.labels[lineage.LabelTrustOverride] = strconv.Itoa(*b.override)
	}
	if b.sanitizer != "" {
		b.labels[lineage.LabelSanitizer] = b.sanitizer
	}
	return nil
}

func sortedSet(items []string) []string {
	if len(items) == 0 {
		return nil
	}
	out := slices.Clone(items)
	slices.Sort(out)
	return slices.Compact(out)
}

func (g *core) currentTracer() trace.Tracer {
	if g.tracer != nil {
		return g.tracer
	}
	return globalTracer()
}
