package identitytest_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
)

const principal = "spiffe://example.org/payments"

func TestMockPassesTheContract(t *testing.T) { // SPEC §8 Mock, F-ID-01…05
	m := identitytest.New(principal, "one", "two", "three")
	identitytest.TestProvider(t, identitytest.Harness{
		New:       func(*testing.T) identity.Provider { return m },
		PublicKey: m.PublicKey,
		Rotate:    m.Rotate,
	})
}

type provider func(context.Context) (lineage.Signer, error)

func (p provider) Signer(ctx context.Context) (lineage.Signer, error) { return p(ctx) }

// twisted is a correct signer whose exported hooks replace one of its answers.
type twisted struct {
	lineage.Signer
	principal func() string
	keyID     func() string
	sign      func(context.Context, []byte) ([]byte, error)
}

func (s *twisted) Principal() string {
	if s.principal != nil {
		return s.principal()
	}
	return s.Signer.Principal()
}

func (s *twisted) KeyID() string {
	if s.keyID != nil {
		return s.keyID()
	}
	return s.Signer.KeyID()
}

func (s *twisted) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if s.sign != nil {
		return s.sign(ctx, message)
	}
	return s.Signer.Sign(ctx, message)
}

// leaking prints its text, whatever the verb.
type leaking struct {
	provider
	text string
}

func (l leaking) Format(f fmt.State, _ rune) { fmt.Fprint(f, "signer[", l.text, "] end") }

// holder keeps its key where only a print of the dereferenced struct finds it.
type holder struct {
	key ed25519.PrivateKey
	m   *identitytest.Mock
}

func (h *holder) Signer(ctx context.Context) (lineage.Signer, error) { return h.m.Signer(ctx) }
func (h *holder) Format(f fmt.State, _ rune)                         { fmt.Fprint(f, "holder") }

// jsonHolder gives its key to encoding/json only.
type jsonHolder struct {
	provider
	key func() []byte
}

func (h jsonHolder) Format(f fmt.State, _ rune)   { fmt.Fprint(f, "holder") }
func (h jsonHolder) MarshalJSON() ([]byte, error) { return json.Marshal(h.key()) }

// TestContractCatches breaks one clause at a time: the kit must notice each, or passing it means nothing.
func TestContractCatches(t *testing.T) {
	bg := context.Background()
	m := identitytest.New(principal, "one", "two")
	right, _ := m.Signer(bg)
	with := func(s *twisted) provider {
		s.Signer = right
		return func(ctx context.Context) (lineage.Signer, error) { return s, ctx.Err() }
	}
	key := identitytest.Key("one")
	seed := key.Seed()
	n := 0
	var buffer [64]byte
	tests := []struct {
		name, check string
		provider    identity.Provider
	}{
		{"fails", "signature verifies", identitytest.Failing(nil)},
		{"cannot sign", "signature verifies", identitytest.FailingSigner(principal, nil)},
		{"no signer", "signature verifies", provider(func(context.Context) (lineage.Signer, error) { return nil, nil })},
		{"stub signature", "signature verifies", with(&twisted{sign: func(ctx context.Context, _ []byte) ([]byte, error) {
			return make([]byte, 64), ctx.Err()
		}})},
		{"no signature", "signature verifies", with(&twisted{sign: func(ctx context.Context, _ []byte) ([]byte, error) {
			return nil, ctx.Err()
		}})},
		{"prehashed", "signature verifies", with(&twisted{sign: func(ctx context.Context, message []byte) ([]byte, error) {
			return right.Sign(ctx, append([]byte("x"), message...))
		}})},
		{"key id of its own making", "signature verifies", with(&twisted{keyID: func() string { return "key-1" }})},
		{"short messages only", "signature verifies", with(&twisted{sign: func(ctx context.Context, message []byte) ([]byte, error) {
			if len(message) > 4096 {
				return nil, errors.New("too long")
			}
			return right.Sign(ctx, message)
		}})},
		{"empty principal", "principal", with(&twisted{principal: func() string { return "" }})},
		{"invalid UTF-8", "principal", with(&twisted{principal: func() string { return "a\xff" }})},
		{"invisible principal", "principal", with(&twisted{principal: func() string { return "a\u200b" }})},
		{"wandering principal", "principal", with(&twisted{principal: func() string { n++; return fmt.Sprint("p", n/3) }})},
		{"changes the message", "messages and signatures are not shared", with(&twisted{sign: func(ctx context.Context, message []byte) ([]byte, error) {
			signature, err := right.Sign(ctx, message)
			clear(message)
			return signature, err
		}})},
		{"reuses its buffer", "messages and signatures are not shared", with(&twisted{sign: func(ctx context.Context, message []byte) ([]byte, error) {
			signature, err := right.Sign(ctx, message)
			return buffer[:copy(buffer[:], signature)], err
		}})},
		{"signs one at a time", "concurrent", with(&twisted{sign: crowded(right)})},
		{"ignores cancellation", "cancelled", with(&twisted{sign: func(_ context.Context, message []byte) ([]byte, error) {
			return right.Sign(bg, message)
		}})},
		{"signature beside the error", "cancelled", with(&twisted{sign: func(ctx context.Context, message []byte) ([]byte, error) {
			signature, _ := right.Sign(bg, message)
			return signature, ctx.Err()
		}})},
		{"hides the cause", "cancelled", with(&twisted{sign: func(ctx context.Context, message []byte) ([]byte, error) {
			if ctx.Err() != nil {
				return nil, errors.New("no")
			}
			return right.Sign(ctx, message)
		}})},
		{"slow signer", "signer is cheap", provider(func(context.Context) (lineage.Signer, error) {
			time.Sleep(200 * time.Microsecond)
			return right, nil
		})},
		{"holds the key", "no secret is printed", &holder{key, m}},
		{"gives the key to JSON", "no secret is printed", jsonHolder{m.Signer, func() []byte { return key }}},
		{"prints the seed", "no secret is printed", leaking{m.Signer, hex.EncodeToString(seed)}},
		{"prints a token", "no secret is printed", leaking{m.Signer, "token-4711"}},
		{"error with the seed", "no secret is printed", provider(func(ctx context.Context) (lineage.Signer, error) {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w: key %x", ctx.Err(), seed)
			}
			return right, nil
		})},
	}
	if len(tests) < 24 {
		t.Fatal("the table lost rows")
	}
	// A directory that knows the key under any name: the id itself must still be the thumbprint.
	directory := func(string) ed25519.PublicKey { return m.PublicKeys()[0] }
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := identitytest.Harness{PublicKey: directory, Secrets: [][]byte{[]byte("token-4711"), nil}}
			if identitytest.Failure(h, test.provider, test.check) == nil {
				t.Errorf("check %q passed", test.check)
			}
		})
	}
}

