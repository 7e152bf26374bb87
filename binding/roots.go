package binding

import (
	"context"
	"slices"
	"sync"

	"github.com/kest-go/kest/lineage"
)

// AllRoots believes whoever one of the sources believes: a trust domain beside an OpenID provider, or roots from a file
// beside those that a platform gives. When one source fails, so does the answer.
func AllRoots(sources ...lineage.RootSource) lineage.RootSource {
	return &allRoots{sources: slices.Clone(sources)}
}

// allRoots keeps the merged roots as long as no part changes, so that the pointer stays the same.
type allRoots struct {
	sources []lineage.RootSource

	mu     sync.Mutex
	parts  []*lineage.Roots
	merged *lineage.Roots
}

func (a *allRoots) Roots(ctx context.Context, b *lineage.KeyBinding) (*lineage.Roots, error) {
	parts := make([]*lineage.Roots, len(a.sources))
	for i, s := range a.sources {
		var err error
		if parts[i], err = s.Roots(ctx, b); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.merged != nil && slices.Equal(parts, a.parts) {
		return a.merged, nil
	}
	merged, err := lineage.MergeRoots(parts...)
	if err != nil {
		return nil, err
	}
	a.parts, a.merged = parts, merged
	return merged, nil
}
