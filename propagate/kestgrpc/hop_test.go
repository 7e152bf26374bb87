package kestgrpc_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// hops is a hop proof in small: an HMAC, with a key that everybody has, over what both ends see of a call.
type hops struct {
	mu       sync.Mutex
	nonces   map[string]bool
	requests []propagate.HopRequest // as they were signed
	err      error
	hang     bool // SignHop does not return in time
}

func (h *hops) mac(principal, nonce string, r propagate.HopRequest) string {
	m := hmac.New(sha256.New, []byte("shared"))
	fmt.Fprintf(m, "%q %q %q %q %q %q %q", principal, nonce, r.Method, r.Authority, r.Path, r.Query, r.Fields["baggage"])
	return hex.EncodeToString(m.Sum(nil))
}

func (h *hops) SignHop(ctx context.Context, by lineage.Signer, r propagate.HopRequest) (input, signature string, err error) {
	if h.hang {
		<-ctx.Done()
		return "", "", ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, r)
	nonce := rand.Text()
	return nonce, h.mac(by.Principal(), nonce, r), h.err
}

func (h *hops) VerifyHop(_ context.Context, principal string, r propagate.HopRequest) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	input, signature := r.Fields["signature-input"], r.Fields["signature"]
	switch {
	case len(input) == 0 && len(signature) == 0:
		return propagate.ErrNoProof
	case len(input) != 1 || len(signature) != 1 || h.nonces[input[0]] || signature[0] != h.mac(principal, input[0], r):
		return propagate.ErrBadProof
	}
	if h.nonces == nil {
		h.nonces = map[string]bool{}
	}
	h.nonces[input[0]] = true
	return nil
}

func (p *party) proves(h *hops) func(*propagate.EgressConfig) {
	return func(c *propagate.EgressConfig) { c.Hops, c.Identity = h, identitytest.New(domain+p.name) }
}

func requires(h *hops, mode propagate.ProofMode, authorities ...string) func(*propagate.IngressConfig) {
	return func(c *propagate.IngressConfig) { c.Hops, c.Proofs, c.Authorities = h, mode, authorities }
}