// crowded fails while another call is under way.
func crowded(right lineage.Signer) func(context.Context, []byte) ([]byte, error) {
	var busy atomic.Int32
	return func(ctx context.Context, message []byte) ([]byte, error) {
		defer busy.Add(-1)
		if busy.Add(1) > 1 {
			return nil, errors.New("busy")
		}
		time.Sleep(100 * time.Microsecond) // real overlap, on one processor too
		return right.Sign(ctx, message)
	}
}

// TestContractCatchesBadRotation: what goes wrong only when the credential changes.
func TestContractCatchesBadRotation(t *testing.T) {
	m := identitytest.New(principal, "one", "two")
	current := func() lineage.Signer {
		s, err := m.Signer(context.Background())
		if err != nil {
			t.Error(err)
		}
		return s
	}
	// The classic fault: one signer object that always speaks for the key of the moment.
	live := &live{current}
	for name, test := range map[string]struct {
		check    string
		rotate   func()
		provider provider
	}{
		"does not rotate": {"rotation", func() {}, m.Signer},
		"live signer": {"rotation", m.Rotate, func(ctx context.Context) (lineage.Signer, error) {
			return live, ctx.Err()
		}},
		"other principal": {"rotation", m.Rotate, func(ctx context.Context) (lineage.Signer, error) {
			s := current()
			return &twisted{Signer: s, principal: s.KeyID}, ctx.Err()
		}},
		"mixed credential": {"concurrent with rotation", m.Rotate, func(ctx context.Context) (lineage.Signer, error) {
			keyID := current().KeyID()
			m.Rotate() // just here
			return &twisted{Signer: current(), keyID: func() string { return keyID }}, ctx.Err()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := identitytest.Harness{PublicKey: m.PublicKey, Rotate: test.rotate}
			if identitytest.Failure(h, test.provider, test.check) == nil {
				t.Errorf("check %q passed", test.check)
			}
		})
	}
}

type live struct{ current func() lineage.Signer }

func (l *live) Principal() string { return l.current().Principal() }
func (l *live) KeyID() string     { return l.current().KeyID() }
func (l *live) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return l.current().Sign(ctx, message)
}

// TestLeaksAreFound: the key is found in every form in which Go programs print bytes, in the middle of text.
func TestLeaksAreFound(t *testing.T) {
	key := identitytest.Key("one")
	seed, public := key.Seed(), key.Public().(ed25519.PublicKey)
	std, url := base64.StdEncoding, base64.RawURLEncoding
	for name, text := range map[string]string{
		"raw": string(seed), "hex": hex.EncodeToString(seed), "upper hex": fmt.Sprintf("%X", []byte(key)),
		"hex after a digit": "0" + hex.EncodeToString(seed), "0x": fmt.Sprintf("%#x", seed),
		"base64": std.EncodeToString(key), "base64url": url.EncodeToString(seed),
		"base64 in a value": std.EncodeToString(append([]byte("ab"), seed...)), "base64 at an offset": "k" + std.EncodeToString(seed),
		"decimal": fmt.Sprint(seed), "JSON list": strings.ReplaceAll(fmt.Sprint(key), " ", ","),
		"Go list": fmt.Sprintf("%#v", seed), "spaced hex": fmt.Sprintf("% x", seed), "quoted": fmt.Sprintf("%q", seed),
	} {
		if identitytest.Leak("signer: "+text+" (end)", public) == "" {
			t.Errorf("%s: not found in %s", name, text)
		}
	}
	if identitytest.Leak("a token-4711 b", public, []byte("token-4711")) == "" {
		t.Error("a plain secret is not found")
	}
	if identitytest.Leak(url.EncodeToString([]byte("token-4711")), public, []byte("token-4711")) == "" {
		t.Error("an encoded secret is not found")
	}
	for _, text := range []string{"", "signer", hex.EncodeToString(public), fmt.Sprint(identitytest.Key("two"))} {
		if what := identitytest.Leak(text, public, nil); what != "" {
			t.Errorf("%q: %s", text, what)
		}
	}
}

// TestEmptyHarnessFails: a harness that would test nothing is refused.
func TestEmptyHarnessFails(t *testing.T) {
	m := identitytest.New(principal)
	for name, h := range map[string]identitytest.Harness{
		"empty":       {},
		"no provider": {PublicKey: m.PublicKey},
		"no keys":     {New: func(*testing.T) identity.Provider { return m }},
	} {
		if identitytest.Validate(h) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	noKeys := identitytest.Harness{PublicKey: func(string) ed25519.PublicKey { return nil }}
	if identitytest.Failure(noKeys, m, "signature verifies") == nil {
		t.Error("signatures pass without a key to verify them")
	}
}
