package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/config"
)

// TestSecret: it is read when it is needed, and what cannot be read is an error that does not repeat it.
func TestSecret(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := config.Secret{File: config.Path(path)}
	if _, err := file.Read(); err == nil {
		t.Error("a file that is not there")
	}
	for _, want := range []string{"one", "two"} { // rotated
		write(" " + want + "\n")
		if got, err := file.Read(); got != want || err != nil {
			t.Error(got, err)
		}
	}
	write("\n")
	if _, err := file.Read(); err == nil || !strings.Contains(err.Error(), "is empty or not there") {
		t.Errorf("an empty file: %v", err)
	}
	write(strings.Repeat("x", 70_000))
	if _, err := file.Read(); err == nil || !strings.Contains(err.Error(), "more than 65536 bytes") {
		t.Errorf("a large file: %.200v", err)
	}
	if _, err := (config.Secret{File: config.Path(dir)}).Read(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	t.Setenv("SWORDFISH", "hunter2")
	variable := config.Secret{Env: "SWORDFISH"}
	if got, err := variable.Read(); got != "hunter2" || err != nil {
		t.Error(got, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", variable, variable, variable, variable); strings.Contains(text, "hunter2") {
		t.Error(text)
	}
	if _, err := (config.Secret{Env: "NOT_SET_AT_ALL"}).Read(); err == nil || !strings.Contains(err.Error(), "NOT_SET_AT_ALL") {
		t.Error(err)
	}
	if got, err := (config.Secret{}).Read(); got != "" || err != nil {
		t.Error(got, err)
	}
}

// TestTLS: files become a client's configuration, or an error that says which file.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kind string, der []byte) config.Path {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return config.Path(path)
	}
	certificate, privateKey := file("c.pem", "CERTIFICATE", der), file("k.pem", "PRIVATE KEY", private)
	c, err := (&config.TLS{CA: certificate, Certificate: certificate, Key: privateKey, ServerName: "opa"}).Config()
	if err != nil || c.RootCAs == nil || len(c.Certificates) != 1 || c.ServerName != "opa" || c.InsecureSkipVerify {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := (*config.TLS)(nil).Config(); c != nil || err != nil {
		t.Error(c, err)
	}
	if c, err := (&config.TLS{}).Config(); c == nil || c.RootCAs != nil || err != nil {
		t.Error(c, err)
	}
	for _, test := range []struct {
		tls  config.TLS
		want string
	}{
		{config.TLS{CA: privateKey}, "tls: ca: no certificate in "},
		{config.TLS{CA: "none.pem"}, "tls: ca: "},
		{config.TLS{Certificate: "none.pem", Key: privateKey}, "tls: certificate: "},
		{config.TLS{Certificate: certificate, Key: "none.pem"}, "tls: key: "},
		{config.TLS{Certificate: certificate, Key: certificate}, "tls: certificate and key are not a pair of PEM files"},
	} {
		if c, err := test.tls.Config(); c != nil || err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %s", test.tls, err, test.want)
		}
	}
}
