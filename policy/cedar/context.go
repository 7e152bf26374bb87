package cedar

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/policy"
)

// context builds what r wants of the document of [policy.Input.Document] as a record, without the map between: the
// nested members, and the leaves, which are all values but records, once more by their dotted paths (SPEC §7).
func (c *converter) context(in *policy.Input, r *reads) types.Record {
	top := c.space.top
	defer clear(top) // types.NewRecord copies it
	c.members(in, r, top)
	switch {
	case c.fault != "":
	case r.all:
		for name := range topLevel {
			if record, ok := top[types.String(name)].(types.Record); ok {
				c.flatten(name, record, top)
			}
		}
	default: // a member that only dotted paths go through stays: nobody else asks for it
		for _, p := range r.below {
			if record, ok := top[p.head()].(types.Record); ok {
				c.put(top, p.key, c.find(record, p.rest))
			}
		}
	}
	return types.NewRecord(top)
}

func (p below) head() types.String { return p.key[:len(p.key)-len(p.rest)-1] }

// A space is where records are put together.
type space struct{ top, group types.RecordMap }

func newSpace() *space { return &space{make(types.RecordMap, 4), make(types.RecordMap, 4)} }

// groups are the members that have members of their own.
var groups = []struct {
	field fields
	name  types.String
	fill  func(*group, *policy.Input)
}{
	{fSubject, "subject", (*group).subject},
	{fObject, "object", (*group).object},
	{fEnvironment, "environment", (*group).environment},
	{fIdentity, "identity", (*group).identity},
	{fLineage, "lineage", (*group).lineage},
}

// members adds the wanted members to top.
func (c *converter) members(in *policy.Input, r *reads, top types.RecordMap) {
	want := r.some
	if r.all {
		want = allFields
	}
	if want&fTrustScore != 0 {
		top["trust_score"] = types.Long(in.TrustScore)
	}
	if want&fLabels != 0 {
		top["labels"] = c.labels("labels", in.Labels)
	}
	if want&fAttributes != 0 {
		top["attributes"] = c.attributes("attributes", in.Attributes)
	}
	g := group{c: c, m: c.space.group, top: top}
	for i := range groups {
		if m := &groups[i]; want&m.field != 0 {
			g.whole, g.only, g.leaves = r.whole&m.field != 0, r.members[m.field.index()], r.leaves[m.field.index()]
			if r.all {
				g.whole, g.leaves = true, nil // flatten adds them
			}
			before := c.fault
			m.fill(&g, in)
			g.blame(string(m.name), before)
			if g.whole || len(g.only) > 0 {
				top[m.name] = g.record()
			}
		}
	}
}

// A group is one member of the context in the making: whole, or only what is read of it, and what is read of it by
// dotted paths.
type group struct {
	c      *converter
	m      types.RecordMap
	whole  bool
	only   []string
	top    types.RecordMap
	leaves []leaf
}

// record takes what is in the group out of it.
func (g *group) record() types.Record {
	r := types.NewRecord(g.m) // a copy
	clear(g.m)
	return r
}

// blame puts the name of a member before a fault that was found in it.
func (g *group) blame(name, before string) {
	if g.c.fault != before {
		g.c.where = name + "." + g.c.where
	}
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
	if g.nested("attributes") {
		g.m["attributes"] = g.c.attributes("attributes", in.Object.Attributes)
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
	records(g, "active_deviations", env.ActiveDeviations, deviation)
	g.text("operation", env.Operation)
	g.text("classification", env.Classification)
	g.text("entry_id", env.EntryID)
	g.text("trace_id", env.TraceID)
	if env.TrustOverride != nil {
		g.put("trust_override", types.Long(*env.TrustOverride))
	}
	g.list("removed_taints", env.RemovedTaints)
	g.unlessEmpty("sanitizer", env.Sanitizer)
}

func deviation(g *group, d *policy.Deviation) {
	g.text("policy", d.Policy)
	g.text("tier", string(d.Tier))
	g.unlessEmpty("reason", d.Reason)
	g.unlessEmpty("approver", d.Approver)
	g.unlessEmpty("approver_key", d.ApproverKey)
}

// wants reports whether a member is to be made, for whichever name it will have.
func (g *group) wants(name string) bool { return g.nested(name) || g.leaf(name) != "" }

func (g *group) nested(name string) bool { return g.whole || slices.Contains(g.only, name) }

// leaf returns the dotted path by which a member is read, or "".
func (g *group) leaf(name string) types.String {
	for i := range g.leaves {
		if g.leaves[i].name == name {
			return g.leaves[i].key
		}
	}
	return ""
}

// add keeps a member that is wanted.
func (g *group) add(name string, v types.Value) {
	if g.nested(name) {
		g.m[types.String(name)] = v
	}
	if key := g.leaf(name); key != "" {
		g.top[key] = v
	}
}

func (g *group) put(name string, v types.Value) {
	if g.wants(name) {
		g.add(name, v)
	}
}

func (g *group) text(name, s string) {
	if g.wants(name) {
		g.add(name, g.c.text(name, s))
	}
}

// unlessEmpty leaves out what is null in the document.
func (g *group) unlessEmpty(name, s string) {
	if s != "" {
		g.text(name, s)
	}
}

func (g *group) list(name string, ss []string) {
	if !g.wants(name) || g.c.crowded(name, len(ss)) {
		return
	}
	values := make([]types.Value, len(ss))
	for i, s := range ss {
		values[i] = g.c.text(name, s)
	}
	g.add(name, types.NewSet(values...))
}

// records makes a set of records.
func records[T any](g *group, name string, items []T, fill func(*group, *T)) {
	if !g.wants(name) || g.c.crowded(name, len(items)) {
		return
	}
	values := make([]types.Value, len(items))
	one := group{c: g.c, m: make(types.RecordMap, 4), whole: true}
	for i := range items {
		before := g.c.fault
		fill(&one, &items[i])
		one.blame(name, before)
		values[i] = one.record()
	}
	g.add(name, types.NewSet(values...))
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
