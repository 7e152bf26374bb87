package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A Path is a file or folder. A relative one that stands in the file is relative to the folder of the file, and one from
// the environment to the working directory; in a [Deployment] all are absolute.
type Path string

// Secret says where a secret is: in a file or in a variable. It never holds the secret itself, so it may be printed. The
// zero value means that there is none.
type Secret struct {
	// A file, which is read anew each time, so that a secret that is rotated is used at once. White space around the
	// secret is dropped.
	File Path `config:"file"`
	// The name of an environment variable.
	Env string `config:"env"`

	lookup func(name string) (string, bool)
}

const maxSecret = 64 << 10 // bytes

// IsZero reports whether there is none.
func (s Secret) IsZero() bool { return s.File == "" && s.Env == "" }

// Read returns the secret, of up to 64 KiB, and "" when there is none. An empty file or variable is an error. It is safe
// for concurrent use.
func (s Secret) Read() (string, error) {
	var secret string
	switch {
	case s.IsZero():
		return "", nil
	case s.File != "":
		text, err := readFile(string(s.File), maxSecret)
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		secret = strings.TrimSpace(string(text))
	default:
		lookup := s.lookup
		if lookup == nil {
			lookup = os.LookupEnv
		}
		secret, _ = lookup(s.Env)
	}
	if secret == "" {
		return "", fmt.Errorf("secret: %s is empty or not there", s)
	}
	return secret, nil
}

// String says where the secret is.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "file " + string(s.File)
	case s.Env != "":
		return "environment variable " + s.Env
	}
	return "none"
}

// readFile reads a regular file of at most most bytes: a FIFO would block for ever, a device never end.
func readFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return text, err
}

// TLS says whom a client believes, and who it is.
type TLS struct {
	// PEM file of the authorities that servers are believed under. By default those of the system.
	CA Path `config:"ca"`
	// PEM file of the client's certificate, for mutual TLS; key belongs to it.
	Certificate Path `config:"certificate"`
	// PEM file of the client's private key.
	Key Path `config:"key"`
	// The name in the server's certificate. By default that of the address.
	ServerName string `config:"server_name"`
}

const maxPEM = 1 << 20 // bytes

// Config reads the files and returns nil for a nil t.
func (t *TLS) Config() (*tls.Config, error) {
	if t == nil {
		return nil, nil //nolint:nilnil // nil means none here as it does in every Config that takes a *tls.Config
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		text, err := readFile(string(t.CA), maxPEM)
		if err != nil {
			return nil, fmt.Errorf("tls: ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls: ca: no certificate in %s", t.CA)
		}
	}
	if t.Certificate == "" && t.Key == "" {
		return c, nil
	}
	certificate, err := readFile(string(t.Certificate), maxPEM)
	if err != nil {
		return nil, fmt.Errorf("tls: certificate: %w", err)
	}
	key, err := readFile(string(t.Key), maxPEM)
	if err != nil {
		return nil, fmt.Errorf("tls: key: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil { // of crypto/tls, whose errors could say something about the key
		return nil, errors.New("tls: certificate and key are not a pair of PEM files")
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// Check reports half a pair.
func (t *TLS) Check() error {
	if (t.Certificate == "") != (t.Key == "") {
		return errors.New("certificate and key go together; set both or neither")
	}
	return nil
}
