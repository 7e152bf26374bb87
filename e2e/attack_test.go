package e2e_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/memory"
)

// captured is a request as somebody on the way has it.
type captured struct {
	method, target string
	header         http.Header
	body           []byte
}

// tap records requests in place of sending them.
type tap struct{ last *captured }

func (c *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	c.last = &captured{method: r.Method, target: r.URL.RequestURI(), header: r.Header.Clone(), body: body}
	return nil, fmt.Errorf("recorded: %w", err)
}

// members of the baggage header, in order.
func (c *captured) members() []string { return strings.Split(c.header.Get("Baggage"), ",") }

func (c *captured) set(members ...string) { c.header.Set("Baggage", strings.Join(members, ",")) }

// member finds one of the baggage's members.
func (c *captured) member(key string) string {
	for _, m := range c.members() {
		if value, ok := strings.CutPrefix(m, key+"="); ok {
			text, _ := url.PathUnescape(value)
			return text
		}
	}
	return ""
}

// carry replaces the lineage by these entries, with the tip that belongs to them.
func (c *captured) carry(entries ...string) {
	list := url.QueryEscape(`["` + strings.Join(entries, `","`) + `"]`)
	c.set(propagate.KeyChainTip+"="+lineage.HashJWS(entries[len(entries)-1]).String(), propagate.KeyPassport+"="+list)
}

// field is where the attacks take place: two services that know the same workloads, and share a store.
type field struct {
	t       *testing.T
	shop    *httptest.Server
	other   *httptest.Server
	store   *treacherous
	gate    *workload
	mallory *workload
	wire    *tap
	log     *bytes.Buffer
}

// treacherous is a store whose owner changes what it holds.
type treacherous struct {
	store.Store
	instead []byte
}

func (s *treacherous) Get(ctx context.Context, key string) ([]byte, error) {
	if s.instead != nil {
		return s.instead, nil
	}
	return s.Store.Get(ctx, key)
}

func newField(t *testing.T, mode propagate.ProofMode) *field {
	t.Helper()
	f := &field{t: t, wire: &tap{}, log: &bytes.Buffer{}}
	f.store = &treacherous{Store: must(memory.New(memory.Config{}))(t)}
	nonces := must(memory.New(memory.Config{}))(t)
	serve := func(name string) *httptest.Server {
		server := httptest.NewUnstartedServer(nil)
		w := must(newWorkload(name, setting{
			Listener: propagate.Internal, Proofs: mode, Nonces: nonces, Address: server.Listener.Addr().String(),
			Propagate: propagate.Config{Store: f.store}, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
		}))(t)
		look := kest.MustVerified(w.guard, func(ctx context.Context, _ struct{}) (string, error) {
			p := kest.CurrentPassport(ctx)
			return fmt.Sprintf("%d entries, trust %d, user %q", p.Len(), p.Last().Entry().TrustScore, kest.CurrentIdentity(ctx).User), nil
		}, kest.Operation(name+".look"), kest.Policy("p"))
		server.Config.Handler = must(w.wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			answer, err := look(r.Context(), struct{}{})
			if err != nil {
				answer = err.Error()
			}
			io.WriteString(rw, answer)
		})))(t)
		server.Start()
		t.Cleanup(server.Close)
		return server
	}
	f.shop, f.other = serve("shop"), serve("ledger")
	for name, w := range map[string]**workload{"gate": &f.gate, "mallory": &f.mallory} {
		*w = must(newWorkload(name, setting{Listener: propagate.Edge, Address: name + ".test", Propagate: propagate.Config{Store: f.store}}))(t)
		(*w).transport.CloseIdleConnections()
	}
	return f
}

// record makes a request of w to the shop, from within calls of these operations, and keeps it off the wire.
func (f *field) record(ctx context.Context, w *workload, source string, operations ...string) *captured {
	f.t.Helper()
	egress := w.http.Transport
	w.http.Transport = rewire(f.t, w, f.wire)
	defer func() { w.http.Transport = egress }()
	send := func(ctx context.Context, _ struct{}) (struct{}, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.shop.URL+"/look?at=it", strings.NewReader("please"))
		if err != nil {
			return struct{}{}, err
		}
		if resp, err := w.http.Do(request); err == nil {
			resp.Body.Close()
		}
		return struct{}{}, nil
	}
	for _, operation := range slices.Backward(operations) {
		inner := send
		send = kest.MustVerified(w.guard, inner, kest.Operation(operation), kest.Policy("p"), kest.SourceType(source))
	}
	f.wire.last = nil
	if _, err := send(ctx, struct{}{}); err != nil || f.wire.last == nil {
		f.t.Fatalf("nothing was sent: %v", err)
	}
	return f.wire.last
}

