package oidc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
)

// ErrToken is matched when a source gave a token that cannot be this workload's identity. No error repeats anything of
// a token but the names of issuers.
var ErrToken = errors.New("OIDC token is not acceptable")

const (
	maxToken     = 16 << 10     // bytes, and with it everything that is done before a signature is checked
	maxAudiences = 16           // of one token
	maxTime      = 253402300799 // the end of the year 9999, in seconds
	leeway       = time.Minute  // by which the issuer's clock may be ahead of ours
)

// bad is a token that is not accepted. The reason is one of ours: nothing of the token may be in it.
func bad(reason string) error { return fmt.Errorf("%w: %s", ErrToken, reason) }

// A token is what a text says as a JWS. Nothing of it is verified.
type token struct {
	text            string
	alg, kid        string
	issuer, subject string
	audience        []string
	begins, ends    time.Time // begins may be zero
}

// algorithms may have signed a token (RFC 8725 §3.1): all are asymmetric, and "none" is not among them.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
}

// parseToken reads RFC 7515 §7.1 with an object as payload (RFC 7519 §7.2), strictly: a name that stands twice could be
// read differently by whoever verifies the binding.
func parseToken(text string) (*token, error) {
	if len(text) > maxToken {
		return nil, bad(fmt.Sprintf("it is longer than %d bytes", maxToken))
	}
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 3 {
		return nil, bad("it is not a JWS in compact form (an opaque access token is none); have the issuer make JWTs")
	}
	if _, err := decode(parts[2]); err != nil {
		return nil, err
	}
	header, err := object(parts[0])
	if err != nil {
		return nil, err
	}
	claims, err := object(parts[1])
	if err != nil {
		return nil, err
	}
	t := &token{text: text}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	return t, t.readClaims(claims)
}

func (t *token) readHeader(header jcs.Value) error {
	for _, name := range []string{"crit", "b64"} { // we understand no extension, and b64 is one (RFC 7797 §6)
		if _, present := header.Get(name); present {
			return bad("its header has an extension")
		}
	}
	var err error
	if t.alg, err = member(header, "alg"); err != nil {
		return err
	}
	if !slices.Contains(algorithms(), jose.SignatureAlgorithm(t.alg)) {
		return bad("its algorithm is not allowed")
	}
	if t.kid, err = member(header, "kid"); err != nil {
		return err
	}
	typ, err := member(header, "typ")
	if err != nil {
		return err
	}
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") { // RFC 7515 §4.1.9
	case "", "jwt", "at+jwt": // RFC 8725 §3.11: a token made for something else is none
		return nil
	}
	return bad("its typ is of another kind of token")
}

func (t *token) readClaims(claims jcs.Value) (err error) {
	if t.issuer, err = member(claims, "iss"); err != nil {
		return err
	}
	if t.subject, err = member(claims, "sub"); err != nil {
		return err
	}
	switch {
	case t.issuer == "":
		return bad("it has no iss")
	case t.subject == "":
		return bad("it has no sub")
	case strings.Contains(t.issuer, "#"): // OIDCPrincipal could not be taken apart
		return bad("its iss has a fragment")
	}
	if t.audience, err = audience(claims); err != nil {
		return err
	}
	if t.ends, err = instant(claims, "exp"); err != nil {
		return err
	}
	if t.ends.IsZero() {
		return bad("it has no exp")
	}
	for _, name := range []string{"iat", "nbf"} {
		begins, err := instant(claims, name)
		if err != nil {
			return err
		}
		if begins.After(t.begins) {
			t.begins = begins
		}
	}
	return nil
}

// checkTime is RFC 7519 §4.1.4 to §4.1.6. The end is sharp, because nothing is signed after it; the begin is not,
// because verifiers are lenient, too.
func (t *token) checkTime(now time.Time) error {
	switch {
	case !now.Before(t.ends):
		return bad("it expired at " + t.ends.UTC().Format(time.RFC3339))
	case t.begins.After(now.Add(leeway)):
		return bad("it begins in the future, at " + t.begins.UTC().Format(time.RFC3339) + "; compare the clocks")
	}
	return nil
}

// bound says whether the token names the key, and nothing else. A token that was made for another key is no identity at
// all: such tokens are published in bindings, so anybody may have it.
func (t *token) bound(keyID string) (bool, error) {
	for _, a := range t.audience {
		if strings.HasPrefix(a, lineage.BindingAudience("")) && a != lineage.BindingAudience(keyID) {
			return false, bad("it certifies another key; the source must ask for a new token each time")
		}
	}
	return len(t.audience) == 1 && t.audience[0] == lineage.BindingAudience(keyID), nil
}

// checkSignature lets go-jose verify the signature. The signed bytes that it encodes anew are those that we read,
// because there is one encoding of them only.
func (t *token) checkSignature(keys []lineage.RootKey) error {
	jws, err := jose.ParseSignedCompact(t.text, algorithms())
	if err != nil {
		return bad("its header is not accepted")
	}
	found := false
	for _, k := range keys {
		// RFC 8725 §3.1: a key with an algorithm takes no other. Without one, go-jose sees that the type fits.
		if k.ID != t.kid || k.Algorithm != "" && k.Algorithm != t.alg {
			continue
		}
		found = true
		if _, err := jws.Verify(k.Public); err == nil {
			return nil
		}
	}
	if !found {
		return bad("no key of its issuer fits it")
	}
	return bad("its signature does not hold")
}

// decode takes base64url in its one form (RFC 7515 §2). Strict refuses stray bits at the end, but like every decoder
// of encoding/base64 it skips line ends.
func decode(part string) ([]byte, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || part == "" || strings.ContainsAny(part, "\r\n") {
		return nil, bad("a part of it is not base64url; it may not be complete")
	}
	return data, nil
}

func object(part string) (jcs.Value, error) {
	data, err := decode(part)
	if err != nil {
		return jcs.Value{}, err
	}
	v, err := jcs.Parse(data, jcs.Options{MaxBytes: maxToken, MaxDepth: 16}) // as deep as bindings go
	if err != nil || v.Kind != jcs.Object {                                  // RFC 7519 §4: duplicate names are refused
		return jcs.Value{}, bad("a part of it is not one strict JSON object")
	}
	return v, nil
}

// member is text, "" when there is none.
func member(v jcs.Value, name string) (string, error) {
	m, present := v.Get(name)
	if present && m.Kind != jcs.String {
		return "", bad("its " + name + " is not text")
	}
	return m.Text, nil
}

// audience is RFC 7519 §4.1.3: one text, or an array of them.
func audience(claims jcs.Value) ([]string, error) {
	aud, _ := claims.Get("aud")
	all := aud.Elems
	if aud.Kind == jcs.String {
		all = []jcs.Value{aud}
	}
	var out []string
	for _, a := range all {
		if a.Kind != jcs.String || len(all) > maxAudiences {
			return nil, bad("its aud is not text, or not a short list of it")
		}
		out = append(out, a.Text)
	}
	return out, nil
}

// instant reads a NumericDate (RFC 7519 §2), which may have a fraction, in whole seconds. The zero time means that it is
// not there.
func instant(claims jcs.Value, name string) (time.Time, error) {
	v, present := claims.Get(name)
	if !present {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseFloat(v.Text, 64)
	if v.Kind != jcs.Number || err != nil || seconds < 1 || seconds > maxTime {
		return time.Time{}, bad("its " + name + " is no time")
	}
	return time.Unix(int64(seconds), 0), nil
}

// isFor says whether the token is for an audience; "" is whatever there is.
func (t *token) isFor(audience string) bool {
	return audience == "" || slices.Contains(t.audience, audience)
}
