package spiffe_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
)

const workload = "spiffe://example.org/workload"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is a logger that tests can read.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *journal) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *journal) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start opens a provider of the server, and closes it with the test.
func start(tb testing.TB, s *spiffetest.Server, config spiffe.Config) *spiffe.Provider {
	tb.Helper()
	p, err := try(tb, s, config)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func try(tb testing.TB, s *spiffetest.Server, config spiffe.Config) (*spiffe.Provider, error) {
	tb.Helper()
	if config.SocketPath == "" {
		config.SocketPath = s.Addr()
	}
	if config.Logger == nil {
		config.Logger = quiet()
	}
	p, err := spiffe.New(context.Background(), config)
	if err == nil {
		tb.Cleanup(func() {
			if err := p.Close(); err != nil {
				tb.Error(err)
			}
		})
	}
	return p, err
}

// publicKey learns a key as a verifier does: from the binding, which it believes because of the roots.
func publicKey(p *spiffe.Provider, roots *lineage.Roots, keyID string) (ed25519.PublicKey, error) {
	b := p.Binding(keyID)
	if b == nil {
		return nil, fmt.Errorf("key %s has no binding", keyID)
	}
	b, err := lineage.ParseBinding(b.Text())
	if err != nil {
		return nil, err
	}
	k, err := b.Verify(time.Now(), 0, roots)
	if err != nil {
		return nil, err
	}
	return k.Key, nil
}

// signed signs with the provider and checks the signature as a verifier does.
func signed(p *spiffe.Provider, roots *lineage.Roots) (keyID string, err error) {
	s, err := p.Signer(context.Background())
	if err != nil {
		return "", err
	}
	message := []byte("message for " + s.KeyID())
	signature, err := s.Sign(context.Background(), message)
	if err != nil {
		return "", err
	}
	key, err := publicKey(p, roots, s.KeyID())
	if err != nil {
		return "", err
	}
	if !ed25519.Verify(key, message, signature) {
		return "", errors.New("the signature does not verify")
	}
	return s.KeyID(), nil
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in 20 s: not %s", what)
		}
	}
}

// newKey rotates and waits for the next session key.
func newKey(t *testing.T, p *spiffe.Provider, rotate func()) {
	t.Helper()
	before := p.Binding("")
	rotate()
	eventually(t, "another key", func() bool { return p.Binding("") != before })
}

// signsNot fails when there is a signer that signs, and returns the error otherwise.
func signsNot(t *testing.T, p *spiffe.Provider) error {
	t.Helper()
	s, err := p.Signer(context.Background())
	if err == nil {
		_, err = s.Sign(context.Background(), []byte("m"))
	}
	if err == nil {
		t.Fatal("it signs")
	}
	return err
}

func wants(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// sample is an entry as a guard writes it.
func sample(principal string) lineage.Entry {
	return lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "v0.1.0"}, ID: "0199f0a5-8a11-7c31-9d2e-4f6b1c0a9e57",
		Operation: "payments.Transfer", Classification: "system", TrustScore: 100,
		Labels: map[string]string{
			lineage.LabelPrincipal: principal, lineage.LabelSourceType: lineage.SourceInternal,
			lineage.LabelTraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		},
		Policies:    lineage.PolicyContext{Function: []string{"kest/allow_trusted"}},
		TimestampMS: 1795000000000,
	}
}

func decode(segment string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(segment) }

// believes reports whether the roots of p hold the authority of ca.
func believes(p lineage.RootSource, ca *spiffetest.CA) bool {
	roots, err := p.Roots(context.Background(), nil)
	if err != nil {
		return false
	}
	text, err := roots.AppendJSON(nil)
	return err == nil && strings.Contains(string(text), base64.StdEncoding.EncodeToString(ca.X509()[0].Raw))
}

// workloadSVID has the server serve an SVID of its own authority.
func workloadSVID(s *spiffetest.Server, l spiffetest.Leaf) {
	chain, key := s.CA.Mint(l)
	serve(s, spiffetest.Message(workload, chain, key, s.CA.X509()))
}
