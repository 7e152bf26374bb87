package kesthttp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/propagate"
)

const field = "Kest-Lineage"

func http2(s *httptest.Server) {
	s.EnableHTTP2 = true
	s.StartTLS()
}

// TestAnswers: what a handler does to its answer comes out as without the ingress, over HTTP/1.1 and HTTP/2, and its
// lineage comes back in every case.
func TestAnswers(t *testing.T) {
	long := strings.Repeat("0123456789", 5000)
	for name, test := range map[string]struct {
		method string
		serve  func(note func(), w http.ResponseWriter, r *http.Request)
		status int
		body   string
		length int64  // -2: HTTP/1.1 and HTTP/2 differ
		header string // name=value
		trails bool
	}{
		"nothing": {serve: func(note func(), w http.ResponseWriter, r *http.Request) { note() }, status: 200},
		"short":   {serve: func(note func(), w http.ResponseWriter, r *http.Request) { note(); io.WriteString(w, "hi") }, status: 200, body: "hi", length: 2, header: "Content-Type=text/plain; charset=utf-8"},
		"status":  {serve: func(note func(), w http.ResponseWriter, r *http.Request) { w.WriteHeader(418); note() }, status: 418},
		"sniffing": {serve: func(note func(), w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<ht")
			io.WriteString(w, "ml>")
			note()
		}, status: 200, body: "<html>", length: 6, header: "Content-Type=text/html; charset=utf-8"},
		"long":   {serve: func(note func(), w http.ResponseWriter, r *http.Request) { io.WriteString(w, long); note() }, status: 200, body: long, length: -1, trails: true},
		"copied": {serve: func(note func(), w http.ResponseWriter, r *http.Request) { note(); io.Copy(w, strings.NewReader(long)) }, status: 200, body: long, length: -1, trails: true},
		"declared length": {serve: func(note func(), w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "50000")
			io.WriteString(w, long)
			note()
		}, status: 200, body: long, length: -1, trails: true},
		"no content": {serve: func(note func(), w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("a body: %v", err)
			}
			note()
		}, status: 204},
		"not modified": {serve: func(note func(), w http.ResponseWriter, r *http.Request) { w.WriteHeader(304); note() }, status: 304},
		"head": {method: http.MethodHead, serve: func(note func(), w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "50000")
			io.WriteString(w, long)
			w.(http.Flusher).Flush()
			note()
		}, status: 200, length: 50000, header: "Content-Type=text/plain; charset=utf-8"},
		"flushed": {serve: func(note func(), w http.ResponseWriter, r *http.Request) {
			note()
			io.WriteString(w, "a")
			must(t, http.NewResponseController(w).Flush())
			note()
			io.WriteString(w, "b")
		}, status: 200, body: "ab", length: -1, trails: true},
		"own trailer": {serve: func(note func(), w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "a")
			note()
			w.Header().Set("X-Sum", "1")
		}, status: 200, body: "a", length: -2, trails: true},
		"undeclared trailer": {serve: func(note func(), w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, long)
			note()
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}, status: 200, body: long, length: -1, trails: true},
		"early hints": {serve: func(note func(), w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			note()
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot) // too late
			io.WriteString(w, "hi")
		}, status: 202, body: "hi", length: 2},
		"deadline": {serve: func(note func(), w http.ResponseWriter, r *http.Request) {
			must(t, http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)))
			note()
		}, status: 200},
	} {
		for proto, setUp := range map[string][]func(*httptest.Server){"HTTP/1.1": nil, "HTTP/2.0": {http2}} {
			t.Run(name+" "+proto, func(t *testing.T) {
				shop, front := newService(t, "shop"), newService(t, "front")
				server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
					test.serve(func() { must(t, shop.note(r.Context(), "note")) }, w, r)
				}, setUp...)
				front.transport.Base = server.Client().Transport
				method := test.method
				if method == "" {
					method = http.MethodGet
				}
				body, resp, learned, err := front.get(front.client(), method, server.URL, nil)
				must(t, err)
				if resp.Proto != proto || resp.StatusCode != test.status || body != test.body ||
					resp.ContentLength != test.length && test.length != -2 {
					t.Errorf("%s, status %d, %d bytes, length %d", resp.Proto, resp.StatusCode, len(body), resp.ContentLength)
				}
				if name, value, _ := strings.Cut(test.header, "="); resp.Header.Get(name) != value {
					t.Errorf("%s: %q", name, resp.Header.Get(name))
				}
				if got := operations(learned); len(got) < 2 || got[1] != "note" || test.body == "ab" && len(got) != 3 {
					t.Errorf("learned %v", got)
				}
				if (resp.Trailer.Get(field) != "") != test.trails || resp.Header.Get(field) == "" {
					t.Errorf("header %q, trailer %q", resp.Header.Get(field), resp.Trailer.Get(field))
				}
				if strings.HasSuffix(name, "trailer") && (resp.Trailer.Get("X-Sum") != "1" || resp.Header.Get("X-Sum") != "") {
					t.Errorf("own trailer: %v", resp.Trailer)
				}
			})
		}
	}
}

