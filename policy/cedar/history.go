package cedar

import (
	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/policy"
)

// ofHistory are the members of lineage that come from [policy.History]. It is read when one of them is, and what is
// made of it serves all policies of the call.
var ofHistory = []struct {
	name  string
	build func(*group, *policy.Past)
}{
	{"operations", func(g *group, p *policy.Past) { g.list("operations", p.Operations) }},
	{"taints", func(g *group, p *policy.Past) { g.list("taints", p.Taints) }},
	{"resources", func(g *group, p *policy.Past) { g.list("resources", p.Resources) }},
	{"unsanitized_sources", func(g *group, p *policy.Past) { g.list("unsanitized_sources", p.Unsanitized) }},
	{"steps", func(g *group, p *policy.Past) { records(g, "steps", p.Steps, step) }},
	{"acts", func(g *group, p *policy.Past) { records(g, "acts", p.Acts, act) }},
	{"users", func(g *group, p *policy.Past) { records(g, "users", p.Users, performer) }},
	{"labels", func(g *group, p *policy.Past) { records(g, "labels", p.Labels, label) }},
	{"ancestors", func(g *group, p *policy.Past) { records(g, "ancestors", p.Ancestors, ancestor) }},
	{"ancestors_omitted", func(g *group, p *policy.Past) { g.put("ancestors_omitted", types.Long(p.Omitted)) }},
}

// made is one of them, or what is wrong with it.
type made struct {
	value        types.Value
	fault, where string
}

func (g *group) lineage(in *policy.Input) {
	l := &in.Lineage
	g.put("length", types.Long(l.Length))
	g.list("principals", l.Principals)
	g.put("min_trust", types.Long(l.MinTrust))
	g.list("source_types", l.SourceTypes)
	for i := range ofHistory {
		m := &ofHistory[i]
		if !g.wants(m.name) {
			continue
		}
		v, _ := l.History.Form(m, func(p *policy.Past) any {
			c := &converter{}
			one := group{c: c, m: types.RecordMap{}, whole: true}
			m.build(&one, p)
			return made{one.m[types.String(m.name)], c.fault, c.where}
		}).(made)
		if v.fault != "" && g.c.fault == "" {
			g.c.fault, g.c.where = v.fault, v.where
		}
		if v.value != nil {
			g.add(m.name, v.value)
		}
	}
}

func step(g *group, s *policy.Step) {
	g.text("operation", s.Operation)
	g.text("principal", s.Principal)
	g.text("outcome", s.Outcome)
}

func act(g *group, a *policy.Act) {
	g.text("operation", a.Operation)
	g.text("principal", a.Principal)
	g.text("outcome", a.Outcome)
	g.text("resource", a.Resource)
}

func performer(g *group, p *policy.Performer) {
	g.text("operation", p.Operation)
	g.text("user", p.User)
}

func label(g *group, l *policy.Label) {
	g.text("name", l.Name)
	g.text("value", l.Value)
}

func ancestor(g *group, a *policy.Ancestor) {
	g.text("operation", a.Operation)
	g.text("classification", a.Classification)
	g.text("source_type", a.SourceType)
	g.text("principal", a.Principal)
	g.unlessEmpty("user", a.User)
	g.unlessEmpty("agent", a.Agent)
	g.unlessEmpty("task", a.Task)
	g.unlessEmpty("resource", a.Resource)
	g.put("trust_score", types.Long(a.TrustScore))
	g.put("overridden", types.Boolean(a.Overridden))
	g.list("taints", a.Taints)
	g.list("removed_taints", a.RemovedTaints)
	g.unlessEmpty("sanitizer", a.Sanitizer)
	g.put("labels", g.c.labels("labels", a.Labels))
	g.text("outcome", a.Outcome)
	parents := make([]types.Value, len(a.Parents))
	for i, p := range a.Parents {
		parents[i] = types.Long(p)
	}
	g.put("parents", types.NewSet(parents...))
}
