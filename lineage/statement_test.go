package lineage_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// Certify uses no signature that it has not verified, whatever a key service returns.
func TestCertifyVerifiesBeforeUse(t *testing.T) { // issue 4: "KMS that returns DER, wrong length or another key's signature"
	p := newPlatform(t)
	ec, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	down := errors.New("throttled")
	type sign = func(context.Context, []byte) ([]byte, error)
	fixed := func(b []byte, err error) sign { return func(context.Context, []byte) ([]byte, error) { return b, err } }
	then := func(s sign, edit func([]byte) []byte) sign {
		return func(ctx context.Context, input []byte) ([]byte, error) {
			out, err := s(ctx, input)
			return edit(out), err
		}
	}
	honest := signing(ec, crypto.SHA256, false)
	edwards := signing(p.kms, 0, false)
	huge, _ := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).Lsh(big.NewInt(1), 300), big.NewInt(1)})
	negative, _ := asn1.Marshal(struct{ R, S *big.Int }{big.NewInt(-1), big.NewInt(1)})
	for name, c := range map[string]struct {
		key  crypto.PublicKey
		sign sign
		text string
	}{
		"error":                  {ec.Public(), fixed(nil, down), "throttled"},
		"error and a signature":  {p.kms.Public(), then(fixed(make([]byte, 64), down), func(b []byte) []byte { return b }), "throttled"},
		"nothing":                {p.kms.Public(), fixed(nil, nil), "does not verify"},
		"garbage":                {p.kms.Public(), fixed(make([]byte, 64), nil), "does not verify"},
		"another key":            {p.kms.Public(), signing(privateKey("x"), 0, false), "does not verify"},
		"another text":           {p.kms.Public(), func(ctx context.Context, in []byte) ([]byte, error) { return edwards(ctx, in[1:]) }, "does not verify"},
		"short":                  {p.kms.Public(), then(edwards, func(b []byte) []byte { return b[:63] }), "does not verify"},
		"long":                   {p.kms.Public(), then(edwards, func(b []byte) []byte { return append(b, 0) }), "does not verify"},
		"EC: nothing":            {ec.Public(), fixed(nil, nil), "not in ASN.1 form"},
		"EC: raw instead of DER": {ec.Public(), then(honest, func(b []byte) []byte { return rawECDSA(t, b, 32) }), "not in ASN.1 form"},
		"EC: trailing byte":      {ec.Public(), then(honest, func(b []byte) []byte { return append(b, 0) }), "not in ASN.1 form"},
		"EC: cut":                {ec.Public(), then(honest, func(b []byte) []byte { return b[:len(b)-1] }), "not in ASN.1 form"},
		"EC: too large":          {ec.Public(), fixed(huge, nil), "not in ASN.1 form"},
		"EC: negative":           {ec.Public(), fixed(negative, nil), "not in ASN.1 form"},
		"EC: another key":        {ec.Public(), signing(other, crypto.SHA256, false), "does not verify"},
		"EC: another hash":       {ec.Public(), signing(ec, crypto.SHA512, false), "does not verify"},
		"RSA: another padding":   {p.oidc.Public(), signing(p.oidc, crypto.SHA256, true), "does not verify"},
		"RSA: another hash":      {p.oidc.Public(), signing(p.oidc, crypto.SHA512, false), "does not verify"},
	} {
		b, err := lineage.Certify(t.Context(), p.statement(lineage.FormKMS), lineage.StatementKey{Public: c.key, ID: kmsID, Sign: c.sign})
		if b != nil || err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, %v", name, b, err)
		}
		if c.text == "throttled" && !errors.Is(err, down) {
			t.Errorf("%s: %v hides its cause", name, err)
		}
	}
}

