package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	maxSize   = 64 << 20 // highest MaxRequest and MaxResponse
	maxSocket = 103      // bytes that every platform's sun_path holds with the final NUL
)

// Config says where a server is and how it is asked. Its fields have the names and the meaning of the adapters'
// configurations, where they are documented; those have put in their defaults, so zero is refused or means none.
type Config struct {
	URL    string
	Socket string
	TLS    *tls.Config

	// Token returns the value of the Authorization header without its scheme. nil: no header.
	Token     func(context.Context) (string, error)
	BareToken bool // leave the word Bearer out

	Timeout, IdleTimeout    time.Duration
	MaxRequest, MaxResponse int64
	MaxConns                int
	InsecureHTTP            bool

	// Peer is what hints call the server, with its article: "an OPA".
	Peer string
	// Code finds in the body of an error answer a word that is safe to repeat. nil: there is none.
	Code func(body []byte) string
}

// Check reports everything that is wrong with c except its address.
func (c *Config) Check() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.Timeout < 0, "timeout %v is negative; use a positive duration, or 0 for the default", c.Timeout)
	bad(c.IdleTimeout < 0, "IdleTimeout %v is negative; use a positive duration, or 0 for the default", c.IdleTimeout)
	bad(c.MaxConns < 0, "MaxConns %d is negative; use a positive number, or 0 for the default", c.MaxConns)
	bad(c.MaxRequest < 0 || c.MaxRequest > maxSize, "MaxRequest %d is out of range; use 1 to %d bytes, or 0 for the default", c.MaxRequest, maxSize)
	bad(c.MaxResponse < 0 || c.MaxResponse > maxSize, "MaxResponse %d is out of range; use 1 to %d bytes, or 0 for the default", c.MaxResponse, maxSize)
	bad(c.Socket != "" && !filepath.IsAbs(c.Socket), "socket %q is not an absolute path; write it from the root", c.Socket)
	bad(len(c.Socket) > maxSocket, "socket path has %d bytes; use a shorter one, at most %d", len(c.Socket), maxSocket)
	if t := c.TLS; t != nil {
		bad(t.InsecureSkipVerify && t.VerifyConnection == nil && t.VerifyPeerCertificate == nil,
			"TLS has InsecureSkipVerify, so anybody could answer for the server; set RootCAs, or verify in VerifyConnection")
	}
	return errors.Join(errs...)
}

// Scheme is that of an address that is not given as a URL.
func (c *Config) Scheme() string {
	if c.TLS != nil {
		return "https"
	}
	return "http"
}

// Base returns the URL under which the API lies: that of URL, or of a host that is only a header when there is a
// Socket alone. It does not repeat the URL in errors: somebody may have written a password into it.
func (c *Config) Base() (*url.URL, error) {
	if c.URL == "" && c.Socket != "" {
		return &url.URL{Scheme: c.Scheme(), Host: "localhost"}, nil
	}
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
	return u, c.CheckPlain(u)
}

// CheckPlain refuses plain HTTP where others could read the input and forge the answer.
func (c *Config) CheckPlain(u *url.URL) error {
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
