package bench_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/fastverify"
	"github.com/kest-go/kest/identity/static"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/propagate/kesthttp"
	"github.com/kest-go/kest/store/memory"
)

var quiet = slog.New(slog.DiscardHandler)

// What a hop costs at least, receipts on. The caller signs entry, hop proof and receipt, and checks the entry that comes
// back; the callee checks the entry and the proof that come, and signs entry and receipt.
const (
	hopSignatures = 5
	hopChecks     = 3
)

// hop is a client and a server over loopback: echo.
type hop struct {
	do func(ctx context.Context) error
}

func ask(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/echo", strings.NewReader(`{"order":"ORD-123"}`))
	if err != nil {
		return err
	}
	resp, err := client.Do(request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || len(text) == 0) {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	return err
}

// base has as many idle connections as a load generator has workers.
func base(tb testing.TB) *http.Transport {
	t := &http.Transport{MaxIdleConnsPerHost: 1024}
	tb.Cleanup(t.CloseIdleConnections)
	return t
}

func bareHop(tb testing.TB, before func()) hop {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before()
		io.Copy(w, r.Body)
	}))
	tb.Cleanup(server.Close)
	client := &http.Client{Transport: base(tb)}
	return hop{func(ctx context.Context) error { return ask(ctx, client, server.URL) }}
}

// kestHop is the same with a guard, egress and return lineage on one side, and ingress, hop proofs and a guard on the
// other.
func kestHop(tb testing.TB, before func(), batch func() lineage.BatchVerifier) hop {
	tb.Helper()
	keys := map[string][]ed25519.PublicKey{}
	for _, name := range []string{"caller", "callee"} {
		keys[name] = []ed25519.PublicKey{key(name).Public().(ed25519.PublicKey)}
	}
	set := have(lineage.NewKeySet(keys))(tb)
	guard := func(name string) (*kest.Guard, *static.Provider) {
		identity := have(static.New(name, key(name)))(tb)
		return have(kest.New(kest.Config{Engine: policytest.Allow(), Identity: identity, Logger: quiet}))(tb), identity
	}
	verify := func() *lineage.Verifier {
		return have(lineage.NewVerifier(lineage.VerifierConfig{Keys: set, Batch: batch()}))(tb)
	}

	callee, _ := guard("callee")
	server := httptest.NewUnstartedServer(nil)
	ingress := have(propagate.NewIngress(propagate.IngressConfig{
		Listener: propagate.Internal, Verifier: verify(), Logger: quiet,
		Proofs: propagate.ProofRequire, Authorities: []string{server.Listener.Addr().String()},
		Hops: have(hopproof.NewVerifier(hopproof.Config{
			Keys: set, Store: have(memory.New(memory.Config{}))(tb), MaxAge: 2 * time.Second, Leeway: time.Second,
		}))(tb),
	}))(tb)
	echo := kest.MustVerified(callee, func(_ context.Context, in string) (string, error) {
		before()
		return in, nil
	}, kest.Operation("echo"), kest.Policy("p"))
	front := have(kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: ingress}))(tb)
	server.Config.Handler = front.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := io.ReadAll(r.Body)
		var out string
		if err == nil {
			out, err = echo(r.Context(), string(in))
		}
		if err != nil {
			kesthttp.WriteError(w, err)
			return
		}
		io.WriteString(w, out)
	}))
	server.Start()
	tb.Cleanup(server.Close)

	caller, identity := guard("caller")
	egress := have(propagate.NewEgress(propagate.EgressConfig{
		Sealer: caller, Hops: hopproof.Signer{}, Identity: identity, Verifier: verify(), StrictReturn: true, Logger: quiet,
	}))(tb)
	client := &http.Client{Transport: have(kesthttp.NewTransport(kesthttp.TransportConfig{Egress: egress, Base: base(tb)}))(tb)}
	call := kest.MustVerified(caller, func(ctx context.Context, _ struct{}) (struct{}, error) {
		return struct{}{}, ask(ctx, client, server.URL)
	}, kest.Operation("call"), kest.Policy("p"))
	return hop{func(ctx context.Context) error {
		_, err := call(ctx, struct{}{})
		return err
	}}
}

func nothing() {}

func standard() lineage.BatchVerifier { return nil }

func tables() lineage.BatchVerifier { return fastverify.New(fastverify.Config{}) }

// BenchmarkHTTPHop compares echo over net/http with the same under Kest, for one client (p50 and p99) and for eight
// (req/s). primitives are the signatures made and checked on such a hop, one after the other: the median of a hop with
// one client should add at most twice as much to the bare one.
func BenchmarkHTTPHop(b *testing.B) {
	b.Run("primitives", func(b *testing.B) {
		private := key("caller")
		public, message := private.Public().(ed25519.PublicKey), make([]byte, 1024)
		signature := ed25519.Sign(private, message)
		load(b, 1, func(context.Context) error {
			for range hopSignatures {
				ed25519.Sign(private, message)
			}
			for range hopChecks {
				if !ed25519.Verify(public, message, signature) {
					return fmt.Errorf("a signature does not hold")
				}
			}
			return nil
		})
	})
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprintf("bare/%d", clients), func(b *testing.B) { load(b, clients, bareHop(b, nothing).do) })
		b.Run(fmt.Sprintf("kest/%d", clients), func(b *testing.B) { load(b, clients, kestHop(b, nothing, standard).do) })
		b.Run(fmt.Sprintf("kest-fastverify/%d", clients), func(b *testing.B) { load(b, clients, kestHop(b, nothing, tables).do) })
	}
}

// load calls do b.N times, from so many goroutines, and reports how long the calls took.
func load(b *testing.B, clients int, do func(context.Context) error) {
	ctx := context.Background()
	for range 50 { // connections, caches, tables
		if err := do(ctx); err != nil {
			b.Fatal(err)
		}
	}
	took := make([][]time.Duration, clients)
	b.ReportAllocs()
	b.ResetTimer()
	began := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for range (b.N + clients - 1 - c) / clients {
				start := time.Now()
				if err := do(ctx); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(start))
			}
		})
	}
	wg.Wait()
	whole := time.Since(began)
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds()), "p99-ns")
	b.ReportMetric(float64(len(all))/whole.Seconds(), "req/s")
}

// BenchmarkInFlight is the memory of a request that is being served, client and server together: heap and stacks.
func BenchmarkInFlight(b *testing.B) {
	const requests = 500
	for name, start := range map[string]func(testing.TB, func()) hop{
		"bare": bareHop,
		"kest": func(tb testing.TB, before func()) hop { return kestHop(tb, before, standard) },
	} {
		b.Run(name, func(b *testing.B) {
			var bytes uint64
			for b.Loop() {
				var entered, done sync.WaitGroup
				var hold atomic.Bool
				release := make(chan struct{})
				h := start(b, func() {
					if hold.Load() {
						entered.Done()
						<-release
					}
				})
				if err := h.do(context.Background()); err != nil {
					b.Fatal(err)
				}
				before := memoryInUse()
				entered.Add(requests)
				hold.Store(true)
				for range requests {
					done.Go(func() {
						if err := h.do(context.Background()); err != nil {
							b.Error(err)
						}
					})
				}
				entered.Wait()
				bytes = memoryInUse() - before
				close(release)
				done.Wait()
			}
			b.ReportMetric(float64(bytes)/requests, "B/request")
		})
	}
}

func memoryInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// have is the value of a call that must not fail.
func have[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}
