package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
)

// Guard returns the part of the configuration that a guard enforces: tiers, deviations, origins, classifications and
// limits. Engine and identity are for [Deployment.Engine] and [Deployment.Identity].
func (d *Deployment) Guard() kest.Config {
	p := d.doc.Policies
	c := kest.Config{
		Enterprise: slices.Clone(p.Enterprise), Platform: slices.Clone(p.Platform), Application: slices.Clone(p.Application),
		Shadow:        clone(p.Shadow.tiers()),
		PolicyTimeout: p.Timeout, Limits: d.Limits(), Trust: d.trust(),
		Origins: maps.Clone(d.doc.Origins), Classifications: copied(d.doc.Classifications),
		SpanPassport: d.doc.Telemetry.SpanPassportBytes,
	}
	for _, v := range d.doc.Deviations {
		c.Deviations = append(c.Deviations, v.value())
	}
	if d.approvers != nil { // not a nil *KeySet in an interface, which would not be nil
		c.Approvers, c.RequireApproval = d.approvers, d.doc.Approvers.Required
	}
	if r := d.doc.Telemetry.Receipts; r != nil {
		c.NoReceipts = !*r
	}
	return c
}

func clone(t policy.Tiers) policy.Tiers {
	return policy.Tiers{Enterprise: slices.Clone(t.Enterprise), Platform: slices.Clone(t.Platform), Application: slices.Clone(t.Application)}
}

// trust is the evaluator of the file, nil when it names none.
func (d *Deployment) trust() lineage.TrustEvaluator {
	switch t := d.doc.Trust.settings.(type) {
	case attenuate:
		return lineage.Attenuate{}
	case weighted:
		return lineage.Weighted{History: t.History}
	}
	return nil
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
//   - Shadow: added to the deployment's. A policy that the deployment enforces cannot be put on trial instead.
//   - Deviations: come from deployment configuration only, so there must be none in c.
//   - Approvers: the deployment's, where it has some; then there must be none in c. RequireApproval: of either.
//   - Origins and Classifications: added; one of the same name must have the same score, and at least the same taints.
//   - Numbers, durations, receipts and Trust: the deployment's, where it sets them.
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
	c.Shadow = m.shadow(own, c.Shadow)
	if own.Approvers != nil {
		if c.Approvers != nil {
			m.problem("Approvers: set by application code and by the deployment; leave it nil")
		}
		c.Approvers = own.Approvers
	}
	c.RequireApproval = c.RequireApproval || own.RequireApproval
	if own.Trust != nil {
		c.Trust = own.Trust
	}
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

// shadow adds trials. One of what the deployment enforces is refused here by its reason, and by the guard in any case.
func (m *merge) shadow(own kest.Config, theirs policy.Tiers) policy.Tiers {
	enforced := policy.Tiers{Enterprise: own.Enterprise, Platform: own.Platform, Application: own.Application}
	for _, tier := range policy.Order() {
		for _, name := range theirs.Names(tier) {
			if slices.Contains(enforced.Names(tier), name) {
				m.problem("Shadow: application code puts %s policy %q on trial, which the deployment enforces; take it out", tier, name)
			}
		}
	}
	return policy.Tiers{
		Enterprise: union(own.Shadow.Enterprise, theirs.Enterprise), Platform: union(own.Shadow.Platform, theirs.Platform),
		Application: union(own.Shadow.Application, theirs.Application), Function: theirs.Function,
	}
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
	out := &lineage.Authority{RefuseObserved: slices.Clone(d.doc.Authority.RefuseObserved)}
	for _, g := range d.doc.Authority.Grants {
		out.Grants = append(out.Grants, lineage.Grant{
			Principal: g.Principal, Originate: slices.Clone(g.Originate), RootTrust: g.RootTrust,
			OverrideTrust: g.OverrideTrust, RemoveTaints: slices.Clone(g.RemoveTaints),
		})
	}
	return out
}

// Verifier adds authority, origins, limits, trust and the section verifier to what application code configures, which
// gives Keys; see [Deployment.Keys]. Application code must not set an authority beside that of the deployment, nor other
// scores for its origins, nor principals in Legacy that the deployment, which has some, does not have.
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
	c.Linear = c.Linear || d.doc.Verifier.Linear
	override(&c.CacheBytes, d.doc.Verifier.CacheBytes)
	if trust := d.trust(); trust != nil {
		c.Trust = trust
	}
	for _, name := range c.Legacy { // legacy weakens, so it is the deployment's as soon as it has an opinion
		if d.doc.Verifier.Legacy != nil && !slices.Contains(d.doc.Verifier.Legacy, name) {
			return lineage.VerifierConfig{}, fmt.Errorf("verifier: Legacy: application code adds %q, which verifier.legacy of the deployment does not have", name)
		}
	}
	if c.Legacy == nil {
		c.Legacy = slices.Clone(d.doc.Verifier.Legacy)
	}
	return c, err
}

