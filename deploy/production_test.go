package deploy_test

import (
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/deploy"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// production is testdata/production.yaml on this machine: under an agent of the test kit, and with an engine that runs.
type production struct {
	text    string // of the file
	environ []string
}

// productions has the file as it is, before a real OPA server, and with Rego and Cedar in the process in its place. In all
// of them data-classification denies reports.Run, and kest/allow_trusted allows it.
//
// Rego has no package whose first name has a hyphen, so the guide's names stand below another one.
func productions(t *testing.T) map[string]func(t *testing.T) production {
	environ := func(t *testing.T, more ...string) []string {
		server := spiffetest.Start(t, spiffetest.Config{IDs: []string{"spiffe://example.org/reports"}})
		return append(more, "KEST_IDENTITY_SPIFFE_SOCKET_PATH="+server.Addr(), "KEST_IDENTITY_SPIFFE_WAIT=1m", "KEST_POLICIES_TIMEOUT=20s")
	}
	file := text(t, "testdata/production.yaml")
	return map[string]func(t *testing.T) production{
		"OPA server": func(t *testing.T) production {
			port := opaServer(t, "testdata/rego")
			return production{file, environ(t, "KEST_ENGINE_OPA_PREFIX=acme", "KEST_ENGINE_OPA_PORT="+port)}
		},
		"Rego": func(t *testing.T) production {
			dir := must(filepath.Abs("testdata/rego"))(t)
			return production{swap(t, file, "opa: {host: localhost, port: 8181}", "rego: {prefix: acme, check_input: true, dir: "+dir+"}"), environ(t)}
		},
		"Cedar": func(t *testing.T) production {
			dir := must(filepath.Abs("testdata/cedar"))(t)
			return production{swap(t, file, "opa: {host: localhost, port: 8181}", "cedar: {dir: "+dir+"}"), environ(t)}
		},
	}
}

// with opens the deployment with more in its file, beside the keys of the CISO.
func (p production) with(t *testing.T, more string, app kest.Config) (*deploy.Deployment, error) {
	t.Helper()
	dir := folder(t, map[string]string{"kest.yaml": p.text + more, "approvers.json": keysOf(t, "ciso")})
	d, err := deploy.Open(t.Context(), deploy.Config{File: filepath.Join(dir, "kest.yaml"), Environ: p.environ, Guard: app, Logger: quiet})
	if d != nil {
		t.Cleanup(func() { d.Close() })
	}
	return d, err
}

var exemption = policy.Deviation{
	Policy: "data-classification", Tier: policy.Enterprise, Scope: "reports.*", Reason: "SEC-1423", Approver: "ciso",
	NotAfter: time.Date(2100, 1, 31, 0, 0, 0, 0, time.UTC),
}

const exemptionText = `
approvers: {keys: approvers.json}
deviations:
  - policy: data-classification
    tier: enterprise
    scope: "reports.*"
    reason: SEC-1423
    approver: ciso
    not_after: 2100-01-31T00:00:00Z
`

// TestProduction (F-PE-03, F-PE-11…13): the guide's enterprise_policies as a file. A baseline that denies blocks a call
// whose function policy allows; application code cannot lift it; a signed deviation can, and the signed entry says so.
func TestProduction(t *testing.T) {
	for name, start := range productions(t) {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			t.Run("the baseline blocks", func(t *testing.T) { baselineBlocks(t, p) })
			t.Run("application code cannot lift it", func(t *testing.T) { codeCannotLift(t, p) })
			t.Run("a signed deviation can", func(t *testing.T) { deviationLifts(t, p) })
			t.Run("another cannot", func(t *testing.T) { badDeviationDoesNot(t, p) })
		})
	}
}

func baselineBlocks(t *testing.T, p production) {
	d := must(p.with(t, "", kest.Config{}))(t)
	_, err := wrap(t, d, "reports.Run")(t.Context(), struct{}{})
	var denied *kest.DeniedError
	if !errors.As(err, &denied) || denied.Policy != "data-classification" || denied.Tier != policy.Enterprise {
		t.Fatalf("got %v", err)
	}
	if _, err := d.Verifier.VerifyDenial(t.Context(), denied.Record); err != nil {
		t.Errorf("the record of the denial: %v", err)
	}
}

