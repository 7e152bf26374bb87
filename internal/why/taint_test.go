package why_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kest-go/kest/internal/why"
	"github.com/kest-go/kest/lineage"
)

// TestTaints: who added a taint, which way it came, who removed it, and how it came back (F-TT-01…06).
func TestTaints(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.sign("fetch", call{add: []string{"web"}})
	l.sign("scan", call{add: []string{"virus", "web"}, parents: "fetch"})
	l.sign("clean", call{remove: []string{"web"}, sanitizer: "scrub", parents: "scan"})
	l.sign("plain", call{parents: "clean"})
	l.sign("again", call{add: []string{"web"}, parents: "plain"})
	l.sign("use", call{parents: "again"})
	l.sign("around", call{parents: "clean fetch"})
	l.sign("raise", call{remove: []string{"never", "virus", "web"}, override: "50", parents: "scan"})

	for _, c := range []struct{ operation, taint, sources, path, removals, back string }{
		{"fetch", "web", "fetch", "fetch", "", ""},
		{"scan", "web", "scan fetch", "scan", "", ""},
		{"use", "web", "again", "again use", "clean", "added"},
		{"use", "virus", "scan", "scan clean plain again use", "", ""},
		{"around", "web", "fetch", "fetch around", "clean", "around"},
	} {
		carried, _ := l.of(c.operation).Taints()
		i := slices.IndexFunc(carried, func(t why.Taint) bool { return t.Name == c.taint })
		if i < 0 {
			t.Fatalf("%s has no %s: %+v", c.operation, c.taint, carried)
		}
		got, sources, removals, back := carried[i], []why.Ref{}, []why.Ref{}, ""
		for _, s := range got.Sources {
			sources = append(sources, s.Ref)
		}
		for _, r := range got.Removals {
			removals, back = append(removals, r.Ref), r.Back
		}
		if operations(sources) != c.sources || operations(got.Sources[0].Path) != c.path || operations(removals) != c.removals || back != c.back {
			t.Errorf("%s: %+v", c.operation, got)
		}
	}

	carried, removed := l.of("raise").Taints()
	if len(carried) != 0 || len(removed) != 2 || removed[0].Name != "virus" || operations([]why.Ref{removed[1].Removals[0].Ref}) != "raise" ||
		*removed[1].Removals[0].Override != 50 || removed[1].Removals[0].Back != "" { // nobody carried "never"
		t.Errorf("%+v, %+v", carried, removed)
	}
	if _, removed := l.of("plain").Taints(); len(removed) != 1 || removed[0].Removals[0].Sanitizer != "scrub" {
		t.Errorf("%+v", removed)
	}
}

// TestTaintsProperty: every taint that an entry has was added by a source, and every step of a path carries it.
func TestTaintsProperty(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(6, 11))
	for range 30 {
		l := randomLab(t, random, 14)
		for name, r := range l.entries {
			carried, removed := l.of(name).Taints()
			names := make([]string, 0, len(carried))
			for _, taint := range carried {
				names = append(names, taint.Name)
				if len(taint.Sources) == 0 {
					t.Fatalf("%s: nobody added %s", name, taint.Name)
				}
				for _, s := range taint.Sources {
					checkPath(t, l, taint.Name, name, s)
				}
			}
			if !slices.Equal(names, r.Entry.Taints) {
				t.Fatalf("%s: explained %q of %q", name, names, r.Entry.Taints)
			}
			for _, taint := range removed {
				if slices.Contains(r.Entry.Taints, taint.Name) || len(taint.Removals) == 0 {
					t.Fatalf("%s: %s is said to be gone", name, taint.Name)
				}
			}
		}
	}
}

