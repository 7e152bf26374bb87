package lineage

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// signatures is checks 3 and 4. It returns the failure with the lowest index, or an error when ctx ended.
func (r *run) signatures(entries []*seenEntry) (*VerifyError, error) {
	var failure *VerifyError
	for i, s := range entries {
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		if s.signed.key != nil {
			continue // verified before, and the key is still valid
		}
		if failure = r.keys(s); failure != nil {
			if err := r.ctx.Err(); err != nil {
				return nil, err
			}
			failure.Index, failure.EntryID = r.prefix.Len()+i, s.signed.entry.ID
			entries = entries[:i]
			break
		}
	}
	bad, err := r.v.verifySignatures(r.ctx, entries)
	if err != nil {
		return nil, err
	}
	if bad >= 0 {
		failure = &VerifyError{Reason: BadSignature, Index: r.prefix.Len() + bad, EntryID: entries[bad].signed.entry.ID,
			Detail: fmt.Sprintf("no key of %q matches the signature", clip(entries[bad].signed.entry.Principal()))}
	}
	return failure, nil
}

// keys is check 3: the key comes from the key source, by the principal that the entry names.
func (r *run) keys(s *seenEntry) *VerifyError {
	principal := s.signed.entry.Principal()
	keys, err := r.v.config.Keys.Keys(r.ctx, principal, s.signed.keyID)
	if err != nil {
		return &VerifyError{Reason: UnknownKey, Detail: fmt.Sprintf("keys of %q: %v", clip(principal), err), Err: err}
	}
	if len(keys) == 0 {
		return &VerifyError{Reason: UnknownKey,
			Detail: fmt.Sprintf("no key %q is known for principal %q", clip(s.signed.keyID), clip(principal))}
	}
	if len(keys) > maxKeys {
		return &VerifyError{Reason: Limit, Err: ErrLimit, Detail: fmt.Sprintf("%d keys match; at most %d are tried", len(keys), maxKeys)}
	}
	for _, key := range keys {
		if err := CheckKey(key); err != nil { // a key source that admits weak keys must not weaken the verifier
			return &VerifyError{Reason: UnknownKey, Detail: err.Error(), Err: err}
		}
	}
	s.keys = keys
	return nil
}

// chunk is how many signatures one worker takes at a time: enough for a batch to pay, small enough to notice the
// end of the context within a few milliseconds.
const chunk = 64

// verifySignatures checks what has candidate keys and returns the index of the first bad entry, or -1.
func (v *Verifier) verifySignatures(ctx context.Context, entries []*seenEntry) (bad int, err error) {
	var todo []int
	for i, s := range entries {
		if s.signed.key == nil {
			todo = append(todo, i)
		}
	}
	size := min(chunk, max(1, (len(todo)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0)))
	chunks := slices.Collect(slices.Chunk(todo, size))
	var next, first atomic.Int64
	first.Store(int64(len(entries)))
	work := func() {
		for ctx.Err() == nil {
			n := int(next.Add(1)) - 1
			if n >= len(chunks) || int64(chunks[n][0]) > first.Load() {
				return // chunks are in order, so everything left comes after a known failure
			}
			for _, i := range v.verifyChunk(entries, chunks[n]) {
				lower(&first, int64(i))
			}
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(chunks)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	if n := int(first.Load()); n < len(entries) {
		return n, nil
	}
	return -1, nil
}

func lower(v *atomic.Int64, to int64) {
	for old := v.Load(); to < old; old = v.Load() {
		if v.CompareAndSwap(old, to) {
			return
		}
	}
}

// verifyChunk checks some entries and returns the indices of those that no key verifies. Each entry is first
// tried with its first key, in bulk when there is a batch verifier; further keys are rare (an entry without kid).
func (v *Verifier) verifyChunk(entries []*seenEntry, indices []int) (bad []int) {
	ok := make([]bool, len(indices))
	if v.config.Batch != nil {
		keys := make([]ed25519.PublicKey, len(indices))
		messages, signatures := make([][]byte, len(indices)), make([][]byte, len(indices))
		for n, i := range indices {
			s := entries[i]
			keys[n], messages[n], signatures[n] = s.keys[0], s.input, s.signature
		}
		v.config.Batch.VerifyBatch(keys, messages, signatures, ok)
	}
	for n, i := range indices {
		s := entries[i]
		if ok[n] {
			s.signed.key = s.keys[0]
			continue
		}
		if key := verifyAny(s); key != nil {
			s.signed.key = key
			continue
		}
		bad = append(bad, i)
	}
	return bad
}

// verifyAny asks the standard library, which has the last word.
func verifyAny(s *seenEntry) ed25519.PublicKey {
	for _, key := range s.keys {
		if ed25519.Verify(key, s.input, s.signature) {
			return key
		}
	}
	return nil
}
