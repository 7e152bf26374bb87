package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
)

// checker holds a decoded document to the rules that are about more than one value. It asks the packages that the
// values are for, so that they and a file never disagree.
type checker struct {
	d          *decoder
	doc        *document
	operations []string
	warnings   problems

	origins lineage.Origins
	sources []string // their names

	approvers    *lineage.KeySet
	approverText string // of the file of their keys
}

func (c *checker) check() {
	c.origins, _ = lineage.NewOrigins(c.doc.Origins) // its faults are reported below
	c.sources = c.origins.Names()
	c.policies(c.doc.Policies.tiers(), "policies")
	c.shadow()
	for i := range c.doc.Deviations {
		c.deviation(fmt.Sprintf("deviations[%d]", i), &c.doc.Deviations[i])
	}
	c.approvals()
	c.decisions()
	c.labels()
	c.authority()
	c.borders()
}

// place is that of a path, or of the nearest one above it that has one.
func (c *checker) place(path string) place {
	for {
		if p, ok := c.d.places[path]; ok || path == "" {
			return p
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

func (c *checker) fail(path, message, hint string) {
	c.d.add(c.place(path).problem(path, message, hint))
}

func (c *checker) warn(path, message, hint string) {
	c.warnings.add(c.place(path).problem(path, message, hint))
}

func (c *checker) policies(tiers policy.Tiers, section string) {
	for _, tier := range policy.Order() {
		names := tiers.Names(tier)
		seen := make(map[string]bool, len(names))
		for i, name := range names {
			path := fmt.Sprintf("%s.%s[%d]", section, tier, i)
			if name == "" {
				continue // reported as it was decoded
			}
			if err := policy.ValidateName(name); err != nil {
				c.fail(path, sentence(err.Error()), "")
			} else if seen[name] {
				c.fail(path, fmt.Sprintf("policy %q stands twice", clip(name)), "keep one")
			}
			seen[name] = true
		}
	}
}

// shadow checks the policies under trial.
func (c *checker) shadow() {
	enforced, tiers, n := c.doc.Policies.tiers(), c.doc.Policies.Shadow.tiers(), 0
	c.policies(tiers, "policies.shadow")
	for _, tier := range policy.Order() {
		n += len(tiers.Names(tier))
		for i, name := range tiers.Names(tier) {
			if name != "" && slices.Contains(enforced.Names(tier), name) {
				c.fail(fmt.Sprintf("policies.shadow.%s[%d]", tier, i), fmt.Sprintf("policy %q is enforced, too", clip(name)),
					fmt.Sprintf("take it out of one of policies.%s and policies.shadow.%s", tier, tier))
			}
		}
	}
	if n > maxShadow {
		c.fail("policies.shadow", fmt.Sprintf("%d policies are under trial", n), fmt.Sprintf("try at most %d at once", maxShadow))
	}
}

func (c *checker) deviation(path string, v *deviation) {
	switch v.Tier {
	case "": // reported as it was decoded
		return
	case policy.Function:
		c.fail(path+".tier", "function policies cannot be deviated", "take the policy out of the call instead")
		return
	case policy.Enterprise, policy.Platform, policy.Application:
	default:
		c.fail(path+".tier", fmt.Sprintf("%q is not a tier", clip(string(v.Tier))), nearest(string(v.Tier), deviable()))
		return
	}
	names := c.doc.Policies.tiers().Names(v.Tier)
	if v.Policy != "" && !slices.Contains(names, v.Policy) && slices.Contains(c.doc.Policies.Shadow.tiers().Names(v.Tier), v.Policy) {
		c.fail(path+".policy", fmt.Sprintf("%q is under trial and stops nothing", clip(v.Policy)), "take the deviation out")
		return
	}
	// Application code may bring the policies of its tier, so the guard is who knows about those.
	if v.Policy != "" && v.Tier != policy.Application && !slices.Contains(names, v.Policy) {
		c.fail(path+".policy", fmt.Sprintf("no %s policy is called %q", v.Tier, clip(v.Policy)), nearest(v.Policy, names))
	}
	if err := v.value().Validate(); err != nil && v.Policy != "" && v.Scope != "" {
		for _, e := range each(err) {
			c.fail(path, sentence(e.Error()), "")
		}
	}
	if v.value().Expired(time.Now()) {
		c.warn(path+".not_after", fmt.Sprintf("the deviation of %q has expired and lifts nothing", clip(v.Policy)), "take it out, or have it approved anew")
	}
	c.scope(path+".scope", v)
}

func deviable() []string {
	return []string{string(policy.Enterprise), string(policy.Platform), string(policy.Application)}
}

func (v *deviation) value() policy.Deviation {
	return policy.Deviation{Policy: v.Policy, Tier: v.Tier, Scope: v.Scope, Reason: v.Reason, Approver: v.Approver, NotAfter: v.NotAfter,
		Signature: v.Signature}
}

// scope warns of scopes that no operation can have: of those of the program when they are known, and of any otherwise.
func (c *checker) scope(path string, v *deviation) {
	first, _, slash := strings.Cut(v.Scope, "/")
	message, hint := "", ""
	switch {
	case v.Scope == "":
		return
	case c.operations != nil:
		if !slices.ContainsFunc(c.operations, func(o string) bool { return v.value().Covers(v.Tier, v.Policy, o) }) {
			message, hint = "the scope matches no operation of the program", nearest(v.Scope, c.operations)
		}
	case strings.TrimSpace(v.Scope) != v.Scope:
		message, hint = "the scope begins or ends with white space, so it matches no operation", "take it out"
	case strings.ContainsAny(v.Scope, "()[]{}?^$|\\"):
		message, hint = "the scope has signs of other pattern languages, so it probably matches no operation", "only * is special here"
	case slash && strings.Contains(first, "."):
		message = "the scope looks like an import path, so it probably matches no operation"
		hint = fmt.Sprintf("names are derived as package.Function, as in %q", clip(v.Scope[strings.LastIndex(v.Scope, "/")+1:]))
	}
	if message != "" {
		c.warn(path, message, hint)
	}
}

// labels checks the names that entries carry: source types and taints.
func (c *checker) labels() {
	for _, name := range sorted(c.doc.Origins) {
		if _, err := lineage.NewOrigins(map[string]int{name: 0}); err != nil { // its score was checked when it was decoded
			c.fail(join("origins", name), sentence(err.Error()), "")
		}
	}
	for _, name := range sorted(c.doc.Classifications) {
		path := join("classifications", name)
		if name == "" {
			c.fail(path, "the classification has no name", "give it one")
		}
		seen := map[string]bool{}
		for i, taint := range c.doc.Classifications[name] {
			if seen[taint] && taint != "" {
				c.fail(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("taint %q stands twice", clip(taint)), "keep one")
			}
			seen[taint] = true
		}
	}
}

// source warns of a source type that is not known. Application code may add it.
func (c *checker) source(path, name string) {
	if _, known := c.origins.Score(name); name != "" && name != "*" && !known {
		c.warn(path, fmt.Sprintf("the source type %q is not known", clip(name)), nearest(name, c.sources))
	}
}

func (c *checker) authority() {
	if c.doc.Authority == nil {
		return
	}
	for i, g := range c.doc.Authority.Grants {
		path := fmt.Sprintf("authority.grants[%d]", i)
		one := lineage.Authority{Grants: []lineage.Grant{{Principal: g.Principal}}}
		if g.Principal != "" && one.Validate() != nil {
			c.fail(path+".principal", fmt.Sprintf("%q can match nothing", clip(g.Principal)), `use an exact id or a prefix that ends in "/*"`)
		}
		for j, name := range g.Originate {
			c.source(fmt.Sprintf("%s.originate[%d]", path, j), name)
		}
		if len(g.Originate) == 0 && g.RootTrust == 0 && g.OverrideTrust == 0 && len(g.RemoveTaints) == 0 {
			c.warn(path, "the grant grants nothing", "give it originate, root_trust, override_trust or remove_taints")
		}
	}
}

// borders checks what is about other processes.
func (c *checker) borders() {
	if in := c.doc.Ingress; in != nil {
		c.source("ingress.origin", in.Origin)
		if in.LineageOptional && in.Listener == "edge" {
			c.fail("ingress.lineage_optional", "it is for an internal listener; an edge never demands lineage", "take it out")
		}
		if in.proofs() != propagate.ProofOff && len(in.Authorities) == 0 {
			c.fail("ingress.proofs", "proofs need authorities, so that one made for another service does not count", "name the hosts under which clients address this service")
		}
	}
	if out := c.doc.Egress; out != nil {
		for i, host := range out.Allow {
			if _, err := propagate.NewEgress(propagate.EgressConfig{Sealer: noSealer{}, Allow: []string{host}}); err != nil && host != "" {
				c.fail(fmt.Sprintf("egress.allow[%d]", i), fmt.Sprintf("%q is no destination", clip(host)), `use a host such as ledger or ledger:8443, or a suffix such as .mesh.internal`)
			}
		}
	}
	if prefix := c.doc.Propagation.ClaimPrefix; prefix != "" {
		if _, err := propagate.New(propagate.Config{ClaimPrefix: prefix}); err != nil {
			c.fail("propagation.claim_prefix", "the prefix is too long or has other characters than . _ - : letters and digits", "")
		}
	}
	if c.doc.Propagation.Threshold < 0 && c.doc.Store.kind == "" {
		c.fail("propagation.threshold", "it sends every passport to the store, and there is none", "add the section store")
	}
}

func (in *ingress) proofs() propagate.ProofMode {
	switch in.Proofs {
	case "accept":
		return propagate.ProofAccept
	case "require":
		return propagate.ProofRequire
	}
	return propagate.ProofOff
}

// noSealer is for a check of destinations, which seals nothing.
type noSealer struct{}

func (noSealer) Seal(context.Context) (lineage.Passport, error) {
	return lineage.Passport{}, errors.New("config: no guard")
}