// arrived is a context of w after it was called with the lineage of a request.
func (f *field) arrived(w *workload, c *captured) context.Context {
	f.t.Helper()
	ctx, _, err := w.ingress.Admit(f.t.Context(), propagate.Request{Carrier: headerCarrier(c.header)})
	if err != nil {
		f.t.Fatal(err)
	}
	return ctx
}

// send sends a request as it is.
func (f *field) send(server *httptest.Server, c *captured) (status int, answer string) {
	f.t.Helper()
	request := must(http.NewRequestWithContext(f.t.Context(), c.method, server.URL+c.target, bytes.NewReader(c.body)))(f.t)
	request.Header = c.header.Clone()
	if server == f.other { // it is addressed as what was recorded
		request.Host = f.other.Listener.Addr().String()
	}
	resp := must(http.DefaultClient.Do(request))(f.t)
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// An attack changes a recorded request of gate or mallory.
type attack struct {
	name string
	// make returns what is sent, and where to. Honest requests may be sent before.
	make func(f *field) (*httptest.Server, *captured)
}

func attacks() []attack {
	honest := func(f *field) *captured {
		return f.record(f.t.Context(), f.gate, lineage.SourceUserInput, "gate.pay", "gate.check")
	}
	return []attack{
		{"strip: no baggage", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			c.header.Del("Baggage")
			return f.shop, c
		}},
		{"strip: the tip alone", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			c.set(c.members()[0])
			return f.shop, c
		}},
		{"cut tail, by somebody on the way", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			entries := entriesOf(f.t, c.member(propagate.KeyPassport))
			c.carry(entries[:len(entries)-1]...)
			return f.shop, c
		}},
		{"cut tail, by a workload that drops its own entry", func(f *field) (*httptest.Server, *captured) {
			ctx := f.arrived(f.mallory, f.record(f.t.Context(), f.gate, lineage.SourceInternal, "gate.pay"))
			c := f.record(ctx, f.mallory, lineage.SourceLLM, "mallory.think")
			c.carry(entriesOf(f.t, c.member(propagate.KeyPassport))[0])
			f.prove(f.mallory, c)
			return f.shop, c
		}},
		{"cut tail, the old tip kept", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			entries, tip := entriesOf(f.t, c.member(propagate.KeyPassport)), c.members()[0]
			c.carry(entries[:len(entries)-1]...)
			c.set(tip, c.members()[1])
			return f.shop, c
		}},
		{"splice: an entry of another lineage", func(f *field) (*httptest.Server, *captured) {
			entries := entriesOf(f.t, f.record(f.t.Context(), f.gate, lineage.SourceSystem, "gate.root").member(propagate.KeyPassport))
			c := honest(f)
			c.carry(append(entries, entriesOf(f.t, c.member(propagate.KeyPassport))[1])...)
			return f.shop, c
		}},
		{"replay of the whole request", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			if status, answer := f.send(f.shop, c); status != http.StatusOK {
				f.t.Fatalf("the first is refused: %d %s\n%s", status, answer, f.log)
			}
			f.log.Reset()
			return f.shop, c
		}},
		{"theft: to another service", func(f *field) (*httptest.Server, *captured) { return f.other, honest(f) }},
		{"theft: another request", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			c.body = []byte("now!")
			return f.shop, c
		}},
		{"theft: presented by another workload", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			f.prove(f.mallory, c)
			return f.shop, c
		}},
		{"forged identity", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			c.set(append(c.members(), propagate.KeyUser+"=admin")...)
			return f.shop, c
		}},
		{"bomb: ratio", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			c.set(c.members()[0], propagate.KeyPassportZ+"="+bomb(4<<20))
			return f.shop, c
		}},
		{"poisoned store: another passport", func(f *field) (*httptest.Server, *captured) {
			other := entriesOf(f.t, f.record(f.t.Context(), f.gate, lineage.SourceSystem, "gate.root").member(propagate.KeyPassport))
			c := honest(f)
			f.keep(c)
			f.store.instead = []byte(`["` + other[0] + `"]`)
			return f.shop, c
		}},
		{"poisoned store: garbage", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			f.keep(c)
			f.store.instead = []byte("garbage")
			return f.shop, c
		}},
		{"downgrade: an older representation instead", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			entries, tip := entriesOf(f.t, c.member(propagate.KeyPassport)), c.members()[0]
			c.carry(entries[0])
			c.set(tip, c.members()[1])
			return f.shop, c
		}},
		{"downgrade: an older representation beside", func(f *field) (*httptest.Server, *captured) {
			c := honest(f)
			entries := entriesOf(f.t, c.member(propagate.KeyPassport))
			f.keep(c)
			c.set(append(c.members(), propagate.KeyPassport+"="+url.QueryEscape(`["`+entries[0]+`"]`))...)
			return f.shop, c
		}},
	}
}

