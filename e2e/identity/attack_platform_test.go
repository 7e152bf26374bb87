package identity_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// A pair is gate in front of ledger, where what becomes of gate's identity is under test.
type pair struct {
	gate, ledger *service
	front        string
}

func newPair(t *testing.T, gate *spiffe.Provider, bindings store.Store) *pair {
	t.Helper()
	nonces := memoryStore(t)
	listener, front := must(net.Listen("tcp", "127.0.0.1:0"))(t), must(net.Listen("tcp", "127.0.0.1:0"))(t)
	agent := spiffetest.Start(t, spiffetest.Config{CA: spiffetest.NewCA("ledger.example"), IDs: []string{"spiffe://ledger.example/ledger"}})
	own := must(spiffe.New(t.Context(), spiffe.Config{SocketPath: agent.Addr(), Publish: binding.Publisher(bindings), Logger: quiet}))(t)
	t.Cleanup(func() { own.Close() })
	keys := func(p *spiffe.Provider) *binding.Source {
		return source(t, binding.Config{Roots: binding.AllRoots(gate, own), Own: p, Store: bindings, Leeway: time.Second})
	}
	p := &pair{front: "http://" + front.Addr().String()}
	p.ledger = newService(t, setting{identity: own, keys: keys(own), listener: propagate.Internal, address: listener.Addr().String(), nonces: nonces})
	serve(t, listener, p.ledger.ledger(), nil)
	p.gate = newService(t, setting{identity: gate, keys: keys(gate), listener: propagate.Edge, nonces: nonces})
	serve(t, front, p.gate.gate("http://"+listener.Addr().String()), nil)
	return p
}

// order asks gate once, and says what ran.
func (p *pair) order(t *testing.T) (status int, gate, ledger int64) {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, p.front, strings.NewReader("order")))(t)
	before := [...]int64{p.gate.ran.Load(), p.ledger.arrived.Load()}
	resp := must(caller(t, nil).Do(r))(t)
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, p.gate.ran.Load() - before[0], p.ledger.arrived.Load() - before[1]
}

func (p *pair) served(t *testing.T, when string) {
	t.Helper()
	if status, gate, ledger := p.order(t); status != http.StatusOK || gate != 1 || ledger != 1 {
		t.Errorf("%s: status %d; gate's body ran %d times, %d requests reached the ledger", when, status, gate, ledger)
	}
}

// silent demands that nothing ran and that nothing left, signed or not.
func (p *pair) silent(t *testing.T, when string) {
	t.Helper()
	if status, gate, ledger := p.order(t); status < 500 || gate != 0 || ledger != 0 {
		t.Errorf("%s: status %d; gate's body ran %d times, %d requests reached the ledger", when, status, gate, ledger)
	}
}

// TestRegistrationDeleted: the platform takes gate's identity away. Its next call fails before the body, and nothing reaches
// the ledger. When the platform gives it back, gate goes on with a new key.
func TestRegistrationDeleted(t *testing.T) {
	agent := spiffetest.Start(t, spiffetest.Config{IDs: []string{gateID}})
	bindings := memoryStore(t)
	gate := must(spiffe.New(t.Context(), spiffe.Config{SocketPath: agent.Addr(), Publish: binding.Publisher(bindings), Logger: quiet}))(t)
	t.Cleanup(func() { gate.Close() })
	p := newPair(t, gate, bindings)
	p.served(t, "before")
	held := signerOf(t, gate)
	agent.Revoke()
	until(t, func() bool { _, err := gate.Signer(t.Context()); return err != nil })
	p.silent(t, "revoked")
	if signature, err := held.Sign(t.Context(), []byte("x")); signature != nil || !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("a signer that was handed out before: %d bytes, %v", len(signature), err)
	}
	agent.Grant()
	until(t, func() bool { _, err := gate.Signer(t.Context()); return err == nil })
	p.served(t, "granted again")
	if held.KeyID() == signerOf(t, gate).KeyID() {
		t.Error("the old key is back")
	}
}

// TestPublishDown: gate cannot publish its bindings. At the start there is no key then. In the middle of work the old key is
// used to its end, and after that nothing is signed, until gate can publish again.
func TestPublishDown(t *testing.T) {
	bindings := memoryStore(t)
	broken := &flaky{Store: bindings} // gate's way to it
	agent := spiffetest.Start(t, spiffetest.Config{IDs: []string{gateID}, Lifetime: 4 * time.Second})
	config := spiffe.Config{SocketPath: agent.Addr(), Publish: binding.Publisher(broken), Logger: quiet, Wait: time.Second}
	broken.down.Store(true)
	if p, err := spiffe.New(t.Context(), config); p != nil || !errors.Is(err, identity.ErrNotReady) || !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("at the start: %v, %v", p, err)
	}
	broken.down.Store(false)
	agent.Rotate()
	gate := must(spiffe.New(t.Context(), config))(t)
	t.Cleanup(func() { gate.Close() })
	p := newPair(t, gate, bindings)
	p.served(t, "before")

	broken.down.Store(true)
	key, end := gate.Binding("").KeyID(), gate.Binding("").NotAfter()
	agent.Rotate()
	time.Sleep(time.Until(end.Add(-time.Second)))
	p.served(t, "at the end of the old key")
	if now := gate.Binding("").KeyID(); now != key {
		t.Errorf("gate signs with key %s, which nobody can find", now)
	}
	time.Sleep(time.Until(end))
	p.silent(t, "after the end")

	broken.down.Store(false)
	agent.Rotate()
	until(t, func() bool { _, err := gate.Signer(t.Context()); return err == nil })
	p.served(t, "when it can publish again")
}

// until waits for something that happens soon.
func until(t *testing.T, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}
