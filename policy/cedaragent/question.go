package cedaragent

import (
	"cmp"

	"github.com/kest-go/kest/policy"
)

// An asker writes questions.
type asker struct {
	plain bool
	max   int // bytes of a question
}

// question returns the body of a request. The error matches policy.ErrIndefinite.
func (a asker) question(name string, in *policy.Input) ([]byte, error) {
	if in == nil {
		return nil, indefinite("there is no input")
	}
	principal, action, resource := in.Subject.Workload, name, cmp.Or(in.Object.ID, "*")
	if !a.plain {
		principal, action, resource = uid("Workload", principal), uid("Action", action), uid("Resource", resource)
	}
	w := &writer{out: make([]byte, 0, 4<<10), paths: make([]byte, 0, 1<<10), leaves: make([]leaf, 0, 64), max: a.max}
	w.raw(`{"principal":`).text(principal).raw(`,"action":`).text(action).raw(`,"resource":`).text(resource)
	w.raw(`,"context":`).context(in.Document())
	w.raw(`}`)
	if w.full() {
		return nil, w.err
	}
	return w.out, nil
}
