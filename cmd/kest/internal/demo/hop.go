package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// Lineage crosses a hop in two headers of the demo's own: the passport's text, and the tips that the sender
// announces, so that an entry cut from the end is noticed.
const (
	headerPassport = "Kest-Demo-Passport"
	headerTips     = "Kest-Demo-Tips"

	maxHeader = 256 << 10 // of all headers of a message, both ways
	maxTips   = 64
	maxBody   = 64 << 10
)

// A refusal is an answer other than 200 that a service gave.
type refusal struct {
	status int
	title  string
}

func (r *refusal) Error() string { return fmt.Sprintf("refused: %d %s", r.status, r.title) }

// attach puts lineage on a message.
func attach(h http.Header, p lineage.Passport) error {
	text, err := p.MarshalText()
	if err != nil {
		return err
	}
	if len(text) > maxHeader/2 {
		return fmt.Errorf("a passport of %d bytes does not fit into a header", len(text))
	}
	tips := make([]string, 0, 1)
	for _, h := range p.Tips() {
		tips = append(tips, h.String())
	}
	h.Set(headerPassport, string(text))
	h.Set(headerTips, strings.Join(tips, ","))
	return nil
}

// restore reads the lineage of a message and verifies it. present is false when none came; lineage that came and
// cannot be believed is a refusal, never no lineage.
func (s *service) restore(ctx context.Context, h http.Header) (p lineage.Passport, present bool, err error) {
	passports, tips := h.Values(headerPassport), h.Values(headerTips)
	if len(passports) == 0 && len(tips) == 0 {
		return p, false, nil
	}
	if len(passports) != 1 || len(tips) != 1 {
		return p, true, &refusal{http.StatusBadRequest, "want one passport and its tips"}
	}
	u, err := lineage.ParsePassport([]byte(passports[0]), lineage.Limits{})
	if errors.Is(err, lineage.ErrLimit) {
		return p, true, &refusal{http.StatusRequestHeaderFieldsTooLarge, "passport too large"}
	} else if err != nil {
		return p, true, &refusal{http.StatusBadRequest, "malformed passport"}
	}
	if u.Tips, err = parseTips(tips[0]); err != nil {
		return p, true, &refusal{http.StatusBadRequest, "malformed tips"}
	}
	p, _, err = s.verifier.Verify(ctx, u)
	switch {
	case errors.Is(err, lineage.ErrUnverified):
		s.log.WarnContext(ctx, "demo: lineage refused", "service", s.name, "error", err)
		return p, true, &refusal{http.StatusForbidden, "lineage is not verified"}
	case err != nil:
		return p, true, &refusal{http.StatusServiceUnavailable, "lineage could not be verified"}
	case p.Len() == 0:
		return p, true, &refusal{http.StatusBadRequest, "empty passport"}
	}
	return p, true, nil
}

func parseTips(text string) ([]lineage.Hash, error) {
	parts := strings.Split(text, ",")
	if len(parts) > maxTips {
		return nil, fmt.Errorf("%d tips, more than the limit of %d", len(parts), maxTips)
	}
	tips := make([]lineage.Hash, 0, len(parts))
	for _, part := range parts {
		h, err := lineage.ParseHash(part)
		if err != nil {
			return nil, err
		}
		tips = append(tips, h)
	}
	return tips, nil
}

// receive is the ingress of a service: the context of a request, with a session of its own. A request from
// outside has no passport; where the service is public it begins a lineage as internet does, at trust 10.
func (s *service) receive(r *http.Request) (context.Context, error) {
	ctx := r.Context()
	p, present, err := s.restore(ctx, r.Header)
	if err != nil {
		return propagate.Refuse(ctx, err), err // whoever overlooks the error cannot run a guarded call
	}
	if present {
		leaf := p.Last().Entry()
		return propagate.WithSession(ctx, propagate.NewSession(p, leaf.TraceID(), "")), nil
	}
	if !s.public {
		err := &refusal{http.StatusForbidden, "this service serves only calls with lineage"}
		return propagate.Refuse(ctx, err), err
	}
	var trace [16]byte
	rand.Read(trace[:]) // never fails (crypto/rand, Go 1.24)
	session := propagate.NewSession(lineage.Passport{}, hex.EncodeToString(trace[:]), lineage.SourceInternet)
	return propagate.WithSession(ctx, session), nil
}

// serve puts a function behind a path. The answer carries what the service learned, unless it goes outside.
func serve[In, Out any](s *service, path string, f func(context.Context, In) (Out, error)) {
	s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		ctx, err := s.receive(r)
		if err != nil {
			s.problem(w, err)
			return
		}
		var in In
		if err := readJSON(http.MaxBytesReader(w, r.Body, maxBody), &in); err != nil {
			s.problem(w, &refusal{http.StatusBadRequest, "malformed body"})
			return
		}
		out, err := f(ctx, in)
		if err != nil {
			s.problem(w, err)
			return
		}
		if r.Header.Get(headerPassport) != "" { // lineage stays inside: a browser gets none
			p, err := s.guard.Seal(ctx)
			if err == nil {
				err = attach(w.Header(), p)
			}
			if err != nil {
				s.problem(w, err)
				return
			}
		}
		text, err := json.Marshal(out)
		if err != nil {
			s.problem(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(text) // a caller that is gone needs no answer
	})
}

// problem answers with RFC 9457 problem details. They name the class of the fault and nothing internal.
func (s *service) problem(w http.ResponseWriter, err error) {
	p := struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
	}{"internal error", http.StatusInternalServerError}
	var refused *refusal
	switch {
	case errors.Is(err, kest.ErrDenied):
		p.Title, p.Status = "denied by policy", http.StatusForbidden
	case errors.As(err, &refused):
		p.Title, p.Status = refused.title, refused.status
	default:
		s.log.Error("demo: request failed", "service", s.name, "error", err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		text = nil
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	w.Write(text)
}

// call asks another service of the system. The lineage of ctx goes along, and what the other learned comes back:
// verified here first, then joined into the session of ctx.
func call[In, Out any](ctx context.Context, s, to *service, path string, in In) (Out, error) {
	var out Out
	p, err := s.guard.Seal(ctx)
	if err != nil {
		return out, err
	}
	answer, err := post(ctx, s.client, to.url+path, p, in)
	if err != nil {
		return out, err
	}
	if answer.refused != nil {
		return out, answer.refused
	}
	learned, present, err := s.restore(ctx, answer.header)
	if err == nil && !present {
		err = errors.New("it carries no lineage")
	}
	if err != nil {
		return out, fmt.Errorf("answer of %s: %v", to.name, err) // not %w: it is no refusal of this service
	}
	if err := kest.Join(ctx, learned); err != nil {
		return out, err
	}
	return out, readJSON(bytes.NewReader(answer.body), &out)
}

// reply is an answer as it came, with nothing in it believed.
type reply struct {
	status  int
	header  http.Header
	body    []byte
	refused *refusal
}

// post sends one request; an empty passport is not sent, as by a browser.
func post(ctx context.Context, client *http.Client, url string, p lineage.Passport, in any) (*reply, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if p.Len() > 0 {
		if err := attach(r.Header, p); err != nil {
			return nil, err
		}
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
	if err != nil {
		return nil, err
	}
	answer := &reply{status: resp.StatusCode, header: resp.Header, body: text}
	if resp.StatusCode != http.StatusOK {
		answer.refused = &refusal{status: resp.StatusCode}
		var problem struct{ Title string }
		if json.Unmarshal(text, &problem) == nil {
			answer.refused.title = problem.Title
		}
	}
	return answer, nil
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
