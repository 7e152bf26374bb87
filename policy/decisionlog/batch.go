package decisionlog

import (
	"context"
	"time"

	"github.com/kest-go/kest/policy"
)

// batched is an engine around one that answers several policies at once.
type batched struct {
	*engine
	batcher policy.Batcher
}

// EvaluateAll implements [policy.Batcher]. There is one record for each policy, and the duration in it is that of all.
func (e *batched) EvaluateAll(ctx context.Context, names []string, in *policy.Input) (answers []policy.Answer) {
	start := time.Now()
	defer func() { // also when the engine panics, which goes on to the caller
		took := time.Since(start)
		for i, name := range names {
			a := answer{policy: name, took: took, err: errPanic}
			if i < len(answers) {
				a.decision, a.err = answers[i].Decision, answers[i].Err
			}
			attempt(func() { e.note(ctx, in, &a) })
		}
	}()
	return policy.EvaluateAll(ctx, e.batcher, names, in)
}
