package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy/internal/rest"
)

// The tests of policy/opa and policy/cedaragent put hostile servers before this client. Here is what it tells them.
func TestPost(t *testing.T) {
	status, body, authorization := 200, "", ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	defer server.Close()
	c := rest.Config{
		URL: server.URL, Timeout: 20 * time.Second, MaxRequest: 8, MaxResponse: 8, MaxConns: 1, Peer: "a test",
		Token: func(context.Context) (string, error) { return "t0ken", nil },
		Code:  func(body []byte) string { return strings.ToLower(string(body)) },
	}
	base, err := c.Base()
	if err := errors.Join(err, c.Check()); err != nil {
		t.Fatal(err)
	}
	bare := c
	bare.BareToken = true
	for want, c := range map[string]rest.Config{"Bearer t0ken": c, "t0ken": bare} {
		client := rest.New(c, base)
		for _, test := range []struct {
			question   string
			status     int
			body, hint string
			indefinite bool
		}{
			{"12345678", 200, "12345678", "", false},
			{"123456789", 200, "", "MaxRequest (8)", true},
			{"", 200, "123456789", "MaxResponse (8 bytes)", true},
			{"", 202, "", "202", true},
			{"", 307, "", "not followed", false},
			{"", 404, "", "the base of a test API", false},
			{"", 500, "SORRY", "500 Internal Server Error (sorry)", false},
		} {
			status, body = test.status, test.body
			answer, err := client.Post(t.Context(), server.URL, []byte(test.question))
			if test.hint == "" {
				if err != nil || string(answer) != test.body {
					t.Errorf("%+v: %q, %v", test, answer, err)
				}
				continue
			}
			_, indefinite := errors.AsType[*rest.IndefiniteError](err)
			if err == nil || answer != nil || indefinite != test.indefinite || !strings.Contains(err.Error(), test.hint) {
				t.Errorf("%+v: %q, %v", test, answer, err)
			}
		}
		if authorization != want {
			t.Errorf("Authorization %q; want %q", authorization, want)
		}
		client.Close()
		if _, err := client.Post(t.Context(), server.URL, nil); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("after Close: %v", err)
		}
	}
}
