package identity_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/identity/oidc/oidctest"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

const intruderID = "spiffe://example.org/intruder"

// An arena is a ledger that serves gate, and what attackers have: a workload of the same trust domain, the authority of a
// federated one, accounts at the same OpenID provider and in the same cloud.
type arena struct {
	ca, federated *spiffetest.CA
	gate          *spiffe.Provider
	intruder      *spiffe.Provider
	ledger        *target // finds bindings that ride along only

	issuer *oidctest.Provider // its workload is not the one that it may certify
	cloud  *awstest.Server
	keys   map[string]lineage.KMSRoot // by role: each has a key of its own
}

func newArena(t *testing.T) *arena {
	a := &arena{ca: spiffetest.NewCA("example.org"), federated: spiffetest.NewCA("partner.example"), issuer: oidctest.Start(t), cloud: awstest.Start(t)}
	a.gate, a.intruder = a.workload(t, gateID), a.workload(t, intruderID)
	a.keys = map[string]lineage.KMSRoot{"gate": a.kms(t, "gate"), "intruder": a.kms(t, "intruder")}
	roots := binding.AllRoots(a.workload(t, ledgerID),
		must(oidc.NewRoots(t.Context(), oidc.RootsConfig{Logger: quiet, Issuers: map[string][]string{
			a.issuer.Issuer: {lineage.OIDCPrincipal(a.issuer.Issuer, "gate")}}}))(t),
		must(lineage.NewRoots(lineage.RootsConfig{KMS: []lineage.KMSRoot{a.keys["gate"], a.keys["intruder"]}, Self: []string{"local:*"}}))(t))
	a.ledger = newTarget(t, setting{identity: a.gate, keys: source(t, binding.Config{Roots: roots})}, nil)
	return a
}

func (a *arena) workload(t *testing.T, id string) *spiffe.Provider {
	t.Helper()
	agent := spiffetest.Start(t, spiffetest.Config{CA: a.ca, IDs: []string{id}, Federated: []*spiffetest.CA{a.federated}})
	p := must(spiffe.New(t.Context(), spiffe.Config{SocketPath: agent.Addr(), Logger: quiet}))(t)
	t.Cleanup(func() { p.Close() })
	return p
}

func (a *arena) kms(t *testing.T, role string) lineage.KMSRoot {
	t.Helper()
	c := a.cloud.Grant(awstest.Session(role))
	return must(aws.Root(t.Context(), aws.Config{KeyID: a.cloud.NewKey("ECC_NIST_EDWARDS25519"), Logger: quiet, AWSConfig: &sdk.Config{
		Region: awstest.Region, BaseEndpoint: &a.cloud.URL,
		Credentials: sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) { return c, nil }),
	}}, awstest.Role(role)))(t)
}

// signedBy is a statement by the KMS key of one role, under the name of that of another.
func (a *arena) signedBy(t *testing.T, role, name, principal string, key ed25519.PublicKey) string {
	t.Helper()
	by := a.keys[role].Key
	b := must(lineage.Certify(t.Context(), lineage.Statement{Principal: principal, Key: key, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)},
		lineage.StatementKey{Public: by.Public, Algorithm: by.Algorithm, ID: a.keys[name].Key.ID, Sign: func(_ context.Context, input []byte) ([]byte, error) {
			return a.cloud.SignAs(by.ID, input), nil
		}}))(t)
	return b.Text()
}

func signerOf(t *testing.T, p *spiffe.Provider) lineage.Signer { return must(p.Signer(t.Context()))(t) }

// honest is what gate sends.
func (a *arena) honest(t *testing.T) attempt {
	t.Helper()
	return by(t, signerOf(t, a.gate), a.gate.Binding("").Text())
}

// onto is what the intruder sends who adds its own entry to another.
func (a *arena) onto(t *testing.T, before string) attempt {
	t.Helper()
	out := a.honest(t) // its binding goes along, and the intruder is known
	out.prover = signerOf(t, a.intruder)
	out.entries = []string{before, entry(t, out.prover, lineage.HashJWS(before))}
	return out
}

