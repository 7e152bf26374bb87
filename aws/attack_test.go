package aws_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"

	kestaws "github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// TestBadKey: what KMS may say of a key, or not say. None of it makes an identity.
func TestBadKey(t *testing.T) {
	const ec = "ECC_NIST_P256"
	raw := func(b []byte) []byte { return b[:min(64, len(b))] }
	for name, test := range map[string]struct {
		spec  string
		setUp func(*awstest.Server, string)
		want  string // in the error
	}{
		"disabled":               {ec, func(s *awstest.Server, k string) { s.SetKey(k, false, "SIGN_VERIFY") }, "enable"},
		"for encryption":         {ec, func(s *awstest.Server, k string) { s.SetKey(k, true, "ENCRYPT_DECRYPT") }, "SIGN_VERIFY"},
		"another role's":         {ec, func(s *awstest.Server, k string) { s.SetKey(k, true, "SIGN_VERIFY", awstest.Session("orders")) }, "kms:GetPublicKey"},
		"on another curve":       {"ECC_SECG_P256K1", nil, "ECC_SECG_P256K1"},
		"SM2":                    {"SM2", nil, "SM2"},
		"HMAC":                   {"HMAC_256", nil, "HMAC_256"},
		"signature not in DER":   {ec, broken(awstest.Fault{Action: "Sign", Times: -1, Signature: raw}), "ASN.1"},
		"signature cut":          {ec, broken(awstest.Fault{Action: "Sign", Times: -1, Signature: func(b []byte) []byte { return b[:len(b)-1] }}), ""},
		"signature and more":     {ec, broken(awstest.Fault{Action: "Sign", Times: -1, Signature: func(b []byte) []byte { return append(b, 0) }}), ""},
		"no signature":           {ec, broken(awstest.Fault{Action: "Sign", Times: -1, Signature: func([]byte) []byte { return nil }}), ""},
		"signature changed":      {"RSA_2048", broken(awstest.Fault{Action: "Sign", Times: -1, Signature: func(b []byte) []byte { b = slices.Clone(b); b[9] ^= 1; return b }}), "verify"},
		"DER from Ed25519":       {"ECC_NIST_EDWARDS25519", broken(awstest.Fault{Action: "Sign", Times: -1, Signature: func(b []byte) []byte { return append([]byte{0x30, 0x40}, b...) }}), "verify"},
		"throttled for ever":     {ec, broken(awstest.Fault{Action: "Sign", Times: -1, Status: 400, Code: "ThrottlingException"}), "Throttling"},
		"down":                   {ec, broken(awstest.Fault{Times: -1, Status: 500, Code: "InternalFailure"}), "InternalFailure"},
		"answer is no JSON":      {ec, broken(awstest.Fault{Action: "Sign", Times: -1, Body: "<html>"}), ""},
		"answer is cut":          {ec, broken(awstest.Fault{Action: "GetPublicKey", Times: -1, Body: `{"KeyId":"arn`}), ""},
		"answer is empty":        {ec, broken(awstest.Fault{Action: "GetPublicKey", Times: -1, Body: `{}`}), ""},
		"key that is none":       {ec, broken(awstest.Fault{Action: "GetPublicKey", Times: -1, Body: `{"KeyId":"arn:aws:kms:eu-central-1:123456789012:key/x","SigningAlgorithms":["ECDSA_SHA_256"],"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY","PublicKey":"AAAA"}`}), "public key"},
		"key without ARN":        {ec, broken(awstest.Fault{Action: "GetPublicKey", Times: -1, Body: `{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY","PublicKey":"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="}`}), "ARN"},
		"signature by another":   {ec, broken(awstest.Fault{Action: "Sign", Times: -1, Body: `{"KeyId":"arn:aws:kms:eu-central-1:123456789012:key/other","Signature":"AAAA"}`}), "instead of"},
		"answer of 8 MiB":        {ec, broken(awstest.Fault{Action: "GetPublicKey", Times: -1, Body: `{"KeyId":"` + strings.Repeat("a", 8<<20) + `"}`}), "more than 1048576 bytes"},
		"answer breaks off":      {ec, broken(awstest.Fault{Action: "Sign", Times: -1, Cut: true, Body: `{"KeyId":"arn`}), ""},
		"key of no algorithm":    {ec, broken(awstest.Fault{Action: "GetPublicKey", Times: -1, Body: `{"KeyId":"arn:aws:kms:eu-central-1:123456789012:key/x","KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}`}), "does not sign with ECDSA_SHA_256"},
		"alias instead of ARN":   {ec, broken(awstest.Fault{Action: "GetPublicKey", Times: -1, Body: `{"KeyId":"arn:aws:kms:eu-central-1:123456789012:alias/x","KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY","SigningAlgorithms":["ECDSA_SHA_256"]}`}), "ARN"},
		"caller is no ARN":       {ec, broken(awstest.Fault{Action: "GetCallerIdentity", Times: -1, Body: `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>x</Arn><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`}), "ARN"},
		"caller of two accounts": {ec, broken(awstest.Fault{Action: "GetCallerIdentity", Times: -1, Body: `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::999999999999:assumed-role/x/y</Arn><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`}), "another account"},
	} {
		t.Run(name, func(t *testing.T) {
			s := awstest.Start(t)
			key := s.NewKey(test.spec)
			if test.setUp != nil {
				test.setUp(s, key)
			}
			p, err := kestaws.New(t.Context(), kestaws.Config{KeyID: key, AWSConfig: sdk(s), Timeout: 5 * time.Second, Logger: quiet})
			if err == nil {
				p.Close()
				t.Fatal("it makes an identity")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v does not say %q", err, test.want)
			}
		})
	}
}

