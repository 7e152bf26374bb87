package device_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/identity/device"
)

// A peer answers each path with a body, "" for one that never ends.
type peer map[string]string

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func (p peer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body io.Reader = strings.NewReader(p[r.URL.Path])
	if p[r.URL.Path] == "" {
		body = endless{}
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body), Request: r}, nil
}

const discoveryPath = "/.well-known/openid-configuration"

func TestEndlessAnswers(t *testing.T) {
	i := newIssuer()
	for _, p := range []peer{{}, {discoveryPath: i.discovery.text()}, {discoveryPath: i.discovery.text(), "/device": i.authorize.text()}} {
		synctest.Test(t, func(t *testing.T) {
			c := i.config()
			c.Client = &http.Client{Transport: p}
			if _, err := device.New(t.Context(), c); err == nil || len(err.Error()) > 200 {
				t.Error(err)
			}
		})
	}
}

// FuzzAnswers: whatever an issuer answers, a person sees printable text only, nothing waits longer than half an hour, and
// no error shows a secret.
func FuzzAnswers(f *testing.F) {
	i := newIssuer()
	f.Add(i.discovery.text(), i.authorize.text(), granted("1").text())
	f.Add(i.discovery.text(), i.authorize.text(), `{"error":"authorization_pending"}`)
	f.Add(`{"issuer":"https://issuer.example"}`, `{"interval":-5,"expires_in":1e300}`, `{}`)
	f.Fuzz(func(t *testing.T, discovery, authorize, token string) {
		synctest.Test(t, func(t *testing.T) {
			c := i.config()
			c.Client = &http.Client{Transport: peer{discoveryPath: discovery + " ", "/device": authorize + " ", "/token": token + " "}}
			c.Show = func(p device.Prompt) error {
				for _, s := range []string{p.Code, p.URL, p.Complete} {
					if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
						t.Errorf("shown: %q", s)
					}
				}
				return nil
			}
			start := time.Now()
			src, err := device.New(t.Context(), c)
			if (src == nil) != (err != nil) || time.Since(start) > 30*time.Minute+5*time.Minute {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			noSecrets(t, "error", fmt.Sprint(err))
			if src != nil {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if got, err := src.Token(ctx, "a"); (got == "") != (err != nil) {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	})
}
