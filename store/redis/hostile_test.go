package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/redis"
)

// A liar is a server that answers as a test says, and else as an honest one does.
type liar struct {
	addr string
	lie  atomic.Pointer[func(words []string) (answer string, lies bool)]
	mu   sync.Mutex
	data map[string]string
	nil  string
}

// hangUp as an answer ends the connection, also after other text.
const hangUp = "\x00hang up"

// waits is the beginning of a string that does not go on.
const waits = "$100\r\nabc"

func newLiar(t testing.TB) *liar {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{addr: listener.Addr().String(), data: map[string]string{}, nil: "_\r\n"}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { l.serve(c) })
		}
	})
	t.Cleanup(func() { listener.Close(); running.Wait() })
	return l
}

func (l *liar) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		words, err := question(r)
		if err != nil {
			return
		}
		answer, lies := "", false
		if f := l.lie.Load(); f != nil {
			answer, lies = (*f)(words)
		}
		if !lies {
			answer = l.honest(words)
		}
		text, end := strings.CutSuffix(answer, hangUp)
		if _, err := io.WriteString(c, text); err != nil || end {
			return
		}
		if lies && (text == "" || strings.HasSuffix(text, waits)) { // silence is not out of step: it lasts
			io.Copy(io.Discard, r)
			return
		}
	}
}

