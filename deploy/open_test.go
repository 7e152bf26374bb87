package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/deploy"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
)

// TestOpenFails: whatever is wrong is reported at once, and nothing stays open (goleak looks).
func TestOpenFails(t *testing.T) {
	t.Parallel()
	const good = "engine: {rego: {dir: policies}}\nidentity: {local: {}}\n"
	verifier := must(lineage.NewVerifier(lineage.VerifierConfig{Keys: &lineage.KeySet{}}))(t)
	for name, test := range map[string]struct {
		text string
		app  deploy.Config
		want []string
	}{
		"the file": {"policies: {entreprise: [a], timeout: 5}\n", deploy.Config{}, []string{`did you mean "enterprise"?`, "want a duration"}},
		"the parts": {
			"engine: {rego: {dir: none}}\nidentity: {spiffe: {socket_path: /none, wait: 1ms}}\nstore: {sql: {dialect: sqlite, dsn: {env: NOT_SET}}}\ntrust_bundle: none.json\nverifier: {keys: none.json}\n",
			deploy.Config{Guard: kest.Config{Deviations: []policy.Deviation{{}}}},
			[]string{"kest.yaml:1:16: engine.rego: it cannot be made", "kest.yaml:2:20: identity.spiffe: it cannot be made", "kest.yaml:3:14: store.sql: it cannot be made", "kest.yaml:4:15: trust_bundle: it cannot be read", "kest.yaml:5:18: verifier.keys: it cannot be read", "Deviations: 1 are set by application code"},
		},
		"two engines":              {good, deploy.Config{Guard: kest.Config{Engine: policytest.Allow()}}, []string{"Guard.Engine is set by application code"}},
		"two identities":           {good, deploy.Config{Guard: kest.Config{Identity: identitytest.New("a")}}, []string{"Guard.Identity is set by application code"}},
		"a verifier of its own":    {good, deploy.Config{Ingress: propagate.IngressConfig{Listener: propagate.Edge, Verifier: verifier}}, []string{"Ingress.Verifier or Egress.Verifier is set"}},
		"keys of its own":          {good + "verifier: {keys: keys.json}\n", deploy.Config{Verifier: lineage.VerifierConfig{Keys: &lineage.KeySet{}}}, []string{"Verifier.Keys is set by application code"}},
		"an authority of its own":  {good + "authority: {grants: []}\n", deploy.Config{Verifier: lineage.VerifierConfig{Authority: &lineage.Authority{}}}, []string{"Authority is set by application code"}},
		"an unknown policy":        {good + "policies: {enterprise: [a/b], platform: [c/d]}\n", deploy.Config{}, []string{`"a/b"`, `"c/d"`}},
		"proofs without nonces":    {good + "ingress: {listener: internal, proofs: require, authorities: [a]}\n", deploy.Config{}, []string{"ingress.proofs needs a store"}},
		"tokens of nobody":         {good + "ingress: {listener: edge, require_token: true}\n", deploy.Config{}, []string{"RequireToken needs Tokens"}},
		"more destinations":        {good + "egress: {allow: [ledger]}\n", deploy.Config{Egress: propagate.EgressConfig{Allow: []string{"evil.example"}}}, []string{`adds "evil.example"`}},
		"ingress without lineage":  {good + "ingress: {listener: edge}\n", deploy.Config{Ingress: propagate.IngressConfig{InsecureIgnoreLineage: true}}, []string{"InsecureIgnoreLineage is set by application code"}},
		"both borders":             {good + "ingress: {listener: edge, require_token: true}\negress: {allow: [a]}\n", deploy.Config{Egress: propagate.EgressConfig{Allow: []string{"b"}}}, []string{"RequireToken", `adds "b"`}},
		"tokens of a bad issuer":   {good + "ingress: {listener: edge, tokens: {bearer: {issuer: nowhere, audiences: [a]}}}\n", deploy.Config{}, []string{"ingress.tokens.bearer: it cannot be made"}},
		"cache of what has no end": {"engine: {rego: {dir: policies}}\ndecision_cache: {ignore: [subject.user]}\nidentity: {local: {}}\n", deploy.Config{}, []string{"decision_cache.ignore[0]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := regoFiles()
			files["kest.yaml"], files["keys.json"] = test.text, keysOf(t, "partner")
			dir := folder(t, files)
			c := test.app
			c.File, c.Environ, c.Logger = filepath.Join(dir, "kest.yaml"), []string{}, quiet
			d, err := deploy.Open(t.Context(), c)
			if d != nil || err == nil {
				t.Fatal("it is open")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got\n%v\nwithout %q", err, want)
				}
			}
		})
	}
	_, err := deploy.Open(t.Context(), deploy.Config{File: filepath.Join(t.TempDir(), "none.yaml"), Logger: quiet})
	if err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Error(err)
	}
}

