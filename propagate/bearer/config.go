package bearer

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Defaults of [Config].
const (
	DefaultLeeway         = 30 * time.Second
	DefaultTimeout        = 5 * time.Second
	DefaultKeysMaxAge     = 10 * time.Minute
	DefaultKeysMaxStale   = time.Hour
	DefaultKeysMinRefresh = 10 * time.Second
	DefaultUserClaim      = "sub"
	DefaultTaskClaim      = "scope"
)

// Bounds of [Config].
const (
	maxLeeway   = 5 * time.Minute
	maxTimeout  = minMaxAge / 2 // keys are dated from when they were asked for, and must not be old when they come
	minMaxAge   = time.Minute
	maxMaxAge   = time.Hour
	maxMaxStale = 24 * time.Hour
	minRefresh  = time.Second
)

// Config says whose tokens are accepted, and for whom they must be made. Issuer and Audiences are required; the zero
// value of every other field is a safe default.
type Config struct {
	// Issuer is what "iss" must be, byte for byte. Unless JWKS is set it is an https URL, under which the discovery
	// document lies (OpenID Connect Discovery 1.0 §4).
	Issuer string
	// Audiences are the names of this service, one of which must be in "aud". A token for somebody else that we
	// accepted could be one that a service further on was given, and used against its owner. The client id of an
	// application is no name of a service: ID tokens have it as "aud", and they are for the application.
	Audiences []string

	// JWKS is the URL of the issuer's keys. "": the one of the discovery document, which is read anew with the keys.
	JWKS string
	// Algorithms may sign. nil: RS256, PS256, ES256, ES384 and EdDSA. RS384, RS512, PS384, PS512 and ES512 can be
	// had too; symmetric ones and none cannot.
	Algorithms []string
	// Leeway is by how much the clocks may differ, at most 5 minutes. 0: [DefaultLeeway].
	Leeway time.Duration

	// UserClaim becomes the user, and must be in every token. Name one that the issuer vouches for: people write their
	// own "name". "": [DefaultUserClaim].
	UserClaim string
	// AgentClaims are looked for in this order, and the first that the token has becomes the agent. nil: client_id, azp.
	AgentClaims []string
	// TaskClaim becomes the task. "": [DefaultTaskClaim].
	TaskClaim string

	// HTTPClient fetches. It is copied, without its cookies, and follows no redirects. nil: one that trusts the system's
	// root certificates and uses the proxy of the environment.
	HTTPClient *http.Client
	// Timeout bounds one fetch of keys, discovery included, at most 30 seconds; a caller's own context bounds how long it
	// waits for it. 0: [DefaultTimeout].
	Timeout time.Duration
	// KeysMaxAge is how long keys are used before new ones are waited for, 1 minute to 1 hour. 0: [DefaultKeysMaxAge].
	KeysMaxAge time.Duration
	// KeysMaxStale is how long they are used while new ones cannot be had, KeysMaxAge to 24 hours. 0:
	// [DefaultKeysMaxStale].
	KeysMaxStale time.Duration
	// KeysMinRefresh is the least time from the begin of one fetch to the begin of the next, 1 second to half of
	// KeysMaxAge. 0: [DefaultKeysMinRefresh].
	KeysMinRefresh time.Duration
	// Logger gets a warning for every fetch that fails. nil: slog.Default().
	Logger *slog.Logger

	// InsecureHTTP permits plain HTTP to hosts other than this one. Anybody on the way can then add a key, and so be
	// everybody.
	InsecureHTTP bool
}

// asymmetric lists the algorithms that can be configured (RFC 7518 §3.1, RFC 8037 §3.1), the default ones first.
func asymmetric() []string {
	return []string{"RS256", "PS256", "ES256", "ES384", "EdDSA", "RS384", "RS512", "PS384", "PS512", "ES512"}
}

// filled returns c with every zero value replaced by its default, sharing nothing that the caller could change.
func (c Config) filled() Config {
	c.Leeway = or(c.Leeway, DefaultLeeway)
	c.Timeout = or(c.Timeout, DefaultTimeout)
	c.KeysMaxAge = or(c.KeysMaxAge, DefaultKeysMaxAge)
	c.KeysMaxStale = or(c.KeysMaxStale, DefaultKeysMaxStale)
	c.KeysMinRefresh = or(c.KeysMinRefresh, DefaultKeysMinRefresh)
	c.UserClaim = or(c.UserClaim, DefaultUserClaim)
	c.TaskClaim = or(c.TaskClaim, DefaultTaskClaim)
	c.Audiences = slices.Clone(c.Audiences)
	if c.Algorithms = slices.Clone(c.Algorithms); len(c.Algorithms) == 0 {
		c.Algorithms = asymmetric()[:5]
	}
	if c.AgentClaims = slices.Clone(c.AgentClaims); len(c.AgentClaims) == 0 {
		c.AgentClaims = []string{"client_id", "azp"}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// check reports everything that is wrong with a filled config.
func (c *Config) check() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("bearer: "+format, args...))
		}
	}
	bad(c.Issuer == "", "Issuer is empty; set it to the iss of the tokens")
	bad(len(c.Audiences) == 0, "Audiences is empty; name this service as its tokens do in aud")
	bad(slices.Contains(c.Audiences, ""), "Audiences has an empty name; take it out")
	bad(slices.Contains(c.AgentClaims, ""), "AgentClaims has an empty name; take it out")
	for _, alg := range c.Algorithms {
		bad(!slices.Contains(asymmetric(), alg), "algorithm %q cannot be used; choose from %s", alg,
			strings.Join(asymmetric(), ", "))
	}
	within := func(name string, d, low, high time.Duration) {
		bad(d < low || d > high, "%s is %v; use %v to %v, or 0 for the default", name, d, low, high)
	}
	within("Leeway", c.Leeway, 1, maxLeeway)
	within("Timeout", c.Timeout, 1, maxTimeout)
	within("KeysMaxAge", c.KeysMaxAge, minMaxAge, maxMaxAge)
	within("KeysMaxStale", c.KeysMaxStale, c.KeysMaxAge, maxMaxStale)
	within("KeysMinRefresh", c.KeysMinRefresh, minRefresh, c.KeysMaxAge/2)
	if c.JWKS != "" {
		if _, err := c.endpoint(c.JWKS); err != nil {
			errs = append(errs, fmt.Errorf("bearer: JWKS %w", err))
		}
	} else if c.Issuer != "" {
		u, err := c.endpoint(c.Issuer)
		if err != nil {
			errs = append(errs, fmt.Errorf("bearer: Issuer %w; or set JWKS", err))
		}
		bad(err == nil && (u.RawQuery != "" || u.ForceQuery), "Issuer has a query, which discovery does not allow; set JWKS")
	}
	return errors.Join(errs...)
}

// endpoint reads a URL that keys may come from. Errors do not repeat it: it may hold a password or a key.
func (c *Config) endpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("is not an https URL")
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("holds credentials; use an HTTPClient that adds them")
	case u.Fragment != "":
		return nil, errors.New("has a fragment; take it out")
	case u.Scheme == "http" && !c.InsecureHTTP && !isLoopback(u.Hostname()):
		return nil, errors.New("is plain HTTP, by which anybody on the way can add keys; use https or set InsecureHTTP")
	}
	return u, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return addr.Unmap().IsLoopback()
}