// codeCannotLift tries everything that application code has: each is an error at the start, or changes nothing.
func codeCannotLift(t *testing.T, p production) {
	for name, attempt := range map[string]struct {
		app  kest.Config
		want string // in the error; "" when the start is good and the call is still denied
	}{
		"no enterprise policies":      {kest.Config{Enterprise: []string{}}, `Enterprise: application code leaves out "data-classification"`},
		"fewer enterprise policies":   {kest.Config{Enterprise: []string{"baseline-auth"}}, `Enterprise: application code leaves out "data-classification"`},
		"nil enterprise policies":     {kest.Config{}, ""},
		"a deviation":                 {kest.Config{Deviations: []policy.Deviation{exemption}}, "Deviations: 1 are set by application code"},
		"a trial in its place":        {kest.Config{Shadow: policy.Tiers{Enterprise: []string{"data-classification"}}}, `Shadow: application code puts enterprise policy "data-classification" on trial`},
		"a trial in another tier":     {kest.Config{Shadow: policy.Tiers{Application: []string{"data-classification"}}}, ""},
		"the same as its own policy":  {kest.Config{Application: []string{"data-classification"}}, ""},
		"another engine of the guard": {kest.Config{Engine: policytest.Allow()}, "Guard.Engine is set by application code"},
	} {
		d, err := p.with(t, "", attempt.app)
		if attempt.want != "" {
			if err == nil || !strings.Contains(err.Error(), attempt.want) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for option, more := range map[string][]kest.Option{
			"": nil, "another engine of the function": {kest.WithEngine(policytest.Allow())}, "a raised trust": {kest.TrustOverride(100)},
			"a trial of the function": {kest.ShadowPolicy("data-classification")},
		} {
			if _, err := wrap(t, d, "reports.Run", more...)(t.Context(), struct{}{}); deniedBy(t, err) != "data-classification" {
				t.Errorf("%s, %s: %v", name, option, err)
			}
		}
	}
}

func deviationLifts(t *testing.T, p production) {
	d := must(p.with(t, exemptionText+"    signature: "+sign(t, exemption), kest.Config{}))(t)
	ctx, session := kest.StartSession(t.Context())
	if _, err := wrap(t, d, "reports.Run")(ctx, struct{}{}); err != nil {
		t.Fatal(err)
	}
	// Whoever gets the passport sees it, and need not believe us.
	passport, report, err := d.Verifier.Verify(t.Context(), lineage.Unverified{Entries: session.Passport().Entries()})
	if err != nil {
		t.Fatal(err, report)
	}
	entry := passport.Last().Entry()
	want := lineage.Deviation{
		Policy: "data-classification", Tier: "enterprise", Reason: "SEC-1423", Approver: "ciso",
		ApproverKey: lineage.Thumbprint(privateKey("ciso").Public().(ed25519.PublicKey)),
	}
	if len(entry.Policies.Deviations) != 1 || entry.Policies.Deviations[0] != want {
		t.Errorf("the entry says %+v, want %+v", entry.Policies.Deviations, want)
	}
	if entry.Principal() != "spiffe://example.org/reports" || len(entry.Policies.Enterprise) != 2 {
		t.Errorf("%s %v", entry.Principal(), entry.Policies.Enterprise)
	}
	if _, err := wrap(t, d, "payments.Charge")(t.Context(), struct{}{}); deniedBy(t, err) != "data-classification" {
		t.Errorf("outside its scope: %v", err)
	}
}

// badDeviationDoesNot: none of these starts, but for the expired one, which lifts nothing.
func badDeviationDoesNot(t *testing.T, p production) {
	good := sign(t, exemption)
	var bad *config.Error
	for name, more := range map[string]string{
		"unsigned":          exemptionText,
		"a wider scope":     swap(t, exemptionText, `"reports.*"`, `"*"`) + "    signature: " + good,
		"another reason":    swap(t, exemptionText, "SEC-1423", "SEC-1") + "    signature: " + good,
		"a later end":       swap(t, exemptionText, "2100", "2101") + "    signature: " + good,
		"another policy":    swap(t, exemptionText, "policy: data-classification", "policy: baseline-auth") + "    signature: " + good,
		"another tier":      swap(t, exemptionText, "tier: enterprise", "tier: platform") + "    signature: " + good,
		"another signature": exemptionText + "    signature: " + good[:len(good)-4] + "AAAA",
		"the function tier": swap(t, exemptionText, "tier: enterprise", "tier: function") + "    signature: " + good,
		"unknown approver":  swap(t, exemptionText, "approver: ciso", "approver: cto") + "    signature: " + good,
		"no approvers":      swap(t, exemptionText, "approvers: {keys: approvers.json}\n", "") + "    signature: " + good,
	} {
		if _, err := p.with(t, more, kest.Config{}); !errors.As(err, &bad) || bad.Problems[0].Line == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	expired := exemption
	expired.NotAfter = time.Date(2001, 1, 31, 0, 0, 0, 0, time.UTC)
	d := must(p.with(t, swap(t, exemptionText, "2100", "2001")+"    signature: "+sign(t, expired), kest.Config{}))(t)
	if _, err := wrap(t, d, "reports.Run")(t.Context(), struct{}{}); deniedBy(t, err) != "data-classification" {
		t.Errorf("under an expired deviation: %v", err)
	}
	if w := d.Config.Warnings(); len(w) != 1 || !strings.Contains(w[0].String(), `the deviation of "data-classification" has expired`) {
		t.Errorf("warnings: %v", w)
	}
}
