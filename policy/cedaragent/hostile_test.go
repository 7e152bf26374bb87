package cedaragent_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/policytest"
)

const (
	head    = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
)

var (
	sized = head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(allowed))
	chunk = fmt.Sprintf("%x\r\n%s\r\n", len(allowed), allowed)
)

// flood writes b over and over until the client goes away or has got far more than any limit.
func flood(c net.Conn, b string) {
	for range (64 << 20) / len(b) {
		if _, err := io.WriteString(c, b); err != nil {
			return
		}
	}
}

// hold keeps the connection open until the client closes it.
func hold(c net.Conn) { io.Copy(io.Discard, c) }

// then answers with a text and goes on with f.
func then(text string, f func(net.Conn)) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) {
		io.WriteString(c, text)
		f(c)
	}
}

func end(net.Conn) {}

// Servers that break off, break HTTP or send too much. want is the class; the error comes long before the timeout.
func TestServersThatMisbehave(t *testing.T) {
	endless := func(b string) func(net.Conn) { return func(c net.Conn) { flood(c, b) } }
	line, blank := "X-A: "+strings.Repeat("y", 1000)+"\r\n", strings.Repeat(" ", 1000)
	for name, test := range map[string]struct {
		f    func(net.Conn, *http.Request)
		want error
	}{
		"closed at once":      {then("", end), policy.ErrUnavailable},
		"closed in header":    {then(head, end), policy.ErrUnavailable},
		"closed in body":      {then(sized+allowed[:9], end), policy.ErrUnavailable},
		"closed before last":  {then(chunked+chunk, end), policy.ErrUnavailable},
		"reset":               {then(sized+allowed[:9], func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }), policy.ErrUnavailable},
		"two lengths":         {then(head+"Content-Length: 15\r\nContent-Length: 16\r\n\r\n"+allowed, end), policy.ErrUnavailable},
		"bad chunk":           {then(chunked+"zz\r\n"+allowed, end), policy.ErrUnavailable},
		"not HTTP":            {then(allowed+"\r\n\r\n", end), policy.ErrUnavailable},
		"HTTP/2 preface":      {then("\x00\x00\x12\x04\x00\x00\x00\x00\x00", end), policy.ErrUnavailable},
		"switching protocols": {then("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"+allowed, hold), policy.ErrUnavailable},
		"endless header":      {then(head, endless(line)), policy.ErrUnavailable},
		"endless header line": {then(head+"X-A: ", endless(blank)), policy.ErrUnavailable},
		"endless early hints": {then("", endless("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")), policy.ErrUnavailable},
		"endless trailer":     {then(chunked+chunk+"0\r\n", endless(line)), policy.ErrUnavailable},
		"endless body":        {then(head+"\r\n"+allowed, endless(blank)), policy.ErrIndefinite},
		"endless chunks":      {then(chunked+chunk, endless("100\r\n"+strings.Repeat(" ", 256)+"\r\n")), policy.ErrIndefinite},
		"announced huge":      {then(head+"Content-Length: 9000000000000\r\n\r\n"+allowed, end), policy.ErrIndefinite},
		"endless error body":  {then("HTTP/1.1 500 X\r\n\r\n", endless(blank)), policy.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			url, count := serveWire(t, test.f)
			e := engine(t, cedaragent.Config{URL: url})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d, err := evaluate(e)
			runtime.ReadMemStats(&after)
			mustRefuse(t, d, err, test.want)
			if errors.Is(err, context.DeadlineExceeded) || count.Load() != 1 {
				t.Errorf("%d connections, and only the deadline ended it: %v", count.Load(), err)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
				t.Errorf("allocated %d bytes with a limit of 256 KiB", grown)
			}
		})
	}
}

// Servers that never finish: the evaluation ends in time, and its cause is the deadline (TC-09).
func TestServersThatNeverFinish(t *testing.T) {
	for name, text := range map[string]string{
		"silence": "", "header": head, "no body": sized, "one byte missing": sized + allowed[:len(allowed)-1],
		"no length": head + "\r\n" + allowed, "no last chunk": chunked + chunk, "error body": "HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			url, count := serveWire(t, then(text, hold))
			start := time.Now()
			d, err := evaluate(engine(t, cedaragent.Config{URL: url, Timeout: 150 * time.Millisecond}))
			mustRefuse(t, d, err, policy.ErrUnavailable)
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 3*time.Second || count.Load() != 1 {
				t.Errorf("after %v and %d connections: %v", took, count.Load(), err)
			}
		})
	}
}

