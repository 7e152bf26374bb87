package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/internal/report"
)

func (c *cli) policyTest() *cobra.Command {
	var t testPlan
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Run the tests of the policies of a folder",
		Long: `Run the tests that lie in a folder of policies:

  *_test.rego                   rules test_..., by OPA's own test runner
  *_test.yaml, .yml, .json      a table of cases, for Rego and Cedar

A table is a list of cases. Each has a name, a policy, an input as policy eval
takes it (members that are left out have the values of a first call by nobody,
and lists of lineage those that follow from its ancestors), and either allow:
true or false, or error: unknown, indefinite or unavailable; reason, if it is
there, is a part of the reason that the decision must have.

  - name: a trusted call
    policy: kest/allow_trusted
    input: {trust_score: 40}
    allow: true

Coverage counts the lines of Rego that were evaluated, or the statements of
Cedar that applied in some case.

Exit codes: 0 all pass; 1 a test fails, nothing was tested, or too little is
covered; 2 wrong usage, or policies or tests that cannot be read.`,
		Args: exactly("DIR"),
		RunE: c.run(func(ctx context.Context, args []string) error { return c.test(ctx, &t, args[0]) }),
	}
	t.folder.flags(cmd)
	cmd.Flags().BoolVar(&t.coverage, "coverage", false, "show what no test covers")
	cmd.Flags().Float64Var(&t.least, "min-coverage", 0, "fail below this coverage in percent")
	c.json(cmd)
	return cmd
}

// testPlan is what policy test is asked.
type testPlan struct {
	folder   folder
	coverage bool
	least    float64
}

// Outcomes of test cases.
const (
	passed  = "pass"
	failed  = "fail"
	broken  = "error" // it could not be run
	skipped = "skip"
)

// testCase is the result of one case.
type testCase struct {
	Name    string `json:"name"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Outcome string `json:"outcome"`
	Message string `json:"message,omitempty"`
	Output  string `json:"output,omitempty"` // what a Rego test printed
}

// tested is the result of policy test.
type tested struct {
	Valid    bool       `json:"valid"`
	Engine   string     `json:"engine"`
	Passed   int        `json:"passed"`
	Failed   int        `json:"failed"` // and those that could not be run
	Skipped  int        `json:"skipped"`
	Cases    []testCase `json:"cases"`
	Coverage *coverage  `json:"coverage,omitempty"`
	Least    float64    `json:"min_coverage,omitempty"`
	Warnings []fault    `json:"warnings"`
}

func (c *cli) test(ctx context.Context, t *testPlan, dir string) error {
	if !(t.least >= 0 && t.least <= 100) { // not a number, too
		return report.Hint("give a percentage from 0 to 100", "--min-coverage is %v", t.least)
	}
	engine, warnings, err := t.folder.compiled(dir)
	if err != nil {
		return err
	}
	tables, err := readTables(ctx, dir)
	if err != nil {
		return err
	}
	result := tested{Engine: t.folder.engine, Cases: []testCase{}, Least: t.least, Warnings: warnings}
	meter, err := newMeter(ctx, &t.folder, dir, engine)
	if err != nil {
		return err
	}
	cases, err := meter.native(ctx)
	if err != nil {
		return err
	}
	for i := range tables {
		cases = append(cases, tables[i].run(ctx, engine))
		meter.measure(ctx, &tables[i])
	}
	if err := ctx.Err(); err != nil {
		return errors.New("interrupted")
	}
	slices.SortStableFunc(cases, func(a, b testCase) int { return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line) })
	result.count(cases)
	if t.coverage || t.least > 0 {
		result.Coverage = meter.report()
	}
	return c.testResult(dir, &result)
}

func (r *tested) count(cases []testCase) {
	r.Cases = append(r.Cases, cases...)
	for _, one := range cases {
		switch one.Outcome {
		case passed:
			r.Passed++
		case skipped:
			r.Skipped++
		default:
			r.Failed++
		}
	}
}

func (c *cli) testResult(dir string, r *tested) error {
	r.Valid = r.Failed == 0 && r.Passed > 0 && !r.Coverage.below(r.Least)
	var err error
	if c.JSON {
		err = c.WriteJSON(r)
	} else {
		c.warn(r.Warnings)
		err = c.Write(c.testPage(dir, r))
	}
	if err == nil && !r.Valid {
		err = report.ErrBad
	}
	return err
}

func (c *cli) testPage(dir string, r *tested) []byte {
	p := c.Page()
	for i := range r.Cases {
		one := &r.Cases[i]
		style := map[string]report.Style{passed: report.Green, skipped: report.Yellow}[one.Outcome]
		p.Wrap(p.Paint(cmp.Or(style, report.Red), fmt.Sprintf("%-5s", strings.ToUpper(one.Outcome)))+" ",
			one.Name+" ("+place(one.File, one.Line)+")")
		if one.Message != "" {
			p.Wrap("      ", one.Message)
		}
		for line := range strings.Lines(one.Output) {
			p.Wrap("      | ", strings.TrimSuffix(line, "\n"))
		}
	}
	r.Coverage.page(p)
	if r.Coverage.below(r.Least) {
		p.Line("which is below %v%%", r.Least)
	}
	verdict := p.Paint(report.Green, "GOOD")
	if !r.Valid {
		verdict = p.Paint(report.Red, "BAD")
	}
	summary := fmt.Sprintf("%d passed, %d failed, %d skipped", r.Passed, r.Failed, r.Skipped)
	if r.Passed+r.Failed == 0 {
		summary = "nothing was tested; put *_test.rego or *_test.yaml beside the policies"
	}
	p.Line("%s  %s: %s", verdict, report.Fit(dir, 30), summary)
	return p.Bytes()
}
