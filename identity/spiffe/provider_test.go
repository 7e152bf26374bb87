package spiffe_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc/codes"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
)

// TestKeyTypes: every type of key that an SVID may have certifies a session.
func TestKeyTypes(t *testing.T) {
	for _, key := range []spiffetest.KeyType{spiffetest.ECP256, spiffetest.ECP384, spiffetest.ECP521, spiffetest.RSA2048, spiffetest.Ed25519} {
		s := spiffetest.Start(t, spiffetest.Config{Key: key})
		if _, err := signed(start(t, s, spiffe.Config{}), s.Roots()); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestContract: SPEC §8 SPIRE, F-ID-01…05, in both forms.
func TestContract(t *testing.T) {
	for _, test := range []struct {
		form   lineage.BindingForm
		config spiffetest.Config
	}{
		{lineage.FormX509, spiffetest.Config{}},
		{lineage.FormX509, spiffetest.Config{Key: spiffetest.RSA2048, TCP: true}},
		{lineage.FormJWT, spiffetest.Config{}},
	} {
		t.Run(fmt.Sprint(test.form, " ", test.config.Key), func(t *testing.T) {
			t.Parallel() // a rotation takes a second, which is the pause that a keyring keeps
			s := spiffetest.Start(t, test.config)
			var mu sync.Mutex
			var secrets [][]byte // of the first credential
			tokens := 0
			s.TamperToken(func(token string) string {
				mu.Lock()
				defer mu.Unlock()
				secrets, tokens = append(secrets, []byte(token)), tokens+1
				return token
			})
			s.Tamper(func(m *api.X509SVIDResponse) {
				mu.Lock()
				defer mu.Unlock()
				secrets = append(secrets, private(m.Svids[0].X509SvidKey))
			})
			p := start(t, s, spiffe.Config{Form: test.form})
			identitytest.TestProvider(t, identitytest.Harness{
				New: func(*testing.T) identity.Provider { return p },
				PublicKey: func(keyID string) ed25519.PublicKey {
					key, err := publicKey(p, s.Roots(), keyID)
					if err != nil {
						t.Error(err)
					}
					return key
				},
				Rotate:  func() { newKey(t, p, s.Rotate) },
				Secrets: slices.Clone(secrets),
			})
			b := p.Binding("")
			if b.Form() != test.form || b.Principal() != workload {
				t.Errorf("%v", b)
			}
			if tokens == 0 == (test.form == lineage.FormJWT) {
				t.Errorf("%d tokens", tokens)
			}
		})
	}
}

// private is the secret part of an SVID's key, as it would show.
func private(der []byte) []byte {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		panic(err)
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		scalar, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		return scalar
	case *rsa.PrivateKey:
		return k.D.Bytes()
	}
	return key.(ed25519.PrivateKey).Seed()
}

// TestRotation: under load with an SVID every 50 ms, every entry verifies at once, and the bindings of earlier keys hold. A
// keyring takes a new key each second at most.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	p := start(t, s, spiffe.Config{})
	roots := s.Roots()
	var keys sync.Map
	var n atomic.Int32
	stop := s.RotateEvery(50 * time.Millisecond)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
				keyID, err := entry(p, roots)
				if err != nil {
					t.Error(err)
					return
				}
				if _, seen := keys.LoadOrStore(keyID, true); !seen {
					n.Add(1)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	stop()
	if n.Load() < 3 {
		t.Errorf("%d keys in 4 s", n.Load())
	}
	keys.Range(func(keyID, _ any) bool {
		if _, err := publicKey(p, roots, keyID.(string)); err != nil {
			t.Errorf("an earlier key: %v", err)
		}
		return true
	})
}

// entry signs a whole entry and verifies it as ingress does.
func entry(p *spiffe.Provider, roots *lineage.Roots) (string, error) {
	s, err := p.Signer(context.Background())
	if err != nil {
		return "", err
	}
	signed, err := lineage.Sign(context.Background(), s, sample(s.Principal()), lineage.Limits{})
	if err != nil {
		return "", err
	}
	key, err := publicKey(p, roots, s.KeyID())
	if err != nil {
		return "", err
	}
	i := strings.LastIndexByte(signed.JWS(), '.')
	signature, err := decode(signed.JWS()[i+1:])
	if err != nil {
		return "", err
	}
	if !ed25519.Verify(key, []byte(signed.JWS()[:i]), signature) {
		return "", errors.New("the entry does not verify")
	}
	return s.KeyID(), nil
}

func TestCertificateEndsTheSession(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{Lifetime: 30 * time.Hour})
	p := start(t, s, spiffe.Config{})
	if left := time.Until(p.Binding("").NotAfter()); left > identity.MaxSession || left < identity.MaxSession-time.Minute {
		t.Errorf("with an SVID for 30 hours, the session is for %s", left)
	}
	newKey(t, p, func() {
		s.SetLifetimes(time.Minute, 0)
		s.Rotate()
	})
	if left := time.Until(p.Binding("").NotAfter()); left > time.Minute {
		t.Errorf("with an SVID for a minute, the session is for %s", left)
	}
}

