package main_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
)

const victim = "spiffe://example.org/payments"

// certified is a session key with a binding that an authority stands behind.
type certified struct {
	signer  lineage.Signer
	binding *lineage.KeyBinding
}

func certifiedBy(t *testing.T, ca *spiffetest.CA, id, principal string, from time.Time) certified {
	t.Helper()
	public, signer, err := identity.NewSessionKey(principal)
	if err != nil {
		t.Fatal(err)
	}
	return certified{signer, bind(t, ca, id, public, from)}
}

func bind(t *testing.T, ca *spiffetest.CA, id string, public ed25519.PublicKey, from time.Time) *lineage.KeyBinding {
	t.Helper()
	chain, private := ca.Mint(spiffetest.Leaf{ID: id})
	b, err := lineage.Certify(t.Context(), lineage.Statement{Principal: id, Key: public, NotBefore: from, NotAfter: from.Add(10 * time.Minute)},
		lineage.StatementKey{Public: private.Public(), Chain: chain, Sign: func(_ context.Context, input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			return private.Sign(rand.Reader, digest[:], crypto.SHA256)
		}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// entry signs a root that says when it was signed.
func (c certified) entry(t *testing.T, at time.Time) *lineage.Signed {
	t.Helper()
	s, err := lineage.Sign(t.Context(), c.signer, lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "test"}, ID: "0199f0a5-8a11-7c31-8000-000000000001",
		Operation: "pay", Classification: "system", TrustScore: 100, TimestampMS: at.UnixMilli(),
		Labels: map[string]string{lineage.LabelPrincipal: victim, lineage.LabelTraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
			lineage.LabelSourceType: lineage.SourceInternal},
	}, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestForgedArchive: what somebody put into an archive does not make kest verify believe a passport, as long as they did not
// write the roots, nor, with --observed, the observations.
func TestForgedArchive(t *testing.T) {
	ca, now := spiffetest.NewCA("example.org"), time.Now().Truncate(time.Second)
	good := certifiedBy(t, ca, victim, victim, now)
	stranger := certifiedBy(t, spiffetest.NewCA("example.org"), victim, victim, now)
	intruder := certifiedBy(t, ca, "spiffe://example.org/intruder", victim, now) // its binding says "intruder"
	tampered := func(from, to string) func(string) string {
		return func(text string) string { return strings.Replace(text, from, to, 1) }
	}
	same := func(text string) string { return text }
	for _, c := range []struct {
		name     string
		by       certified
		signed   time.Time
		observed time.Time // zero: never
		bindings []*lineage.KeyBinding
		change   func(string) string
		args     []string
		code     int
		says     string
	}{
		{"none", good, now, now, []*lineage.KeyBinding{good.binding}, same, []string{"--observed"}, 0, "VERIFIED"},
		{"none, by the signer's word", good, now, time.Time{}, []*lineage.KeyBinding{good.binding}, same, nil, 0, "VERIFIED"},
		{"no binding", good, now, now, nil, same, nil, 1, "unknown key"},
		{"binding by a stranger", stranger, now, now, []*lineage.KeyBinding{good.binding, stranger.binding}, same, nil, 1, "unknown key"},
		{"binding of another principal", intruder, now, now, []*lineage.KeyBinding{good.binding, intruder.binding}, same, nil, 1, "unknown key"},
		{"that under the victim's name", intruder, now, now, []*lineage.KeyBinding{intruder.binding},
			tampered(`\"principal\":\"spiffe://example.org/intruder`, `\"principal\":\"`+victim), nil, 2, ""},
		{"signed after the end", good, now.Add(time.Hour), time.Time{}, []*lineage.KeyBinding{good.binding}, same, nil, 1, "not certified"},
		{"dated back, seen late", good, now, now.Add(time.Hour), []*lineage.KeyBinding{good.binding}, same, nil, 1, "not certified"},
		{"dated back, never seen", good, now, time.Time{}, []*lineage.KeyBinding{good.binding}, same, []string{"--observed"}, 1, "not certified"},
		{"seen before it was signed", good, now.Add(5 * time.Minute), now, []*lineage.KeyBinding{good.binding}, same, nil, 1, "not certified"},
		{"a member that nobody knows", good, now, now, []*lineage.KeyBinding{good.binding}, tampered(`"observed":`, `"believe":[],"observed":`), nil, 2, ""},
		{"observations twice", good, now, now, []*lineage.KeyBinding{good.binding}, tampered(`"observed":`, `"observed":{},"observed":`), nil, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			archive, entry := &binding.Archive{}, c.by.entry(t, c.signed)
			for _, b := range c.bindings {
				archive.Add(b)
			}
			if !c.observed.IsZero() {
				archive.Observe(entry.Hash(), c.observed)
			}
			if err := archive.AddRoots(ca.Roots()); err != nil {
				t.Fatal(err)
			}
			text, err := archive.AppendJSON(nil)
			if err != nil {
				t.Fatal(err)
			}
			passport, err := json.Marshal([]string{entry.JWS()})
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for name, text := range map[string]string{"archive.json": c.change(string(text)), "passport.json": string(passport)} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{"verify", filepath.Join(dir, "passport.json"), "--keys", filepath.Join(dir, "archive.json")}, c.args...)
			out := kest(t, c.code, args...)
			if !strings.Contains(out, c.says) || c.code != 0 && strings.Contains(strings.ReplaceAll(out, "NOT VERIFIED", ""), "VERIFIED") {
				t.Errorf("output:\n%s", out)
			}
		})
	}
}
