package report

// Drawing is the picture of one node.
type Drawing struct{ Connector, Dot, Below string }

// Draw draws a graph given by the parents of every node.
func Draw(parents [][]int) []Drawing {
	g := &graph{Nodes: make([]node, len(parents))}
	for i, ps := range parents {
		g.Nodes[i] = node{Index: i, Parents: ps}
	}
	out := make([]Drawing, len(parents))
	for i, r := range g.draw() {
		out[i] = Drawing{r.connector, r.dot, r.below}
	}
	return out
}

// Wrap breaks clean text into lines.
var Wrap = wrap
