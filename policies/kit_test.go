package policies_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/policies"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/policy/rego"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The workloads of example/rego/kest/deployment/data.json.
const (
	gateway   = "spiffe://example.org/gateway"
	assistant = "spiffe://example.org/assistant"
	desk      = "spiffe://example.org/desk"
	payments  = "spiffe://example.org/payments"
	ledger    = "spiffe://example.org/ledger"
	vault     = "spiffe://example.org/vault"
	stranger  = "spiffe://example.org/stranger" // not in the data
)

// A call is one guarded call, or in a past a series of them in the same session.
type call struct {
	by, op, on, user, agent, source string
	taints, removes                 []string
	sanitizer                       string
	override                        int // 0: none
	labels                          map[string]string
	claims                          map[string]any // attributes, of the call and of its object
	fails                           bool
	remote                          bool   // made by another process, whose lineage was joined
	inside                          []call // made by the body
}

func (c call) options() []kest.Option {
	o := []kest.Option{kest.Operation(c.op), kest.Policy(ownPolicy), kest.WithProvider(identitytest.New(c.by)), kest.NoInputHash()}
	add := func(set bool, option func() kest.Option) {
		if set {
			o = append(o, option())
		}
	}
	add(c.on != "", func() kest.Option { return kest.Resource(c.on) })
	add(c.user != "", func() kest.Option { return kest.User(c.user) })
	add(c.agent != "", func() kest.Option { return kest.Agent(c.agent) })
	add(c.source != "", func() kest.Option { return kest.SourceType(c.source) })
	add(c.taints != nil, func() kest.Option { return kest.AddTaints(c.taints...) })
	add(c.removes != nil, func() kest.Option { return kest.RemoveTaints(c.removes...) })
	add(c.sanitizer != "", func() kest.Option { return kest.Sanitizer(c.sanitizer) })
	add(c.override != 0, func() kest.Option { return kest.TrustOverride(c.override) })
	add(c.claims != nil, func() kest.Option { return kest.Attributes(c.claims) })
	add(c.claims != nil, func() kest.Option { return kest.ResourceAttributes(c.claims) })
	for name, value := range c.labels {
		o = append(o, kest.Label(name, value))
	}
	return o
}

// ownPolicy is what the functions ask for themselves, and always allowed: the library is about all calls.
const ownPolicy = "app/own"

var errBody = errors.New("the body failed")

