package cedar

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/policy"
)

// context builds what r wants of the document of [policy.Input.Document] as a record, without the map between: the
// nested members, and the leaves, which are all values but records, once more by their dotted paths (SPEC §7).
func (c *converter) context(in *policy.Input, r *reads) types.Record {
	want := r.nested | r.needs()
	if r.all {
		want = allFields
	}
	top := make(types.RecordMap, 4+len(r.dotted))
	c.members(in, r, want, top)
	switch {
	case c.fault != "":
	case r.all:
		for name := range topLevel {
			if record, ok := top[types.String(name)].(types.Record); ok {
				c.flatten(name, record, top)
			}
		}
	default: // a member that only dotted paths go through stays: nobody else asks for it
		for _, p := range r.dotted {
			if record, ok := top[p.head()].(types.Record); ok {
				c.put(top, p.key, c.find(record, p.rest))
			}
		}
	}
	return types.NewRecord(top)
}

func (p dotted) head() types.String { return p.key[:len(p.key)-len(p.rest)-1] }

// members adds the wanted members to top.
func (c *converter) members(in *policy.Input, r *reads, want fields, top types.RecordMap) {
	if want&fTrustScore != 0 {
		top["trust_score"] = types.Long(in.TrustScore)
	}
	if want&fAttributes != 0 {
		top["attributes"] = c.attributes("attributes", in.Attributes)
	}
	build := func(f fields, name types.String, fill func(*group, *policy.Input)) {
		if want&f != 0 {
			g := group{c: c, m: make(types.RecordMap, 4), whole: r.all || r.whole&f != 0, only: r.members[f]}
			fill(&g, in)
			top[name] = types.NewRecord(g.m)
		}
	}
	build(fSubject, "subject", (*group).subject)
	build(fObject, "object", (*group).object)
	build(fEnvironment, "environment", (*group).environment)
	build(fIdentity, "identity", (*group).identity)
	build(fLineage, "lineage", (*group).lineage)
}

// A group is one member of the context in the making: whole, or only what is read of it.
type group struct {
	c     *converter
	m     types.RecordMap
	whole bool
	only  []string
}

func (g *group) identity(in *policy.Input) {
	s := &in.Subject
	g.text("workload", s.Workload)
	g.unlessEmpty("user", s.User)
	g.unlessEmpty("agent", s.Agent)
	g.unlessEmpty("task", s.Task)
}

func (g *group) subject(in *policy.Input) {
	g.identity(in)
	g.put("trust_score", types.Long(in.Subject.TrustScore))
	g.list("taints", in.Subject.Taints)
}

func (g *group) object(in *policy.Input) {
	g.unlessEmpty("id", in.Object.ID)
	if g.wants("attributes") {
		g.m["attributes"] = g.c.attributes("object.attributes", in.Object.Attributes)
	}
}

func (g *group) environment(in *policy.Input) {
	env := &in.Environment
	parent := "0"
	if len(env.ParentHashes) > 0 {
		parent = env.ParentHashes[0]
	}
	g.put("is_root", types.Boolean(env.IsRoot))
	g.text("source_type", env.SourceType)
	g.text("parent_hash", parent)
	g.list("parent_hashes", env.ParentHashes)
	g.list("policy_names", env.PolicyNames)
	g.text("policy_tier", string(env.PolicyTier))
	if g.wants("active_deviations") {
		g.m["active_deviations"] = g.c.deviations(env.ActiveDeviations)
	}
	g.text("operation", env.Operation)
	g.text("classification", env.Classification)
	g.text("entry_id", env.EntryID)
	g.text("trace_id", env.TraceID)
}

func (g *group) lineage(in *policy.Input) {
	l := &in.Lineage
	g.put("length", types.Long(l.Length))
	g.list("principals", l.Principals)
	g.put("min_trust", types.Long(l.MinTrust))
	g.list("source_types", l.SourceTypes)
}

func (c *converter) deviations(all []policy.Deviation) types.Set {
	values := make([]types.Value, len(all))
	for i := range all {
		d, g := &all[i], group{c: c, m: make(types.RecordMap, 4), whole: true}
		g.text("policy", d.Policy)
		g.text("tier", string(d.Tier))
		g.unlessEmpty("reason", d.Reason)
		g.unlessEmpty("approver", d.Approver)
		values[i] = types.NewRecord(g.m)
	}
	return types.NewSet(values...)
}

func (g *group) wants(name string) bool { return g.whole || slices.Contains(g.only, name) }

func (g *group) put(name string, v types.Value) {
	if g.wants(name) {
		g.m[types.String(name)] = v
	}
}

func (g *group) text(name, s string) {
	if g.wants(name) {
		g.m[types.String(name)] = g.c.text(name, s)
	}
}

// unlessEmpty leaves out what is null in the document.
func (g *group) unlessEmpty(name, s string) {
	if s != "" {
		g.text(name, s)
	}
}

func (g *group) list(name string, ss []string) {
	if !g.wants(name) {
		return
	}
	values := make([]types.Value, len(ss))
	for i, s := range ss {
		values[i] = g.c.text(name, s)
	}
	g.m[types.String(name)] = types.NewSet(values...)
}

// flatten adds the leaves below record by their paths.
func (c *converter) flatten(prefix string, record types.Record, top types.RecordMap) {
	for name, v := range record.All() {
		if c.spend(len(prefix) + 1 + len(name)); c.fault != "" {
			return
		}
		at := prefix + "." + string(name)
		if inner, ok := v.(types.Record); ok {
			c.flatten(at, inner, top)
			continue
		}
		c.put(top, types.String(at), v)
	}
}

// find returns the leaf that rest leads to, or nil. Names may have dots of their own, so it tries every name that
// rest begins with; each visits a member of its own, so that is bounded by the members.
func (c *converter) find(record types.Record, rest string) (leaf types.Value) {
	if v, ok := record.Get(types.String(rest)); ok {
		if _, inner := v.(types.Record); !inner {
			leaf = v
		}
	}
	for i := range len(rest) {
		if rest[i] != '.' {
			continue
		}
		v, _ := record.Get(types.String(rest[:i]))
		inner, ok := v.(types.Record)
		if !ok {
			continue
		}
		if other := c.find(inner, rest[i+1:]); other != nil && leaf != nil {
			c.ambiguous()
		} else if other != nil {
			leaf = other
		}
	}
	return leaf
}

// put adds v, unless it is nil. Two values of one path are a fault: whoever chose one of them could have hidden
// the other.
func (c *converter) put(top types.RecordMap, key types.String, v types.Value) {
	if v == nil {
		return
	}
	if _, taken := top[key]; taken {
		c.ambiguous()
		return
	}
	top[key] = v
}

func (c *converter) ambiguous() {
	if c.fault == "" {
		c.where, c.fault = "attributes", "two of them have the same dotted path; leave the dots out of their names"
	}
}
