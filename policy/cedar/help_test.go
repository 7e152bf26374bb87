package cedar_test

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
)

// regexpX finds the attribute under test in a condition.
var regexpX = regexp.MustCompile(`(^|[ (!])x\b`)

// TestMain fails the package when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// guide is the guide's policy in Cedar.
const guide = "permit(principal, action, resource) when { context.trust_score >= 40 };\n"

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
			ActiveDeviations: []policy.Deviation{{Policy: "org/audit", Tier: policy.Platform, Reason: "CHG-1"}},
			Classification:   "system", EntryID: "01932d5c-0000-7000-8000-000000000001",
			TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", RemovedTaints: []string{"raw"}},
		TrustScore: trust,
		Lineage: policy.Lineage{Length: 1, Principals: []string{"spiffe://example.org/gateway"}, MinTrust: 80,
			SourceTypes: []string{"internal"}, History: history(policy.Ancestor{
				Operation: "fraud.check", Classification: "system", SourceType: "internal", Principal: "spiffe://example.org/gateway",
				User: "ada", Resource: "invoice/7", TrustScore: 80, Taints: []string{"pii"}, Outcome: "ok",
				Labels: map[string]string{"level": "", "x.y": "z"},
			})},
		Labels: map[string]string{"level": "secret", "a.b": ""},
	}
}

func history(all ...policy.Ancestor) *policy.History {
	return policy.NewHistory(func() []policy.Ancestor { return all })
}

// when loads one permit with the condition as policy p.
func when(t testing.TB, condition string) *cedar.Engine {
	t.Helper()
	return one(t, "permit(principal, action, resource) when { "+condition+" };")
}

// one loads a single file as policy p.
func one(t testing.TB, text string) *cedar.Engine {
	t.Helper()
	return load(t, cedar.Config{}, tree{"p.cedar": text})
}

func load(t testing.TB, c cedar.Config, files tree) *cedar.Engine {
	t.Helper()
	engine, err := c.FS(files.fs())
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// disk writes a tree to a new folder.
func disk(t testing.TB, files tree) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		put(t, dir, name, text)
	}
	return dir
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
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
