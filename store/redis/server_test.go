package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/redis"
)

// A full server refuses what is new, drops nothing, and takes more when it has room again.
func TestFull(t *testing.T) {
	s := serve(t, "--maxmemory", "6mb", "--maxmemory-policy", "noeviction")
	st, value := open(t, s.config()), strings.Repeat("v", 100<<10)
	n := 0
	var err error
	for ; n < 200 && err == nil; n++ {
		err = st.Put(ctx, fmt.Sprintf("full.%d", n), []byte(value), soon)
	}
	unavailable(t, err, "OOM: the server is full; raise maxmemory", "full.", "vvvv")
	if n < 5 {
		t.Fatalf("full after %d values", n)
	}
	for i := range n - 1 {
		holds(t, st, fmt.Sprintf("full.%d", i), value)
	}
	s.ask("CONFIG", "SET", "maxmemory", "100mb")
	put(t, st, fmt.Sprintf("full.%d", n-1), value) // was not kept, so this is no second Put
}

func TestEvictionWarning(t *testing.T) {
	for policy, warns := range map[string]bool{"noeviction": false, "allkeys-lru": true, "volatile-ttl": true} {
		config, log := serve(t, "--maxmemory-policy", policy).config(), &bytes.Buffer{}
		config.Logger = slog.New(slog.NewTextHandler(log, nil))
		open(t, config)
		if got := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), policy) && strings.Contains(log.String(), "fix="); got != warns {
			t.Errorf("%s: warned %t: %s", policy, got, log)
		}
	}
}

// A replica takes no writes, and says so.
func TestReplica(t *testing.T) {
	primary := serve(t)
	put(t, open(t, primary.config()), "key", "value")
	host, port, _ := strings.Cut(primary.addr, ":")
	replica := serve(t, "--replicaof", host+" "+port)
	st := open(t, replica.config())
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := st.Get(ctx, "key"); err == nil {
			break
		} else if time.Since(start) > 20*time.Second {
			t.Fatal(err)
		}
	}
	unavailable(t, st.Put(ctx, "secretkey", []byte("secretvalue"), soon), "READONLY: that server is a replica", "secret")
}

// TestRestart kills the server under load. Every operation ends in time with an error of one class, no writer is told
// that another one wrote its key, and what was acknowledged is there afterwards.
func TestRestart(t *testing.T) {
	const timeout, workers = 500 * time.Millisecond, 8
	s := serve(t, "--appendonly", "yes", "--appendfsync", "always")
	config := s.config()
	config.Timeout = timeout
	st := open(t, config)
	var stop atomic.Bool
	var kept sync.Map
	var puts, failures atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				key := fmt.Sprintf("load.%d.%d", w, n)
				start := time.Now()
				err := st.Put(ctx, key, []byte(key), soon)
				switch {
				case err == nil:
					kept.Store(key, true)
					puts.Add(1)
					var got []byte
					if got, err = st.Get(ctx, key); err == nil && string(got) != key {
						t.Errorf("get %s: another value", key)
					}
				case errors.Is(err, store.ErrExists):
					t.Errorf("put of a fresh key: %v", err)
				}
				if err != nil {
					unavailable(t, err, "redis: ", key)
					failures.Add(1)
					time.Sleep(5 * time.Millisecond)
				}
				if took := time.Since(start); took > 2*timeout+time.Second {
					t.Errorf("took %v", took)
				}
			}
		})
	}
	for range 3 {
		time.Sleep(200 * time.Millisecond)
		s.kill()
		time.Sleep(200 * time.Millisecond)
		s.start()
		back(t, st)
	}
	stop.Store(true)
	wg.Wait()
	if puts.Load() < 100 || failures.Load() == 0 {
		t.Errorf("%d puts and %d failures: nothing was tested", puts.Load(), failures.Load())
	}
	kept.Range(func(key, _ any) bool {
		holds(t, st, key.(string), key.(string))
		return true
	})
}

