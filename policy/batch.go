package policy

import (
	"context"
	"fmt"
)

// A Batcher is an Engine that can be asked about several policies in fewer round trips than one for each. The guard
// asks it so about a tier that has more than one policy; what comes of it is what would come of asking in order.
type Batcher interface {
	Engine

	// EvaluateAll asks about names, the policies of one tier that no deviation lifts: in.Environment says which tier, so
	// policies of two tiers cannot be asked at once. Answer i is what Evaluate would have returned for names[i], its
	// class of error included, and names that are no policy names do not keep the others from being answered. When
	// nothing can be asked, every answer has the error. ctx bounds all of it.
	EvaluateAll(ctx context.Context, names []string, in *Input) []Answer
}

// An Answer is what one policy of several answered: a decision, or an error as that of Engine.Evaluate. It allows only
// if Allow is true and Err is nil.
type Answer struct {
	Decision
	Err error
}

// EvaluateAll asks b, and holds it to one answer for each name: if it gives more or fewer, nobody knows which is whose,
// and each is an error that matches [ErrIndefinite].
func EvaluateAll(ctx context.Context, b Batcher, names []string, in *Input) []Answer {
	answers := b.EvaluateAll(ctx, names, in)
	if len(answers) == len(names) {
		return answers
	}
	err := fmt.Errorf("%w: %d answers to %d policies", ErrIndefinite, len(answers), len(names))
	answers = make([]Answer, len(names))
	for i := range answers {
		answers[i].Err = err
	}
	return answers
}
