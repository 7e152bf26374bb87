package kest

import (
	"context"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// JoinOperation is the operation of entries that only tie lineages together (SPEC §5).
const JoinOperation = "kest.join"

// Seal returns the lineage of ctx in a form that may leave the process: it ends in one entry, which this workload
// signed, so that whoever receives it can hold the sender to its tip. Where that is not so, because [Join] or the
// answer of a callee brought in lineage that no call has tied yet, or because calls in parallel left several ends,
// they are tied by a signed entry of operation [JoinOperation]; enterprise, platform and application policies apply to
// it as to every call. Without a session, or with nothing learned yet, the result is the empty passport; with lineage
// that was not verified, it is the error that every call gets.
func (g *Guard) Seal(ctx context.Context) (lineage.Passport, error) {
	s := propagate.SessionFrom(ctx)
	if p := CurrentPassport(ctx); untrusted(ctx, s) == nil && p.Connected() {
		if g.endsHere(ctx, p) {
			return p, nil
		}
	}
	f := &function{settings: settings{operation: JoinOperation, classification: "system", noInputHash: true}}
	b, err := f.settings.bind(g.current.Load())
	if err != nil {
		return lineage.Passport{}, err
	}
	f.bound.Store(b)
	c, err := f.begin(ctx, nil)
	if err != nil {
		return lineage.Passport{}, err
	}
	c.returned(nil, nil)
	c.finish()
	return c.body.Passport(), nil
}

// endsHere reports whether a passport ends in one entry of this workload, or is empty.
func (g *Guard) endsHere(ctx context.Context, p lineage.Passport) bool {
	leaves := p.Leaves()
	if len(leaves) != 1 {
		return len(leaves) == 0
	}
	signer, err := g.current.Load().config.Identity.Signer(ctx)
	if err != nil || signer == nil {
		return false // the call that ties reports it as every call does
	}
	return leaves[0].Entry().Principal() == signer.Principal()
}