func question(r *bufio.Reader) ([]string, error) {
	size := func() (int, error) {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := size()
	words := make([]string, n)
	for i := range words {
		var length int
		if length, err = size(); err != nil {
			return nil, err
		}
		word := make([]byte, length+2)
		if _, err = io.ReadFull(r, word); err != nil {
			return nil, err
		}
		words[i] = string(word[:length])
	}
	return words, err
}

func (l *liar) honest(words []string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch words[0] {
	case "HELLO":
		return "%1\r\n$5\r\nproto\r\n:3\r\n"
	case "CLIENT":
		return "+OK\r\n"
	case "PING":
		return "+PONG\r\n"
	case "SET":
		if _, there := l.data[words[1]]; there {
			return l.nil
		}
		l.data[words[1]] = words[2]
		return "+OK\r\n"
	case "GET":
		value, there := l.data[words[1]]
		if !there {
			return l.nil
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	case "CLUSTER":
		return "-ERR This instance has cluster support disabled\r\n"
	}
	return "-ERR unknown command\r\n"
}

// answer makes the server answer commands of that name with text.
func (l *liar) answer(text string, names ...string) {
	f := func(words []string) (string, bool) {
		for _, name := range names {
			if words[0] == name {
				return text, true
			}
		}
		return "", false
	}
	l.lie.Store(&f)
}

func (l *liar) config() redis.Config {
	return redis.Config{Addresses: []string{l.addr}, Timeout: 200 * time.Millisecond, DialTimeout: 400 * time.Millisecond}
}

func (l *liar) slots() string {
	host, port, _ := strings.Cut(l.addr, ":")
	return fmt.Sprintf("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$%d\r\n%s\r\n:%s\r\n$2\r\nid\r\n", len(host), host, port)
}

// lies are answers that are right as messages, or begin so.
func lies() map[string]string {
	return map[string]string{
		"nothing": "", "end": hangUp, "half an answer": "$100\r\nabc" + hangUp, "waits in an answer": waits,
		"integer": ":1\r\n", "array": "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "empty array": "*0\r\n", "map": "%1\r\n+a\r\n+b\r\n", "set": "~1\r\n+a\r\n", "bool": "#t\r\n",
		"two answers": "_\r\n_\r\n", "many answers": strings.Repeat("$100\r\n"+strings.Repeat("a", 100)+"\r\n", 1000),
		"error": "-ERR unknown command with args beginning with: 'kest.claim.secret' 'secretvalue'\r\n", "error without text": "-\r\n", "blob error": "!9\r\nERR error\r\n",
		"error that shouts": "-\x1b[31mERR\x00 secretvalue\r\n", "unknown code": "-SECRETVALUE secretvalue\r\n",
		"redirected nowhere": "-MOVED\r\n", "redirected to no address": "-MOVED 1\r\n", "redirected to an empty one": "-MOVED 1 \r\n", "asked to go nowhere": "-ASK\r\n", "asked to go to no address": "-ASK 1\r\n",
		"redirected abroad": "-MOVED 1 192.0.2.1:6379\r\n", "asked to go abroad": "-ASK 1 192.0.2.1:6379\r\n", "redirect without address": "-REDIRECT\r\n", "redirected to garbage": "-MOVED 1 ]:[\r\n",
		"redirected to a closed port": "-MOVED 1 127.0.0.1:1\r\n", "no slots": "-CLUSTERDOWN Hash slot not served\r\n", "loading": "-LOADING secretvalue\r\n", "try again": "-TRYAGAIN secretvalue\r\n",
	}
}

// TestHostile: whatever answers, as a single server and as a cluster, every operation ends in time with ErrUnavailable
// that repeats nothing, the process lives, and the store works when the server is honest again.
func TestHostile(t *testing.T) {
	all := lies()
	for name, breach := range breaches() {
		all["protocol: "+name] = breach
	}
	for _, mode := range []string{"single", "cluster"} {
		for name, lie := range all {
			t.Run(mode+"/"+name, func(t *testing.T) {
				t.Parallel()
				l := newLiar(t)
				topology := func() {
					if mode == "cluster" {
						l.answer(l.slots(), "CLUSTER")
					}
				}
				topology()
				s := open(t, l.config())
				put(t, s, "before", "value")
				l.answer(lie, "SET", "GET", "ASKING")
				start := time.Now()
				for range 2 { // the second finds what the first left
					unavailable(t, s.Put(ctx, "kest.claim.secret", []byte("secretvalue"), soon), "redis: ", "secret", "\x1b", "SECRET")
					_, err := s.Get(ctx, "kest.claim.secret")
					unavailable(t, err, "redis: ", "secret", "\x1b", "SECRET")
				}
				if took := time.Since(start); took > 6*time.Second {
					t.Errorf("took %v", took)
				}
				topology()
				if mode == "single" {
					l.lie.Store(nil)
				}
				back(t, s)
				for start := time.Now(); ; { // keys are spread over connections, each of which must notice
					if got, err := s.Get(ctx, "before"); err == nil && string(got) == "value" {
						break
					} else if time.Since(start) > 15*time.Second {
						t.Fatalf("get: %v", err)
					}
				}
			})
		}
	}
}

// TestHostileGreeting: the same while the store connects.
func TestHostileGreeting(t *testing.T) {
	all := lies()
	for name, breach := range breaches() {
		all["protocol: "+name] = breach
	}
	for i, topology := range []string{
		"*1\r\n*0\r\n", "*1\r\n+x\r\n", "*1\r\n*3\r\n+a\r\n+b\r\n+c\r\n", "*1\r\n*3\r\n:0\r\n:16383\r\n*0\r\n", "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n:1\r\n+x\r\n",
		"*1\r\n*3\r\n:-5\r\n:99999999\r\n*2\r\n$9\r\n127.0.0.1\r\n:70000\r\n", "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\n?\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n_\r\n:-1\r\n",
		"*1\r\n*3\r\n:9223372036854775807\r\n:9223372036854775807\r\n*2\r\n$0\r\n\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n192.0.2.1\r\n:6379\r\n",
	} {
		all[fmt.Sprintf("topology %d", i)] = topology
	}
	for _, command := range []string{"HELLO", "CLUSTER", "CLIENT", "CONFIG"} {
		for name, lie := range all {
			t.Run(command+"/"+name, func(t *testing.T) {
				t.Parallel()
				l := newLiar(t)
				l.answer(lie, command)
				start := time.Now()
				s, err := redis.Open(l.config())
				if err != nil {
					unavailable(t, err, "redis: ", "secret", "\x1b", "SECRET")
				} else { // not everything that a server says there matters
					defer s.Close()
					if err := s.Put(ctx, "key", []byte("secretvalue"), soon); err != nil {
						unavailable(t, err, "redis: ", "secret", "\x1b", "SECRET")
					}
				}
				if took := time.Since(start); took > 6*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

// A cluster sends the client, and so its password, to a host that the config would not allow.
func TestRedirectedAbroad(t *testing.T) {
	l := newLiar(t)
	l.answer(l.slots(), "CLUSTER")
	s := open(t, l.config())
	l.answer("-MOVED 1 192.0.2.1:6379\r\n", "GET")
	_, err := s.Get(ctx, "key")
	unavailable(t, err, `no TLS to "192.0.2.1"`)
}

// Every step of connecting is in time, all together are not. What comes late is closed: TestMain sees to it, and the
// cleanup of the server waits for it.
func TestLateConnection(t *testing.T) {
	l := newLiar(t)
	slow := func(words []string) (string, bool) {
		if words[0] == "HELLO" || words[0] == "CLUSTER" {
			time.Sleep(250 * time.Millisecond)
		}
		return "", false
	}
	l.lie.Store(&slow)
	config := l.config()
	config.Timeout = time.Second
	refused(t, config, "no connection within 400ms")
}

// Callers who give up while the client connects, which it does all the time here, do not end that for others.
func TestGivingUpIsPrivate(t *testing.T) {
	l := newLiar(t)
	s := open(t, l.config())
	l.answer(hangUp, "GET")
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				impatient, cancel := context.WithCancel(ctx)
				wg.Go(cancel)
				s.Get(impatient, "key")
				cancel()
			}
		})
	}
	for n, start := 0, time.Now(); time.Since(start) < 2*time.Second; n++ {
		if err := s.Put(ctx, fmt.Sprint(n), nil, soon); err != nil && strings.Contains(err.Error(), "cancel") {
			t.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// A server before version 6 knows no RESP 3, and writes null in another way.
func TestOldServer(t *testing.T) {
	l := newLiar(t)
	l.nil = "$-1\r\n"
	l.answer("-ERR unknown command 'HELLO'\r\n", "HELLO")
	s := open(t, l.config())
	if _, err := s.Get(ctx, "key"); err != store.ErrNotFound {
		t.Error(err)
	}
	put(t, s, "key", "value")
	holds(t, s, "key", "value")
	if err := s.Put(ctx, "key", nil, soon); err != store.ErrExists {
		t.Error(err)
	}
}

// Only OK says that a value was kept.
func TestPutAnswers(t *testing.T) {
	l := newLiar(t)
	s := open(t, l.config())
	for _, answer := range []string{"+NO\r\n", "+QUEUED\r\n", "$0\r\n\r\n", "$8\r\nthe last\r\n", "#t\r\n", ":1\r\n"} {
		l.answer(answer, "SET")
		unavailable(t, s.Put(ctx, "key", nil, soon), "does not fit the question")
	}
}

// A put is sent once, whatever happens to its answer; a get once more.
func TestSentOnce(t *testing.T) {
	l := newLiar(t)
	s := open(t, l.config())
	var sets, gets atomic.Int32
	count := func(words []string) (string, bool) {
		switch words[0] {
		case "SET":
			sets.Add(1)
			l.honest(words)
			return hangUp, true
		case "GET":
			gets.Add(1)
			return hangUp, true
		}
		return "", false
	}
	l.lie.Store(&count)
	for n := range 20 {
		unavailable(t, s.Put(ctx, fmt.Sprint(n), nil, soon), "redis: ")
	}
	if got := sets.Load(); got > 20 || got < 10 {
		t.Errorf("%d SET of 20 puts", got)
	}
	_, err := s.Get(ctx, "0")
	unavailable(t, err, "redis: ")
	if got := gets.Load(); got > 2 {
		t.Errorf("%d GET of one get", got)
	}
}

// FuzzAnswer sends an answer to a GET through the whole client. The store and its process must outlive it.
func FuzzAnswer(f *testing.F) {
	for _, answer := range answers() {
		f.Add([]byte(answer))
	}
	for _, breach := range breaches() {
		f.Add([]byte(breach)[:min(len(breach), 1000)])
	}
	for _, lie := range lies() {
		f.Add([]byte(lie))
	}
	l := newLiar(f)
	s := open(f, l.config())
	f.Fuzz(func(t *testing.T, answer []byte) {
		l.answer(string(answer)+hangUp, "GET")
		value, err := s.Get(ctx, "kest.claim.secret")
		if err != nil && err != store.ErrNotFound {
			unavailable(t, err, "redis: ", "secret")
		} else if err == nil && len(value) > len(answer) {
			t.Errorf("a value of %d bytes in an answer of %d", len(value), len(answer))
		}
	})
}
