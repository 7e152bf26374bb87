package propagate_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// sealer seals by function.
type sealer func(context.Context) (lineage.Passport, error)

func (s sealer) Seal(ctx context.Context) (lineage.Passport, error) { return s(ctx) }

func sealing(p lineage.Passport) sealer {
	return func(context.Context) (lineage.Passport, error) { return p, nil }
}

func egress(t testing.TB, c propagate.EgressConfig) *propagate.Egress {
	t.Helper()
	if c.Sealer == nil {
		c.Sealer = sealing(lineage.Passport{})
	}
	e, err := propagate.NewEgress(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestAllows (SPEC §9): loopback, and what the list names; nothing that merely looks like it.
func TestAllows(t *testing.T) {
	e := egress(t, propagate.EgressConfig{Allow: []string{
		"ledger", "orders:8443", "Payments.Example.", ".mesh.internal", ".secure.internal:443", "[fd00::1]:9", "fd00::2", "10.0.0.7:80", "kiosk",
	}})
	for authority, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:80": true, "127.255.255.254": true, "[::1]": true, "[::1]:80": true, "::1": true, "localhost": true, "LocalHost:1": true,
		"localhost.": true, "[::ffff:127.0.0.1]:80": true, "[0:0:0:0:0:0:0:1]:80": true,

		"ledger": true, "ledger:1": true, "LEDGER.:65535": true, "orders:8443": true, "payments.example": true, "payments.example.:1": true,
		"a.mesh.internal": true, "a.b.Mesh.Internal:9": true, "a.mesh.internal.": true, "a.secure.internal:443": true,
		"[fd00::1]:9": true, "[fd00::2]:1": true, "10.0.0.7:80": true, "kiosk": true,

		"": false, ":80": false, ".": false, "[]": false, "[]:80": false, "0.0.0.0": false, "[::]": false, "10.0.0.1": false, "128.0.0.1": false, "127.1": false,
		"0177.0.0.1": false, "0x7f.0.0.1": false, "2130706433": false, "127.0.0.1.evil.com": false, "127.0.0.1.evil.com:80": false, "[::ffff:10.0.0.1]": false,
		"localhost.evil.com": false, "evil-localhost": false, "a.localhost": false, "localhost.localdomain": false, "[::1].evil.com": false, "::1.evil.com": false,

		"orders": false, "orders:443": false, "orders:84430": false, "orders:8443.evil.com": false, "ledger.evil.com": false, "evil.ledger": false, "xledger": false,
		"mesh.internal": false, "evil-mesh.internal": false, "xmesh.internal": false, "a.mesh.internal.evil.com": false, "a.mesh.internal:80.evil.com": false,
		"a.secure.internal": false, "a.secure.internal:80": false, "[fd00::1]": false, "[fd00::3]": false, "10.0.0.7": false, "10.0.0.7:81": false, "payments.example..": false,

		"localhost@evil.com": false, "evil.com@localhost": false, "localhost:80@evil.com": false, "ledger:80@evil.com": false, "a.mesh.internal:80@evil.com": false,
		"user:pass@ledger": false, "evil.com#.mesh.internal": false, "evil.com/.mesh.internal": false, "evil.com@a.mesh.internal": false, "ledger/": false, "ledger:80/": false,
		"http://ledger": false, "//ledger": false, "ledger ": false, " ledger": false, "ledger\n": false, "ledger\x00": false, "localhost\x00.evil.com": false,
		"[2001:db8::1%x.mesh.internal]:80": false, "2001:db8::1%x.mesh.internal": false, "[fe80::1%.mesh.internal]": false, "[::ffff:1.2.3.4%x.mesh.internal]": false,
		"ledge\u0280": false, "\u212aiosk": false, "ki\u00f6sk": false, "localhoſt": false, "a\u3002mesh.internal": false, "a.mesh\uff0einternal": false, "ledger\u00ad": false,
	} {
		if got := e.Allows(authority); got != want {
			t.Errorf("%q: %t, want %t", authority, got, want)
		}
	}
	if none := egress(t, propagate.EgressConfig{}); none.Allows("ledger") || none.Allows("a.mesh.internal") || !none.Allows("[::1]:80") {
		t.Error("without a list: loopback and nobody else")
	}
}

// TestEgressConfig: everything that is wrong is said at once; a rule that could match more or less than it says is
// wrong.
func TestEgressConfig(t *testing.T) {
	_, err := propagate.NewEgress(propagate.EgressConfig{StrictReturn: true, Hops: hopSigner{}, Allow: []string{"*", "ok", "https://x"}})
	for _, field := range []string{"Sealer", "StrictReturn", "Hops and Identity", `"*"`, `"https://x"`} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if strings.Contains(err.Error(), `"ok"`) {
		t.Error(err)
	}
	for _, rule := range []string{
		"", ".", ":80", ".internal", "*.mesh.internal", "a,b", "a b", "a/b", "user@a", ".a:b", ".fd00::1", "ledger:http", "ledger:", "bücher.example", "a\x00", "a\n", "[]", "a:80:90",
	} {
		_, err := propagate.NewEgress(propagate.EgressConfig{Sealer: sealing(lineage.Passport{}), Allow: []string{rule}})
		if (err == nil) != (rule == "ledger:") {
			t.Errorf("rule %q: %v", rule, err)
		}
	}
	list := []string{"ledger"}
	e := egress(t, propagate.EgressConfig{Allow: list})
	if list[0] = "evil.com"; e.Allows("evil.com") || !e.Allows("ledger") {
		t.Error("the list can be changed afterwards")
	}
	if e.Proves() || e.Returns() {
		t.Error("what is not configured is done")
	}
}

// TestEgressAttach: what is sealed goes out with identity and trace; nothing is changed on an error.
func TestEgressAttach(t *testing.T) {
	passport := chain(t, 2)
	e := egress(t, propagate.EgressConfig{Sealer: sealing(passport)})
	ctx := propagate.WithIdentity(t.Context(), propagate.Identity{User: "alice"})
	ctx = oteltrace.ContextWithSpanContext(ctx, oteltrace.NewSpanContext(oteltrace.SpanContextConfig{TraceID: oteltrace.TraceID{1}, SpanID: oteltrace.SpanID{2}}))
	out := carry("a=1")
	sent, err := e.Attach(ctx, out)
	if err != nil || textOf(t, sent) != textOf(t, passport) || !strings.HasPrefix(out.Get("traceparent"), "00-01000") {
		t.Fatalf("%v, %v", err, out)
	}
	if a, err := propagator(t, propagate.Config{}).Restore(t.Context(), out); err != nil || len(a.Lineage.Entries) != 2 || a.Claimed.User != "alice" {
		t.Errorf("%v", err)
	}
	out.Set("traceparent", "mine")
	if _, err := e.Attach(ctx, out); err != nil || out.Get("traceparent") != "mine" || strings.Count(out.Get("baggage"), "kest.chain_tip") != 1 {
		t.Errorf("%v, %v", err, out)
	}
	none := egress(t, propagate.EgressConfig{})
	out = carry("a=1,kest.user=m")
	if sent, err := none.Attach(ctx, out); err != nil || sent.Len() != 0 || out.Get("baggage") != "a=1" {
		t.Errorf("without lineage: %v, %q", err, out.Get("baggage"))
	}
	cause := errors.New("denied")
	for name, e := range map[string]*propagate.Egress{
		"not sealed": egress(t, propagate.EgressConfig{Sealer: sealer(func(context.Context) (lineage.Passport, error) { return passport, cause })}),
		"too large":  egress(t, propagate.EgressConfig{Sealer: sealing(chain(t, 40))}),
	} {
		out := carry("a=1", "kest.user=m")
		sent, err := e.Attach(ctx, out)
		if err == nil || sent.Len() != 0 || strings.Join(out.Values("baggage"), "|") != "a=1|kest.user=m" || out.Get("traceparent") != "" {
			t.Errorf("%s: %v, %v", name, err, out)
		}
		if name == "not sealed" && !errors.Is(err, cause) {
			t.Error(err)
		}
	}
}

// TestStrip: who may not have lineage gets none of it, in whatever lines, and what cannot be read goes as a whole.
func TestStrip(t *testing.T) {
	good := headerOf(t, propagator(t, propagate.Config{}), chain(t, 1))
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"nothing":         {nil, ""},
		"foreign":         {[]string{"a=1;p , b=2", "a=3"}, "a=1;p,b=2,a=3"},
		"ours":            {[]string{good}, ""},
		"ours and user":   {[]string{"a=%41," + good + ",kest.user=alice,kest.jwt=x,KEST.X=y", "c=2"}, "a=%41,c=2"},
		"on another line": {[]string{"", good}, ""},
		"twice":           {[]string{good + ",a=1", good}, ""},
		"malformed":       {[]string{"a=1,kest.passport"}, ""},
		"hidden":          {[]string{"a=1,\v" + good}, ""},
		"too large":       {[]string{strings.Repeat("a=1,", 64) + good}, ""},
	} {
		out := carry(c.lines...)
		propagate.Strip(out)
		if got := strings.Join(out.Values("baggage"), "|"); got != c.want {
			t.Errorf("%s: %.80q, want %q", name, got, c.want)
		}
	}
	single := propagation.MapCarrier{"baggage": good}
	if propagate.Strip(single); single["baggage"] != "" {
		t.Errorf("%q", single)
	}
	if empty := (propagation.MapCarrier{}); true {
		if propagate.Strip(empty); len(empty) != 0 {
			t.Errorf("an empty field was written: %v", empty)
		}
	}
}

