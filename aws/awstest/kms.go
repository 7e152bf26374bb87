package awstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
)

// key is one key in KMS.
type key struct {
	arn, spec, usage string
	private          crypto.Signer
	disabled         bool
	allowed          map[string]bool // ARNs of callers; nil: everybody
}

// maxRaw is the longest message that KMS takes whole, in bytes.
const maxRaw = 4096

// NewKey makes a key of a type, such as ECC_NIST_P256, and returns its ARN.
func (s *Server) NewKey(spec string) string {
	var private crypto.Signer
	var err error
	switch spec {
	case "ECC_NIST_P256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECC_NIST_P384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ECC_NIST_P521":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RSA_2048":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "RSA_3072":
		private, err = rsa.GenerateKey(rand.Reader, 3072)
	case "RSA_4096":
		private, err = rsa.GenerateKey(rand.Reader, 4096)
	case "ECC_NIST_EDWARDS25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default: // a type that KMS has and this server cannot sign with
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &key{arn: "arn:aws:kms:" + Region + ":" + Account + ":key/" + random(16), spec: spec, usage: "SIGN_VERIFY", private: private}
	s.keys[k.arn] = k
	return k.arn
}

// SetKey changes a key: whether it is enabled, its usage, and which callers may use it; none means everybody.
func (s *Server) SetKey(arn string, enabled bool, usage string, callers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[arn]
	k.disabled, k.usage, k.allowed = !enabled, usage, nil
	for _, c := range callers {
		if k.allowed == nil {
			k.allowed = map[string]bool{}
		}
		k.allowed[c] = true
	}
}

// SetAlias points an alias, "alias/name", at a key.
func (s *Server) SetAlias(alias, arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aliases[alias] = arn
}

// kms answers json-1.1.
func (s *Server) kms(w http.ResponseWriter, r *http.Request, action string, body []byte) {
	fail := func(status int, code, message string) {
		writeJSON(w, status, map[string]string{"__type": code, "message": message})
	}
	change, done := s.fault(w, r, action, fail)
	if done {
		return
	}
	caller, failed := s.authenticate(r, body, "kms")
	if failed != nil {
		fail(http.StatusBadRequest, failed.code, failed.message)
		return
	}
	var in struct {
		KeyId, MessageType, SigningAlgorithm string
		Message                              []byte
	}
	if err := json.Unmarshal(body, &in); err != nil {
		fail(http.StatusBadRequest, "SerializationException", "not JSON")
		return
	}
	k := s.find(in.KeyId)
	switch {
	case k == nil:
		fail(http.StatusBadRequest, "NotFoundException", "no such key")
	case k.allowed != nil && !k.allowed[caller]:
		fail(http.StatusBadRequest, "AccessDeniedException", "User: "+caller+" is not authorized to perform: kms:"+action+" on resource: "+k.arn)
	case action == "DescribeKey": // of a disabled key, too
		writeJSON(w, http.StatusOK, map[string]any{"KeyMetadata": k.describe()})
	case k.disabled: // KMS developer guide, "Key states": GetPublicKey, too
		fail(http.StatusBadRequest, "DisabledException", k.arn+" is disabled.")
	case action == "GetPublicKey":
		der, err := x509.MarshalPKIXPublicKey(k.private.Public())
		if err != nil {
			panic(err)
		}
		out := k.describe()
		out["KeyId"], out["PublicKey"] = k.arn, der
		writeJSON(w, http.StatusOK, out)
	case action == "Sign":
		signature, code := k.sign(in.SigningAlgorithm, in.MessageType, in.Message)
		if code != "" {
			fail(http.StatusBadRequest, code, "cannot sign this")
			return
		}
		if change != nil {
			signature = change(signature)
		}
		writeJSON(w, http.StatusOK, map[string]any{"KeyId": k.arn, "Signature": signature, "SigningAlgorithm": in.SigningAlgorithm})
	default:
		fail(http.StatusBadRequest, "UnknownOperationException", action)
	}
}

func (k *key) describe() map[string]any {
	state := "Enabled"
	if k.disabled {
		state = "Disabled"
	}
	return map[string]any{"Arn": k.arn, "KeyId": k.arn[len(k.arn)-32:], "KeySpec": k.spec, "KeyUsage": k.usage, "KeyState": state,
		"Enabled": !k.disabled, "SigningAlgorithms": slices.Sorted(maps.Keys(algorithms[k.spec]))}
}

// find returns a copy of a key, by id, ARN, alias or the ARN of one.
func (s *Server) find(id string) *key {
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := "arn:aws:kms:" + Region + ":" + Account + ":"
	for _, arn := range []string{id, prefix + "key/" + id, s.aliases[id]} {
		if k, ok := s.keys[arn]; ok {
			c := *k
			return &c
		}
	}
	if len(id) > len(prefix) && id[:len(prefix)] == prefix {
		if k, ok := s.keys[s.aliases[id[len(prefix):]]]; ok {
			c := *k
			return &c
		}
	}
	return nil
}

// algorithms are what KMS lets each type of key do.
var algorithms = map[string]map[string]crypto.Hash{
	"ECC_NIST_P256": {"ECDSA_SHA_256": crypto.SHA256}, "ECC_NIST_P384": {"ECDSA_SHA_384": crypto.SHA384},
	"ECC_NIST_P521": {"ECDSA_SHA_512": crypto.SHA512}, "ECC_NIST_EDWARDS25519": {"ED25519_SHA_512": 0},
	"RSA_2048": {"RSASSA_PSS_SHA_256": crypto.SHA256, "RSASSA_PKCS1_V1_5_SHA_256": crypto.SHA256},
	"RSA_3072": {"RSASSA_PSS_SHA_256": crypto.SHA256, "RSASSA_PKCS1_V1_5_SHA_256": crypto.SHA256},
	"RSA_4096": {"RSASSA_PSS_SHA_256": crypto.SHA256, "RSASSA_PKCS1_V1_5_SHA_256": crypto.SHA256},
}

func (k *key) sign(algorithm, messageType string, message []byte) (signature []byte, code string) {
	hash, ok := algorithms[k.spec][algorithm]
	switch {
	case k.usage != "SIGN_VERIFY" || !ok:
		return nil, "InvalidKeyUsageException"
	case len(message) == 0 || messageType != "DIGEST" && len(message) > maxRaw:
		return nil, "ValidationException"
	case hash == 0 && messageType == "DIGEST": // ED25519_SHA_512 takes RAW only
		return nil, "ValidationException"
	case messageType == "DIGEST" && len(message) != hash.Size():
		return nil, "ValidationException"
	}
	digest := message
	if hash != 0 && messageType != "DIGEST" {
		digest = sum(hash, message)
	}
	var options crypto.SignerOpts = hash
	if algorithm == "RSASSA_PSS_SHA_256" {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	signature, err := k.private.Sign(rand.Reader, digest, options)
	if err != nil {
		panic(err)
	}
	return signature, ""
}

func sum(hash crypto.Hash, message []byte) []byte {
	switch hash {
	case crypto.SHA256:
		s := sha256.Sum256(message)
		return s[:]
	case crypto.SHA384:
		s := sha512.Sum384(message)
		return s[:]
	default:
		s := sha512.Sum512(message)
		return s[:]
	}
}

// SignAs signs with another key than the one that is asked for, as a service would that lies.
func (s *Server) SignAs(arn string, message []byte) []byte {
	k := s.find(arn)
	signature, code := k.sign("ED25519_SHA_512", "RAW", message)
	if code != "" {
		panic(code)
	}
	return signature
}
