package bearer

import (
	"encoding/base64"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/kest-go/kest/internal/jcs"
)

// maxToken bounds a token in bytes, and with it everything that is done before its signature was checked.
const maxToken = 16 << 10

// A token is what a text says as a JWS. Nothing of it is verified.
type token struct {
	text     string
	alg, kid string
	claims   jcs.Value // an object
}

// parse reads RFC 7515 §7.1 with an object as payload (RFC 7519 §7.2).
func parse(text string) (token, error) {
	if len(text) > maxToken {
		return token{}, bad("it is too long")
	}
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 3 {
		return token{}, bad("it is not a JWS in compact form")
	}
	if _, err := decode(parts[2]); err != nil {
		return token{}, err
	}
	header, err := object(parts[0])
	if err != nil {
		return token{}, err
	}
	t := token{text: text}
	if err := t.readHeader(header); err != nil {
		return token{}, err
	}
	t.claims, err = object(parts[1])
	return t, err
}

func (t *token) readHeader(header jcs.Value) error {
	for _, name := range []string{"crit", "b64"} { // we understand no extension, and b64 is one (RFC 7797 §6)
		if _, present := header.Get(name); present {
			return bad("its header has an extension")
		}
	}
	var typ string
	for name, dst := range map[string]*string{"alg": &t.alg, "kid": &t.kid, "typ": &typ} {
		v, present := header.Get(name)
		if present && (v.Kind != jcs.String || v.Text == "") {
			return bad("its header has a member that is not text")
		}
		*dst = v.Text
	}
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") { // RFC 7515 §4.1.9
	case "", "jwt", "at+jwt":
		return nil
	}
	return bad("its typ is of another kind of token")
}

// decode takes base64url in its one form (RFC 7515 §2). Strict refuses stray bits at the end, but like every decoder
// of encoding/base64 it skips line ends.
func decode(part string) ([]byte, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || part == "" || strings.ContainsAny(part, "\r\n") {
		return nil, bad("a part of it is not base64url")
	}
	return data, nil
}

func object(part string) (jcs.Value, error) {
	data, err := decode(part)
	if err != nil {
		return jcs.Value{}, err
	}
	v, err := jcs.Parse(data, jcs.Options{MaxBytes: maxToken})
	if err != nil || v.Kind != jcs.Object { // RFC 7519 §4: duplicate names are refused
		return jcs.Value{}, bad("a part of it is not one strict JSON object")
	}
	return v, nil
}

// issuer is "iss" when that is text, and otherwise "", which is no issuer.
func (t *token) issuer() string {
	v, _ := t.claims.Get("iss")
	if v.Kind != jcs.String {
		return ""
	}
	return v.Text
}

// checkSignature lets go-jose verify the signature by k, whose algorithms were found to include the token's. The
// signed bytes that it encodes anew are those that we read, because there is one encoding of them only.
func (t *token) checkSignature(k key) error {
	jws, err := jose.ParseSignedCompact(t.text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(t.alg)})
	if err != nil {
		return bad("its header is not accepted")
	}
	if _, err := jws.Verify(k.public); err != nil {
		return bad("its signature does not hold")
	}
	return nil
}
