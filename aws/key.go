package aws

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kest-go/kest/lineage"
)

// MaxDirect is the longest message in bytes that KMS signs whole (KMS API reference, Sign, MessageType RAW), and so the
// longest entry of mode [Direct]: header and payload in base64url, about 2,900 bytes of payload.
const MaxDirect = 4096

// An algorithm is one signature under its two names.
type algorithm struct {
	jws string // RFC 7518 §3.1, RFC 8037 §3.1
	kms types.SigningAlgorithmSpec
}

// algorithms by key spec. An RSA key signs with PSS (RFC 8017 §8), whose salt in KMS is as long as the hash, which is
// what JWS wants (RFC 7518 §3.5). P-256K, SM2 and ML-DSA are not among the algorithms of bindings.
var algorithms = map[types.KeySpec]algorithm{
	types.KeySpecEccNistP256:         {"ES256", types.SigningAlgorithmSpecEcdsaSha256},
	types.KeySpecEccNistP384:         {"ES384", types.SigningAlgorithmSpecEcdsaSha384},
	types.KeySpecEccNistP521:         {"ES512", types.SigningAlgorithmSpecEcdsaSha512},
	types.KeySpecRsa2048:             {"PS256", types.SigningAlgorithmSpecRsassaPssSha256},
	types.KeySpecRsa3072:             {"PS256", types.SigningAlgorithmSpecRsassaPssSha256},
	types.KeySpecRsa4096:             {"PS256", types.SigningAlgorithmSpecRsassaPssSha256},
	types.KeySpecEccNistEdwards25519: {"EdDSA", types.SigningAlgorithmSpecEd25519Sha512},
}

// A key is a signing key in KMS, by its ARN.
type key struct {
	client  *kms.Client
	timeout time.Duration
	arn     string
	spec    types.KeySpec
	algorithm
	public crypto.PublicKey
}

// fetch asks KMS for the public half of a key. KMS refuses when the key is disabled or about to be deleted, so kms:DescribeKey
// is not needed to know its state.
func fetch(ctx context.Context, client *kms.Client, id string, timeout time.Duration) (*key, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String(id)})
	if err != nil {
		return nil, called(err)
	}
	k := &key{client: client, timeout: timeout, arn: aws.ToString(out.KeyId), spec: out.KeySpec}
	if a, err := arn.Parse(k.arn); err != nil || a.Service != "kms" || !strings.HasPrefix(a.Resource, "key/") || len(k.arn) > maxKeyID {
		return nil, fmt.Errorf("KMS key %q: KMS names it %.200q, which is not the ARN of a key", id, k.arn)
	}
	use, known := algorithms[k.spec]
	k.algorithm = use
	switch {
	case out.KeyUsage != types.KeyUsageTypeSignVerify:
		return nil, setup("KMS key %s is for %.40s; create one with the usage SIGN_VERIFY", k.arn, out.KeyUsage)
	case !known:
		return nil, setup("KMS key %s has the spec %.40s; use one of %v", k.arn, k.spec, slices.Sorted(maps.Keys(algorithms)))
	case !slices.Contains(out.SigningAlgorithms, use.kms):
		return nil, setup("KMS key %s does not sign with %s", k.arn, use.kms)
	}
	if k.public, err = x509.ParsePKIXPublicKey(out.PublicKey); err != nil {
		return nil, fmt.Errorf("KMS key %s: public key: %w", k.arn, err)
	}
	// The roots are where a verifier would put this key, so they decide whether key and algorithm are sound.
	_, err = lineage.NewRoots(lineage.RootsConfig{KMS: []lineage.KMSRoot{{Key: k.root(), Principals: []string{k.arn}}}})
	return k, err
}

func (k *key) root() lineage.RootKey {
	return lineage.RootKey{ID: k.arn, Algorithm: k.jws, Public: k.public}
}

// sign has KMS sign, and hash, the whole message. It names the key by ARN, so an alias that moved since has no effect.
// The signature is what KMS sent: the callers verify it.
func (k *key) sign(ctx context.Context, message []byte) ([]byte, error) {
	if len(message) > MaxDirect {
		return nil, fmt.Errorf("message of %d bytes; KMS signs at most %d: use mode Certified, or put less into the entry",
			len(message), MaxDirect)
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	out, err := k.client.Sign(ctx, &kms.SignInput{
		KeyId: aws.String(k.arn), Message: message, MessageType: types.MessageTypeRaw, SigningAlgorithm: k.kms,
	})
	if err != nil {
		return nil, called(err)
	}
	if got := aws.ToString(out.KeyId); got != k.arn {
		return nil, fmt.Errorf("KMS signed with key %.200q instead of %s", got, k.arn)
	}
	return out.Signature, nil
}

// A directSigner has KMS sign every entry.
type directSigner struct {
	key       *key
	public    ed25519.PublicKey
	principal string
	keyID     string
	labels    map[string]string
}

func (k *key) signer(principal string, labels map[string]string) (*directSigner, error) {
	public, ok := k.public.(ed25519.PublicKey)
	if !ok {
		return nil, setup("KMS key %s has the spec %s; mode Direct needs %s, mode Certified takes this one", k.arn, k.spec,
			types.KeySpecEccNistEdwards25519)
	}
	return &directSigner{k, public, principal, lineage.Thumbprint(public), labels}, nil
}

func (s *directSigner) Principal() string         { return s.principal }
func (s *directSigner) KeyID() string             { return s.keyID }
func (s *directSigner) Labels() map[string]string { return s.labels }
func (s *directSigner) String() string            { return s.principal + " (key " + s.keyID + ")" }
func (s *directSigner) GoString() string          { return s.String() }

// Sign implements [lineage.Signer]. KMS is another machine: what it returns is checked before anybody gets it.
func (s *directSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	signature, err := s.key.sign(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("aws identity: %w", err)
	}
	if len(signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf("aws identity: KMS key %s: signature of %d bytes; Ed25519 has %d", s.key.arn, len(signature), ed25519.SignatureSize)
	}
	if !ed25519.Verify(s.public, message, signature) {
		return nil, fmt.Errorf("aws identity: KMS key %s: the signature does not verify with the key's public half", s.key.arn)
	}
	return signature, nil
}
