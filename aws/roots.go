package aws

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// trust is what a workload believes of its own bindings. The zero value believes nothing.
type trust struct {
	mu    sync.Mutex
	keys  []lineage.KMSRoot // the latest last
	roots atomic.Pointer[lineage.Roots]
}

// maxKeys bounds the keys that are remembered. More would have to be the target of one alias within one session.
const maxKeys = 8

// add makes k the latest key. The roots change only when the key does.
func (t *trust) add(k *key, principal string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.keys); n > 0 && t.keys[n-1].Key.ID == k.arn {
		return nil
	}
	keys := slices.DeleteFunc(slices.Clone(t.keys), func(r lineage.KMSRoot) bool { return r.Key.ID == k.arn })
	keys = append(keys, lineage.KMSRoot{Key: k.root(), Principals: []string{principal}})
	keys = keys[max(0, len(keys)-maxKeys):]
	roots, err := lineage.NewRoots(lineage.RootsConfig{KMS: keys})
	if err != nil {
		return err
	}
	t.keys = keys
	t.roots.Store(roots)
	return nil
}

// Root fetches the public half of a KMS key, for [lineage.RootsConfig], so that a verifier believes the bindings which
// that key signed for those principals (exact, or a prefix that ends in "*"). Of the configuration it uses KeyID,
// AWSConfig and Timeout; credentials need kms:GetPublicKey only. It asks once: whoever keeps the answer need not ask
// again, since the public half of a KMS key never changes.
func Root(ctx context.Context, c Config, principals ...string) (lineage.KMSRoot, error) {
	c, err := c.complete(identity.OSEnv())
	if err != nil {
		return lineage.KMSRoot{}, err
	}
	w, err := connect(ctx, c)
	if err != nil {
		return lineage.KMSRoot{}, fmt.Errorf("aws root: %w", err)
	}
	k, err := w.key(ctx)
	if err != nil {
		return lineage.KMSRoot{}, fmt.Errorf("aws root: %w", err)
	}
	root := lineage.KMSRoot{Key: k.root(), Principals: slices.Clone(principals)}
	if _, err := lineage.NewRoots(lineage.RootsConfig{KMS: []lineage.KMSRoot{root}}); err != nil {
		return lineage.KMSRoot{}, fmt.Errorf("aws root: %w", err) // no principals, or patterns that are none
	}
	return root, nil
}
