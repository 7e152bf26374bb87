package policy_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

func TestInsecureAllowAllWarnsOnceForEachEngine(t *testing.T) { // SPEC §7 Mock
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for range 2 {
		engine := policy.InsecureAllowAll(logger)
		before := strings.Count(log.String(), "\n")
		if before != 0 && !strings.Contains(log.String(), "INSECURE") {
			t.Fatalf("log %q", log.String())
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				d, err := engine.Evaluate(context.Background(), "kest/allow_trusted", policytest.Input(0))
				if err != nil || !d.Allow {
					t.Errorf("%+v, %v", d, err)
				}
			})
		}
		wg.Wait()
		if n := strings.Count(log.String(), "\n") - before; n != 1 {
			t.Errorf("%d warnings, want 1: %s", n, log.String())
		}
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "Config.Engine") {
		t.Errorf("the warning says neither how bad it is nor what to change: %s", log.String())
	}
}

func TestInsecureAllowAllStillRefusesNonsense(t *testing.T) {
	engine := policy.InsecureAllowAll(slog.New(slog.DiscardHandler))
	for _, name := range policytest.HostileNames() {
		if d, err := engine.Evaluate(context.Background(), name, policytest.Input(0)); err == nil || d.Allow {
			t.Errorf("%.60q: %+v, %v", name, d, err)
		}
	}
	if d, err := engine.Evaluate(context.Background(), "kest/x", nil); !errors.Is(err, policy.ErrIndefinite) || d.Allow {
		t.Errorf("no input: %+v, %v", d, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if d, err := engine.Evaluate(ctx, "kest/x", policytest.Input(0)); !errors.Is(err, context.Canceled) || d.Allow {
		t.Errorf("cancelled: %+v, %v", d, err)
	}
}

func TestInsecureAllowAllUsesTheDefaultLogger(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	t.Cleanup(func() { slog.SetDefault(old) })
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	policy.InsecureAllowAll(nil).Evaluate(context.Background(), "kest/x", policytest.Input(0))
	if !strings.Contains(log.String(), "INSECURE") {
		t.Errorf("log %q", log.String())
	}
}
