package config_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/policy"
)

// counted is an engine with revisions that counts what it is asked, and what closes it.
type counted struct{ asked, closed int }

func (e *counted) Evaluate(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
	e.asked++
	return policy.Decision{Allow: name == "good", Revision: "r1"}, nil
}

func (e *counted) Revision() string { return "r1" }

func (e *counted) Close() error { e.closed++; return nil }

// timeless is an engine without revisions.
type timeless struct{ *counted }

func (timeless) Revision() {}

func engineOf(t *testing.T, text string, logger *slog.Logger, e policy.Engine) (policy.Engine, error) {
	t.Helper()
	d, err := config.Parse([]byte(text), config.Options{File: "kest.yaml", Environ: []string{}, Logger: logger, Engines: map[string]config.Builder[policy.Engine]{
		"rego": config.Build(func(context.Context, config.Rego) (policy.Engine, error) { return e, nil }),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return d.Engine(t.Context())
}

// TestDecisions: the engine of the file is behind its cache and its log, the log outside, and masked.
func TestDecisions(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	inner := &counted{}
	e, err := engineOf(t, `
engine: {rego: {dir: p}}
decision_log: {input: true, masks: [{path: attributes.ssn}, {path: attributes.card, with: "[card]"}]}
decision_cache: {ignore: [environment.entry_id]}
`, slog.New(slog.NewTextHandler(&out, nil)), inner)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"one", "two"} {
		in := &policy.Input{Attributes: map[string]any{"ssn": "078-05-1120", "card": "4111"}, Environment: policy.Environment{EntryID: id}}
		if d, err := e.Evaluate(t.Context(), "good", in); err != nil || !d.Allow {
			t.Error(d, err)
		}
	}
	if inner.asked != 1 || strings.Count(out.String(), "kest: policy decision") != 2 {
		t.Errorf("asked %d times, and the log is\n%s", inner.asked, out.String())
	}
	if strings.Contains(out.String(), "078-05-1120") || strings.Contains(out.String(), "4111") || !strings.Contains(out.String(), "[card]") {
		t.Errorf("the log is not masked:\n%s", out.String())
	}
	if closer, ok := e.(interface{ Close() error }); !ok || closer.Close() != nil || inner.closed != 1 {
		t.Errorf("closed %d times", inner.closed)
	}
}

// TestDecisionsFail: an engine that cannot have what the file asks for is closed, and the error has the place.
func TestDecisionsFail(t *testing.T) {
	t.Parallel()
	inner := &counted{}
	e, err := engineOf(t, "engine: {rego: {dir: p}}\ndecision_cache: {ttl: 1s}\n", quiet, timeless{inner})
	if e != nil || err == nil || !strings.HasPrefix(err.Error(), "kest.yaml:2:17: decision_cache: it cannot be made: ") || inner.closed != 1 {
		t.Errorf("%v, closed %d times", err, inner.closed)
	}
}

// TestReload: the interval of an engine's watch has a default, and can be turned off.
func TestReload(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"engine: {rego: {dir: p}}": 5 * time.Second, "engine: {rego: {dir: p, reload: 0s}}": 0, "engine: {rego: {dir: p, reload: 1m}}": time.Minute,
	} {
		var got time.Duration
		d, err := config.Parse([]byte(text), config.Options{Engines: map[string]config.Builder[policy.Engine]{
			"rego": config.Build(func(_ context.Context, s config.Rego) (policy.Engine, error) {
				got = s.Reload
				return nil, errors.New("enough")
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Engine(t.Context()); err == nil || got != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
}
