package spiffe

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kest-go/kest/identity"
)

const socketEnv = "SPIFFE_ENDPOINT_SOCKET"

// maxSocketPath is what fits into a sockaddr_un of Linux, in bytes; a longer path fails with "invalid argument" only.
const maxSocketPath = 107

// endpoint returns the URI of the Workload API that was asked for, or that env names.
func endpoint(given string, env identity.Env) (string, error) {
	if given != "" {
		uri, err := parseEndpoint(given)
		if err != nil {
			return "", fmt.Errorf("SocketPath: %w", err)
		}
		return uri, nil
	}
	if value, set := env.Lookup(socketEnv); set {
		if value == "" {
			return "", errors.New(socketEnv + " is set but empty; give it a value or unset it")
		}
		uri, err := parseEndpoint(value)
		if err != nil {
			return "", fmt.Errorf("%s: %w", socketEnv, err)
		}
		return uri, nil
	}
	path, err := env.SPIFFESocket()
	if err != nil {
		return "", err
	}
	if path == "" {
		path = identity.SPIFFESockets()[0] // the agent may come later
	}
	return unixEndpoint(path)
}

// hasScheme tells a URI from a path. A relative path with a colon in its first element needs "./" in front.
var hasScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

// parseEndpoint reads a path, or a URI as the SPIFFE Workload Endpoint specification wants it (§4). Its errors repeat a
// path or an address, and nothing else of the value: that may be something secret, put there by mistake.
func parseEndpoint(value string) (string, error) {
	if !hasScheme.MatchString(value) {
		return unixEndpoint(value)
	}
	u, err := url.Parse(value)
	if err != nil {
		return "", errors.New("not a URI; use a path, unix:///path or tcp://ip:port")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" { // §4.1, §4.2
		return "", errors.New("it has more than an address in it; use a path, unix:///path or tcp://ip:port")
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" { // §4.2: the authority is empty
			return "", fmt.Errorf("unix://%s… has a host name; an absolute path begins with a third slash, unix:///path", clip(u.Host))
		}
		if u.Path == "" {
			return "", errors.New("unix: without a path; use unix:///path")
		}
		return unixEndpoint(u.Path)
	case "tcp":
		address, err := netip.ParseAddrPort(u.Host)
		switch {
		case err != nil: // §4.1: an IP address and a port, so that no resolver decides whom the workload believes
			return "", fmt.Errorf("tcp://%s is not an IP address and port, as tcp://127.0.0.1:8081; host names are not allowed", clip(u.Host))
		case u.Path != "" || address.Port() == 0 || address.Addr().Zone() != "":
			return "", fmt.Errorf("tcp://%s: want an IP address without a zone, a port, and nothing after them", clip(u.Host))
		}
		return "tcp://" + address.String(), nil
	}
	return "", fmt.Errorf("scheme %q is none of the Workload API; use a path, unix:///path or tcp://ip:port", clip(u.Scheme))
}

// unixEndpoint refuses what waiting does not make a socket.
func unixEndpoint(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if len(path) > maxSocketPath || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("a path of %d bytes; that of a Unix socket has at most %d, and no zero byte", len(path), maxSocketPath)
	}
	if info, err := os.Stat(path); err == nil { // else not there yet, or not for us to see: the connection will tell
		if info.IsDir() {
			return "", fmt.Errorf("%s is a directory; name the socket in it", path)
		}
		if info.Mode()&os.ModeSocket == 0 {
			return "", fmt.Errorf("%s is not a socket; name the one that the agent listens on", path)
		}
	}
	return (&url.URL{Scheme: "unix", Path: path}).String(), nil
}

// clip keeps what comes from outside short in an error, and whole in its characters.
func clip(text string) string {
	const most = 256
	if len(text) <= most {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.ToValidUTF8(text[:most], "\uFFFD") + "…"
}