// TestPlainAnswer: who sends no lineage gets none, and the server's own writer.
func TestPlainAnswer(t *testing.T) {
	shop := newService(t, "shop")
	shop.ingress.Listener = propagate.Edge
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		must(t, shop.note(r.Context(), "x"))
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Errorf("%T is not the server's", w)
		}
	})
	resp, err := http.Get(server.URL)
	must(t, err)
	resp.Body.Close()
	if resp.Header.Get(field) != "" || len(resp.Trailer) > 0 {
		t.Errorf("%v", resp.Header)
	}
}

// TestHijack: the connection is the handler's; nothing is written behind its back, and the caller sees the loss.
func TestHijack(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	front.egress.StrictReturn = false
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		must(t, err)
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		rw.WriteString(line)
		rw.Flush()
	})
	client := front.client()
	must(t, front.call(t.Context(), "call", func(ctx context.Context) error {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "echo")
		resp, err := client.Do(request)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		conn := resp.Body.(io.ReadWriteCloser)
		io.WriteString(conn, "hello\n")
		if text, err := bufio.NewReader(conn).ReadString('\n'); text != "hello\n" {
			t.Errorf("%q, %v", text, err)
		}
		return nil
	}))
	if !strings.Contains(front.log.String(), "lineage is lost") || strings.Contains(shop.log.String(), "hijacked") {
		t.Errorf("%s%s", front.log, shop.log)
	}
}

// TestPanic: it goes on to the server, or to whoever recovers it, and what was held is not sent.
func TestPanic(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	var recovers atomic.Bool
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}, func(s *httptest.Server) {
		inner := s.Config.Handler
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if p := recover(); p != nil && recovers.Load() {
					http.Error(w, "recovered", http.StatusInternalServerError)
				} else if p != nil {
					panic(p)
				}
			}()
			inner.ServeHTTP(w, r)
		})
	})
	client := front.client()
	if _, _, _, err := front.get(client, http.MethodGet, server.URL, nil); err == nil {
		t.Error("the connection was not broken")
	}
	recovers.Store(true)
	body, resp, _, err := front.get(client, http.MethodGet, server.URL, nil)
	if err != nil || resp.StatusCode != 500 || body != "recovered\n" {
		t.Errorf("%q, %v", body, err)
	}
}

// TestLost: an answer whose lineage is missing, or not what it should be, is seen; strictly, it fails the call.
func TestLost(t *testing.T) {
	for name, test := range map[string]struct {
		serve  func(w http.ResponseWriter)
		what   string // of the log; "" for nothing
		status int
	}{
		"none":           {func(w http.ResponseWriter) { io.WriteString(w, "x") }, "lost", 200},
		"garbage":        {func(w http.ResponseWriter) { w.Header().Set(field, "kest.passport=x,kest.chain_tip=") }, "invalid", 200},
		"loss announced": {func(w http.ResponseWriter) { w.Header().Set(field, "kest.chain_tip=") }, "invalid", 200},
		"refused":        {func(w http.ResponseWriter) { w.WriteHeader(403) }, "lost", 403},
		"no trailer": {func(w http.ResponseWriter) {
			w.Header().Set(field, w.Header().Get("X-Good"))
			io.WriteString(w, "x")
		}, "lost", 200},
	} {
		for _, strict := range []bool{false, true} {
			front := newService(t, "front")
			front.egress.StrictReturn = strict
			shop := newService(t, "shop")
			inner := shop.wrap(func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush() })
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if name == "no trailer" { // a proxy that drops trailers
					rec := httptest.NewRecorder()
					inner.ServeHTTP(rec, r)
					w.Header().Set("X-Good", rec.Result().Header.Get(field))
				}
				test.serve(w)
			}))
			_, resp, _, err := front.get(front.client(), http.MethodGet, server.URL, nil)
			server.Close()
			if fails := strict && test.status == 200; (err != nil) != fails || !fails && resp.StatusCode != test.status {
				t.Errorf("%s, strict %t: %v", name, strict, err)
			}
			if !strings.Contains(front.log.String(), "lineage is "+test.what) {
				t.Errorf("%s, strict %t: log %s", name, strict, front.log)
			}
		}
	}
}

