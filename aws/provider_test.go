package aws_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	kestaws "github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
)

// TestCertified runs the contract with every type of key that certifies (SPEC §8 AWS workload, F-ID-01…05).
func TestCertified(t *testing.T) {
	for _, spec := range []string{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_EDWARDS25519"} {
		t.Run(spec, func(t *testing.T) {
			s := awstest.Start(t)
			arn := s.NewKey(spec)
			s.SetAlias("alias/kest", arn)
			config := kestaws.Config{KeyID: "alias/kest", AWSConfig: sdk(s)}
			var mu sync.Mutex
			known := &published{roots: rootsFor(t, config, role), keys: map[string]ed25519.PublicKey{}}
			config.Publish = func(ctx context.Context, b *lineage.KeyBinding) error {
				mu.Lock()
				defer mu.Unlock()
				return known.publish(ctx, b)
			}
			p := open(t, config)
			signer := must(p.Signer(t.Context()))(t)
			if signer.Principal() != role {
				t.Errorf("principal %q", signer.Principal())
			}
			if b := p.Binding(""); b.Form() != lineage.FormKMS || b.ProofKeyID() != arn {
				t.Errorf("binding %v by %q: the key itself, not its alias", b, b.ProofKeyID())
			}
			credentials := must(config.AWSConfig.Credentials.Retrieve(t.Context()))(t)
			before := s.Calls("")
			identitytest.TestProvider(t, identitytest.Harness{
				New: func(*testing.T) identity.Provider { return p },
				PublicKey: func(id string) ed25519.PublicKey {
					mu.Lock()
					defer mu.Unlock()
					return known.keys[id]
				},
				Rotate: func() {
					if err := p.Renew(context.Background()); err != nil {
						t.Error(err)
					}
				},
				Secrets: [][]byte{[]byte(credentials.SecretAccessKey), []byte(credentials.SessionToken)},
			})
			if s.Calls("") == before {
				t.Error("the contract did not rotate")
			}
		})
	}
}

// TestNoCallPerEntry: entries are signed in memory.
func TestNoCallPerEntry(t *testing.T) {
	s := awstest.Start(t)
	p := open(t, kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: sdk(s)})
	before := s.Calls("")
	for range 1000 {
		signer := must(p.Signer(t.Context()))(t)
		if _, err := signer.Sign(t.Context(), []byte("header.payload")); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Calls("") - before; n != 0 {
		t.Errorf("%d calls of AWS for 1,000 entries", n)
	}
}

// TestDirect runs the contract with a KMS key that signs every entry.
func TestDirect(t *testing.T) {
	s := awstest.Start(t)
	arn := s.NewKey("ECC_NIST_EDWARDS25519")
	config := sdk(s)
	d := open(t, kestaws.Config{KeyID: arn, Mode: kestaws.Direct, AWSConfig: config})
	credentials := must(config.Credentials.Retrieve(t.Context()))(t)
	identitytest.TestProvider(t, identitytest.Harness{
		New: func(*testing.T) identity.Provider { return d },
		PublicKey: func(id string) ed25519.PublicKey {
			if id != lineage.Thumbprint(d.PublicKey()) {
				return nil
			}
			return d.PublicKey()
		},
		MaxMessage: kestaws.MaxDirect,
		Secrets:    [][]byte{[]byte(credentials.SecretAccessKey), []byte(credentials.SessionToken)},
	})
	signer := must(d.Signer(t.Context()))(t)
	calls := s.Calls("Sign")
	if signature, err := signer.Sign(t.Context(), make([]byte, kestaws.MaxDirect+1)); signature != nil || err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("4,097 bytes: %v", err)
	}
	if s.Calls("Sign") != calls {
		t.Error("a message that is too long was sent")
	}
	if _, err := kestaws.New(t.Context(), kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), Mode: kestaws.Direct, AWSConfig: config}); err == nil || !strings.Contains(err.Error(), "ECC_NIST_EDWARDS25519") {
		t.Errorf("an EC key signs entries: %v", err)
	}
}

