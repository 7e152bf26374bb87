package e2e_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/static"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/propagate/kestgrpc"
	"github.com/kest-go/kest/propagate/kesthttp"
	"github.com/kest-go/kest/store"
)

// TestMain is also the main function of the services that tests start as processes of their own.
func TestMain(m *testing.M) {
	if role := os.Getenv("KEST_E2E_ROLE"); role != "" {
		serveProcess(role)
		return
	}
	goleak.VerifyTestMain(m)
}

var names = []string{"gate", "shop", "ledger", "mallory"}

// key is the same in every process. Deployments get theirs from an identity provider.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("kest e2e " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func keySet() (*lineage.KeySet, error) {
	keys := map[string][]ed25519.PublicKey{}
	for _, name := range names {
		keys[name] = []ed25519.PublicKey{key(name).Public().(ed25519.PublicKey)}
	}
	return lineage.NewKeySet(keys)
}

func newVerifier() (*lineage.Verifier, error) {
	keys, err := keySet()
	if err != nil {
		return nil, err
	}
	return lineage.NewVerifier(lineage.VerifierConfig{Keys: keys, CacheBytes: 1 << 20})
}

// setting is what tests vary of a service.
type setting struct {
	Listener  propagate.Listener
	Proofs    propagate.ProofMode
	MaxAge    time.Duration // of hop proofs
	Propagate propagate.Config
	Nonces    store.Store
	Address   string   // that it listens on
	Aliases   []string // more names of it
	Tokens    propagate.TokenVerifier
	Logger    *slog.Logger
}

// A workload is a service with everything that a deployment configures.
type workload struct {
	guard     *kest.Guard
	ingress   *propagate.Ingress
	egress    *propagate.Egress
	http      *http.Client
	transport *http.Transport
}

func newWorkload(name string, s setting) (*workload, error) {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	identity, err := static.New(name, key(name))
	if err != nil {
		return nil, err
	}
	w := &workload{transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	if w.guard, err = kest.New(kest.Config{Engine: policy.InsecureAllowAll(slog.New(slog.DiscardHandler)), Identity: identity, Logger: s.Logger}); err != nil {
		return nil, err
	}
	verifier, err := newVerifier()
	if err != nil {
		return nil, err
	}
	propagator, err := propagate.New(s.Propagate)
	if err != nil {
		return nil, err
	}
	in := propagate.IngressConfig{
		Listener: s.Listener, Propagator: propagator, Verifier: verifier, Proofs: s.Proofs, Tokens: s.Tokens,
		Authorities: append(s.Aliases, s.Address), Timeout: 10 * time.Second, Logger: s.Logger,
	}
	if s.Proofs != propagate.ProofOff {
		keys, err := keySet()
		if err != nil {
			return nil, err
		}
		if in.Hops, err = hopproof.NewVerifier(hopproof.Config{Keys: keys, Store: s.Nonces, MaxAge: s.MaxAge, Leeway: s.MaxAge}); err != nil {
			return nil, err
		}
	}
	if w.ingress, err = propagate.NewIngress(in); err != nil {
		return nil, err
	}
	if w.egress, err = propagate.NewEgress(propagate.EgressConfig{
		Sealer: w.guard, Propagator: propagator, Hops: hopproof.Signer{}, Identity: identity, Verifier: verifier,
		StrictReturn: true, Logger: s.Logger,
	}); err != nil {
		return nil, err
	}
	transport, err := kesthttp.NewTransport(kesthttp.TransportConfig{Egress: w.egress, Base: w.transport})
	if err != nil {
		return nil, err
	}
	w.http = &http.Client{Transport: transport}
	return w, nil
}

func (w *workload) wrap(h http.Handler) (http.Handler, error) {
	front, err := kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: w.ingress})
	if err != nil {
		return nil, err
	}
	return front.Wrap(h), nil
}

// The shop: gate takes orders from anybody, over HTTP; shop sells, over HTTP; ledger books, over gRPC.

