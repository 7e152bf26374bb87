package propagate_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// A cloud certifies the session keys of workloads; roots are all that it shares with whoever verifies them.
type cloud struct {
	t     testing.TB
	key   *ecdsa.PrivateKey
	roots *lineage.Roots
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := lineage.NewRoots(lineage.RootsConfig{KMS: []lineage.KMSRoot{{
		Key: lineage.RootKey{ID: "root", Public: key.Public()}, Principals: []string{"spiffe://example.org/*"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return &cloud{t, key, roots}
}

func (c *cloud) certify(principal string, public ed25519.PublicKey, from time.Time) *lineage.KeyBinding {
	c.t.Helper()
	b, err := lineage.Certify(c.t.Context(), lineage.Statement{Principal: principal, Key: public, NotBefore: from, NotAfter: from.Add(time.Hour)},
		lineage.StatementKey{Public: c.key.Public(), ID: "root", Sign: func(_ context.Context, input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			return ecdsa.SignASN1(rand.Reader, c.key, digest[:])
		}})
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *cloud) workload(principal string) *identity.Keyring {
	c.t.Helper()
	public, signer, err := identity.NewSessionKey(principal)
	if err != nil {
		c.t.Fatal(err)
	}
	k := &identity.Keyring{}
	if err := k.Use(identity.Credential{Signer: signer, Binding: c.certify(principal, public, time.Now().Truncate(time.Second))}); err != nil {
		c.t.Fatal(err)
	}
	return k
}

// source is what a process verifies with: the roots, and its own key. st may be nil.
func (c *cloud) source(own identity.Binder, st store.Store) *binding.Source {
	c.t.Helper()
	s, err := binding.New(binding.Config{Roots: c.roots, Own: own, Store: st, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// entry is the lineage of one entry by the workload.
func (c *cloud) entry(k identity.Provider, n int) lineage.Passport {
	c.t.Helper()
	signer, err := k.Signer(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return c.signed(signer, signer.Principal(), n)
}

func (c *cloud) signed(signer lineage.Signer, principal string, n int) lineage.Passport {
	c.t.Helper()
	signed, err := lineage.Sign(c.t.Context(), signer, lineage.Entry{
		Runtime: lineage.Runtime{Name: "x"}, ID: "0190e2b0-7b3a-7c3e-8a53-00000000000" + string(rune('0'+n)), Operation: "step",
		Classification: "system", TrustScore: 100, TimestampMS: time.Now().UnixMilli(),
		Labels: map[string]string{"principal": principal, "trace_id": trace, "kest.source_type": "internal"},
	}, lineage.Limits{})
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := lineage.Passport{}.Append(signed)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// TestNoSharedKeys (SPEC §4): two workloads that have nothing but roots in common. The callee believes the caller by the
// binding that came along, and the caller believes the answer by that of the callee.
func TestNoSharedKeys(t *testing.T) {
	c := newCloud(t)
	for name, config := range map[string]propagate.Config{
		propagate.KeyPassport: {}, propagate.KeyPassportZ: {CompressFirst: true}, propagate.KeyClaimCheck: {Store: newShelf(), Threshold: -1},
	} {
		t.Run(name, func(t *testing.T) {
			shop, ledger := c.workload(web), c.workload(pay)
			shopKeys, ledgerKeys := c.source(shop, nil), c.source(ledger, nil)
			outward, inward := config, config
			outward.Bindings, inward.Bindings = shopKeys.Bindings, ledgerKeys.Bindings
			in := ingress(t, propagate.IngressConfig{Listener: propagate.Internal, Propagator: propagator(t, inward), Verifier: verifier(t, withKeys(ledgerKeys))})

			sent := c.entry(shop, 1)
			e := egress(t, propagate.EgressConfig{
				Sealer: sealing(sent), Propagator: propagator(t, outward), Verifier: verifier(t, withKeys(shopKeys)), StrictReturn: true,
			})
			session := propagate.NewSession(sent, trace, "")
			caller := propagate.WithSession(t.Context(), session)
			carrier := propagation.MapCarrier{}
			if _, err := e.Attach(caller, carrier); err != nil || len(form(carrier["baggage"])) != 1 || form(carrier["baggage"])[0] != name {
				t.Fatal(carrier, err)
			}
			ctx, admission, err := in.Admit(t.Context(), propagate.Request{Carrier: carrier})
			if err != nil {
				t.Fatal(err)
			}
			g, err := kest.New(kest.Config{Engine: policytest.Allow(), Identity: ledger, Logger: slog.New(slog.DiscardHandler), TracerProvider: noop.NewTracerProvider()})
			if err != nil {
				t.Fatal(err)
			}
			book := kest.MustVerified(g, func(context.Context, struct{}) (int, error) { return 0, nil }, kest.Operation("book"), kest.Policy("p"))
			if _, err := book(ctx, struct{}{}); err != nil {
				t.Fatal(err)
			}
			answer := in.Return(ctx, admission, propagate.Whole)
			if _, err := e.Learn(caller, sent, []string{answer}); err != nil || session.Passport().Len() != 2 {
				t.Errorf("%d entries, %v", session.Passport().Len(), err)
			}
			if text, _ := valueOf(answer, propagate.KeyBinding); text == "" {
				t.Fatal("the test shows nothing: the answer had no binding")
			}

			fresh := egress(t, propagate.EgressConfig{Propagator: propagator(t, outward), Verifier: verifier(t, withKeys(c.source(shop, nil))), StrictReturn: true, Logger: new(logs).logger()})
			if _, err := fresh.Learn(propagate.WithSession(t.Context(), propagate.NewSession(sent, trace, "")), sent, []string{without(answer, propagate.KeyBinding)}); err == nil {
				t.Error("an answer without its binding is believed")
			}
		})
	}
}

// without takes a member out of a header.
func without(header, key string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(header, ","), func(m string) bool { return strings.HasPrefix(m, key+"=") }), ",")
}

// TestOfferAttacks: an offer makes nobody more credible, and none of them spoils a good request, the same one or a later
// one.
func TestOfferAttacks(t *testing.T) {
	c, evil := newCloud(t), newCloud(t)
	shop, thief := c.workload(web), c.workload(pay)
	thiefSigner, err := thief.Signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	thiefKey := publicOf(t, c, thief)
	good, forged := c.entry(shop, 1), c.signed(renamed{thiefSigner, web}, web, 2)
	own := shop.Binding("").Text()
	old := c.certify(web, publicOf(t, c, shop), time.Now().Add(-2*time.Hour).Truncate(time.Second)).Text()
	unsigned := own[:len(own)-60] + strings.Repeat("A", 8) + own[len(own)-52:]
	for name, a := range map[string]struct {
		passport lineage.Passport
		member   string
		want     propagate.Class // Fault: it is served
	}{
		"good":                                   {good, memberOf(own), propagate.Fault},
		"good, twice":                            {good, memberOf(own, own), propagate.Fault},
		"good, after garbage":                    {good, memberOf("garbage", "{}", thief.Binding("").Text(), old, unsigned, own), propagate.Fault},
		"no offer":                               {good, "", propagate.Forbidden},
		"garbage alone":                          {good, memberOf("garbage"), propagate.Forbidden},
		"binding of another key":                 {good, memberOf(thief.Binding("").Text()), propagate.Forbidden},
		"binding that has ended":                 {good, memberOf(old), propagate.Forbidden},
		"binding whose proof was changed":        {good, memberOf(unsigned), propagate.Forbidden},
		"forged entry, the victim's binding":     {forged, memberOf(own), propagate.Forbidden},
		"forged entry, the thief's binding":      {forged, memberOf(thief.Binding("").Text()), propagate.Forbidden},
		"forged entry, certified by nobody":      {forged, memberOf(evil.certify(web, thiefKey, time.Now().Truncate(time.Second)).Text()), propagate.Forbidden},
		"forged entry, the thief's, with ours":   {forged, memberOf(thief.Binding("").Text(), own), propagate.Forbidden},
		"nine":                                   {good, memberOf(strings.Split("a b c d e f g h i", " ")...), propagate.TooLarge},
		"a million dots":                         {good, propagate.KeyBinding + "=" + strings.Repeat(".", 1<<20), propagate.TooLarge},
		"huge":                                   {good, memberOf(strings.Repeat("x", 17<<10)), propagate.TooLarge},
		"not base64url":                          {good, propagate.KeyBinding + "=%2B%2F", propagate.Malformed},
		"padded":                                 {good, propagate.KeyBinding + "=YQ%3D%3D", propagate.Malformed},
		"not canonical base64url":                {good, propagate.KeyBinding + "=YR", propagate.Malformed},
		"line break":                             {good, propagate.KeyBinding + "=Y%0AQ", propagate.Malformed},
		"empty":                                  {good, propagate.KeyBinding + "=", propagate.Malformed},
		"one of two is empty":                    {good, memberOf(own) + ".", propagate.Malformed},
		"two members":                            {good, memberOf(own) + "," + memberOf(own), propagate.Malformed},
		"two members, the other in another case": {good, memberOf(own) + ",KEST.binding=YQ", propagate.Fault},
	} {
		t.Run(name, func(t *testing.T) {
			var l logs
			p := propagator(t, propagate.Config{CompressFirst: true})
			in := ingress(t, propagate.IngressConfig{Propagator: p, Verifier: verifier(t, withKeys(c.source(nil, nil))), Logger: l.logger()})
			r := propagate.Request{Carrier: carry(headerOf(t, p, a.passport) + "," + a.member)}
			if a.want != propagate.Fault {
				refused(t, in, &l, a.want, r)
			} else if _, _, err := in.Admit(t.Context(), r); err != nil {
				t.Error(err)
			}
			later := propagate.Request{Carrier: carry(headerOf(t, p, good) + "," + memberOf(own))}
			if _, _, err := in.Admit(t.Context(), later); err != nil {
				t.Errorf("a good request fails afterwards: %v", err)
			}
		})
	}
}

// renamed signs in the name of another.
type renamed struct {
	lineage.Signer
	name string
}

func (r renamed) Principal() string { return r.name }

func publicOf(t testing.TB, c *cloud, k *identity.Keyring) ed25519.PublicKey {
	t.Helper()
	key, err := k.Binding("").Verify(time.Now(), time.Minute, c.roots)
	if err != nil {
		t.Fatal(err)
	}
	return key.Key
}

// TestKeySourceClasses: a key that nobody knows is the sender's fault; a source that cannot answer is not; a key that
// nothing stands behind is refused like any lineage that is not trusted.
func TestKeySourceClasses(t *testing.T) {
	c := newCloud(t)
	shop := c.workload(web)
	down := newShelf()
	down.fail = errors.New("down")
	for name, source := range map[string]struct {
		keys lineage.KeySource
		want propagate.Class
	}{
		"unknown, no store":          {c.source(nil, nil), propagate.Forbidden},
		"unknown, an empty store":    {c.source(nil, newShelf()), propagate.Forbidden},
		"unknown, the store is down": {c.source(nil, down), propagate.Unavailable},
		"not certified":              {uncertified{c.source(shop, nil)}, propagate.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			var l logs
			in := ingress(t, propagate.IngressConfig{Verifier: verifier(t, withKeys(source.keys)), Logger: l.logger()})
			refused(t, in, &l, source.want, propagate.Request{Carrier: carry(headerOf(t, propagator(t, propagate.Config{}), c.entry(shop, 1)))})
		})
	}
}

type uncertified struct{ lineage.KeySource }

func (uncertified) Certify(context.Context, lineage.Signature) (lineage.Certificate, error) {
	return lineage.Certificate{}, errors.New("it had ended")
}
