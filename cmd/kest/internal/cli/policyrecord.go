package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/policy"
)

// Reasons why nothing can be told of a record. They are counted.
const (
	noInput    = "the input was not logged"
	maskedIn   = "the input is masked"
	otherInput = "the input is not whole, or of another version"
	otherwise  = "the old policies answer otherwise than they did"
)

// A differ compares two folders record by record.
type differ struct {
	old, new rules
	byKind   map[change]*change
	result   compared
}

func (d *differ) why() string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(d.result.Why)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", reason, d.result.Why[reason]))
	}
	return strings.Join(parts, ", ")
}

func (d *differ) cannotTell(why string) {
	d.result.Unknown++
	d.result.Why[why]++
}

// line compares one record.
func (d *differ) line(ctx context.Context, number int, line []byte) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	doc, err := jcs.Parse(line, jcs.Options{MaxBytes: recordBytes})
	if err != nil {
		return err
	}
	text := func(name string) string {
		v, _ := doc.Get(name)
		return v.Text
	}
	result, name := text("result"), text("policy")
	if name == "" || !slices.Contains([]string{resultAllow, resultDeny, resultError}, result) {
		d.result.Skipped++
		return nil
	}
	input, logged := doc.Get("input")
	switch {
	case !logged:
		d.cannotTell(noInput)
		return nil
	case text("input_masked") != "":
		d.cannotTell(maskedIn)
		return nil
	}
	in := recorded(input, name)
	if in == nil {
		d.cannotTell(otherInput)
		return nil
	}
	before, _ := answer(ctx, d.old, name, in)
	if text("revision") == d.old.Revision() && before != result {
		d.cannotTell(otherwise)
		return nil
	}
	after, _ := answer(ctx, d.new, name, in)
	if err := ctx.Err(); err != nil { // what was answered is about that
		return errors.New("interrupted")
	}
	if before == after {
		d.result.Same++
		return nil
	}
	why, err := d.new.Explain(ctx, name, in)
	d.changed(change{Policy: name, Operation: in.Environment.Operation, Old: before, New: after, Reason: decisive(&why, err)}, number)
	return nil
}

func (d *differ) changed(kind change, number int) {
	d.result.Changed++
	if known := d.byKind[kind]; known != nil {
		known.Count++
		return
	}
	if len(d.byKind) == maxChanges {
		d.result.More++
		return
	}
	one := kind
	one.Count, one.Line = 1, number
	d.byKind[kind] = &one
	d.result.Changes = append(d.result.Changes, &one)
}

// Results, as the decision log writes them.
const (
	resultAllow = "allow"
	resultDeny  = "deny"
	resultError = "error"
)

func answer(ctx context.Context, engine rules, name string, in *policy.Input) (string, error) {
	decision, err := engine.Evaluate(ctx, name, in)
	switch {
	case err != nil:
		return resultError, err
	case decision.Allow:
		return resultAllow, nil
	}
	return resultDeny, nil
}

// decisive names the rule that made a decision.
func decisive(x *policy.Explanation, err error) string {
	if err != nil {
		return err.Error()
	}
	rules := x.Reasons()
	if len(rules) == 0 {
		return x.Decision.Reason
	}
	text := headline(&rules[0])
	if len(rules) > 1 {
		text += fmt.Sprintf(", and %d more", len(rules)-1)
	}
	return text
}

// recorded reads an input that was logged. It has to be that input again, in every member, or else something of it is
// missing or was put in by somebody else, and the result is nil: nothing may be guessed.
func recorded(v jcs.Value, name string) *policy.Input {
	raw, err := json.Marshal(v.Go(number))
	if err != nil {
		return nil
	}
	in, _, err := readInput(raw, name)
	if err != nil {
		return nil
	}
	doc := in.Document()
	delete(doc, "identity") // as the log does
	delete(doc, "trust_score")
	delete(doc["environment"].(map[string]any), "parent_hash")
	again, err := json.Marshal(doc)
	if err != nil {
		return nil
	}
	want, err1 := jcs.Canonicalize(nil, raw, jcs.Options{MaxBytes: recordBytes})
	got, err2 := jcs.Canonicalize(nil, again, jcs.Options{MaxBytes: recordBytes})
	if err1 != nil || err2 != nil || !bytes.Equal(want, got) {
		return nil
	}
	return in
}
