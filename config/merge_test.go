package config_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// kept are builders that keep the settings which they get.
type kept map[string]any

func keep[S, T any](k kept, name string) config.Builder[T] {
	return config.Build(func(_ context.Context, s S) (T, error) {
		var none T
		k[name] = s
		return none, nil
	})
}

// TestExample: everything in the annotated example arrives where it is used.
func TestExample(t *testing.T) {
	t.Parallel()
	k := kept{}
	d, err := config.Load("testdata/kest.yaml", config.Options{
		Environ: []string{"REDIS_PASSWORD=swordfish"}, Logger: quiet,
		Engines:    map[string]config.Builder[policy.Engine]{"rego": keep[config.Rego, policy.Engine](k, "rego")},
		Identities: map[string]config.Builder[identity.Provider]{"spiffe": keep[config.SPIFFE, identity.Provider](k, "spiffe")},
		Stores:     map[string]config.Builder[store.Store]{"redis": keep[config.Redis, store.Store](k, "redis")},
		Tokens:     map[string]config.Builder[propagate.TokenVerifier]{"bearer": keep[config.Bearer, propagate.TokenVerifier](k, "bearer")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := d.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %v", w)
	}
	want := kest.Config{
		Enterprise: []string{"baseline-auth", "data-classification"}, Platform: []string{"kest/allow_trusted"},
		PolicyTimeout: 500 * time.Millisecond,
		Deviations: []policy.Deviation{{Policy: "data-classification", Tier: policy.Enterprise, Scope: "reports.*",
			Reason: "SEC-1423: reports carry no personal data", Approver: "ciso@example.org", NotAfter: time.Date(2100, 1, 31, 0, 0, 0, 0, time.UTC)}},
		Shadow: policy.Tiers{Platform: []string{"kest/min_trust_60"}}, RequireApproval: true, Trust: lineage.Weighted{History: 40},
		Origins: map[string]int{"partner_feed": 70}, Classifications: map[string][]string{"personal": {"contains_personal_data", "contains_data"}},
		Limits: lineage.Limits{PassportEntries: 256}, SpanPassport: 16384,
	}
	got := d.Guard()
	if verified, err := got.Deviations[0].Verify(t.Context(), got.Approvers); err != nil || verified.ApproverKey == "" {
		t.Errorf("the signature of the example: %v", err)
	}
	got.Approvers, got.Deviations[0].Signature = nil, ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	authority := &lineage.Authority{Grants: []lineage.Grant{
		{Principal: "spiffe://example.org/gateway", Originate: []string{"internet", "user_input"}},
		{Principal: "spiffe://example.org/batch/*", RootTrust: 70},
		{Principal: "spiffe://example.org/redactor", OverrideTrust: 90, RemoveTaints: []string{"contains_personal_data"}},
	}, RefuseObserved: []string{"kest/min_trust_60"}}
	if got := d.Authority(); !reflect.DeepEqual(got, authority) {
		t.Errorf("got  %+v\nwant %+v", got, authority)
	}
	in, err := d.Ingress(t.Context(), propagate.IngressConfig{})
	if err != nil || in.Listener != propagate.Internal || in.Proofs != propagate.ProofRequire || !slices.Equal(in.Authorities, []string{"payments.mesh.internal"}) {
		t.Errorf("%+v, %v", in, err)
	}
	if s := d.Shape(); s != (config.Shape{Ingress: true, Egress: true, IngressProofs: true, EgressProofs: true}) {
		t.Errorf("%+v", s)
	}
	v, err := d.Verifier(lineage.VerifierConfig{})
	if err != nil || !slices.Equal(v.Legacy, []string{"partner"}) || v.Trust != (lineage.Weighted{History: 40}) {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := d.Keys(); err == nil || !strings.Contains(err.Error(), "testdata/partners.json") {
		t.Errorf("keys that are not there: %v", err)
	}
	out, err := d.Egress(propagate.EgressConfig{})
	if err != nil || !slices.Equal(out.Allow, []string{"ledger", ".mesh.internal"}) {
		t.Errorf("%+v, %v", out, err)
	}
	if p := d.Propagator(propagate.Config{}); p.ClaimTTL != 2*time.Minute || p.Limits.PassportEntries != 256 || !p.Receipts {
		t.Errorf("%+v", p)
	}
	_, engineErr := d.Engine(t.Context())
	_, identityErr := d.Identity(t.Context())
	_, storeErr := d.Store(t.Context())
	if err := errors.Join(engineErr, identityErr, storeErr); err != nil {
		t.Fatal(err)
	}
	rego, redis := k["rego"].(config.Rego), k["redis"].(config.Redis)
	if rego.Dir != absolute(t, "testdata/policies") || rego.Reload != 10*time.Second || rego.Timeout != 500*time.Millisecond {
		t.Errorf("%+v", rego)
	}
	if password, err := redis.Password.Read(); password != "swordfish" || err != nil || redis.TLS == nil || redis.Username != "kest" {
		t.Errorf("%+v %v", redis, err)
	}
	if s := k["spiffe"].(config.SPIFFE); s.SocketPath != "/run/spire/sockets/agent.sock" || s.Wait != 30*time.Second {
		t.Errorf("%+v", s)
	}
	if b := k["bearer"].(config.Bearer); b.Issuer != "https://login.example.org" || !slices.Equal(b.Audiences, []string{"payments"}) {
		t.Errorf("%+v", b)
	}
	if _, err := d.Roots(); err == nil || !strings.Contains(err.Error(), "testdata/roots.json") {
		t.Errorf("roots that are not there: %v", err)
	}
}

func absolute(t *testing.T, path string) config.Path {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return config.Path(abs)
}

// TestJSON: the example as JSON, with and without line breaks and tabs, means the same.
func TestJSON(t *testing.T) {
	t.Parallel()
	text := read(t, "testdata/kest.yaml")
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	short, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	long, err := json.MarshalIndent(value, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	parse := func(text []byte) *config.Deployment {
		d, err := config.Parse(text, config.Options{File: "testdata/kest.yaml", Environ: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := parse(text)
	for _, text := range [][]byte{short, long} {
		got := parse(text)
		if !reflect.DeepEqual(got.Guard(), want.Guard()) || !reflect.DeepEqual(got.Authority(), want.Authority()) {
			t.Errorf("%s\nis %+v", text, got.Guard())
		}
	}
	parse(read(t, "testdata/kest.json"))
}

// TestNothing: an empty configuration changes nothing.
func TestNothing(t *testing.T) {
	t.Parallel()
	d := must(t, "{}")
	app := kest.Config{Application: []string{"a"}, Enterprise: []string{"e"}, PolicyTimeout: time.Minute, NoReceipts: true,
		Origins: map[string]int{"x": 1}, Classifications: map[string][]string{"c": {"t"}}}
	if got, err := d.Apply(app); err != nil || !reflect.DeepEqual(got, app) {
		t.Errorf("%+v, %v", got, err)
	}
	engine, err1 := d.Engine(t.Context())
	id, err2 := d.Identity(t.Context())
	kv, err3 := d.Store(t.Context())
	roots, err4 := d.Roots()
	if err := errors.Join(err1, err2, err3, err4); err != nil || engine != nil || id != nil || kv != nil || roots != nil || d.Authority() != nil {
		t.Error(engine, id, kv, roots, err)
	}
}

const deployed = `
policies: {enterprise: [base, data], platform: [plat], application: [app], timeout: 2s, shadow: {platform: [trial]}}
deviations: [{policy: data, tier: enterprise, scope: 'reports.*'}]
origins: {feed: 70}
classifications: {pii: [personal]}
telemetry: {receipts: true}
limits: {depth: 8}
authority: {grants: [{principal: p, root_trust: 5}]}
`

// TestApply: application code adds and never removes (SPEC §11).
func TestApply(t *testing.T) {
	t.Parallel()
	d := must(t, deployed)
	got, err := d.Apply(kest.Config{
		Enterprise: []string{"data", "base", "mine"}, Application: []string{"limits", "app"}, Origins: map[string]int{"own": 1, "feed": 70},
		Classifications: map[string][]string{"pii": {"more", "personal"}, "own": {"t"}}, PolicyTimeout: time.Minute, NoReceipts: true,
		Limits: lineage.Limits{Depth: 99, Labels: 7}, Shadow: policy.Tiers{Platform: []string{"trial"}, Application: []string{"mine2"}},
		Trust: lineage.Weighted{History: 1}, RequireApproval: true, Approvers: keys{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Enterprise, []string{"base", "data", "mine"}) || !slices.Equal(got.Platform, []string{"plat"}) || !slices.Equal(got.Application, []string{"app", "limits"}) {
		t.Errorf("%q %q %q", got.Enterprise, got.Platform, got.Application)
	}
	if !maps.Equal(got.Origins, map[string]int{"own": 1, "feed": 70}) || !slices.Equal(got.Classifications["pii"], []string{"personal", "more"}) || len(got.Classifications) != 2 {
		t.Errorf("%v %v", got.Origins, got.Classifications)
	}
	if got.PolicyTimeout != 2*time.Second || got.NoReceipts || got.Limits.Depth != 8 || got.Limits.Labels != 7 || len(got.Deviations) != 1 {
		t.Errorf("%+v", got)
	}
	if !slices.Equal(got.Shadow.Platform, []string{"trial"}) || !slices.Equal(got.Shadow.Application, []string{"mine2"}) || !got.RequireApproval || got.Approvers == nil || got.Trust == nil {
		t.Errorf("%+v %v %v", got.Shadow, got.RequireApproval, got.Trust)
	}
	for _, test := range []struct {
		name string
		app  kest.Config
		want string
	}{
		{"trial of an enforced policy", kest.Config{Shadow: policy.Tiers{Enterprise: []string{"data"}}}, `Shadow: application code puts enterprise policy "data" on trial, which the deployment enforces`},
		{"trial of an enforced application policy", kest.Config{Shadow: policy.Tiers{Application: []string{"app"}}}, `Shadow: application code puts application policy "app" on trial`},
		{"fewer enterprise", kest.Config{Enterprise: []string{"base"}}, `Enterprise: application code leaves out "data"`},
		{"no enterprise", kest.Config{Enterprise: []string{}}, `Enterprise: application code leaves out "base"`},
		{"other platform", kest.Config{Platform: []string{"other"}}, `Platform: application code leaves out "plat"`},
		{"deviations", kest.Config{Deviations: []policy.Deviation{{Policy: "base", Tier: policy.Enterprise, Scope: "*"}}}, "Deviations: 1 are set by application code"},
		{"better origin", kest.Config{Origins: map[string]int{"feed": 100}}, `Origins: application code sets "feed" to 100, the deployment to 70`},
		{"fewer taints", kest.Config{Classifications: map[string][]string{"pii": {}}}, `Classifications: application code takes "personal" from "pii"`},
	} {
		got, err := d.Apply(test.app)
		var bad *kest.ConfigError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), test.want) || !reflect.DeepEqual(got, kest.Config{}) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	_, err = d.Apply(kest.Config{Enterprise: []string{}, Platform: []string{}})
	var bad *kest.ConfigError
	if !errors.As(err, &bad) || len(bad.Problems) != 3 {
		t.Errorf("not everything at once: %v", err)
	}
}

// TestCopies: what a deployment returns can be changed without changing it.
func TestCopies(t *testing.T) {
	t.Parallel()
	d := must(t, deployed)
	c, a := d.Guard(), d.Authority()
	c.Enterprise[0], c.Deviations[0].Scope, c.Origins["feed"], c.Classifications["pii"][0] = "x", "x", 100, "x"
	a.Grants[0].RootTrust = 100
	if c := d.Guard(); c.Enterprise[0] != "base" || c.Deviations[0].Scope != "reports.*" || c.Origins["feed"] != 70 || c.Classifications["pii"][0] != "personal" {
		t.Errorf("%+v", c)
	}
	if d.Authority().Grants[0].RootTrust != 5 {
		t.Error("the grants are shared")
	}
}

type keys struct{}

func (keys) Keys(context.Context, string, string) ([]ed25519.PublicKey, error) { return nil, nil }

// TestBorders: what is demanded stays demanded, and lineage goes to nobody else.
func TestBorders(t *testing.T) {
	t.Parallel()
	d := must(t, deployed+`
ingress: {listener: internal, proofs: off, authorities: [pay], require_token: True, origin: feed, timeout: 1s}
egress: {allow: [ledger, .mesh.internal], strict_return: true}
propagation: {threshold: 100, compress_first: true, claim_prefix: t1.}
`)
	in, err := d.Ingress(t.Context(), propagate.IngressConfig{
		Listener: propagate.Edge, LineageOptional: true, Proofs: propagate.ProofRequire, RequirePeer: true, Origin: "system", Authorities: []string{"alias"}, Timeout: time.Hour,
	})
	if err != nil || in.Listener != propagate.Internal || in.LineageOptional || in.Proofs != propagate.ProofRequire || !in.RequirePeer || !in.RequireToken ||
		in.Origin != "feed" || in.Timeout != time.Second || !slices.Equal(in.Authorities, []string{"pay", "alias"}) {
		t.Errorf("%+v %v", in, err)
	}
	if _, err := d.Ingress(t.Context(), propagate.IngressConfig{InsecureIgnoreLineage: true}); err == nil {
		t.Error("lineage is ignored although the deployment has an ingress")
	}
	for _, test := range []struct {
		allow []string
		want  string
	}{{nil, "ledger .mesh.internal"}, {[]string{"ledger"}, "ledger"}, {[]string{}, ""}} {
		out, err := d.Egress(propagate.EgressConfig{Allow: test.allow})
		if err != nil || strings.Join(out.Allow, " ") != test.want || !out.StrictReturn {
			t.Errorf("%q: %+v %v", test.allow, out, err)
		}
	}
	if _, err := d.Egress(propagate.EgressConfig{Allow: []string{"ledger", "api.example.com"}}); err == nil || !strings.Contains(err.Error(), `"api.example.com"`) {
		t.Errorf("application code sends lineage elsewhere: %v", err)
	}
	if p := d.Propagator(propagate.Config{Threshold: 9}); p.Threshold != 100 || !p.CompressFirst || p.ClaimPrefix != "t1." {
		t.Errorf("%+v", p)
	}
	v, err := d.Verifier(lineage.VerifierConfig{Keys: keys{}})
	score, known := v.Origins.Score("feed")
	if err != nil || v.Authority == nil || v.Limits.Depth != 8 || score != 70 || !known {
		t.Errorf("%+v %v", v, err)
	}
	if _, err := d.Verifier(lineage.VerifierConfig{Authority: &lineage.Authority{}}); err == nil {
		t.Error("application code replaces the authority")
	}
	better, _ := lineage.NewOrigins(map[string]int{"feed": 100})
	if _, err := d.Verifier(lineage.VerifierConfig{Origins: better}); err == nil {
		t.Error("application code gives an origin another score")
	}
}

// TestMade: the kinds without an SDK are made, and work.
func TestMade(t *testing.T) {
	t.Parallel()
	d := must(t, "store: {memory: {}}\nidentity: {local: {name: shop}}\nengine: {opa: {host: 127.0.0.1, port: 1, token: {env: NOT_SET}}}\n")
	kv, err := d.Store(t.Context())
	if err != nil || kv.Put(t.Context(), "k", []byte("v"), time.Minute) != nil {
		t.Error(err)
	}
	id, err := d.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if signer, err := id.Signer(t.Context()); err != nil || !strings.HasPrefix(signer.Principal(), "local:shop:") {
		t.Error(err)
	}
	engine, err := d.Engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer engine.(io.Closer).Close()
	_, err = engine.Evaluate(t.Context(), "base", &policy.Input{})
	if !errors.Is(err, policy.ErrUnavailable) || !strings.Contains(err.Error(), "environment variable NOT_SET is empty or not there") {
		t.Errorf("an engine without its token: %v", err)
	}
	d = must(t, "engine: {cedaragent: {url: https://cedar.example.org, tls: {ca: none.pem}}}")
	if _, err := d.Engine(t.Context()); err == nil || !strings.Contains(err.Error(), "kest.yaml:1:22: engine.cedaragent: it cannot be made: tls: ca: ") {
		t.Errorf("an engine without its authorities: %v", err)
	}
}

// TestProductionBlock is the guide's production set-up as a file: a baseline that denies blocks a call whose function
// policy allows, application code cannot lift it, a deviation can, and an expired one cannot.
func TestProductionBlock(t *testing.T) {
	t.Parallel()
	const text = `
policies: {enterprise: [baseline-auth, data-classification]}
identity: {local: {}}
`
	engine := policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: name != "data-classification"}, nil
	})
	call := func(d *config.Deployment, operation string) error {
		id, err := d.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.Apply(kest.Config{Engine: engine, Identity: id, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		guard, err := kest.New(c)
		if err != nil {
			t.Fatal(err)
		}
		run, err := kest.Verified(guard, func(context.Context, struct{}) (int, error) { return 0, nil }, kest.Operation(operation), kest.Policy("kest/allow_trusted"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = run(t.Context(), struct{}{})
		return err
	}
	var denied *kest.DeniedError
	if err := call(must(t, text), "reports.Run"); !errors.As(err, &denied) || denied.Policy != "data-classification" || denied.Tier != policy.Enterprise {
		t.Errorf("without a deviation: %v", err)
	}
	lifted := must(t, text+"deviations: [{policy: data-classification, tier: enterprise, scope: 'reports.*'}]")
	if err := call(lifted, "reports.Run"); err != nil {
		t.Errorf("under the deviation: %v", err)
	}
	if err := call(lifted, "pay.Charge"); !errors.Is(err, kest.ErrDenied) {
		t.Errorf("outside the deviation: %v", err)
	}
	expired := must(t, text+"deviations: [{policy: data-classification, tier: enterprise, scope: '*', not_after: 2001-01-01T00:00:00Z}]")
	if err := call(expired, "reports.Run"); !errors.Is(err, kest.ErrDenied) || len(expired.Warnings()) != 1 {
		t.Errorf("under an expired deviation: %v", err)
	}
}

// TestTrust: the deployment's evaluator counts for the guard and for verifiers, also the default when it is named.
func TestTrust(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]lineage.TrustEvaluator{
		"trust: {attenuate: {}}":            lineage.Attenuate{},
		"trust: {weighted: {history: 100}}": lineage.Weighted{History: 100},
		"trust: {weighted: {history: 0}}":   lineage.Weighted{},
	} {
		d := must(t, text)
		c, err1 := d.Apply(kest.Config{Trust: lineage.Weighted{History: 7}})
		v, err2 := d.Verifier(lineage.VerifierConfig{Trust: lineage.Weighted{History: 7}})
		if err := errors.Join(err1, err2); err != nil || c.Trust != want || v.Trust != want {
			t.Errorf("%s: %v %v %v", text, c.Trust, v.Trust, err)
		}
	}
}

// TestVerifier: what the deployment says about a verifier, and what application code cannot add to it.
func TestVerifier(t *testing.T) {
	t.Parallel()
	d := must(t, "verifier: {linear: true, legacy: [old], cache_bytes: 2097152}")
	v, err := d.Verifier(lineage.VerifierConfig{Legacy: []string{"old"}, CacheBytes: -1})
	if err != nil || !v.Linear || v.CacheBytes != 2<<20 || !slices.Equal(v.Legacy, []string{"old"}) {
		t.Errorf("%+v %v", v, err)
	}
	if _, err := d.Verifier(lineage.VerifierConfig{Legacy: []string{"mine"}}); err == nil || !strings.Contains(err.Error(), `adds "mine"`) {
		t.Errorf("application code makes a principal legacy: %v", err)
	}
	if set, err := d.Keys(); set != nil || err != nil {
		t.Error(set, err)
	}
	d, err = inFolder(t, "verifier: {keys: keys.json}", keysOf(t, "partner"))
	if err != nil {
		t.Fatal(err)
	}
	if set, err := d.Keys(); err != nil || !slices.Equal(set.Principals(), []string{"partner"}) {
		t.Error(set, err)
	}
}

// TestApproversOfTheCode: application code must not choose whose signatures count.
func TestApproversOfTheCode(t *testing.T) {
	t.Parallel()
	d, err := inFolder(t, "approvers: {keys: keys.json}", keysOf(t, "ciso"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(kest.Config{Approvers: keys{}}); err == nil || !strings.Contains(err.Error(), "Approvers: set by application code and by the deployment") {
		t.Error(err)
	}
	if c, err := d.Apply(kest.Config{}); err != nil || c.Approvers == nil || !c.RequireApproval {
		t.Errorf("%+v %v", c, err)
	}
}

// TestTrials: the limit of the file is that of the guard.
func TestTrials(t *testing.T) {
	t.Parallel()
	for n, good := range map[int]bool{16: true, 17: false} {
		var tiers policy.Tiers
		for i := range n {
			if name := string(rune('a' + i)); i%2 == 0 {
				tiers.Platform = append(tiers.Platform, name)
			} else {
				tiers.Application = append(tiers.Application, name)
			}
		}
		text := "policies: {shadow: {platform: [" + strings.Join(tiers.Platform, ",") + "], application: [" + strings.Join(tiers.Application, ",") + "]}}"
		_, fromFile := parse(text)
		id, err := must(t, "identity: {local: {}}").Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, fromGuard := kest.New(kest.Config{Engine: policytest.Allow(), Identity: id, Shadow: tiers, Logger: quiet})
		if (fromFile == nil) != good || (fromGuard == nil) != good {
			t.Errorf("%d trials: the file says %v, the guard %v", n, fromFile, fromGuard)
		}
	}
}
