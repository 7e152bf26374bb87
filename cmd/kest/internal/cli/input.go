package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/policy"
)

// readInput reads the document that engines see (SPEC §7, policy.InputSchema) strictly: no duplicate or unknown
// members, every value of its type and in its range, and what stands in two places equal in both. Members that
// are left out have the values of a first call by nobody, with trust 0; notes say which of the outer ones were.
func readInput(text []byte, name string) (in *policy.Input, notes []string, err error) {
	doc, err := jcs.Parse(text, jcs.Options{MaxBytes: inputBytes})
	if err != nil {
		return nil, nil, err
	}
	r := &inputReader{in: policy.Input{
		Environment: policy.Environment{IsRoot: true, PolicyNames: []string{name}, PolicyTier: policy.Function},
		Lineage:     policy.Lineage{MinTrust: 100},
	}}
	r.document(doc)
	r.agree()
	if err := errors.Join(r.errs...); err != nil {
		return nil, nil, err
	}
	if len(r.absent) > 0 {
		notes = append(notes, "left out of the input, and so empty: "+strings.Join(r.absent, ", "))
	}
	return &r.in, append([]string{}, notes...), nil
}

type inputReader struct {
	in     policy.Input
	errs   []error
	absent []string // outer members

	score, subjectScore *int           // as given
	isRoot              *bool          // as given
	parent              string         // as given
	identity            policy.Subject // as given; only the four names
}

