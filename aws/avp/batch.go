package avp

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/policy"
)

// MaxBatch is how many policies [Engine.EvaluateAll] takes (API reference, BatchIsAuthorized).
const MaxBatch = 30

// An Answer is what one policy of several answered: a decision, or an error as that of [Engine.Evaluate].
type Answer struct {
	policy.Decision
	Err error
}

// EvaluateAll asks several policies about one input in one round trip, up to [MaxBatch]. Answer i is that of names[i]
// and what Evaluate would have returned for it; it allows only if Allow is true and Err is nil. When the call fails all
// of them have its error. The input is the same for all, so they must be of one tier.
func (e *Engine) EvaluateAll(ctx context.Context, names []string, in *policy.Input) []Answer {
	answers := make([]Answer, len(names))
	var valid []int
	for i, name := range names {
		if err := policy.ValidateName(name); err != nil { // before anything leaves
			answers[i].Err = fmt.Errorf("avp: %w: %w", policy.ErrUnknownPolicy, err)
			continue
		}
		valid = append(valid, i)
	}
	if len(valid) == 0 {
		return answers
	}
	results, err := e.askAll(ctx, names, valid, in)
	for n, i := range valid {
		failed := err
		if failed == nil {
			r := &results[n]
			answers[i].Decision, failed = decide(r.Decision, r.DeterminingPolicies, r.Errors)
		}
		if failed != nil {
			answers[i] = Answer{Err: about(names[i], failed)}
		}
	}
	return answers
}

func (e *Engine) askAll(ctx context.Context, names []string, which []int, in *policy.Input) ([]types.BatchIsAuthorizedOutputItem, error) {
	if len(which) > MaxBatch {
		return nil, indefinite("%d policies in one batch; ask for at most %d", len(which), MaxBatch)
	}
	q, err := e.question(in)
	if err != nil {
		return nil, err
	}
	requests := make([]types.BatchIsAuthorizedInputItem, len(which))
	for n, i := range which {
		requests[n] = types.BatchIsAuthorizedInputItem{Principal: q.principal, Action: e.action(names[i]), Resource: q.resource, Context: q.context}
	}
	out, err := call(ctx, e.timeout, e.client.BatchIsAuthorized, &verifiedpermissions.BatchIsAuthorizedInput{PolicyStoreId: &e.store, Requests: requests})
	if err != nil {
		return nil, err
	}
	if len(out.Results) != len(requests) {
		return nil, indefinite("the answer has %d results for %d policies", len(out.Results), len(requests))
	}
	for n := range requests { // "in the order they were requested", and a result for another question is none for this one
		if !echoes(out.Results[n].Request, &requests[n]) {
			return nil, indefinite("result %d is for another question", n+1)
		}
	}
	return out.Results, nil
}

func echoes(got, asked *types.BatchIsAuthorizedInputItem) bool {
	return got != nil && got.Action != nil && sameEntity(got.Principal, asked.Principal) && sameEntity(got.Resource, asked.Resource) &&
		aws.ToString(got.Action.ActionType) == *asked.Action.ActionType && aws.ToString(got.Action.ActionId) == *asked.Action.ActionId
}

func sameEntity(got, asked *types.EntityIdentifier) bool {
	return got != nil && aws.ToString(got.EntityType) == *asked.EntityType && aws.ToString(got.EntityId) == *asked.EntityId
}
