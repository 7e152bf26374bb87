package binding_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/memory"
)

const (
	shop = "spiffe://example.org/shop"
	pay  = "spiffe://example.org/pay"
)

var quiet = slog.New(slog.DiscardHandler)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A ca is the authority of trust domain example.org, or an intermediate of one.
type ca struct {
	t      testing.TB
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	before []*x509.Certificate // up to the root, without it
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
}

func newCA(t testing.TB) *ca {
	t.Helper()
	return caFor(t, time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour), newKey(t))
}

func caFor(t testing.TB, from, to time.Time, key *ecdsa.PrivateKey) *ca {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	c := &ca{t: t, cert: template, key: key}
	c.cert = c.issue(template, key.Public())
	return c
}

func (c *ca) issue(template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	c.t.Helper()
	der := must(x509.CreateCertificate(rand.Reader, template, c.cert, public, c.key))(c.t)
	return must(x509.ParseCertificate(der))(c.t)
}

// intermediate is an authority under c.
func (c *ca) intermediate(from, to time.Time) *ca {
	c.t.Helper()
	key := newKey(c.t)
	cert := c.issue(&x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "middle"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, key.Public())
	return &ca{t: c.t, cert: cert, key: key, before: append([]*x509.Certificate{cert}, c.before...)}
}

func (c *ca) roots() *lineage.Roots {
	c.t.Helper()
	return must(lineage.NewRoots(lineage.RootsConfig{Domains: map[string]lineage.DomainRoots{"example.org": {X509: []*x509.Certificate{c.cert}}}}))(c.t)
}

// certify has an SVID for a principal that holds for a time, whole seconds, certify a session key.
func (c *ca) certify(principal string, session ed25519.PublicKey, from, to time.Time) *lineage.KeyBinding {
	c.t.Helper()
	key := newKey(c.t)
	leaf := c.issue(&x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to, BasicConstraintsValid: true,
		URIs: []*url.URL{must(url.Parse(principal))(c.t)}, KeyUsage: x509.KeyUsageDigitalSignature}, key.Public())
	return must(lineage.Certify(context.Background(), lineage.Statement{Principal: principal, Key: session, NotBefore: from, NotAfter: to},
		lineage.StatementKey{Public: key.Public(), Chain: append([]*x509.Certificate{leaf}, c.before...),
			Sign: func(_ context.Context, input []byte) ([]byte, error) {
				digest := sha256.Sum256(input)
				return key.Sign(rand.Reader, digest[:], crypto.SHA256)
			}}))(c.t)
}

// A workload has a session key and its binding.
type workload struct {
	principal string
	public    ed25519.PublicKey
	signer    lineage.Signer
	binding   *lineage.KeyBinding
}

// workload is certified for an hour from now.
func (c *ca) workload(principal string) workload {
	c.t.Helper()
	return c.workloadFor(principal, now(), now().Add(time.Hour))
}

func now() time.Time { return time.Now().Truncate(time.Second) }

func (c *ca) workloadFor(principal string, from, to time.Time) workload {
	c.t.Helper()
	public, signer, err := identity.NewSessionKey(principal)
	if err != nil {
		c.t.Fatal(err)
	}
	return workload{principal, public, signer, c.certify(principal, public, from, to)}
}

func (w workload) id() string { return w.signer.KeyID() }

// entry is a lineage of one entry that says that it was signed at a time.
func (w workload) entry(t testing.TB, at time.Time) lineage.Unverified {
	t.Helper()
	return lineage.Unverified{Entries: []string{w.child(t, at, nil)}}
}

// child is a signed entry.
func (w workload) child(t testing.TB, at time.Time, parents []lineage.Hash) string {
	t.Helper()
	var n [3]byte
	rand.Read(n[:])
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "test"}, ID: fmt.Sprintf("0199f0a5-8a11-7c31-8000-000000%x", n), Parents: parents,
		Operation: "pay", Classification: "system", TrustScore: 100, TimestampMS: at.UnixMilli(),
		Labels: map[string]string{lineage.LabelPrincipal: w.principal, lineage.LabelTraceID: "4bf92f3577b34da6a3ce929d0e0e4736", lineage.LabelSourceType: lineage.SourceInternal},
	}
	return must(lineage.Sign(t.Context(), w.signer, e, lineage.Limits{}))(t).JWS()
}

