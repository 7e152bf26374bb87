package lineage_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// approver has a fixed key, so that the golden bytes stay.
func approver(t testing.TB, name string, seed byte) (lineage.Signer, *lineage.KeySet) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	signer, err := lineage.NewSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	set, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{name: {key.Public().(ed25519.PublicKey)}})
	if err != nil {
		t.Fatal(err)
	}
	return signer, set
}

func approval() lineage.Approval {
	return lineage.Approval{
		Policy: "org/limits", Tier: "platform", Scope: "payments.*", Reason: "CHG-1", Approver: "ciso",
		NotAfter: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
	}
}

// TestApprovalGolden fixes the bytes: what was signed last year must verify next year.
func TestApprovalGolden(t *testing.T) {
	signer, keys := approver(t, "ciso", 7)
	got, err := lineage.SignApproval(t.Context(), signer, approval())
	if err != nil {
		t.Fatal(err)
	}
	const want = "eyJhbGciOiJFZERTQSIsImtpZCI6Ii0tNklNNWwwT29zTGo5eVdza0lTWWhVQTNuXzNDVVJRa21yWU1TaGFfY2siLCJ0eXAiOiJrZXN0LWRldmlhdGlvbitqd3MifQ" +
		"..DjxEnkEv53Bcr6PcSdETLXeJmpNThtXtUkzFcw4eP6OX_Br4WBnD6msEraSFqOIqmwwROyQMcEQqyld1ecWtDA"
	if got != want {
		t.Errorf("signature\n got %s\nwant %s", got, want)
	}
	id, err := lineage.VerifyApproval(t.Context(), keys, approval(), got)
	if err != nil || id != signer.KeyID() {
		t.Errorf("key %q, %v", id, err)
	}
	other := approval()
	other.NotAfter = other.NotAfter.In(time.FixedZone("", 3600)) // the same instant
	if _, err := lineage.VerifyApproval(t.Context(), keys, other, got); err != nil {
		t.Errorf("another time zone: %v", err)
	}
}

// TestApprovalAttacks: no word can be changed, and no other signature or document stands in.
func TestApprovalAttacks(t *testing.T) {
	signer, keys := approver(t, "ciso", 7)
	mallory, _ := approver(t, "ciso", 8)
	good, err := lineage.SignApproval(t.Context(), signer, approval())
	if err != nil {
		t.Fatal(err)
	}
	header, signature, _ := strings.Cut(good, "..")
	for name, change := range map[string]func(*lineage.Approval){
		"policy":   func(a *lineage.Approval) { a.Policy = "org/limits2" },
		"tier":     func(a *lineage.Approval) { a.Tier = "enterprise" },
		"scope":    func(a *lineage.Approval) { a.Scope = "*" },
		"reason":   func(a *lineage.Approval) { a.Reason = "" },
		"approver": func(a *lineage.Approval) { a.Approver = "cto" },
		"later":    func(a *lineage.Approval) { a.NotAfter = a.NotAfter.Add(time.Second) },
		"no end":   func(a *lineage.Approval) { a.NotAfter = time.Time{} },
		"fraction": func(a *lineage.Approval) { a.NotAfter = a.NotAfter.Add(1) },
		"not text": func(a *lineage.Approval) { a.Reason = "\xff" },
		"huge":     func(a *lineage.Approval) { a.Reason = strings.Repeat("x", 20<<10) },
	} {
		a := approval()
		change(&a)
		if id, err := lineage.VerifyApproval(t.Context(), keys, a, good); !errors.Is(err, lineage.ErrUnverified) || id != "" {
			t.Errorf("%s changed: key %q, %v", name, id, err)
		}
	}
	theirs, err := lineage.SignApproval(t.Context(), mallory, approval())
	if err != nil {
		t.Fatal(err)
	}
	a := approval()
	a.Approver = "cto"
	if _, err := lineage.SignApproval(t.Context(), signer, a); err == nil {
		t.Error("signed in the name of somebody else")
	}
	for name, text := range map[string]string{
		"empty": "", "dots": "..", "no signature": header + "..", "no header": ".." + signature, "one part": header,
		"payload attached": header + ".e30." + signature, "four parts": good + ".x", "another key": theirs,
		"padded": good + "=", "line break": good + "\n", "long": header + ".." + strings.Repeat("A", 64<<10),
		"alg none":      "eyJhbGciOiJub25lIiwidHlwIjoia2VzdC1kZXZpYXRpb24randzIn0.." + signature,
		"type of entry": "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXUyJ9.." + signature,
		"flipped":       header + "..A" + signature[1:],
	} {
		if id, err := lineage.VerifyApproval(t.Context(), keys, approval(), text); !errors.Is(err, lineage.ErrUnverified) || id != "" {
			t.Errorf("%s: key %q, %v", name, id, err)
		}
	}
}

type brokenSource struct{ err error }

func (s brokenSource) Keys(context.Context, string, string) ([]ed25519.PublicKey, error) {
	return nil, s.err
}

// timedKeys is a source whose keys count only together with what Certify says.
type timedKeys struct{ *lineage.KeySet }

func (timedKeys) Certify(context.Context, lineage.Signature) (lineage.Certificate, error) {
	return lineage.Certificate{}, nil
}

// smallOrderKeys says that everybody has the key under which every message verifies.
type smallOrderKeys struct{}

func (smallOrderKeys) Keys(context.Context, string, string) ([]ed25519.PublicKey, error) {
	return []ed25519.PublicKey{append([]byte{1}, make([]byte, 31)...)}, nil
}

func TestApprovalKeys(t *testing.T) {
	signer, _ := approver(t, "ciso", 7)
	good, err := lineage.SignApproval(t.Context(), signer, approval())
	if err != nil {
		t.Fatal(err)
	}
	down := errors.New("down")
	if _, err := lineage.VerifyApproval(t.Context(), brokenSource{down}, approval(), good); !errors.Is(err, down) || !errors.Is(err, lineage.ErrUnverified) {
		t.Errorf("keys that cannot be asked: %v", err)
	}
	_, keys := approver(t, "ciso", 7)
	if _, err := lineage.VerifyApproval(t.Context(), timedKeys{keys}, approval(), good); !errors.Is(err, lineage.ErrUnverified) {
		t.Errorf("keys that count for a time: %v", err)
	}
	header, _, _ := strings.Cut(good, "..")
	forged := header + "..AQ" + strings.Repeat("A", 84) // R is the identity, S is 0
	if _, err := lineage.VerifyApproval(t.Context(), smallOrderKeys{}, approval(), forged); !errors.Is(err, lineage.ErrUnverified) {
		t.Errorf("a key of small order: %v", err)
	}
}

func FuzzVerifyApproval(f *testing.F) {
	signer, keys := approver(f, "ciso", 7)
	good, err := lineage.SignApproval(f.Context(), signer, approval())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, "", "..", good + ".", "a..b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, signature string) {
		_, err := lineage.VerifyApproval(t.Context(), keys, approval(), signature)
		if err == nil && signature != good {
			t.Errorf("accepted: %q", signature)
		}
	})
}
