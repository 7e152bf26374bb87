package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/redis"
)

// An authority issues certificates for one test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{CommonName: "kest test " + c.SerialNumber.String()} // else OpenSSL takes every one for its own issuer
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue makes a certificate for 127.0.0.1, for servers and clients.
func (a *authority) issue() tls.Certificate {
	cert, key := a.sign(&x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// serveTLS starts a server with a certificate of a. Clients need one, too, when mutual is set.
func serveTLS(t testing.TB, a *authority, mutual bool, args ...string) *server {
	t.Helper()
	dir, cert := t.TempDir(), a.issue()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := &server{t: t, addr: freeAddress(t), tls: &tls.Config{RootCAs: a.pool()}}
	clients := "no"
	if mutual {
		clients, s.tls.Certificates = "yes", []tls.Certificate{a.issue()}
	}
	s.args = append(args, "--tls-cert-file", file("cert.pem", "CERTIFICATE", cert.Certificate[0]), "--tls-key-file", file("key.pem", "PRIVATE KEY", key),
		"--tls-ca-cert-file", file("ca.pem", "CERTIFICATE", a.cert.Raw), "--tls-auth-clients", clients)
	s.run()
	return s
}

// refused opens a store that must not open.
func refused(t testing.TB, c redis.Config, hint string, secrets ...string) {
	t.Helper()
	s, err := redis.Open(c)
	if err == nil {
		s.Close()
		t.Fatal("opened")
	}
	unavailable(t, err, hint, secrets...)
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	s := serveTLS(t, a, false)
	right := s.config()
	st := open(t, right)
	put(t, st, "key", "value")
	holds(t, st, "key", "value")

	wrong := right
	wrong.TLS = &tls.Config{RootCAs: newAuthority(t).pool()}
	refused(t, wrong, "certificate")
	wrong.TLS = &tls.Config{RootCAs: a.pool(), ServerName: "redis.example"}
	refused(t, wrong, "certificate")
	wrong.TLS, wrong.DialTimeout = nil, time.Second
	refused(t, wrong, "redis: ")
	plain := serve(t).config()
	plain.TLS, plain.DialTimeout = right.TLS, time.Second
	refused(t, plain, "TLS")
}

// The certificate changes while the store is open: it does not go on with a server that it cannot verify.
func TestTLSRestart(t *testing.T) {
	a := newAuthority(t)
	s := serveTLS(t, a, false)
	st := open(t, s.config())
	put(t, st, "key", "value")
	s.kill()
	other := serveTLSAt(t, newAuthority(t), s.addr)
	_, err := st.Get(ctx, "key")
	unavailable(t, err, "redis: ")
	if answer := other.ask("INFO", "commandstats"); strings.Contains(answer, "cmdstat_get") {
		t.Error("the question went to a server of another authority")
	}
}

func serveTLSAt(t testing.TB, a *authority, addr string) *server {
	s := serveTLS(t, a, false)
	s.kill()
	s.addr = addr
	s.start()
	return s
}

func TestMutualTLS(t *testing.T) {
	a := newAuthority(t)
	s := serveTLS(t, a, true)
	st := open(t, s.config())
	put(t, st, "key", "value")
	holds(t, st, "key", "value")

	none := s.config()
	none.TLS = &tls.Config{RootCAs: a.pool()}
	refused(t, none, "redis: ")
	none.TLS = &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{newAuthority(t).issue()}}
	refused(t, none, "redis: ")
}

func TestPassword(t *testing.T) {
	const password = "c0rrect-horse"
	s := &server{t: t, addr: freeAddress(t), pass: password, args: []string{"--requirepass", password}}
	s.run()
	config := s.config()
	refused(t, config, "set Password")
	config.Password = "wr0ng-horse"
	refused(t, config, "check Username and Password", "wr0ng")
	config.Password = password
	st := open(t, config)
	put(t, st, "key", "value")
	holds(t, st, "key", "value")
	if answer := s.ask("CONFIG", "SET", "requirepass", "an0ther-horse"); answer != "+OK\r\n" {
		t.Fatal(answer)
	}
	s.pass = "an0ther-horse"
	s.ask("CLIENT", "KILL", "TYPE", "normal")
	_, err := st.Get(ctx, "key")
	for start := time.Now(); err == nil || !strings.Contains(err.Error(), "Username") && time.Since(start) < 5*time.Second; {
		_, err = st.Get(ctx, "key") // the first may learn only that the connection has ended
	}
	unavailable(t, err, "check Username and Password", password, "key")
}

// permissions are those of the package comment.
const permissions = "on >pa55word resetkeys ~kest.* resetchannels -@all +get +set +cluster|slots +config|get"

// A user with the permissions of the package comment can do everything with Prefix, and nothing without.
func TestPermissions(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil || !strings.Contains(string(doc), "ACL SETUSER kest "+strings.Replace(permissions, "pa55word", "password", 1)+"\n") {
		t.Fatalf("the package comment has other permissions; %v", err)
	}
	s := serve(t)
	if answer := s.ask(strings.Fields("ACL SETUSER kest " + permissions)...); answer != "+OK\r\n" {
		t.Fatal(answer)
	}
	config := s.config()
	config.Username, config.Password, config.Prefix = "kest", "pa55word", "kest."
	st := open(t, config)
	put(t, st, "key", "value")
	holds(t, st, "key", "value")
	if err := st.Put(ctx, "key", nil, soon); err != store.ErrExists {
		t.Error(err)
	}
	config.Prefix = "other."
	other := open(t, config)
	unavailable(t, other.Put(ctx, "secretkey", []byte("secretvalue"), soon), "allow GET and SET", "secret", "pa55word")
	_, err = other.Get(ctx, "secretkey")
	unavailable(t, err, "allow GET and SET", "secret", "pa55word")

	s.ask(strings.Fields("ACL SETUSER kest -cluster|slots -config|get")...)
	config.Prefix = "kest."
	least := open(t, config)
	holds(t, least, "key", "value")
	time.Sleep(1100 * time.Millisecond) // the client library pings, which is not permitted, and must not end the connection
	holds(t, least, "key", "value")
}
