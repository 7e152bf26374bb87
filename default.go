package kest

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"weak"
)

// The process default is for programs that follow the guide. Everything else takes a Guard explicitly.
var process struct {
	sync.RWMutex
	guard     *Guard
	functions followers // that were wrapped for the default
}

// followers are functions that are bound anew when the configuration changes. Whoever uses them holds the lock of the
// process.
type followers struct {
	wrapped []weak.Pointer[function]
	prune   int // length of wrapped at which the collected ones are dropped
}

func (l *followers) add(f *function) {
	if len(l.wrapped) >= l.prune { // or a program that wraps as it goes would grow without bound
		l.wrapped = slices.DeleteFunc(l.wrapped, func(p weak.Pointer[function]) bool { return p.Value() == nil })
		l.prune = 2*len(l.wrapped) + 64
	}
	l.wrapped = append(l.wrapped, weak.Make(f))
}

// Configure sets the process default, which functions wrapped with a nil guard use (F-GC-01). It validates
// everything at once: the configuration, and every function that was wrapped for the default before; on an error
// the previous default stays.
func Configure(c Config) error {
	g, err := New(c)
	if err != nil {
		return err
	}
	process.Lock()
	defer process.Unlock()
	bound, err := rebind(g.current.Load(), &process.functions)
	if err != nil {
		return err
	}
	process.guard = g
	bound.install()
	return nil
}

// bindings are what functions become when a new configuration is installed.
type bindings map[*function]*binding

func (b bindings) install() {
	for f, next := range b {
		f.bound.Store(next)
	}
}

// rebind resolves functions against a configuration. One that nobody can call any more has no say, collected or not.
func rebind(g *core, lists ...*followers) (bindings, error) {
	bound, err := resolveAll(g, lists)
	if err != nil {
		runtime.GC()
		bound, err = resolveAll(g, lists)
	}
	return bound, err
}

func resolveAll(g *core, lists []*followers) (bindings, error) {
	bound, errs := bindings{}, []error(nil)
	for _, list := range lists {
		for _, pointer := range list.wrapped {
			f := pointer.Value()
			if f == nil {
				continue
			}
			b, err := f.settings.bind(g)
			if err != nil {
				errs = append(errs, err)
			}
			bound[f] = b
		}
	}
	return bound, errors.Join(errs...)
}

// Reset clears the process default (the guide's clear). Functions wrapped for it stop working until Configure is
// called again.
func Reset() {
	process.Lock()
	defer process.Unlock()
	process.guard = nil
	for _, pointer := range process.functions.wrapped {
		if f := pointer.Value(); f != nil {
			f.bound.Store(nil)
		}
	}
}

// Default returns the guard that [Configure] set, nil when there is none.
func Default() *Guard {
	process.RLock()
	defer process.RUnlock()
	return process.guard
}

// follow binds f to a guard, or to the process default when g is nil: now if there is one, and whenever it changes.
func follow(g *Guard, f *function) error {
	process.Lock()
	defer process.Unlock()
	list := &process.functions
	if g == nil {
		g = process.guard
	} else {
		list = &g.functions
	}
	if g != nil && g.current.Load() == nil {
		return &ConfigError{Subject: f.settings.operation, Problems: []error{errors.New("the guard is a zero value; make one with kest.New")}}
	}
	if g != nil {
		b, err := f.settings.bind(g.current.Load())
		if err != nil {
			return err
		}
		f.bound.Store(b)
	}
	list.add(f)
	return nil
}
