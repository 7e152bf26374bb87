package lineage_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// lookup answers every question with the same keys, and remembers the last one.
type lookup struct {
	keys             []ed25519.PublicKey
	ctx              context.Context
	principal, keyID string
	asked            int
}

func (l *lookup) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	l.ctx, l.principal, l.keyID = ctx, principal, keyID
	l.asked++
	return l.keys, nil
}

// renamed signs under a key id of its own choice.
type renamed struct {
	lineage.Signer
	id string
}

func (r renamed) KeyID() string { return r.id }

func approverKey(seed byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
}

// TestApprovalAsksForTheKey: of that approver and of that id, under the caller's context; and what is recorded is the
// thumbprint of the key that verified, not the name that the signature gives it.
func TestApprovalAsksForTheKey(t *testing.T) {
	signer, _ := approver(t, "ciso", 7)
	signed, err := lineage.SignApproval(t.Context(), renamed{signer, "key of the cto"}, approval())
	if err != nil {
		t.Fatal(err)
	}
	type mark struct{}
	ctx := context.WithValue(t.Context(), mark{}, true)
	keys := &lookup{keys: []ed25519.PublicKey{approverKey(1), approverKey(7)}}
	id, err := lineage.VerifyApproval(ctx, keys, approval(), signed)
	if err != nil || id != lineage.Thumbprint(approverKey(7)) {
		t.Errorf("key %q, %v; want that of the second key", id, err)
	}
	if keys.principal != "ciso" || keys.keyID != "key of the cto" || keys.ctx.Value(mark{}) != true || keys.asked != 1 {
		t.Errorf("asked %d times, for %q of %q", keys.asked, keys.keyID, keys.principal)
	}
}

// TestApprovalTriesFewKeys: a key source cannot make one signature cost any number of checks.
func TestApprovalTriesFewKeys(t *testing.T) {
	signer, _ := approver(t, "ciso", 7)
	signed, err := lineage.SignApproval(t.Context(), signer, approval())
	if err != nil {
		t.Fatal(err)
	}
	keys := &lookup{}
	for seed := range byte(63) {
		keys.keys = append(keys.keys, approverKey(100+seed))
	}
	keys.keys = append(keys.keys, approverKey(7))
	if _, err := lineage.VerifyApproval(t.Context(), keys, approval(), signed); err != nil {
		t.Errorf("the last of 64 keys: %v", err)
	}
	keys.keys = append(keys.keys, approverKey(1))
	if _, err := lineage.VerifyApproval(t.Context(), keys, approval(), signed); !errors.Is(err, lineage.ErrLimit) || !errors.Is(err, lineage.ErrUnverified) {
		t.Errorf("65 keys: %v", err)
	}
}

// TestApprovalSizes: what is signed is bounded alike for those who sign and those who verify, and a signature that is too
// long is refused before anything is decoded.
func TestApprovalSizes(t *testing.T) {
	signer, keys := approver(t, "ciso", 7)
	a := approval()
	a.Reason = ""
	fixed := len(`{"approver":"ciso","not_after":"2027-01-31T00:00:00Z","policy":"org/limits","reason":"","scope":"payments.*","tier":"platform"}`)
	a.Reason = strings.Repeat("x", 16<<10-fixed)
	signed, err := lineage.SignApproval(t.Context(), signer, a)
	if err != nil {
		t.Fatalf("payload of 16 KiB: %v", err)
	}
	if _, err := lineage.VerifyApproval(t.Context(), keys, a, signed); err != nil {
		t.Errorf("payload of 16 KiB: %v", err)
	}
	a.Reason += "x"
	if _, err := lineage.SignApproval(t.Context(), signer, a); !errors.Is(err, lineage.ErrLimit) {
		t.Errorf("signed a payload of 16 KiB and a byte: %v", err)
	}
	if _, err := lineage.VerifyApproval(t.Context(), keys, a, signed); !errors.Is(err, lineage.ErrLimit) || !errors.Is(err, lineage.ErrUnverified) {
		t.Errorf("payload of 16 KiB and a byte: %v", err)
	}
	header, _, _ := strings.Cut(signed, "..")
	long := header + ".." + strings.Repeat("A", 20<<10)
	if _, err := lineage.VerifyApproval(t.Context(), keys, approval(), long); !errors.Is(err, lineage.ErrLimit) {
		t.Errorf("signature of 20 KiB: %v", err)
	}
}

