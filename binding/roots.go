package binding

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kest-go/kest/lineage"
)

// AllRoots believes whoever one of the sources believes: a trust domain beside an OpenID provider, or roots from a file
// beside those that a platform gives. When one source fails, so does the answer. It is safe for concurrent use.
// What they say of one OpenID provider stays apart, as [lineage.MergeRoots] has it.
func AllRoots(sources ...lineage.RootSource) lineage.RootSource {
	return &allRoots{sources: slices.Clone(sources)}
}

// allRoots keeps the merged roots as long as no part changes, so that the pointer stays the same.
type allRoots struct {
	sources []lineage.RootSource
	last    atomic.Pointer[mergedRoots]
	merging sync.Mutex
}

type mergedRoots struct {
	parts []*lineage.Roots
	all   *lineage.Roots
}

func (a *allRoots) Roots(ctx context.Context, b *lineage.KeyBinding) (*lineage.Roots, error) {
	last := a.last.Load()
	if last == nil {
		last = &mergedRoots{parts: make([]*lineage.Roots, len(a.sources))}
	}
	parts := last.parts // copied when one has changed; no lock is held while others think
	for i, s := range a.sources {
		if s == nil {
			return nil, fmt.Errorf("source %d of AllRoots is nil", i)
		}
		part, err := s.Roots(ctx, b)
		if err != nil {
			return nil, err
		}
		if part != parts[i] {
			if &parts[0] == &last.parts[0] {
				parts = slices.Clone(parts)
			}
			parts[i] = part
		}
	}
	if last.all != nil && slices.Equal(parts, last.parts) {
		return last.all, nil
	}
	return a.merge(parts)
}

// merge has one goroutine merge for all that saw the same change.
func (a *allRoots) merge(parts []*lineage.Roots) (*lineage.Roots, error) {
	a.merging.Lock()
	defer a.merging.Unlock()
	if last := a.last.Load(); last != nil && slices.Equal(parts, last.parts) {
		return last.all, nil
	}
	all, err := lineage.MergeRoots(parts...)
	if err == nil {
		a.last.Store(&mergedRoots{parts, all})
	}
	return all, err
}
