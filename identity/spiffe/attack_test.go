package spiffe_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	api "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
)

// serve has the server answer with these SVIDs, whatever they are.
func serve(s *spiffetest.Server, svids ...*api.X509SVID) {
	s.Tamper(func(m *api.X509SVIDResponse) { m.Svids = svids })
}

// TestBadSVIDs: an agent, or a man in its place, serves SVIDs that prove nothing. New fails and says why; a provider that
// runs keeps its key until the end and takes none of them.
func TestBadSVIDs(t *testing.T) {
	other := spiffetest.NewCA("other.example")
	leaf := func(change func(*x509.Certificate)) func(*spiffetest.Server) {
		return func(s *spiffetest.Server) { workloadSVID(s, spiffetest.Leaf{ID: workload, Change: change}) }
	}
	tests := []struct {
		name  string
		serve func(*spiffetest.Server)
		want  string
	}{
		{"none", func(s *spiffetest.Server) { serve(s) }, "no SVIDs"},
		{"expired", leaf(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}), "compare the clocks"},
		{"not yet valid", leaf(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(2*time.Hour), time.Now().Add(3*time.Hour)
		}), "compare the clocks"},
		{"no URI", func(s *spiffetest.Server) { workloadSVID(s, spiffetest.Leaf{}) }, "URI"},
		{"two URIs", leaf(func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0].JoinPath("admin")) }), "URI"},
		{"no path", leaf(func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org"}} }), "path"},
		{"not SPIFFE", leaf(func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "https", Host: "example.org", Path: "/workload"}}
		}), "scheme"},
		{"authority", leaf(func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }), "CA"},
		{"key not for signatures", leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "digitalSignature"},
		{"weak key", func(s *spiffetest.Server) {
			workloadSVID(s, spiffetest.Leaf{ID: workload, Key: spiffetest.RSA1024})
		}, "1024 bits"},
		{"another key", func(s *spiffetest.Server) {
			chain, _ := s.CA.Mint(spiffetest.Leaf{ID: workload})
			serve(s, spiffetest.Message(workload, chain, spiffetest.NewKey(""), s.CA.X509()))
		}, "does not match"},
		{"another authority", func(s *spiffetest.Server) {
			chain, key := other.Mint(spiffetest.Leaf{ID: workload})
			serve(s, spiffetest.Message(workload, chain, key, s.CA.X509()))
		}, "does not lead to a root"},
		{"a domain without bundle", func(s *spiffetest.Server) {
			chain, key := other.Mint(spiffetest.Leaf{ID: "spiffe://third.example/workload"})
			serve(s, spiffetest.Message(workload, chain, key, s.CA.X509()))
		}, "third.example"},
		{"truncated chain", func(s *spiffetest.Server) {
			chain, key := s.CA.Mint(spiffetest.Leaf{ID: workload})
			serve(s, spiffetest.Message(workload, chain[:1], key, s.CA.X509()))
		}, "does not lead to a root"},
		{"no bundle", func(s *spiffetest.Server) {
			chain, key := s.CA.Mint(spiffetest.Leaf{ID: workload})
			serve(s, spiffetest.Message(workload, chain, key, nil))
		}, ""},
		{"bundle of a workload", func(s *spiffetest.Server) {
			chain, key := s.CA.Mint(spiffetest.Leaf{ID: workload})
			serve(s, spiffetest.Message(workload, chain, key, chain[:1]))
		}, ""},
		{"ten certificates", func(s *spiffetest.Server) {
			chain, key := s.CA.Mint(spiffetest.Leaf{ID: workload})
			for len(chain) < 10 {
				chain = append(chain, chain[1])
			}
			serve(s, spiffetest.Message(workload, chain, key, s.CA.X509()))
		}, "10 certificates"},
		{"noise", func(s *spiffetest.Server) {
			serve(s, &api.X509SVID{SpiffeId: workload, X509Svid: []byte("noise"), X509SvidKey: []byte("noise"), Bundle: []byte("noise")})
		}, "parse"},
		{"a good one and a bad one", func(s *spiffetest.Server) {
			chain, key := s.CA.Mint(spiffetest.Leaf{ID: workload})
			good := spiffetest.Message(workload, chain, key, s.CA.X509())
			serve(s, good, &api.X509SVID{SpiffeId: workload, X509Svid: []byte("noise")})
		}, "parse"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := spiffetest.Start(t, spiffetest.Config{})
			running := start(t, s, spiffe.Config{})
			key := running.Binding("")
			test.serve(s)
			p, err := try(t, s, spiffe.Config{Wait: 400 * time.Millisecond})
			if p != nil {
				t.Fatal("accepted: ", p)
			}
			wants(t, err, test.want, s.Addr())
			if !errors.Is(err, identity.ErrNotReady) {
				t.Error(err)
			}
			if _, err := signed(running, s.Roots()); err != nil && !errors.Is(err, identity.ErrRevoked) {
				t.Error("the running one:", err)
			}
			if running.Binding("") != key {
				t.Error("the running one took it")
			}
		})
	}
}

