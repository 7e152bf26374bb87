package opa_test

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
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/policytest"
)

const (
	allowed = `{"result":true}`
	head    = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	sized   = head + "Content-Length: 15\r\n\r\n"
	chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
)

// enough is what a flood sends: far more than any limit, yet not so much that a broken limit takes the machine.
const enough = 64 << 20

// flood writes b over and over until the client goes away or has got enough.
func flood(c net.Conn, b string) {
	for range enough / len(b) {
		if _, err := io.WriteString(c, b); err != nil {
			return
		}
	}
}

// drip writes s byte by byte, slower than any timeout of these tests, until the client goes away.
func drip(c net.Conn, s string) {
	for i := range len(s) {
		if _, err := c.Write([]byte{s[i]}); err != nil {
			return
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// hold keeps the connection open until the client closes it.
func hold(c net.Conn) { io.Copy(io.Discard, c) }

func reset(c net.Conn) {
	time.Sleep(20 * time.Millisecond) // the client gets what was sent before the reset
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// Servers that never finish: the evaluation ends in time, and its cause is the deadline (TC-09).
func TestServersThatNeverFinish(t *testing.T) {
	big := strings.Repeat("x", 4096)
	for name, f := range map[string]func(net.Conn, *http.Request){
		"silence":          func(c net.Conn, _ *http.Request) { hold(c) },
		"slow status line": func(c net.Conn, _ *http.Request) { drip(c, sized+allowed) },
		"slow header":      func(c net.Conn, _ *http.Request) { io.WriteString(c, head); drip(c, "X-A: "+big) },
		"no body":          func(c net.Conn, _ *http.Request) { io.WriteString(c, sized); hold(c) },
		"slow body":        func(c net.Conn, _ *http.Request) { io.WriteString(c, sized); drip(c, strings.Repeat(" ", 15)) },
		"one byte missing": func(c net.Conn, _ *http.Request) { io.WriteString(c, sized+allowed[:14]); hold(c) },
		"no length":        func(c net.Conn, _ *http.Request) { io.WriteString(c, head+"\r\n"+allowed); hold(c) },
		"no last chunk":    func(c net.Conn, _ *http.Request) { io.WriteString(c, chunked+"f\r\n"+allowed+"\r\n"); hold(c) },
		"slow chunks": func(c net.Conn, _ *http.Request) {
			io.WriteString(c, chunked)
			drip(c, strings.Repeat("1\r\n \r\n", 99))
		},
		"slow trailer": func(c net.Conn, _ *http.Request) {
			io.WriteString(c, chunked+"f\r\n"+allowed+"\r\n0\r\n")
			drip(c, "X-A: "+big)
		},
		"slow error body": func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\n")
			hold(c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := serveWire(t, f)
			start := time.Now()
			d, err := evaluate(engine(t, opa.Config{URL: w.URL, Timeout: 150 * time.Millisecond}))
			mustRefuse(t, d, err, policy.ErrUnavailable)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("cause is not the deadline: %v", err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
			if w.Conns.Load() != 1 {
				t.Errorf("%d connections; nothing is retried", w.Conns.Load())
			}
		})
	}
}

// Servers that break off, break HTTP or send too much. want is the class; the error comes long before the timeout.
func TestServersThatMisbehave(t *testing.T) {
	write := func(s string) func(net.Conn, *http.Request) {
		return func(c net.Conn, _ *http.Request) { io.WriteString(c, s) }
	}
	for name, test := range map[string]struct {
		f    func(net.Conn, *http.Request)
		want error
	}{
		"closed at once":     {write(""), policy.ErrUnavailable},
		"closed in header":   {write(head), policy.ErrUnavailable},
		"closed in body":     {write(sized + allowed[:9]), policy.ErrUnavailable},
		"closed in chunk":    {write(chunked + "f\r\n{\"res"), policy.ErrUnavailable},
		"closed before last": {write(chunked + "f\r\n" + allowed + "\r\n"), policy.ErrUnavailable},
		"half closed":        {func(c net.Conn, _ *http.Request) { c.(*net.TCPConn).CloseWrite(); hold(c) }, policy.ErrUnavailable},
		"half closed in body": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, sized+"{")
			c.(*net.TCPConn).CloseWrite()
			hold(c)
		}, policy.ErrUnavailable},
		"reset":                {func(c net.Conn, _ *http.Request) { reset(c) }, policy.ErrUnavailable},
		"reset in body":        {func(c net.Conn, _ *http.Request) { io.WriteString(c, sized+allowed[:9]); reset(c) }, policy.ErrUnavailable},
		"two lengths":          {write(head + "Content-Length: 15\r\nContent-Length: 16\r\n\r\n" + allowed), policy.ErrUnavailable},
		"negative length":      {write(head + "Content-Length: -1\r\n\r\n" + allowed), policy.ErrUnavailable},
		"bad chunk":            {write(chunked + "zz\r\n" + allowed), policy.ErrUnavailable},
		"not HTTP":             {write(allowed + "\r\n\r\n"), policy.ErrUnavailable},
		"HTTP/2 preface":       {write("\x00\x00\x12\x04\x00\x00\x00\x00\x00"), policy.ErrUnavailable},
		"header without colon": {write("HTTP/1.1 200 OK\r\nallow\r\n\r\n" + allowed), policy.ErrUnavailable},
		"switching protocols": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"+allowed)
			hold(c)
		}, policy.ErrUnavailable},
		"endless header": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, head)
			flood(c, "X-A: "+strings.Repeat("y", 1000)+"\r\n")
		}, policy.ErrUnavailable},
		"endless header line": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, head+"X-A: ")
			flood(c, strings.Repeat("y", 1000))
		}, policy.ErrUnavailable},
		"endless early hints": {func(c net.Conn, _ *http.Request) { flood(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") }, policy.ErrUnavailable},
		"endless body":        {func(c net.Conn, _ *http.Request) { io.WriteString(c, head+"\r\n"); flood(c, strings.Repeat(" ", 1000)) }, policy.ErrIndefinite},
		"endless chunks": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, chunked)
			flood(c, "100\r\n"+strings.Repeat(" ", 256)+"\r\n")
		}, policy.ErrIndefinite},
		"endless chunk header": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, chunked+"1;")
			flood(c, strings.Repeat("x", 1000))
		}, policy.ErrUnavailable},
		"endless tiny chunks": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, chunked)
			flood(c, strings.Repeat("1;"+strings.Repeat("e", 2000)+"\r\n \r\n", 9))
		}, policy.ErrUnavailable},
		"endless trailer": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, chunked+"f\r\n"+allowed+"\r\n0\r\n")
			flood(c, "X-A: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")
		}, policy.ErrUnavailable},
		"announced huge": {write(head + "Content-Length: 9000000000000\r\n\r\n" + allowed), policy.ErrIndefinite},
		"endless error body": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 500 X\r\n\r\n")
			flood(c, strings.Repeat(" ", 1000))
		}, policy.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := serveWire(t, test.f)
			d, err := evaluate(engine(t, opa.Config{URL: w.URL}))
			mustRefuse(t, d, err, test.want)
			if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("only the deadline ended it: %v", err)
			}
			if w.Conns.Load() != 1 {
				t.Errorf("%d connections; nothing is retried", w.Conns.Load())
			}
		})
	}
}