// run makes the call. What is inside of it runs under past, which allows everything.
func (c call) run(t rapid.TB, ctx context.Context, g, past *kest.Guard) error {
	t.Helper()
	f, err := kest.Verified(g, func(ctx context.Context, _ struct{}) (int, error) {
		for _, inner := range c.inside {
			inner.happen(t, ctx, past)
		}
		if c.fails {
			return 0, errBody
		}
		return 0, nil
	}, c.options()...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f(ctx, struct{}{})
	return err
}

// happen makes a call of the past.
func (c call) happen(t rapid.TB, ctx context.Context, past *kest.Guard) {
	t.Helper()
	if !c.remote {
		if err := c.run(t, ctx, past, past); err != nil && !errors.Is(err, errBody) {
			t.Fatal(err)
		}
		return
	}
	c.remote = false
	elsewhere, _ := kest.StartSession(context.Background())
	c.happen(t, elsewhere, past)
	if err := kest.Join(ctx, kest.CurrentPassport(elsewhere)); err != nil {
		t.Fatal(err)
	}
}

// deployment is the data of the example with changes: "a|b=json" sets a member, and "a|b" removes it.
func deployment(t testing.TB, changes ...string) map[string]any {
	t.Helper()
	text, err := os.ReadFile("example/rego/kest/deployment/data.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		path, value, set := strings.Cut(change, "=")
		if path == "" {
			continue
		}
		at, names := doc, strings.Split(path, "|")
		for _, name := range names[:len(names)-1] {
			at = at[name].(map[string]any)
		}
		last := names[len(names)-1]
		before := len(at)
		delete(at, last)
		if !set && len(at) == before {
			t.Fatalf("the data have no %s", path)
		}
		if set {
			var v any
			if err := json.Unmarshal([]byte(value), &v); err != nil {
				t.Fatal(err)
			}
			at[last] = v
		}
	}
	return doc
}

// A pair decides with both engines, and fails the test when they differ. It is a policy.Engine that answers as they do.
type pair struct {
	t     rapid.TB
	rego  *rego.Engine
	cedar *cedar.Engine
	rules fs.FS // in Rego
	data  map[string]any

	mu    sync.Mutex
	deny  map[string]opa.PreparedEvalQuery // by policy, its reasons in Rego
	alone map[string]bool                  // reasons, in either language, that were the only one of a denial; nil: not kept
	asked int
}

// newPair loads the library, or of it the named policies, over the data.
func newPair(t testing.TB, doc map[string]any, names ...string) *pair {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	entities, err := policies.Entities(text)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, data: doc, rules: part(t, policies.Rego(), ".rego", names), deny: map[string]opa.PreparedEvalQuery{}}
	p.rego, err = rego.FS(policies.Overlay(p.rules, fstest.MapFS{"kest/deployment/data.json": {Data: text}}))
	if err != nil {
		t.Fatal(err)
	}
	statements := part(t, policies.Cedar(), ".cedar", names)
	p.cedar, err = cedar.FS(policies.Overlay(statements, fstest.MapFS{"entities.json": {Data: entities}}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.rego.Policies(), p.cedar.Policies()) || len(names) == 0 && len(p.rego.Policies()) != 11 {
		t.Fatalf("Rego has %q, Cedar %q", p.rego.Policies(), p.cedar.Policies())
	}
	return p
}

// part is the library, or the named policies of it and what they import: to compile all of it takes its time.
func part(t rapid.TB, library fs.FS, ext string, names []string) fs.FS {
	if len(names) == 0 {
		return library
	}
	m := fstest.MapFS{}
	for _, name := range append(names, "kest/lineage") {
		if ext == ".rego" || name != "kest/lineage" {
			m[name+ext] = &fstest.MapFile{Data: []byte(read(t, library, name+ext))}
		}
	}
	return m
}

// prepare is OPA without our adapter, to look at rules that are no decision.
func prepare(t rapid.TB, rules fs.FS, doc map[string]any, query string) opa.PreparedEvalQuery {
	t.Helper()
	options := []func(*opa.Rego){
		opa.Query(query), opa.SetRegoVersion(ast.RegoV1),
		opa.Store(inmem.NewFromObject(map[string]any{"kest": map[string]any{"deployment": doc}})),
	}
	names, err := fs.Glob(rules, "kest/*.rego")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		options = append(options, opa.Module(name, read(t, rules, name)))
	}
	q, err := opa.New(options...).PrepareForEval(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func read(t rapid.TB, fsys fs.FS, name string) string {
	t.Helper()
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Evaluate asks both. An error of Rego is a fault of the policy; one of Cedar is how it says that data are missing.
func (p *pair) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	if name == ownPolicy {
		return policy.Decision{Allow: true}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	byRego, err := p.rego.Evaluate(ctx, name, in)
	if err != nil {
		p.t.Errorf("%s in Rego: %v", name, err)
	}
	byCedar, cedarErr := p.cedar.Evaluate(ctx, name, in)
	if byRego.Allow != (byCedar.Allow && cedarErr == nil) {
		text, _ := json.Marshal(in)
		p.t.Errorf("%s: Rego allows: %t %q; Cedar allows: %t %q (%v); input %s",
			name, byRego.Allow, p.reasons(ctx, name, in), byCedar.Allow, byCedar.Reason, cedarErr, text)
	}
	p.asked++
	if byRego.Allow || p.alone == nil {
		return byRego, err
	}
	if reasons := p.reasons(ctx, name, in); len(reasons) == 1 {
		p.alone[reasons[0]] = true
	}
	if ids := ofCedar.FindAllStringSubmatch(byCedar.Reason, -1); len(ids) == 1 && cedarErr == nil {
		p.alone[ids[0][1]] = true
	}
	return byRego, err
}

var (
	ofCedar = regexp.MustCompile(`forbid "([^"]+)"`)
	ofFile  = regexp.MustCompile(`@id\("([^"]+)"\)\s*forbid|deny contains "([^"]+)"`)
)

// reasons are the reasons of a denial in Rego.
func (p *pair) reasons(ctx context.Context, name string, in *policy.Input) (reasons []string) {
	if _, ok := p.deny[name]; !ok {
		p.deny[name] = prepare(p.t, p.rules, p.data, "data."+strings.ReplaceAll(name, "/", ".")+".deny")
	}
	result, err := p.deny[name].Eval(ctx, opa.EvalInput(in.Document()))
	if err != nil || len(result) != 1 {
		p.t.Errorf("deny of %s: %v %v", name, result, err)
		return nil
	}
	for _, reason := range result[0].Expressions[0].Value.([]any) {
		reasons = append(reasons, fmt.Sprint(reason))
	}
	return reasons
}

// uncovered are the rules of a policy that never decided on their own.
func (p *pair) uncovered(name string) (rules []string) {
	text := read(p.t, policies.Rego(), name+".rego") + read(p.t, policies.Cedar(), name+".cedar")
	for _, m := range ofFile.FindAllStringSubmatch(text, -1) {
		if reason := m[1] + m[2]; !p.alone[reason] {
			rules = append(rules, reason)
		}
	}
	return rules
}

func newGuard(t rapid.TB, engine policy.Engine, enterprise ...string) *kest.Guard {
	t.Helper()
	g, err := kest.New(kest.Config{
		Engine: engine, Identity: identitytest.New(stranger), Enterprise: enterprise, NoReceipts: true,
		Logger: slog.New(slog.DiscardHandler), PolicyTimeout: time.Minute, // the machine may be busy
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// allowAll is the guard of the past: other processes, and what happened before a policy was in force.
func allowAll(t rapid.TB) *kest.Guard { return newGuard(t, policytest.Allow()) }
