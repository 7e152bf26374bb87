package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/e2e/internal/peer"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// remote makes every engine that asks a server, with one server that is none of theirs.
func remote(t testing.TB, url string) []contender {
	t.Helper()
	return []contender{
		{"opa", opaEngine(t, url)}, {"agent", agentEngine(t, url)}, {"avp", avpEngine(t, url, "PS1", aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "s"})},
	}
}

// guarded makes one call under a policy, and reports whether its body ran.
func guarded(t testing.TB, engine policy.Engine, timeout time.Duration, names ...string) (ran bool, err error) {
	t.Helper()
	g, err := kest.New(kest.Config{Engine: engine, Identity: identitytest.New(payments), PolicyTimeout: timeout, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := kest.Verified(g, func(context.Context, struct{}) (struct{}, error) {
		ran = true
		return struct{}{}, nil
	}, kest.Operation("pay"), kest.Policy(names...))
	if err != nil {
		return false, err
	}
	_, err = f(t.Context(), struct{}{})
	return ran, err
}

// mustDeny checks that nothing ran, and what the denial is classed as.
func mustDeny(t *testing.T, about string, ran bool, err error, want, by string) {
	t.Helper()
	d, ok := errors.AsType[*kest.DeniedError](err)
	switch {
	case ran:
		t.Errorf("%s: the body ran (%v)", about, err)
	case !ok:
		t.Errorf("%s: no denial: %v", about, err)
	case class(t, d.Err) != want || d.Policy != by || d.Tier != policy.Function:
		t.Errorf("%s: %v; want %s by %s", about, err, want, by)
	}
}

// allows is an answer that each of the three takes for an allow; AWS writes its words in capitals.
const allows = `{"result":{"allow":true},"decision":"Allow","determiningPolicies":[{"policyId":"p"}],"errors":[]}`

// TestServerFaults: what a server does wrong is the same to each engine that asks one. Engines in the process have none.
func TestServerFaults(t *testing.T) {
	reply := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			if r.Header.Get("X-Amz-Target") != "" {
				body = strings.NewReplacer(`"Allow"`, `"ALLOW"`, `"Deny"`, `"DENY"`).Replace(body)
			}
			io.WriteString(w, body)
		}
	}
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		want  string // "allow" shows that the answer would count if nothing was wrong with it
	}{
		"a good answer":          {reply(200, allows), "allow"},
		"no JSON":                {reply(200, `<html>allow</html>`), "indefinite"},
		"nothing":                {reply(200, ``), "indefinite"},
		"an empty object":        {reply(200, `{}`), "indefinite"},
		"null":                   {reply(200, `null`), "indefinite"},
		"half an answer":         {reply(200, allows[:len(allows)-2]), "indefinite"},
		"two answers":            {reply(200, allows+allows), "indefinite"},
		"an answer said twice":   {reply(200, strings.Replace(strings.Replace(allows, `{"allow":true}`, `{"allow":false,"allow":true}`, 1), `"Allow"`, `"Deny","decision":"Allow"`, 1)), "indefinite"},
		"a word for an answer":   {reply(200, `{"result":{"allow":"true"},"decision":"yes","determiningPolicies":[],"errors":[]}`), "indefinite"},
		"a long answer":          {reply(200, strings.Replace(allows, "{", `{"x":"`+strings.Repeat("x", 2<<20)+`",`, 1)), "indefinite"},
		"another success":        {reply(201, allows), "indefinite"},
		"no content":             {reply(204, ``), "indefinite"},
		"an error with an allow": {reply(500, allows), "unavailable"},
		"no access":              {reply(403, allows), "unavailable"},
		"not there":              {reply(404, allows), "unavailable"},
		"overload":               {reply(503, ``), "unavailable"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://"+r.Host+"/other")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, "unavailable"},
		"the end of the connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "unavailable"},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(test.serve)
			defer s.Close()
			defer s.CloseClientConnections()
			timeout := patient
			if name == "no answer" {
				timeout = 100 * time.Millisecond
			}
			for _, c := range remote(t, s.URL) {
				ran, err := guarded(t, c.engine, timeout, anyPolicy)
				if test.want == "allow" {
					if !ran || err != nil {
						t.Errorf("%s: %v", c.name, err)
					}
					continue
				}
				mustDeny(t, c.name, ran, err, test.want, anyPolicy)
				ran, err = guarded(t, c.engine, timeout, anyPolicy, noPolicy) // in a batch, where there are any
				mustDeny(t, c.name+" in a tier of two", ran, err, test.want, anyPolicy)
			}
		})
	}
}

