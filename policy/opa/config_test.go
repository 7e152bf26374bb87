package opa_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy/opa"
)

func TestConfigAccepts(t *testing.T) {
	verifying := &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return nil }}
	for want, c := range map[string]opa.Config{
		"http://localhost:8181/v1/data":       {Host: "localhost"},
		"http://localhost:8282/v1/data":       {Host: "localhost", Port: 8282},
		"http://[::1]:8181/v1/data":           {Host: "::1"},
		"https://opa.example:8181/v1/data":    {Host: "opa.example", TLS: &tls.Config{}},
		"https://opa.example/v1/data":         {URL: "https://opa.example"},
		"https://opa.example/a/v1/data":       {URL: "https://opa.example/a/"},
		"https://opa.example/a%20b/v1/data":   {URL: "https://opa.example/a%20b"},
		"https://opa.example:1/v1/data":       {URL: "https://opa.example:1", TLS: verifying},
		"http://LocalHost/v1/data":            {URL: "http://LocalHost"},
		"http://127.9.9.9:80/v1/data":         {URL: "http://127.9.9.9:80"},
		"http://[::ffff:127.0.0.1]/v1/data":   {URL: "http://[::ffff:127.0.0.1]"},
		"http://opa.example/v1/data":          {URL: "http://opa.example", InsecureHTTP: true},
		"http://localhost/v1/data":            {Socket: "/run/opa.sock"},
		"https://localhost/v1/data":           {Socket: "/run/opa.sock", TLS: &tls.Config{}},
		"http://opa.internal/prefix/v1/data":  {Socket: "/run/opa.sock", URL: "http://opa.internal/prefix"},
		"http://localhost:8181/v1/data#limit": {Host: "localhost", MaxRequest: 64 << 20, MaxResponse: 1, MaxConns: 1, Timeout: time.Hour},
	} {
		want, _, _ := strings.Cut(want, "#")
		e, err := opa.New(c)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := e.String(); got != "opa at "+want {
			t.Errorf("got %q, want %q", got, want)
		}
		e.Close()
	}
}

func TestConfigRefuses(t *testing.T) {
	const ok = "http://127.0.0.1"
	for _, test := range []struct {
		c    opa.Config
		hint string // what the error must say
	}{
		{opa.Config{}, "set URL, Host"},
		{opa.Config{Port: 8181}, "no address"},
		{opa.Config{URL: ok, Port: 8181}, "write the port into URL"},
		{opa.Config{URL: ok, Host: "localhost"}, "keep one"},
		{opa.Config{Socket: "/a", Host: "localhost"}, "keep one"},
		{opa.Config{Host: "localhost:8181"}, "port into Port"},
		{opa.Config{Host: "http://localhost"}, "address into URL"},
		{opa.Config{Host: "local host"}, "host name"},
		{opa.Config{Host: "localhost/../x"}, "host name"},
		{opa.Config{Host: "u:p@localhost"}, "host name"},
		{opa.Config{Host: "localhost", Port: -1}, "65535"},
		{opa.Config{Host: "localhost", Port: 65536}, "65535"},
		{opa.Config{Host: "opa.example"}, "InsecureHTTP"},
		{opa.Config{Host: "0.0.0.0"}, "InsecureHTTP"},
		{opa.Config{Host: "localhost.example"}, "InsecureHTTP"},
		{opa.Config{Host: "127.1"}, "InsecureHTTP"},
		{opa.Config{URL: "http://10.0.0.1:8181"}, "InsecureHTTP"},
		{opa.Config{URL: "http://10.0.0.1", BearerToken: opa.StaticToken("x")}, "InsecureHTTP"},
		{opa.Config{URL: "localhost:8181"}, "https://host"},
		{opa.Config{URL: "//localhost"}, "scheme"},
		{opa.Config{URL: "ftp://localhost"}, "scheme"},
		{opa.Config{URL: "http:///v1"}, "no host"},
		{opa.Config{URL: "http:opaque"}, "https://host"},
		{opa.Config{URL: "https://user:hunter2@opa.example"}, "BearerToken"},
		{opa.Config{URL: "https://user:hunter2@opa.example:pass"}, "cannot be parsed"},
		{opa.Config{URL: "https://opa.example?x=1"}, "query"},
		{opa.Config{URL: "https://opa.example?"}, "query"},
		{opa.Config{URL: "https://opa.example#x"}, "fragment"},
		{opa.Config{URL: "https://opa.example:0"}, "65535"},
		{opa.Config{URL: "https://opa.example:70000"}, "65535"},
		{opa.Config{URL: ok, TLS: &tls.Config{}}, "change it to https"},
		{opa.Config{URL: "https://a", TLS: &tls.Config{InsecureSkipVerify: true}}, "RootCAs"},
		{opa.Config{Socket: "opa.sock"}, "absolute"},
		{opa.Config{Socket: "@abstract"}, "absolute"},
		{opa.Config{Socket: "/" + strings.Repeat("a", 110)}, "shorter"},
		{opa.Config{URL: ok, DecisionPath: "."}, "empty name"},
		{opa.Config{URL: ok, DecisionPath: "result..allow"}, "empty name"},
		{opa.Config{URL: ok, DecisionPath: "result.allow."}, "empty name"},
		{opa.Config{URL: ok, DecisionPath: strings.Repeat("a.", 16) + "a"}, "at most 16"},
		{opa.Config{URL: ok, Timeout: -1}, "negative"},
		{opa.Config{URL: ok, IdleTimeout: -1}, "negative"},
		{opa.Config{URL: ok, MaxConns: -1}, "negative"},
		{opa.Config{URL: ok, MaxRequest: -1}, "MaxRequest"},
		{opa.Config{URL: ok, MaxResponse: math.MaxInt64}, "MaxResponse"},
	} {
		e, err := opa.New(test.c)
		if err == nil {
			t.Errorf("%+v: accepted as %v", test.c, e)
			continue
		}
		if text := err.Error(); !strings.Contains(text, test.hint) || !strings.HasPrefix(text, "opa config: ") {
			t.Errorf("%+v: error %q does not say %q", test.c, text, test.hint)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error repeats a password: %v", err)
		}
	}
}

// F-GC: all problems at once.
func TestConfigReportsEverything(t *testing.T) {
	_, err := opa.New(opa.Config{URL: "ftp://x", Timeout: -1, MaxConns: -1, DecisionPath: ".", Socket: "x"})
	for _, want := range []string{"scheme", "timeout", "MaxConns", "DecisionPath", "socket"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error does not mention %s:\n%v", want, err)
		}
	}
}
