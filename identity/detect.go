package identity

import (
	"context"
	"errors"
	"fmt"
)

// A Probe is one way to find out who this workload is. [Detect] tries an explicit list of them in order.
type Probe struct {
	// Name of the provider, for people: one of [SPIFFE], [Bedrock], [AWS], [OIDC], [Local], or the caller's own.
	Name string

	// Import is the package to import for a program that lacks this provider.
	Import string

	// Signal looks for the provider's traces in env. nil: present always, for the last resort.
	Signal func(env Env) Signal

	// Open connects to the provider. nil: the provider is not linked into this program.
	Open Opener
}

// An Opener makes the provider that a signal promised. It reads the environment through env, as the signal did.
type Opener func(ctx context.Context, env Env) (Provider, error)

// A Signal is what a probe saw.
type Signal struct {
	Present bool   // the platform says that this provider is meant to be used
	Detail  string // what was seen, or what is missing, with no secret value in it
	Err     error  // the signal is present and cannot be right
}

// A Finding is the account of one probe: what it saw and what became of it. Findings hold no secret.
type Finding struct {
	Name    string `json:"name"`
	Present bool   `json:"present"`
	Signal  string `json:"signal"`
	Chosen  bool   `json:"chosen"`
	Why     string `json:"why"`
}

// Errors of [Detect]. All of them stop the program's start: there is no fall-through to a weaker identity.
var (
	ErrNone      = errors.New("no identity found")
	ErrNotLinked = errors.New("identity provider not linked into this program")
	ErrBroken    = errors.New("identity signal is present but unusable")
)

// A DetectError is a failure of the probe whose signal decided. It matches [ErrNotLinked], [ErrBroken] or the
// error of the context, and its cause.
type DetectError struct {
	Probe  string
	Import string // package that provides it
	Signal string
	Err    error
}

func (e *DetectError) Error() string {
	return fmt.Sprintf("identity %s (%s): %v", e.Probe, e.Signal, e.Err)
}

func (e *DetectError) Unwrap() error { return e.Err }

// Detect opens the provider of the first probe with a signal (SPEC §8 Auto). A signal decides: when its provider
// is not linked, is broken or does not open, Detect returns a [*DetectError] and tries no further, because a
// workload that lost its platform identity must not go on under a lesser one. Without any signal the error is
// [ErrNone].
//
// The findings cover every probe, in order, also on error. Later signals are looked for but not opened.
func Detect(ctx context.Context, env Env, probes ...Probe) (Provider, []Finding, error) {
	findings := make([]Finding, len(probes))
	first, signal := -1, Signal{}
	for i, p := range probes {
		s := p.signal(env)
		findings[i] = Finding{Name: p.Name, Present: s.Present, Signal: s.Detail, Why: "no signal"}
		if s.Present && first < 0 {
			first, signal = i, s
		} else if s.Present {
			findings[i].Why = probes[first].Name + " comes first"
		}
	}
	if first < 0 {
		return nil, findings, fmt.Errorf("%w: set Config.Identity", ErrNone)
	}
	provider, err := probes[first].open(ctx, env, signal)
	if err != nil {
		findings[first].Why = err.Error()
		return nil, findings, &DetectError{
			Probe: probes[first].Name, Import: probes[first].Import, Signal: signal.Detail, Err: err,
		}
	}
	findings[first].Chosen, findings[first].Why = true, "first signal in order"
	return provider, findings, nil
}

func (p Probe) signal(env Env) Signal {
	if p.Signal == nil {
		return Signal{Present: true, Detail: "used when no platform gives a signal"}
	}
	s := p.Signal(env)
	s.Present = s.Present || s.Err != nil
	return s
}

func (p Probe) open(ctx context.Context, env Env, signal Signal) (Provider, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.Open == nil {
		return nil, p.notLinked(signal.Err)
	}
	if signal.Err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, signal.Err)
	}
	provider, err := p.Open(ctx, env)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if provider == nil {
		return nil, fmt.Errorf("%w: no provider and no error from %s", ErrBroken, p.Import)
	}
	return provider, nil
}

// notLinked names the import, and also what else is wrong, so that one round of repair is enough.
func (p Probe) notLinked(broken error) error {
	err := fmt.Errorf("%w: add `import %q` and set Config.Identity to its provider, or set Config.Identity to "+
		"another one", ErrNotLinked, p.Import)
	if broken != nil {
		return fmt.Errorf("%w; %w: %w", err, ErrBroken, broken)
	}
	return err
}
