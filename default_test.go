package kest_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/policy/policytest"
)

func defaults(engine *policytest.Mock) kest.Config {
	return kest.Config{Engine: engine, Identity: identitytest.New(payments), Logger: slog.New(slog.DiscardHandler)}
}

// TestConfigure (F-GC-01, F-GC-03): the default is there after Configure, replaced by the next, gone after Reset.
func TestConfigure(t *testing.T) {
	kest.Reset()
	t.Cleanup(kest.Reset)
	early := kest.MustVerified(nil, ship, kest.Policy("a/b"))
	call := func(f func(context.Context, order) (string, error)) error {
		_, err := f(t.Context(), order{})
		return err
	}
	notConfigured := func(when string) {
		t.Helper()
		err := call(early)
		if stopped := wantStopped(t, err, kest.StepExtract); !errors.Is(err, kest.ErrNotConfigured) || stopped.Operation != "kest_test.ship" {
			t.Errorf("%s: %v", when, err)
		}
		if kest.Default() != nil {
			t.Errorf("%s: there is a default", when)
		}
	}
	notConfigured("at the start")
	first, second := policytest.Allow(), policytest.Deny()
	must(t, kest.Configure(defaults(first)))
	later := kest.MustVerified(nil, ship, kest.Policy("a/b"))
	must(t, errors.Join(call(early), call(later)))
	if first.Count() != 2 || kest.Default() == nil || kest.Default().Config().Engine != first {
		t.Errorf("asked %d times", first.Count())
	}
	must(t, kest.Configure(defaults(second)))
	wantDenied(t, call(early))
	wantDenied(t, call(later))
	kest.Reset()
	notConfigured("after Reset")
	must(t, kest.Configure(defaults(first)))
	must(t, errors.Join(call(early), call(later)))
	// A function that was wrapped for a guard does not follow the default.
	own := newRig(t)
	kept := kest.MustVerified(own.Guard, ship, kest.Policy("a/b"))
	kest.Reset()
	must(t, call(kept))
}