// TestTrailerUnread: a decoder that stops where its value ends does not lose what comes behind it; who closes a body
// that goes on does, within a moment.
func TestTrailerUnread(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	release := make(chan struct{})
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode("value")
		w.(http.Flusher).Flush()
		if r.URL.Path == "/endless" {
			<-release
			return
		}
		must(t, shop.note(r.Context(), "late"))
	})
	defer close(release)
	client := front.client()
	get := func(path string, read func(io.Reader)) (learned []string, err error) {
		err = front.call(t.Context(), "call", func(ctx context.Context) error {
			request, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
			resp, err := client.Do(request)
			if err != nil {
				return err
			}
			read(resp.Body)
			err = resp.Body.Close()
			learned = operations(kest.CurrentPassport(ctx))
			return errors.Join(err, front.note(ctx, "next"))
		})
		return learned, err
	}
	learned, err := get("/", func(r io.Reader) {
		var value string
		must(t, json.NewDecoder(r).Decode(&value))
	})
	if err != nil || !slices.Equal(learned, []string{"call", "late"}) {
		t.Errorf("%v, %v", learned, err)
	}
	start := time.Now()
	_, err = get("/endless", func(io.Reader) {})
	if !errors.Is(err, propagate.ErrNoReturn) || !errors.Is(err, kest.ErrUntrustedLineage) || time.Since(start) > 20*time.Second {
		t.Errorf("%v: strictly, neither the close nor later calls may succeed", err)
	}
	front.egress.StrictReturn = false
	client = front.client()
	before := strings.Count(front.log.String(), "lineage is lost")
	if _, err = get("/endless", func(io.Reader) {}); err != nil || strings.Count(front.log.String(), "lineage is lost") != before+1 {
		t.Errorf("%v, log %s", err, front.log)
	}
	// Another goroutine is reading when the body is closed.
	_, err = get("/endless", func(r io.Reader) {
		go io.Copy(io.Discard, r)
		time.Sleep(5 * time.Millisecond)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestHTTP10: there are no trailers, so what comes late is announced as lost.
func TestHTTP10(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "a")
		if r.URL.Path == "/late" {
			w.(http.Flusher).Flush()
		}
		must(t, shop.note(r.Context(), "x"))
	})
	front.transport.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
		conn, err := net.Dial("tcp", r.URL.Host)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		io.WriteString(conn, "GET "+r.URL.Path+" HTTP/1.0\r\nHost: "+r.URL.Host+"\r\nBaggage: "+r.Header.Get("Baggage")+"\r\n\r\n")
		text, err := io.ReadAll(conn)
		if err != nil {
			return nil, err
		}
		return http.ReadResponse(bufio.NewReader(strings.NewReader(string(text))), r)
	})
	client := front.client()
	if body, _, learned, err := front.get(client, http.MethodGet, server.URL+"/", nil); err != nil || body != "a" || learned.Len() != 2 {
		t.Errorf("%q, %v", body, err)
	}
	if _, _, _, err := front.get(client, http.MethodGet, server.URL+"/late", nil); !errors.Is(err, propagate.ErrNoReturn) {
		t.Errorf("%v", err)
	}
}

// TestSessionFailsInHandler: the caller is told, and does not take silence for nothing learned.
func TestSessionFailsInHandler(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		propagate.SessionFrom(r.Context()).Fail(errors.New("conflict"))
		io.WriteString(w, "x")
	})
	if _, _, _, err := front.get(front.client(), http.MethodGet, server.URL, nil); err == nil || !strings.Contains(shop.log.String(), "conflict") {
		t.Errorf("%v, log %s", err, shop.log)
	}
}