// TestAgentRestarts: entries are signed while the agent is away, the same SVID makes no new key when it is back, and a new
// one does.
func TestAgentRestarts(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	p := start(t, s, spiffe.Config{})
	before := p.Binding("").KeyID()
	s.Stop()
	for range 20 {
		if _, err := signed(p, s.Roots()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	other := spiffetest.NewCA("other.example")
	s.SetFederated(other) // arrives by the new stream
	eventually(t, "connected again", func() bool { return believes(p, other) })
	time.Sleep(1200 * time.Millisecond) // more than a keyring waits between two keys
	if p.Binding("").KeyID() != before {
		t.Error("a new key for the same SVID")
	}
	newKey(t, p, s.Rotate)
	if _, err := signed(p, s.Roots()); err != nil {
		t.Error(err)
	}
}

// TestAgentFails: any failure but PermissionDenied leaves the key until its end, also those at which the library gives up,
// and the watch goes on afterwards.
func TestAgentFails(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.Internal, codes.InvalidArgument, codes.Canceled, codes.Unauthenticated, codes.Unimplemented} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			s := spiffetest.Start(t, spiffetest.Config{})
			p := start(t, s, spiffe.Config{})
			s.Fail(code)
			for range 20 {
				if _, err := signed(p, s.Roots()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			_, err := try(t, s, spiffe.Config{Wait: 300 * time.Millisecond})
			wants(t, err, s.Addr(), code.String())
			newKey(t, p, s.Grant)
		})
	}
}

