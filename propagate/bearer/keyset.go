package bearer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
)

const (
	maxKeys    = 100
	minRSABits = 2048 // RFC 7518 §3.3
)

// readKeySet reads a JWK Set. Keys that cannot be used are skipped, as RFC 7517 §5 asks. None left is an answer, too:
// it is how an issuer withdraws all.
func readKeySet(doc jcs.Value) ([]key, error) {
	set, _ := doc.Get("keys")
	if set.Kind != jcs.Array {
		return nil, errors.New(`it has no array "keys"`)
	}
	if len(set.Elems) > maxKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	var keys []key
	for _, jwk := range set.Elems {
		if k, ok := readKey(jwk); ok {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func readKey(jwk jcs.Value) (k key, ok bool) {
	for _, name := range []string{"kid", "use", "alg"} {
		if v, present := jwk.Get(name); present && v.Kind != jcs.String {
			return key{}, false
		}
	}
	if _, private := jwk.Get("d"); private { // everybody has it now
		return key{}, false
	}
	if use, present := jwk.Get("use"); present && use.Text != "sig" {
		return key{}, false
	}
	verifies := func(op jcs.Value) bool { return op.Text == "verify" }
	if ops, present := jwk.Get("key_ops"); present && !slices.ContainsFunc(ops.Elems, verifies) {
		return key{}, false
	}
	public, err := publicKey(jwk)
	if err != nil {
		return key{}, false
	}
	algs := algorithms(public)
	if alg, present := jwk.Get("alg"); present { // RFC 8725 §3.1: the algorithm that the key is meant for, and no other
		algs = slices.DeleteFunc(algs, func(a string) bool { return a != alg.Text })
	}
	id, _ := jwk.Get("kid")
	return key{id: id.Text, algs: algs, public: public}, len(algs) > 0
}

// publicKey lets go-jose read the members that make the key, and nothing besides: certificates do not count here.
func publicKey(jwk jcs.Value) (any, error) {
	bare := jcs.Value{Kind: jcs.Object}
	for _, m := range jwk.Members {
		if slices.Contains([]string{"kty", "crv", "n", "e", "x", "y"}, m.Name) {
			bare.Members = append(bare.Members, m)
		}
	}
	data, err := bare.Append(nil, jcs.Options{})
	if err != nil {
		return nil, err
	}
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return k.Key, nil
}

// algorithms returns those by which a key may sign (RFC 7518 §3.1), none for keys that prove nothing.
func algorithms(public any) []string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSABits {
			return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		}
	case *ecdsa.PublicKey: // go-jose knows these curves only, and checked that the point is on it
		return map[int][]string{256: {"ES256"}, 384: {"ES384"}, 521: {"ES512"}}[k.Params().BitSize]
	case ed25519.PublicKey:
		if lineage.CheckKey(k) == nil { // the one rule for such keys, stricter than go-jose's
			return []string{"EdDSA"}
		}
	}
	return nil
}
