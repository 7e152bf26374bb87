package device_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/identity/device"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the real provider logs there
	if os.Getenv("KEST_TEST_KEYRING") != "" {      // the bus keeps its connection
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

const issuer = "https://issuer.example"

var quiet = slog.New(slog.DiscardHandler)

// object is a JSON object.
type object map[string]any

func (o object) text() string {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// Secrets of the hand-made issuer. None of them may ever be printed.
const (
	deviceCode   = "device-code-secret"
	clientSecret = "client/secret:hunter2"
)

// An issuer that does what the test says, without a network, so that it works in a synctest bubble.
type fakeIssuer struct {
	mu        sync.Mutex
	discovery object
	authorize object
	token     func(form url.Values) (status int, answer object) // nil answer: no JSON
	asked     []time.Time                                       // when the token endpoint was
	auth      []string                                          // and with which header
}

func newIssuer() *fakeIssuer {
	return &fakeIssuer{
		discovery: object{"issuer": issuer, "token_endpoint": issuer + "/token", "device_authorization_endpoint": issuer + "/device"},
		authorize: object{"device_code": deviceCode, "user_code": "WDJB-MJHT", "verification_uri": issuer + "/go",
			"verification_uri_complete": issuer + "/go?user_code=WDJB-MJHT", "expires_in": 600, "interval": 5},
		token: func(url.Values) (int, object) { return 200, granted("1") },
	}
}

// granted is a good answer of the token endpoint, whose tokens end in n.
func granted(n string) object {
	return object{"access_token": "access-secret-" + n, "id_token": "id-secret-" + n, "refresh_token": "refresh-secret-" + n,
		"token_type": "Bearer", "expires_in": 300}
}

func refused(code string) (int, object) {
	return 400, object{"error": code, "error_description": "secret \x1b[31m" + deviceCode}
}

func (f *fakeIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	status, answer := 200, f.discovery
	switch r.URL.Path {
	case "/device":
		answer = f.authorize
	case "/token":
		f.asked, f.auth = append(f.asked, time.Now()), append(f.auth, r.Header.Get("Authorization"))
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		if status, answer = f.token(form); status == 0 {
			return nil, errors.New("connection refused")
		}
	}
	body := "no JSON, " + deviceCode
	if answer != nil {
		body = answer.text()
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {issuer + "/token"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (f *fakeIssuer) config() device.Config {
	return device.Config{Issuer: issuer, ClientID: "kest", Show: func(device.Prompt) error { return nil },
		Keyring: device.Memory(), Client: &http.Client{Transport: f}, Logger: quiet}
}

// pauses are the times between requests to the token endpoint, the first one since start.
func (f *fakeIssuer) pauses(start time.Time) []time.Duration {
	var out []time.Duration
	for _, t := range f.asked {
		out = append(out, t.Sub(start))
		start = t
	}
	return out
}

// then gives one answer after the other, the last one for ever.
func then(answers ...func() (int, object)) func(url.Values) (int, object) {
	n := 0
	return func(url.Values) (int, object) {
		answer := answers[min(n, len(answers)-1)]
		n++
		return answer()
	}
}

func saying(code string) func() (int, object) { return func() (int, object) { return refused(code) } }

// ring is a keyring in memory.
type ring struct {
	mu     sync.Mutex
	secret map[string]string
	fault  error
}

func (r *ring) Load(_ context.Context, account string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.secret[account], r.fault
}

func (r *ring) Save(_ context.Context, account, secret string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == nil {
		r.secret[account] = secret
	}
	return r.fault
}

func noSecrets(t testing.TB, what, text string) {
	t.Helper()
	for _, s := range []string{deviceCode, clientSecret, "hunter2", "access-secret", "id-secret", "refresh-secret", "\x1b"} {
		if strings.Contains(text, s) {
			t.Errorf("%s shows %q: %s", what, s, text)
		}
	}
}

// logs returns a logger and what it wrote.
func logs() (*slog.Logger, *bytes.Buffer) {
	b := &bytes.Buffer{}
	return slog.New(slog.NewTextHandler(b, nil)), b
}

// fsWalk reads every file below a directory.
func fsWalk(dir string, visit func(name string, data []byte)) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		visit(name, data)
		return err
	})
}