func broken(f awstest.Fault) func(*awstest.Server, string) {
	return func(s *awstest.Server, _ string) { s.Break(f) }
}

// TestSDKErrors: errors.As finds the service's own error.
func TestSDKErrors(t *testing.T) {
	s := awstest.Start(t)
	_, err := kestaws.New(t.Context(), kestaws.Config{KeyID: "alias/none", AWSConfig: sdk(s), Logger: quiet})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "NotFoundException" {
		t.Errorf("%v", err)
	}
}

// TestConfigMistakes are reported at once.
func TestConfigMistakes(t *testing.T) {
	_, err := kestaws.NewBedrock(t.Context(), kestaws.Config{Session: time.Second, Wait: -1, Timeout: -1, Mode: 7, Agent: &kestaws.BedrockAgent{ID: "a b", Alias: "c/d"}})
	for _, want := range []string{"KEST_AWS_KMS_KEY_ID", "Mode", "Session", "Wait", "Timeout", "AWS_BEDROCK_AGENT_ID"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	_, err = kestaws.New(t.Context(), kestaws.Config{KeyID: "a b", Mode: kestaws.Direct,
		Publish: func(context.Context, *lineage.KeyBinding) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "Publish") || !strings.Contains(err.Error(), "KMS key id") {
		t.Errorf("%v", err)
	}
	s := awstest.Start(t)
	config := sdk(s)
	config.Region = ""
	if _, err := kestaws.New(t.Context(), kestaws.Config{KeyID: "k", AWSConfig: config}); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("no region: %v", err)
	}
}

// TestSomeFailures: what passes is retried by the SDK, within the deadline.
func TestSomeFailures(t *testing.T) {
	s := awstest.Start(t)
	s.Break(awstest.Fault{Action: "Sign", Times: 1, Status: 400, Code: "ThrottlingException"})
	s.Break(awstest.Fault{Action: "GetPublicKey", Times: 2, Status: 500, Code: "KMSInternalException"})
	p := open(t, kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: sdk(s)})
	must(p.Signer(t.Context()))(t)
}

// TestHang: a service that accepts and says nothing ends at the deadline of the one call, also in a caller's context without
// any, and at that of the caller when it is earlier.
func TestHang(t *testing.T) {
	for _, action := range []string{"GetCallerIdentity", "GetPublicKey", "Sign"} {
		s := awstest.Start(t)
		key := s.NewKey("ECC_NIST_P256")
		s.Break(awstest.Fault{Action: action, Times: -1, Hang: true})
		synctest.Test(t, func(t *testing.T) {
			for want, limit := range map[time.Duration]time.Duration{10 * time.Second: time.Hour, time.Second: time.Second} {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				start := time.Now()
				_, err := kestaws.New(ctx, kestaws.Config{KeyID: key, AWSConfig: offline(s), Logger: quiet})
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != want {
					t.Errorf("%s: %v after %s, want %s", action, err, took, want)
				}
				cancel()
			}
		})
	}
	// And over a real socket.
	s := awstest.Start(t)
	s.Break(awstest.Fault{Times: -1, Hang: true})
	_, err := kestaws.New(t.Context(), kestaws.Config{KeyID: "k", AWSConfig: sdk(s), Timeout: 300 * time.Millisecond, Logger: quiet})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer in time") {
		t.Error(err)
	}
}

