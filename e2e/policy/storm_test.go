package policy_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/e2e/internal/peer"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/rego"
)

const gate = "storm/gate"

// gates are the two versions of the policy: each lets the callers of one side through.
var gates = map[string]source{
	"even": {rego: "package storm.gate\n\ndefault allow := false\n\nallow if input.attributes.side == \"even\"\n", cedar: permit(gate, `context.attributes.side == "even"`)},
	"odd":  {rego: "package storm.gate\n\ndefault allow := false\n\nallow if input.attributes.side == \"odd\"\n", cedar: permit(gate, `context.attributes.side == "odd"`)},
}

// reloadable is what both engines in the process are.
type reloadable interface {
	policy.Engine
	Reload(ctx context.Context) error
	Revision() string
}

// asked is one answer that a call got.
type asked struct {
	name  string
	allow bool
}

// A storm notes what every call was told, by entry id, and checks each answer against the revision that gave it.
type storm struct {
	t        *testing.T
	verifier *lineage.Verifier
	sides    sync.Map // revision → the side that it lets through

	mu   sync.Mutex
	seen map[string][]asked

	calls, allowed, refused atomic.Int64
}

// witness is an engine under watch.
type witness struct {
	reloadable
	storm *storm
	ext   string // of its files
}

func (w *witness) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	d, err := w.reloadable.Evaluate(ctx, name, in)
	if err != nil {
		w.storm.t.Errorf("%s: %v", name, err)
	}
	if name == gate {
		side, known := w.storm.sides.Load(d.Revision)
		if !known || d.Allow != (side == in.Attributes["side"]) {
			w.storm.t.Errorf("side %v, by the policies of %v (known %t): allow is %t", in.Attributes["side"], side, known, d.Allow)
		}
	}
	w.storm.mu.Lock()
	defer w.storm.mu.Unlock()
	w.storm.seen[in.Environment.EntryID] = append(w.storm.seen[in.Environment.EntryID], asked{name, d.Allow})
	return d, err
}

// told takes what a call was told.
func (s *storm) told(entry string) []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.seen[entry]
	delete(s.seen, entry)
	return all
}

// call makes one call and holds its outcome against what the engines said.
func (s *storm) call(pay func(context.Context, string) (*lineage.Signed, error), side string, verify bool) {
	signed, err := pay(s.t.Context(), side)
	s.calls.Add(1)
	if err != nil {
		d, ok := errors.AsType[*kest.DeniedError](err)
		if !ok || d.Err != nil {
			s.t.Errorf("dropped: %v", err)
			return
		}
		s.refused.Add(1)
		if all := s.told(d.EntryID); len(all) == 0 || all[len(all)-1] != (asked{d.Policy, false}) {
			s.t.Errorf("denied by %s, which said %v", d.Policy, all)
		}
		return
	}
	s.allowed.Add(1)
	e := signed.Entry()
	want := slices.Concat(e.Policies.Enterprise, e.Policies.Platform, e.Policies.Application, e.Policies.Function)
	want = slices.DeleteFunc(want, func(name string) bool {
		return slices.ContainsFunc(e.Policies.Deviations, func(d lineage.Deviation) bool { return d.Policy == name })
	})
	all := s.told(e.ID)
	if !slices.EqualFunc(all, want, func(a asked, name string) bool { return a.allow && a.name == name }) {
		s.t.Errorf("the entry names %q, but it was decided by %v", want, all)
	}
	if verify {
		s.check(signed)
	}
}

// check verifies an entry as another service would.
func (s *storm) check(signed *lineage.Signed) {
	p, err := lineage.Passport{}.Append(signed)
	if err != nil {
		s.t.Error(err)
		return
	}
	text, _ := p.MarshalText()
	u, err := lineage.ParsePassport(text, lineage.Limits{})
	if err == nil {
		_, _, err = s.verifier.Verify(s.t.Context(), u)
	}
	if err != nil {
		s.t.Errorf("the entry does not verify: %v", err)
	}
}