func checkPath(t *testing.T, l *lab, taint, target string, s why.Source) {
	t.Helper()
	if !slices.Contains(l.entries[s.Operation].Entry.AddedTaints, taint) || s.Path[0] != s.Ref || s.Path[len(s.Path)-1].Operation != target {
		t.Fatalf("%s of %s: source %+v", taint, target, s)
	}
	for i, step := range s.Path {
		e := l.entries[step.Operation].Entry
		if !slices.Contains(e.Taints, taint) || i > 0 && !slices.Contains(e.Parents, s.Path[i-1].Hash) {
			t.Fatalf("%s of %s: path %q", taint, target, operations(s.Path))
		}
	}
}

// TestTaintBounds: many sources, many removals, long ways.
func TestTaintBounds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.sign("e0", call{add: []string{"a"}})
	for i := 1; i < 40; i++ {
		c := call{parents: fmt.Sprintf("e%d", i-1)}
		switch i % 3 {
		case 1:
			c.remove, c.sanitizer = []string{"a"}, "s"
		case 2:
			c.add = []string{"a"}
		}
		l.sign(fmt.Sprintf("e%d", i), c)
	}
	carried, _ := l.of("e39").Taints()
	if len(carried[0].Removals) != 8 || carried[0].Removals[0].Operation != "e37" || carried[0].Removals[7].By == nil {
		t.Errorf("%+v", carried)
	}
	l = newLab(t)
	l.sign("s0", call{add: []string{"a"}})
	for i := 1; i < 30; i++ {
		l.sign(fmt.Sprintf("s%d", i), call{add: []string{"a"}, parents: fmt.Sprintf("s%d", i-1)})
	}
	carried, _ = l.of("s29").Taints()
	if got := carried[0]; len(got.Sources) != 8 || got.Omitted != 22 || got.Sources[0].Operation != "s29" {
		t.Errorf("%d sources, %d omitted", len(got.Sources), got.Omitted)
	}
	l = newLab(t)
	l.sign("p0", call{add: []string{"a"}})
	for i := 1; i < 40; i++ {
		l.sign(fmt.Sprintf("p%d", i), call{parents: fmt.Sprintf("p%d", i-1)})
	}
	carried, _ = l.of("p39").Taints()
	if got := carried[0].Sources[0]; got.Between != 24 || operations(got.Path) != "p0 p1 p2 p3 p4 p5 p6 p7 p32 p33 p34 p35 p36 p37 p38 p39" {
		t.Errorf("%d between, %s", got.Between, operations(got.Path))
	}
}

// TestTrials lists refusals of policies under trial and deviations, of the entry and its ancestors.
func TestTrials(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.sign("first", call{
		labels:     map[string]string{lineage.LabelObserved: "platform:risk=deny,platform:fine=allow"},
		deviations: []lineage.Deviation{{Policy: "base", Tier: "enterprise", Reason: "INC-7", Approver: "alice", ApproverKey: "k1"}},
	})
	l.sign("second", call{labels: map[string]string{lineage.LabelObserved: "function:new=error"}, parents: "first"})
	c := l.of("second")
	observed, _ := c.Observed()
	if len(observed) != 2 || observed[0].Policy != "new" || observed[0].Verdict != "error" || observed[1].Operation != "first" || observed[1].Verdict != "deny" {
		t.Errorf("%+v", observed)
	}
	deviations, _ := c.Deviations()
	if len(deviations) != 1 || deviations[0].Approver != "alice" || deviations[0].ApproverKey != "k1" || deviations[0].Operation != "first" {
		t.Errorf("%+v", deviations)
	}
	for i := range 70 {
		l.sign(fmt.Sprintf("n%d", i), call{parents: "second", labels: map[string]string{lineage.LabelObserved: "platform:p=deny"}})
	}
	all := ""
	for i := range 70 {
		all += fmt.Sprintf(" n%d", i)
	}
	l.sign("many", call{parents: all})
	if observed, omitted := l.of("many").Observed(); len(observed) != 64 || omitted != 8 {
		t.Errorf("%d, and %d omitted", len(observed), omitted)
	}
}
