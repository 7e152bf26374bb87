package rego

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/kest-go/kest/policy"
)

// Keys are terms made once: OPA does not change the terms of an object, and says so of its own interned ones.
var (
	kSubject, kObject, kEnvironment  = key("subject"), key("object"), key("environment")
	kIdentity, kTrustScore, kLineage = key("identity"), key("trust_score"), key("lineage")
	kLabels, kAttributes             = key("labels"), key("attributes")

	kWorkload, kUser, kAgent, kTask = key("workload"), key("user"), key("agent"), key("task")
	kTaints, kID                    = key("taints"), key("id")

	kIsRoot, kSourceType          = key("is_root"), key("source_type")
	kParentHash, kParentHashes    = key("parent_hash"), key("parent_hashes")
	kPolicyNames, kPolicyTier     = key("policy_names"), key("policy_tier")
	kDeviations, kOperation       = key("active_deviations"), key("operation")
	kClassification               = key("classification")
	kEntryID, kTraceID            = key("entry_id"), key("trace_id")
	kTrustOverride, kRemoved      = key("trust_override"), key("removed_taints")
	kSanitizer, kPolicy, kTier    = key("sanitizer"), key("policy"), key("tier")
	kReason, kApprover, kApproved = key("reason"), key("approver"), key("approver_key")

	kLength, kPrincipals        = key("length"), key("principals")
	kMinTrust, kSourceTypes     = key("min_trust"), key("source_types")
	kOperations, kResources     = key("operations"), key("resources")
	kUnsanitized, kSteps        = key("unsanitized_sources"), key("steps")
	kUsers, kAncestors          = key("users"), key("ancestors")
	kOmitted, kPrincipal        = key("ancestors_omitted"), key("principal")
	kOutcome, kName, kValue     = key("outcome"), key("name"), key("value")
	kResource, kOverridden      = key("resource"), key("overridden")
	kParents, noParent, unknown = key("parents"), key("0"), key(policy.OutcomeUnknown)
	kActs                       = key("acts")
)

func key(s string) *ast.Term { return ast.StringTerm(s) }

// inputTerm builds what want says of the document of [policy.Input.Document], as OPA's own value and without the map
// between.
func inputTerm(in *policy.Input, want reads) (*ast.Term, error) {
	c := &converter{}
	var items [8][2]*ast.Term
	top := items[:0]
	put := func(f fields, k *ast.Term, build func() *ast.Term) {
		if want.some&f != 0 {
			top = append(top, [2]*ast.Term{k, build()})
		}
	}
	record := func(f fields, k *ast.Term, fill func(*group, *policy.Input)) {
		put(f, k, func() *ast.Term {
			g := group{c: c, whole: want.whole&f != 0, only: want.members[f]}
			g.items = g.space[:0]
			fill(&g, in)
			return object(g.items...)
		})
	}
	record(fSubject, kSubject, (*group).subject)
	record(fObject, kObject, (*group).object)
	record(fEnvironment, kEnvironment, (*group).environment)
	record(fIdentity, kIdentity, (*group).identity)
	put(fTrustScore, kTrustScore, func() *ast.Term { return number(in.TrustScore) })
	record(fLineage, kLineage, (*group).lineage)
	put(fLabels, kLabels, func() *ast.Term { return texts(in.Labels) })
	put(fAttributes, kAttributes, func() *ast.Term { return c.attributes("attributes", in.Attributes) })
	if err := c.err(); err != nil {
		return nil, err
	}
	return object(top...), nil
}

// A group is one member of the document in the making: whole, or only what is read of it.
type group struct {
	c     *converter
	space [14][2]*ast.Term // room for the largest, environment and lineage
	items [][2]*ast.Term
	whole bool
	only  []ast.Value
}

func (g *group) identity(in *policy.Input) {
	s := &in.Subject
	g.text(kWorkload, s.Workload)
	g.orNull(kUser, s.User)
	g.orNull(kAgent, s.Agent)
	g.orNull(kTask, s.Task)
}

