package kest

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
)

// Verified wraps fn with the full lifecycle; see the package documentation. With a nil guard the function follows
// the process default, see [Configure].
//
// Everything wrong with the options is reported here in one [*ConfigError]. The result is safe for concurrent use
// if fn is. In must encode to JSON, unless [NoInputHash] or [InputDigestFrom] is given; use struct{} when there
// is no argument. Argument and result are encoded outside fn: nothing may change what they refer to meanwhile.
func Verified[In, Out any](g *Guard, fn func(context.Context, In) (Out, error), options ...Option) (func(context.Context, In) (Out, error), error) {
	if fn == nil {
		return nil, &ConfigError{Subject: "Verified", Problems: []error{errors.New("nil function")}}
	}
	f, err := wrap(g, fn, reflect.TypeFor[In](), options)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, in In) (Out, error) {
		c, err := f.begin(ctx, in)
		if err != nil {
			var none Out
			return none, err
		}
		defer c.finish() // also when the body panics: the panic is recorded and goes on
		out, err := fn(c.ctx, in)
		c.returned(out, err)
		return out, err
	}, nil
}

// MustVerified is [Verified] for package-level variables: it panics on a configuration mistake.
func MustVerified[In, Out any](g *Guard, fn func(context.Context, In) (Out, error), options ...Option) func(context.Context, In) (Out, error) {
	f, err := Verified(g, fn, options...)
	if err != nil {
		panic(err)
	}
	return f
}

// function is a wrapped function: its options, and what they mean under the guard in force.
type function struct {
	settings settings
	bound    atomic.Pointer[binding]
}

func wrap(g *Guard, fn any, input reflect.Type, options []Option) (*function, error) {
	f := &function{settings: settings{input: input, classification: "system"}}
	s := &f.settings
	for i, option := range options {
		if option == nil {
			s.problem("option %d is nil", i)
			continue
		}
		option(s)
	}
	if s.operation == "" {
		name, err := operationOf(fn)
		if err != nil {
			s.problems = append(s.problems, err)
			name = "Verified"
		}
		s.operation = name
	}
	s.check()
	if g == nil && len(s.problems) > 0 {
		return nil, &ConfigError{Subject: s.operation, Problems: s.problems}
	}
	if err := follow(g, f); err != nil {
		return nil, err
	}
	return f, nil
}
