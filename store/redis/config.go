package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kest-go/kest/store"
)

// Defaults and bounds of [Config].
const (
	DefaultTimeout     = 2 * time.Second
	DefaultDialTimeout = 5 * time.Second
	MaxPrefix          = 64 // bytes
)

// Config says where the servers are. Only Addresses is required. It prints without its password.
type Config struct {
	// Addresses are host:port of the server, or of some nodes of a cluster, which is recognised by itself. For
	// Sentinel and everything else that is not here, make a client and use [New].
	Addresses []string

	// Username and Password are what AUTH gets. Empty: no authentication, or for Username the user "default".
	Username, Password string

	// TLS turns TLS on. It is copied. InsecureSkipVerify is refused unless the config verifies the server by
	// VerifyConnection or VerifyPeerCertificate. nil: no TLS, for loopback addresses only.
	TLS *tls.Config

	// InsecurePlaintext permits connections without TLS to hosts that are not loopback addresses. Password,
	// passports and nonces then cross the network as they are, and anybody on the way may answer for the server. For
	// networks that encrypt by other means.
	InsecurePlaintext bool

	// Prefix goes before every key: up to [MaxPrefix] letters, digits, '.', '_', '-' and ':'. Processes that share
	// values have the same. Empty: none.
	Prefix string

	// MaxValue bounds values in bytes, written and read. 0: [store.MaxValue].
	MaxValue int

	// Timeout bounds every operation; an earlier deadline of the context wins. 0: [DefaultTimeout].
	Timeout time.Duration

	// DialTimeout bounds Open, and connecting to a server later on. 0: [DefaultDialTimeout].
	DialTimeout time.Duration

	// Logger receives the warning about eviction. nil: slog.Default.
	Logger *slog.Logger
}

// filled returns c with every zero value replaced by its default.
func (c Config) filled() Config {
	if c.MaxValue == 0 {
		c.MaxValue = store.MaxValue
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = DefaultDialTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Addresses = slices.Clone(c.Addresses)
	c.TLS = c.TLS.Clone()
	return c
}

// checkUse reports what is wrong with the part of a filled config that [New] looks at.
func (c Config) checkUse() error {
	var errs []error
	if c.Prefix != "" && (len(c.Prefix) > MaxPrefix || store.CheckKey(c.Prefix) != nil) {
		errs = append(errs, fmt.Errorf("prefix %.80q; use up to %d letters, digits and : . _ -", c.Prefix, MaxPrefix))
	}
	if c.MaxValue < 0 || c.MaxValue > store.MaxValue {
		errs = append(errs, fmt.Errorf("MaxValue %d is out of range; use 1 to %d, or 0 for that", c.MaxValue, store.MaxValue))
	}
	if c.Timeout < 0 || c.DialTimeout < 0 {
		errs = append(errs, errors.New("negative Timeout or DialTimeout; use a positive time, or 0 for the default"))
	}
	return errors.Join(errs...)
}

// check reports everything that is wrong with a filled config. It does not repeat addresses: somebody may have
// written a URL with a password.
func (c Config) check() error {
	errs := []error{c.checkUse()}
	if len(c.Addresses) == 0 {
		errs = append(errs, errors.New(`no address; set Addresses, for example to "127.0.0.1:6379"`))
	}
	for i, address := range c.Addresses {
		host, port, err := net.SplitHostPort(address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@") {
			errs = append(errs, fmt.Errorf("address %d is not host:port; write host and port only, and the password into Password", i))
			continue
		}
		if err := c.allowed(address); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Username != "" && c.Password == "" {
		errs = append(errs, errors.New("user name without a password; set Password"))
	}
	if t := c.TLS; t != nil && t.InsecureSkipVerify && t.VerifyConnection == nil && t.VerifyPeerCertificate == nil {
		errs = append(errs, errors.New("TLS has InsecureSkipVerify, so anybody could answer for the server; set RootCAs, or verify in VerifyConnection"))
	}
	return errors.Join(errs...)
}

// allowed refuses plain connections that leave the machine, also those that a cluster redirects to.
func (c Config) allowed(address string) error {
	if c.TLS != nil || c.InsecurePlaintext {
		return nil
	}
	host, _, _ := net.SplitHostPort(address)
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost") {
		return nil
	}
	return fmt.Errorf("%w %.80q, so others could read and answer; set TLS, or InsecurePlaintext for a network that encrypts by itself",
		errPlaintext, host)
}

var errPlaintext = errors.New("no TLS to")

// String names the servers and the user, not the password. An address that is a URL may hold one, too.
func (c Config) String() string {
	shown := slices.Clone(c.Addresses)
	for i, address := range shown {
		if strings.ContainsAny(address, "/@") {
			shown[i] = "?"
		}
	}
	text := fmt.Sprintf("redis config for %q", shown)
	if c.Username != "" {
		text += fmt.Sprintf(" as %q", c.Username)
	}
	return text
}

// Format is String whatever the verb is: some, like %#v and %d, do not ask for String.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }

// MarshalText is String, so that no log and no encoder of JSON or other text shows the password.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
