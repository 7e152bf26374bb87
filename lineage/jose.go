package lineage

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// algorithm is how a JWS "alg" signs (RFC 7518 §3, RFC 8037, RFC 9864). There is no "none" and no HMAC here, so no
// header can ask for them.
type algorithm struct {
	family string // "EC", "RSA", "RSA-PSS", "Ed25519"
	hash   crypto.Hash
	curve  elliptic.Curve
}

var algorithms = map[string]algorithm{
	"ES256": {"EC", crypto.SHA256, elliptic.P256()}, "ES384": {"EC", crypto.SHA384, elliptic.P384()}, "ES512": {"EC", crypto.SHA512, elliptic.P521()},
	"RS256": {"RSA", crypto.SHA256, nil}, "RS384": {"RSA", crypto.SHA384, nil}, "RS512": {"RSA", crypto.SHA512, nil},
	"PS256": {"RSA-PSS", crypto.SHA256, nil}, "PS384": {"RSA-PSS", crypto.SHA384, nil}, "PS512": {"RSA-PSS", crypto.SHA512, nil},
	"EdDSA": {"Ed25519", 0, nil}, "Ed25519": {"Ed25519", 0, nil},
}

// algorithmOf is the usual one for a key, "" when there is none.
func algorithmOf(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		for name, a := range algorithms {
			if a.curve != nil && a.curve == k.Curve {
				return name
			}
		}
	case *rsa.PublicKey:
		return "RS256"
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}

// verifyJOSE checks a signature in the form of RFC 7518 by a key that passed [RootKey.check] with the algorithm.
func verifyJOSE(alg string, key crypto.PublicKey, input, signature []byte) bool {
	a := algorithms[alg]
	var digest []byte
	if a.hash != 0 {
		h := a.hash.New()
		h.Write(input)
		digest = h.Sum(nil)
	}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8 // RFC 7518 §3.4: R and S, each of that many bytes
		if len(signature) != 2*size {
			return false
		}
		return ecdsa.Verify(k, digest, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
	case *rsa.PublicKey:
		if a.family == "RSA-PSS" { // RFC 7518 §3.5: the salt is as long as the hash
			return rsa.VerifyPSS(k, a.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, a.hash, digest, signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(k, input, signature) // false for another length
	}
	return false
}

// joseSignature turns the ASN.1 of an ECDSA signature, which crypto.Signer and key services return, into R and S.
func joseSignature(alg string, key crypto.PublicKey, signature []byte) ([]byte, error) {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return signature, nil
	}
	var rs struct{ R, S *big.Int }
	size := (k.Curve.Params().BitSize + 7) / 8
	rest, err := asn1.Unmarshal(signature, &rs)
	if err != nil || len(rest) > 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > 8*size || rs.S.BitLen() > 8*size {
		return nil, fmt.Errorf("the %s signature is not in ASN.1 form", alg)
	}
	out := make([]byte, 2*size)
	rs.R.FillBytes(out[:size])
	rs.S.FillBytes(out[size:])
	return out, nil
}
