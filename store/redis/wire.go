package redis

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
)

// dial connects as rueidis would, and puts a guard before the connection.
func (c Config) dial(ctx context.Context, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	if err := c.allowed(address); err != nil {
		return nil, err
	}
	var conn net.Conn
	var err error
	if config != nil {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return nil, err
	}
	return &guard{Conn: conn}, nil
}

// A guard is a connection that ends when the server breaks the protocol. The client library trusts it: an answer
// that nobody asked for, a negative length, a length that no machine has, or a deep nest of arrays panics in a
// goroutine where nobody can recover, or exhausts memory. A store is not trusted (package store), so it may stop
// requests but not the process.
type guard struct {
	net.Conn
	mu      sync.Mutex
	in, out frames
}

func (g *guard) Write(b []byte) (int, error) {
	g.mu.Lock() // counted before they are sent, so that no answer can be earlier
	err := g.out.read(b)
	g.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return g.Conn.Write(b)
}

func (g *guard) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	g.mu.Lock()
	defer g.mu.Unlock()
	breach := g.in.read(b[:n])
	if breach == nil && g.in.begun > g.out.ended {
		breach = errors.New("an answer that nobody asked for")
	}
	if breach != nil { // nothing of what was read with it goes on, and nothing is read after it
		g.Close()
		return 0, &protocolError{breach}
	}
	return n, err
}

type protocolError struct{ cause error }

func (e *protocolError) Error() string { return "the server breaks the protocol: " + e.cause.Error() }

// Bounds of one message. The topology of a cluster whose every slot was moved on its own is within them.
const (
	maxMessage = 32 << 20 // bytes that it may take in memory
	elementFee = 64       // what an element of an array takes there
	maxDepth   = 8
	maxLength  = 12 // bytes of a line that gives a length
)

// frames follows a stream of RESP 2 or 3 messages, in pieces of any size, without keeping it. It takes no types that
// nobody sends to a client without subscriptions (attributes, pushes, streamed parts), and finds the ends of lines,
// strings and arrays where the client's reader does, so that both see the same messages.
type frames struct {
	begun, ended uint64 // messages

	kind byte   // of the line that is being read, 0 between lines
	line []byte // its first bytes
	last byte   // and its last one so far
	skip int    // bytes left of a string and its line end
	open []int  // elements left of every open array, outermost first
	left int    // of maxMessage
}

func (f *frames) read(b []byte) error {
	for len(b) > 0 {
		var err error
		switch {
		case f.skip > 0:
			n := min(f.skip, len(b))
			if b, f.skip = b[n:], f.skip-n; f.skip == 0 {
				f.end()
			}
		case f.kind == 0:
			err, b = f.begin(b[0]), b[1:]
		default:
			b, err = f.text(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// text takes what b has of a line.
func (f *frames) text(b []byte) ([]byte, error) {
	part, rest, ended := bytes.Cut(b, []byte("\n"))
	if len(part) > 0 {
		f.line = append(f.line, part[:min(len(part), maxLength-len(f.line))]...)
		f.last = part[len(part)-1]
	}
	err := f.pay(len(part))
	if err == nil && ended {
		err = f.head()
	}
	return rest, err
}

func (f *frames) begin(kind byte) error {
	if strings.IndexByte("+-:$*_#,(%~=!", kind) < 0 {
		return errors.New("a message of an unknown type")
	}
	if len(f.open) == 0 {
		f.begun++
		f.left = maxMessage
	}
	f.kind, f.line, f.last = kind, f.line[:0], 0
	return nil
}

func (f *frames) pay(n int) error {
	if f.left -= n; f.left < 0 {
		return errors.New("an answer larger than any that was asked for")
	}
	return nil
}

// head is called at the end of a line.
func (f *frames) head() error {
	kind, text := f.kind, string(f.line)
	f.kind = 0
	good := f.last == '\r'
	switch kind {
	case '_':
		good = text == "\r"
	case '#':
		good = text == "t\r" || text == "f\r"
	case '$', '=', '!', '*', '~', '%':
		if text != "-1\r" || kind != '$' && kind != '*' { // RESP 2 writes null so
			return f.size(kind, text)
		}
	}
	if !good {
		return errors.New("a line that is not as it should be")
	}
	f.end()
	return nil
}

// size takes the length of a string, an array or a map.
func (f *frames) size(kind byte, text string) error {
	digits, ended := strings.CutSuffix(text, "\r")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || !ended {
		return errors.New("a length that is not one")
	}
	switch kind {
	case '$', '=', '!':
		f.skip = int(n) + len("\r\n")
		return f.pay(int(n))
	case '%':
		n *= 2
	}
	if n == 0 {
		f.end()
		return nil
	}
	if f.open = append(f.open, int(n)); len(f.open) > maxDepth {
		return errors.New("arrays in arrays, too deep")
	}
	return f.pay(int(n) * elementFee)
}

// end is called at the end of a string, number or array, which may be the last of those that it is in.
func (f *frames) end() {
	for i := len(f.open) - 1; i >= 0; i-- {
		if f.open[i]--; f.open[i] > 0 {
			return
		}
		f.open = f.open[:i]
	}
	f.ended++
}
