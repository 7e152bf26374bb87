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
	guard   *Guard
	wrapped []weak.Pointer[function] // functions that were wrapped for the default
	prune   int                      // length of wrapped at which the collected ones are dropped
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
	bound, err := rebind(g)
	if err != nil {
		runtime.GC() // a function that nobody can call any more has no say, collected or not
		if bound, err = rebind(g); err != nil {
			return err
		}
	}
	process.guard = g
	for f, b := range bound {
		f.bound.Store(b)
	}
	return nil
}

// rebind resolves every function that was wrapped for the default against g.
func rebind(g *Guard) (map[*function]*binding, error) {
	bound, errs := map[*function]*binding{}, []error(nil)
	for _, pointer := range process.wrapped {
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
	return bound, errors.Join(errs...)
}

// Reset clears the process default (the guide's clear). Functions wrapped for it stop working until Configure is
// called again.
func Reset() {
	process.Lock()
	defer process.Unlock()
	process.guard = nil
	for _, pointer := range process.wrapped {
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

// followDefault binds f to the process default, now if there is one and whenever it changes.
func followDefault(f *function) error {
	process.Lock()
	defer process.Unlock()
	if process.guard != nil {
		b, err := f.settings.bind(process.guard)
		if err != nil {
			return err
		}
		f.bound.Store(b)
	}
	if len(process.wrapped) >= process.prune { // or a program that wraps as it goes would grow without bound
		process.wrapped = slices.DeleteFunc(process.wrapped, func(p weak.Pointer[function]) bool { return p.Value() == nil })
		process.prune = 2*len(process.wrapped) + 64
	}
	process.wrapped = append(process.wrapped, weak.Make(f))
	return nil
}