// TestHopProof (SPEC §9 hop proof): both ends see the same call, whatever names it, in every mode.
func TestHopProof(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	for name, c := range map[string]struct {
		mode   propagate.ProofMode
		signed bool
		code   codes.Code
	}{
		"required":             {propagate.ProofRequire, true, codes.OK},
		"required and missing": {propagate.ProofRequire, false, codes.PermissionDenied},
		"accepted":             {propagate.ProofAccept, true, codes.OK},
		"accepted and missing": {propagate.ProofAccept, false, codes.OK},
		"off":                  {propagate.ProofOff, true, codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hops{}
			addr := serve(t, &service{}, orders.server(requires(h, c.mode, "orders"))...)
			var proves []func(*propagate.EgressConfig)
			if c.signed {
				proves = append(proves, frontend.proves(h))
			}
			conn := dial(t, addr, append(frontend.client(proves...), grpc.WithAuthority("orders"))...)
			ctx, _ := frontend.session(t.Context())
			ctx = metadata.AppendToOutgoingContext(ctx, "baggage", "tenant=7", "baggage", "x=y")
			if c.signed {
				ctx = metadata.AppendToOutgoingContext(ctx, "signature", "of a call that is passed on")
			}
			if _, err := echo(ctx, conn, "x"); status.Code(err) != c.code {
				t.Errorf("unary: %v", err)
			}
			if err := streamOnce(ctx, conn, "x"); status.Code(err) != c.code && err.Error() != "EOF" {
				t.Errorf("stream: %v", err)
			}
			if !c.signed {
				return
			}
			if len(h.requests) != 2 {
				t.Fatalf("%d proofs", len(h.requests))
			}
			r := h.requests[0]
			if r.Method != "POST" || r.Authority != "orders" || r.Path != echoMethod || r.Query != "" || len(r.Fields) != 1 ||
				!strings.Contains(r.Fields["baggage"][0], "tenant=7,x=y,kest.chain_tip=") || h.requests[1].Path != chatMethod {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestHopAuthority: the proof is for the authority that the server sees, however the client came by it.
func TestHopAuthority(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	h := &hops{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	serveOn(t, l, &service{}, orders.server(requires(h, propagate.ProofRequire, "127.0.0.1:"+port, "localhost:"+port, "Orders", "orders:8443", "[::1]"))...)
	for target, want := range map[string]string{
		"127.0.0.1:" + port:                "127.0.0.1:" + port,
		"passthrough:///127.0.0.1:" + port: "127.0.0.1:" + port,
		"dns:///localhost:" + port:         "localhost:" + port,
		":" + port:                         "localhost:" + port,
		"override orders":                  "orders",
		"override orders:443":              "orders", // the default port
		"override orders:8443":             "orders:8443",
		"override [::1]:443":               "[::1]",
	} {
		var opts []grpc.DialOption
		if authority, ok := strings.CutPrefix(target, "override "); ok {
			target = l.Addr().String()
			opts = append(opts, grpc.WithAuthority(authority))
		}
		ctx, _ := frontend.session(t.Context())
		if _, err := echo(ctx, dial(t, target, append(frontend.client(frontend.proves(h)), opts...)...), "x"); err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := h.requests[len(h.requests)-1].Authority; got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
	ctx, _ := frontend.session(t.Context())
	conn := dial(t, l.Addr().String(), append(frontend.client(frontend.proves(h)), grpc.WithAuthority("elsewhere"))...)
	if _, err := echo(ctx, conn, "x"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a proof for another service: %v", err)
	}
}

// TestRetriesHaveProofsOfTheirOwn: an attempt that gRPC repeats does not look like a replay.
func TestRetriesHaveProofsOfTheirOwn(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	h := &hops{}
	calls := 0
	addr := serve(t, &service{echo: func(_ context.Context, in string) (string, error) {
		if calls++; calls < 3 {
			return "", status.Error(codes.Unavailable, "try again")
		}
		return in, nil
	}}, orders.server(requires(h, propagate.ProofRequire, "orders"))...)
	retry := grpc.WithDefaultServiceConfig(`{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4,
		"initialBackoff": "0.001s", "maxBackoff": "0.002s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`)
	conn := dial(t, addr, append(frontend.client(frontend.proves(h), strict), grpc.WithAuthority("orders"), retry)...)
	ctx, _ := frontend.session(t.Context())
	if _, err := echo(ctx, conn, "x"); err != nil || calls != 3 || len(h.requests) != 3 {
		t.Errorf("%v, %d calls, %d proofs", err, calls, len(h.requests))
	}
}

// bearer is a credential of the caller's own.
type bearer struct {
	token  string
	secure bool
	err    error
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, b.err
}
func (b bearer) RequireTransportSecurity() bool { return b.secure }

// TestCallCredentials: those of the caller go along with the proof, and what they demand of the transport holds.
func TestCallCredentials(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	h := &hops{}
	addr := serve(t, &service{echo: func(ctx context.Context, _ string) (string, error) {
		return propagate.IdentityFrom(ctx).User, nil
	}}, orders.server(requires(h, propagate.ProofRequire, "orders"), func(c *propagate.IngressConfig) { c.Tokens = tokens{} })...)
	options := append(frontend.client(frontend.proves(h)), grpc.WithAuthority("orders"))
	conn := dial(t, addr, options...)
	ctx, _ := frontend.session(t.Context())
	if user, err := echo(ctx, conn, "x", grpc.PerRPCCredentials(bearer{token: "good"})); err != nil || user != "alice" {
		t.Errorf("%q, %v", user, err)
	}
	always := dial(t, addr, append(options, grpc.WithDefaultCallOptions(grpc.PerRPCCredentials(bearer{token: "good"})))...)
	if user, err := echo(ctx, always, "x"); err != nil || user != "alice" {
		t.Errorf("by default: %q, %v", user, err)
	}
	if _, err := echo(ctx, conn, "x", grpc.PerRPCCredentials(bearer{token: "good", secure: true})); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a token on an insecure connection: %v", err)
	}
	if _, err := echo(ctx, conn, "x", grpc.PerRPCCredentials(bearer{err: status.Error(codes.Unavailable, "no token")})); status.Code(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
}

// TestProofFails: without a proof that it should have, no call goes out.
func TestProofFails(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	ran := false
	addr := serve(t, &service{echo: func(context.Context, string) (string, error) { ran = true; return "", nil }}, orders.server()...)
	ctx, _ := frontend.session(t.Context())
	conn := dial(t, addr, frontend.client(frontend.proves(&hops{err: errors.New("kms is down")}))...)
	if _, err := echo(ctx, conn, "x"); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "kms is down") || ran {
		t.Errorf("%v, ran %t", err, ran)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := echo(short, dial(t, addr, frontend.client(frontend.proves(&hops{hang: true}))...), "x"); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	other := func(c *propagate.EgressConfig) { c.Hops, c.Identity = &hops{}, identitytest.New(domain+"ledger") }
	if _, err := echo(ctx, dial(t, addr, frontend.client(other)...), "x"); status.Code(err) != codes.Internal || ran {
		t.Errorf("%v, ran %t", err, ran)
	}
}

// TestNoProofWithoutLineage: there is nobody to hold to a tip.
func TestNoProofWithoutLineage(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	h := &hops{}
	addr := serve(t, &service{}, orders.server(requires(h, propagate.ProofRequire, "orders"), func(c *propagate.IngressConfig) { c.Listener = propagate.Edge })...)
	if _, err := echo(t.Context(), dial(t, addr, frontend.client(frontend.proves(h))...), "x"); err != nil || len(h.requests) != 0 {
		t.Errorf("%v, %d proofs", err, len(h.requests))
	}
}
