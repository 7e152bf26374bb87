package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kesthttp"
)

// maxBody bounds the body of a message, both ways.
const maxBody = 64 << 10

// serve puts a function behind a path of a service. Nothing here is about lineage: the middleware in front has
// admitted the request, and guarded calls find what they need in its context.
func serve[In, Out any](s *service, path string, f func(context.Context, In) (Out, error)) {
	s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := readJSON(http.MaxBytesReader(w, r.Body, maxBody), &in); err != nil {
			http.Error(w, "malformed body", http.StatusBadRequest)
			return
		}
		out, err := f(r.Context(), in)
		var text []byte
		if err == nil {
			text, err = json.Marshal(out)
		}
		if err != nil {
			kesthttp.WriteError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(text) // a caller that is gone needs no answer
	})
}

// call asks another service of the system. The service's client sends the lineage of ctx along, and joins what the
// other learned into the session of ctx.
func call[In, Out any](ctx context.Context, s, to *service, path string, in In) (Out, error) {
	var out Out
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	answer, err := send(ctx, s.client, message{url: to.url + path, body: body})
	if err != nil {
		return out, err
	}
	if answer.status != http.StatusOK {
		return out, &refusal{to.name, answer.status, answer.body}
	}
	return out, readJSON(bytes.NewReader(answer.body), &out)
}

// A refusal is an answer other than 200 that a service gave.
type refusal struct {
	by     string
	status int
	body   []byte
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the %s refused with status %d: %s", r.by, r.status, bytes.TrimSpace(r.body))
}

// RefusalClass makes kesthttp.WriteError pass a 403 on as one.
func (r *refusal) RefusalClass() propagate.Class {
	if r.status == http.StatusForbidden {
		return propagate.Forbidden
	}
	return propagate.Fault
}

// message is a POST request, and reply its answer as it came, with nothing in it believed.
type (
	message struct {
		url    string
		header http.Header
		body   []byte
	}
	reply struct {
		status int
		header http.Header
		body   []byte
	}
)

func send(ctx context.Context, client *http.Client, m message) (*reply, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	if r.Header = m.header.Clone(); r.Header == nil {
		r.Header = http.Header{"Content-Type": {"application/json"}}
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(text) > maxBody {
		err = fmt.Errorf("answer longer than %d bytes", maxBody)
	}
	return &reply{resp.StatusCode, resp.Header, text}, err
}

// readJSON reads one JSON value and nothing after it.
func readJSON(r io.Reader, to any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// newClient never follows a redirect.
func newClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     t,
	}
}

// newTransport asks no proxy.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: stopTimeout}).DialContext,
		MaxResponseHeaderBytes: maxHeader,
		ResponseHeaderTimeout:  requestTimeout,
		MaxIdleConnsPerHost:    4,
	}
}

// wiretap records requests as they leave, below everything that could still change them: what somebody on the network
// sees.
type wiretap struct {
	base *http.Transport

	mu       sync.Mutex
	messages []message
}

func (t *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	m := message{url: r.URL.String(), header: r.Header.Clone()}
	if r.GetBody != nil {
		again, err := r.GetBody()
		if err == nil {
			m.body, err = io.ReadAll(again) // from memory
		}
		if err != nil {
			return nil, err
		}
	}
	t.mu.Lock()
	t.messages = append(t.messages, m)
	t.mu.Unlock()
	return t.base.RoundTrip(r)
}

// CloseIdleConnections is for http.Client.
func (t *wiretap) CloseIdleConnections() { t.base.CloseIdleConnections() }

// to returns the requests to a url, in their order; all for "".
func (t *wiretap) to(url string) []message {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []message
	for _, m := range t.messages {
		if url == "" || m.url == url {
			out = append(out, m)
		}
	}
	return out
}
