package report_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/report"
)

// randomGraph makes a graph in which every node has parents among the last few, so that few lanes are open.
func randomGraph(r *rand.Rand) [][]int {
	parents := make([][]int, 1+r.IntN(30))
	for i := 1; i < len(parents); i++ {
		for range r.IntN(4) {
			p := max(0, i-1-r.IntN(5))
			if !slices.Contains(parents[i], p) {
				parents[i] = append(parents[i], p)
			}
		}
		slices.Sort(parents[i])
	}
	return parents
}

// TestDrawingIsTheGraph reads random drawings back: a dot for every node, in order, and lines that lead from its
// parents to it and from nobody else.
func TestDrawingIsTheGraph(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	read := 0
	for range 5000 {
		parents := randomGraph(r)
		drawing := report.Draw(parents)
		if tooWide(drawing) {
			continue
		}
		read++
		owners := map[int]int{} // by lane: the node that the line there comes from
		below := []rune{}       // the row before
		for i, d := range drawing {
			got, lane := readNode(t, d, below, owners)
			if !slices.Equal(got, parents[i]) && len(got)+len(parents[i]) > 0 {
				t.Fatalf("graph %v: node %d is drawn below %v:\n%s", parents, i, got, show(drawing))
			}
			owners[lane] = i
			below = []rune(d.Below)
		}
		if strings.TrimSpace(string(below)) != "" {
			t.Fatalf("graph %v: lines lead on to nothing:\n%s", parents, show(drawing))
		}
	}
	if read < 1000 {
		t.Errorf("only %d drawings were read", read)
	}
}

func tooWide(drawing []report.Drawing) bool {
	return slices.ContainsFunc(drawing, func(d report.Drawing) bool {
		return strings.Contains(d.Dot+d.Connector, "…") || report.Width(d.Dot) >= 24
	})
}

// readNode returns the parents that the lines lead from, and the lane of the dot.
func readNode(t *testing.T, d report.Drawing, below []rune, owners map[int]int) (parents []int, lane int) {
	t.Helper()
	dot := []rune(d.Dot)
	lane = slices.Index(dot, '●')
	if lane < 0 || strings.Count(d.Dot, "●") != 1 {
		t.Fatalf("row %q has not one dot", d.Dot)
	}
	up := func(c rune) bool { return strings.ContainsRune("│├┤┼┴╯╰", c) }
	down := func(c rune) bool { return strings.ContainsRune("│├┤┼┬╮╭", c) }
	at := func(row []rune, i int) rune {
		if i < len(row) {
			return row[i]
		}
		return ' '
	}
	if d.Connector == "" {
		for i := range max(len(below), len(dot)) { // every line goes on, into the dot or past it
			if i != lane && (at(below, i) == '│') != (at(dot, i) == '│') {
				t.Fatalf("a line breaks between %q and %q", string(below), d.Dot)
			}
		}
		if at(below, lane) == '│' {
			parents = append(parents, owners[lane])
		}
		return parents, lane
	}
	connector := []rune(d.Connector)
	for i, c := range connector {
		if i%2 == 0 && up(c) != (at(below, i) == '│') || i%2 == 0 && down(c) != (at(dot, i) == '│' || i == lane) {
			t.Fatalf("a line breaks at %d:\n%s\n%s\n%s", i, string(below), d.Connector, d.Dot)
		}
		if up(c) && c != '│' { // a line that turns towards the dot
			parents = append(parents, owners[i])
		}
	}
	slices.Sort(parents)
	return parents, lane
}

func show(drawing []report.Drawing) string {
	var b strings.Builder
	for _, d := range drawing {
		b.WriteString(d.Connector + "\n" + d.Dot + "\n")
	}
	return b.String()
}

// TestDrawingStaysNarrow: neither length nor width of a graph makes the drawing wider than half a terminal.
func TestDrawingStaysNarrow(t *testing.T) {
	t.Parallel()
	chain, star := make([][]int, 1024), make([][]int, 1024)
	for i := 1; i < 1024; i++ {
		chain[i], star[i] = []int{i - 1}, []int{0}
	}
	all := make([]int, 1023)
	for i := range all {
		all[i] = i + 1
	}
	star = slices.Concat(star, [][]int{all})
	for name, parents := range map[string][][]int{"chain": chain, "star": star, "roots": make([][]int, 1024)} {
		for _, d := range report.Draw(parents) {
			if w := max(report.Width(d.Dot), report.Width(d.Connector), report.Width(d.Below)); w > 27 || name == "chain" && w > 2 {
				t.Fatalf("%s: %d columns: %q %q", name, w, d.Connector, d.Dot)
			}
		}
	}
}