// TestReloadStorm: a thousand times new configurations, authorities and policies, while eight goroutines call. Every
// call is decided by one configuration, the one that its entry names, and none is dropped.
func TestReloadStorm(t *testing.T) {
	const reloads, callers, enough = 1000, 8, 500
	s := &storm{t: t, seen: map[string][]asked{}, verifier: newVerifier(t)}
	dir := t.TempDir()
	for name, p := range map[string]source{anyPolicy: shared[anyPolicy], noPolicy: shared[noPolicy], gate: gates["even"]} {
		peer.Put(t, dir, name+".rego", p.rego)
		peer.Put(t, dir, name+".cedar", p.cedar)
	}
	inRego, err := rego.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	inCedar, err := cedar.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	engines := []*witness{{inRego, s, ".rego"}, {inCedar, s, ".cedar"}}
	for _, side := range []string{"odd", "even"} { // the revisions of both, before anybody calls
		for _, e := range engines {
			s.load(dir, e, side)
			s.sides.Store(e.Revision(), side)
		}
	}
	guard, err := kest.New(s.config(engines, 0))
	if err != nil {
		t.Fatal(err)
	}
	pay := kest.MustVerified(guard, func(ctx context.Context, _ string) (*lineage.Signed, error) { return kest.CurrentEntry(ctx), nil },
		kest.Operation("pay"), kest.Policy(anyPolicy),
		kest.AttributesFrom(func(_ context.Context, side string) (map[string]any, error) { return map[string]any{"side": side}, nil }))
	var wg sync.WaitGroup
	var over atomic.Bool
	for i := range callers {
		wg.Go(func() {
			for n := 0; !over.Load(); n++ {
				s.call(pay, []string{"even", "odd"}[(i+n)%2], n%16 == 0)
				time.Sleep(6 * time.Millisecond) // leave the processors to the reloads, or there are few of them
			}
		})
	}
	start := time.Now()
	few := func() bool { return s.allowed.Load() < enough || s.refused.Load() < enough }
	i := 0
	for ; i < reloads || i < 20*reloads && few() && !t.Failed(); i++ { // a fast machine must not outrun the callers
		s.load(dir, engines[i%2], []string{"even", "odd"}[i/2%2])
		if err := guard.Reconfigure(s.config(engines, i)); err != nil {
			t.Error(err)
		}
		if err := s.verifier.SetAuthority(authority(i)); err != nil {
			t.Error(err)
		}
	}
	took := time.Since(start)
	over.Store(true)
	wg.Wait()
	if len(s.seen) != 0 {
		t.Errorf("%d calls ended otherwise than they were told", len(s.seen))
	}
	t.Logf("%d reloads in %v; %d calls: %d allowed, %d denied", i, took, s.calls.Load(), s.allowed.Load(), s.refused.Load())
	if few() {
		t.Error("too few calls show little")
	}
}

// load replaces the policy and has an engine read it.
func (s *storm) load(dir string, e *witness, side string) {
	text := gates[side].rego
	if e.ext == ".cedar" {
		text = gates[side].cedar
	}
	peer.Put(s.t, dir, gate+e.ext, text)
	if err := e.Reload(s.t.Context()); err != nil {
		s.t.Error(err)
	}
}

// config is one of three: the gate alone, the gate behind another policy with one that a deviation lifts, and the same
// two in another tier; the engines take turns.
func (s *storm) config(engines []*witness, i int) kest.Config {
	c := kest.Config{Engine: engines[i/3%2], Identity: identitytest.New(payments), Logger: slog.New(slog.DiscardHandler), PolicyTimeout: patient}
	switch i % 3 {
	case 0:
		c.Enterprise = []string{gate}
	case 1:
		c.Enterprise, c.Platform = []string{anyPolicy, gate}, []string{noPolicy}
		c.Deviations = []policy.Deviation{{Policy: noPolicy, Tier: policy.Platform, Scope: "pay", Reason: "CHG-1", Approver: "ciso"}}
	default:
		c.Application = []string{gate, anyPolicy}
	}
	return c
}

// authority changes what others may do, and never what payments may.
func authority(i int) *lineage.Authority {
	a := &lineage.Authority{Grants: []lineage.Grant{{Principal: payments, Originate: []string{"*"}}}}
	if i%2 == 0 {
		a.Grants = append(a.Grants, lineage.Grant{Principal: "spiffe://example.org/other", Originate: []string{"*"}})
	}
	return a
}
