package opa

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaults and bounds of [Config].
const (
	DefaultPort         = 8181
	DefaultTimeout      = time.Second
	DefaultDecisionPath = "result.allow"
	DefaultMaxRequest   = 1 << 20
	DefaultMaxResponse  = 256 << 10
	DefaultMaxConns     = 128
	DefaultIdleTimeout  = 30 * time.Second

	maxSize     = 64 << 20 // highest MaxRequest and MaxResponse
	maxSegments = 16       // of DecisionPath
	maxSocket   = 103      // bytes that every platform's sun_path holds with the final NUL
)

// Config says where the server is and how it is asked. Exactly one of URL and Host is needed, or Socket, which
// may be combined with URL. The zero value of every other field is a safe default.
type Config struct {
	// URL is the base of the API: scheme http or https, host, optional port and path prefix, and nothing else:
	// "https://opa.example.org/authz" asks https://opa.example.org/authz/v1/data/…. Empty: built from Host and
	// Port.
	URL string

	// Host is a host name or an IP address without port, as in the guide. The scheme is https when TLS is set,
	// else http.
	Host string

	// Port belongs to Host. 0: [DefaultPort].
	Port int

	// Socket is the absolute path of a Unix socket to connect to, whatever URL says; URL then only gives the
	// scheme, the Host header and the path prefix. Empty: TCP.
	Socket string

	// TLS is used for https, with client certificates for mTLS. It is copied. nil: the system's root
	// certificates and no client certificate. InsecureSkipVerify is refused unless the config verifies the
	// server by VerifyConnection or VerifyPeerCertificate.
	TLS *tls.Config

	// BearerToken is asked for a token before every request. nil: no Authorization header.
	BearerToken TokenSource

	// DecisionPath is where the boolean is in the answer, as member names joined by dots. Empty:
	// [DefaultDecisionPath], under which a boolean "result" counts too. With any other path only that path
	// counts. Names that contain a dot cannot be expressed.
	DecisionPath string

	// Timeout bounds one evaluation, from getting the token to the last byte of the answer; an earlier deadline
	// of the context wins. 0: [DefaultTimeout].
	Timeout time.Duration

	// MaxRequest and MaxResponse bound the bodies in bytes; a larger one is an error. Reading an answer takes up
	// to about 120 times its size in memory for a moment. 0: [DefaultMaxRequest] and [DefaultMaxResponse].
	MaxRequest, MaxResponse int64

	// MaxConns bounds the connections, in use and idle together; an evaluation that finds none free waits,
	// within its timeout. 0: [DefaultMaxConns].
	MaxConns int

	// IdleTimeout is how long an unused connection is kept. Keep it below the idle timeout of the server or
	// proxy: a request on a connection that the server is just closing fails and is not retried. 0:
	// [DefaultIdleTimeout].
	IdleTimeout time.Duration

	// Provenance asks the server for its bundle revisions, for [policy.Decision.Revision]. false: no revision.
	Provenance bool

	// InsecureHTTP permits plain HTTP to a host that is not a loopback address. The input, the answer and the
	// bearer token then cross the network unprotected. For networks that encrypt by other means.
	InsecureHTTP bool

	// InsecureBuiltinErrors lets OPA treat a built-in function that fails as undefined, which is OPA's own
	// default: `allow if not blocked` then allows when blocked could not be computed. false: such a failure is an
	// error (strict-builtin-errors).
	InsecureBuiltinErrors bool
}