// svid is the attempt of somebody whose key an X.509-SVID for gate certifies.
func (a *arena) svid(t *testing.T, ca *spiffetest.CA, from, to time.Duration, change func(*x509.Certificate)) attempt {
	t.Helper()
	key, signer := session(t, gateID)
	now := time.Now()
	return by(t, signer, certify(t, ca, spiffetest.Leaf{ID: gateID, Change: change}, key, now.Add(from), now.Add(to)))
}

// token is the attempt of somebody who has a JWT-SVID with these claims, for gate or not.
func (a *arena) token(t *testing.T, ca *spiffetest.CA, subject string, audience func(own string) any) attempt {
	t.Helper()
	key, signer := session(t, gateID)
	now := time.Now()
	jwt := ca.Token(map[string]any{"aud": audience(lineage.BindingAudience(signer.KeyID())), "sub": subject, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	return by(t, signer, document(lineage.FormJWT, gateID, key, jwt))
}

func own(audience string) any { return audience }

// TestAttacks sends to the ledger what it must not believe. Each attack is answered with the status that belongs to it, the
// body does not run, and the next honest request is served. Those that must succeed are there to show that the forger's
// tools work: what follows differs from them in one thing.
func TestAttacks(t *testing.T) {
	a := newArena(t)
	const served, malformed, forbidden, large = http.StatusOK, http.StatusBadRequest, http.StatusForbidden, http.StatusRequestHeaderFieldsTooLarge
	hour := func(*x509.Certificate) {}
	for _, attack := range []struct {
		name string
		make func(t *testing.T) attempt
		want int
	}{
		{"none: gate itself", a.honest, served},
		{"none: another workload as itself", func(t *testing.T) attempt {
			return by(t, signerOf(t, a.intruder), a.intruder.Binding("").Text())
		}, served},
		{"none: a key that an SVID certifies", func(t *testing.T) attempt { return a.svid(t, a.ca, 0, time.Hour, hour) }, served},
		{"none: a key that a token certifies", func(t *testing.T) attempt { return a.token(t, a.ca, gateID, own) }, served},
		{"none: a key that KMS certifies", func(t *testing.T) attempt {
			key, signer := session(t, awstest.Role("gate"))
			return by(t, signer, a.signedBy(t, "gate", "gate", signer.Principal(), key))
		}, served},

		{"stolen passport, proof by the thief's own certified key", func(t *testing.T) attempt {
			stolen := a.honest(t)
			stolen.prover = signerOf(t, a.intruder) // the ledger knows this key since it served the intruder
			return stolen
		}, forbidden},
		{"stolen passport, proof under the name of gate", func(t *testing.T) attempt {
			stolen := a.honest(t)
			_, stolen.prover = session(t, gateID)
			return stolen
		}, forbidden},
		{"stolen passport, proof that names gate's key", func(t *testing.T) attempt {
			stolen := a.honest(t)
			_, thief := session(t, gateID)
			stolen.prover = liar{thief, signerOf(t, a.gate).KeyID()}
			return stolen
		}, forbidden},
		{"none: another workload goes on from an entry of gate", func(t *testing.T) attempt {
			return a.onto(t, entry(t, signerOf(t, a.gate)))
		}, served},
		{"another workload goes on from an entry that names gate's key", func(t *testing.T) attempt {
			_, forger := session(t, gateID)
			return a.onto(t, entry(t, liar{forger, signerOf(t, a.gate).KeyID()}))
		}, forbidden},
		{"entry and proof that name gate's key", func(t *testing.T) attempt {
			_, thief := session(t, gateID)
			return by(t, liar{thief, signerOf(t, a.gate).KeyID()}, a.gate.Binding("").Text())
		}, forbidden},
		{"stolen passport, no proof", func(t *testing.T) attempt {
			stolen := a.honest(t)
			stolen.prover = nil
			return stolen
		}, forbidden},

		{"no binding at all", func(t *testing.T) attempt {
			_, signer := session(t, gateID)
			return by(t, signer)
		}, forbidden},
		{"binding of another key of gate", func(t *testing.T) attempt {
			_, signer := session(t, gateID)
			return by(t, signer, a.gate.Binding("").Text())
		}, forbidden},
		{"that with the key put in place", func(t *testing.T) attempt {
			key, signer := session(t, gateID)
			good := must(a.gate.Signer(t.Context()))(t)
			text := a.gate.Binding(good.KeyID()).Text()
			begin, rest, _ := strings.Cut(text, `"key":"`)
			_, rest, _ = strings.Cut(rest, `"`)
			swapped := document("", "", key, "") // its key, as text
			_, k, _ := strings.Cut(swapped, `"key":"`)
			k, _, _ = strings.Cut(k, `"`)
			return by(t, signer, begin+`"key":"`+k+`"`+rest)
		}, forbidden},
		{"binding of another principal for this key", func(t *testing.T) attempt {
			key, signer := session(t, gateID)
			return by(t, signer, certify(t, a.ca, spiffetest.Leaf{ID: intruderID}, key, time.Now(), time.Now().Add(time.Hour)))
		}, forbidden},
		{"that with the principal put in place", func(t *testing.T) attempt {
			key, signer := session(t, gateID)
			text := certify(t, a.ca, spiffetest.Leaf{ID: intruderID}, key, time.Now(), time.Now().Add(time.Hour))
			return by(t, signer, strings.Replace(text, intruderID, gateID, 1))
		}, forbidden},
		{"the intruder's SVID certifies gate's principal", func(t *testing.T) attempt {
			key, signer := session(t, gateID)
			chain, private := a.ca.Mint(spiffetest.Leaf{ID: intruderID})
			now := time.Now()
			return by(t, signer, document(lineage.FormX509, gateID, key, statement(t, chain, private, gateID, key, now, now.Add(time.Hour))))
		}, forbidden},
		{"self-certified under gate's SPIFFE ID", func(t *testing.T) attempt {
			key, signer := session(t, gateID)
			return by(t, signer, must(lineage.CertifySelf(t.Context(), lineage.Statement{
				Principal: gateID, Key: key, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}, signer))(t).Text())
		}, forbidden},

		{"authority of the same name, X.509", func(t *testing.T) attempt {
			return a.svid(t, spiffetest.NewCA("example.org"), 0, time.Hour, hour)
		}, forbidden},
		{"authority of the same name, JWT", func(t *testing.T) attempt {
			return a.token(t, spiffetest.NewCA("example.org"), gateID, own)
		}, forbidden},
		{"federated domain claims gate's ID, X.509", func(t *testing.T) attempt { return a.svid(t, a.federated, 0, time.Hour, hour) }, forbidden},
		{"federated domain claims gate's ID, JWT", func(t *testing.T) attempt { return a.token(t, a.federated, gateID, own) }, forbidden},

		{"SVID expired", func(t *testing.T) attempt {
			return a.svid(t, a.ca, -2*time.Minute, time.Hour, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
			})
		}, forbidden},
		{"SVID not yet valid", func(t *testing.T) attempt {
			return a.svid(t, a.ca, 0, time.Hour, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
		}, forbidden},
		{"statement ended", func(t *testing.T) attempt { return a.svid(t, a.ca, -time.Hour, -time.Minute, hour) }, forbidden},
		{"statement not yet valid", func(t *testing.T) attempt { return a.svid(t, a.ca, time.Minute, time.Hour, hour) }, forbidden},
		{"statement for more than a day", func(t *testing.T) attempt {
			key, signer := session(t, gateID)
			chain, private := a.ca.Mint(spiffetest.Leaf{ID: gateID, Lifetime: 72 * time.Hour})
			now := time.Now()
			return by(t, signer, document(lineage.FormX509, gateID, key, statement(t, chain, private, gateID, key, now, now.Add(lineage.MaxStatement+time.Second))))
		}, forbidden},
		{"none: statement for a day", func(t *testing.T) attempt {
			key, signer := session(t, gateID)
			chain, private := a.ca.Mint(spiffetest.Leaf{ID: gateID, Lifetime: 72 * time.Hour})
			now := time.Now()
			return by(t, signer, document(lineage.FormX509, gateID, key, statement(t, chain, private, gateID, key, now, now.Add(lineage.MaxStatement))))
		}, served},

		{"JWT-SVID for another service", func(t *testing.T) attempt {
			return a.token(t, a.ca, gateID, func(string) any { return "https://vault.example.org" })
		}, forbidden},
		{"JWT-SVID for another key", func(t *testing.T) attempt {
			_, other := session(t, gateID)
			return a.token(t, a.ca, gateID, func(string) any { return lineage.BindingAudience(other.KeyID()) })
		}, forbidden},
		{"JWT-SVID with a second audience", func(t *testing.T) attempt {
			return a.token(t, a.ca, gateID, func(own string) any { return []string{own, "https://vault.example.org"} })
		}, forbidden},
		{"JWT-SVID of the intruder", func(t *testing.T) attempt { return a.token(t, a.ca, intruderID, own) }, forbidden},

		{"OIDC: good token of a known issuer for a principal that it may not certify", func(t *testing.T) attempt {
			key, signer := session(t, a.issuer.Principal())
			return by(t, signer, must(lineage.CertifyToken(lineage.FormOIDC, signer.Principal(), key,
				must(a.issuer.Token(t.Context(), lineage.BindingAudience(signer.KeyID())))(t)))(t).Text())
		}, forbidden},
		{"OIDC: token that names no key", func(t *testing.T) attempt {
			key, signer := session(t, a.issuer.Principal())
			return by(t, signer, document(lineage.FormOIDC, signer.Principal(), key, must(a.issuer.Unbound(t.Context()))(t)))
		}, forbidden},
		{"OIDC: another issuer", func(t *testing.T) attempt {
			other := oidctest.Start(t)
			key, signer := session(t, other.Principal())
			return by(t, signer, must(lineage.CertifyToken(lineage.FormOIDC, signer.Principal(), key,
				must(other.Token(t.Context(), lineage.BindingAudience(signer.KeyID())))(t)))(t).Text())
		}, forbidden},
		{"KMS: key of another role", func(t *testing.T) attempt {
			key, signer := session(t, awstest.Role("gate"))
			return by(t, signer, a.signedBy(t, "intruder", "intruder", signer.Principal(), key))
		}, forbidden},
		{"KMS: key of another role under the name of the right one", func(t *testing.T) attempt {
			key, signer := session(t, awstest.Role("gate"))
			return by(t, signer, a.signedBy(t, "intruder", "gate", signer.Principal(), key))
		}, forbidden},

		{"member that is no base64url", func(t *testing.T) attempt { return with(a.honest(t), "!!!!") }, malformed},
		{"member that is empty", func(t *testing.T) attempt { return with(a.honest(t), "") }, malformed},
		{"member twice", func(t *testing.T) attempt { return with(a.honest(t), "AAAA,"+propagate.KeyBinding+"=AAAA") }, malformed},
		{"member larger than a header", func(t *testing.T) attempt {
			return with(a.honest(t), strings.Repeat("A", propagate.MaxHeader))
		}, large},
		{"nine bindings", func(t *testing.T) attempt { return with(a.honest(t), strings.Repeat("AAAA.", 8)+"AAAA") }, large},
		{"eight bindings that are none", func(t *testing.T) attempt {
			_, signer := session(t, gateID)
			return by(t, signer, slices.Repeat([]string{"{}"}, 8)...)
		}, forbidden},
		{"none: seven bindings that are none, and a good one", func(t *testing.T) attempt {
			h := a.honest(t)
			h.bindings = append(slices.Repeat([]string{"{}"}, 7), h.bindings...)
			return h
		}, served},
	} {
		t.Run(attack.name, func(t *testing.T) {
			attempt, before := attack.make(t), a.ledger.ran.Load()
			want := before
			if attack.want == served {
				want++
			}
			if got := attempt.send(t, a.ledger); got != attack.want || a.ledger.ran.Load() != want {
				t.Errorf("status %d, want %d; the body ran %d times more", got, attack.want, a.ledger.ran.Load()-before)
			}
			if got := a.honest(t).send(t, a.ledger); got != served || a.ledger.ran.Load() != want+1 {
				t.Errorf("the honest request after it: status %d", got)
			}
		})
	}
}

// with puts a text into the member of bindings.
func with(a attempt, value string) attempt {
	a.member = propagate.KeyBinding + "=" + value
	return a
}
