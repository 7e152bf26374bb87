package kest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
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
	// Shadow names policies under trial, by tier: after all others allowed a call they are asked, too, and what they say is
	// logged and signed into the entry ([lineage.Entry.Observed]), but stops nothing. Function must be empty: that is for
	// [ShadowPolicy]. Together they have the time of one policy.
	Shadow policy.Tiers
	// Deviations are exemptions, from deployment configuration only.
	Deviations []policy.Deviation
	// Approvers has the keys of those who sign deviations, by the name in Deviation.Approver. A signed deviation needs
	// it, and is refused when its signature does not hold. The source, such as a lineage.KeySet, is asked by [New] and
	// [Guard.Reconfigure] alone. It must know nobody but approvers: with the keys of workloads in it, each could approve
	// its own exemptions. A signature holds in every deployment that has the policy and the approver's key.
	Approvers lineage.KeySource
	// RequireApproval refuses deviations that no approver has signed.
	RequireApproval bool

	// Origins registers source types besides the fixed ones: name → score 0…100.
	Origins map[string]int
	// Trust computes scores; nil means lineage.Attenuate. Verifiers must use the same.
	Trust lineage.TrustEvaluator
	// Classifications adds to, or replaces by name, the taints that a classification brings: by default
	// data → contains_data, critic → requires_review, sanitizer → sanitized.
	Classifications map[string][]string

	// PolicyTimeout bounds each policy evaluation, and those of a tier that the engine answers at once (policy.Batcher) as
	// one; 0 means 1 s.
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
	defaultLabels        = 64 // of lineage.Limits
)

// A Guard enforces a configuration, which changes only as a whole, by [Guard.Reconfigure]. [New] makes one; the zero value
// is not usable. It is safe for concurrent use.
type Guard struct {
	current   atomic.Pointer[core]
	changing  sync.Mutex // one Reconfigure at a time
	functions followers  // that were wrapped for it
}

// core is one configuration in force. It never changes; a call has the same one from its beginning to its end.
type core struct {
	config   Config
	labels   int // that an entry can have
	origins  lineage.Origins
	tracer   trace.Tracer // nil: ask the global provider at each call
	reported sync.Map     // deviations whose expiry was logged
}

// ids is shared by all guards, so entry ids are monotonic within the process (F-AE-03).
var ids uuid7.Source

// New returns a guard, or a [*ConfigError] with everything that is wrong (F-GC-01…04). When Identity is nil it
// probes the environment, for at most 10 s.
func New(c Config) (*Guard, error) {
	made, err := newCore(c)
	if err != nil {
		return nil, err
	}
	g := new(Guard)
	g.current.Store(made)
	return g, nil
}

// Reconfigure replaces the configuration and binds every function that was wrapped for the guard anew. Everything is
// validated at once as by [New] and [Verified]; on an error nothing changes. Calls that have begun end under the
// configuration under which they began, so an engine, an identity or a sink that was replaced must not be closed before
// they have returned. A nil Identity keeps the one in force.
//
// Verifiers have origins, limits and a trust evaluator of their own, so those should stay as they are.
func (g *Guard) Reconfigure(c Config) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	if c.Identity == nil {
		c.Identity = g.current.Load().config.Identity
	}
	next, err := newCore(c)
	if err != nil {
		return err
	}
	process.Lock() // after newCore, which asks engines and approvers: they may be slow, or ask for the default themselves
	defer process.Unlock()
	lists := []*followers{&g.functions}
	if process.guard == g {
		lists = append(lists, &process.functions)
	}
	bound, err := rebind(next, lists...)
	if err != nil {
		return err
	}
	g.current.Store(next)
	bound.install()
	return nil
}

