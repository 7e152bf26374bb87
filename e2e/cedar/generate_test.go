package cedar_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/policytest"
)

// A generator makes inputs. The same seed makes the same ones.
type generator struct {
	*rand.Rand
	sendable bool // leave out what no Cedar Agent can be sent
}

func newGenerator() generator { return generator{Rand: rand.New(rand.NewPCG(20, 26))} }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

// input is such as the conditions of the table tell apart, in most of what they ask about.
func (g generator) input() *policy.Input {
	in := policytest.Input(pick(g, 0, 39, 40, 100))
	in.Subject.User = pick(g, "", "alice", "alic\u0435", `"`)
	in.Subject.Workload = pick(g, policytest.Workload, "", `a"b`, "\n", "日本")
	in.Subject.Taints = pick(g, nil, []string{"contains_data"}, []string{"x", "contains_data"})
	in.Object.ID = pick(g, "", "order/ORD-123", "*", `\`)
	in.Object.Attributes = pick(g, nil, map[string]any{"tags": []any{"urgent", 7, nil}}, map[string]any{"tags": []any{"urgent"}})
	in.Environment.IsRoot = g.IntN(2) == 0
	in.Environment.ActiveDeviations = pick(g, nil, in.Environment.ActiveDeviations, []policy.Deviation{{Policy: "p", Tier: policy.Platform}})
	in.Lineage.MinTrust = pick(g, 0, 100)
	if g.IntN(8) > 0 {
		in.Attributes = g.record(3)
	}
	return in
}

func (g generator) record(depth int) map[string]any {
	m := map[string]any{}
	names := []string{"n", "z", "nested", "list", "http.method", `a b"c`, "", "a", "b", "日", "\x00", "has", "if", "__cedar", "type", "id", "a.b"}
	if g.sendable {
		names = names[:len(names)-1] // "a.b" beside "b" in "a"
	}
	for range g.IntN(5) {
		m[pick(g, names...)] = g.value(depth - 1)
	}
	return m
}

// value includes what cannot be sent: small fractions, and objects that Cedar would take for something else.
func (g generator) value(depth int) any {
	n := g.IntN(24)
	if g.sendable {
		n = 3 + g.IntN(21)
	}
	switch {
	case n == 0:
		return 0.00001
	case n == 1:
		return map[string]any{"__entity": map[string]any{"type": "Workload", "id": "a"}}
	case n == 2:
		return map[string]any{"__extn": map[string]any{"fn": "decimal", "arg": "1.5"}}
	case n < 6:
		return nil
	case n < 9:
		return pick(g, true, false)
	case n < 13:
		return pick[any](g, 0, 40, -1, int64(1<<53-1), 7.0, uint8(7), 1.5, -0.0001)
	case n < 17:
		return pick(g, "", "40", "high", "x\ny", "GET", `"`, "\x00", "日本")
	case n < 20 || depth <= 0:
		return pick[any](g, []any{}, []any{true}, []string{"a", "b"}, []any{nil, []any{1, "1"}, map[string]any{"a": nil}})
	}
	return g.record(depth)
}

// Whatever cedaragent sends, the real engine can read: an input is refused here, or decided there. ask reports what
// the server did not understand.
func TestGeneratedInputs(t *testing.T) {
	e := engine(t, cedaragent.Config{URL: start(t, write(t, rows())).URL})
	g, seen := newGenerator(), map[string]int{}
	for range 500 {
		i, kind := g.IntN(len(table)), pick(g, "permit", "forbid", "both")
		seen[ask(t, e, fmt.Sprintf("%s/r%d", kind, i), g.input())]++
	}
	for _, outcome := range []string{"allow", "deny", "error"} {
		if seen[outcome] < 20 {
			t.Errorf("the inputs show little: %v", seen)
		}
	}
	t.Log(seen)
}