// TestServerDown: nobody listens.
func TestServerDown(t *testing.T) {
	for _, c := range remote(t, "http://"+peer.FreeAddress(t)) {
		ran, err := guarded(t, c.engine, patient, anyPolicy)
		mustDeny(t, c.name, ran, err, "unavailable", anyPolicy)
	}
}

// TestLargeNumbers: of whole numbers that not every reader of JSON has, the guard asks no engine: they could be asked
// about different ones (SPEC §2).
func TestLargeNumbers(t *testing.T) {
	m := policytest.Allow()
	g, err := kest.New(kest.Config{Engine: m, Identity: identitytest.New(payments), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []any{int64(1 << 53), uint64(math.MaxUint64), int64(math.MinInt64), json.Number("1e400")} {
		options := func(o kest.Option) []kest.Option {
			return []kest.Option{kest.Operation("pay"), kest.Policy(anyPolicy), o}
		}
		body := func(context.Context, any) (int, error) { t.Errorf("%v: the body ran", n); return 0, nil }
		if _, err := kest.Verified(g, body, options(kest.Attributes(map[string]any{"n": n}))...); err == nil {
			t.Errorf("%v is accepted when the function is wrapped", n)
		}
		f, err := kest.Verified(g, body, options(kest.AttributesFrom(func(_ context.Context, n any) (map[string]any, error) {
			return map[string]any{"n": n}, nil
		}))...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f(t.Context(), n); err == nil {
			t.Errorf("%v is accepted in a call", n)
		}
	}
	if n := m.Count(); n != 0 {
		t.Errorf("%d questions", n)
	}
}

// TestSlowPolicy: Rego has loops, and ends with the deadline in the process and behind REST. Cedar has none.
func TestSlowPolicy(t *testing.T) {
	const slow = "shared/slow"
	all := map[string]source{slow: {
		rego:  "package shared.slow\n\nallow if {\n\tr := numbers.range(1, 3000)\n\tsome a in r\n\tsome b in r\n\tsome c in r\n\t(a * b) * c < 0\n}\n",
		cedar: permit(slow, "true"),
	}}
	for _, c := range contenders(t, all)[:2] {
		start := time.Now()
		ran, err := guarded(t, c.engine, 200*time.Millisecond, slow)
		mustDeny(t, c.name, ran, err, "unavailable", slow)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", c.name, took)
		}
	}
}

// TestHostileNames: a name that is no policy name is refused when the function is wrapped, in every tier; an engine that
// is asked for one all the same says so, and sends nothing.
func TestHostileNames(t *testing.T) {
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer s.Close()
	engines := remote(t, s.URL)
	for _, c := range contenders(t, shared) {
		if !slices.ContainsFunc(engines, func(r contender) bool { return r.name == c.name }) {
			engines = append(engines, c)
		}
	}
	if len(engines) != 5 {
		t.Fatalf("%d engines", len(engines))
	}
	for _, c := range engines {
		for _, name := range policytest.HostileNames() {
			ran, err := guarded(t, c.engine, patient, name)
			if _, ok := errors.AsType[*kest.ConfigError](err); !ok || ran {
				t.Errorf("%s: %.60q: %v", c.name, name, err)
			}
			if d, err := c.engine.Evaluate(t.Context(), name, policytest.Input(100)); d.Allow || class(t, err) != "unknown" {
				t.Errorf("%s: %.60q: %+v, %v", c.name, name, d, err)
			}
		}
		if _, err := kest.New(kest.Config{Engine: c.engine, Identity: identitytest.New(payments), Enterprise: policytest.HostileNames()}); err == nil {
			t.Errorf("%s: hostile names are accepted for a tier", c.name)
		}
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}
