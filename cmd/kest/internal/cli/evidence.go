package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/internal/why"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/telemetry"
)

// Bounds of what is read to explain one entry.
const (
	auditBytes   = 256 << 20
	auditRecords = 64 << 10 // entries and denials
	auditName    = "audit.jsonl"
)

// evidence is what the files hold. Nothing in it is verified.
type evidence struct {
	limits    lineage.Limits
	records   why.Records
	denials   []item
	receipts  []string
	passports []lineage.Unverified // whole ones, which have to hold as such
	seen      map[lineage.Hash]bool
	unread    int    // what could not be read, and
	where     string // the first of it
}

// item is an entry, or a denial.
type item struct {
	record *why.Record
	denial *lineage.Denial
	jws    string // of the denial
}

func (f item) explain(records why.Records, rules why.Rules) *why.Case {
	if f.denial != nil {
		return why.OfDenial(*f.denial, records, rules)
	}
	return why.Of(f.record, records, rules)
}

func (f item) String() string {
	if f.denial != nil {
		return f.denial.Entry.ID + " (" + f.denial.Entry.Operation + ", denied)"
	}
	return f.record.Entry.ID + " (" + f.record.Entry.Operation + ")"
}

// evidence reads FILE, whatever it is, and --passport.
func (c *cli) evidence(ctx context.Context, o whyOptions) (*evidence, error) {
	e := &evidence{limits: o.Config.Limits, records: why.Records{}, seen: map[lineage.Hash]bool{}}
	name := o.File
	if info, err := os.Stat(name); name != "-" && err == nil && info.IsDir() {
		name = filepath.Join(name, auditName)
		if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
			return nil, report.Hint("name the file itself", "folder %s holds no %s", report.Shown(o.File), auditName)
		}
	}
	text, err := c.Read(ctx, "file", name, auditBytes)
	if err != nil {
		return nil, err
	}
	trimmed := bytes.TrimSpace(text)
	switch {
	case trimmed[0] == '{':
		err = e.audit(trimmed)
	case bytes.HasPrefix(trimmed, []byte("eyJ")) && bytes.Count(trimmed, []byte(".")) == 2:
		err = e.single(name, string(trimmed))
	default:
		err = e.passport(ctx, c, name, text)
	}
	if err == nil && o.passport != "" {
		if text, err = c.Read(ctx, "passport", o.passport, auditBytes); err == nil {
			err = e.passport(ctx, c, o.passport, text)
		}
	}
	return e, err
}

func (e *evidence) passport(ctx context.Context, c *cli, name string, text []byte) error {
	u, err := c.ParsePassport(ctx, name, text)
	if err != nil {
		return err
	}
	for i, jws := range u.Entries {
		if _, err := e.records.Add(jws, e.limits); err != nil {
			e.skip(fmt.Sprintf("entry %d of %s: %v", i, report.Shown(name), err))
		}
	}
	e.passports = append(e.passports, u)
	return nil
}

// single reads a file that is one record.
func (e *evidence) single(name, jws string) error {
	if err := e.denial(jws); err == nil {
		return nil
	}
	if _, err := e.records.Add(jws, e.limits); err != nil {
		return report.Hint("a denial record is a compact JWS, as the member jws of an audit line has it",
			"%s: is a JWS, but neither a denial record nor an entry", report.Shown(name))
	}
	return nil
}

func (e *evidence) denial(jws string) error {
	if hash := lineage.HashJWS(jws); !e.seen[hash] {
		d, _, err := lineage.InsecureInspectDenial(jws, e.limits)
		if err != nil {
			return err
		}
		e.seen[hash] = true
		e.denials = append(e.denials, item{denial: &d, jws: jws})
	}
	return nil
}

