package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// Guard returns the part of the configuration that a guard enforces: tiers, deviations, origins, classifications and
// limits. Engine and identity are for [Deployment.Engine] and [Deployment.Identity].
func (d *Deployment) Guard() kest.Config {
	p := d.doc.Policies
	c := kest.Config{
		Enterprise: slices.Clone(p.Enterprise), Platform: slices.Clone(p.Platform), Application: slices.Clone(p.Application),
		PolicyTimeout: p.Timeout, Limits: d.Limits(),
		Origins: maps.Clone(d.doc.Origins), Classifications: copied(d.doc.Classifications),
		SpanPassport: d.doc.Telemetry.SpanPassportBytes,
	}
	for _, v := range d.doc.Deviations {
		c.Deviations = append(c.Deviations, v.value())
	}
	if r := d.doc.Telemetry.Receipts; r != nil {
		c.NoReceipts = !*r
	}
	return c
}

func copied(m map[string][]string) map[string][]string {
	out := maps.Clone(m)
	for name, list := range out {
		out[name] = slices.Clone(list)
	}
	return out
}

// Apply adds the deployment to what application code configures. Application code can add to what the deployment set,
// and take nothing away:
//
//   - Enterprise and Platform: nil, or a list with everything that the deployment has; what is more is added.
//   - Application: added to the deployment's.
//   - Deviations: come from deployment configuration only, so there must be none in c.
//   - Origins and Classifications: added; one of the same name must have the same score, and at least the same taints.
//   - Numbers, durations and receipts: the deployment's, where it sets them.
//
// Everything else is as in c. The error is a [*kest.ConfigError] with every attempt to take something away.
func (d *Deployment) Apply(c kest.Config) (kest.Config, error) {
	own := d.Guard()
	var m merge
	c.Enterprise = m.atLeast("Enterprise", own.Enterprise, c.Enterprise)
	c.Platform = m.atLeast("Platform", own.Platform, c.Platform)
	c.Application = union(own.Application, c.Application)
	if len(c.Deviations) > 0 {
		m.problem("Deviations: %d are set by application code; they come from deployment configuration only", len(c.Deviations))
	}
	c.Deviations = own.Deviations
	c.Origins = m.origins(own.Origins, c.Origins)
	c.Classifications = m.classifications(own.Classifications, c.Classifications)
	override(&c.PolicyTimeout, own.PolicyTimeout)
	override(&c.SpanPassport, own.SpanPassport)
	c.Limits = limit(own.Limits, c.Limits)
	if d.doc.Telemetry.Receipts != nil {
		c.NoReceipts = own.NoReceipts
	}
	if len(m.problems) > 0 {
		return kest.Config{}, &kest.ConfigError{Subject: "config", Problems: m.problems}
	}
	return c, nil
}

// merge collects attempts to take something away.
type merge struct{ problems []error }

func (m *merge) problem(format string, args ...any) {
	m.problems = append(m.problems, fmt.Errorf(format, args...))
}

func (m *merge) atLeast(field string, own, theirs []string) []string {
	if theirs == nil {
		return own
	}
	for _, name := range own {
		if !slices.Contains(theirs, name) {
			m.problem("%s: application code leaves out %q, which the deployment sets; leave the field nil, or name it too", field, name)
		}
	}
	return union(own, theirs)
}

// union is own, and what is only in more.
func union(own, more []string) []string {
	out := slices.Clone(own)
	for _, name := range more {
		if !slices.Contains(own, name) {
			out = append(out, name) // a name that stands twice in more stays an error of the guard
		}
	}
	return out
}

func (m *merge) origins(own, theirs map[string]int) map[string]int {
	out := maps.Clone(theirs)
	for _, name := range sorted(own) {
		if score, both := theirs[name]; both && score != own[name] {
			m.problem("Origins: application code sets %q to %d, the deployment to %d; leave it out", name, score, own[name])
		}
		if out == nil {
			out = map[string]int{}
		}
		out[name] = own[name]
	}
	return out
}

func (m *merge) classifications(own, theirs map[string][]string) map[string][]string {
	out := copied(theirs)
	for _, name := range sorted(own) {
		more, both := theirs[name]
		for _, taint := range own[name] {
			if both && !slices.Contains(more, taint) {
				m.problem("Classifications: application code takes %q from %q, which the deployment sets; leave it out, or name the taint too", taint, name)
			}
		}
		if out == nil {
			out = map[string][]string{}
		}
		out[name] = union(own[name], more)
	}
	return out
}

// override sets what the deployment sets.
func override[T comparable](theirs *T, own T) {
	var zero T
	if own != zero {
		*theirs = own
	}
}

// limit is override for each limit.
func limit(own, theirs lineage.Limits) lineage.Limits {
	override(&theirs.EntryBytes, own.EntryBytes)
	override(&theirs.PassportEntries, own.PassportEntries)
	override(&theirs.PassportBytes, own.PassportBytes)
	override(&theirs.Labels, own.Labels)
	override(&theirs.LabelBytes, own.LabelBytes)
	override(&theirs.Taints, own.Taints)
	override(&theirs.PolicyNameBytes, own.PolicyNameBytes)
	override(&theirs.Depth, own.Depth)
	return theirs
}

