package policy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// InsecureAllowAll returns an engine that allows every policy: the guide's set-up for development, before there
// is an engine to ask. Entries are still signed and passports still verify, but nothing is ever denied. It warns
// once for each engine, on the first use; logger nil means [slog.Default]. Never use it in production: a search
// for "Insecure" finds it.
func InsecureAllowAll(logger *slog.Logger) Engine {
	return &insecure{warn: sync.OnceFunc(func() {
		if logger == nil {
			logger = slog.Default()
		}
		logger.Warn("INSECURE: every policy is allowed; no call will ever be denied",
			"engine", "policy.InsecureAllowAll", "fix", "set Config.Engine to a policy engine, for example rego.Dir or opa.New")
	})}
}

type insecure struct{ warn func() }

// Evaluate still refuses what no engine may accept, so that a program does not break when it gets a real one.
func (e *insecure) Evaluate(ctx context.Context, name string, in *Input) (Decision, error) {
	e.warn()
	if err := ctx.Err(); err != nil {
		return Decision{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := ValidateName(name); err != nil {
		return Decision{}, fmt.Errorf("%w: %w", ErrUnknownPolicy, err)
	}
	if in == nil {
		return Decision{}, fmt.Errorf("%w: no input", ErrIndefinite)
	}
	return Decision{Allow: true, Reason: "policy.InsecureAllowAll"}, nil
}
