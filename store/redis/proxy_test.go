package redis_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// A proxy passes bytes on between clients and a server, late or not at all if it is told so; connections stay.
type proxy struct {
	addr    string
	mu      sync.Mutex
	changed sync.Cond
	late    time.Duration
	stalled string // "questions" or "answers"
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	p.changed.L = &p.mu
	var running sync.WaitGroup
	conns := make(chan net.Conn, 1000)
	running.Go(func() {
		defer close(conns)
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			conns <- client
			upstream, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			conns <- upstream
			running.Go(func() { p.pass(upstream, client, "questions") })
			running.Go(func() { p.pass(client, upstream, "answers") })
		}
	})
	t.Cleanup(func() {
		p.stall("")
		l.Close()
		for c := range conns {
			c.Close()
		}
		running.Wait()
	})
	return p
}

func (p *proxy) pass(to, from net.Conn, what string) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		late := p.wait(what)
		n, err := from.Read(buffer)
		p.wait(what)
		time.Sleep(late)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) wait(what string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled == what {
		p.changed.Wait()
	}
	return p.late
}

func (p *proxy) delay(by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = by
}

func (p *proxy) stall(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = what
	p.changed.Broadcast()
}
