package cedar

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/policy"
)

// The types of the entities in a request (SPEC §7).
const (
	typeWorkload = types.EntityType("Workload")
	typeAction   = types.EntityType("Action")
	typeResource = types.EntityType("Resource")
)

// noObject is the id of the resource when the call names none.
const noObject = "*"

// A set is everything that one load made. It does not change, so evaluations share it and a reload replaces it whole.
type set struct {
	revision string
	policies map[string]*named
	entities types.EntityMap
}

// named is the policy set of one policy name.
type named struct {
	name       string
	statements []statement // in the order of the file
	reads      reads
	silent     string // reason of a denial without a forbid
	spaces     sync.Pool
}

// A statement is one permit or forbid.
type statement struct {
	id     cedar.PolicyID // @id, or policy<N>; no two in a set are the same
	policy *cedar.Policy
	shown  string // for people: effect, id, file and line
}

func uid(t types.EntityType, id string) types.EntityUID {
	return types.NewEntityUID(t, types.String(id)) // a value: nothing in id can end it
}

// request maps the input to Cedar. Context has what the statements can read of it.
func (p *named) request(in *policy.Input) (cedar.Request, error) {
	object := in.Object.ID
	if object == "" {
		object = noObject
	}
	s, ok := p.spaces.Get().(*space)
	if !ok {
		s = newSpace()
	}
	c := &converter{space: s}
	c.text("subject.workload", in.Subject.Workload)
	c.text("object.id", object)
	context := c.context(in, &p.reads)
	p.spaces.Put(s) // not after a panic, which could leave something in it for the next call
	return cedar.Request{
		Principal: uid(typeWorkload, in.Subject.Workload),
		Action:    uid(typeAction, p.name),
		Resource:  uid(typeResource, object),
		Context:   context,
	}, c.err()
}

// A run hands the statements of one evaluation to cedar-go, which cannot be interrupted, and stops between two of
// them when the context ends.
type run struct {
	statements []statement
	ctx        context.Context //nolint:containedctx // lives as long as the call
	err        error
}

func (r *run) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for i := range r.statements {
			if r.err = r.ctx.Err(); r.err != nil {
				return
			}
			if s := &r.statements[i]; !yield(s.id, s.policy) {
				return
			}
		}
		r.err = r.ctx.Err()
	}
}

// decide asks the statements of one policy. Only an allow without a single error is one: Cedar skips a statement
// whose condition fails, and it may have been the forbid (SPEC §7).
func (s *set) decide(ctx context.Context, p *named, in *policy.Input) (d policy.Decision, err error) {
	defer func() {
		if r := recover(); r != nil { // a fault of the library, or of what makes the input, must not end the caller's process
			d, err = policy.Decision{}, &evalError{policy: p.name, class: policy.ErrUnavailable,
				text: fmt.Sprintf("evaluation ended with a panic of type %T", r)}
		}
	}()
	request, err := p.request(in)
	if err != nil {
		return policy.Decision{}, &evalError{policy: p.name, class: policy.ErrIndefinite, text: err.Error()}
	}
	return s.authorize(ctx, p, request)
}

func (s *set) authorize(ctx context.Context, p *named, request cedar.Request) (policy.Decision, error) {
	r := run{statements: p.statements, ctx: ctx}
	verdict, diagnostic := cedar.Authorize(&r, s.entities, request)
	if r.err != nil {
		return policy.Decision{}, stopped(p.name, r.err)
	}
	if len(diagnostic.Errors) > 0 {
		return policy.Decision{}, &evalError{policy: p.name, class: policy.ErrIndefinite, text: p.faults(diagnostic.Errors)}
	}
	return policy.Decision{Allow: verdict == cedar.Allow, Revision: s.revision, Reason: p.reason(diagnostic.Reasons)}, nil
}

// reason names the statements that determined the decision.
func (p *named) reason(determining []cedar.DiagnosticReason) string {
	switch len(determining) {
	case 0:
		return p.silent
	case 1:
		return p.find(determining[0].PolicyID).shown
	}
	return p.list(len(determining), func(i int) string { return p.find(determining[i].PolicyID).shown })
}

func (p *named) faults(errs []cedar.DiagnosticError) string {
	return p.list(len(errs), func(i int) string {
		return p.find(errs[i].PolicyID).shown + ": " + harmless(errs[i].Message)
	})
}

// list joins at most eight entries: they end in logs.
func (p *named) list(n int, entry func(int) string) string {
	const most = 8
	var b strings.Builder
	for i := range min(n, most) {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(entry(i))
	}
	if n > most {
		fmt.Fprintf(&b, "; and %d more", n-most)
	}
	return b.String()
}

func (p *named) find(id cedar.PolicyID) *statement {
	for i := range p.statements {
		if p.statements[i].id == id {
			return &p.statements[i]
		}
	}
	return &statement{shown: "a statement"} // not reached: cedar-go reports the ids that it was given
}
