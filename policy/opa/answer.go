package opa

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/policy"
)

// A decider finds the decision in an answer.
type decider struct {
	path []string // member names, outermost first; at least one
	bare bool     // a boolean "result" counts as well
}

func newDecider(path string) decider {
	return decider{path: strings.Split(path, "."), bare: path == DefaultDecisionPath}
}

// decide reads one answer. It reads as strictly as an entry is read (SPEC §4): a server, or a proxy before it,
// that says true and false in one document has said nothing. The error matches policy.ErrIndefinite.
func (d decider) decide(body []byte) (policy.Decision, error) {
	doc, err := jcs.Parse(body, jcs.Options{})
	if err != nil {
		return policy.Decision{}, indefinite("the answer is not one strict JSON value: %s", jsonFault(err))
	}
	if doc.Kind != jcs.Object {
		return policy.Decision{}, indefinite("the answer is %s, not an object", article(doc.Kind))
	}
	allow, err := d.find(doc)
	if err != nil {
		return policy.Decision{}, err
	}
	return policy.Decision{Allow: allow, Revision: revision(doc), Reason: reason(doc)}, nil
}

func (d decider) find(doc jcs.Value) (bool, error) {
	if result, _ := doc.Get("result"); d.bare && result.Kind == jcs.Bool {
		return result.Bool, nil
	}
	v := doc
	for i, name := range d.path {
		at := strings.Join(d.path[:i], ".")
		if v.Kind != jcs.Object {
			return false, indefinite("%q is %s, not an object", at, article(v.Kind))
		}
		next, ok := v.Get(name)
		if !ok {
			return false, d.missing(i)
		}
		v = next
	}
	if v.Kind != jcs.Bool {
		return false, indefinite("%q is %s, not true or false", strings.Join(d.path, "."), article(v.Kind))
	}
	return v.Bool, nil
}

// missing explains that member i of the path is not there.
func (d decider) missing(i int) error {
	if i == 0 && d.path[0] == "result" {
		return indefinite("the answer has no result: the server does not know the policy, or it is undefined for this input; " +
			"check the name and give the rule a default")
	}
	return indefinite("the answer has no %q: give the rule a default, or set DecisionPath to where the boolean is",
		strings.Join(d.path[:i+1], "."))
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

func indefinite(format string, args ...any) error {
	return fmt.Errorf("%w: %s", policy.ErrIndefinite, fmt.Sprintf(format, args...))
}

// uuid is the form of OPA's decision ids. Anything else that a server calls one is not repeated.
var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// reason names the entry of the server's decision log, when it keeps one.
func reason(doc jcs.Value) string {
	if id, _ := doc.Get("decision_id"); id.Kind == jcs.String && uuid.MatchString(id.Text) {
		return "opa decision " + id.Text
	}
	return ""
}

// maxRevision bounds the revision in bytes.
const maxRevision = 256

// revision returns "name=revision" of every bundle, sorted and joined by commas, or the plain revision of
// servers with one unnamed bundle. "" when there is none, or when it is long or not printable ASCII.
func revision(doc jcs.Value) string {
	provenance, _ := doc.Get("provenance")
	if plain, _ := provenance.Get("revision"); plain.Kind == jcs.String {
		return printable(plain.Text)
	}
	bundles, _ := provenance.Get("bundles")
	var all []string
	for _, m := range bundles.Members {
		if r, _ := m.Value.Get("revision"); r.Kind == jcs.String {
			all = append(all, m.Name+"="+r.Text)
		}
	}
	slices.Sort(all)
	return printable(strings.Join(all, ","))
}

func printable(s string) string {
	if len(s) > maxRevision || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return s
}

// code matches OPA's error codes, such as "eval_conflict_error".
var code = regexp.MustCompile(`^[a-z]+(_[a-z]+){0,4}$`)

// errorCode returns OPA's own word for what went wrong, the innermost that an error document has, or "".
func errorCode(body []byte) string {
	doc, err := jcs.Parse(body, jcs.Options{})
	if err != nil {
		return ""
	}
	if errs, _ := doc.Get("errors"); len(errs.Elems) > 0 {
		if inner := codeOf(errs.Elems[0]); inner != "" {
			return inner
		}
	}
	return codeOf(doc)
}

func codeOf(v jcs.Value) string {
	if c, _ := v.Get("code"); c.Kind == jcs.String && len(c.Text) <= 40 && code.MatchString(c.Text) {
		return c.Text
	}
	return ""
}
