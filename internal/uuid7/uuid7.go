// Package uuid7 makes UUIDs of version 7 (RFC 9562 §5.7) that are strictly monotonic within a process.
package uuid7

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"
)

// A Source makes ids. The zero value is ready; it is safe for concurrent use.
type Source struct {
	mu   sync.Mutex
	last uint64 // milliseconds << 12 | counter, of the last id
	pool [512]byte
	left int // unused random bytes at the end of pool
}

// New returns the lower-case text form of a fresh id for the time now. When the clock stands still or goes back,
// the id counts on from the last one (RFC 9562 §6.2, method 1 with a 12-bit counter that may carry into the
// time), so ids stay ordered and their time is never evidence.
func (s *Source) New(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := uint64(max(0, now.UnixMilli()))<<12 | uint64(binary.BigEndian.Uint16(s.random(2))&0x07ff) // §6.2: top counter bit 0
	if next <= s.last {
		next = s.last + 1
	}
	s.last = next

	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], next>>12<<16|0x7000|next&0x0fff)
	copy(id[8:], s.random(8))
	id[8] = id[8]&0x3f | 0x80
	return format(id)
}

// Random fills p with fresh random bytes, from the same pool.
func (s *Source) Random(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		n := copy(p, s.random(min(len(p), len(s.pool))))
		p = p[n:]
	}
}

// random returns n fresh random bytes, valid until the next call. Reading many at once saves system calls.
func (s *Source) random(n int) []byte {
	if s.left < n {
		rand.Read(s.pool[:]) // never fails since Go 1.24
		s.left = len(s.pool)
	}
	b := s.pool[len(s.pool)-s.left:][:n]
	s.left -= n
	return b
}

func format(id [16]byte) string {
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