// TestBinding: what a verifier believes of another principal, another key, and afterwards.
func TestBinding(t *testing.T) {
	s := awstest.Start(t)
	config := kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: sdk(s), Session: time.Minute}
	p := open(t, config)
	b := p.Binding("")
	now := time.Now()
	if k, err := b.Verify(now, 0, rootsFor(t, config, role)); err != nil || k.Issuer != b.ProofKeyID() {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := b.Verify(now, 0, must(p.Roots(t.Context(), nil))(t)); err != nil {
		t.Errorf("by its own roots: %v", err)
	}
	other := kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: config.AWSConfig}
	for name, roots := range map[string]*lineage.Roots{
		"another role": rootsFor(t, config, awstest.Role("orders")), "another key": rootsFor(t, other, role),
		"another account": rootsFor(t, config, "arn:aws:iam::999999999999:role/*"),
	} {
		if _, err := b.Verify(now, 0, roots); !errors.Is(err, lineage.ErrBinding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, at := range map[string]time.Time{"two hours early": now.Add(-2 * time.Hour), "after its end": now.Add(2 * time.Minute)} {
		if _, err := b.Verify(at, time.Second, rootsFor(t, config, role)); !errors.Is(err, lineage.ErrBinding) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAliasMoves: a new session is certified by the key that the alias means now, and its binding says so.
func TestAliasMoves(t *testing.T) {
	s := awstest.Start(t)
	first, second := s.NewKey("ECC_NIST_P256"), s.NewKey("RSA_2048")
	s.SetAlias("alias/kest", first)
	p := open(t, kestaws.Config{KeyID: "alias/kest", AWSConfig: sdk(s)})
	roots, before := must(p.Roots(t.Context(), nil))(t), p.Binding("")
	s.SetAlias("alias/kest", second)
	if err := p.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.Binding("").ProofKeyID(); got != second {
		t.Errorf("certified by %s", got)
	}
	now := must(p.Roots(t.Context(), nil))(t)
	for _, b := range []*lineage.KeyBinding{before, p.Binding("")} {
		if _, err := b.Verify(time.Now(), 0, now); err != nil {
			t.Errorf("%v by its own roots: %v", b, err)
		}
	}
	if err := p.Renew(t.Context()); err != nil || must(p.Roots(t.Context(), nil))(t) != now || now == roots {
		t.Errorf("the roots change with the key, and not otherwise (%v)", err)
	}
}

// TestRoleChanges: credentials that suddenly belong to somebody else do not change who signs.
func TestRoleChanges(t *testing.T) {
	s := awstest.Start(t)
	config := sdk(s)
	mine, theirs := must(config.Credentials.Retrieve(t.Context()))(t), s.Grant(awstest.Session("orders"))
	var mu sync.Mutex
	now := mine
	config.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		return now, nil
	})
	p := open(t, kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: config})
	mu.Lock()
	now = theirs
	mu.Unlock()
	if err := p.Renew(t.Context()); err == nil {
		t.Error("the identity changed")
	}
	if signer := must(p.Signer(t.Context()))(t); signer.Principal() != role {
		t.Errorf("signs as %q", signer.Principal())
	}
}

// TestRegionOfTheKey: an ARN says where the key is, so no other region has to be configured.
func TestRegionOfTheKey(t *testing.T) {
	s := awstest.Start(t)
	config := sdk(s)
	config.Region = ""
	open(t, kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: config})
}

// TestWithoutBindings: mode Direct is verified with its public key, and Close and Renew have nothing to do.
func TestWithoutBindings(t *testing.T) {
	s := awstest.Start(t)
	arn := s.NewKey("ECC_NIST_EDWARDS25519")
	s.SetAlias("alias/kest", arn)
	p := open(t, kestaws.Config{KeyID: "alias/kest", Mode: kestaws.Direct, AWSConfig: sdk(s)})
	signer := must(p.Signer(t.Context()))(t)
	if p.Binding("") != nil || p.Binding(signer.KeyID()) != nil || p.KMSKey() != arn {
		t.Errorf("binding %v of %s", p.Binding(""), p.KMSKey())
	}
	s.SetAlias("alias/kest", s.NewKey("ECC_NIST_EDWARDS25519"))
	if err := errors.Join(p.Renew(t.Context()), p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	message := []byte("header.payload")
	if signature := must(signer.Sign(t.Context(), message))(t); !ed25519.Verify(p.PublicKey(), message, signature) {
		t.Error("an alias that moved changed the key")
	}
}

// TestRoot: a root without principals would believe nobody, and a pattern for everybody would believe everybody.
func TestRoot(t *testing.T) {
	s := awstest.Start(t)
	arn := s.NewKey("RSA_2048")
	s.SetAlias("alias/kest", arn)
	config := kestaws.Config{KeyID: "alias/kest", AWSConfig: sdk(s)}
	for _, principals := range [][]string{nil, {"*"}, {"a*b"}} {
		if _, err := kestaws.Root(t.Context(), config, principals...); err == nil {
			t.Errorf("%q: accepted", principals)
		}
	}
	root := must(kestaws.Root(t.Context(), config, role))(t)
	if root.Key.ID != arn || root.Key.Algorithm != "PS256" {
		t.Errorf("%s, %s", root.Key.ID, root.Key.Algorithm)
	}
	if s.Calls("GetCallerIdentity")+s.Calls("Sign") != 0 {
		t.Error("a verifier needs kms:GetPublicKey only")
	}
}

// TestClosed: after Close nothing is renewed.
func TestClosed(t *testing.T) {
	s := awstest.Start(t)
	key := s.NewKey("ECC_NIST_P256")
	synctest.Test(t, func(t *testing.T) {
		p := open(t, kestaws.Config{KeyID: key, AWSConfig: offline(s)})
		p.Close()
		before := s.Calls("")
		time.Sleep(2 * time.Hour)
		if s.Calls("") != before {
			t.Error("AWS was called after Close")
		}
		if _, err := p.Signer(t.Context()); !errors.Is(err, identity.ErrExpired) {
			t.Errorf("%v", err)
		}
	})
}