// filled returns c with every zero value replaced by its default.
func (c Config) filled() Config {
	c.DecisionPath = or(c.DecisionPath, DefaultDecisionPath)
	c.Timeout = or(c.Timeout, DefaultTimeout)
	c.MaxRequest = or(c.MaxRequest, DefaultMaxRequest)
	c.MaxResponse = or(c.MaxResponse, DefaultMaxResponse)
	c.MaxConns = or(c.MaxConns, DefaultMaxConns)
	c.IdleTimeout = or(c.IdleTimeout, DefaultIdleTimeout)
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// check reports everything that is wrong with a filled config except its address.
func (c *Config) check() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.Timeout < 0, "timeout %v is negative; use a positive duration, or 0 for %v", c.Timeout, DefaultTimeout)
	bad(c.IdleTimeout < 0, "IdleTimeout %v is negative; use a positive duration, or 0 for %v", c.IdleTimeout, DefaultIdleTimeout)
	bad(c.MaxConns < 0, "MaxConns %d is negative; use a positive number, or 0 for %d", c.MaxConns, DefaultMaxConns)
	bad(c.MaxRequest < 0 || c.MaxRequest > maxSize, "MaxRequest %d is out of range; use 1 to %d bytes, or 0 for %d", c.MaxRequest, maxSize, DefaultMaxRequest)
	bad(c.MaxResponse < 0 || c.MaxResponse > maxSize, "MaxResponse %d is out of range; use 1 to %d bytes, or 0 for %d", c.MaxResponse, maxSize, DefaultMaxResponse)
	path := strings.Split(c.DecisionPath, ".")
	bad(slices.Contains(path, ""), "DecisionPath %q has an empty name; write member names joined by dots, such as %q", c.DecisionPath, DefaultDecisionPath)
	bad(len(path) > maxSegments, "DecisionPath has %d names; use at most %d", len(path), maxSegments)
	bad(c.Socket != "" && !filepath.IsAbs(c.Socket), "socket %q is not an absolute path; write it from the root", c.Socket)
	bad(len(c.Socket) > maxSocket, "socket path has %d bytes; use a shorter one, at most %d", len(c.Socket), maxSocket)
	if t := c.TLS; t != nil {
		bad(t.InsecureSkipVerify && t.VerifyConnection == nil && t.VerifyPeerCertificate == nil,
			"TLS has InsecureSkipVerify, so anybody could answer for the server; set RootCAs, or verify in VerifyConnection")
	}
	return errors.Join(errs...)
}

// base returns the URL under which the API lies.
func (c *Config) base() (*url.URL, error) {
	switch {
	case c.URL == "" && c.Host == "" && c.Socket == "":
		return nil, errors.New("no address; set URL, Host (with Port) or Socket")
	case c.Host != "" && (c.URL != "" || c.Socket != ""):
		return nil, errors.New("host is set beside URL or Socket; keep one of them")
	case c.Port != 0 && c.Host == "":
		return nil, errors.New("port is set without Host; set Host, or write the port into URL")
	case c.Host != "":
		return c.hostBase()
	case c.URL == "":
		return &url.URL{Scheme: c.scheme(), Host: "localhost"}, nil // the Host header for the socket
	}
	return c.urlBase()
}

func (c *Config) scheme() string {
	if c.TLS != nil {
		return "https"
	}
	return "http"
}

func (c *Config) hostBase() (*url.URL, error) {
	if c.Port < 0 || c.Port > 65535 {
		return nil, fmt.Errorf("port %d is out of range; use 1 to 65535, or 0 for %d", c.Port, DefaultPort)
	}
	if _, err := netip.ParseAddr(c.Host); err != nil && !isHostName(c.Host) {
		return nil, errors.New("host is not a host name or IP address; write the port into Port, and a whole address into URL")
	}
	u := &url.URL{Scheme: c.scheme(), Host: net.JoinHostPort(c.Host, strconv.Itoa(or(c.Port, DefaultPort)))}
	return u, c.checkPlain(u)
}

func isHostName(s string) bool {
	return len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
}

// urlBase does not repeat the URL in errors: somebody may have written a password into it.
func (c *Config) urlBase() (*url.URL, error) {
	const form = "write it as https://host:port/prefix"
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Opaque != "":
		return nil, errors.New("URL cannot be parsed; " + form)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("URL has a scheme other than http and https; " + form)
	case u.Hostname() == "":
		return nil, errors.New("URL has no host; " + form)
	case u.User != nil:
		return nil, errors.New("URL holds credentials; take them out and use BearerToken or a client certificate")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("URL has a query or a fragment; " + form)
	case u.Scheme == "http" && c.TLS != nil:
		return nil, errors.New("TLS is set but URL starts with http; change it to https, or leave TLS out")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return nil, errors.New("URL has a port out of range; use 1 to 65535")
		}
	}
	return u, c.checkPlain(u)
}

// checkPlain refuses plain HTTP where others could read the input and forge the answer.
func (c *Config) checkPlain(u *url.URL) error {
	if u.Scheme == "https" || c.Socket != "" || c.InsecureHTTP || isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("plain HTTP to %q would let anybody on the way answer allow and read the input and the token; "+
		"use https, a loopback address or Socket, or set InsecureHTTP", u.Hostname())
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return addr.Unmap().IsLoopback()
}