func newCore(c Config) (*core, error) {
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
	g := &core{config: c, origins: origins, labels: cmp.Or(c.Limits.Labels, defaultLabels)}
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
func (g *core) reportExpired(d policy.Deviation) {
	if _, done := g.reported.LoadOrStore(d, true); !done {
		g.config.Logger.Warn("kest: deviation has expired and is ignored", "policy", d.Policy, "tier", string(d.Tier),
			"scope", d.Scope, "not_after", d.NotAfter)
	}
}

// Config returns a copy of the configuration that is in force, defaults filled in.
func (g *Guard) Config() Config { return g.current.Load().config.clone() }

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
	c.Shadow.Enterprise, c.Shadow.Platform, c.Shadow.Application = slices.Clone(c.Shadow.Enterprise), slices.Clone(c.Shadow.Platform), slices.Clone(c.Shadow.Application)
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
	problems = append(problems, c.shadowProblems(tiers)...)
	problems = append(problems, c.approve(tiers)...)
	for _, name := range slices.Sorted(maps.Keys(c.Classifications)) {
		if name == "" || slices.Contains(c.Classifications[name], "") {
			problems = append(problems, fmt.Errorf("classification %q: empty name or taint", name))
		}
	}
	if c.Engine == nil && len(c.Enterprise)+len(c.Platform)+len(c.Application)+c.trials() > 0 {
		problems = append(problems, errors.New("no engine for the configured policies; set Engine"))
	}
	if c.PolicyTimeout < 0 {
		problems = append(problems, errors.New("PolicyTimeout is negative"))
	}
	for _, tier := range policy.Order() {
		problems = append(problems, checkPolicies(c.Engine, tier, slices.Concat(tiers.Names(tier), c.Shadow.Names(tier)))...)
	}
	return problems
}

func (c *Config) trials() int {
	return len(c.Shadow.Enterprise) + len(c.Shadow.Platform) + len(c.Shadow.Application)
}

// maxShadow bounds the policies under trial of one call, and with it the label that they are signed into.
const maxShadow = 16

func (c *Config) shadowProblems(tiers policy.Tiers) []error {
	var problems []error
	for _, err := range each(c.Shadow.Validate()) {
		problems = append(problems, fmt.Errorf("shadow: %w", err))
	}
	if len(c.Shadow.Function) > 0 {
		problems = append(problems, errors.New("shadow: function policies belong to the function; use kest.ShadowPolicy there"))
	}
	if n := c.trials(); n > maxShadow {
		problems = append(problems, fmt.Errorf("shadow: %d policies; at most %d can be under trial", n, maxShadow))
	}
	for _, tier := range policy.Order() {
		for _, name := range c.Shadow.Names(tier) {
			if slices.Contains(tiers.Names(tier), name) {
				problems = append(problems, fmt.Errorf("shadow: %s policy %q is enforced, too; take it out of one of the two", tier, name))
			}
		}
	}
	return problems
}

// approve checks the deviations, and notes with which keys they were signed.
func (c *Config) approve(tiers policy.Tiers) []error {
	var problems []error
	if c.RequireApproval && c.Approvers == nil {
		problems = append(problems, errors.New("RequireApproval: there are no keys of approvers; set Approvers"))
	}
	for i, d := range c.Deviations {
		c.Deviations[i].ApproverKey = ""
		if err := d.Validate(); err != nil {
			problems = append(problems, err)
			continue
		}
		if !slices.Contains(tiers.Names(d.Tier), d.Policy) {
			problems = append(problems, fmt.Errorf("deviation of %q: no %s policy has that name", d.Policy, d.Tier))
		}
		switch {
		case c.Approvers == nil && d.Signature != "":
			problems = append(problems, fmt.Errorf("deviation of %q: it is signed, and there are no keys to check that; set Approvers", d.Policy))
		case c.Approvers != nil && (d.Signature != "" || c.RequireApproval):
			ctx, cancel := context.WithTimeout(context.Background(), detectTimeout)
			verified, err := d.Verify(ctx, c.Approvers)
			cancel()
			if err != nil {
				problems = append(problems, err)
				continue
			}
			c.Deviations[i] = verified
		}
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
