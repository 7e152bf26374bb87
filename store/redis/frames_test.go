package redis_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/kest-go/kest/store/redis"
)

// answers are messages as servers send them, one each.
func answers() []string {
	return []string{
		"+OK\r\n", "-ERR unknown command 'x', with args beginning with: \r\n", ":0\r\n", ":-42\r\n", "$-1\r\n", "*-1\r\n", "_\r\n",
		"$0\r\n\r\n", "$5\r\na\r\n$b\r\n", "*0\r\n", "*2\r\n$1\r\na\r\n:1\r\n", "%0\r\n", "~1\r\n+a\r\n", ",1.5\r\n", ",inf\r\n", "#t\r\n", "#f\r\n",
		"(12345678901234567890\r\n", "=7\r\ntxt:abc\r\n", "!5\r\nERR x\r\n",
		"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n",
		"*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:6379\r\n$40\r\n" + strings.Repeat("a", 40) + "\r\n*0\r\n",
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n+8\r\n",
	}
}

// breaches are the beginnings of messages that no right server sends, or that would cost too much.
func breaches() map[string]string {
	return map[string]string{
		"HTTP": "HTTP/1.1 400 Bad Request\r\n\r\n", "NUL": "\x00", "TLS": "\x15\x03\x03\x00\x02\x02\x46", "line end": "\r\n",
		"huge string": "$2147483646\r\n", "64 bits": "$9223372036854775807\r\n", "more bits": "$99999999999999999999\r\n", "over the limit": "$33554433\r\n",
		"negative length": "$-5\r\n", "minus zero": "$-0\r\n", "plus": "$+5\r\n", "no length": "$\r\n", "hex": "$0x5\r\n", "space": "$ 5\r\n", "letters": "$abc\r\n",
		"padded": "$000000000000000000000000000005\r\nabcde\r\n", "bare line feed": "$5\nabcde\r\n",
		"huge array": "*2147483646\r\n", "array of much": "*1000000\r\n", "negative array": "*-2\r\n", "huge map": "%1073741824\r\n", "map over 64 bits": "%9223372036854775807\r\n", "null map": "%-1\r\n", "null set": "~-1\r\n", "null verbatim": "=-1\r\n",
		"deep": strings.Repeat("*1\r\n", 9), "wide and deep": strings.Repeat("*100000\r\n", 7),
		"push": ">2\r\n+a\r\n+b\r\n", "attribute": "|1\r\n+a\r\n+b\r\n+OK\r\n", "streamed string": "$?\r\n;4\r\nabcd\r\n;0\r\n", "streamed array": "*?\r\n+a\r\n.\r\n", "end": ".\r\n", "chunk": ";4\r\nabcd\r\n",
		"bad null": "_x\r\n", "bad bool": "#x\r\n", "long bool": "#tt\r\n", "simple without CR": "+OK\n", "endless line": "+" + strings.Repeat("a", 33<<20),
	}
}

// TestFrames holds the guard to what servers send, in pieces of every size, and to what they must not send.
func TestFrames(t *testing.T) {
	all := strings.Join(answers(), "")
	for size := 1; size < 40; size++ {
		var pieces [][]byte
		for rest := []byte(all); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			pieces = append(pieces, rest[:min(size, len(rest))])
		}
		begun, ended, err := redis.Frames(pieces...)
		if want := uint64(len(answers())); err != nil || begun != want || ended != want {
			t.Errorf("in pieces of %d: %d began and %d ended of %d, %v", size, begun, ended, want, err)
		}
	}
	for _, answer := range answers() {
		for end := range len(answer) {
			if _, ended, err := redis.Frames([]byte(answer[:end])); err != nil || ended != 0 {
				t.Errorf("%q: %d ended, %v", answer[:end], ended, err)
			}
		}
	}
	for name, breach := range breaches() {
		for _, before := range []string{"", "+OK\r\n", "*2\r\n$1\r\na\r\n"} {
			if _, _, err := redis.Frames([]byte(before + breach)); err == nil {
				t.Errorf("%s after %q: accepted", name, before)
			}
		}
	}
	for _, most := range []string{"$33554400\r\n", "*500000\r\n", "%250000\r\n"} {
		if _, _, err := redis.Frames([]byte(most)); err != nil {
			t.Errorf("%q: %v", most, err)
		}
	}
}

// FuzzFrames compares the guard with a reader that is written down as the protocol is, and pieces with the whole.
func FuzzFrames(f *testing.F) {
	for _, answer := range answers() {
		f.Add([]byte(answer), 1)
	}
	f.Add([]byte(strings.Join(answers(), "")), 7)
	for _, breach := range breaches() {
		f.Add([]byte(breach)[:min(len(breach), 1000)], 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		begun, ended, err := redis.Frames(b)
		var pieces [][]byte
		for rest := b; len(rest) > 0; {
			n := min(1+size&0x3f, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if begun2, ended2, err2 := redis.Frames(pieces...); (err == nil) != (err2 == nil) || begun != begun2 || ended != ended2 {
			t.Fatalf("whole: %d, %d, %v; in pieces: %d, %d, %v", begun, ended, err, begun2, ended2, err2)
		}
		r := &reader{rest: b}
		for r.message(0) {
		}
		if uint64(r.messages) != ended || (err == nil) != (r.fault == "") {
			t.Fatalf("%d messages and %v; want %d and %q", ended, err, r.messages, r.fault)
		}
	})
}

// A reader takes whole messages from the front of rest.
type reader struct {
	rest     []byte
	messages int
	left     int
	fault    string // "" when it stopped at the end
}

func (r *reader) line() (string, bool) {
	line, rest, found := bytes.Cut(r.rest, []byte("\n"))
	if !found {
		r.pay(len(line))
		return "", false
	}
	r.rest = rest
	r.pay(len(line))
	return string(line), r.fault == ""
}

func (r *reader) pay(n int) {
	if r.left -= n; r.left < 0 {
		r.fault = "too large"
	}
}

func (r *reader) message(depth int) bool {
	if len(r.rest) == 0 {
		return false
	}
	kind := r.rest[0]
	r.rest = r.rest[1:]
	if !strings.ContainsRune("+-:$*_#,(%~=!", rune(kind)) {
		r.fault = "type"
		return false
	}
	if depth == 0 {
		r.left = 32 << 20
	}
	line, ok := r.line()
	if !ok {
		return false
	}
	text, ok := strings.CutSuffix(line, "\r")
	switch {
	case !ok, kind == '_' && text != "", kind == '#' && text != "t" && text != "f":
		r.fault = "line"
		return false
	case strings.IndexByte("+-:,(_#", kind) >= 0, text == "-1" && (kind == '$' || kind == '*'):
	default:
		if !r.body(kind, text, depth) {
			return false
		}
	}
	if depth == 0 {
		r.messages++
	}
	return true
}

func (r *reader) body(kind byte, text string, depth int) bool {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || len(text) > 11 {
		r.fault = "length"
		return false
	}
	if strings.IndexByte("$=!", kind) >= 0 {
		if r.pay(int(n)); r.fault != "" || len(r.rest) < int(n)+2 {
			r.rest = nil
			return false
		}
		r.rest = r.rest[n+2:]
		return true
	}
	if kind == '%' {
		n *= 2
	}
	if n == 0 {
		return true
	}
	if depth == 8 {
		r.fault = "depth"
		return false
	}
	if r.pay(int(n) * 64); r.fault != "" {
		return false
	}
	for range n {
		if !r.message(depth + 1) {
			return false
		}
	}
	return true
}
