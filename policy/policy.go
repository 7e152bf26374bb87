// Package policy is the vocabulary between the guard and the engines that decide: one interface, [Engine],
// and the values that it trades in. The guard asks each configured policy on its own, in four tiers, and only
// a definite allow counts (SPEC §7, F-PE-02…13).
package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxName is the longest policy name in bytes (SPEC §12).
const MaxName = 256

// An Engine evaluates one named policy against one input.
//
// It returns a [Decision] when the policy gave a definite answer, and an error when it could not be asked or
// its answer was not a definite boolean; the error matches one of the sentinels below. The guard treats every
// error as a denial. An implementation must honour ctx, must not keep or change in, and must be safe for
// concurrent use.
type Engine interface {
	Evaluate(ctx context.Context, name string, in *Input) (Decision, error)
}

type trialKey struct{}

// WithTrial marks a question about a policy under trial: its answer stops nothing. Engines decide as ever, and do not look;
// what writes answers down says so. trial false takes the mark away: the guard does so with what application code hands it,
// which could otherwise have the denial of a policy in force written down as one that stopped nothing.
func WithTrial(ctx context.Context, trial bool) context.Context {
	if OnTrial(ctx) == trial {
		return ctx
	}
	return context.WithValue(ctx, trialKey{}, trial)
}

// OnTrial reports whether [WithTrial] marked the question.
func OnTrial(ctx context.Context) bool {
	trial, _ := ctx.Value(trialKey{}).(bool)
	return trial
}

// A Checker is an Engine that can say before the first call that a policy does not exist or is broken. The
// guard asks it when a function is wrapped, so that a misspelt name is a configuration error. Check must not configure
// guards or wrap functions itself: whoever asks may hold their lock.
type Checker interface {
	Check(name string) error
}

// A Decision is a definite answer. The zero value denies.
type Decision struct {
	Allow    bool
	Revision string // of the policy that answered, when the engine knows one
	Reason   string // for people; never needed to understand Allow
}

// Classes of inability to decide. Engines wrap them; all of them deny.
var (
	ErrUnknownPolicy = errors.New("unknown policy")
	ErrUnavailable   = errors.New("policy engine unavailable")
	ErrIndefinite    = errors.New("policy gave no definite answer")
)

// A Tier says who configured a policy. Tiers are evaluated in the order of [Order].
type Tier string

// The four tiers (F-PE-03).
const (
	Enterprise  Tier = "enterprise"
	Platform    Tier = "platform"
	Application Tier = "application"
	Function    Tier = "function"
)

// Order lists the tiers in the order in which they are evaluated.
func Order() [4]Tier { return [4]Tier{Enterprise, Platform, Application, Function} }

// Tiers are the policy names that apply to a call, by tier.
type Tiers struct {
	Enterprise, Platform, Application, Function []string
}

// Names returns the policies of one tier, in the order in which they were configured.
func (t Tiers) Names(tier Tier) []string {
	switch tier {
	case Enterprise:
		return t.Enterprise
	case Platform:
		return t.Platform
	case Application:
		return t.Application
	case Function:
		return t.Function
	}
	return nil
}

// Validate reports every name that no engine could be asked for, and every name that stands twice in a tier.
func (t Tiers) Validate() error {
	var errs []error
	for _, tier := range Order() {
		names := t.Names(tier)
		for i, name := range names {
			if err := ValidateName(name); err != nil {
				errs = append(errs, fmt.Errorf("%s policy: %w", tier, err))
			} else if slices.Contains(names[:i], name) {
				errs = append(errs, fmt.Errorf("%s policy %q is listed twice", tier, name))
			}
		}
	}
	return errors.Join(errs...)
}

// ValidateName accepts names of one or more segments of [A-Za-z0-9_.-] joined by "/", at most [MaxName] bytes.
// Segments "." and ".." are refused, so a name can become a URL or file path without traversal (SPEC §7).
func ValidateName(name string) error {
	if name == "" {
		return errors.New("empty policy name")
	}
	if len(name) > MaxName {
		return fmt.Errorf("policy name of %d bytes is longer than %d", len(name), MaxName)
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fmt.Errorf("policy name %q has an empty or relative segment", name)
		}
		for _, c := range []byte(segment) {
			if !nameByte(c) {
				return fmt.Errorf("policy name %q: only letters, digits, '_', '.', '-' and '/' are allowed", name)
			}
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
}
