package cedaragent_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy/cedaragent"
)

func TestConfigAccepts(t *testing.T) {
	verifying := &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return nil }}
	for want, c := range map[string]cedaragent.Config{
		"http://localhost:8180/v1":    {URL: "http://localhost:8180/v1"},
		"http://localhost:8180/v1#/":  {URL: "http://localhost:8180/v1/"},
		"http://localhost:8180":       {URL: "http://localhost:8180"},
		"http://[::1]:8180/v1":        {URL: "http://[::1]:8180/v1"},
		"https://cedar.example/v1":    {URL: "https://cedar.example/v1", TLS: verifying},
		"https://cedar.example/a%20b": {URL: "https://cedar.example/a%20b"},
		"http://cedar.example/v1":     {URL: "http://cedar.example/v1", InsecureHTTP: true},
		"http://localhost":            {Socket: "/run/cedar.sock"},
		"https://localhost":           {Socket: "/run/cedar.sock", TLS: &tls.Config{}},
		"http://cedar.internal/v1":    {Socket: "/run/cedar.sock", URL: "http://cedar.internal/v1"},
		"http://localhost/v1#limits":  {URL: "http://localhost/v1", MaxRequest: 64 << 20, MaxResponse: 1, MaxConns: 1, Timeout: time.Hour},
	} {
		want, _, _ := strings.Cut(want, "#")
		e, err := cedaragent.New(c)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := e.String(); got != "cedar agent at "+want+"/is_authorized" {
			t.Errorf("got %q, want %q", got, want)
		}
		e.Close()
	}
}

func TestConfigRefuses(t *testing.T) {
	const ok = "http://127.0.0.1/v1"
	for _, test := range []struct {
		c    cedaragent.Config
		hint string // what the error must say
	}{
		{cedaragent.Config{}, "set URL or Socket"},
		{cedaragent.Config{URL: "http://10.0.0.1:8180/v1"}, "InsecureHTTP"},
		{cedaragent.Config{URL: "http://cedar.example", BearerToken: cedaragent.StaticToken("x")}, "InsecureHTTP"},
		{cedaragent.Config{URL: "localhost:8180"}, "https://host"},
		{cedaragent.Config{URL: "//localhost"}, "scheme"},
		{cedaragent.Config{URL: "http:///v1"}, "no host"},
		{cedaragent.Config{URL: "https://user:hunter2@cedar.example"}, "BearerToken"},
		{cedaragent.Config{URL: "https://user:hunter2@cedar.example:pass"}, "cannot be parsed"},
		{cedaragent.Config{URL: "https://cedar.example?x=1"}, "query"},
		{cedaragent.Config{URL: "https://cedar.example#x"}, "fragment"},
		{cedaragent.Config{URL: "https://cedar.example:70000"}, "65535"},
		{cedaragent.Config{URL: ok, TLS: &tls.Config{}}, "change it to https"},
		{cedaragent.Config{URL: "https://a", TLS: &tls.Config{InsecureSkipVerify: true}}, "RootCAs"},
		{cedaragent.Config{Socket: "cedar.sock"}, "absolute"},
		{cedaragent.Config{Socket: "/" + strings.Repeat("a", 110)}, "shorter"},
		{cedaragent.Config{URL: ok, Timeout: -1}, "negative"},
		{cedaragent.Config{URL: ok, IdleTimeout: -1}, "negative"},
		{cedaragent.Config{URL: ok, MaxConns: -1}, "negative"},
		{cedaragent.Config{URL: ok, MaxRequest: -1}, "MaxRequest"},
		{cedaragent.Config{URL: ok, MaxResponse: math.MaxInt64}, "MaxResponse"},
	} {
		e, err := cedaragent.New(test.c)
		if err == nil {
			t.Errorf("%+v: accepted as %v", test.c, e)
			continue
		}
		if text := err.Error(); !strings.Contains(text, test.hint) || !strings.HasPrefix(text, "cedaragent config: ") || strings.Contains(text, "hunter2") {
			t.Errorf("%+v: error %q does not say %q", test.c, text, test.hint)
		}
	}
}

// F-GC: all problems at once.
func TestConfigReportsEverything(t *testing.T) {
	_, err := cedaragent.New(cedaragent.Config{URL: "ftp://x", Timeout: -1, MaxConns: -1, MaxRequest: -1, Socket: "x"})
	for _, want := range []string{"scheme", "timeout", "MaxConns", "MaxRequest", "socket"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error does not mention %s:\n%v", want, err)
		}
	}
}
