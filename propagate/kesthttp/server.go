package kesthttp

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/propagate"
)

// DefaultMaxBody is how much of a body is held to know its digest, in bytes.
const DefaultMaxBody = 1 << 20

// HandlerConfig configures a [Handler].
type HandlerConfig struct {
	// Ingress is required: it decides who is served.
	Ingress *propagate.Ingress
	// Peer names the principal of a TLS client, for an ingress with RequirePeer, which needs it: PeerID of
	// identity/spiffe, for example. It must refuse a certificate that was not verified: under tls.RequestClientCert and
	// RequireAnyClientCert anybody can show any. It is asked for each request, and is safe for concurrent use.
	Peer func(*tls.ConnectionState) (string, error)
	// MaxBody bounds the bodies of requests with a hop proof, in bytes; 0 means [DefaultMaxBody].
	MaxBody int64
	// StreamBodies serves bodies that the hop proof of their request does not cover. Without it they are refused,
	// because somebody on the way could have put them there.
	StreamBodies bool
}

// A Handler admits requests before other handlers see them. It is safe for concurrent use.
type Handler struct{ config HandlerConfig }

// NewHandler checks the configuration and reports everything that is wrong with it.
func NewHandler(c HandlerConfig) (*Handler, error) {
	var problems []error
	if c.Ingress == nil {
		problems = append(problems, errors.New("kesthttp: Ingress is nil; make one with propagate.NewIngress"))
	}
	if c.Ingress != nil && c.Ingress.RequiresPeer() && c.Peer == nil {
		problems = append(problems, errors.New("kesthttp: Peer is nil, which the RequirePeer of the ingress needs; give PeerID of identity/spiffe, for example"))
	}
	if c.MaxBody < 0 {
		problems = append(problems, errors.New("kesthttp: MaxBody is negative; use a number of bytes, or 0 for the default"))
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Handler{c}, nil
}

// Wrap returns a handler that serves with next what the ingress admits. next finds session, identity and caller in the
// context of the request, as guarded calls do, and no baggage members of Kest in its header, so that a proxy does not
// pass them on. Streaming, flushing, hijacking, trailers, HTTP/2 and panics work as without it.
func (h *Handler) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, next) })
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	peer, noPeer := h.peer(r)
	ctx, admission, err := h.config.Ingress.Admit(r.Context(), propagate.Request{
		Carrier:       propagation.HeaderCarrier(r.Header),
		Authorization: r.Header["Authorization"],
		Hop:           hopRequest(r),
		Peer:          peer,
		PeerErr:       noPeer,
	})
	if err == nil && admission.Proven {
		if err = h.holdBody(r); err != nil {
			err = h.config.Ingress.Refuse(ctx, err)
		}
	}
	if err != nil {
		challenge := "Bearer"
		if len(r.Header["Authorization"]) > 0 {
			challenge = `Bearer error="invalid_token"` // RFC 6750 §3.1
		}
		writeProblem(w, propagate.ClassOf(err), challenge)
		return
	}
	r = r.WithContext(ctx)
	if len(r.Header["Baggage"]) > 0 {
		r.Header = maps.Clone(r.Header)
		propagate.Strip(propagation.HeaderCarrier(r.Header))
	}
	if admission.Lineage.Len() == 0 {
		next.ServeHTTP(w, r)
		return
	}
	a := newAnswer(w, r, func(at propagate.Slot) string { return h.config.Ingress.Return(ctx, admission, at) })
	next.ServeHTTP(a.writer(), r)
	a.finish() // not after a panic: what was held is not sent, and the server ends the connection
}

// peer is who the connection shows, "" when that is nobody: the ingress then refuses lineage.
func (h *Handler) peer(r *http.Request) (string, error) {
	if !h.config.Ingress.RequiresPeer() || r.TLS == nil {
		return "", nil
	}
	principal, err := h.config.Peer(r.TLS)
	if err != nil {
		return "", err // whatever else came
	}
	return principal, nil
}

// holdBody reads the body of a request with a hop proof that holds, and compares it with its digest, which the proof
// covers.
func (h *Handler) holdBody(r *http.Request) error {
	digests := r.Header.Values("Content-Digest")
	switch {
	case len(digests) > 0:
	case r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody || h.config.StreamBodies:
		return nil
	default:
		return &propagate.RefusedError{Class: propagate.Forbidden, Err: errUncovered}
	}
	want, err := parseDigest(digests)
	if err != nil {
		return &propagate.RefusedError{Class: propagate.Malformed, Err: err}
	}
	var body []byte
	if r.Body != nil {
		if r.ContentLength > h.config.MaxBody {
			return tooLong(h.config.MaxBody)
		}
		if body, err = io.ReadAll(io.LimitReader(r.Body, h.config.MaxBody+1)); err != nil {
			return &propagate.RefusedError{Class: propagate.Malformed, Err: errBody}
		}
		if int64(len(body)) > h.config.MaxBody {
			return tooLong(h.config.MaxBody)
		}
	}
	if sha256.Sum256(body) != want {
		return &propagate.RefusedError{Class: propagate.Forbidden, Err: errDigest}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body)) // the server closes its own
	return nil
}

// hopRequest is the part of a request that a hop proof covers, as it came.
func hopRequest(r *http.Request) *propagate.HopRequest {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") { // absolute-form (RFC 9112 §3.2.2), or a request that no server has read
		target = r.URL.RequestURI()
	}
	path, query := splitTarget(target)
	return &propagate.HopRequest{
		Method: r.Method, Authority: r.Host, Path: path, Query: query,
		Fields: hopFields(r.Header, "Baggage", "Content-Digest", "Signature", "Signature-Input"),
	}
}

func splitTarget(target string) (path, query string) {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[:i], target[i:]
	}
	return target, ""
}

func hopFields(h http.Header, names ...string) map[string][]string {
	fields := make(map[string][]string, len(names))
	for _, name := range names {
		if lines := h[name]; len(lines) > 0 {
			fields[strings.ToLower(name)] = lines
		}
	}
	return fields
}
