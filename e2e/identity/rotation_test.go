package identity_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

const (
	gateID   = "spiffe://example.org/gate"
	ledgerID = "spiffe://example.org/ledger"
)

// TestRotationUnderLoad gives two services SPIFFE identities that change every second, and puts load on them, over mutual
// TLS, with hop proofs and return lineage: every entry verifies live. Afterwards everything has expired and the authority
// is gone: the archive still shows that every entry is good, and refuses what was forged late with a stolen key.
// KEST_ROTATION is how long the load lasts, by default 3 s.
func TestRotationUnderLoad(t *testing.T) {
	length := 3 * time.Second
	if text := os.Getenv("KEST_ROTATION"); text != "" {
		length = must(time.ParseDuration(text))(t)
	}
	const lifetime = 4 * time.Second
	ca := spiffetest.NewCA("example.org")
	bindings, nonces, archive := memoryStore(t), memoryStore(t), &binding.Archive{}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	var agents []func() // ends them
	start := func(id string) (*spiffe.Provider, *binding.Source) {
		agent := spiffetest.Start(t, spiffetest.Config{CA: ca, IDs: []string{id}, Lifetime: lifetime})
		p := must(spiffe.New(t.Context(), spiffe.Config{SocketPath: agent.Addr(), Publish: binding.Publisher(bindings), Logger: quiet}))(t)
		t.Cleanup(func() { p.Close() })
		stop := agent.RotateEvery(time.Second)
		t.Cleanup(stop)
		agents = append(agents, func() { stop(); agent.Stop() })
		return p, source(t, binding.Config{Roots: p, Own: p, Store: bindings, Leeway: time.Second, OnVerified: archive.Add})
	}
	gateIdentity, gateKeys := start(gateID)
	ledgerIdentity, ledgerKeys := start(ledgerID)
	authorizer := tlsconfig.AuthorizeMemberOf(spiffeid.RequireTrustDomainFromString("example.org"))

	ledger := newService(t, setting{identity: ledgerIdentity, keys: ledgerKeys, bindings: ledgerKeys.Bindings, listener: propagate.Internal,
		address: listener.Addr().String(), nonces: nonces, requirePeer: true, peer: spiffe.PeerID})
	serve(t, listener, ledger.ledger(), spiffe.ServerTLS(ledgerIdentity, authorizer))
	gate := newService(t, setting{identity: gateIdentity, keys: gateKeys, bindings: gateKeys.Bindings, listener: propagate.Edge, nonces: nonces,
		client: spiffe.ClientTLS(gateIdentity, authorizer)})
	front := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	serve(t, front, gate.gate("https://"+listener.Addr().String()), nil)

	trail := load(t, length, "http://"+front.Addr().String(), gate.verifier, archive)
	stolen := steal(t, ca, archive, lifetime)
	intime := stolen.sign(t, time.Now())
	archive.Observe(lineage.HashJWS(intime.Entries[0]), time.Now())
	if err := archive.AddRoots(must(gateIdentity.Roots(t.Context(), nil))(t)); err != nil {
		t.Fatal(err)
	}

	for _, end := range agents {
		end()
	}
	ca.Destroy()
	time.Sleep(time.Until(stolen.end.Add(2 * time.Second))) // all that there is has ended, leeway included
	if _, _, err := gate.verifier.Verify(t.Context(), trail[0]); !errors.Is(err, lineage.ErrUnverified) {
		t.Errorf("live, after the end: %v", err)
	}
	if _, err := gateIdentity.Signer(t.Context()); err == nil {
		t.Error("an identity that has ended still signs")
	}
	audit(t, archive, trail, intime)
	stolen.forge(t, archive)
}

