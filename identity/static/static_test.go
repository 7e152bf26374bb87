package static_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/identity/static"
	"github.com/kest-go/kest/lineage"
)

const principal = "device:pump-17"

func Example() {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)) // a device reads its own from its store
	device, err := static.New("device:pump-17", key)
	if err != nil {
		panic(err)
	}
	signer, err := device.Signer(context.Background())
	if err != nil {
		panic(err)
	}
	signature, err := signer.Sign(context.Background(), []byte("header.payload"))
	if err != nil {
		panic(err)
	}
	fmt.Println(device)
	fmt.Println(ed25519.Verify(device.PublicKey(), []byte("header.payload"), signature))
	// Output:
	// device:pump-17 (key --6IM5l0OosLj9yWskISYhUA3n_3CURQkmrYMSha_ck)
	// true
}

func TestContract(t *testing.T) { // SPEC §8 Static, F-ID-01…05
	p, err := static.New(principal, identitytest.Key("pump"))
	if err != nil {
		t.Fatal(err)
	}
	identitytest.TestProvider(t, identitytest.Harness{
		New: func(*testing.T) identity.Provider { return p },
		PublicKey: func(keyID string) ed25519.PublicKey {
			if key := p.PublicKey(); lineage.Thumbprint(key) == keyID {
				return key
			}
			return nil
		},
	})
	if s, _ := p.Signer(context.Background()); s.Principal() != principal || p.Principal() != principal {
		t.Errorf("principals %q and %q", s.Principal(), p.Principal())
	}
}

func TestCopiesTheKey(t *testing.T) {
	key := identitytest.Key("pump")
	p, err := static.New(principal, key)
	if err != nil {
		t.Fatal(err)
	}
	clear(key) // a careful caller erases its own
	p.PublicKey()[0] ^= 1
	s, err := p.Signer(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	signature, err := s.Sign(context.Background(), []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	public := identitytest.Key("pump").Public().(ed25519.PublicKey)
	if !ed25519.Verify(public, []byte("m"), signature) || !p.PublicKey().Equal(public) {
		t.Error("the provider shares a key with its caller")
	}
}

// TestRefusesKeys: a key with a foreign public half would give its private half away in two signatures.
func TestRefusesKeys(t *testing.T) {
	key := identitytest.Key("pump")
	for name, bad := range map[string]ed25519.PrivateKey{
		"nil": nil, "empty": {}, "seed only": ed25519.PrivateKey(key.Seed()), "short": key[:63],
		"long":           append(slices.Clone(key), 0),
		"foreign public": slices.Concat(key[:32], identitytest.Key("other")[32:]),
		"zero public":    slices.Concat(key[:32], make([]byte, 32)),
		"all zero":       make([]byte, 64),
		"halves swapped": slices.Concat(key[32:], key[:32]),
	} {
		p, err := static.New(principal, bad)
		if err == nil || p != nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		public := key.Public().(ed25519.PublicKey)
		for _, part := range []string{fmt.Sprintf("%x", key[:8]), fmt.Sprint([]byte(key[:8])), fmt.Sprintf("%x", public[:8])} {
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), strings.Trim(part, "[]")) {
				t.Errorf("%s: the error repeats the key", name)
			}
		}
	}
	for i := 32; i < 64; i++ { // every byte of the public half counts
		bad := slices.Clone(key)
		bad[i] ^= 0x80
		if _, err := static.New(principal, bad); err == nil {
			t.Errorf("byte %d of the key is not checked", i)
		}
	}
}

func TestRefusesPrincipals(t *testing.T) {
	for _, bad := range []string{"", "a\x00", "a\nb", "\xff", "a\u202eb", strings.Repeat("a", identity.MaxPrincipal+1)} {
		if p, err := static.New(bad, identitytest.Key("pump")); err == nil || p != nil {
			t.Errorf("%.40q is accepted", bad)
		}
	}
}