// Limits are those of the file; a field that it does not set is zero.
func (d *Deployment) Limits() lineage.Limits { return lineage.Limits(d.doc.Limits) }

// Authority is for a verifier. It is nil when the file has none: any known principal may then begin lineages, raise
// trust and remove taints.
func (d *Deployment) Authority() *lineage.Authority {
	if d.doc.Authority == nil {
		return nil
	}
	out := &lineage.Authority{}
	for _, g := range d.doc.Authority.Grants {
		out.Grants = append(out.Grants, lineage.Grant{
			Principal: g.Principal, Originate: slices.Clone(g.Originate), RootTrust: g.RootTrust,
			OverrideTrust: g.OverrideTrust, RemoveTaints: slices.Clone(g.RemoveTaints),
		})
	}
	return out
}

// Verifier adds authority, origins and limits to what application code configures. Application code must not set an
// authority beside that of the deployment, nor other scores for its origins.
func (d *Deployment) Verifier(c lineage.VerifierConfig) (lineage.VerifierConfig, error) {
	if a := d.Authority(); a != nil {
		if c.Authority != nil {
			return lineage.VerifierConfig{}, errors.New("verifier: Authority is set by application code and by the deployment; leave it nil")
		}
		c.Authority = a
	}
	more := map[string]int{}
	for _, name := range c.Origins.Names() {
		more[name], _ = c.Origins.Score(name)
	}
	for _, fixed := range (lineage.Origins{}).Names() {
		delete(more, fixed)
	}
	var m merge
	more = m.origins(d.doc.Origins, more)
	if err := errors.Join(m.problems...); err != nil {
		return lineage.VerifierConfig{}, fmt.Errorf("verifier: %w", err)
	}
	origins, err := lineage.NewOrigins(more)
	c.Origins, c.Limits = origins, limit(d.Limits(), c.Limits)
	return c, err
}

// Roots reads the trust bundle, nil when the file names none.
func (d *Deployment) Roots() (*lineage.Roots, error) {
	if d.doc.TrustBundle == "" {
		return nil, nil //nolint:nilnil // nil roots believe nobody
	}
	text, err := readFile(string(d.doc.TrustBundle), 4<<20)
	if err != nil {
		return nil, fmt.Errorf("trust_bundle: %w", err)
	}
	roots, err := lineage.ParseRoots(text)
	if err != nil {
		return nil, fmt.Errorf("trust_bundle %s: %w", d.doc.TrustBundle, err)
	}
	return roots, nil
}

// Propagator adds how lineage travels to what application code configures, which gives the store.
func (d *Deployment) Propagator(c propagate.Config) propagate.Config {
	p := d.doc.Propagation
	override(&c.Threshold, p.Threshold)
	override(&c.ClaimTTL, p.ClaimTTL)
	override(&c.ClaimPrefix, p.ClaimPrefix)
	c.CompressFirst = c.CompressFirst || p.CompressFirst
	c.Limits = limit(d.Limits(), c.Limits)
	return c
}

// Ingress adds what the deployment demands of requests to what application code configures, which gives verifiers.
// What either of them demands is demanded; of everything else the deployment's counts.
func (d *Deployment) Ingress(ctx context.Context, c propagate.IngressConfig) (propagate.IngressConfig, error) {
	in := d.doc.Ingress
	if in == nil {
		return c, nil
	}
	if c.InsecureIgnoreLineage {
		return propagate.IngressConfig{}, errors.New("ingress: InsecureIgnoreLineage is set by application code, and the deployment has an ingress; take one out")
	}
	c.Listener = propagate.Edge
	if in.Listener == "internal" {
		c.Listener = propagate.Internal
	}
	c.LineageOptional = in.LineageOptional
	override(&c.Origin, in.Origin)
	override(&c.Timeout, in.Timeout)
	c.Proofs = max(c.Proofs, in.proofs())
	c.Authorities = append(slices.Clone(in.Authorities), c.Authorities...)
	c.RequirePeer = c.RequirePeer || in.RequirePeer
	c.RequireToken = c.RequireToken || in.RequireToken
	tokens, err := build(ctx, d, "ingress.tokens", in.Tokens, "Tokens", d.options.Tokens)
	if err != nil {
		return propagate.IngressConfig{}, err
	}
	if tokens != nil {
		c.Tokens = tokens
	}
	return c, nil
}

// Egress adds who may get lineage to what application code configures. Lineage goes to nobody whom the deployment does
// not name: application code can name fewer destinations, not more.
func (d *Deployment) Egress(c propagate.EgressConfig) (propagate.EgressConfig, error) {
	out := d.doc.Egress
	if out == nil {
		return c, nil
	}
	var errs []error
	for _, host := range c.Allow {
		if !slices.Contains(out.Allow, host) {
			errs = append(errs, fmt.Errorf("egress: Allow: application code adds %q, which egress.allow of the deployment does not have", host))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return propagate.EgressConfig{}, err
	}
	if c.Allow == nil {
		c.Allow = slices.Clone(out.Allow)
	}
	c.StrictReturn = c.StrictReturn || out.StrictReturn
	return c, nil
}
