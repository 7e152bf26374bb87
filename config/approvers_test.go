package config_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// privateKey of an approver of the tests. That of ciso@example.org has signed in testdata/kest.yaml.
func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("approver " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// keysOf is a file of approvers.keys.
func keysOf(t *testing.T, names ...string) []byte {
	t.Helper()
	keys := map[string][]ed25519.PublicKey{}
	for _, name := range names {
		keys[name] = []ed25519.PublicKey{privateKey(name).Public().(ed25519.PublicKey)}
	}
	set, err := lineage.NewKeySet(keys)
	if err != nil {
		t.Fatal(err)
	}
	text, err := set.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func signed(t *testing.T, by string, d policy.Deviation) string {
	t.Helper()
	signer, err := lineage.NewSigner(by, privateKey(by))
	if err != nil {
		t.Fatal(err)
	}
	d.Approver = by
	if d, err = d.Sign(t.Context(), signer); err != nil {
		t.Fatal(err)
	}
	return d.Signature
}

// lifted is a deviation as the tests write it.
var lifted = policy.Deviation{Policy: "data", Tier: policy.Enterprise, Scope: "reports.*", Reason: "INC-1", Approver: "ciso"}

const deviationText = "policies: {enterprise: [base, data]}\napprovers: {keys: keys.json%s}\ndeviations:\n" +
	"  - policy: data\n    tier: enterprise\n    scope: 'reports.*'\n    reason: INC-1\n    approver: ciso\n"

// inFolder parses a text beside a file keys.json.
func inFolder(t *testing.T, text string, keys []byte) (*config.Deployment, error) {
	t.Helper()
	dir := t.TempDir()
	if keys != nil {
		if err := os.WriteFile(filepath.Join(dir, "keys.json"), keys, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := config.Parse([]byte(text), config.Options{File: filepath.Join(dir, "kest.yaml"), Environ: []string{}, Logger: quiet})
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), dir+"/", ""))
	}
	return d, err
}

