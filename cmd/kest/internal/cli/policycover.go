package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/rego"
)

// testTime bounds one Rego test, and testOutput is what is shown of what it printed, in bytes.
const (
	testTime   = 5 * time.Second
	testOutput = 1 << 10
)

// A meter runs the tests of the engine itself, and knows what all tests together covered.
type meter struct {
	rego    *rego.Engine
	suite   *rego.Suite
	lines   *cover.Cover
	cedar   *cedar.Engine
	applied map[string]bool // statements of Cedar, by place
}

func newMeter(ctx context.Context, f *folder, dir string, engine rules) (*meter, error) {
	m := &meter{lines: cover.New(), applied: map[string]bool{}}
	m.rego, _ = engine.(*rego.Engine)
	m.cedar, _ = engine.(*cedar.Engine)
	if f.engine != engineRego {
		return m, nil
	}
	quiet := slog.New(slog.DiscardHandler) // the same warnings were collected before
	suite, err := rego.Config{Logger: quiet, Prefix: f.prefix}.Suite(ctx, dir)
	if faults := sourceErrors(err); len(faults) > 0 {
		sortFaults(faults)
		var errs []error
		for _, f := range faults {
			errs = append(errs, errors.New(f.String()))
		}
		return nil, fmt.Errorf("tests do not compile: %w", errors.Join(errs...))
	}
	m.suite = suite
	return m, err
}

// native runs *_test.rego.
func (m *meter) native(ctx context.Context) (cases []testCase, err error) {
	if m.suite == nil {
		return nil, nil
	}
	err = storage.Txn(ctx, m.suite.Store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		results, err := tester.NewRunner().SetCompiler(m.suite.Compiler).SetStore(m.suite.Store).SetModules(m.suite.Modules).
			RaiseBuiltinErrors(true). // as the engine does
			SetTimeout(testTime).SetCoverageQueryTracer(m.lines).SetCoverageRuns(nil).RunTests(ctx, txn)
		if err != nil {
			return fmt.Errorf("tests cannot be run: %w", err)
		}
		for r := range results {
			cases = append(cases, nativeCase(r))
		}
		return nil
	})
	return cases, err
}

func nativeCase(r *tester.Result) testCase {
	one := testCase{Name: r.Package + "." + r.Name, Outcome: passed, File: r.Location.File, Line: r.Location.Row}
	switch {
	case r.Skip:
		one.Outcome = skipped
	case topdown.IsCancel(r.Error):
		one.Outcome, one.Message = broken, fmt.Sprintf("took more than %v", testTime)
	case r.Error != nil:
		one.Outcome, one.Message = broken, clipText(r.Error.Error())
	case r.Fail:
		one.Outcome = failed
	}
	if one.Outcome != passed {
		one.Output = clipText(string(r.Output))
	}
	return one
}

func clipText(s string) string {
	if len(s) > testOutput {
		s = s[:testOutput] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// measure notes what one case of a table covers.
func (m *meter) measure(ctx context.Context, t *tableCase) {
	if m.rego != nil {
		_ = m.rego.Trace(ctx, t.policy, t.in, m.lines) // its error is the outcome of the case
		return
	}
	for _, r := range m.cedar.Statements(ctx, t.policy, t.in) {
		if r.Matched {
			m.applied[place(r.File, r.Line)+r.ID] = true
		}
	}
}

// coverage is what the tests covered of the policies.
type coverage struct {
	Percent float64 `json:"percent"`
	Unit    string  `json:"unit"` // lines or statements
	Covered int     `json:"covered"`
	Total   int     `json:"total"`
	Missing []gap   `json:"missing"`
}

// A gap is something that no test covered.
type gap struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Last int    `json:"last_line,omitempty"` // Rego, if it is more than one line
	ID   string `json:"id,omitempty"`        // Cedar
}

func (m *meter) report() *coverage {
	c := &coverage{Missing: []gap{}, Percent: 100}
	if m.rego != nil {
		m.countLines(c)
	} else {
		m.countStatements(c)
	}
	if c.Total > 0 {
		c.Percent = 100 * float64(c.Covered) / float64(c.Total)
	}
	return c
}

func (m *meter) countLines(c *coverage) {
	c.Unit = "lines"
	policies := map[string]*ast.Module{}
	for file, module := range m.suite.Modules {
		if !m.suite.Tests[file] {
			policies[file] = module
		}
	}
	for file, r := range m.lines.Report(policies).Files {
		if policies[file] == nil {
			continue // a test that ran
		}
		c.Covered += r.CoveredLines
		c.Total += r.CoveredLines + r.NotCoveredLines
		for _, lines := range r.NotCovered {
			g := gap{File: file, Line: lines.Start.Row}
			if lines.End.Row > g.Line {
				g.Last = lines.End.Row
			}
			if !slices.Contains(c.Missing, g) { // two parts of one line
				c.Missing = append(c.Missing, g)
			}
		}
	}
	c.sort()
}

func (m *meter) countStatements(c *coverage) {
	c.Unit = "statements"
	for _, name := range m.cedar.Policies() {
		for _, r := range m.cedar.Statements(context.Background(), name, nil) { // nothing is evaluated
			c.Total++
			if m.applied[place(r.File, r.Line)+r.ID] {
				c.Covered++
				continue
			}
			c.Missing = append(c.Missing, gap{File: r.File, Line: r.Line, ID: r.ID})
		}
	}
	c.sort()
}

func (c *coverage) sort() {
	slices.SortStableFunc(c.Missing, func(a, b gap) int {
		if order := strings.Compare(a.File, b.File); order != 0 {
			return order
		}
		return a.Line - b.Line
	})
}

func (c *coverage) below(least float64) bool { return c != nil && c.Percent < least }

func (c *coverage) page(p *report.Page) {
	if c == nil {
		return
	}
	for _, g := range c.Missing {
		var b bytes.Buffer
		b.WriteString(place(g.File, g.Line))
		if g.Last > 0 {
			fmt.Fprintf(&b, "-%d", g.Last)
		}
		b.WriteString(": no test covers it")
		if g.ID != "" {
			fmt.Fprintf(&b, ": %s", g.ID)
		}
		p.Line("%s", report.Clean(b.String()))
	}
	p.Line("coverage %.1f%%: %d of %d %s", c.Percent, c.Covered, c.Total, c.Unit)
}