// TestOpenApplication: what application code adds is there, also after a reload, and what it has to itself is used.
func TestOpenApplication(t *testing.T) {
	t.Parallel()
	engine := policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: name != "mine/never"}, nil
	})
	id := identitytest.New("shop")
	dir := folder(t, map[string]string{"kest.yaml": "policies: {platform: [plat]}\n"})
	var logged bytes.Buffer
	d := open(t, deploy.Config{File: filepath.Join(dir, "kest.yaml"), Guard: kest.Config{
		Engine: engine, Identity: id, Application: []string{"mine/limits"}, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	}})
	e := must(wrap(t, d, "pay")(t.Context(), struct{}{}))(t)
	if e.Principal() != "shop" || !slices.Equal(e.Policies.Platform, []string{"plat"}) || !slices.Equal(e.Policies.Application, []string{"mine/limits"}) {
		t.Errorf("%+v", e)
	}
	if d.Identity != id || d.Store != nil || d.Ingress != nil || d.Egress != nil || d.Peer != nil || d.Propagator == nil {
		t.Errorf("%+v", d)
	}
	if _, err := wrap(t, d, "pay", kest.Policy("mine/never"))(t.Context(), struct{}{}); deniedBy(t, err) != "mine/never" || !strings.Contains(logged.String(), "mine/never") {
		t.Errorf("%v; the log is %s", err, logged.String())
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// TestOpenEnvironment: variables alone are a deployment, and without an identity the machine says who we are.
func TestOpenEnvironment(t *testing.T) {
	dir := folder(t, regoFiles())
	t.Setenv("KEST_ENGINE_REGO_DIR", dir+"/policies")
	t.Setenv("KEST_POLICIES_ENTERPRISE", "org/base")
	d := must(deploy.Open(t.Context(), deploy.Config{Logger: quiet, Operations: []string{"pay"}}))(t)
	defer d.Close()
	e := must(wrap(t, d, "pay")(t.Context(), struct{}{}))(t)
	if !strings.HasPrefix(e.Principal(), "local:") || !slices.Equal(e.Policies.Enterprise, []string{"org/base"}) {
		t.Errorf("%+v", e)
	}
	d.Watch(t.Context()) // there is no file, which it logs
}

// TestOpenMore: a program's own kind is made from its own settings, and closed.
func TestOpenMore(t *testing.T) {
	t.Parallel()
	type settings struct {
		Level int `config:"level" default:"3" max:"9"`
	}
	var got settings
	more := config.Options{Engines: map[string]config.Builder[policy.Engine]{"acme": config.Build(func(_ context.Context, s settings) (policy.Engine, error) {
		got = s
		return closing{policytest.Allow(), errors.New("it did not want to")}, nil
	})}}
	dir := folder(t, map[string]string{"kest.yaml": "engine: {acme: {}}\nidentity: {local: {}}\ndecision_log: {}\n"})
	d := must(deploy.Open(t.Context(), deploy.Config{File: filepath.Join(dir, "kest.yaml"), Environ: []string{}, More: more, Logger: quiet}))(t)
	if _, err := wrap(t, d, "pay")(t.Context(), struct{}{}); err != nil || got.Level != 3 {
		t.Error(got, err)
	}
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "it did not want to") {
		t.Errorf("what closing says is lost: %v", err)
	}
}

type closing struct {
	policy.Engine
	err error
}

func (c closing) Close() error { return c.err }