func (w workload) provider(t testing.TB) *identity.Keyring {
	t.Helper()
	k := &identity.Keyring{}
	if err := k.Use(identity.Credential{Signer: w.signer, Binding: w.binding}); err != nil {
		t.Fatal(err)
	}
	return k
}

// following is a RootSource whose roots change, and which counts the bindings that it is asked about: each one that is
// checked, and no other.
type following struct {
	roots atomic.Pointer[lineage.Roots]
	asked atomic.Int64
	fail  func(b *lineage.KeyBinding) error
}

func follow(r *lineage.Roots) *following {
	f := &following{}
	f.roots.Store(r)
	return f
}

func (f *following) Roots(_ context.Context, b *lineage.KeyBinding) (*lineage.Roots, error) {
	if b != nil {
		f.asked.Add(1)
	}
	if f.fail != nil {
		if err := f.fail(b); err != nil {
			return nil, err
		}
	}
	return f.roots.Load(), nil
}

// lying is a store that answers what the test says, and counts how often it is asked.
type lying struct {
	get   func(ctx context.Context, key string) ([]byte, error)
	put   func(value []byte, ttl time.Duration) error
	asked atomic.Int64
}

func (l *lying) Get(ctx context.Context, key string) ([]byte, error) {
	l.asked.Add(1)
	return l.get(ctx, key)
}

func (l *lying) Put(_ context.Context, _ string, value []byte, ttl time.Duration) error {
	return l.put(value, ttl)
}

// answers is a store that has one value for every key.
func answers(value string, err error) *lying {
	return &lying{get: func(context.Context, string) ([]byte, error) { return []byte(value), err }}
}

func memoryStore(t testing.TB) store.Store {
	t.Helper()
	return must(memory.New(memory.Config{}))(t)
}

func source(t testing.TB, c binding.Config) *binding.Source {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet
	}
	return must(binding.New(c))(t)
}

func offering(t testing.TB, bindings ...*lineage.KeyBinding) context.Context {
	t.Helper()
	var texts []string
	for _, b := range bindings {
		texts = append(texts, b.Text())
	}
	return lineage.WithOffered(t.Context(), texts)
}

// wantKey demands that w's key is known and certified, or that neither is the case and nothing failed.
func wantKey(t testing.TB, s lineage.KeySource, ctx context.Context, w workload, want bool) {
	t.Helper()
	keys, err := s.Keys(ctx, w.principal, w.id())
	if got := slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return w.public.Equal(k) }); err != nil || got != want || len(keys) > 1 {
		t.Errorf("%d keys of %s, %t; want %t; error %v", len(keys), w.principal, got, want, err)
	}
	c, err := s.(lineage.Certifier).Certify(ctx, lineage.Signature{Principal: w.principal, KeyID: w.id(), SignedMS: time.Now().UnixMilli()})
	if (err == nil) != want || want && c.Form != lineage.FormX509 {
		t.Errorf("certificate of %s: %+v, %v; want %t", w.principal, c, err, want)
	}
}

// wantError demands an error, which is no answer about the key.
func wantError(t testing.TB, s *binding.Source, ctx context.Context, w workload) error {
	t.Helper()
	keys, err := s.Keys(ctx, w.principal, w.id())
	if err == nil || len(keys) > 0 {
		t.Errorf("%d keys of %s, error %v; want an error", len(keys), w.principal, err)
	}
	return err
}

func verifier(t testing.TB, keys lineage.KeySource) *lineage.Verifier {
	t.Helper()
	return must(lineage.NewVerifier(lineage.VerifierConfig{Keys: keys}))(t)
}