// gate serves POST /pay and answers with the lineage that it then has.
func (w *workload) gate(shop string) http.Handler {
	pay := kest.MustVerified(w.guard, func(ctx context.Context, order string) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, shop+"/orders?from=gate", strings.NewReader(order))
		if err != nil {
			return "", err
		}
		resp, err := w.http.Do(request)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil {
			err = kesthttp.ErrorOf(resp)
		}
		return string(answer), err
	}, kest.Operation("gate.pay"), kest.Policy("p"))
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		order, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		if err == nil {
			_, err = pay(r.Context(), string(order))
		}
		if err != nil {
			kesthttp.WriteError(rw, err)
			return
		}
		text, _ := kest.CurrentPassport(r.Context()).MarshalText()
		rw.Write(text)
	})
}

func (w *workload) shop(ledger *grpc.ClientConn) http.Handler {
	sell := kest.MustVerified(w.guard, func(ctx context.Context, order string) (string, error) {
		answer := &wrapperspb.StringValue{}
		err := ledger.Invoke(ctx, "/kest.e2e.Ledger/Book", wrapperspb.String(order), answer)
		return answer.GetValue(), kestgrpc.ErrorOf(err)
	}, kest.Operation("shop.sell"), kest.Policy("p"))
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		order, err := io.ReadAll(r.Body)
		var answer string
		if err == nil {
			answer, err = sell(r.Context(), string(order))
		}
		if err != nil {
			kesthttp.WriteError(rw, err)
			return
		}
		io.WriteString(rw, answer)
	})
}

// ledger serves gRPC. ran is told of every booking, with the lineage that it has.
func (w *workload) ledger(ran func(order string, p lineage.Passport)) (*grpc.Server, error) {
	front, err := kestgrpc.NewServerInterceptor(kestgrpc.ServerConfig{Ingress: w.ingress})
	if err != nil {
		return nil, err
	}
	book := kest.MustVerified(w.guard, func(ctx context.Context, order string) (string, error) {
		ran(order, kest.CurrentPassport(ctx))
		return "booked " + order, nil
	}, kest.Operation("ledger.book"), kest.Policy("p"))
	server := grpc.NewServer(front.Options()...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "kest.e2e.Ledger", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Book", Handler: func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			in := &wrapperspb.StringValue{}
			if err := decode(in); err != nil {
				return nil, err
			}
			handle := func(ctx context.Context, in any) (any, error) {
				answer, err := book(ctx, in.(*wrapperspb.StringValue).GetValue())
				return wrapperspb.String(answer), err
			}
			return intercept(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/kest.e2e.Ledger/Book"}, handle)
		}}},
	}, nil)
	return server, nil
}

func (w *workload) dial(ledger string) (*grpc.ClientConn, error) {
	back, err := kestgrpc.NewClientInterceptor(kestgrpc.ClientConfig{Egress: w.egress})
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(ledger, append(back.Options(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}

func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// whole verifies a passport of gate's and reports whether it is the chain of one order from beginning to end.
func whole(ctx context.Context, verifier *lineage.Verifier, text []byte) error {
	u, err := lineage.ParsePassport(text, lineage.Limits{})
	if err != nil {
		return err
	}
	p, _, err := verifier.Verify(ctx, u)
	if err != nil {
		return err
	}
	return chained(p, "gate.pay", "shop.sell", "ledger.book")
}

// chained reports whether a passport is one chain of these operations.
func chained(p lineage.Passport, operations ...string) error {
	if p.Len() != len(operations) {
		return errors.New("a chain that is broken or empty")
	}
	var before lineage.Hash
	for i, s := range p.All() {
		e := s.Entry()
		if e.Operation != operations[i] || i > 0 && (len(e.Parents) != 1 || e.Parents[0] != before) || i == 0 && len(e.Parents) != 0 {
			return errors.New("an entry that is not where it should be: " + e.Operation)
		}
		before = s.Hash()
	}
	return nil
}