// TestAttacks runs every attack against each mode of hop proofs, over real sockets, and compares what happens with the
// table in docs/propagation.md.
func TestAttacks(t *testing.T) {
	documented := table(t, "../docs/propagation.md", "| attack |")
	columns := []struct {
		mode   propagate.ProofMode
		remove bool // the attacker takes the proof off
	}{{propagate.ProofOff, true}, {propagate.ProofAccept, true}, {propagate.ProofAccept, false}, {propagate.ProofRequire, false}}
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			var row []string
			for _, column := range columns {
				f := newField(t, column.mode)
				_, usual := f.send(f.shop, f.record(t.Context(), f.gate, lineage.SourceUserInput, "gate.pay", "gate.check"))
				f.log.Reset()
				server, request := a.make(f)
				if column.remove {
					request.header.Del("Signature")
					request.header.Del("Signature-Input")
				}
				status, answer := f.send(server, request)
				row = append(row, verdict(status, answer, usual, a.name))
				if lines := strings.Count(f.log.String(), "\n"); status != http.StatusOK && lines != 1 {
					t.Errorf("%d log lines: %s", lines, f.log)
				}
				if strings.Contains(answer, "gate") || strings.Contains(answer, "tip") {
					t.Errorf("the answer shows too much: %s", answer)
				}
			}
			if got := documented[a.name]; !slices.Equal(got, row) {
				t.Errorf("seen:       | %s | %s |\ndocumented: | %s | %s |", a.name, strings.Join(row, " | "), a.name, strings.Join(got, " | "))
			}
			delete(documented, a.name)
		})
	}
	for name := range documented {
		t.Errorf("%q is documented, and not tried", name)
	}
}

// verdict says what an attack came to. It is in vain when the service sees the same as without it.
func verdict(status int, answer, usual, name string) string {
	switch {
	case status != http.StatusOK:
		return fmt.Sprint(status)
	case answer == usual && (strings.HasPrefix(name, "forged") || strings.HasPrefix(name, "downgrade")):
		return "in vain"
	}
	return "**served**"
}

// TestRequireRefusesAll is what the issue asks for in one sentence.
func TestRequireRefusesAll(t *testing.T) {
	for _, a := range attacks() {
		for _, remove := range []bool{false, true} {
			f := newField(t, propagate.ProofRequire)
			server, request := a.make(f)
			if remove {
				request.header.Del("Signature")
				request.header.Del("Signature-Input")
			}
			if status, answer := f.send(server, request); status == http.StatusOK {
				t.Errorf("%s, proof removed %t: served: %s", a.name, remove, answer)
			}
		}
	}
}

func entriesOf(t *testing.T, passport string) []string {
	t.Helper()
	u := must(lineage.ParsePassport([]byte(passport), lineage.Limits{}))(t)
	if len(u.Entries) == 0 {
		t.Fatal("no entries were recorded")
	}
	return u.Entries
}

// keep turns a plain passport into a claim check.
func (f *field) keep(c *captured) {
	f.t.Helper()
	const id = "0d9c1a52-64a5-4f0e-9f2a-1f2a7c1f0001"
	if err := f.store.Put(f.t.Context(), "kest.claim."+id, []byte(c.member(propagate.KeyPassport)), time.Minute); err != nil {
		f.t.Fatal(err)
	}
	c.set(c.members()[0], propagate.KeyClaimCheck+"="+id)
}

// prove puts a proof of w's on a request, in place of the one that it has.
func (f *field) prove(w *workload, c *captured) {
	f.t.Helper()
	c.header.Del("Signature")
	c.header.Del("Signature-Input")
	path, query, _ := strings.Cut(c.target, "?")
	input, signature, err := proofOf(f.t.Context(), w, propagate.HopRequest{
		Method: c.method, Authority: f.shop.Listener.Addr().String(), Path: path, Query: "?" + query,
		Fields: map[string][]string{"baggage": c.header["Baggage"], "content-digest": c.header["Content-Digest"]},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	c.header.Set("Signature-Input", input)
	c.header.Set("Signature", signature)
}

func bomb(size int) string {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	z.Write(bytes.Repeat([]byte(" "), size))
	z.Close()
	return base64.RawURLEncoding.EncodeToString(out.Bytes())
}

// table reads the rows of a table in a document, by their first cell.
func table(t *testing.T, file, head string) map[string][]string {
	t.Helper()
	rows := map[string][]string{}
	_, rest, found := strings.Cut(string(must(os.ReadFile(file))(t)), head)
	if !found {
		t.Fatalf("%s has no table that begins with %q", file, head)
	}
	for i, line := range strings.Split(rest, "\n") {
		if i < 2 {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), "|")
		if len(cells) < 2 {
			break
		}
		for j := range cells {
			cells[j] = strings.TrimSpace(cells[j])
		}
		rows[cells[0]] = cells[1:]
	}
	return rows
}
