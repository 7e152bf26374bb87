package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// maxHeader bounds the header of an answer in bytes; those of the servers have some 100.
const maxHeader = 32 << 10

// newTransport returns a transport that talks HTTP/1.1 to the one server of the config, without proxies.
func newTransport(c *Config, base *url.URL) *http.Transport {
	dialer := &net.Dialer{Timeout: c.Timeout} // the context ends waiting; this ends the dial that it leaves behind
	if base.Scheme == "http" && c.Socket == "" && !c.InsecureHTTP {
		dialer.ControlContext = OnlyLoopback
	}
	dial := dialer.DialContext
	if c.Socket != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", c.Socket)
		}
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	t := &http.Transport{
		DialContext:            dial,
		Protocols:              protocols,
		DisableCompression:     true, // so that MaxResponse counts what is read, not what it inflates to
		MaxResponseHeaderBytes: maxHeader,
		MaxConnsPerHost:        c.MaxConns,
		MaxIdleConns:           c.MaxConns,
		MaxIdleConnsPerHost:    c.MaxConns,
		IdleConnTimeout:        c.IdleTimeout,
		TLSHandshakeTimeout:    c.Timeout,
	}
	if c.TLS != nil {
		t.TLSClientConfig = c.TLS.Clone()
		t.TLSClientConfig.NextProtos = nil // HTTP/1.1 only
	}
	return t
}

// OnlyLoopback is a dialer's control function that holds "localhost" to its word: plain HTTP was permitted because the host is this one.
func OnlyLoopback(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !ap.Addr().Unmap().IsLoopback() {
		return errors.New("the host does not resolve to a loopback address; use https or set InsecureHTTP")
	}
	return nil
}

// A StatusError says that the server answered with a status that is not a success. Word is what [Config.Code] found in
// the answer, or "".
type StatusError struct {
	Word string
	text string
}

func (e *StatusError) Error() string { return e.text }

// statusFault explains a status that is not a success.
func (c *Client) statusFault(status int, body []byte) error {
	hint, word := "", ""
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		hint = "; check BearerToken or the client certificate"
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		hint = "; check that the address is the base of " + c.config.Peer + " API"
	case status >= 300 && status < 400:
		hint = "; redirects are not followed, so set the address to where the server really is"
	}
	if c.config.Code != nil {
		if word = c.config.Code(body); word != "" {
			hint = " (" + word + ")" + hint
		}
	}
	return &StatusError{Word: word, text: fmt.Sprintf("the server answered %d %s%s", status, http.StatusText(status), hint)}
}

// A fault is a cause whose text has been made short and printable.
type fault struct {
	text  string
	cause error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.cause }

// transportFault passes on the causes that this side's network and TLS code words. What net/http says about a
// malformed answer quotes the answer, and the server could echo the token in it, so that is replaced.
func (c *Client) transportFault(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return errors.New("the server does not speak TLS there; check the scheme and the port")
	}
	if cause := localCause(err); cause != nil {
		return &fault{text: clip(cause.Error()), cause: cause}
	}
	// net/http does not export the last one: a kept connection that ended as the request went out.
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err.Error() == "http: server closed idle connection" {
		return fmt.Errorf("the server closed the connection before its answer was complete: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("the server's answer is not HTTP/1.1 as it should be; check that the address is %s server and the scheme is right", c.config.Peer)
}

// localCause returns the part of err that was made here.
func localCause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate
	}
	if host, ok := errors.AsType[x509.HostnameError](err); ok {
		return host
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	if strings.HasPrefix(err.Error(), "tls: ") { // the handshake's own texts have no type
		return err
	}
	return nil
}

// maxText bounds what a certificate, for one, can put into an error.
const maxText = 200

func clip(s string) string {
	quoted := strconv.QuoteToASCII(s)
	quoted = strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	if len(quoted) > maxText {
		return quoted[:maxText] + "..."
	}
	return quoted
}
