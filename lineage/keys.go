package lineage

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kest-go/kest/internal/jcs"
)

// A KeySource answers which Ed25519 public keys may have signed for a principal (SPEC §4).
//
// keyID is the "kid" of the signature and may be empty. Keys returns the keys that match, and none with a nil
// error when the principal or the key is unknown; an error means that the source could not find out. Both fail
// verification. It must return only keys that passed [CheckKey], must be safe for concurrent use, and should
// answer repeated questions from memory: it is asked again for every verification, also of entries whose
// signatures were checked before, so that removing a key takes effect at once. The verifier does not modify the
// keys, and the source must not change their bytes afterwards.
type KeySource interface {
	Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error)
}

// CheckKey refuses keys under which signatures prove nothing: wrong length, a y coordinate outside the field
// (RFC 8032 §5.1.3), and the points of small order. crypto/ed25519 accepts a signature by such a key over any
// message, so every key must pass here before it is used.
func CheckKey(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("public key of %d bytes; Ed25519 has %d", len(key), ed25519.PublicKeySize)
	}
	y := [32]byte(key)
	y[31] &= 0x7f // the top bit is the sign of x
	if !lessThanP(y) {
		return errors.New("public key is not canonical")
	}
	if slices.Contains(smallOrder, y) {
		return errors.New("public key has small order")
	}
	return nil
}

// lessThanP reports whether y, little-endian, is below 2²⁵⁵−19. Everything from p to 2²⁵⁵−1 has the form
// ed…ff7f to ff…ff7f.
func lessThanP(y [32]byte) bool {
	if y[31] != 0x7f {
		return true
	}
	for _, b := range y[1:31] {
		if b != 0xff {
			return true
		}
	}
	return y[0] < 0xed
}

// smallOrder holds the y coordinates of the eight points whose order divides 8: 0, 1, −1 and the two of order 8.
var smallOrder = [][32]byte{
	{},
	{0: 1},
	{0: 0xec, 1: 0xff, 2: 0xff, 3: 0xff, 4: 0xff, 5: 0xff, 6: 0xff, 7: 0xff, 8: 0xff, 9: 0xff, 10: 0xff,
		11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xff, 16: 0xff, 17: 0xff, 18: 0xff, 19: 0xff, 20: 0xff,
		21: 0xff, 22: 0xff, 23: 0xff, 24: 0xff, 25: 0xff, 26: 0xff, 27: 0xff, 28: 0xff, 29: 0xff, 30: 0xff, 31: 0x7f},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
}

// KeySet is a fixed set of keys by principal: the simplest [KeySource]. The zero value knows nobody. It is
// immutable and safe for concurrent use.
type KeySet struct{ byPrincipal map[string][]namedKey }

type namedKey struct {
	id, thumbprint string
	key            ed25519.PublicKey
}

// maxKeys bounds the keys of one principal, and so the signatures tried for one entry.
const maxKeys = 64

// NewKeySet admits keys by principal; their ids are their thumbprints.
func NewKeySet(keys map[string][]ed25519.PublicKey) (*KeySet, error) {
	set := &KeySet{byPrincipal: make(map[string][]namedKey, len(keys))}
	for _, principal := range slices.Sorted(maps.Keys(keys)) {
		for _, key := range keys[principal] {
			if err := set.add(principal, "", key); err != nil {
				return nil, err
			}
		}
	}
	return set, nil
}

func (s *KeySet) add(principal, id string, key ed25519.PublicKey) error {
	if principal == "" {
		return errors.New("key set: empty principal")
	}
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("key set: principal %q: %w", clip(principal), err)
	}
	if len(s.byPrincipal[principal]) == maxKeys {
		return fmt.Errorf("key set: principal %q has more than %d keys", clip(principal), maxKeys)
	}
	k := namedKey{id: id, thumbprint: Thumbprint(key), key: slices.Clone(key)}
	if id == "" {
		k.id = k.thumbprint
	}
	s.byPrincipal[principal] = append(s.byPrincipal[principal], k)
	return nil
}