func (g *group) subject(in *policy.Input) {
	g.identity(in)
	g.put(kTrustScore, number(in.Subject.TrustScore))
	g.list(kTaints, in.Subject.Taints)
}

func (g *group) object(in *policy.Input) {
	g.orNull(kID, in.Object.ID)
	if g.wants(kAttributes) {
		g.put(kAttributes, g.c.attributes("object.attributes", in.Object.Attributes))
	}
}

func (g *group) environment(in *policy.Input) {
	env := &in.Environment
	override := ast.InternedNullTerm
	if env.TrustOverride != nil {
		override = number(*env.TrustOverride)
	}
	g.put(kIsRoot, ast.InternedTerm(env.IsRoot))
	g.text(kSourceType, env.SourceType)
	if len(env.ParentHashes) > 0 {
		g.text(kParentHash, env.ParentHashes[0])
	} else {
		g.put(kParentHash, noParent)
	}
	g.list(kParentHashes, env.ParentHashes)
	g.list(kPolicyNames, env.PolicyNames)
	g.text(kPolicyTier, string(env.PolicyTier))
	if g.wants(kDeviations) {
		g.put(kDeviations, each(env.ActiveDeviations, deviation))
	}
	g.text(kOperation, env.Operation)
	g.text(kClassification, env.Classification)
	g.text(kEntryID, env.EntryID)
	g.text(kTraceID, env.TraceID)
	g.put(kTrustOverride, override)
	g.list(kRemoved, env.RemovedTaints)
	g.orNull(kSanitizer, env.Sanitizer)
}

func deviation(d policy.Deviation) *ast.Term {
	return object(
		[2]*ast.Term{kPolicy, text(d.Policy)},
		[2]*ast.Term{kTier, text(string(d.Tier))},
		[2]*ast.Term{kReason, orNull(d.Reason)},
		[2]*ast.Term{kApprover, orNull(d.Approver)},
		[2]*ast.Term{kApproved, orNull(d.ApproverKey)},
	)
}

// wants compares texts, since a policy's key is another term.
func (g *group) wants(k *ast.Term) bool { return g.whole || slices.Contains(g.only, k.Value) }

// put adds a term that costs nothing to make.
func (g *group) put(k, v *ast.Term) {
	if g.wants(k) {
		g.items = append(g.items, [2]*ast.Term{k, v})
	}
}

func (g *group) text(k *ast.Term, s string) {
	if g.wants(k) {
		g.items = append(g.items, [2]*ast.Term{k, text(s)})
	}
}

func (g *group) orNull(k *ast.Term, s string) {
	if g.wants(k) {
		g.items = append(g.items, [2]*ast.Term{k, orNull(s)})
	}
}

func (g *group) list(k *ast.Term, ss []string) {
	if g.wants(k) {
		g.items = append(g.items, [2]*ast.Term{k, each(ss, text)})
	}
}

func text(s string) *ast.Term { return &ast.Term{Value: ast.String(s)} }

func number(n int) *ast.Term { return ast.InternedTerm(n) }

func orNull(s string) *ast.Term {
	if s == "" {
		return ast.InternedNullTerm
	}
	return text(s)
}

func texts(m map[string]string) *ast.Term {
	items := make([][2]*ast.Term, 0, len(m))
	for name, value := range m {
		items = append(items, [2]*ast.Term{text(name), text(value)})
	}
	return object(items...)
}

func each[T any](items []T, convert func(T) *ast.Term) *ast.Term {
	terms := make([]*ast.Term, len(items))
	for i, item := range items {
		terms[i] = convert(item)
	}
	return array(terms)
}

func array(terms []*ast.Term) *ast.Term {
	if len(terms) == 0 {
		return ast.InternedEmptyArray
	}
	return &ast.Term{Value: ast.NewArray(terms...)}
}

func object(items ...[2]*ast.Term) *ast.Term {
	if len(items) == 0 {
		return ast.InternedEmptyObject
	}
	return &ast.Term{Value: ast.NewObject(items...)}
}
