package kest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
)

// Errors that callers match.
var (
	// ErrDenied is matched by every [*DeniedError].
	ErrDenied = errors.New("denied by policy")
	// ErrNotConfigured is matched when a call uses the process default before [Configure] has set it.
	ErrNotConfigured = errors.New("kest is not configured")
	// ErrUntrustedLineage is matched when lineage arrived with the call and was not, or could not be, verified.
	ErrUntrustedLineage = errors.New("lineage arrived that is not verified")

	errCarried   = errors.New("the baggage carries it, and no ingress has verified it")
	errNoSigner  = errors.New("identity: the provider returned neither a signer nor an error")
	errNoSession = errors.New("no session in the context; call StartSession, or join inside a guarded body")
)

// A DeniedError says that a policy refused a call, or could not decide about it. The body did not run.
type DeniedError struct {
	Operation string
	EntryID   string
	Tier      policy.Tier
	Policy    string
	Reason    string // what the engine said, or why it could not decide; bounded; "" when it said nothing
	Record    string // the signed denial record, "" when it could not be signed

	// Err is why the engine could not decide, nil for a definite denial.
	Err error
}

func (e *DeniedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kest: %s: denied by %s policy %s", e.Operation, e.Tier, e.Policy)
	if e.Err != nil {
		fmt.Fprintf(&b, ", which could not decide: %s", e.Reason)
	} else if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	return b.String()
}

// Unwrap makes the error match [ErrDenied] and the engine's error.
func (e *DeniedError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrDenied}
	}
	return []error{ErrDenied, e.Err}
}

// RefusalClass tells servers how to answer; see [propagate.ClassOf].
func (e *DeniedError) RefusalClass() propagate.Class {
	if errors.Is(e.Err, policy.ErrUnavailable) || errors.Is(e.Err, context.DeadlineExceeded) {
		return propagate.Unavailable
	}
	return propagate.Forbidden
}

// A Step names the part of the lifecycle that failed.
type Step string

// Steps of the lifecycle that can fail other than by a policy.
const (
	StepExtract Step = "extract"
	StepResolve Step = "resolve" // a resolver of an option
	StepInput   Step = "input"
	StepBuild   Step = "build"
	StepSign    Step = "sign"
	StepAppend  Step = "append"
	StepRecord  Step = "record"
	StepExecute Step = "execute" // the context ended before the body could run
)

// A CallError says why a call stopped before its body ran, other than by a policy. It wraps the cause.
type CallError struct {
	Step      Step
	Operation string
	Err       error
}

func (e *CallError) Error() string {
	return fmt.Sprintf("kest: %s: %s: %v", e.Operation, e.Step, e.Err)
}

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

// RefusalClass tells servers how to answer; see [propagate.ClassOf]. It is that of the cause where that has one.
func (e *CallError) RefusalClass() propagate.Class {
	var classed interface{ RefusalClass() propagate.Class }
	switch {
	case errors.As(e.Err, &classed):
		return classed.RefusalClass()
	case errors.Is(e.Err, ErrUntrustedLineage):
		return propagate.Forbidden
	case errors.Is(e.Err, identity.ErrNotReady), errors.Is(e.Err, identity.ErrExpired), errors.Is(e.Err, identity.ErrRevoked):
		return propagate.Unavailable // ours to mend, and it may pass
	}
	return propagate.Fault
}

// A ConfigError lists everything that is wrong with a configuration or with the options of one function.
type ConfigError struct {
	Subject  string // "config", or the operation
	Problems []error
}

func (e *ConfigError) Error() string {
	if len(e.Problems) == 1 {
		return fmt.Sprintf("kest: %s: %v", e.Subject, e.Problems[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "kest: %s: %d problems", e.Subject, len(e.Problems))
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n\t%s", strings.ReplaceAll(p.Error(), "\n", "\n\t"))
	}
	return b.String()
}

// Unwrap returns the problems.
func (e *ConfigError) Unwrap() []error { return e.Problems }