// load orders for a while and verifies everything. It returns what it got.
func load(t *testing.T, length time.Duration, gate string, verifier *lineage.Verifier, archive *binding.Archive) []lineage.Unverified {
	t.Helper()
	var mu sync.Mutex
	var trail []lineage.Unverified
	var orders, faults atomic.Int64
	keys := map[string]bool{}
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				orders.Add(1)
				u, err := pay(t.Context(), client, gate)
				var p lineage.Passport
				if err == nil {
					p, _, err = verifier.Verify(t.Context(), u)
				}
				if err == nil {
					err = twoEntries(p, gateID, ledgerID)
				}
				if err != nil {
					if faults.Add(1) < 5 {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				trail = append(trail, u)
				for _, s := range p.All() {
					keys[s.KeyID()] = true
					archive.Observe(s.Hash(), time.Now())
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d orders in %s, %d faults, %d session keys", orders.Load(), length, faults.Load(), len(keys))
	if len(trail) == 0 || faults.Load() > 0 || len(keys) < 2*int(length/time.Second)*3/4 { // a busy machine may skip some
		t.Fatalf("%d verified, %d faults, %d keys", len(trail), faults.Load(), len(keys))
	}
	return trail
}

// audit reads the archive as an auditor does, from its text, and demands that everything verifies.
func audit(t *testing.T, archive *binding.Archive, trail []lineage.Unverified, more ...lineage.Unverified) {
	t.Helper()
	verifier := auditor(t, archive, binding.AuditConfig{Leeway: time.Second, RequireObserved: true})
	for i, u := range append(trail, more...) {
		_, report, err := verifier.Verify(t.Context(), u)
		if err != nil {
			t.Fatalf("passport %d of %d in audit mode: %v", i, len(trail), err)
		}
		for _, e := range report.Entries() {
			if e.Key == nil || e.Key.Form != lineage.FormX509 || e.Key.Time != binding.EvidenceObserved {
				t.Fatalf("passport %d: entry %d: %+v", i, e.Index, e.Key)
			}
		}
	}
}

func auditor(t *testing.T, archive *binding.Archive, c binding.AuditConfig) *lineage.Verifier {
	t.Helper()
	text := must(archive.AppendJSON(nil))(t)
	read := must(binding.ParseArchive(text))(t)
	return must(lineage.NewVerifier(lineage.VerifierConfig{Keys: must(read.Source(c))(t)}))(t)
}

// theft is a session key of the gate that an attacker has got hold of.
type theft struct {
	signer lineage.Signer
	end    time.Time
}

func steal(t *testing.T, ca *spiffetest.CA, archive *binding.Archive, lifetime time.Duration) theft {
	t.Helper()
	chain, key := ca.Mint(spiffetest.Leaf{ID: gateID, Lifetime: lifetime})
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b := must(lineage.Certify(t.Context(), lineage.Statement{Principal: gateID, Key: public, NotBefore: now, NotAfter: now.Add(lifetime)},
		lineage.StatementKey{Public: key.Public(), Chain: chain, Sign: func(_ context.Context, input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			return key.Sign(rand.Reader, digest[:], crypto.SHA256)
		}}))(t)
	archive.Add(b)
	return theft{must(lineage.NewSigner(gateID, private))(t), b.NotAfter()}
}

// sign makes an entry that says that it was signed at a time.
func (s theft) sign(t *testing.T, at time.Time) lineage.Unverified {
	t.Helper()
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "test"}, ID: "0199f0a5-8a11-7c31-8000-" + at.UTC().Format("150405.00000")[:6] + "000000",
		Operation: "gate.pay", Classification: "system", TrustScore: 100, TimestampMS: at.UnixMilli(),
		Labels: map[string]string{lineage.LabelPrincipal: gateID, lineage.LabelTraceID: "4bf92f3577b34da6a3ce929d0e0e4736", lineage.LabelSourceType: lineage.SourceInternal},
	}
	signed := must(lineage.Sign(t.Context(), s.signer, e, lineage.Limits{}))(t)
	return lineage.Unverified{Entries: []string{signed.JWS()}}
}

// forge signs with the stolen key after its end.
func (s theft) forge(t *testing.T, archive *binding.Archive) {
	t.Helper()
	late, dated := s.sign(t, time.Now()), s.sign(t, s.end.Add(-time.Second))
	lenient, strict := binding.AuditConfig{Leeway: time.Second}, binding.AuditConfig{Leeway: time.Second, RequireObserved: true}
	refused := func(name string, c binding.AuditConfig, u lineage.Unverified) {
		t.Helper()
		_, _, err := auditor(t, archive, c).Verify(t.Context(), u)
		var failure *lineage.VerifyError
		if !errors.As(err, &failure) || failure.Reason != lineage.Uncertified {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("late, by its own word", lenient, late)
	refused("dated back, and the archive never saw it", strict, dated)
	// Nobody can tell this one apart without observations; the report says whose word the time is.
	_, report, err := auditor(t, archive, lenient).Verify(t.Context(), dated)
	if err != nil || report.Entries()[0].Key.Time != binding.EvidenceSigner {
		t.Errorf("dated back, without observations: %v", err)
	}
	archive.Observe(lineage.HashJWS(dated.Entries[0]), time.Now())
	archive.Observe(lineage.HashJWS(late.Entries[0]), time.Now())
	refused("dated back, seen late", lenient, dated)
	refused("late, seen late", lenient, late)
}