// TestBadTokens: the same for JWT-SVIDs. No error repeats a token, which is a bearer credential.
func TestBadTokens(t *testing.T) {
	other := spiffetest.NewCA("example.org")
	claims := func(change func(map[string]any)) func(*spiffetest.Server, map[string]any) string {
		return func(s *spiffetest.Server, c map[string]any) string { change(c); return s.CA.Token(c) }
	}
	for name, forge := range map[string]func(*spiffetest.Server, map[string]any) string{
		"expired":           claims(func(c map[string]any) { c["iat"], c["exp"] = 1000, 2000 }),
		"not yet valid":     claims(func(c map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() }),
		"without end":       claims(func(c map[string]any) { delete(c, "exp") }),
		"without beginning": claims(func(c map[string]any) { delete(c, "iat") }),
		"another workload":  claims(func(c map[string]any) { c["sub"] = "spiffe://example.org/other" }),
		"another domain":    claims(func(c map[string]any) { c["sub"] = "spiffe://other.example/workload" }),
		"another audience":  claims(func(c map[string]any) { c["aud"] = []string{lineage.BindingAudience(strings.Repeat("A", 43))} }),
		"two audiences":     claims(func(c map[string]any) { c["aud"] = append(c["aud"].([]any), "somebody") }),
		"another authority": func(_ *spiffetest.Server, c map[string]any) string { return other.Token(c) },
		"noise":             func(*spiffetest.Server, map[string]any) string { return "noise" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spiffetest.Start(t, spiffetest.Config{})
			var secret string
			s.TamperToken(func(token string) string {
				payload, _ := decode(strings.Split(token, ".")[1])
				var c map[string]any
				if err := json.Unmarshal(payload, &c); err != nil {
					panic(err)
				}
				token = forge(s, c)
				secret = token
				return token
			})
			var l journal
			_, err := try(t, s, spiffe.Config{Form: lineage.FormJWT, Wait: 400 * time.Millisecond, Logger: l.logger()})
			wants(t, err)
			if !errors.Is(err, identity.ErrNotReady) {
				t.Error(err)
			}
			if name != "noise" && (strings.Contains(err.Error()+l.String(), secret) || strings.Contains(err.Error(), strings.Split(secret, ".")[2])) {
				t.Error("the token is in", err)
			}
			if l.String() == "" {
				t.Error("nothing was logged")
			}
		})
	}
}

// TestGoodTokens keeps TestBadTokens honest: what it forges is accepted when nothing is changed.
func TestGoodTokens(t *testing.T) {
	s := spiffetest.Start(t, spiffetest.Config{})
	s.TamperToken(func(token string) string {
		payload, _ := decode(strings.Split(token, ".")[1])
		var c map[string]any
		if err := json.Unmarshal(payload, &c); err != nil {
			panic(err)
		}
		return s.CA.Token(c)
	})
	p := start(t, s, spiffe.Config{Form: lineage.FormJWT})
	if _, err := signed(p, s.Roots()); err != nil {
		t.Error(err)
	}
}

// TestStrangersDoNotBelieve: a verifier of another trust domain, or of a false one of the same name, takes nothing.
func TestStrangersDoNotBelieve(t *testing.T) {
	for _, form := range []lineage.BindingForm{lineage.FormX509, lineage.FormJWT} {
		s := spiffetest.Start(t, spiffetest.Config{})
		p := start(t, s, spiffe.Config{Form: form})
		for _, domain := range []string{"example.org", "other.example"} {
			_, err := p.Binding("").Verify(time.Now(), 0, spiffetest.NewCA(domain).Roots())
			if !errors.Is(err, lineage.ErrBinding) {
				t.Errorf("%s, roots of another %s: %v", form, domain, err)
			}
		}
	}
}

// TestVerifiesWithoutAuthority: bindings are checked years later, when the authority's keys are gone.
func TestVerifiesWithoutAuthority(t *testing.T) {
	s := spiffetest.Start(t, spiffetest.Config{})
	p := start(t, s, spiffe.Config{})
	b, roots, at := p.Binding(""), s.Roots(), time.Now()
	s.CA.Destroy()
	s.Stop()
	if _, err := b.Verify(at, 0, roots); err != nil {
		t.Error(err)
	}
	if _, err := b.Verify(at.Add(48*time.Hour), 0, roots); !errors.Is(err, lineage.ErrBinding) {
		t.Errorf("past its end: %v", err)
	}
}

func TestCancelledNew(t *testing.T) {
	s := spiffetest.Start(t, spiffetest.Config{})
	s.Hang(true)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { time.Sleep(50 * time.Millisecond); cancel() }()
	begun := time.Now()
	_, err := spiffe.New(ctx, spiffe.Config{SocketPath: s.Addr(), Logger: quiet()})
	if !errors.Is(err, context.Canceled) || time.Since(begun) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
	// New's context bounds New, not the provider.
	s.Hang(false)
	ctx, cancel = context.WithCancel(context.Background())
	p, err := spiffe.New(ctx, spiffe.Config{SocketPath: s.Addr(), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	cancel()
	newKey(t, p, s.Rotate)
}