// back waits until the store works again.
func back(t testing.TB, s store.Store) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := s.Put(ctx, fmt.Sprintf("back.%d", time.Now().UnixNano()), nil, soon)
		if err == nil {
			return
		}
		if time.Since(start) > 15*time.Second {
			t.Fatalf("the store does not come back: %v", err)
		}
	}
}

// A cluster of one node, which is recognised by itself.
func TestCluster(t *testing.T) {
	s := serve(t, "--cluster-enabled", "yes")
	config := s.config()
	if answer := s.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383"); answer != "+OK\r\n" {
		t.Fatal(answer)
	}
	for start := time.Now(); !strings.Contains(s.ask("CLUSTER", "INFO"), "cluster_state:ok"); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatal(s.ask("CLUSTER", "INFO"))
		}
	}
	s.ask(strings.Fields("ACL SETUSER kest " + permissions)...)
	config.Username, config.Password, config.Prefix = "kest", "pa55word", "kest."
	st := open(t, config)
	for n := range 50 {
		put(t, st, fmt.Sprint(n), fmt.Sprint("value ", n))
	}
	for n := range 50 {
		holds(t, st, fmt.Sprint(n), fmt.Sprint("value ", n))
		if err := st.Put(ctx, fmt.Sprint(n), nil, soon); err != store.ErrExists {
			t.Error(err)
		}
	}
	s.kill()
	unavailable(t, st.Put(ctx, "down", nil, soon), "redis: ")
}

// Two tenants share a server and see nothing of each other.
func TestTenants(t *testing.T) {
	s := serve(t)
	config := s.config()
	config.Prefix = "a:"
	a := open(t, config)
	config.Prefix = "b:"
	b := open(t, config)
	put(t, a, "key", "of a")
	if _, err := b.Get(ctx, "key"); err != store.ErrNotFound {
		t.Error(err)
	}
	put(t, b, "key", "of b")
	holds(t, a, "key", "of a")
	if answer := s.ask("GET", "a:key"); answer != "$4\r\nof a\r\n" { // what other languages find
		t.Errorf("%q", answer)
	}
	if answer := s.ask("PTTL", "a:key"); !strings.HasPrefix(answer, ":") || answer > ":60000\r\n" {
		t.Errorf("time to live %q", answer)
	}
}

// The server counts milliseconds; less is not cut to nothing, which it would refuse.
func TestShortTTL(t *testing.T) {
	st := open(t, serve(t).config())
	for ttl, key := range map[time.Duration]string{1: "ns", time.Millisecond + 1: "ms"} {
		if err := st.Put(ctx, key, nil, ttl); err != nil {
			t.Errorf("%v: %v", ttl, err)
		}
	}
}

// A slow network costs its time once, not once for every caller.
func TestSlowNetwork(t *testing.T) {
	between := newProxy(t, serve(t).addr)
	st := open(t, redis.Config{Addresses: []string{between.addr}, Timeout: 10 * time.Second}) // for busy machines
	between.delay(50 * time.Millisecond)
	start := time.Now()
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			put(t, st, fmt.Sprint(n), "value")
			holds(t, st, fmt.Sprint(n), "value")
		})
	}
	wg.Wait()
	if took := time.Since(start); took < 200*time.Millisecond || took > 8*time.Second {
		t.Errorf("took %v; want about 0.2 s, and one after the other it would be 10 s", took)
	}
}

