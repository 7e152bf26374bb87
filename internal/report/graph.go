package report

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kest-go/kest/lineage"
)

// GraphFormats lists the formats that [Env.Graph] writes.
func GraphFormats() []string { return []string{"tree"} }

// CheckGraphFormat refuses a format that [Env.Graph] does not write.
func CheckGraphFormat(format string) error {
	if slices.Contains(GraphFormats(), format) {
		return nil
	}
	return Hint("use --format "+strings.Join(GraphFormats(), " or "),
		"unknown graph format %q; there is: %s", format, strings.Join(GraphFormats(), ", "))
}

// Graph draws the lineage of a passport. Without keys it draws what the passport claims and says so; with keys it
// verifies first, and returns [ErrBad] when that fails.
func (e *Env) Graph(ctx context.Context, o VerifyOptions) error {
	var v *verifier
	var err error
	if o.Keys != "" {
		if v, err = e.verifier(ctx, o); err != nil {
			return err
		}
	}
	u, err := e.Passport(ctx, o.File)
	if err != nil {
		return err
	}
	all, err := claims(o.File, u)
	if err != nil {
		return err
	}
	g := newGraph(all)
	var report *lineage.Report
	if v != nil {
		if report, err = v.check(ctx, u); err != nil {
			return err
		}
		g.judge(report)
	}
	if e.JSON {
		err = e.WriteJSON(g)
	} else {
		p := e.Page()
		p.graph(Shown(o.File), g)
		err = e.Write(p.Bytes())
	}
	if err == nil && report != nil && !report.Valid() {
		err = ErrBad
	}
	return err
}

// graph is a lineage as it is drawn.
type graph struct {
	Verified bool     `json:"verified"`
	Failure  string   `json:"failure,omitempty"` // why not, when that was asked
	Notes    []string `json:"notes"`
	Nodes    []node   `json:"nodes"`
}

// node is an entry and its place in the graph.
type node struct {
	Index     int            `json:"index"`
	Status    lineage.Status `json:"status"`
	Hash      lineage.Hash   `json:"hash"`
	Operation string         `json:"operation,omitempty"`
	Principal string         `json:"principal,omitempty"`
	Trust     int            `json:"trust_score"`
	Taints    []string       `json:"taints"`
	Parents   []int          `json:"parents"` // indices of earlier entries, ascending
	Missing   []lineage.Hash `json:"missing_parents,omitempty"`
	Error     string         `json:"error,omitempty"` // why the entry could not be read

	remarks []string
}

// newGraph links claims by their hashes. A parent that is not an earlier entry is missing: nothing here can be
// cyclic, whatever a passport says.
func newGraph(all []claim) *graph {
	g := &graph{Notes: []string{notVerified}, Nodes: make([]node, len(all))}
	earlier := make(map[lineage.Hash]int, len(all))
	for i, c := range all {
		n := node{Index: i, Status: lineage.Unchecked, Hash: c.Hash, Error: c.Error, Parents: []int{}, Taints: []string{}}
		n.Operation, n.Principal, n.Trust = c.entry.Operation, c.entry.Principal(), c.entry.TrustScore
		n.Taints = append(n.Taints, c.entry.Taints...)
		n.remarks = remarks(&c.entry)
		for _, hash := range c.entry.Parents {
			if at, ok := earlier[hash]; ok {
				n.Parents = append(n.Parents, at)
			} else {
				n.Missing = append(n.Missing, hash)
			}
		}
		slices.Sort(n.Parents)
		n.Parents = slices.Compact(n.Parents)
		g.Nodes[i] = n
		if _, ok := earlier[c.Hash]; !ok {
			earlier[c.Hash] = i
		}
	}
	return g
}

// judge adds what a verification found.
func (g *graph) judge(r *lineage.Report) {
	g.Verified, g.Notes = r.Valid(), r.Notes()
	if r.Failure != nil {
		g.Failure = r.Failure.Error()
	}
	for _, e := range r.Entries() {
		g.Nodes[e.Index].Status = e.Status
	}
}

