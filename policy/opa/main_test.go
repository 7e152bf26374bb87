package opa_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/resttest"
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/policytest"
)

func TestMain(m *testing.M) { resttest.Main(m) }

type fake = resttest.Server

func serve(t testing.TB, h http.HandlerFunc, change ...func(*fake)) *fake {
	t.Helper()
	return resttest.Serve(t, h, change...)
}

func answer(body string) http.HandlerFunc { return resttest.Answer(body) }

func serveWire(t testing.TB, f func(net.Conn, *http.Request)) *resttest.Wire {
	t.Helper()
	return resttest.ServeWire(t, f)
}

func mustRefuse(t testing.TB, d policy.Decision, err, class error) string {
	t.Helper()
	return resttest.MustRefuse(t, d, err, class)
}

// engine makes an engine that is closed with the test. Its timeout is patient when c does not set one: a busy
// machine must not fail a test that is about something else.
func engine(t testing.TB, c opa.Config) *opa.Engine {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	e, err := opa.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func evaluate(e *opa.Engine) (policy.Decision, error) {
	return e.Evaluate(context.Background(), policytest.AllowTrusted, policytest.Input(100))
}
