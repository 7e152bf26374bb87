package cedar

import (
	"context"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/policy"
)

// Context builds the whole context of an input, and what a policy gets that reads these attributes of it.
func Context(in *policy.Input, attributes ...string) (all, some types.Record, err, errSome error) {
	c := &converter{space: newSpace()}
	all = c.context(in, &reads{all: true})
	r := &reads{}
	for _, name := range attributes {
		r.attribute(types.String(name))
	}
	s := &converter{space: newSpace()}
	some = s.context(in, r)
	return all, some, c.err(), s.err()
}

// Decide asks a policy with a request of any types.
func (e *Engine) Decide(name string, request cedargo.Request) (policy.Decision, error) {
	s := e.current.Load()
	return s.authorize(context.Background(), s.policies[name], request)
}

// Request is what cedar-go is asked about an input.
func (e *Engine) Request(name string, in *policy.Input) (cedargo.Request, error) {
	return e.current.Load().policies[name].request(in)
}