// TestRevocation: F-ID-04. Signers that were handed out before stop, too, and what is granted again signs again.
func TestRevocation(t *testing.T) {
	t.Parallel()
	for _, form := range []lineage.BindingForm{lineage.FormX509, lineage.FormJWT} {
		t.Run(string(form), func(t *testing.T) {
			s := spiffetest.Start(t, spiffetest.Config{})
			p := start(t, s, spiffe.Config{Form: form})
			held, err := p.Signer(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			s.Revoke()
			eventually(t, "revoked", func() bool { _, err := held.Sign(context.Background(), nil); return err != nil })
			for range 50 { // it stays so
				signature, err := held.Sign(context.Background(), []byte("m"))
				if signature != nil || !errors.Is(err, identity.ErrRevoked) {
					t.Fatalf("%x, %v", signature, err)
				}
				wants(t, signsNot(t, p), s.Addr(), "registration entry")
				time.Sleep(time.Millisecond)
			}
			s.Grant()
			eventually(t, "granted again", func() bool { _, err := signed(p, s.Roots()); return err == nil })
			if _, err := held.Sign(context.Background(), nil); err == nil {
				t.Error("a revoked key signs again")
			}
		})
	}
}

// TestRevocationDuringPublish: a key that is on its way when the identity goes does not come back to life.
func TestRevocationDuringPublish(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	publishing, release := make(chan struct{}, 10), make(chan struct{})
	var slow atomic.Bool
	p := start(t, s, spiffe.Config{Publish: func(context.Context, *lineage.KeyBinding) error {
		if slow.Load() {
			publishing <- struct{}{}
			<-release
		}
		return nil
	}})
	slow.Store(true)
	s.Rotate()
	<-publishing
	s.Revoke()
	eventually(t, "revoked while publishing", func() bool { _, err := p.Signer(context.Background()); return err != nil })
	close(release)
	time.Sleep(100 * time.Millisecond)
	if err := signsNot(t, p); !errors.Is(err, identity.ErrRevoked) {
		t.Error(err)
	}
}

// TestOtherIdentityOnly: when the agent names other workloads only, this one is gone; it does not become the other.
func TestOtherIdentityOnly(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	p := start(t, s, spiffe.Config{})
	s.SetIDs("spiffe://example.org/other")
	eventually(t, "revoked", func() bool { _, err := p.Signer(context.Background()); return err != nil })
	err := signsNot(t, p)
	if !errors.Is(err, identity.ErrRevoked) {
		t.Error(err)
	}
	wants(t, err, workload, "spiffe://example.org/other")
	if _, err := spiffe.ServerTLS(p, nil).GetCertificate(nil); err == nil {
		t.Error("TLS still shows the SVID")
	}
	s.SetIDs("spiffe://example.org/other", workload)
	eventually(t, "itself again", func() bool { _, err := signed(p, s.Roots()); return err == nil })
}

// TestHungStream: a watch that says nothing is not trusted for longer than the SVID.
func TestHungStream(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{Lifetime: 3 * time.Second})
	p := start(t, s, spiffe.Config{})
	s.Hang(true)
	end := p.Binding("").NotAfter()
	held, _ := p.Signer(context.Background())
	signedAfter := func() bool {
		_, err := held.Sign(context.Background(), nil)
		return err == nil && time.Now().After(end)
	}
	for time.Now().Before(end.Add(100 * time.Millisecond)) {
		if signedAfter() {
			t.Fatal("it signs past the end of the SVID")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := signsNot(t, p); !errors.Is(err, identity.ErrExpired) {
		t.Error(err)
	}
	eventually(t, "telling the reason", func() bool { return strings.Contains(signsNot(t, p).Error(), "did not answer") })
	s.SetLifetimes(time.Hour, time.Minute)
	s.Rotate()
	s.Hang(false)
	eventually(t, "alive again", func() bool { _, err := signed(p, s.Roots()); return err == nil })
}

// TestRenewsAtHalfLife: a token has no watch; the second one is asked for while the first one holds.
func TestRenewsAtHalfLife(t *testing.T) {
	s := spiffetest.Start(t, spiffetest.Config{JWTLifetime: 4 * time.Second})
	p := start(t, s, spiffe.Config{Form: lineage.FormJWT})
	first := p.Binding("")
	eventually(t, "another key", func() bool { return p.Binding("") != first })
	if left := time.Until(first.NotAfter()); left < time.Second {
		t.Errorf("renewed %s before the end of 4 s", left)
	}
	if p.Binding(first.KeyID()) != first {
		t.Error("the binding of the first key is gone before its end")
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	var published sync.Map
	var fails atomic.Bool
	var failures atomic.Int32
	p := start(t, s, spiffe.Config{Publish: func(_ context.Context, b *lineage.KeyBinding) error {
		if fails.Load() {
			failures.Add(1)
			return errors.New("the store is full")
		}
		published.Store(b.KeyID(), b.Text())
		return nil
	}})
	check := func() string {
		t.Helper()
		keyID, err := signed(p, s.Roots())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := published.Load(keyID); !ok {
			t.Error("a key signs whose binding was not published")
		}
		return keyID
	}
	check()
	newKey(t, p, s.Rotate)
	before := check()
	fails.Store(true)
	s.Rotate()
	eventually(t, "tried again after a failure", func() bool { return failures.Load() >= 2 })
	if check() != before {
		t.Error("a key that was not published is used")
	}
	fails.Store(false)
	newKey(t, p, s.Rotate)
	check()

	fails.Store(true)
	_, err := try(t, s, spiffe.Config{Wait: 300 * time.Millisecond, Publish: func(context.Context, *lineage.KeyBinding) error {
		return errors.New("the store is full")
	}})
	wants(t, err, "publish", "the store is full")
	if strings.Contains(err.Error(), "no answer") {
		t.Error("the agent is blamed:", err)
	}
}

func TestSeveralIdentities(t *testing.T) {
	t.Parallel()
	const second = "spiffe://example.org/second"
	s := spiffetest.Start(t, spiffetest.Config{IDs: []string{workload, second}})
	for _, form := range []lineage.BindingForm{lineage.FormX509, lineage.FormJWT} {
		for _, test := range []struct{ ask, want string }{{"", workload}, {second, second}} {
			p := start(t, s, spiffe.Config{Form: form, Principal: test.ask})
			signer, err := p.Signer(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if signer.Principal() != test.want {
				t.Errorf("asked for %q, got %q", test.ask, signer.Principal())
			}
		}
	}
	p := start(t, s, spiffe.Config{})
	newKey(t, p, func() { s.SetIDs(second, workload) }) // the order is no promise
	if got := p.Binding("").Principal(); got != workload {
		t.Errorf("the workload became %q", got)
	}
	_, err := try(t, s, spiffe.Config{Principal: "spiffe://example.org/third", Wait: 300 * time.Millisecond})
	wants(t, err, "spiffe://example.org/third", workload, second)
}

// TestClose: nothing is signed after it, nothing runs (goleak), and it may be called again.
func TestClose(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	p := start(t, s, spiffe.Config{})
	held, _ := p.Signer(context.Background())
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := held.Sign(context.Background(), nil); !errors.Is(err, identity.ErrRevoked) {
		t.Error(err)
	}
	wants(t, signsNot(t, p), "closed")
	if roots, err := p.Roots(context.Background(), nil); roots == nil || err != nil {
		t.Error("the roots are gone", err)
	}
}

func TestString(t *testing.T) {
	s := spiffetest.Start(t, spiffetest.Config{})
	p := start(t, s, spiffe.Config{})
	for _, want := range []string{workload, p.Binding("").KeyID(), "x509-svid", s.Addr()} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("%q is not in %s", want, p)
		}
	}
}