// Old and terse, but definite.
func TestServersThatAreOld(t *testing.T) {
	for name, text := range map[string]string{
		"HTTP/1.0":            "HTTP/1.0 200 OK\r\n\r\n" + allowed,
		"until close":         "HTTP/1.1 200 OK\r\n\r\n" + allowed,
		"no content type":     "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + allowed,
		"wrong content type":  "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n" + allowed,
		"early hints":         "HTTP/1.1 103 Early Hints\r\n\r\n" + sized + allowed,
		"identity":            head + "Content-Encoding: identity\r\nContent-Length: 15\r\n\r\n" + allowed,
		"chunks with trailer": chunked + "8\r\n{\"result\r\n7;x=y\r\n\":true}\r\n0\r\nX: y\r\n\r\n",
		"data after the body": sized + allowed + `{"result":false}`, // belongs to no request
	} {
		w := serveWire(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, text) })
		if d, err := evaluate(engine(t, opa.Config{URL: w.URL})); err != nil || !d.Allow {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// The limit is exact, and memory stays near it however much comes.
func TestMaxResponse(t *testing.T) {
	for size, class := range map[int]error{4096: nil, 4097: policy.ErrIndefinite, 1 << 20: policy.ErrIndefinite} {
		body := allowed + strings.Repeat(" ", size-len(allowed))
		for _, flush := range []bool{false, true} { // with Content-Length and chunked
			f := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if flush {
					w.(http.Flusher).Flush()
				}
				io.WriteString(w, body)
			})
			d, err := evaluate(engine(t, opa.Config{URL: f.URL, MaxResponse: 4096}))
			if class == nil && (err != nil || !d.Allow) || class != nil && !errors.Is(err, class) {
				t.Errorf("%d bytes: %+v, %v", size, d, err)
			}
		}
	}
	for start, unit := range map[string]string{head + "\r\n": " ", head + "X-A: ": "y"} { // in the body, in the header
		w := serveWire(t, func(c net.Conn, _ *http.Request) {
			io.WriteString(c, start)
			flood(c, strings.Repeat(unit, 64<<10))
		})
		e := engine(t, opa.Config{URL: w.URL})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := evaluate(e)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Error("no error")
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
			t.Errorf("allocated %d bytes for an endless answer with a limit of 256 KiB: %v", grown, err)
		}
	}
}

// bomb is an allow and 100 MiB of blanks: readers of gzip take members one behind the other as one text, so that the
// test packs only the first two.
func bomb() []byte {
	pack := func(s string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return b.Bytes()
	}
	return append(pack(allowed), bytes.Repeat(pack(strings.Repeat(" ", 1<<20)), 100)...)
}