func (p *Page) graph(name string, g *graph) {
	title := fmt.Sprintf("%s: %s", Fit(name, 40), Count(len(g.Nodes), "entry", "entries"))
	switch {
	case g.Verified:
		p.Line("%s  %s", p.Paint(Green, "VERIFIED"), title)
	case g.Failure != "":
		p.Line("%s  %s", p.Paint(Red, "NOT VERIFIED"), title)
		p.Wrap("  ", g.Failure)
	default:
		p.Line("%s  %s", p.Paint(Yellow, "NOT VERIFIED"), title)
	}
	if g.Failure == "" { // what a failure means needs no note
		for _, note := range g.Notes {
			p.Wrap("  note: ", note)
		}
	}
	if len(g.Nodes) > 0 {
		p.Line("")
	}
	for _, row := range g.draw() {
		p.node(row)
	}
}

// row is a node with its part of the drawing: the connector above it, the line of its dot, and the line that goes
// on beside the text below.
type row struct {
	*node
	connector, dot, below string
	width                 int // of the widest drawing
}

func (g *graph) draw() []row {
	parents := make([][]int, len(g.Nodes))
	for i, n := range g.Nodes {
		parents[i] = n.Parents
	}
	l, rows, width := newLanes(parents), make([]row, len(g.Nodes)), 0
	for i := range g.Nodes {
		lane, connector := l.place(i, parents[i])
		rows[i] = row{node: &g.Nodes[i], connector: connector, dot: l.row(lane), below: l.row(free)}
		width = max(width, Width(rows[i].dot), Width(connector)+1)
	}
	for i := range rows {
		rows[i].width = width
	}
	return rows
}

func (p *Page) node(r row) {
	pad := func(drawing string) string { return drawing + strings.Repeat(" ", max(0, r.width-Width(drawing))+1) }
	if r.connector != "" {
		p.Line("%s", r.connector)
	}
	if r.Error != "" {
		p.Wrap(pad(r.dot), fmt.Sprintf("#%d cannot be decoded: %s", r.Index, r.Error))
		return
	}
	tail := fmt.Sprintf("  trust %d", r.Trust)
	failed := ""
	if r.Status == lineage.Failed {
		failed = "  FAILED"
	}
	head := fmt.Sprintf("#%d ", r.Index)
	room := Columns - r.width - 1 - len(head) - len(tail) - len(failed)
	p.Line("%s%s%s%s%s", pad(r.dot), head, p.Paint(Bold, Name(r.Operation, room)), tail, p.Paint(Red, failed))
	lead := pad(r.below) + strings.Repeat(" ", len(head))
	for _, detail := range r.details() {
		for _, line := range wrap(Clean(detail), Columns-Width(lead)) {
			p.Line("%s%s", lead, line)
		}
	}
}

// details are the lines below a node: where it comes from, unless that is the node above it, by whom it is, its
// taints, and what else must not be missed.
func (r row) details() []string {
	by := "by " + Name(r.Principal, nameColumns)
	if above := []int{r.Index - 1}; len(r.Parents) > 1 {
		by = "joins " + references(r.Parents) + ", " + by
	} else if len(r.Parents) == 1 && !slices.Equal(r.Parents, above) {
		by = "after " + references(r.Parents) + ", " + by
	}
	out := []string{by}
	for _, hash := range r.Missing {
		out = append(out, "after "+short(hash)+", which is not an earlier entry")
	}
	if len(r.Taints) > 0 {
		out = append(out, "taints: "+list(r.Taints))
	}
	return append(out, r.remarks...)
}

// references names nodes, bounded: a join may have hundreds of parents.
func references(nodes []int) string {
	const most = 16
	parts := make([]string, 0, most)
	for _, n := range nodes[:min(len(nodes), most)] {
		parts = append(parts, fmt.Sprintf("#%d", n))
	}
	text := strings.Join(parts, ", ")
	if more := len(nodes) - len(parts); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
