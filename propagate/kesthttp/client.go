package kesthttp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// TransportConfig configures a [Transport].
type TransportConfig struct {
	// Egress is required: it decides who gets lineage.
	Egress *propagate.Egress
	// Base does the round trips; nil means http.DefaultTransport.
	Base http.RoundTripper
	// MaxBody bounds the bodies that are held to know their digest, in bytes, when requests get hop proofs and the body
	// cannot be read twice (http.Request.GetBody); 0 means [DefaultMaxBody]. Longer ones are an error.
	MaxBody int64
	// StreamBodies sends bodies that cannot be read twice as they come, not covered by the hop proof.
	StreamBodies bool
}

// A Transport sends lineage along with requests to those who may have it, each hop of a redirect on its own, and takes
// back what answers bring. It is safe for concurrent use.
//
// When a server closes an idle connection just as a request is written, net/http may send the request again. The
// second copy has the nonce of the first: a server that did see that one refuses it as replayed.
type Transport struct{ config TransportConfig }

// NewTransport checks the configuration and reports everything that is wrong with it.
func NewTransport(c TransportConfig) (*Transport, error) {
	var problems []error
	if c.Egress == nil {
		problems = append(problems, errors.New("kesthttp: Egress is nil; make one with propagate.NewEgress"))
	}
	if c.MaxBody < 0 {
		problems = append(problems, errors.New("kesthttp: MaxBody is negative; use a number of bytes, or 0 for the default"))
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.Base == nil {
		c.Base = http.DefaultTransport
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Transport{c}, nil
}

// CloseIdleConnections closes those of the base, for http.Client.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.config.Base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper. A request whose lineage cannot be sent is not sent.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.WithContext(propagate.WithAttached(r.Context())) // a RoundTripper changes no request
	if out.Header = r.Header.Clone(); out.Header == nil {
		out.Header = http.Header{}
	}
	carrier := propagation.HeaderCarrier(out.Header)
	if !t.config.Egress.Allows(destination(r)) {
		propagate.Strip(carrier)
		return t.config.Base.RoundTrip(out)
	}
	sent, err := t.config.Egress.Attach(r.Context(), carrier)
	if err == nil && sent.Len() > 0 && t.config.Egress.Proves() {
		err = t.prove(out, sent)
	}
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	resp, err := t.config.Base.RoundTrip(out)
	if err != nil || sent.Len() == 0 || !t.config.Egress.Returns() {
		return resp, err
	}
	return t.learn(r, sent, resp)
}

// destination is host:port of the server that the request goes to, whatever its Host field says.
func destination(r *http.Request) string {
	port := r.URL.Port()
	if port == "" {
		if port = "80"; r.URL.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(r.URL.Hostname(), port)
}

// prove adds the hop proof to a request that has its baggage.
func (t *Transport) prove(out *http.Request, sent lineage.Passport) error {
	out.Header.Del("Content-Digest") // somebody else's may be of other bytes
	if err := t.digestBody(out); err != nil {
		return err
	}
	authority := out.Host
	if authority == "" {
		authority = out.URL.Host
	}
	path, query := splitTarget(out.URL.RequestURI())
	input, signature, err := t.config.Egress.Prove(out.Context(), sent, propagate.HopRequest{
		Method: method(out), Authority: authority, Path: path, Query: query,
		Fields: hopFields(out.Header, "Baggage", "Content-Digest"),
	})
	if err != nil {
		return err
	}
	out.Header.Add("Signature-Input", input)
	out.Header.Add("Signature", signature)
	return nil
}

func method(r *http.Request) string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

// digestBody sets Content-Digest from a second reading of the body, or from the body itself, which is then held.
func (t *Transport) digestBody(out *http.Request) error {
	if out.Body == nil || out.Body == http.NoBody || out.GetBody == nil && t.config.StreamBodies {
		return nil
	}
	if out.GetBody == nil {
		if err := t.hold(out); err != nil {
			return err
		}
	}
	again, err := out.GetBody()
	if err != nil {
		return err
	}
	defer again.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, again); err != nil {
		return err
	}
	out.Header.Set("Content-Digest", writeDigest([sha256.Size]byte(hash.Sum(nil))))
	return nil
}

// hold reads a body that cannot be read twice, and puts what it read in its place.
func (t *Transport) hold(out *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(out.Body, t.config.MaxBody+1))
	switch {
	case err != nil:
		return err
	case int64(len(body)) > t.config.MaxBody:
		return tooLong(t.config.MaxBody)
	}
	out.Body.Close()
	out.Body, out.GetBody = reader(body), func() (io.ReadCloser, error) { return reader(body), nil }
	if out.ContentLength <= 0 { // unknown until now
		out.ContentLength = int64(len(body))
	}
	return nil
}

func reader(body []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }

// learn takes back what the header of an answer brings, and sees to it that its trailer is not forgotten.
func (t *Transport) learn(r *http.Request, sent lineage.Passport, resp *http.Response) (*http.Response, error) {
	values := resp.Header[fieldReturn]
	more, err := t.config.Egress.Learn(r.Context(), sent, values)
	if len(values) == 0 && resp.StatusCode >= 400 {
		err = nil // a refusal comes from somebody who has no session yet; its status says enough
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	if more {
		resp.Body = &trailing{ReadCloser: resp.Body, learn: func() error {
			_, err := t.config.Egress.Learn(r.Context(), sent, resp.Trailer[fieldReturn])
			if session := propagate.SessionFrom(r.Context()); err != nil && session != nil {
				session.Fail(err) // the answer was handed out already
			}
			return err
		}}
	}
	return resp, nil
}
