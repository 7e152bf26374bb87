package kesthttp

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/kest-go/kest/propagate"
)

// held is how much of an answer waits for the lineage to be complete, in bytes.
const held = 16 << 10

// fieldReturn is the name of the field as net/http keeps it.
var fieldReturn = http.CanonicalHeaderKey(propagate.FieldReturn)

// An answer is a response that brings lineage back. What must come first on the wire, the header, is known last: so the
// beginning of the body waits, and where it cannot wait any longer there is a trailer.
type answer struct {
	http.ResponseWriter
	lineage  func(propagate.Slot) string
	bodyless bool // to HEAD
	trailers bool // HTTP/1.1 and later
	last     propagate.Slot

	status int
	body   []byte // that waits
	sent   bool   // the header
	more   bool   // a trailer was announced
	err    error  // of writing what had waited
}

func newAnswer(w http.ResponseWriter, r *http.Request, lineage func(propagate.Slot) string) *answer {
	a := &answer{ResponseWriter: w, lineage: lineage, bodyless: r.Method == http.MethodHead, trailers: r.ProtoAtLeast(1, 1)}
	if a.last = propagate.Trailer; r.ProtoAtLeast(2, 0) {
		a.last = propagate.Whole // its trailers are as large as headers
	}
	return a
}

// writer returns what the handler gets: it can be hijacked where that was possible before.
func (a *answer) writer() http.ResponseWriter {
	if _, ok := a.ResponseWriter.(http.Hijacker); ok {
		return hijackable{a}
	}
	return a
}

// Unwrap lets http.ResponseController reach what is not here: deadlines, full duplex.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		a.ResponseWriter.WriteHeader(status) // informational: the answer is still to come
		return
	}
	if a.sent || a.status != 0 {
		return // as net/http, which says so in its log
	}
	if a.status = status; !a.hasBody() {
		a.bodyless = true
	}
	switch {
	case status == http.StatusSwitchingProtocols:
		a.send(false)
	case len(a.Header()["Trailer"]) > 0 && !a.bodyless: // fields set from now on belong into the handler's own trailer
		a.send(true)
	}
}

// hasBody reports whether the status permits one (RFC 9110 §6.4.1).
func (a *answer) hasBody() bool {
	return a.status >= 200 && a.status != http.StatusNoContent && a.status != http.StatusNotModified
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case a.sent:
		return a.ResponseWriter.Write(b)
	case !a.hasBody():
		return 0, http.ErrBodyNotAllowed
	case len(a.body)+len(b) <= held || a.bodyless: // to HEAD nothing of it is sent, and it shows the content type
		a.body = append(a.body, b[:min(len(b), held-len(a.body))]...)
		return len(b), nil
	}
	if a.send(true); a.err != nil {
		return 0, a.err
	}
	return a.ResponseWriter.Write(b)
}

// Flush implements http.Flusher.
func (a *answer) Flush() {
	_ = a.FlushError() // http.Flusher has no error
}

// FlushError is what http.ResponseController calls.
func (a *answer) FlushError() error {
	if a.bodyless && !a.sent {
		return nil // the header waits: it is the last that is sent, and so the last word on lineage
	}
	if !a.sent {
		if a.send(true); a.err != nil {
			return a.err
		}
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// send sends the header and what waits of the body. more: the handler has not finished.
func (a *answer) send(more bool) {
	a.sent, a.more = true, more
	if a.status == 0 {
		a.status = http.StatusOK
	}
	h := a.Header()
	at := propagate.Whole
	if more {
		at = propagate.Beginning
	}
	h.Set(fieldReturn, a.lineage(at))
	if more {
		h.Del("Content-Length") // or HTTP/1.1 would have no trailer
		if a.trailers {
			h.Add("Trailer", fieldReturn)
		}
	}
	a.ResponseWriter.WriteHeader(a.status)
	if len(a.body) > 0 {
		_, a.err = a.ResponseWriter.Write(a.body) //nolint:gosec // the handler's own answer, as it is
		a.body = nil
	}
}

// finish is called when the handler has returned. The client sees what could not be written as a loss.
func (a *answer) finish() {
	if !a.sent {
		if a.status == 0 {
			a.status = http.StatusOK
		}
		if h := a.Header(); a.hasBody() && !a.bodyless && h.Get("Content-Length") == "" && h.Get("Transfer-Encoding") == "" {
			h.Set("Content-Length", strconv.Itoa(len(a.body)))
		}
		a.send(false)
		return
	}
	if a.more {
		a.trail()
	}
}

// maxTrailers is what net/http reads of all trailers of HTTP/1.1, in bytes; when there is more it fails the body.
const maxTrailers = 4 << 10

// trail sends the last word as the trailer that was announced. Beside trailers of the handler's own there may be no room
// for it; then it is not sent, which the client notices, so that the answer stays readable.
func (a *answer) trail() {
	value, h := a.lineage(a.last), a.Header()
	h.Set(fieldReturn, value)
	if a.last == propagate.Trailer && trailerBytes(h) > maxTrailers {
		h.Del(fieldReturn)
	}
}

// trailerBytes counts the trailers of h, those that were announced and those with [http.TrailerPrefix], as they are sent.
func trailerBytes(h http.Header) int {
	n := len("\r\n")
	count := func(name string, values []string) {
		for _, v := range values {
			n += len(name) + len(": \r\n") + len(v)
		}
	}
	for _, list := range h["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			count(name, h[name])
		}
	}
	for name, values := range h {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			count(name, values)
		}
	}
	return n
}

// hijackable is an answer on a connection that the handler may take over.
type hijackable struct{ *answer }

// Hijack implements http.Hijacker. The answer is then the handler's own, and brings no lineage back.
func (a hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := a.ResponseWriter.(http.Hijacker).Hijack()
	if err == nil {
		a.sent, a.more = true, false
	}
	return conn, rw, err
}
