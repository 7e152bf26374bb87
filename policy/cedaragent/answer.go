package cedaragent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/policy"
)

// decide reads one answer. It reads as strictly as an entry is read (SPEC §4): a server, or a proxy before it, that
// says Allow and Deny in one document has said nothing. The error matches policy.ErrIndefinite.
func decide(body []byte) (policy.Decision, error) {
	doc, err := jcs.Parse(body, jcs.Options{})
	if err != nil {
		return policy.Decision{}, indefinite("the answer is not one strict JSON value: %s", jsonFault(err))
	}
	if doc.Kind != jcs.Object {
		return policy.Decision{}, indefinite("the answer is %s, not an object", article(doc.Kind))
	}
	decision, ok := doc.Get("decision")
	switch {
	case !ok:
		return policy.Decision{}, indefinite("the answer has no decision; check that the address is the base of a Cedar Agent API")
	case decision.Kind != jcs.String:
		return policy.Decision{}, indefinite("the decision is %s, not a string", article(decision.Kind))
	case decision.Text == "Deny":
		if n := failed(doc); n > 0 { // a denial all the same, and as policy/cedar says it
			return policy.Decision{}, uncomputed(n)
		}
		return policy.Decision{Reason: reason(doc)}, nil // whatever else it says: nothing can make it an allow
	case decision.Text != "Allow":
		return policy.Decision{}, indefinite("the decision is a string other than Allow and Deny")
	}
	if err := clean(doc); err != nil {
		return policy.Decision{}, err
	}
	return policy.Decision{Allow: true, Reason: reason(doc)}, nil
}

// clean refuses the diagnostics of an Allow that report an error, or cannot be understood. Cedar skips a policy
// whose condition fails, so a forbid that could not be computed forbids nothing (SPEC §7 "Cedar in process").
func clean(doc jcs.Value) error {
	diagnostics, ok := doc.Get("diagnostics")
	if !ok {
		return nil
	}
	if diagnostics.Kind != jcs.Object {
		return indefinite("the diagnostics are %s, not an object", article(diagnostics.Kind))
	}
	errs, ok := diagnostics.Get("errors")
	switch {
	case ok && errs.Kind != jcs.Array:
		return indefinite("the errors in the diagnostics are %s, not an array", article(errs.Kind))
	case failed(doc) > 0:
		return uncomputed(failed(doc))
	}
	return nil
}

// failed counts the policies that the diagnostics say could not be computed.
func failed(doc jcs.Value) int {
	diagnostics, _ := doc.Get("diagnostics")
	errs, _ := diagnostics.Get("errors")
	return len(errs.Elems)
}

func uncomputed(n int) error {
	return indefinite("%d errors in the diagnostics: a policy could not be computed, and it may forbid; test with `has` what may be missing", n)
}

// maxReason bounds the names of the determining policies in bytes.
const maxReason = 256

// reason names the policies that determined the decision. "" when there are none, or when their names are long or
// not printable ASCII.
func reason(doc jcs.Value) string {
	diagnostics, _ := doc.Get("diagnostics")
	list, _ := diagnostics.Get("reason")
	var ids []string
	for _, id := range list.Elems {
		if id.Kind == jcs.String {
			ids = append(ids, id.Text)
		}
	}
	slices.Sort(ids)
	text := strings.Join(ids, ", ")
	if text == "" || len(text) > maxReason || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return "determined by " + text
}

// jsonFault names the class of the fault and its place. It leaves out member names: they are the server's words.
func jsonFault(err error) string {
	var fault *jcs.Error
	if !errors.As(err, &fault) {
		return "unreadable"
	}
	return fmt.Sprintf("%v, at byte %d", fault.Unwrap(), fault.Offset)
}

func article(k jcs.Kind) string {
	switch k {
	case jcs.Null:
		return "null"
	case jcs.Array, jcs.Object:
		return "an " + k.String()
	}
	return "a " + k.String()
}