// TestClock: the SDK corrects its requests for a clock two hours off, and so would hide it; entries and bindings would have
// wrong times all the same. A little off is what verifiers tolerate.
func TestClock(t *testing.T) {
	for off, bad := range map[time.Duration]bool{2 * time.Hour: true, -2 * time.Hour: true, time.Minute: false} {
		for _, mode := range []kestaws.Mode{kestaws.Certified, kestaws.Direct} {
			s := awstest.Start(t)
			s.SetClock(off)
			config := kestaws.Config{KeyID: s.NewKey("ECC_NIST_EDWARDS25519"), Mode: mode, AWSConfig: sdk(s), Logger: quiet}
			p, err := kestaws.New(t.Context(), config)
			if bad != (err != nil) || bad && (!strings.Contains(err.Error(), "clock") || !strings.Contains(err.Error(), "h0m0s off")) {
				t.Errorf("%v, %v: %v", off, mode, err)
			}
			if s.Calls("GetCallerIdentity") > 2 {
				t.Errorf("%v: the SDK did not correct its clock", off)
			}
			if err == nil {
				p.Close()
			}
		}
	}
}

// TestLazyStart: within Wait, and nothing is signed meanwhile; not for ever, and not at all for what waiting does not mend.
func TestLazyStart(t *testing.T) {
	start := func(t *testing.T, s *awstest.Server, c kestaws.Config) (time.Duration, error) {
		began := time.Now()
		c.AWSConfig, c.Logger = offline(s), quiet
		p, err := kestaws.New(t.Context(), c)
		if err == nil {
			must(p.Signer(t.Context()))(t)
			p.Close()
		}
		return time.Since(began), err
	}
	s := awstest.Start(t)
	key := s.NewKey("ECC_NIST_P256")
	synctest.Test(t, func(t *testing.T) {
		s.Break(awstest.Fault{Action: "Sign", Times: 9, Status: 400, Code: "AccessDeniedException"})
		if took, err := start(t, s, kestaws.Config{KeyID: key, Wait: time.Minute}); err != nil || took > time.Minute || took < time.Second {
			t.Errorf("permission came late: %v after %v", err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s.Break(awstest.Fault{Action: "Sign", Times: -1, Status: 400, Code: "DisabledException"})
		took, err := start(t, s, kestaws.Config{KeyID: key, Wait: time.Minute})
		if err == nil || !strings.Contains(err.Error(), "enable the key") || took < 50*time.Second || took > time.Minute {
			t.Errorf("%v after %s", err, took)
		}
		s.Mend()
		took, err = start(t, s, kestaws.Config{KeyID: key, Mode: kestaws.Direct, Wait: time.Minute})
		if err == nil || took > time.Second {
			t.Errorf("a wrong spec: %v after %v", err, took)
		}
	})
}

// TestPublishFails: a key that verifiers cannot find signs nothing.
func TestPublishFails(t *testing.T) {
	s := awstest.Start(t)
	cause := errors.New("store is down")
	_, err := kestaws.New(t.Context(), kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: sdk(s), Logger: quiet,
		Publish: func(context.Context, *lineage.KeyBinding) error { return cause }})
	if !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}

// TestDownUntilTheEnd: while AWS is away the key in use stays until its end, then nothing signs, whoever has a signer;
// when AWS is back there is a new key, without anybody's help.
func TestDownUntilTheEnd(t *testing.T) {
	s := awstest.Start(t)
	key := s.NewKey("ECC_NIST_P256")
	synctest.Test(t, func(t *testing.T) {
		p := open(t, kestaws.Config{KeyID: key, AWSConfig: offline(s), Session: 2 * time.Hour})
		first := must(p.Signer(t.Context()))(t)
		time.Sleep(61 * time.Minute) // half of it
		second := must(p.Signer(t.Context()))(t)
		if second.KeyID() == first.KeyID() || p.Binding(first.KeyID()) == nil {
			t.Fatal("not renewed at half-life, or the binding before was forgotten")
		}
		s.Break(awstest.Fault{Times: -1, Status: 500, Code: "InternalFailure"})
		time.Sleep(110 * time.Minute)
		if again := must(p.Signer(t.Context()))(t); again.KeyID() != second.KeyID() {
			t.Error("the key in use changed by a failure")
		}
		must(second.Sign(t.Context(), []byte("still good")))(t)
		time.Sleep(10 * time.Minute)
		_, err := p.Signer(t.Context())
		if !errors.Is(err, identity.ErrExpired) || !strings.Contains(err.Error(), "InternalFailure") {
			t.Errorf("past the end: %v; want the reason", err)
		}
		if signature, err := second.Sign(t.Context(), []byte("late")); signature != nil || !errors.Is(err, identity.ErrExpired) {
			t.Errorf("signed after the end: %v", err)
		}
		s.Mend()
		time.Sleep(2 * time.Minute)
		if third := must(p.Signer(t.Context()))(t); third.KeyID() == second.KeyID() {
			t.Error("no new key after AWS came back")
		}
	})
}

// TestRefused: when AWS says no, the session key goes at the next renewal and not only at its end.
func TestRefused(t *testing.T) {
	for _, fault := range []awstest.Fault{
		{Action: "Sign", Times: -1, Status: 400, Code: "AccessDeniedException"},
		{Action: "GetPublicKey", Times: -1, Status: 400, Code: "DisabledException"},
		{Action: "GetCallerIdentity", Times: -1, Status: 403, Code: "AccessDenied"},
	} {
		s := awstest.Start(t)
		p := open(t, kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: sdk(s)})
		held := must(p.Signer(t.Context()))(t)
		s.Break(fault)
		if err := p.Renew(t.Context()); !errors.Is(err, identity.ErrRevoked) {
			t.Errorf("%s: renewed: %v", fault.Code, err)
		}
		if _, err := p.Signer(t.Context()); !errors.Is(err, identity.ErrRevoked) || strings.Count(err.Error(), fault.Code) != 1 {
			t.Errorf("%s: %v", fault.Code, err)
		}
		if signature, err := held.Sign(t.Context(), []byte("m")); signature != nil || err == nil {
			t.Errorf("%s: a signer from before still signs", fault.Code)
		}
		s.Mend()
		if err := p.Renew(t.Context()); err != nil {
			t.Error(err)
		}
		must(must(p.Signer(t.Context()))(t).Sign(t.Context(), []byte("m")))(t)
	}
}