// A small body that inflates to 100 MiB must not be inflated at all.
func TestGzipBomb(t *testing.T) {
	bomb := bomb()
	for _, encoding := range []string{"gzip", "GZIP", "gzip, gzip", "deflate", ""} {
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Encoding"] = []string{encoding}
			w.Write(bomb)
		})
		e := engine(t, opa.Config{URL: f.URL, MaxResponse: 1 << 20})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := evaluate(e)
		runtime.ReadMemStats(&after)
		if text := mustRefuse(t, d, err, policy.ErrIndefinite); encoding != "" && !strings.Contains(text, "compressed") {
			t.Error(text)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
			t.Errorf("%q: allocated %d bytes", encoding, grown)
		}
	}
}

// TC-09: an unreachable OPA is an error, not an allow.
func TestTC09Unreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens here now
	for name, c := range map[string]opa.Config{
		"refused":   {URL: "http://" + l.Addr().String()},
		"no socket": {Socket: t.TempDir() + "/none.sock"},
		"no TLS":    {URL: "https://" + l.Addr().String()},
	} {
		d, err := evaluate(engine(t, c))
		mustRefuse(t, d, err, policy.ErrUnavailable)
		want := error(syscall.ECONNREFUSED)
		if name == "no socket" {
			want = syscall.ENOENT
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v does not wrap %v", name, err, want)
		}
	}
}

func TestContext(t *testing.T) {
	w := serveWire(t, func(c net.Conn, _ *http.Request) { hold(c) })
	tokens := 0
	source := func(context.Context) (string, error) { tokens++; return "t", nil }
	e := engine(t, opa.Config{URL: w.URL, Timeout: time.Minute, BearerToken: source})
	ask := func(ctx context.Context) error {
		t.Helper()
		d, err := e.Evaluate(ctx, "kest/x", policytest.Input(1))
		mustRefuse(t, d, err, policy.ErrUnavailable)
		return err
	}
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the caller's own reason"))
	if err := ask(cancelled); !errors.Is(err, context.Canceled) || w.Conns.Load() != 0 || tokens != 0 {
		t.Errorf("cancelled before: %v, %d connections, %d tokens", err, w.Conns.Load(), tokens)
	}
	during, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("the caller's own reason")) })
	if err := ask(during); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "within") {
		t.Errorf("cancelled during: %v", err)
	}
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := ask(short); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "within") {
		t.Errorf("deadline of the caller: %v", err)
	}
}

// The default timeout is 1 s (SPEC §7).
func TestDefaultTimeout(t *testing.T) {
	w := serveWire(t, func(c net.Conn, _ *http.Request) { hold(c) })
	e, err := opa.New(opa.Config{URL: w.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	start := time.Now()
	d, err := evaluate(e)
	text := mustRefuse(t, d, err, policy.ErrUnavailable)
	if took := time.Since(start); took < 900*time.Millisecond || took > 5*time.Second || !strings.Contains(text, "within 1s") {
		t.Errorf("after %v: %s", took, text)
	}
}

// What the server says does not get into errors, wherever it says it.
func TestErrorsDoNotQuoteTheServer(t *testing.T) {
	const evil = "EVIL\x1b]0;words"
	n := 0
	for _, text := range []string{
		evil + "\r\n\r\n", "HTTP/1.1 " + evil + "\r\n\r\n", "HTTP/1.1 500 " + evil + "\r\n\r\n" + evil, "HTTP/" + evil + " 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + evil + "\r\n\r\n", "HTTP/1.1 302 X\r\nLocation: http://" + evil + "\r\nContent-Length: 0\r\n\r\n",
		head + "Content-Length: " + evil + "\r\n\r\n", head + "Transfer-Encoding: " + evil + "\r\n\r\n", head + "Content-Encoding: " + evil + "\r\n\r\n",
		head + "\r\n" + evil, head + "\r\n" + `{"EVIL":1,"EVIL":2}`, head + "\r\n" + `{"result":"EVIL"}`, head + "\r\n" + `{"result":{"EVIL":"EVIL"}}`,
		chunked + evil + "\r\n",
		"HTTP/1.1 400 X\r\n\r\n" + `{"code":"EVIL","message":"EVIL","errors":[{"code":"EVIL words"}]}`,
	} {
		w := serveWire(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, text) })
		d, err := evaluate(engine(t, opa.Config{URL: w.URL}))
		if err == nil || d.Allow {
			t.Errorf("%q: %+v", text, d)
			continue
		}
		n++
		for e := range chain(err) {
			if strings.Contains(fmt.Sprintf("%v %+v %#v", e, e, e), "EVIL") {
				t.Errorf("%q: error quotes the server: %v", text, e)
			}
		}
	}
	if n == 0 {
		t.Error("nothing was tested")
	}
}

// chain yields err and everything that it wraps.
func chain(err error) func(yield func(error) bool) {
	var walk func(error, func(error) bool) bool
	walk = func(err error, yield func(error) bool) bool {
		if err == nil {
			return true
		}
		if !yield(err) {
			return false
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			return walk(u.Unwrap(), yield)
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				if !walk(e, yield) {
					return false
				}
			}
		}
		return true
	}
	return func(yield func(error) bool) { walk(err, yield) }
}
