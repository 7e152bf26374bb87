package identitytest_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
)

func ExampleNew() {
	workload := identitytest.New("spiffe://example.org/payments", "seed")
	signer, err := workload.Signer(context.Background())
	if err != nil {
		panic(err)
	}
	message := []byte("header.payload")
	signature, err := signer.Sign(context.Background(), message)
	if err != nil {
		panic(err)
	}
	fmt.Println(signer.Principal())
	fmt.Println(ed25519.Verify(workload.PublicKey(signer.KeyID()), message, signature))
	// Output:
	// spiffe://example.org/payments
	// true
}

// TestMockIsDeterministic pins one key id, so that recorded passports stay verifiable.
func TestMockIsDeterministic(t *testing.T) {
	id := func(m *identitytest.Mock) string {
		s, err := m.Signer(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return s.KeyID()
	}
	one := id(identitytest.New("a", "seed"))
	if again := id(identitytest.New("b", "seed")); again != one {
		t.Errorf("the same seed gives %s and %s", one, again)
	}
	if other := id(identitytest.New("a", "seed2")); other == one {
		t.Error("two seeds give one key")
	}
	if id(identitytest.New("a")) != id(identitytest.New("x", "a")) {
		t.Error("the default seed is not the principal")
	}
	if want := "j6VQFoaDeHGkTtOP8YsfXzk3nF3Wi5xdTe2g74szYOQ"; one != want {
		t.Errorf("key id %s, want %s", one, want)
	}
}

func TestMockRotates(t *testing.T) {
	m := identitytest.New("a", "one", "two")
	keys := m.PublicKeys()
	if len(keys) != 2 {
		t.Fatalf("%d keys", len(keys))
	}
	for i, want := range []ed25519.PublicKey{keys[0], keys[1], keys[0]} {
		if s, _ := m.Signer(context.Background()); s.KeyID() != lineage.Thumbprint(want) {
			t.Errorf("after %d rotations: %s", i, s.KeyID())
		}
		m.Rotate()
	}
	if m.PublicKey("unknown") != nil {
		t.Error("an unknown key id has a key")
	}
	m.PublicKeys()[0][0] ^= 1
	if !m.PublicKeys()[0].Equal(keys[0]) {
		t.Error("a caller can change the mock's key")
	}
}

func TestFailingProviders(t *testing.T) {
	ctx, own := context.Background(), errors.New("kms is away")
	for _, test := range []struct{ given, want error }{{nil, identitytest.ErrFailing}, {own, own}} {
		if s, err := identitytest.Failing(test.given).Signer(ctx); s != nil || !errors.Is(err, test.want) {
			t.Errorf("Failing: %v, %v", s, err)
		}
		s, err := identitytest.FailingSigner("a", test.given).Signer(ctx)
		if err != nil || s.Principal() != "a" || s.KeyID() == "" {
			t.Fatalf("FailingSigner: %v, %v", s, err)
		}
		if signature, err := s.Sign(ctx, nil); signature != nil || !errors.Is(err, test.want) {
			t.Errorf("Sign: %x, %v", signature, err)
		}
	}
}

func TestNewPanicsOnABadPrincipal(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var _ identity.Provider = identitytest.New("")
}
