package decisionlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

// secret is what policytest puts into the attributes of every input.
const secret = "5105-1051-0510-5100"

// answer is an engine that passes the contract.
func answer(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	const revision = "r1"
	switch name {
	case policytest.AllowTrusted:
		return policy.Decision{Allow: in.TrustScore >= 40, Revision: revision}, nil
	case policytest.DenyAll:
		return policy.Decision{Revision: revision, Reason: "nobody may"}, nil
	case policytest.AllowWorkload:
		return policy.Decision{Allow: in.Subject.Workload == policytest.Workload, Revision: revision}, nil
	case policytest.Undefined, policytest.NotBoolean:
		return policy.Decision{}, policy.ErrIndefinite
	case policytest.Slow:
		select {
		case <-ctx.Done():
			return policy.Decision{}, fmt.Errorf("%w: %w", policy.ErrUnavailable, ctx.Err())
		case <-time.After(time.Minute):
			return policy.Decision{Allow: true}, nil
		}
	}
	return policy.Decision{}, fmt.Errorf("%w: %s", policy.ErrUnknownPolicy, name)
}

// full has everything that an engine may offer beside answers.
type full struct {
	policy.Engine
	closed int
}

func (f *full) Check(name string) error {
	if name != policytest.AllowTrusted && name != policytest.DenyAll {
		return policy.ErrUnknownPolicy
	}
	return nil
}
func (f *full) Revision() string   { return "r1" }
func (f *full) Policies() []string { return []string{policytest.AllowTrusted, policytest.DenyAll} }
func (f *full) Close() error       { f.closed++; return nil }

// output is a log that several goroutines may write.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// records decodes the log.
func (o *output) records(t testing.TB) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(o.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r)
	}
	return all
}

// open returns an engine around inner that logs JSON to the output.
func open(t testing.TB, c decisionlog.Config) (policy.Engine, *output) {
	t.Helper()
	o := &output{}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewJSONHandler(o, nil))
	}
	if c.Engine == nil {
		c.Engine = policytest.Func(answer)
	}
	e, err := decisionlog.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return e, o
}

// span records events; a test reads them afterwards.
type span struct {
	noop.Span
	events map[string]map[string]any
	panics bool
}

func (s *span) IsRecording() bool { return true }

func (s *span) AddEvent(name string, options ...trace.EventOption) {
	if s.panics {
		panic("span")
	}
	attrs := map[string]any{}
	config := trace.NewEventConfig(options...)
	for _, a := range config.Attributes() {
		attrs[string(a.Key)] = a.Value.AsInterface()
	}
	if s.events == nil {
		s.events = map[string]map[string]any{}
	}
	s.events[name] = attrs
}

func withSpan(s *span) context.Context {
	return trace.ContextWithSpan(context.Background(), s)
}
