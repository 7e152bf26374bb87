package kest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/local"
	"github.com/kest-go/kest/internal/uuid7"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/telemetry"
)

// Config configures a [Guard]. The zero value of each field has a meaning; only Engine has to be set, or given
// to every function by [WithEngine].
type Config struct {
	// Engine evaluates policies (F-GC-01).
	Engine policy.Engine
	// Identity signs entries. nil: detected from the environment (SPEC §8); the last resort is a key of this
	// process alone, with a warning.
	Identity identity.Provider

	// Enterprise policies apply to every call and nothing but a deviation lifts them. Platform policies come from
	// the deployment, Application policies from the application.
	Enterprise, Platform, Application []string
	// Deviations are exemptions, from deployment configuration only.
	Deviations []policy.Deviation

	// Origins registers source types besides the fixed ones: name → score 0…100.
	Origins map[string]int
	// Trust computes scores; nil means lineage.Attenuate. Verifiers must use the same.
	Trust lineage.TrustEvaluator
	// Classifications adds to, or replaces by name, the taints that a classification brings: by default
	// data → contains_data, critic → requires_review, sanitizer → sanitized.
	Classifications map[string][]string

	// PolicyTimeout bounds each policy evaluation; 0 means 1 s.
	PolicyTimeout time.Duration
	// Limits bound entries and passports; zero fields mean the defaults of SPEC §12.
	Limits lineage.Limits
	// CallTree keeps results from flowing back: a caller's later calls do not inherit what its callees learned.
	CallTree bool
	// NoReceipts saves the second signature of a call. The output's hash then goes to the span alone.
	NoReceipts bool

	// Sink keeps signed records; an entry that it cannot keep stops its call. nil keeps none.
	Sink telemetry.Sink
	// TracerProvider makes spans; nil means OpenTelemetry's global one.
	TracerProvider trace.TracerProvider
	// SpanPassport is the longest passport, in bytes, that a span carries as kest.passport. 0 means 64 KiB,
	// negative none. Spans that are not recorded cost nothing.
	SpanPassport int
	// Logger receives denials and warnings; nil means slog.Default.
	Logger *slog.Logger
}

const (
	defaultPolicyTimeout = time.Second
	defaultSpanPassport  = 64 << 10
	detectTimeout        = 10 * time.Second
)

// A Guard enforces one configuration, which never changes. It is safe for concurrent use.
type Guard struct {
	config   Config
	origins  lineage.Origins
	tracer   trace.Tracer // nil: ask the global provider at each call
	reported sync.Map     // deviations whose expiry was logged
}

// ids is shared by all guards, so entry ids are monotonic within the process (F-AE-03).
var ids uuid7.Source

// New returns a guard, or a [*ConfigError] with everything that is wrong (F-GC-01…04). When Identity is nil it
// probes the environment, for at most 10 s.
func New(c Config) (*Guard, error) {
	c = c.clone()
	problems := c.problems()
	origins, err := lineage.NewOrigins(c.Origins)
	if err != nil {
		problems = append(problems, err)
	}
	if c.Identity == nil && len(problems) == 0 {
		if c.Identity, err = detect(c.Logger); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return nil, &ConfigError{Subject: "config", Problems: problems}
	}
	g := &Guard{config: c, origins: origins}
	if c.TracerProvider != nil {
		g.tracer = c.TracerProvider.Tracer(scope, trace.WithInstrumentationVersion(Version))
	}
	for _, d := range c.Deviations {
		if d.Expired(time.Now()) {
			g.reportExpired(d)
		}
	}
	return g, nil
}

// reportExpired warns once for each deviation, whether it had expired at the start or expires later.
func (g *Guard) reportExpired(d policy.Deviation) {
	if _, done := g.reported.LoadOrStore(d, true); !done {
		g.config.Logger.Warn("kest: deviation has expired and is ignored", "policy", d.Policy, "tier", string(d.Tier),
			"scope", d.Scope, "not_after", d.NotAfter)
	}
}

// Config returns a copy of the configuration that is in force, defaults filled in.
func (g *Guard) Config() Config { return g.config.clone() }

func detect(logger *slog.Logger) (identity.Provider, error) {
	ctx, cancel := context.WithTimeout(context.Background(), detectTimeout)
	defer cancel()
	probes := append(identity.StandardProbes(), local.Probe(local.Config{Logger: logger}))
	provider, _, err := identity.Detect(ctx, identity.OSEnv(), probes...)
	return provider, err
}

// clone copies what a caller could still change and fills in defaults.
func (c Config) clone() Config {
	c.Enterprise, c.Platform, c.Application = slices.Clone(c.Enterprise), slices.Clone(c.Platform), slices.Clone(c.Application)
	c.Deviations = slices.Clone(c.Deviations)
	c.Origins = maps.Clone(c.Origins)
	c.Classifications = maps.Clone(c.Classifications)
	for name, taints := range c.Classifications {
		c.Classifications[name] = slices.Clone(taints)
	}
	if c.Trust == nil {
		c.Trust = lineage.Attenuate{}
	}
	if c.PolicyTimeout == 0 {
		c.PolicyTimeout = defaultPolicyTimeout
	}
	if c.SpanPassport == 0 {
		c.SpanPassport = defaultSpanPassport
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func (c *Config) problems() []error {
	var problems []error
	tiers := policy.Tiers{Enterprise: c.Enterprise, Platform: c.Platform, Application: c.Application}
	problems = append(problems, each(tiers.Validate())...)
	for _, d := range c.Deviations {
		if err := d.Validate(); err != nil {
			problems = append(problems, err)
			continue
		}
		if !slices.Contains(tiers.Names(d.Tier), d.Policy) {
			problems = append(problems, fmt.Errorf("deviation of %q: no %s policy has that name", d.Policy, d.Tier))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Classifications)) {
		if name == "" || slices.Contains(c.Classifications[name], "") {
			problems = append(problems, fmt.Errorf("classification %q: empty name or taint", name))
		}
	}
	if c.Engine == nil && len(c.Enterprise)+len(c.Platform)+len(c.Application) > 0 {
		problems = append(problems, errors.New("no engine for the configured policies; set Engine"))
	}
	if c.PolicyTimeout < 0 {
		problems = append(problems, errors.New("PolicyTimeout is negative"))
	}
	for _, tier := range policy.Order() {
		problems = append(problems, checkPolicies(c.Engine, tier, tiers.Names(tier))...)
	}
	return problems
}

// checkPolicies asks an engine that can tell whether the named policies exist.
func checkPolicies(engine policy.Engine, tier policy.Tier, names []string) []error {
	checker, ok := engine.(policy.Checker)
	if !ok {
		return nil
	}
	var problems []error
	for _, name := range names {
		if policy.ValidateName(name) != nil {
			continue // reported already
		}
		if err := checker.Check(name); err != nil {
			problems = append(problems, fmt.Errorf("%s policy %q: %w", tier, name, err))
		}
	}
	return problems
}

// each returns the errors that were joined into err, so that every problem counts as one.
func each(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

var classificationTaints = map[string][]string{
	"data": {"contains_data"}, "critic": {"requires_review"}, "sanitizer": {"sanitized"},
}

// taintsOf returns what a classification brings.
func (c *Config) taintsOf(classification string) []string {
	if taints, ok := c.Classifications[classification]; ok {
		return taints
	}
	return classificationTaints[classification]
}