// One half of the network stalls. Operations end in time, that of the caller or of the store; a Put whose answer was
// lost is not sent again.
func TestHalfStalled(t *testing.T) {
	const timeout = 500 * time.Millisecond
	for _, half := range []string{"questions", "answers"} {
		t.Run(half, func(t *testing.T) {
			s := serve(t)
			between := newProxy(t, s.addr)
			st := open(t, redis.Config{Addresses: []string{between.addr}, Timeout: timeout})
			for range 40 { // until the client has all its connections
				back(t, st)
			}
			put(t, st, "key", "value")
			between.stall(half)
			start := time.Now()
			unavailable(t, st.Put(ctx, "lost", []byte("value"), soon), "redis: ", "lost")
			_, err := st.Get(ctx, "key")
			unavailable(t, err, "redis: ")
			mine, cancel := context.WithTimeout(ctx, timeout/5)
			defer cancel()
			if _, err := st.Get(mine, "key"); err != context.DeadlineExceeded {
				t.Errorf("own deadline: %v", err)
			}
			if took := time.Since(start); took > 2*timeout+2*time.Second {
				t.Errorf("took %v", took)
			}
			between.stall("")
			back(t, st)
			if answer := s.ask("INFO", "commandstats"); strings.Contains(answer, "cmdstat_set:calls=0") {
				t.Error("nothing arrived")
			}
			if half == "answers" { // it was kept
				holds(t, st, "lost", "value")
				if err := st.Put(ctx, "lost", nil, soon); err != store.ErrExists {
					t.Error(err)
				}
			}
		})
	}
}

// More operations than may wait, against a server that takes nothing: large ones fill the connection.
func TestManyStalled(t *testing.T) {
	const timeout = 300 * time.Millisecond
	between := newProxy(t, serve(t).addr)
	st := open(t, redis.Config{Addresses: []string{between.addr}, Timeout: timeout})
	between.stall("questions")
	value := make([]byte, 1<<20)
	start := time.Now()
	var wg sync.WaitGroup
	for n := range 1100 {
		wg.Go(func() {
			if n%2 == 0 {
				unavailable(t, st.Put(ctx, fmt.Sprint(n), value[:n%16<<15], soon), "redis: ")
			} else {
				_, err := st.Get(ctx, fmt.Sprint(n))
				unavailable(t, err, "redis: ")
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > timeout+3*time.Second {
		t.Errorf("took %v", took)
	}
	between.stall("")
	back(t, st)
}

// A client of the caller serves as well, and stays open.
func TestNew(t *testing.T) {
	s := serve(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	st, err := redis.New(client, redis.Config{Prefix: "p:"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, st, "key", "value")
	holds(t, st, "key", "value")
	st.Close()
	_, err = st.Get(ctx, "key")
	unavailable(t, err, "closed")
	if value, err := client.Do(ctx, client.B().Get().Key("p:key").Build()).ToString(); value != "value" {
		t.Errorf("the client: %q, %v", value, err)
	}
	if _, err := redis.New(nil, redis.Config{}); err == nil {
		t.Error("no client: accepted")
	}
	if _, err := redis.New(client, redis.Config{Prefix: "a b"}); err == nil {
		t.Error("bad prefix: accepted")
	}
}

// Close ends what runs, and everything after it fails.
func TestClose(t *testing.T) {
	between := newProxy(t, serve(t).addr)
	st := open(t, redis.Config{Addresses: []string{between.addr}, Timeout: time.Minute})
	between.stall("answers")
	done := make(chan error)
	go func() { _, err := st.Get(ctx, "key"); done <- err }()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	if err := errors.Join(st.Close(), st.Close()); err != nil {
		t.Error(err)
	}
	unavailable(t, <-done, "redis: ")
	unavailable(t, st.Put(ctx, "key", nil, soon), "closed")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// The server ends a connection that nobody uses. The next put does not pay for it.
func TestIdleEnded(t *testing.T) {
	s := serve(t)
	st := open(t, s.config())
	for n := range 10 {
		put(t, st, fmt.Sprint(n), "value")
		s.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		time.Sleep(20 * time.Millisecond)
	}
}

// A value that another one wrote, longer than MaxValue, or of another type.
func TestForeignValues(t *testing.T) {
	s := serve(t)
	config := s.config()
	config.MaxValue = 100
	st := open(t, config)
	s.ask("SET", "long", strings.Repeat("v", 101))
	s.ask("LPUSH", "list", "v")
	_, err := st.Get(ctx, "long")
	unavailable(t, err, "101 bytes", "vvvv")
	_, err = st.Get(ctx, "list")
	unavailable(t, err, "set Prefix", "list")
}
