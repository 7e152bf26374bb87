package cedaragent

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net/url"
	"time"

	"github.com/kest-go/kest/policy/internal/rest"
)

// Defaults of [Config].
const (
	DefaultTimeout     = time.Second
	DefaultMaxRequest  = 1 << 20
	DefaultMaxResponse = 256 << 10
	DefaultMaxConns    = 128
	DefaultIdleTimeout = 30 * time.Second
)

// Config says where the agent is and how it is asked. URL is needed, or Socket, or both. The zero value of every
// other field is a safe default.
type Config struct {
	// URL is the base of the API, under which is_authorized lies: scheme http or https, host, optional port and
	// path prefix, and nothing else. Cedar Agent itself serves it as "http://localhost:8180/v1".
	URL string

	// Socket is the absolute path of a Unix socket to connect to, whatever URL says; URL then only gives the
	// scheme, the Host header and the path prefix. Empty: TCP.
	Socket string

	// TLS is used for https, with client certificates for mTLS. It is copied. nil: the system's root
	// certificates and no client certificate. InsecureSkipVerify is refused unless the config verifies the
	// server by VerifyConnection or VerifyPeerCertificate.
	TLS *tls.Config

	// BearerToken is asked for a token before every request. nil: no Authorization header.
	BearerToken TokenSource

	// BareToken leaves the word Bearer out of the header: Cedar Agent compares the whole header with the API key
	// that its option --authentication gives. false: as RFC 6750 says, which proxies expect.
	BareToken bool

	// Plain sends the workload, the name of the policy and the object's id as they are instead of Cedar's entity
	// UIDs. The server has to give them their types. false: Workload::"…", Action::"…" and Resource::"…".
	Plain bool

	// Timeout bounds one evaluation, from getting the token to the last byte of the answer; an earlier deadline
	// of the context wins. 0: [DefaultTimeout].
	Timeout time.Duration

	// MaxRequest and MaxResponse bound the bodies in bytes; a larger one is an error. Writing a question and
	// reading an answer take up to about 120 times their size in memory for a moment. 0: [DefaultMaxRequest] and
	// [DefaultMaxResponse].
	MaxRequest, MaxResponse int64

	// MaxConns bounds the connections, in use and idle together; an evaluation that finds none free waits,
	// within its timeout. 0: [DefaultMaxConns].
	MaxConns int

	// IdleTimeout is how long an unused connection is kept. Keep it below the idle timeout of the server or
	// proxy: a request on a connection that the server is just closing fails and is not retried. 0:
	// [DefaultIdleTimeout].
	IdleTimeout time.Duration

	// InsecureHTTP permits plain HTTP to a host that is not a loopback address. The input, the answer and the
	// bearer token then cross the network unprotected. For networks that encrypt by other means.
	InsecureHTTP bool
}

// client returns what the client needs of c, with every zero value replaced by its default.
func (c *Config) client() rest.Config {
	return rest.Config{
		URL: c.URL, Socket: c.Socket, TLS: c.TLS, InsecureHTTP: c.InsecureHTTP, Token: c.BearerToken, BareToken: c.BareToken,
		Timeout: cmp.Or(c.Timeout, DefaultTimeout), IdleTimeout: cmp.Or(c.IdleTimeout, DefaultIdleTimeout),
		MaxRequest: cmp.Or(c.MaxRequest, DefaultMaxRequest), MaxResponse: cmp.Or(c.MaxResponse, DefaultMaxResponse),
		MaxConns: cmp.Or(c.MaxConns, DefaultMaxConns), Peer: "a Cedar Agent",
	}
}

// base returns the URL under which the API lies.
func (c *Config) base(client *rest.Config) (*url.URL, error) {
	if c.URL == "" && c.Socket == "" {
		return nil, errors.New("no address; set URL or Socket")
	}
	return client.Base()
}
