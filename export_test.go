package kest

import (
	"context"

	"github.com/kest-go/kest/policy"
)

// InputMaker returns what the guard does to make the document that policies see, for a call that would repeat the last
// one of the session.
func InputMaker(ctx context.Context, g *Guard, s *Session) (func() *policy.Input, error) {
	core := g.current.Load()
	signer, err := core.config.Identity.Signer(ctx)
	if err != nil {
		return nil, err
	}
	c := &call{
		binding: &binding{settings: &settings{}, guard: core}, outer: s, history: s.Passport(), signer: signer,
		entry: s.Passport().Last().Entry(), trace: s.TraceID(), source: "internal", identity: CurrentIdentity(ctx),
	}
	return func() *policy.Input {
		c.input = c.document(nil)
		return &c.input
	}, nil
}
