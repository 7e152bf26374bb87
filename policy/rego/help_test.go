package rego_test

import (
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/rego"
)

// TestMain fails the package when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const guideV1 = "package kest.allow_trusted\n\ndefault allow := false\n\nallow if input.trust_score >= 40\n"

// A tree is a policy tree by path.
type tree map[string]string

func (t tree) fs() fs.FS {
	m := fstest.MapFS{}
	for name, text := range t {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// call is an input like the guard's, with every list filled.
func call(trust int) *policy.Input {
	return &policy.Input{
		Subject: policy.Subject{Workload: "spiffe://example.org/payments", User: "ada", TrustScore: trust,
			Taints: []string{"pii", "web"}},
		Object: policy.Object{ID: "invoice/7"},
		Environment: policy.Environment{SourceType: "internal", ParentHashes: []string{strings.Repeat("ab", 32)},
			PolicyNames: []string{"kest/allow_trusted"}, PolicyTier: policy.Function, Operation: "pay",
			Classification: "system", EntryID: "01932d5c-0000-7000-8000-000000000001",
			TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"},
		TrustScore: trust,
		Lineage: policy.Lineage{Length: 1, Principals: []string{"spiffe://example.org/gateway"}, MinTrust: 80,
			SourceTypes: []string{"internal"}},
	}
}

// one loads a single module as policy p.
func one(t testing.TB, rules string) *rego.Engine {
	t.Helper()
	return load(t, rego.Config{}, tree{"p.rego": "package p\n" + rules})
}

func load(t testing.TB, c rego.Config, files tree) *rego.Engine {
	t.Helper()
	engine, err := c.FS(files.fs())
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// A journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// within fails the test when f takes so long that something did run away.
func within(t *testing.T, d time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > d {
		t.Errorf("took %v; it was to be stopped long before %v", took, d)
	}
}

// listen accepts connections and says nothing on them.
func listen(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