// Keys reads the keys of the section verifier, nil when it names none. They are for binding.Config.Static, or for
// [lineage.VerifierConfig].Keys where nothing else is believed.
func (d *Deployment) Keys() (*lineage.KeySet, error) {
	if d.doc.Verifier.Keys == "" {
		return nil, nil //nolint:nilnil // as Roots
	}
	text, err := readFile(string(d.doc.Verifier.Keys), maxKeys)
	if err != nil {
		return nil, d.unreadable("verifier.keys", err)
	}
	keys, err := lineage.ParseKeySet(text)
	if err != nil {
		return nil, d.unreadable("verifier.keys", err)
	}
	return keys, nil
}

// Roots reads the trust bundle, nil when the file names none.
func (d *Deployment) Roots() (*lineage.Roots, error) {
	if d.doc.TrustBundle == "" {
		return nil, nil //nolint:nilnil // nil roots believe nobody
	}
	text, err := readFile(string(d.doc.TrustBundle), maxKeys)
	if err != nil {
		return nil, d.unreadable("trust_bundle", err)
	}
	roots, err := lineage.ParseRoots(text)
	if err != nil {
		return nil, d.unreadable("trust_bundle", err)
	}
	return roots, nil
}

// unreadable is a fault of a file that the configuration names.
func (d *Deployment) unreadable(path string, err error) error {
	return fmt.Errorf("%s: %w", d.places[path].problem(path, "it cannot be read", "").String(), err)
}

// Propagator adds how lineage travels to what application code configures, which gives the store.
func (d *Deployment) Propagator(c propagate.Config) propagate.Config {
	p := d.doc.Propagation
	override(&c.Threshold, p.Threshold)
	override(&c.ClaimTTL, p.ClaimTTL)
	override(&c.ClaimPrefix, p.ClaimPrefix)
	c.CompressFirst = c.CompressFirst || p.CompressFirst
	c.Receipts = c.Receipts || p.Receipts
	c.Limits = limit(d.Limits(), c.Limits)
	return c
}

// Ingress adds what the deployment demands of requests to what application code configures, which gives verifiers.
// What either of them demands is demanded; of everything else the deployment's counts.
// A deployment without the section leaves all as it is.
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

// Shape says which borders a deployment has, for whoever makes the parts.
type Shape struct {
	Ingress, Egress bool // the sections are there
	IngressProofs   bool // requests with hop proofs are held to them, which takes a propagate.HopVerifier
	EgressProofs    bool // requests get hop proofs, which takes a propagate.HopSigner
}

// Shape returns what the file has.
func (d *Deployment) Shape() Shape {
	s := Shape{Ingress: d.doc.Ingress != nil, Egress: d.doc.Egress != nil}
	s.IngressProofs = s.Ingress && d.doc.Ingress.proofs() != propagate.ProofOff
	s.EgressProofs = s.Egress && d.doc.Egress.Proofs
	return s
}