// TestApprovalPayload: the signature is over exactly the documented text, so that others can make and check approvals. An
// approval without an end says null, and so differs from each one that ends.
func TestApprovalPayload(t *testing.T) {
	signer, keys := approver(t, "ciso", 7)
	for want, a := range map[string]lineage.Approval{
		`{"approver":"ciso","not_after":null,"policy":"p","reason":"","scope":"*","tier":"platform"}`: {
			Policy: "p", Tier: "platform", Scope: "*", Approver: "ciso",
		},
		`{"approver":"ciso","not_after":"2027-01-30T23:00:00Z","policy":"p","reason":"é\n","scope":"*","tier":"platform"}`: {
			Policy: "p", Tier: "platform", Scope: "*", Approver: "ciso", Reason: "é\n",
			NotAfter: time.Date(2027, 1, 31, 0, 0, 0, 0, time.FixedZone("", 3600)),
		},
	} {
		signed, err := lineage.SignApproval(t.Context(), signer, a)
		if err != nil {
			t.Fatal(err)
		}
		header, signature, _ := strings.Cut(signed, "..")
		raw, err := base64.RawURLEncoding.DecodeString(signature)
		if err != nil {
			t.Fatal(err)
		}
		if !ed25519.Verify(approverKey(7), []byte(header+"."+base64.RawURLEncoding.EncodeToString([]byte(want))), raw) {
			t.Errorf("the signature is not over %s", want)
		}
		if _, err := lineage.VerifyApproval(t.Context(), keys, a, signed); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestApprovalIsNoOtherDocument: a key signs entries, receipts and approvals, and none of them can be taken for another,
// whatever an approver's workload can be made to sign.
func TestApprovalIsNoOtherDocument(t *testing.T) {
	signer, keys := approver(t, "ciso", 7)
	payload := `{"approver":"ciso","not_after":"2027-01-31T00:00:00Z","policy":"org/limits","reason":"CHG-1","scope":"payments.*","tier":"platform"}`
	for _, header := range []string{
		`{"alg":"EdDSA","typ":"JWS"}`, `{"alg":"EdDSA"}`, `{"alg":"EdDSA","typ":"kest-receipt+jws"}`, `{"alg":"EdDSA","typ":"kest-denial+jws"}`,
		`{"alg":"EdDSA","typ":"KEST-DEVIATION+JWS"}`, `{"alg":"EdDSA","typ":"kest-deviation+jws","b64":false,"crit":["b64"]}`,
	} {
		head := base64.RawURLEncoding.EncodeToString([]byte(header))
		signature, err := signer.Sign(t.Context(), []byte(head+"."+base64.RawURLEncoding.EncodeToString([]byte(payload))))
		if err != nil {
			t.Fatal(err)
		}
		signed := head + ".." + base64.RawURLEncoding.EncodeToString(signature)
		if id, err := lineage.VerifyApproval(t.Context(), keys, approval(), signed); !errors.Is(err, lineage.ErrUnverified) || id != "" {
			t.Errorf("%s: key %q, %v", header, id, err)
		}
	}
	entry, err := lineage.SignApproval(t.Context(), signer, approval())
	if err != nil {
		t.Fatal(err)
	}
	head, signature, _ := strings.Cut(entry, "..")
	attached := head + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + signature
	v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Verify(t.Context(), lineage.Unverified{Entries: []string{attached}}); err == nil {
		t.Error("an approval is an entry")
	}
	if _, err := v.VerifyDenial(t.Context(), attached); err == nil {
		t.Error("an approval is a denial")
	}
}