func (r *inputReader) fail(path, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

// member reads one member of an object into the place that the closure knows.
type member map[string]func(path string, v jcs.Value)

// object reads the members of one object and returns the names that were not there.
func (r *inputReader) object(path string, v jcs.Value, members member) (absent []string) {
	if v.Kind != jcs.Object {
		r.wrong(path, v, "an object")
		return nil
	}
	if path != "" {
		path += "."
	}
	for _, m := range v.Members {
		if read, ok := members[m.Name]; ok {
			read(path+m.Name, m.Value)
			continue
		}
		r.fail(path+m.Name, "no such member; there is %s", strings.Join(sorted(members), ", "))
	}
	for _, name := range sorted(members) {
		if _, ok := v.Get(name); !ok {
			absent = append(absent, name)
		}
	}
	return absent
}

func sorted(members member) []string {
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (r *inputReader) document(doc jcs.Value) {
	if doc.Kind != jcs.Object {
		r.errs = append(r.errs, fmt.Errorf("is a JSON %s; want an object", doc.Kind))
		return
	}
	in := &r.in
	r.absent = r.object("", doc, member{
		"subject":     r.subject,
		"object":      r.resource,
		"environment": r.environment,
		"identity": func(path string, v jcs.Value) {
			r.object(path, v, r.who(&r.identity))
		},
		"trust_score": func(path string, v jcs.Value) { r.score = r.integer(path, v, 100) },
		"lineage":     r.lineage,
		"labels":      func(path string, v jcs.Value) { in.Labels = r.labels(path, v) },
		"attributes":  func(path string, v jcs.Value) { in.Attributes = r.attributes(path, v) },
	})
	if len(r.identity.Workload+r.identity.User+r.identity.Agent+r.identity.Task) > 0 && slices.Contains(r.absent, "subject") {
		in.Subject = r.identity
	}
}

func (r *inputReader) who(s *policy.Subject) member {
	return member{
		"workload": r.text(&s.Workload), "user": r.orNull(&s.User), "agent": r.orNull(&s.Agent), "task": r.orNull(&s.Task),
	}
}

func (r *inputReader) subject(path string, v jcs.Value) {
	members := r.who(&r.in.Subject)
	members["trust_score"] = func(path string, v jcs.Value) { r.subjectScore = r.integer(path, v, 100) }
	members["taints"] = r.texts(&r.in.Subject.Taints, nonEmpty)
	r.object(path, v, members)
}

func (r *inputReader) resource(path string, v jcs.Value) {
	o := &r.in.Object
	r.object(path, v, member{
		"id":         r.orNull(&o.ID),
		"attributes": func(path string, v jcs.Value) { o.Attributes = r.attributes(path, v) },
	})
}

// The forms of policy.InputSchema.
var (
	entryID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	traceID = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

func (r *inputReader) environment(path string, v jcs.Value) {
	env := &r.in.Environment
	r.object(path, v, member{
		"is_root": func(path string, v jcs.Value) {
			r.isRoot = new(bool)
			r.boolean(r.isRoot)(path, v)
		},
		"source_type":       r.text(&env.SourceType),
		"parent_hash":       r.formed(&r.parent, parentHash),
		"parent_hashes":     r.texts(&env.ParentHashes, hash),
		"policy_names":      r.texts(&env.PolicyNames, policy.ValidateName),
		"policy_tier":       func(path string, v jcs.Value) { r.tier(path, v, &env.PolicyTier, true) },
		"active_deviations": r.deviations,
		"operation":         r.text(&env.Operation),
		"classification":    r.text(&env.Classification),
		"entry_id":          r.formed(&env.EntryID, matches(entryID, "a lower-case UUID v7")),
		"trace_id":          r.formed(&env.TraceID, matches(traceID, "32 lower-case hex digits")),
		"trust_override": func(path string, v jcs.Value) {
			if v.Kind != jcs.Null {
				env.TrustOverride = r.integer(path, v, 100)
			}
		},
		"removed_taints": r.texts(&env.RemovedTaints, nonEmpty),
		"sanitizer":      r.orNull(&env.Sanitizer),
	})
}

func (r *inputReader) deviations(path string, v jcs.Value) {
	if v.Kind != jcs.Array {
		r.wrong(path, v, "an array")
		return
	}
	for i, item := range v.Elems {
		var d policy.Deviation
		at := fmt.Sprintf("%s[%d]", path, i)
		for _, name := range r.object(at, item, member{
			"policy":       r.formed(&d.Policy, policy.ValidateName),
			"tier":         func(path string, v jcs.Value) { r.tier(path, v, &d.Tier, false) },
			"reason":       r.orNull(&d.Reason),
			"approver":     r.orNull(&d.Approver),
			"approver_key": r.orNull(&d.ApproverKey),
		}) {
			if name != "approver_key" { // nobody signed
				r.fail(at+"."+name, "missing")
			}
		}
		r.in.Environment.ActiveDeviations = append(r.in.Environment.ActiveDeviations, d)
	}
}

func (r *inputReader) tier(path string, v jcs.Value, to *policy.Tier, function bool) {
	tiers := policy.Order()
	allowed := tiers[:]
	if !function { // function policies cannot be deviated (SPEC §7)
		allowed = slices.DeleteFunc(slices.Clone(allowed), func(t policy.Tier) bool { return t == policy.Function })
	}
	if v.Kind != jcs.String || !slices.Contains(allowed, policy.Tier(v.Text)) {
		r.wrong(path, v, fmt.Sprintf("one of %v", allowed))
		return
	}
	*to = policy.Tier(v.Text)
}

// agree checks what the document says twice: engines are never shown a contradiction.
func (r *inputReader) agree() {
	in, env := &r.in, &r.in.Environment
	switch {
	case r.score != nil && r.subjectScore != nil && *r.score != *r.subjectScore:
		r.fail("trust_score", "is %d, but subject.trust_score is %d; they are the same score", *r.score, *r.subjectScore)
	case r.score != nil:
		in.TrustScore, in.Subject.TrustScore = *r.score, *r.score
	case r.subjectScore != nil:
		in.TrustScore, in.Subject.TrustScore = *r.subjectScore, *r.subjectScore
	}
	s := in.Subject
	for _, pair := range [][3]string{
		{"workload", r.identity.Workload, s.Workload}, {"user", r.identity.User, s.User},
		{"agent", r.identity.Agent, s.Agent}, {"task", r.identity.Task, s.Task},
	} {
		if pair[1] != pair[2] && !slices.Contains(r.absent, "identity") {
			r.fail("identity."+pair[0], "differs from subject.%s; they are the same name", pair[0])
		}
	}
	if len(env.ParentHashes) == 0 && r.parent != "" && r.parent != "0" {
		env.ParentHashes = []string{r.parent}
	}
	env.IsRoot = len(env.ParentHashes) == 0
	first := "0"
	if !env.IsRoot {
		first = env.ParentHashes[0]
	}
	if r.parent != "" && r.parent != first {
		r.fail("environment.parent_hash", "is not the first of parent_hashes")
	}
	if r.isRoot != nil && *r.isRoot != env.IsRoot {
		r.fail("environment.is_root", "is %t, but there are %d parent_hashes", *r.isRoot, len(env.ParentHashes))
	}
}