// TestConfigureValidatesWrapped (F-GC-02): all functions wrapped before are held against the new configuration; on
// an error the old one stays.
func TestConfigureValidatesWrapped(t *testing.T) {
	kest.Reset()
	t.Cleanup(kest.Reset)
	f := kest.MustVerified(nil, ship, kest.Policy("a/b"), kest.SourceType("partner"), kest.Operation("f"))
	g := kest.MustVerified(nil, ship, kest.Policy("a/b"), kest.SourceType("friend"), kest.Operation("g"))
	h := kest.MustVerified(nil, ship, kest.Policy("a/b"), kest.Operation("h"))
	bad := defaults(policytest.Allow())
	err := kest.Configure(bad)
	var config *kest.ConfigError
	if !errors.As(err, &config) || !strings.Contains(err.Error(), `kest: f: unknown source type "partner"`) || !strings.Contains(err.Error(), `kest: g: unknown source type "friend"`) {
		t.Fatal(err)
	}
	if _, err := h(t.Context(), order{}); !errors.Is(err, kest.ErrNotConfigured) || kest.Default() != nil {
		t.Errorf("half configured: %v", err)
	}
	good := defaults(policytest.Allow())
	good.Origins = map[string]int{"partner": 50, "friend": 60}
	must(t, kest.Configure(good))
	guard := kest.Default()
	for _, c := range []kest.Config{bad, {PolicyTimeout: -1}} {
		if kest.Configure(c) == nil || kest.Default() != guard {
			t.Error("a bad configuration took the default's place")
		}
	}
	for _, call := range []func(context.Context, order) (string, error){f, g, h} {
		if _, err := call(t.Context(), order{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := kest.Verified(nil, ship, kest.Policy("a/b"), kest.SourceType("enemy")); err == nil {
		t.Error("a function that the default does not suit is wrapped")
	}
}

// TestConfigureForgetsTheDropped: a function that nobody can call any more cannot make Configure fail.
func TestConfigureForgetsTheDropped(t *testing.T) {
	kest.Reset()
	t.Cleanup(kest.Reset)
	for range 100 {
		kest.MustVerified(nil, ship, kest.Policy("a/b"), kest.SourceType("nowhere"))
	}
	must(t, kest.Configure(defaults(policytest.Allow())))
}

// TestConfigureWhileCalling: calls see one configuration or the other, never half of one, and no race.
func TestConfigureWhileCalling(t *testing.T) {
	kest.Reset()
	t.Cleanup(kest.Reset)
	f := kest.MustVerified(nil, ship, kest.Policy("a/b"))
	stop := make(chan bool)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := f(t.Context(), order{})
				if err != nil && !errors.Is(err, kest.ErrDenied) && !errors.Is(err, kest.ErrNotConfigured) {
					t.Error(err)
				}
				if _, err := kest.Verified(nil, ship, kest.Policy("a/b")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	allow, deny := policytest.Allow().Keep(0), policytest.Deny().Keep(0)
	for range 50 {
		must(t, kest.Configure(defaults(allow)))
		must(t, kest.Configure(defaults(deny)))
		kest.Reset()
	}
	close(stop)
	wg.Wait()
}

// TestWrappedFunctionsAreCollected: following the default does not keep a function alive.
func TestWrappedFunctionsAreCollected(t *testing.T) {
	kest.Reset()
	t.Cleanup(kest.Reset)
	must(t, kest.Configure(defaults(policytest.Allow())))
	const n = 2000
	gone := make(chan bool, n)
	for range n {
		big := new([1 << 10]byte)
		runtime.AddCleanup(big, func(int) { gone <- true }, 0)
		option := kest.UserFrom(func(context.Context, order) (string, error) { return string(big[:1]), nil })
		if _, err := kest.Verified(nil, ship, kest.Policy("a/b"), option); err != nil {
			t.Fatal(err)
		}
	}
	must(t, kest.Configure(defaults(policytest.Allow())))
	runtime.GC()
	for range n / 2 { // the rest may wait for a later collection
		<-gone
	}
}

// clean removes what the machine of the test may say about identities.
func clean(t *testing.T) {
	t.Helper()
	for _, name := range []string{"SPIFFE_ENDPOINT_SOCKET", "AWS_BEDROCK_AGENT_ID", "AWS_EXECUTION_ENV", "AWS_ROLE_ARN", "KEST_AWS_KMS_KEY_ID", "KEST_OIDC_TOKEN_PATH"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	for _, socket := range identity.SPIFFESockets() {
		if _, err := os.Stat(socket); err == nil {
			t.Skipf("%s is here", socket)
		}
	}
}

// TestDetection (F-ID-01, SPEC §8 Auto): without Identity the environment decides; a signal whose provider is not
// linked is an error, and the last resort warns once.
func TestDetection(t *testing.T) {
	clean(t)
	var log bytes.Buffer
	c := kest.Config{Engine: policytest.Allow(), Logger: slog.New(slog.NewTextHandler(&log, nil))}
	g, err := kest.New(c)
	must(t, err)
	for range 2 {
		signed := signedBy(t, g, t.Context(), order{}).Entry()
		if !strings.HasPrefix(signed.Principal(), "local:") {
			t.Errorf("principal %q", signed.Principal())
		}
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "LOCAL IDENTITY") {
		t.Errorf("%d warnings: %s", n, log.String())
	}
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte("x"), 0o600))
	for name, value := range map[string]string{"SPIFFE_ENDPOINT_SOCKET": "unix:///run/x.sock", "KEST_OIDC_TOKEN_PATH": token, "AWS_BEDROCK_AGENT_ID": "agent"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			log.Reset()
			g, err := kest.New(c)
			var detect *identity.DetectError
			if wantConfig(t, err); g != nil || !errors.Is(err, identity.ErrNotLinked) || !errors.As(err, &detect) ||
				!strings.Contains(err.Error(), `import "`+detect.Import+`"`) || log.Len() != 0 {
				t.Errorf("%v, log %s", err, log.String())
			}
		})
	}
	t.Setenv("KEST_OIDC_TOKEN_PATH", token+".missing")
	if _, err := kest.New(c); !errors.Is(err, identity.ErrBroken) {
		t.Errorf("broken signal: %v", err)
	}
	// An identity that is given needs no environment (F-ID-02), and a bad configuration looks for none.
	c.Identity = identitytest.New(payments)
	if _, err := kest.New(c); err != nil {
		t.Error(err)
	}
}

// TestWithProvider (F-GC-03, F-ID-04): the call's identity comes before the guard's, whose key may rotate.
func TestWithProvider(t *testing.T) {
	mock := identitytest.New(payments, "one", "two")
	r := newRig(t, func(c *kest.Config) { c.Identity = mock })
	if e := r.entry(t.Context(), kest.WithProvider(identitytest.New("spiffe://example.org/other"))); e.Principal() != "spiffe://example.org/other" {
		t.Errorf("%q", e.Principal())
	}
	one := signedBy(t, r.Guard, t.Context(), order{})
	mock.Rotate()
	two := signedBy(t, r.Guard, t.Context(), order{})
	if mock.PublicKey(one.KeyID()) == nil || mock.PublicKey(two.KeyID()) == nil || one.KeyID() == two.KeyID() {
		t.Errorf("keys %q, %q", one.KeyID(), two.KeyID())
	}
}
