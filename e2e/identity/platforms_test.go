package identity_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/device"
	"github.com/kest-go/kest/identity/local"
	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/identity/oidc/oidctest"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// A platform gives two services their identities and verifiers their roots. What is not here is the same for all.
type platform struct {
	name string // as in the table of docs/identity.md
	open func(t *testing.T) (gate, ledger identity.Provider, keys func(own identity.Provider) lineage.KeySource)
	form lineage.BindingForm
}

func platforms() []platform {
	return []platform{
		{"SPIFFE, X.509-SVID", spiffePair(lineage.FormX509), lineage.FormX509},
		{"SPIFFE, JWT-SVID", spiffePair(lineage.FormJWT), lineage.FormJWT},
		{"AWS, KMS key that certifies", awsPair, lineage.FormKMS},
		{"OIDC, token that names the key", oidcPair(true), lineage.FormOIDC},
		{"OIDC, person who logged in", devicePair, lineage.FormOIDC},
		{"OIDC, other token", oidcPair(false), lineage.FormSelf},
		{"local", localPair, binding.Configured},
	}
}

// bound is the key source of a platform whose keys have bindings. Nothing is stored: bindings ride along.
func bound(t *testing.T, roots lineage.RootSource) func(identity.Provider) lineage.KeySource {
	return func(own identity.Provider) lineage.KeySource {
		return source(t, binding.Config{Roots: roots, Own: own.(identity.Binder)})
	}
}

func spiffePair(form lineage.BindingForm) func(*testing.T) (identity.Provider, identity.Provider, func(identity.Provider) lineage.KeySource) {
	return func(t *testing.T) (gate, ledger identity.Provider, keys func(identity.Provider) lineage.KeySource) {
		ca := spiffetest.NewCA("example.org")
		open := func(id string) *spiffe.Provider {
			agent := spiffetest.Start(t, spiffetest.Config{CA: ca, IDs: []string{id}})
			p := must(spiffe.New(t.Context(), spiffe.Config{SocketPath: agent.Addr(), Form: form, Logger: quiet}))(t)
			t.Cleanup(func() { p.Close() })
			return p
		}
		g, l := open(gateID), open(ledgerID)
		return g, l, bound(t, g)
	}
}

func oidcPair(names bool) func(*testing.T) (identity.Provider, identity.Provider, func(identity.Provider) lineage.KeySource) {
	return func(t *testing.T) (gate, ledger identity.Provider, keys func(identity.Provider) lineage.KeySource) {
		issuers, self := map[string][]string{}, []string{}
		open := func() identity.Provider { // a provider knows one workload, so each service has its own
			issuer := oidctest.Start(t)
			c := oidc.Config{Source: issuer, Issuer: issuer.Issuer, RequireBound: true, Logger: quiet}
			if !names {
				c.Source, c.RequireBound = must(fixed(t, issuer))(t), false
			}
			p := must(oidc.New(t.Context(), c))(t)
			t.Cleanup(func() { p.Close() })
			issuers[issuer.Issuer], self = []string{issuer.Principal()}, append(self, issuer.Principal())
			return p
		}
		g, l := open(), open()
		if !names {
			return g, l, bound(t, must(lineage.NewRoots(lineage.RootsConfig{Self: self}))(t))
		}
		return g, l, bound(t, must(oidc.NewRoots(t.Context(), oidc.RootsConfig{Issuers: issuers, Logger: quiet}))(t))
	}
}

// fixed is a token in a file, which was made for whoever mounted it.
func fixed(t *testing.T, issuer *oidctest.Provider) (oidc.TokenSource, error) {
	token, err := issuer.Unbound(t.Context())
	if err != nil {
		return nil, err
	}
	path := t.TempDir() + "/token"
	return oidc.File(path), os.WriteFile(path, []byte(token), 0o600)
}

// devicePair has a person for a gate, who logs in by the device flow (RFC 8628) and whose tokens are exchanged for ones that
// name the key, and a service for a ledger.
func devicePair(t *testing.T) (gate, ledger identity.Provider, keys func(identity.Provider) lineage.KeySource) {
	people, services := oidctest.Start(t), oidctest.Start(t)
	person := must(device.New(t.Context(), device.Config{
		Issuer: people.Issuer, ClientID: oidctest.DeviceClient, ClientSecret: oidctest.DeviceSecret, Exchange: true,
		Keyring: device.Memory(), Show: func(p device.Prompt) error { return people.Approve(p.Code) }, Logger: quiet,
	}))(t)
	open := func(source oidc.TokenSource, issuer string) identity.Provider {
		p := must(oidc.New(t.Context(), oidc.Config{Source: source, Issuer: issuer, RequireBound: true, Logger: quiet}))(t)
		t.Cleanup(func() { p.Close() })
		return p
	}
	gate, ledger = open(person, people.Issuer), open(services, services.Issuer)
	return gate, ledger, bound(t, must(oidc.NewRoots(t.Context(), oidc.RootsConfig{Logger: quiet, Issuers: map[string][]string{
		people.Issuer: {lineage.OIDCPrincipal(people.Issuer, oidctest.Person)}, services.Issuer: {services.Principal()},
	}}))(t))
}

