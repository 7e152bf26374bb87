package lineage

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/kest-go/kest/internal/jcs"
)

// parseRootKey reads a JWK of type RSA, EC or OKP (RFC 7518 §6, RFC 8037 §2). Public is nil for other types.
func parseRootKey(jwk jcs.Value) (key RootKey, use string, err error) {
	r := reader{}
	if !r.want("key", jwk, jcs.Object) {
		return key, "", r.err
	}
	key.ID, key.Algorithm, use = r.maybe(jwk, "kid"), r.maybe(jwk, "alg"), r.maybe(jwk, "use")
	kty, crv := r.maybe(jwk, "kty"), r.maybe(jwk, "crv")
	if _, private := jwk.Get("d"); private {
		return key, use, errors.New("holds a private key; give the public half only")
	}
	if _, known := algorithms[key.Algorithm]; key.Algorithm != "" && !known {
		return key, use, nil // RSA-OAEP and the like: for another use
	}
	number := func(name string) []byte {
		b, err := decodeSegment(nil, name, r.maybe(jwk, name))
		if err != nil && r.err == nil {
			r.err = err
		}
		return b
	}
	switch kty {
	case "RSA":
		n := new(big.Int).SetBytes(number("n"))
		var e int
		if e, err = rsaExponent(number("e")); err == nil {
			key.Public = &rsa.PublicKey{N: n, E: e}
		}
	case "EC":
		key.Public, err = ecKey(crv, number("x"), number("y"))
	case "OKP":
		if crv == "Ed25519" {
			key.Public = ed25519.PublicKey(number("x"))
		}
	}
	if r.err != nil {
		err = r.err
	}
	if err == nil && key.Public != nil {
		err = key.check()
	}
	if err != nil {
		key.Public = nil
	}
	return key, use, err
}

// ecKey checks that the point is on the curve (RFC 7518 §6.2.1). Public is nil for other curves.
func ecKey(crv string, x, y []byte) (crypto.PublicKey, error) {
	curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[crv]
	if !ok {
		return nil, nil
	}
	if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
		return nil, fmt.Errorf("coordinates of %d and %d bytes; %s has %d", len(x), len(y), crv, size)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("the point is not on the curve")
	}
	return key, nil
}

// certificate writes the one member of a JWK that is read again, and its type (RFC 7517 §4.1).
func (w *writer) certificate(c *x509.Certificate) {
	kty := map[string]string{"EC": "EC", "RSA": "RSA", "Ed25519": "OKP"}[algorithms[algorithmOf(c.PublicKey)].family]
	w.member(`{"kty":`, kty)
	w.raw(`,"use":"x509-svid","x5c":`)
	w.strings([]string{base64.StdEncoding.EncodeToString(c.Raw)})
	w.raw("}")
}

func (w *writer) jwk(k RootKey, use string) {
	sep := "{"
	member := func(name, value string) {
		if value != "" {
			w.member(sep+`"`+name+`":`, value)
			sep = ","
		}
	}
	member("alg", k.Algorithm)
	switch key := k.Public.(type) {
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil { // not after [RootKey.check]
			w.err = err
			return
		}
		half := (len(point) - 1) / 2
		member("crv", key.Curve.Params().Name)
		member("kid", k.ID)
		member("kty", "EC")
		member("use", use)
		member("x", strict.EncodeToString(point[1:1+half]))
		member("y", strict.EncodeToString(point[1+half:]))
	case *rsa.PublicKey:
		member("e", strict.EncodeToString(big.NewInt(int64(key.E)).Bytes()))
		member("kid", k.ID)
		member("kty", "RSA")
		member("n", strict.EncodeToString(key.N.Bytes()))
		member("use", use)
	case ed25519.PublicKey:
		member("crv", "Ed25519")
		member("kid", k.ID)
		member("kty", "OKP")
		member("use", use)
		member("x", strict.EncodeToString(key))
	}
	w.raw("}")
}
