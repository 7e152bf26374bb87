package redis_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/redis"
	"github.com/kest-go/kest/store/storetest"
)

// SPEC §9 "Claim-check store interface", against a real server that is killed and stopped on the way.
func TestContract(t *testing.T) {
	s := serve(t)
	config := s.config()
	config.Prefix = "team-a:"
	config.Timeout = 2 * time.Second // also what a stalled server takes
	storetest.TestStore(t, storetest.Harness{
		New:    func(t *testing.T) store.Store { return open(t, config) },
		Second: func(t *testing.T) store.Store { return open(t, config) },
		Down: func(*testing.T) func() {
			s.kill()
			return s.start
		},
		Stall: func(*testing.T) func() {
			s.signal(syscall.SIGSTOP)
			return func() { s.signal(syscall.SIGCONT) }
		},
		TTL:  500 * time.Millisecond,
		Late: time.Second,
	})
}

// A smaller MaxValue is kept on both sides.
func TestContractSmall(t *testing.T) {
	config := serve(t).config()
	config.MaxValue = 1000
	storetest.TestStore(t, storetest.Harness{
		New:    func(t *testing.T) store.Store { return open(t, config) },
		Second: func(t *testing.T) store.Store { return open(t, config) },
		Unsupported: map[string]string{
			storetest.NeedsDown: "TestContract does it", storetest.NeedsStall: "TestContract does it",
		},
		MaxValue: 1000, TTL: 200 * time.Millisecond,
	})
}

var _ store.Store = (*redis.Store)(nil)