// Old and terse, but definite.
func TestServersThatAreOld(t *testing.T) {
	for name, text := range map[string]string{
		"HTTP/1.0": "HTTP/1.0 200 OK\r\n\r\n" + allowed, "chunks": chunked + chunk + "0\r\nX: y\r\n\r\n",
		"early hints": "HTTP/1.1 103 Early Hints\r\n\r\n" + sized + allowed, "data behind": sized + allowed + `{"decision":"Deny"}`,
	} {
		url, _ := serveWire(t, then(text, end))
		if d, err := evaluate(engine(t, cedaragent.Config{URL: url})); err != nil || !d.Allow {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// A small body that inflates to 100 MiB must not be inflated at all.
func TestGzipBomb(t *testing.T) {
	pack := func(s string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return b.Bytes()
	}
	// Readers of gzip take members one behind the other as one text.
	bomb := append(pack(allowed), bytes.Repeat(pack(strings.Repeat(" ", 1<<20)), 100)...)
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb)
	})
	d, err := evaluate(engine(t, cedaragent.Config{URL: f.URL}))
	if text := mustRefuse(t, d, err, policy.ErrIndefinite); !strings.Contains(text, "compressed") {
		t.Error(text)
	}
}

// TC-09: an unreachable agent is an error, not an allow.
func TestTC09Unreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens here now
	for want, c := range map[error]cedaragent.Config{
		syscall.ECONNREFUSED: {URL: "http://" + l.Addr().String()},
		syscall.ENOENT:       {Socket: t.TempDir() + "/none.sock"},
	} {
		d, err := evaluate(engine(t, c))
		mustRefuse(t, d, err, policy.ErrUnavailable)
		if !errors.Is(err, want) {
			t.Errorf("%v does not wrap %v", err, want)
		}
	}
}

// The caller's context counts before the engine's timeout, and the default timeout is 1 s (SPEC §7).
func TestContextAndTimeout(t *testing.T) {
	url, count := serveWire(t, then("", hold))
	e := engine(t, cedaragent.Config{URL: url, Timeout: time.Minute})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	d, err := e.Evaluate(cancelled, "kest/x", policytest.Input(1))
	if mustRefuse(t, d, err, policy.ErrUnavailable); !errors.Is(err, context.Canceled) || count.Load() != 0 {
		t.Errorf("cancelled before: %v, %d connections", err, count.Load())
	}
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	d, err = e.Evaluate(short, "kest/x", policytest.Input(1))
	if text := mustRefuse(t, d, err, policy.ErrUnavailable); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(text, "within") {
		t.Errorf("deadline of the caller: %v", err)
	}
	usual, err := cedaragent.New(cedaragent.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer usual.Close()
	d, err = evaluate(usual)
	if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, "within 1s") {
		t.Error(text)
	}
}

// What the server says does not get into errors, wherever it says it.
func TestErrorsDoNotQuoteTheServer(t *testing.T) {
	const evil = "EVIL\x1b]0;words"
	for _, text := range []string{
		evil + "\r\n\r\n", "HTTP/1.1 " + evil + "\r\n\r\n", "HTTP/1.1 500 " + evil + "\r\n\r\n" + evil, "HTTP/1.1 200 OK\r\n" + evil + "\r\n\r\n",
		"HTTP/1.1 302 X\r\nLocation: http://" + evil + "\r\nContent-Length: 0\r\n\r\n", head + "Content-Length: " + evil + "\r\n\r\n",
		head + "Content-Encoding: " + evil + "\r\n\r\n", head + "\r\n" + `{"EVIL":1,"EVIL":2}`, head + "\r\n" + `{"decision":"EVIL"}`,
		head + "\r\n" + `{"decision":"Allow","diagnostics":{"errors":["EVIL"]}}`, chunked + evil + "\r\n",
		"HTTP/1.1 400 X\r\n\r\n" + `{"reason":"EVIL","description":"EVIL","code":400}`,
	} {
		url, _ := serveWire(t, then(text, end))
		d, err := evaluate(engine(t, cedaragent.Config{URL: url}))
		if err == nil || d.Allow || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "EVIL") {
			t.Errorf("%q: %+v, %v", text, d, err)
		}
	}
}