// hopSigner signs as nobody verifies.
type hopSigner struct{ err error }

func (s hopSigner) SignHop(_ context.Context, by lineage.Signer, r propagate.HopRequest) (string, string, error) {
	return "input of " + by.Principal(), "for " + r.Authority, s.err
}

type identityOf struct {
	signer lineage.Signer
	err    error
}

func (i identityOf) Signer(context.Context) (lineage.Signer, error) { return i.signer, i.err }

// TestProve: the signer of the proof is the one who signed every tip, or there is none.
func TestProve(t *testing.T) {
	cause := errors.New("HSM is away")
	forked, err := lineage.Merge(grow(t, chain(t, 1), 8, web), grow(t, chain(t, 1), 9, pay))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sent     lineage.Passport
		identity identityOf
		signer   hopSigner
		ok       bool
	}{
		"own tip":      {chain(t, 1), identityOf{signer: signerOf(t, web)}, hopSigner{}, true},
		"own tips":     {fork(t, 3, web), identityOf{signer: signerOf(t, web)}, hopSigner{}, true},
		"another's":    {chain(t, 2), identityOf{signer: signerOf(t, web)}, hopSigner{}, false},
		"one of two":   {forked, identityOf{signer: signerOf(t, web)}, hopSigner{}, false},
		"other of two": {forked, identityOf{signer: signerOf(t, pay)}, hopSigner{}, false},
		"no identity":  {chain(t, 1), identityOf{err: cause}, hopSigner{}, false},
		"no signature": {chain(t, 1), identityOf{signer: signerOf(t, web)}, hopSigner{cause}, false},
	} {
		e := egress(t, propagate.EgressConfig{Hops: c.signer, Identity: c.identity})
		input, signature, err := e.Prove(t.Context(), c.sent, propagate.HopRequest{Authority: "ledger"})
		if (err == nil) != c.ok || c.ok && (input != "input of "+web || signature != "for ledger") || !c.ok && input+signature != "" {
			t.Errorf("%s: %q, %q, %v", name, input, signature, err)
		}
		if strings.HasPrefix(name, "no ") && !errors.Is(err, cause) || !e.Proves() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingInContextBaggage (decision 0009): whichever way lineage comes or goes, it is not in OpenTelemetry baggage,
// from where any propagator would send it to anybody.
func TestNothingInContextBaggage(t *testing.T) {
	p := propagator(t, propagate.Config{})
	header := "a=1,kest.user=alice," + headerOf(t, p, chain(t, 1))
	before := propagation.Baggage{}.Extract(t.Context(), carry("kest.task=t,"+headerOf(t, p, chain(t, 2))))
	extracted := p.Extract(before, carry(header))
	ctx, _ := admitted(t, propagate.IngressConfig{}, before, propagate.Request{Carrier: carry(header)})
	for name, ctx := range map[string]context.Context{
		"extracted": extracted, "admitted": ctx, "refused": p.Extract(before, carry("kest.passport=x")),
	} {
		for _, m := range baggage.FromContext(ctx).Members() {
			if m.Key() != "a" {
				t.Errorf("%s: %s is in the baggage", name, m.Key())
			}
		}
		out := carry()
		if (propagation.Baggage{}).Inject(ctx, out); strings.Contains(out.Get("baggage"), "kest") {
			t.Errorf("%s: OpenTelemetry sends %q", name, out.Get("baggage"))
		}
	}
}