// audit reads one JSON object a line. A line that cannot be read, as the last one of a process that was killed, does not
// hide the others; whatever lacks then is missed when links are followed.
func (e *evidence) audit(text []byte) error {
	n, known := 0, 0
	for line := range bytes.Lines(text) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		kind, jws := auditLine(line)
		var err error
		switch kind {
		case telemetry.Entry:
			_, err = e.records.Add(jws, e.limits)
		case telemetry.Denial:
			err = e.denial(jws)
		case telemetry.Receipt:
			if len(e.receipts) < auditRecords { // the outcomes of others stay unknown
				e.receipts = append(e.receipts, jws)
			}
		default:
			e.skip(fmt.Sprintf("line %d: no record of an entry, a denial or a receipt", n))
			continue
		}
		known++
		if err != nil {
			e.skip(fmt.Sprintf("line %d: %v", n, err))
		}
		if len(e.records)+len(e.denials) > auditRecords {
			return report.Hint("give the lines of one trace", "line %d: more than %d records", n, auditRecords)
		}
	}
	if known == 0 {
		return report.Hint(`an audit file has one JSON object a line, with the members "kind" and "jws"`, "the file holds no records: %s", e.where)
	}
	return nil
}

// auditLine reads what is needed of a line: what else it has repeats what the JWS says.
func auditLine(line []byte) (kind telemetry.Kind, jws string) {
	doc, err := jcs.Parse(line, jcs.Options{MaxDepth: 16})
	if err != nil || doc.Kind != jcs.Object {
		return "", ""
	}
	k, _ := doc.Get("kind")
	j, _ := doc.Get("jws")
	if k.Kind != jcs.String || j.Kind != jcs.String {
		return "", ""
	}
	return telemetry.Kind(k.Text), j.Text
}

func (e *evidence) skip(what string) {
	if e.unread++; e.unread == 1 {
		e.where = what
	}
}

func (e *evidence) notes() []string {
	if e.unread == 0 {
		return []string{}
	}
	return []string{fmt.Sprintf("%s could not be read, first %s", report.Count(e.unread, "record", "records"), e.where)}
}

// pick finds what the user means.
func (e *evidence) pick(id string) (item, error) {
	var candidates []item
	var what string
	switch id {
	case "":
		if candidates, what = e.denials, "denial"; len(candidates) == 0 {
			candidates, what = e.ends(), "end of the lineage"
		}
	case "denied":
		candidates, what = e.denials, "denial"
	default:
		candidates, what = e.beginning(strings.ToLower(id)), fmt.Sprintf("entry that begins with %q", id)
	}
	switch len(candidates) {
	case 0:
		return item{}, report.Hint("kest graph FILE draws a passport, and kest inspect FILE shows all ids in it", "there is no %s%s", what, e.perhaps())
	case 1:
		return candidates[0], nil
	}
	shown := make([]string, 0, 5)
	for _, f := range candidates[:min(len(candidates), 5)] {
		shown = append(shown, f.String())
	}
	if len(candidates) > len(shown) {
		shown = append(shown, fmt.Sprintf("and %d more", len(candidates)-len(shown)))
	}
	return item{}, report.Hint("add --entry with one of: "+strings.Join(shown, ", "), "there is more than one %s: %d", what, len(candidates))
}

func (e *evidence) perhaps() string {
	if e.unread == 0 {
		return ""
	}
	return "; " + e.notes()[0]
}

// beginning lists what has an id or a hash that begins with prefix.
func (e *evidence) beginning(prefix string) []item {
	var out []item
	for _, d := range e.denials {
		if strings.HasPrefix(d.denial.Entry.ID, prefix) {
			out = append(out, d)
		}
	}
	for _, r := range e.ordered() {
		if strings.HasPrefix(r.Entry.ID, prefix) || strings.HasPrefix(r.Hash.String(), prefix) {
			out = append(out, item{record: r})
		}
	}
	return out
}

// ends lists the entries that nothing follows.
func (e *evidence) ends() []item {
	parents := map[lineage.Hash]bool{}
	for _, r := range e.records {
		for _, p := range r.Entry.Parents {
			parents[p] = true
		}
	}
	var out []item
	for _, r := range e.ordered() {
		if !parents[r.Hash] {
			out = append(out, item{record: r})
		}
	}
	return out
}

func (e *evidence) ordered() []*why.Record {
	return slices.SortedFunc(maps.Values(e.records), func(a, b *why.Record) int { return a.Pos - b.Pos })
}