func awsPair(t *testing.T) (gate, ledger identity.Provider, keys func(identity.Provider) lineage.KeySource) {
	cloud := awstest.Start(t)
	var roots []lineage.KMSRoot
	open := func(role string) identity.Provider {
		c := cloud.Grant(awstest.Session(role))
		config := aws.Config{KeyID: cloud.NewKey("ECC_NIST_P256"), Logger: quiet, AWSConfig: &sdk.Config{
			Region: awstest.Region, BaseEndpoint: &cloud.URL,
			Credentials: sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) { return c, nil }),
		}}
		p := must(aws.New(t.Context(), config))(t)
		t.Cleanup(func() { p.Close() })
		roots = append(roots, must(aws.Root(t.Context(), config, awstest.Role(role)))(t))
		return p
	}
	gate, ledger = open("gate"), open("ledger")
	return gate, ledger, bound(t, must(lineage.NewRoots(lineage.RootsConfig{KMS: roots}))(t))
}

func localPair(t *testing.T) (gate, ledger identity.Provider, keys func(identity.Provider) lineage.KeySource) {
	known := map[string][]ed25519.PublicKey{}
	open := func(name string) identity.Provider {
		p := must(local.New(local.Config{Name: name, Logger: quiet}))(t)
		known[p.Principal()] = []ed25519.PublicKey{p.PublicKey()}
		return p
	}
	gate, ledger = open("gate"), open("ledger")
	set := must(lineage.NewKeySet(known))(t)
	return gate, ledger, func(identity.Provider) lineage.KeySource {
		return source(t, binding.Config{Roots: &lineage.Roots{}, Static: set})
	}
}

// TestEveryPlatform runs the same flow with each: edge, hop proof, return lineage, verification by a third party that has
// nothing but roots; and holds the table in docs/identity.md to what the reports say.
func TestEveryPlatform(t *testing.T) {
	doc := string(must(os.ReadFile("../../docs/identity.md"))(t))
	for _, p := range platforms() {
		t.Run(p.name, func(t *testing.T) {
			gateIdentity, ledgerIdentity, keys := p.open(t)
			nonces := memoryStore(t)
			listener, front := must(net.Listen("tcp", "127.0.0.1:0"))(t), must(net.Listen("tcp", "127.0.0.1:0"))(t)
			make := func(own identity.Provider, l propagate.Listener, address string) *service {
				s := setting{identity: own, keys: keys(own), listener: l, address: address, nonces: nonces}
				if b, ok := s.keys.(*binding.Source); ok {
					s.bindings = b.Bindings
				}
				return newService(t, s)
			}
			ledger := make(ledgerIdentity, propagate.Internal, listener.Addr().String())
			serve(t, listener, ledger.ledger(), nil)
			gate := make(gateIdentity, propagate.Edge, "")
			serve(t, front, gate.gate("http://"+listener.Addr().String()), nil)

			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			u := must(pay(t.Context(), client, "http://"+front.Addr().String()))(t)
			passport, report, err := gate.verifier.Verify(t.Context(), u)
			if err == nil {
				err = twoEntries(passport, principalOf(t, gateIdentity), principalOf(t, ledgerIdentity))
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range report.Entries() {
				if e.Key == nil || e.Key.Form != p.form {
					t.Fatalf("entry %d is certified by %+v, not %s", e.Index, e.Key, p.form)
				}
				if row := fmt.Sprintf("| %s | %#q | %s |", p.name, string(p.form), e.Key.Proves); !strings.Contains(doc, row) {
					t.Errorf("docs/identity.md lacks the row %s", row)
				}
			}
			stranger(t, u)
		})
	}
}

// stranger verifies with roots of its own, which have nothing to do with the platform's.
func stranger(t *testing.T, u lineage.Unverified) {
	t.Helper()
	others := source(t, binding.Config{Roots: spiffetest.NewCA("example.org").Roots()})
	v := must(lineage.NewVerifier(lineage.VerifierConfig{Keys: others}))(t)
	if _, _, err := v.Verify(t.Context(), u); err == nil {
		t.Error("a verifier with other roots believes it")
	}
}
