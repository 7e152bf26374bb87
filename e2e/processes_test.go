package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store/redis"
)

// serveProcess is the main function of one service. It says where it listens, and serves until it is killed.
func serveProcess(role string) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("service", role)
	fatal := func(err error) {
		if err != nil {
			logger.Error("cannot serve", "error", err)
			os.Exit(1)
		}
	}
	shared, err := redis.Open(redis.Config{Addresses: []string{os.Getenv("KEST_E2E_REDIS")}, Timeout: 500 * time.Millisecond, Logger: logger})
	fatal(err)
	listener, err := listen()
	fatal(err)
	s := setting{
		Listener: propagate.Internal, Proofs: propagate.ProofRequire, Nonces: shared, Address: listener.Addr().String(), Logger: logger,
		Propagate: propagate.Config{Store: shared, Threshold: -1}, // everything is a claim check
	}
	if role == "gate" {
		s.Listener, s.Proofs = propagate.Edge, propagate.ProofOff
	}
	w, err := newWorkload(role, s)
	fatal(err)
	next := os.Getenv("KEST_E2E_NEXT")
	fmt.Println("listening", listener.Addr())
	switch role {
	case "gate":
		handler, err := w.wrap(w.gate(next))
		fatal(err)
		fatal(http.Serve(listener, handler))
	case "shop":
		conn, err := w.dial(next)
		fatal(err)
		handler, err := w.wrap(w.shop(conn))
		fatal(err)
		fatal(http.Serve(listener, handler))
	case "ledger":
		server, err := w.ledger(func(order string, p lineage.Passport) {
			said := "whole"
			if err := chained(p, "gate.pay", "shop.sell", "ledger.book"); err != nil {
				said = err.Error()
			}
			fmt.Println("booked", order, said)
		})
		fatal(err)
		fatal(server.Serve(listener))
	}
}

// process starts a service. lines gets what it prints, and what it logs is shown when the test fails.
func process(t *testing.T, role, redis, next string, lines func(string)) (address string) {
	t.Helper()
	self := must(os.Executable())(t)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "KEST_E2E_ROLE="+role, "KEST_E2E_REDIS="+redis, "KEST_E2E_NEXT="+next)
	var logs bytes.Buffer
	cmd.Stderr = &logs
	out := must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	scanner.Scan()
	address, _ = strings.CutPrefix(scanner.Text(), "listening ")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for scanner.Scan() {
			lines(scanner.Text())
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %.3000s", role, logs.String())
		}
	})
	if address == "" {
		t.Fatalf("%s does not listen", role)
	}
	return address
}

// redisServer starts one that can be killed and started again on the same port.
func redisServer(t *testing.T) (address string, kill, start func()) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("KEST_SERVERS") == "require" {
			t.Fatal("no redis-server is installed")
		}
		t.Skip("no redis-server is installed")
	}
	listener := must(listen())(t)
	address = listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	dir := t.TempDir()
	var cmd *exec.Cmd
	start = func() {
		cmd = exec.Command(binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range 500 {
			if conn, err := net.Dial("tcp", address); err == nil {
				conn.Close()
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatal("redis-server does not listen")
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	start()
	t.Cleanup(func() { kill() })
	return address, kill, start
}

// TestRedisDies: three processes over HTTP and gRPC keep passports and nonces in a real Redis, which is killed under
// load. Every request completes with a whole verified chain or is refused with 503; nothing runs with a broken chain or
// an empty one.
func TestRedisDies(t *testing.T) {
	address, kill, start := redisServer(t)
	var booked, broken atomic.Int64
	ledger := process(t, "ledger", address, "", func(line string) {
		booked.Add(1)
		if !strings.HasSuffix(line, " whole") {
			broken.Add(1)
			t.Errorf("ledger: %s", line)
		}
	})
	shop := process(t, "shop", address, ledger, func(string) {})
	gate := process(t, "gate", address, "http://"+shop, func(string) {})

	verifier := must(newVerifier())(t)
	var phase atomic.Int64 // 0 before, 1 while it is down, 2 after
	var mu sync.Mutex
	count := map[string]int{}
	order := func(client *http.Client, n string) {
		began := phase.Load()
		resp, err := client.Post("http://"+gate+"/pay", "text/plain", strings.NewReader(n))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		result := "refused with " + strconv.Itoa(resp.StatusCode)
		if err == nil && resp.StatusCode == http.StatusOK {
			if err = whole(t.Context(), verifier, text); err == nil {
				result = "whole"
			}
		}
		if err != nil {
			result = "broken: " + err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		count[fmt.Sprintf("%d %s", began, result)]++
	}
	ctx, stop := context.WithTimeout(t.Context(), 6*time.Second)
	defer stop()
	var load sync.WaitGroup
	for worker := range 6 {
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				order(client, fmt.Sprintf("order-%d-%d", worker, i))
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	time.Sleep(1500 * time.Millisecond)
	phase.Store(1)
	kill()
	time.Sleep(2 * time.Second)
	start()
	phase.Store(2)
	load.Wait()

	t.Logf("requests by phase: %v; booked %d", count, booked.Load())
	wholes, total := 0, 0
	for what, n := range count {
		total += n
		switch {
		case strings.HasSuffix(what, "whole"):
			wholes += n
		case !strings.HasSuffix(what, "refused with 503"):
			t.Errorf("%d requests: %s", n, what)
		}
	}
	if count["0 whole"] == 0 || count["1 refused with 503"] == 0 || count["2 whole"] == 0 {
		t.Errorf("not all of what this test is about happened: %v", count)
	}
	if broken.Load() != 0 || booked.Load() < int64(wholes) {
		t.Errorf("%d requests, %d whole, %d booked, %d of them broken", total, wholes, booked.Load(), broken.Load())
	}
}
