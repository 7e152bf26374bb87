package avp

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/policy"
)

// MaxBatch is how many policies are asked in one request (API reference, BatchIsAuthorized).
const MaxBatch = 30

var _ policy.Batcher = (*Engine)(nil)

// EvaluateAll implements [policy.Batcher] with one BatchIsAuthorized for up to [MaxBatch] policies. More of them, and
// those whose request would be too large, since it repeats the context for each, are asked in several requests.
func (e *Engine) EvaluateAll(ctx context.Context, names []string, in *policy.Input) []policy.Answer {
	answers := make([]policy.Answer, len(names))
	var valid []int
	for i, name := range names {
		if err := policy.ValidateName(name); err != nil { // before anything leaves
			answers[i].Err = fmt.Errorf("avp: %w: %w", policy.ErrUnknownPolicy, err)
			continue
		}
		valid = append(valid, i)
	}
	q, err := e.question(in)
	if err != nil {
		fail(answers, names, valid, err)
		return answers
	}
	for which := range slices.Chunk(valid, q.perRequest()) {
		e.answer(ctx, q, names, which, answers)
	}
	return answers
}

// answer asks about those of names that which says, and puts what comes of it into answers.
func (e *Engine) answer(ctx context.Context, q *question, names []string, which []int, answers []policy.Answer) {
	results, err := e.askAll(ctx, q, names, which)
	if err != nil {
		fail(answers, names, which, err)
		return
	}
	for n, i := range which {
		r := &results[n]
		if answers[i].Decision, err = decide(r.Decision, r.DeterminingPolicies, r.Errors); err != nil {
			answers[i].Err = about(names[i], err)
		}
	}
}

func fail(answers []policy.Answer, names []string, which []int, err error) {
	for _, i := range which {
		answers[i].Err = about(names[i], err)
	}
}

func (e *Engine) askAll(ctx context.Context, q *question, names []string, which []int) ([]types.BatchIsAuthorizedOutputItem, error) {
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
