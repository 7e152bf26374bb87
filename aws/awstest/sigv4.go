package awstest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

type failure struct{ code, message string }

// mismatch is what the services call a wrong signature, and one of another time.
var mismatch = map[string]string{"sts": "SignatureDoesNotMatch", "kms": "InvalidSignatureException", "verifiedpermissions": "InvalidSignatureException"}

// authenticate checks the signature of a request as AWS does: it computes it again from what arrived, with the secret that
// belongs to the access key.
func (s *Server) authenticate(r *http.Request, body []byte, service string) (arn string, _ *failure) {
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[name] = value
	}
	scope := strings.Split(parts["Credential"], "/")
	if scheme != "AWS4-HMAC-SHA256" || len(scope) != 5 || scope[2] != Region || scope[3] != service {
		return "", &failure{"IncompleteSignature", "no signature for " + service + " in " + Region}
	}
	s.mu.Lock()
	g, known := s.grants[scope[0]]
	s.mu.Unlock()
	if !known || r.Header.Get("X-Amz-Security-Token") != g.session {
		return "", &failure{"UnrecognizedClientException", "the security token is invalid"}
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if off := s.now().Sub(at); err != nil || off.Abs() > 5*time.Minute {
		return "", &failure{mismatch[service], "Signature expired: the request is too far from the current time"}
	}
	if s.now().After(g.expires) {
		return "", &failure{"ExpiredTokenException", "the security token has expired"}
	}
	again := &http.Request{Method: r.Method, Host: r.Host, Header: http.Header{}, ContentLength: r.ContentLength,
		URL: &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: r.URL.RawQuery}}
	for name := range strings.SplitSeq(parts["SignedHeaders"], ";") {
		if name != "host" && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: scope[0], SecretAccessKey: g.secret, SessionToken: g.session}
	if err := v4.NewSigner().SignHTTP(context.Background(), credentials, again, hex.EncodeToString(sum[:]), service, Region, at); err != nil {
		return "", &failure{"InternalFailure", err.Error()}
	}
	if !hmac.Equal([]byte(again.Header.Get("Authorization")), []byte(r.Header.Get("Authorization"))) {
		// AWS repeats the request, with the session token, in the lines after the first.
		return "", &failure{mismatch[service], "The request signature we calculated does not match the signature you provided.\n\n" +
			"The Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:" + g.session + "'"}
	}
	return g.arn, nil
}

func parseForm(body []byte) (map[string]string, error) {
	values, err := url.ParseQuery(string(bytes.TrimSpace(body)))
	if err != nil {
		return nil, errForm
	}
	form := map[string]string{}
	for name := range values {
		form[name] = values.Get(name)
	}
	return form, nil
}
