package why_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/why"
	"github.com/kest-go/kest/lineage"
)

// TestTrust: the path, its arithmetic and its causes (SPEC §6, TC-04, TC-05).
func TestTrust(t *testing.T) {
	t.Parallel()
	seven := 7
	l := newLab(t)
	l.sign("web", call{from: "internet"})
	l.sign("clean", call{})
	l.sign("takes", call{parents: "web"})
	l.sign("asks", call{from: "third_party_api", parents: "clean"})
	l.sign("joins", call{parents: "takes asks"})
	l.sign("model", call{from: "llm", parents: "takes"})
	l.sign("twice", call{from: "user_input", parents: "asks"})
	l.sign("raised", call{override: "80", parents: "model"})
	l.sign("after", call{from: "verified_rag", parents: "raised"})
	l.sign("pair", call{parents: "asks"})
	l.sign("tie", call{parents: "asks pair"})
	l.sign("fine", call{parents: "clean"})
	l.sign("odd", call{from: "martian", score: &seven, parents: "clean"})
	l.sign("liar", call{score: &seven, parents: "clean"})
	l.sign("orphan", call{score: &seven, parents: "clean", unknownParents: 1})
	l.sign("zero", call{from: "user_input", parents: "model"})
	for _, c := range []struct{ operation, causes, path, formula string }{
		{"web", "web", "web", "origin internet = 10"},
		{"clean", "", "clean", "origin internal = 100"},
		{"takes", "web", "takes web", "floor(10 × 100 / 100) = 10"},
		{"joins", "web", "joins takes web", "floor(min(10, 60) × 100 / 100) = 10"},
		{"asks", "asks", "asks", "floor(100 × 60 / 100) = 60"},     // nothing before it lowered anything
		{"model", "model", "model", "floor(10 × 0 / 100) = 0"},     // 0 whatever came before
		{"zero", "model", "zero model", "floor(0 × 40 / 100) = 0"}, // 40 lowered nothing
		{"twice", "twice asks", "twice asks", "floor(60 × 40 / 100) = 24"},
		{"raised", "raised", "raised", "override = 80"}, // and what it raised does not count
		{"after", "after raised", "after raised", "floor(80 × 90 / 100) = 72"},
		{"tie", "asks", "tie asks", "floor(min(60, 60) × 100 / 100) = 60"},
		{"fine", "", "fine", "floor(100 × 100 / 100) = 100"},
		{"odd", "", "odd", "the score of source type martian is not known here"},
		{"liar", "", "liar", "floor(100 × 100 / 100) = 100"},
		{"orphan", "", "orphan", "not all of its parents were found"},
	} {
		got := l.of(c.operation).Trust()
		path := make([]why.Ref, len(got.Steps))
		for i, s := range got.Steps {
			path[i] = s.Ref
		}
		// Of two parents with the same score the first one in the order of hashes is followed.
		tied := c.operation == "tie" && operations(path) == "tie pair asks"
		if operations(got.Causes) != c.causes || operations(path) != c.path && !tied || got.Steps[0].Formula != c.formula {
			t.Errorf("%s: causes %q, path %q, %q; want %q, %q, %q", c.operation,
				operations(got.Causes), operations(path), got.Steps[0].Formula, c.causes, c.path, c.formula)
		}
		if unknown := c.operation == "odd" || c.operation == "orphan"; got.Complete == unknown {
			t.Errorf("%s: complete %v", c.operation, got.Complete)
		}
		if got.Steps[0].Differs != (c.operation == "liar") || (got.Steps[0].Ties == 1) != (c.operation == "tie") {
			t.Errorf("%s: differs %v, %d ties", c.operation, got.Steps[0].Differs, got.Steps[0].Ties)
		}
	}
}

// TestTrustManyParents: the formula stays short.
func TestTrustManyParents(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var parents []string
	for i := range 200 {
		parents = append(parents, fmt.Sprintf("p%d", i))
		l.sign(parents[i], call{from: "user_input"})
	}
	l.sign("last", call{parents: strings.Join(parents, " ")})
	step := l.of("last").Trust().Steps[0]
	if step.Formula != "floor(min(40, 40, 40, 40, 196 more) × 100 / 100) = 40" || step.Ties != 199 {
		t.Errorf("%q, %d ties", step.Formula, step.Ties)
	}
}

// TestTrustRules: other origins and another evaluator, as a deployment has them.
func TestTrustRules(t *testing.T) {
	t.Parallel()
	origins, err := lineage.NewOrigins(map[string]int{"partner": 70})
	if err != nil {
		t.Fatal(err)
	}
	seventy, forty := 70, 55
	l := newLab(t)
	l.sign("root", call{from: "partner", score: &seventy})
	l.sign("next", call{from: "user_input", parents: "root", score: &forty})
	rules := why.Rules{Origins: origins, Trust: lineage.Weighted{History: 50}}
	got := why.Of(l.entries["next"], l.records, rules).Trust()
	if got.Steps[0].Formula != "at most 70: floor((50 × 70 + 50 × 40) / 100) = 55" || operations(got.Causes) != "next root" || got.Steps[0].Differs {
		t.Errorf("%+v", got)
	}
}

// TestTrustProperty: on lineages of any shape the causes account for the score. Without any it is 100; each of them
// lowers or sets it; and an entry whose causes are all it has left has the same score.
func TestTrustProperty(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 10))
	for range 30 {
		l := randomLab(t, random, 14)
		for name := range l.entries {
			trust := l.of(name).Trust()
			if !trust.Complete || (trust.Score == 100) != (len(trust.Causes) == 0) && !overridden(l, trust.Causes) {
				t.Fatalf("%s: %+v", name, trust)
			}
			if got := replay(l, trust.Causes); got != trust.Score {
				t.Fatalf("%s: the causes %q give %d, not %d", name, operations(trust.Causes), got, trust.Score)
			}
		}
	}
}

func overridden(l *lab, causes []why.Ref) bool {
	if len(causes) == 0 {
		return false
	}
	_, set, _ := l.entries[causes[len(causes)-1].Operation].Entry.TrustOverride()
	return set
}

// replay applies the causes, the oldest first, to a score of 100.
func replay(l *lab, causes []why.Ref) int {
	score := 100
	for i := len(causes) - 1; i >= 0; i-- {
		e := l.entries[causes[i].Operation].Entry
		self, _ := lineage.Origins{}.Score(e.SourceType())
		if n, set, _ := e.TrustOverride(); set {
			score = n
		} else {
			score = score * self / 100
		}
	}
	return score
}

func randomLab(t *testing.T, random *rand.Rand, size int) *lab {
	t.Helper()
	l := newLab(t)
	sources := []string{"", "", "", "internet", "llm", "user_input", "third_party_api", "verified_rag"}
	taints := []string{"a", "b", "c"}
	for i := range size {
		c := call{from: sources[random.IntN(len(sources))], principal: fmt.Sprintf("spiffe://td/w%d", random.IntN(3))}
		for j := range i {
			if j == i-1 || random.IntN(3) == 0 {
				c.parents += fmt.Sprintf(" e%d", j)
			}
		}
		if random.IntN(3) == 0 {
			c.add = []string{taints[random.IntN(3)]}
		}
		if random.IntN(4) == 0 && i > 0 {
			c.remove, c.sanitizer = []string{taints[random.IntN(3)]}, "scrub"
		}
		if random.IntN(8) == 0 {
			c.override = fmt.Sprint(random.IntN(101))
		}
		l.sign(fmt.Sprintf("e%d", i), c)
	}
	return l
}
