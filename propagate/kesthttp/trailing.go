package kesthttp

import (
	"errors"
	"io"
	"sync"
	"time"
)

// Bounds of what closing a body waits for, so that decoders that stop at the last byte that they need do not miss the
// trailer behind it.
const (
	drainBytes = 64 << 10
	drainTime  = 100 * time.Millisecond
)

// trailing is a body whose trailer brings lineage.
type trailing struct {
	io.ReadCloser
	learn func() error // from the trailer, or its absence

	mu   sync.Mutex // held while somebody reads
	done bool
	err  error // of learn
}

func (b *trailing) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	if lost := b.settle(); errors.Is(err, io.EOF) && lost != nil {
		err = lost
	}
	return n, err
}

// settle learns once. mu is held.
func (b *trailing) settle() error {
	if !b.done {
		b.done, b.err = true, b.learn()
	}
	return b.err
}

// Close waits a moment for the end. The error is that of the lineage, or else that of the body.
func (b *trailing) Close() error {
	ended := make(chan struct{})
	go func() { // also behind another goroutine that reads
		defer close(ended)
		_, _ = io.CopyN(io.Discard, b, drainBytes) // an error ends it as well
	}()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	err := b.ReadCloser.Close() // ends all reading
	<-ended
	b.mu.Lock()
	defer b.mu.Unlock()
	if lost := b.settle(); lost != nil {
		return lost
	}
	return err
}
