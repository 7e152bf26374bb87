package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/internal/report"
)

func (c *cli) policyDiff() *cobra.Command {
	var f folder
	var records string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW --records FILE",
		Short: "Show which recorded decisions a change of policies would change",
		Long: `Evaluate recorded decisions under two folders of policies, and show which would
change, by policy and operation, with the rule that decides. The folders may be
in different languages.

Records are the lines of JSON that policy/decisionlog writes with its inputs.
Other lines of JSON are skipped. What was masked or dropped is not known, so
such a record is counted as one of which nothing can be told; it is never
guessed. A record that the old policies of the same revision answer otherwise
(because they look at the clock, for example) is another.

Exit codes: 0 nothing changes; 1 something changes; 2 wrong usage, policies that
do not compile, or records that cannot be read or compared.`,
		Args: exactly("OLD", "NEW"),
		RunE: c.run(func(ctx context.Context, args []string) error { return c.diff(ctx, f, args[0], args[1], records) }),
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&records, "records", "", "decisions, a line of JSON each; - is standard input")
	c.json(cmd)
	return cmd
}

// Bounds of diff.
const (
	recordBytes = 1 << 20 // of one line
	maxChanges  = 1_000   // different ones; more are only counted
)

// compared is the result of policy diff.
type compared struct {
	Same    int            `json:"same"`
	Changed int            `json:"changed"`
	Unknown int            `json:"cannot_tell"`
	Why     map[string]int `json:"cannot_tell_why"`
	Skipped int            `json:"skipped"` // lines that are no decisions
	Changes []*change      `json:"changes"`
	More    int            `json:"more,omitempty"` // changed decisions that Changes leaves out
}

// A change is the same change of some decisions.
type change struct {
	Policy    string `json:"policy"`
	Operation string `json:"operation"`
	Old       string `json:"old"` // allow, deny or error
	New       string `json:"new"`
	Reason    string `json:"reason"` // rule and place, or the error
	Count     int    `json:"count"`
	Line      int    `json:"line"` // of the first record
}

func (c *cli) diff(ctx context.Context, f folder, before, after, file string) error {
	if file == "" {
		return report.Hint("add --records FILE, or --records - for standard input", "no records given")
	}
	other := f // each folder chooses its engine
	old, warnings, err := f.compiled(before)
	if err != nil {
		return err
	}
	changed, more, err := other.compiled(after)
	if err != nil {
		return err
	}
	c.warn(append(warnings, more...))
	d := differ{old: old, new: changed, byKind: map[change]*change{}, result: compared{Why: map[string]int{}, Changes: []*change{}}}
	if err := c.eachLine(ctx, file, d.line); err != nil {
		return fmt.Errorf("records %s: %w", report.Shown(file), err)
	}
	r := &d.result
	switch {
	case r.Same+r.Changed+r.Unknown == 0:
		return report.Hint("they are the lines of JSON that policy/decisionlog writes", "records %s: holds no decisions", report.Shown(file))
	case r.Same+r.Changed == 0:
		return report.Hint("log with Config.Input and without masks, where that may be done",
			"records %s: nothing can be told of any of %s: %s", report.Shown(file), report.Count(r.Unknown, "decision", "decisions"), d.why())
	}
	slices.SortStableFunc(r.Changes, func(a, b *change) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Operation, b.Operation), a.Line-b.Line)
	})
	if c.JSON {
		err = c.WriteJSON(r)
	} else {
		err = c.Write(c.diffPage(&d))
	}
	if err == nil && r.Changed > 0 {
		err = report.ErrBad
	}
	return err
}

func (c *cli) diffPage(d *differ) []byte {
	p, r := c.Page(), &d.result
	for _, one := range r.Changes {
		p.Wrap("", fmt.Sprintf("%s (%s): %s -> %s, %s", one.Policy, cmp.Or(one.Operation, "no operation"), one.Old, one.New,
			report.Count(one.Count, "decision", "decisions")))
		p.Wrap("  ", one.Reason)
	}
	if r.More > 0 {
		p.Line("and %s in other ways", report.Count(r.More, "decision", "decisions"))
	}
	if r.Unknown > 0 {
		p.Wrap("note: ", fmt.Sprintf("nothing can be told of %s: %s", report.Count(r.Unknown, "decision", "decisions"), d.why()))
	}
	if r.Skipped > 0 {
		p.Line("note: %s no decision", report.Count(r.Skipped, "line is", "lines are"))
	}
	verdict := p.Paint(report.Green, "SAME")
	if r.Changed > 0 {
		verdict = p.Paint(report.Red, "CHANGED")
	}
	p.Line("%s  %d of %s", verdict, r.Changed, report.Count(r.Same+r.Changed, "decision", "decisions"))
	return p.Bytes()
}

// eachLine hands the lines of a file to do, without their ends, and stops at the first error, which gets the number of
// the line. It holds one line at a time.
func (c *cli) eachLine(ctx context.Context, name string, do func(ctx context.Context, number int, line []byte) error) error {
	in := c.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return report.Hint("check the path and its permissions", "cannot be read")
		}
		defer f.Close()
		in = f
	}
	r := bufio.NewReaderSize(in, recordBytes)
	for number := 1; ; number++ {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("line %d: more than %d bytes", number, recordBytes)
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("line %d: %w", number, err)
		}
		if len(line) > 0 {
			if err := do(ctx, number, line); err != nil {
				return fmt.Errorf("line %d: %w", number, err)
			}
		}
		if err != nil {
			return nil
		}
	}
}
