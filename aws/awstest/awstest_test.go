package awstest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/kest-go/kest/aws/awstest"
)

func config(s *awstest.Server, c aws.Credentials) aws.Config {
	return aws.Config{Region: awstest.Region, BaseEndpoint: &s.URL, HTTPClient: s.Client(), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })}
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// TestSignLimits: the kit refuses what KMS refuses, or tests against it would show nothing.
func TestSignLimits(t *testing.T) {
	s := awstest.Start(t)
	client := kms.NewFromConfig(config(s, s.Grant(awstest.Session("x"))))
	digest := sha256.Sum256([]byte("m"))
	for name, test := range map[string]struct {
		spec    string
		kind    types.MessageType
		alg     types.SigningAlgorithmSpec
		message []byte
		want    string
	}{
		"raw":                {"ECC_NIST_P256", types.MessageTypeRaw, types.SigningAlgorithmSpecEcdsaSha256, make([]byte, 4096), ""},
		"digest":             {"ECC_NIST_P256", types.MessageTypeDigest, types.SigningAlgorithmSpecEcdsaSha256, digest[:], ""},
		"RSA-PSS":            {"RSA_2048", types.MessageTypeDigest, types.SigningAlgorithmSpecRsassaPssSha256, digest[:], ""},
		"Ed25519":            {"ECC_NIST_EDWARDS25519", types.MessageTypeRaw, types.SigningAlgorithmSpecEd25519Sha512, make([]byte, 4096), ""},
		"4,097 bytes":        {"ECC_NIST_P256", types.MessageTypeRaw, types.SigningAlgorithmSpecEcdsaSha256, make([]byte, 4097), "ValidationException"},
		"nothing":            {"ECC_NIST_P256", types.MessageTypeRaw, types.SigningAlgorithmSpecEcdsaSha256, []byte{}, "ValidationException"},
		"digest of 31 bytes": {"ECC_NIST_P256", types.MessageTypeDigest, types.SigningAlgorithmSpecEcdsaSha256, digest[:31], "ValidationException"},
		"digest for Ed25519": {"ECC_NIST_EDWARDS25519", types.MessageTypeDigest, types.SigningAlgorithmSpecEd25519Sha512, bytes.Repeat(digest[:], 2), "ValidationException"},
		"another algorithm":  {"ECC_NIST_P256", types.MessageTypeRaw, types.SigningAlgorithmSpecEcdsaSha384, []byte("m"), "InvalidKeyUsageException"},
	} {
		arn := s.NewKey(test.spec)
		_, err := client.Sign(t.Context(), &kms.SignInput{KeyId: &arn, Message: test.message, MessageType: test.kind, SigningAlgorithm: test.alg})
		if code(err) != test.want || (err == nil) != (test.want == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSigV4: a request counts only with the right secret and token, at the right time.
func TestSigV4(t *testing.T) {
	s := awstest.Start(t)
	good := s.Grant(awstest.Session("x"))
	for name, test := range map[string]struct {
		change func(*aws.Credentials)
		skew   time.Duration
		want   string
	}{
		"right":         {func(*aws.Credentials) {}, 0, ""},
		"a little late": {func(*aws.Credentials) {}, 4 * time.Minute, ""},
		"wrong secret":  {func(c *aws.Credentials) { c.SecretAccessKey += "x" }, 0, "SignatureDoesNotMatch"},
		"wrong token":   {func(c *aws.Credentials) { c.SessionToken += "x" }, 0, "UnrecognizedClientException"},
		"unknown key":   {func(c *aws.Credentials) { c.AccessKeyID += "X" }, 0, "UnrecognizedClientException"},
		"too late":      {func(*aws.Credentials) {}, 6 * time.Minute, "SignatureDoesNotMatch"},
		"too early":     {func(*aws.Credentials) {}, -6 * time.Minute, "SignatureDoesNotMatch"},
	} {
		c := good
		test.change(&c)
		s.SetClock(test.skew)
		_, err := sts.NewFromConfig(config(s, c)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if code(err) != test.want || (err == nil) != (test.want == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDescribeKey: a disabled key is described and neither signs nor shows its public half.
func TestDescribeKey(t *testing.T) {
	s := awstest.Start(t)
	client := kms.NewFromConfig(config(s, s.Grant(awstest.Session("x"))))
	arn := s.NewKey("RSA_2048")
	s.SetKey(arn, false, "SIGN_VERIFY")
	out, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &arn})
	if err != nil || out.KeyMetadata.KeyState != types.KeyStateDisabled || out.KeyMetadata.KeySpec != types.KeySpecRsa2048 {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &arn}); code(err) != "DisabledException" {
		t.Errorf("GetPublicKey: %v", err)
	}
}
