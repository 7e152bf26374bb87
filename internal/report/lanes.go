package report

import (
	"slices"
	"strings"
)

// lanes draws a directed acyclic graph downwards, one row for each node, as version control systems draw history.
// A lane is a column that carries a node until all its children are drawn; a fork opens lanes, a join closes
// them. A lineage of any length is therefore no wider than its calls were parallel.
type lanes struct {
	open []int // node in each lane; free when -1
	left []int // children of each node that are still to come
}

const (
	free     = -1
	maxLanes = 12 // drawn; further ones are hinted at by "…", and the text names the parents
)

func newLanes(parents [][]int) *lanes {
	l := &lanes{left: make([]int, len(parents))}
	for _, ps := range parents {
		for _, p := range ps {
			l.left[p]++
		}
	}
	return l
}

// place gives a node its lane. connector is the row above it that draws the fork or the join, "" when the node
// stands straight below its parent.
func (l *lanes) place(node int, parents []int) (lane int, connector string) {
	before := slices.Clone(l.open)
	touched := make([]bool, len(l.open), len(l.open)+1) // lanes of the parents
	lane = free
	for _, p := range parents {
		i := slices.Index(l.open, p)
		touched[i] = true
		if l.left[p]--; l.left[p] == 0 {
			l.open[i] = free
			if lane == free || i < lane {
				lane = i // the node goes on in the leftmost lane that ends
			}
		}
	}
	if lane == free {
		lane = l.vacant(slices.Index(touched, true) + 1)
	}
	if len(before) < len(l.open) { // a lane was added
		before, touched = append(before, free), touched[:len(l.open)]
	}
	straight := count1(touched) == 0 || count1(touched) == 1 && touched[lane]
	touched[lane] = true
	l.open[lane] = node
	if !straight {
		connector = l.connector(before, touched)
	}
	if l.left[node] == 0 {
		l.open[lane] = free
	}
	return lane, connector
}

// vacant returns a free lane at or right of from.
func (l *lanes) vacant(from int) int {
	for i := from; i < len(l.open); i++ {
		if l.open[i] == free {
			return i
		}
	}
	l.open = append(l.open, free)
	return len(l.open) - 1
}

func count1(flags []bool) int {
	n := 0
	for _, f := range flags {
		if f {
			n++
		}
	}
	return n
}

// connector draws the row between the lanes as they were and as they are now.
func (l *lanes) connector(before []int, touched []bool) string {
	first, last := slices.Index(touched, true), len(touched)-1
	for !touched[last] {
		last--
	}
	var b strings.Builder
	for i := range min(len(l.open), maxLanes) {
		up, down := before[i] != free, l.open[i] != free
		left, right := first < i && i <= last, first <= i && i < last
		switch {
		case touched[i]:
			b.WriteString(corner(up, down, left, right))
		case up:
			b.WriteString("│") // a line that only crosses
		case left && right:
			b.WriteString("─")
		default:
			b.WriteString(" ")
		}
		if right {
			b.WriteString("─")
		} else {
			b.WriteString(" ")
		}
	}
	if last >= maxLanes {
		b.WriteString("…")
	}
	return strings.TrimRight(b.String(), " ")
}

func corner(up, down, left, right bool) string {
	n := 0
	for i, side := range []bool{up, down, left, right} {
		if side {
			n |= 1 << i
		}
	}
	return [...]string{" ", "│", "│", "│", "─", "╯", "╮", "┤", "─", "╰", "╭", "├", "─", "┴", "┬", "┼"}[n]
}

// row draws the lanes beside a node; lane is free for a row of text below it.
func (l *lanes) row(lane int) string {
	var b strings.Builder
	for i := range min(max(len(l.open), lane+1), maxLanes) {
		switch {
		case i == lane:
			b.WriteString("●")
		case i < len(l.open) && l.open[i] != free:
			b.WriteString("│")
		default:
			b.WriteString(" ")
		}
		b.WriteString(" ")
	}
	if lane >= maxLanes {
		b.WriteString("… ")
	}
	return b.String()
}
