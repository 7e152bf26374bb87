package decisioncache

import (
	"context"

	"github.com/kest-go/kest/policy"
)

// batched is an engine around one that answers several policies at once.
type batched struct {
	*engine
	batcher policy.Batcher
}

// EvaluateAll implements [policy.Batcher]: the engine is asked at once about what is not in the cache.
func (e *batched) EvaluateAll(ctx context.Context, names []string, in *policy.Input) []policy.Answer {
	answers := make([]policy.Answer, len(names))
	var missed []string
	var queries []query // of those
	var at []int        // in answers
	for i, name := range names {
		q := e.look(ctx, name, in)
		if q.found {
			answers[i].Decision = q.decision
			continue
		}
		missed, queries, at = append(missed, name), append(queries, q), append(at, i)
	}
	if len(missed) == 0 {
		return answers
	}
	for n, a := range policy.EvaluateAll(ctx, e.batcher, missed, in) {
		e.keep(&queries[n], a.Decision, a.Err)
		answers[at[n]] = a
	}
	return answers
}