// Keys implements [KeySource]. A key is found by its thumbprint and by the "kid" of its JWK. An empty key id, or
// one that repeats the principal as other implementations write it (SPEC §15), asks for all keys of the principal.
// The keys belong to the set: do not modify them.
func (s *KeySet) Keys(_ context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, k := range s.byPrincipal[principal] {
		if k.thumbprint == keyID || k.id == keyID || keyID == "" || keyID == principal {
			keys = append(keys, k.key)
		}
	}
	return keys, nil
}

// Principals lists the known principals, sorted.
func (s *KeySet) Principals() []string { return slices.Sorted(maps.Keys(s.byPrincipal)) }

// AppendJSON writes the set in the form that [ParseKeySet] reads: a JSON object from principal to JWKS.
func (s *KeySet) AppendJSON(dst []byte) ([]byte, error) {
	w := writer{buf: append(dst, '{')}
	for i, principal := range slices.SortedFunc(maps.Keys(s.byPrincipal), jcs.Compare) {
		if i > 0 {
			w.raw(",")
		}
		w.string(principal)
		w.raw(`:{"keys":[`)
		for j, k := range s.byPrincipal[principal] {
			if j > 0 {
				w.raw(",")
			}
			w.member(`{"alg":"EdDSA","crv":"Ed25519","kid":`, k.id)
			w.member(`,"kty":"OKP","use":"sig","x":`, strict.EncodeToString(k.key))
			w.raw("}")
		}
		w.raw("]}")
	}
	w.raw("}")
	return w.buf, w.err
}

// ParseKeySet reads a JSON object from principal to JWKS (RFC 7517 §5), at most 4 MiB. Keys of other types are
// skipped, as RFC 7517 asks; an Ed25519 key that is malformed, weak, private or meant for another use is an error.
func ParseKeySet(text []byte) (*KeySet, error) {
	doc, err := jcs.Parse(text, jcs.Options{MaxBytes: 4 << 20, MaxDepth: 16})
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	if doc.Kind != jcs.Object {
		return nil, errors.New("key set: want a JSON object from principal to JWKS")
	}
	set := &KeySet{byPrincipal: make(map[string][]namedKey, len(doc.Members))}
	for _, m := range doc.Members {
		jwks, ok := m.Value.Get("keys")
		if !ok || jwks.Kind != jcs.Array {
			return nil, fmt.Errorf(`key set: principal %q: want a JWKS, {"keys":[…]}`, clip(m.Name))
		}
		for i, jwk := range jwks.Elems {
			id, key, err := parseJWK(jwk)
			if err == nil && key != nil {
				err = set.add(m.Name, id, key)
			}
			if err != nil {
				return nil, fmt.Errorf("key set: principal %q: key %d: %w", clip(m.Name), i, err)
			}
		}
	}
	return set, nil
}

// parseJWK returns a nil key for a key of another type (RFC 7517 §5).
func parseJWK(jwk jcs.Value) (id string, key ed25519.PublicKey, err error) {
	text := func(name string) string { v, _ := jwk.Get(name); return v.Text }
	if jwk.Kind != jcs.Object {
		return "", nil, errors.New("not a JSON object")
	}
	for _, name := range []string{"kty", "crv", "use", "alg", "kid", "x"} {
		if v, present := jwk.Get(name); present && v.Kind != jcs.String {
			return "", nil, fmt.Errorf("%s is a JSON %s; want a string", name, v.Kind)
		}
	}
	if text("kty") != "OKP" || text("crv") != "Ed25519" {
		return "", nil, nil
	}
	if _, private := jwk.Get("d"); private {
		return "", nil, errors.New("holds a private key; export the public half only")
	}
	if use := text("use"); use != "" && use != "sig" {
		return "", nil, fmt.Errorf("use %q; want sig", clip(use))
	}
	if alg := text("alg"); alg != "" && alg != "EdDSA" && alg != "Ed25519" {
		return "", nil, fmt.Errorf("alg %q; want EdDSA", clip(alg))
	}
	x, err := decodeSegment(nil, "x", text("x"))
	if err != nil {
		return "", nil, err
	}
	return text("kid"), x, CheckKey(x)
}
