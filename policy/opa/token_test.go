package opa_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/opa"
)

const secretToken = "c2VjcmV0.LXRva2Vu-~+/=="

func TestBearerToken(t *testing.T) {
	var got []string
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Values("Authorization")
		io.WriteString(w, allowed)
	})
	ask := func(e *opa.Engine, want string) {
		t.Helper()
		if d, err := evaluate(e); err != nil || !d.Allow || len(got) != 1 || got[0] != "Bearer "+want {
			t.Errorf("%+v, %v, Authorization %q; want %q", d, err, got, want)
		}
	}
	ask(engine(t, opa.Config{URL: f.URL, BearerToken: opa.StaticToken(secretToken)}), secretToken)

	var n atomic.Int32
	e := engine(t, opa.Config{URL: f.URL, BearerToken: func(context.Context) (string, error) { return fmt.Sprint("t", n.Add(1)), nil }})
	ask(e, "t1")
	ask(e, "t2") // read per request

	file := filepath.Join(t.TempDir(), "token")
	e = engine(t, opa.Config{URL: f.URL, BearerToken: opa.TokenFile(file)})
	for _, token := range []string{"first", "rotated", strings.Repeat("x", 16<<10)} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		ask(e, token)
	}
}

func TestBadTokens(t *testing.T) {
	f := serve(t, answer(allowed))
	dir := t.TempDir()
	write := func(name, content string) opa.TokenSource {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return opa.TokenFile(path)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := exec.Command("mkfifo", fifo).Run(); err != nil {
		t.Logf("no FIFO, so that case is one of a missing file: %v", err)
	}
	cause := errors.New("vault is sealed")
	for name, source := range map[string]opa.TokenSource{
		"empty":          opa.StaticToken(""),
		"header":         opa.StaticToken("SECRET\r\nX-Admin: 1"),
		"quoted":         opa.StaticToken(`"SECRET"`),
		"with scheme":    opa.StaticToken("Bearer SECRET"),
		"not ASCII":      opa.StaticToken("SECRETé"),
		"only padding":   opa.StaticToken("="),
		"inner padding":  opa.StaticToken("SECRET=x"),
		"too long":       opa.StaticToken(strings.Repeat("SECRET", 4<<10)),
		"missing file":   opa.TokenFile(filepath.Join(dir, "none")),
		"directory":      opa.TokenFile(dir),
		"FIFO":           opa.TokenFile(fifo),
		"empty file":     write("empty", " \n"),
		"two lines":      write("two", "SECRET\nSECRET\n"),
		"huge file":      write("huge", strings.Repeat("SECRET", 1<<18)),
		"failing source": func(context.Context) (string, error) { return "SECRET", cause },
	} {
		d, err := evaluate(engine(t, opa.Config{URL: f.URL, BearerToken: source}))
		if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, "token") || strings.Contains(text, "SECRET") {
			t.Errorf("%s: %s", name, text)
		}
		if strings.HasPrefix(name, "empty") && !strings.Contains(err.Error(), "empty") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "failing source" && !errors.Is(err, cause) {
			t.Errorf("%v does not wrap its cause", err)
		}
	}
	if n := f.Requests.Load(); n != 0 {
		t.Errorf("%d requests without the token", n)
	}
}

// The token is in no print of a config, source or engine, and in no error, even when the server echoes it.
func TestTokenIsNeverPrinted(t *testing.T) {
	echo := serveWire(t, func(c net.Conn, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if token != secretToken {
			t.Errorf("token %q", token)
		}
		fmt.Fprintf(c, "%s\r\n%s: x\r\n\r\n%s", token, token, token)
	})
	source := opa.StaticToken(secretToken)
	c := opa.Config{URL: echo.URL, BearerToken: source}
	e := engine(t, c)
	_, failed := evaluate(e)
	if failed == nil {
		t.Fatal("no error")
	}
	var out bytes.Buffer
	for _, v := range []any{source, &source, c, &c, e, *(&[]any{e}), []opa.Config{c}, map[string]any{"c": c}, failed} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("m", "v", v)
		}
		b, _ := json.Marshal(v)
		out.Write(b)
	}
	for err := range chain(failed) {
		fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
	}
	for _, form := range []string{secretToken, secretToken[:8], fmt.Sprintf("%x", secretToken[:8]), fmt.Sprintf("%X", secretToken[:8])} {
		if i := bytes.Index(out.Bytes(), []byte(form)); i >= 0 {
			t.Errorf("token shows as %q in …%s…", form, out.Bytes()[max(0, i-80):i])
		}
	}
	if s := fmt.Sprintf("%#v", e); s != "opa at "+echo.URL+"/v1/data" {
		t.Errorf("%%#v of an engine is %s", s)
	}
	for _, want := range []string{"[redacted]", "opa.TokenSource([redacted])", "opa at " + echo.URL} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing printed as %s", want)
		}
	}
	if s := fmt.Sprintf("%v %#v", opa.TokenSource(nil), opa.TokenSource(nil)); s != "none opa.TokenSource(none)" {
		t.Error(s)
	}
}
