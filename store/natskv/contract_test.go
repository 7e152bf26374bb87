package natskv_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/natskv"
	"github.com/kest-go/kest/store/storetest"
)

// late is how late the server may notice that a time is over: it looks about once a second.
const late = 3 * time.Second

// SPEC §9 "Claim-check store interface", against a real server that is shut down and goes silent on the way.
func TestContract(t *testing.T) {
	p := serve(t, func(o *server.Options) { o.MaxPayload, o.MaxPending = 8<<20, 64<<20 })
	between := newProxy(t, p.addr())
	config := natskv.Config{Bucket: "kest", Timeout: 3 * time.Second}
	storetest.TestStore(t, storetest.Harness{
		New:    func(t *testing.T) store.Store { return open(t, between.addr, config) },
		Second: func(t *testing.T) store.Store { return open(t, between.addr, config) },
		Down: func(*testing.T) func() {
			p.stop()
			return p.start
		},
		Stall: func(*testing.T) func() {
			between.silence(true)
			return func() { between.silence(false) }
		},
		Late: late,
	})
}

// A server as it comes takes messages of 1 MiB, and MaxValue is less.
func TestContractDefaults(t *testing.T) {
	p := serve(t)
	storetest.TestStore(t, storetest.Harness{
		New:    func(t *testing.T) store.Store { return open(t, p.addr(), natskv.Config{}) },
		Second: func(t *testing.T) store.Store { return open(t, p.addr(), natskv.Config{}) },
		Unsupported: map[string]string{
			storetest.NeedsDown: "TestContract does it", storetest.NeedsStall: "TestContract does it",
		},
		MaxValue: 1<<20 - 2<<10, Late: late,
	})
}
