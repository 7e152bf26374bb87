package opa

import (
	"context"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/rest"
)

// Decide is the reader of answers, for the fuzz test: over a connection it would run a hundred times slower.
func Decide(decisionPath string, body []byte) (policy.Decision, error) {
	return newDecider(decisionPath).decide(body)
}

// Question is the writer of questions, for the same reason.
func Question(in *policy.Input, limit int) ([]byte, error) { return question(in, limit) }

// OnlyLoopback is the check of the address that is really dialled: no resolver of a test can be made to lie.
func OnlyLoopback(address string) error {
	return rest.OnlyLoopback(context.Background(), "tcp", address, nil)
}
