package opa

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/rest"
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

	maxSegments = 16 // of DecisionPath
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

	// Prefix is the package below which the policies are, in the form of a policy name: with "acme" the policy
	// baseline-auth is asked for at v1/data/acme/baseline-auth, package acme["baseline-auth"]. Rego needs it for names
	// that begin with no word of its own. Empty: the whole tree.
	Prefix string

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

// client returns what the client needs of c, with every zero value replaced by its default.
func (c *Config) client() rest.Config {
	return rest.Config{
		URL: c.URL, Socket: c.Socket, TLS: c.TLS, InsecureHTTP: c.InsecureHTTP, Token: c.BearerToken,
		Timeout: cmp.Or(c.Timeout, DefaultTimeout), IdleTimeout: cmp.Or(c.IdleTimeout, DefaultIdleTimeout),
		MaxRequest: cmp.Or(c.MaxRequest, DefaultMaxRequest), MaxResponse: cmp.Or(c.MaxResponse, DefaultMaxResponse),
		MaxConns: cmp.Or(c.MaxConns, DefaultMaxConns), Peer: "an OPA", Code: errorCode,
	}
}

func (c *Config) checkPrefix() error {
	if c.Prefix == "" {
		return nil
	}
	if err := policy.ValidateName(c.Prefix); err != nil {
		return fmt.Errorf("the field Prefix: %w", err)
	}
	return nil
}

// checkPath reports everything that is wrong with a decision path.
func checkPath(path string) error {
	var errs []error
	names := strings.Split(path, ".")
	if slices.Contains(names, "") {
		errs = append(errs, fmt.Errorf("DecisionPath %q has an empty name; write member names joined by dots, such as %q", path, DefaultDecisionPath))
	}
	if len(names) > maxSegments {
		errs = append(errs, fmt.Errorf("DecisionPath has %d names; use at most %d", len(names), maxSegments))
	}
	return errors.Join(errs...)
}

// base returns the URL under which the API lies.
func (c *Config) base(client *rest.Config) (*url.URL, error) {
	switch {
	case c.URL == "" && c.Host == "" && c.Socket == "":
		return nil, errors.New("no address; set URL, Host (with Port) or Socket")
	case c.Host != "" && (c.URL != "" || c.Socket != ""):
		return nil, errors.New("host is set beside URL or Socket; keep one of them")
	case c.Port != 0 && c.Host == "":
		return nil, errors.New("port is set without Host; set Host, or write the port into URL")
	case c.Host == "":
		return client.Base()
	case c.Port < 0 || c.Port > 65535:
		return nil, fmt.Errorf("port %d is out of range; use 1 to 65535, or 0 for %d", c.Port, DefaultPort)
	}
	if _, err := netip.ParseAddr(c.Host); err != nil && !isHostName(c.Host) {
		return nil, errors.New("host is not a host name or IP address; write the port into Port, and a whole address into URL")
	}
	u := &url.URL{Scheme: client.Scheme(), Host: net.JoinHostPort(c.Host, strconv.Itoa(cmp.Or(c.Port, DefaultPort)))}
	return u, client.CheckPlain(u)
}

func isHostName(s string) bool {
	return len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
}