// TestApprovals: a signature is checked when the file is, with its place and what to do.
func TestApprovals(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(deviationText, "")
	good := signed(t, "ciso", lifted)
	other := lifted
	other.Scope = "*"
	expired := lifted
	expired.NotAfter = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	keys := keysOf(t, "ciso", "cto")
	change := "; have the approver sign the deviation as it stands here"
	for _, test := range []struct {
		name, text string
		keys       []byte
		want       string
	}{
		{"signed", text + "    signature: " + good, keys, ""},
		{"unsigned", text, keys, `kest.yaml:4:5: deviations[0]: it is not signed, which approvers.required demands of the deviation of "data"; have its approver sign it: kest deviation sign --key PEM --file FILE --index 0`},
		{"unsigned, which is allowed", fmt.Sprintf(deviationText, ", required: false"), keys, ""},
		{"signed, which is not required", fmt.Sprintf(deviationText, ", required: false") + "    signature: " + good, keys, ""},
		{"a bad signature, though none is required", fmt.Sprintf(deviationText, ", required: false") + "    signature: a..b", keys, "kest.yaml:9:16: deviations[0].signature: it is no signature by its approver: "},
		{"another scope was signed", text + "    signature: " + signed(t, "ciso", other), keys, `kest.yaml:9:16: deviations[0].signature: it is no signature by its approver: no key of approver "ciso" matches the signature; a changed word needs a new one` + change},
		{"a later end was signed", text + "    not_after: 2099-01-01T00:00:00Z\n    signature: " + good, keys, `no key of approver "ciso" matches the signature`},
		{"somebody else signed", text + "    signature: " + signed(t, "cto", lifted), keys, `no key of approver "ciso" matches the signature`},
		{"of somebody who was removed", text + "    signature: " + good, keysOf(t, "cto"), `kest.yaml:8:15: deviations[0].approver: "ciso" has no keys in keys.json; there is only "cto"`},
		{"of nobody", strings.Replace(text, "    approver: ciso\n", "", 1), keys, "kest.yaml:4:5: deviations[0]: it names no approver, so nobody can have signed it; add approver; use ciso or cto"},
		{"not a detached JWS", text + "    signature: eyJhbGciOiJub25lIn0..", keys, "kest.yaml:9:16: deviations[0].signature: it is no signature by its approver: "},
		{"long", text + "    signature: " + strings.Repeat("x", 100_000), keys, "kest.yaml:9:16: deviations[0].signature: it is no signature by its approver: "},
		{"no keys", text + "    signature: " + good, nil, "kest.yaml:2:19: approvers.keys: stat keys.json: no such file or directory; name a JSON object from the approver's name to a JWKS"},
		{"keys that are none", text + "    signature: " + good, []byte("[]"), "kest.yaml:2:19: approvers.keys: "},
		{"nobody in the keys", text + "    signature: " + good, []byte("{}"), "kest.yaml:2:19: approvers.keys: there is nobody in the file; add the public keys of those who may approve"},
		{"no approvers", strings.Replace(text, "approvers: {keys: keys.json}\n", "", 1) + "    signature: " + good, nil, "kest.yaml:8:16: deviations[0].signature: it cannot be checked, because there are no keys of approvers; add the section approvers"},
		{"no file named", strings.Replace(text, "{keys: keys.json}", "{required: true}", 1), nil, "kest.yaml:2:12: approvers: keys is missing; add it"},
		{"expired, and signed as such", text + "    not_after: 2001-01-01T00:00:00Z\n    signature: " + signed(t, "ciso", expired), keys, ""},
		{"function tier, signed by whomever", strings.Replace(text, "tier: enterprise", "tier: function", 1) + "    signature: " + good, keys, "kest.yaml:5:11: deviations[0].tier: function policies cannot be deviated; take the policy out of the call instead"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, err := inFolder(t, test.text, test.keys)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want == "":
				if c := d.Guard(); c.Approvers == nil {
					t.Error("the guard gets no approvers")
				}
			case err == nil || !strings.Contains(err.Error(), test.want):
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

// TestApprovalsReachTheGuard: what the file was checked by is what the guard checks by, and the entry names the key.
func TestApprovalsReachTheGuard(t *testing.T) {
	t.Parallel()
	d, err := inFolder(t, fmt.Sprintf(deviationText, "")+"    signature: "+signed(t, "ciso", lifted)+"\nidentity: {local: {}}\n", keysOf(t, "ciso"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Apply(kest.Config{Identity: id, Logger: quiet, Engine: policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: name != "data"}, nil
	})})
	if err != nil || !c.RequireApproval {
		t.Fatal(c.RequireApproval, err)
	}
	guard, err := kest.New(c)
	if err != nil {
		t.Fatal(err)
	}
	call := kest.MustVerified(guard, func(ctx context.Context, _ struct{}) (string, error) {
		return kest.CurrentPassport(ctx).Last().Entry().Policies.Deviations[0].ApproverKey, nil
	}, kest.Operation("reports.Run"), kest.Policy("app/p"))
	key, err := call(t.Context(), struct{}{})
	if want := lineage.Thumbprint(privateKey("ciso").Public().(ed25519.PublicKey)); key != want || err != nil {
		t.Errorf("the entry names key %q, %v; want %q", key, err, want)
	}
	// Whoever changes the configuration on its way is caught by the guard.
	c.Deviations[0].Scope = "*"
	if _, err := kest.New(c); err == nil {
		t.Error("the guard takes a deviation that was changed after it was signed")
	}
}

// TestWatchApprovers: keys that are taken away, and put back, count from the next reading on.
func TestWatchApprovers(t *testing.T) {
	text := fmt.Sprintf(deviationText, "") + "    signature: " + signed(t, "ciso", lifted) + "\n"
	dir := t.TempDir()
	keys := func(names ...string) {
		if err := os.WriteFile(filepath.Join(dir, "keys.json"), keysOf(t, names...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys("ciso", "cto")
	watchIn(t, dir, text, func(w *watched) {
		w.pass(3)
		w.want("no change", 0, 0)
		keys("cto")
		w.pass(5)
		w.want("the approver is gone", 0, 1)
		if got := w.report(0).Error(); !strings.Contains(got, `"ciso" has no keys`) {
			t.Error(got)
		}
		keys("ciso")
		w.pass(5)
		w.want("the approver is back, alone", 1, 1)
		w.replace("policies: {enterprise: [base, data]}\n")
		w.pass(5)
		w.want("no approvers any more", 2, 1)
		if c := w.last().Guard(); c.Approvers != nil || c.RequireApproval || c.Deviations != nil {
			t.Errorf("%+v", c)
		}
		w.replace(text) // beside keys that do not fit yet
		keys("cto")
		w.pass(5)
		w.want("keys that do not fit", 2, 2)
		keys("ciso")
		w.pass(5)
		w.want("keys that fit", 3, 2)
	})
}