// What verifiers would refuse is refused before the platform's key signs it.
func TestCertifyRefusesBeforeSigning(t *testing.T) {
	p := newPlatform(t)
	other := ecKey(t, elliptic.P256())
	weak := rsaKey(t, 1024)
	for name, c := range map[string]struct {
		edit func(*lineage.Statement, *lineage.StatementKey)
		text string
	}{
		"no principal":       {func(s *lineage.Statement, _ *lineage.StatementKey) { s.Principal = "" }, "principal of 0 bytes"},
		"long principal":     {func(s *lineage.Statement, _ *lineage.StatementKey) { s.Principal = strings.Repeat("x", 5000) }, "principal of 5000 bytes"},
		"no session key":     {func(s *lineage.Statement, _ *lineage.StatementKey) { s.Key = nil }, "public key of 0 bytes"},
		"small order":        {func(s *lineage.Statement, _ *lineage.StatementKey) { s.Key = make(ed25519.PublicKey, 32) }, "small order"},
		"no time":            {func(s *lineage.Statement, _ *lineage.StatementKey) { s.NotBefore = time.Time{} }, "since 1970"},
		"too long":           {func(s *lineage.Statement, _ *lineage.StatementKey) { s.NotAfter = begin.Add(25 * time.Hour) }, "at most 24h"},
		"backwards":          {func(s *lineage.Statement, _ *lineage.StatementKey) { s.NotAfter = begin }, "ends before it begins"},
		"no key":             {func(_ *lineage.Statement, k *lineage.StatementKey) { k.Public, k.Chain = nil, nil }, "cannot sign bindings"},
		"private key":        {func(_ *lineage.Statement, k *lineage.StatementKey) { k.Public, k.Chain = other, nil }, "cannot sign bindings"},
		"empty RSA key":      {func(_ *lineage.Statement, k *lineage.StatementKey) { k.Public, k.Chain = &rsa.PublicKey{}, nil }, "without modulus"},
		"RSA 1024":           {func(_ *lineage.Statement, k *lineage.StatementKey) { k.Public, k.Chain = weak.Public(), nil }, "RSA key of 1024 bits"},
		"P-224":              {func(_ *lineage.Statement, k *lineage.StatementKey) { k.Public = ecKey(t, elliptic.P224()).Public() }, "curve other than"},
		"empty EC key":       {func(_ *lineage.Statement, k *lineage.StatementKey) { k.Public = &ecdsa.PublicKey{} }, "curve other than"},
		"alg of another key": {func(_ *lineage.Statement, k *lineage.StatementKey) { k.Algorithm = "RS256" }, "does not suit"},
		"alg none":           {func(_ *lineage.Statement, k *lineage.StatementKey) { k.Algorithm = "none" }, `alg "none"`},
		"chain of another":   {func(_ *lineage.Statement, k *lineage.StatementKey) { k.Chain = []*x509.Certificate{p.middle.cert} }, "of another key"},
		"SVID of another":    {func(s *lineage.Statement, _ *lineage.StatementKey) { s.Principal = web }, "the certificate is for"},
		"nine certificates": {func(_ *lineage.Statement, k *lineage.StatementKey) {
			k.Chain = []*x509.Certificate{p.leaf, p.leaf, p.leaf, p.leaf, p.leaf, p.leaf, p.leaf, p.leaf, p.leaf}
		}, "9 certificates"},
	} {
		s := p.statement(lineage.FormX509)
		k := lineage.StatementKey{Public: p.leafKey.Public(), Chain: []*x509.Certificate{p.leaf, p.middle.cert}, Sign: func(context.Context, []byte) ([]byte, error) {
			t.Errorf("%s: signed", name)
			return nil, nil
		}}
		c.edit(&s, &k)
		if b, err := lineage.Certify(t.Context(), s, k); b != nil || err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, %v; want %q", name, b, err, c.text)
		}
	}
	if _, err := lineage.Certify(t.Context(), p.statement(lineage.FormKMS), lineage.StatementKey{Public: p.kms.Public(), ID: kmsID}); err == nil {
		t.Error("certified without Sign")
	}
	if _, err := lineage.Certify(t.Context(), p.statement(lineage.FormKMS), lineage.StatementKey{Public: p.kms.Public(), Sign: signing(p.kms, 0, false)}); err == nil {
		t.Error("a KMS statement without the id of its key")
	}
}

func TestCertifySelfIsAboutItsSigner(t *testing.T) {
	p := newPlatform(t)
	for name, s := range map[string]lineage.Statement{
		"another key":       {Principal: web, Key: p.another, NotBefore: begin, NotAfter: begin.Add(time.Hour)},
		"another principal": {Principal: pay, Key: publicKey(web), NotBefore: begin, NotAfter: begin.Add(time.Hour)},
	} {
		if b, err := lineage.CertifySelf(t.Context(), s, signerOf(t, web)); b != nil || err == nil {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := lineage.Statement{Principal: web, Key: publicKey(web), NotBefore: begin, NotAfter: begin.Add(time.Hour)}
	if _, err := lineage.CertifySelf(ctx, s, signerOf(t, web)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
}

// A binding's own words about what it proves are stable, and never flattering.
func TestFormsSayWhatTheyProve(t *testing.T) {
	for form, want := range map[lineage.BindingForm]string{lineage.FormX509: "holder", lineage.FormKMS: "whoever may sign",
		lineage.FormJWT: "to whoever asked", lineage.FormOIDC: "to whoever asked", lineage.FormSelf: "nothing but", "other": "nothing"} {
		if !strings.Contains(form.Proves(), want) {
			t.Errorf("%q proves %q", form, form.Proves())
		}
	}
}