// TestDirectLies: every answer of KMS is verified before it is used.
func TestDirectLies(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(*awstest.Server) awstest.Fault
		want  string
	}{
		"DER": {func(*awstest.Server) awstest.Fault {
			return lie(func(b []byte) []byte { return append([]byte{0x30, 0x40}, b...) })
		}, "66 bytes"},
		"wrong length": {func(*awstest.Server) awstest.Fault { return lie(func(b []byte) []byte { return b[:63] }) }, "63 bytes"},
		"nothing":      {func(*awstest.Server) awstest.Fault { return lie(func([]byte) []byte { return nil }) }, "0 bytes"},
		"zeros":        {func(*awstest.Server) awstest.Fault { return lie(func(b []byte) []byte { return make([]byte, len(b)) }) }, "not verify"},
		"another key": {func(s *awstest.Server) awstest.Fault {
			other := s.NewKey("ECC_NIST_EDWARDS25519")
			return lie(func([]byte) []byte { return s.SignAs(other, []byte("message")) })
		}, "not verify"},
		"hang":      {func(*awstest.Server) awstest.Fault { return awstest.Fault{Action: "Sign", Times: -1, Hang: true} }, "no answer in time"},
		"disabled":  {func(*awstest.Server) awstest.Fault { return refusal("DisabledException") }, "enable the key"},
		"throttled": {func(*awstest.Server) awstest.Fault { return refusal("ThrottlingException") }, "mode Certified"},
	} {
		t.Run(name, func(t *testing.T) {
			s := awstest.Start(t)
			d := open(t, kestaws.Config{KeyID: s.NewKey("ECC_NIST_EDWARDS25519"), Mode: kestaws.Direct, AWSConfig: sdk(s), Timeout: 500 * time.Millisecond})
			s.Break(test.fault(s))
			signer := must(d.Signer(t.Context()))(t)
			signature, err := signer.Sign(t.Context(), []byte("message"))
			if signature != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%x, %v; want %q", signature, err, test.want)
			}
			s.Mend()
			must(signer.Sign(t.Context(), []byte("message")))(t)
		})
	}
}

func refusal(code string) awstest.Fault {
	return awstest.Fault{Action: "Sign", Times: -1, Status: 400, Code: code}
}

func lie(change func([]byte) []byte) awstest.Fault {
	return awstest.Fault{Action: "Sign", Times: -1, Signature: change}
}
