package decisioncache_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisioncache"
	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

// The contract holds through the cache, cold and warm, with and without everything that can be optional.
func TestContract(t *testing.T) { // SPEC §7
	constant := func() string { return "r1" }
	for name, c := range map[string]decisioncache.Config{
		"plain": {Engine: policytest.Func(answer), Revision: constant},
		"full":  {Engine: &full{Engine: policytest.Func(answer)}},
		"small": {Engine: policytest.Func(answer), Revision: constant, MaxEntries: 1, Ignore: perCall},
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t, c)
			for range 2 {
				policytest.TestEngine(t, policytest.Harness{New: func(*testing.T) policy.Engine { return e }})
			}
		})
	}
}

func TestHit(t *testing.T) {
	r := newRules("r1")
	e := open(t, decisioncache.Config{Engine: r, Ignore: perCall})
	asks(t, r, 1, func() {
		for i := range 5 {
			in := policytest.Input(40)
			in.Environment.EntryID += strconv.Itoa(i)
			in.Environment.TraceID += strconv.Itoa(i)
			in.Environment.ParentHashes = []string{strconv.Itoa(i)}
			ask(t, e, r, "a", in)
		}
	})
}

// TestNothingIsIgnoredUnasked: without Ignore, an entry id is a part of the question like everything else.
func TestNothingIsIgnoredUnasked(t *testing.T) {
	r := newRules("r1")
	e := open(t, decisioncache.Config{Engine: r})
	for _, change := range []func(*policy.Environment){
		func(env *policy.Environment) { env.EntryID += "x" },
		func(env *policy.Environment) { env.TraceID += "x" },
		func(env *policy.Environment) { env.ParentHashes = append(env.ParentHashes, "x") },
	} {
		in := policytest.Input(40)
		ask(t, e, r, "a", in)
		asks(t, r, 0, func() { ask(t, e, r, "a", in) })
		change(&in.Environment)
		asks(t, r, 1, func() { ask(t, e, r, "a", in) })
	}
}

func TestErrorsAreNotKept(t *testing.T) {
	r := newRules("r1")
	e := open(t, decisioncache.Config{Engine: r, Ignore: perCall})
	for _, name := range []string{policytest.Undefined, policytest.Missing} {
		asks(t, r, 3, func() {
			for range 3 {
				if _, err := e.Evaluate(context.Background(), name, policytest.Input(40)); err == nil {
					t.Errorf("%s: no error", name)
				}
			}
		})
	}
	asks(t, r, 2, func() {
		for range 2 {
			if _, err := e.Evaluate(context.Background(), "a", nil); err == nil {
				t.Error("no error without an input")
			}
		}
	})
}

// TestEndedContext: what is in the cache is no answer for a call that has ended (SPEC §7: a late answer denies).
func TestEndedContext(t *testing.T) {
	r := newRules("r1")
	e := open(t, decisioncache.Config{Engine: r, Ignore: perCall})
	ask(t, e, r, "a", policytest.Input(40))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Evaluate(ctx, "a", policytest.Input(40)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestReloadInvalidates(t *testing.T) {
	r := newRules("r1")
	e := open(t, decisioncache.Config{Engine: r, Ignore: perCall})
	in := policytest.Input(40)
	ask(t, e, r, "a", in)
	r.load("r2")
	asks(t, r, 1, func() { ask(t, e, r, "a", in) })
	asks(t, r, 0, func() { ask(t, e, r, "a", in) })
	r.load("r1") // the same policies again have the same answers
	ask(t, e, r, "a", in)
}

// TestReloadDuringEvaluation: an answer that was under way when the policies changed is kept under neither revision,
// not even when they change back before it is there.
func TestReloadDuringEvaluation(t *testing.T) {
	in := policytest.Input(40)
	t.Run("after the set was taken", func(t *testing.T) {
		r := newRules("r1")
		e := open(t, decisioncache.Config{Engine: r, Ignore: perCall})
		r.during = func() { r.load("r2") }
		old := r.current.Load().decide("a", in)
		if d, err := e.Evaluate(context.Background(), "a", in); err != nil || d != old {
			t.Errorf("%+v, %v", d, err)
		}
		r.during = nil
		asks(t, r, 1, func() { ask(t, e, r, "a", in) })
	})
	t.Run("before the set was taken, and back", func(t *testing.T) {
		r := newRules("r1")
		// The cache reads r1; then r2 is loaded and answers; then r1 is back.
		var revision func() string
		e := open(t, decisioncache.Config{Engine: r, Ignore: perCall, Revision: func() string {
			if revision != nil {
				return revision()
			}
			return r.Revision()
		}})
		revision = func() string { r.load("r2"); return "r1" }
		r.during = func() { r.load("r1") }
		d, err := e.Evaluate(context.Background(), "a", in)
		if err != nil || d.Revision != "r2" {
			t.Fatalf("%+v, %v", d, err)
		}
		revision, r.during = nil, nil
		asks(t, r, 1, func() { ask(t, e, r, "a", in) }) // r1's own answer
	})
}

// TestUnrevisedAnswers: an answer that does not say of which revision it is, is not kept.
func TestUnrevisedAnswers(t *testing.T) {
	for _, d := range []policy.Decision{{Allow: true}, {Allow: true, Revision: "r0"}} {
		m := policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) { return d, nil })
		e := open(t, decisioncache.Config{Engine: m, Revision: func() string { return "r1" }})
		for range 3 {
			e.Evaluate(context.Background(), "a", policytest.Input(40))
		}
		if m.Count() != 3 {
			t.Errorf("%+v is kept", d)
		}
	}
	// A revision that is lost later stops the cache, also where the answers have none any more.
	revision := "r1"
	m := policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: true, Revision: revision}, nil
	})
	e := open(t, decisioncache.Config{Engine: m, Revision: func() string { return revision }})
	for _, revision = range []string{"r1", "", ""} {
		e.Evaluate(context.Background(), "a", policytest.Input(40))
	}
	if m.Count() != 3 {
		t.Errorf("the engine was asked %d times", m.Count())
	}
}

func TestTTL(t *testing.T) {
	for _, ttl := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := newRules("r1")
			e := open(t, decisioncache.Config{Engine: r, Ignore: perCall, TTL: ttl})
			if ttl == 0 {
				ttl = decisioncache.DefaultTTL
			}
			r.during = func() { time.Sleep(time.Second) } // it counts from the question, not from the answer
			in := policytest.Input(40)
			ask(t, e, r, "a", in)
			time.Sleep(ttl - time.Second - 1)
			asks(t, r, 0, func() { ask(t, e, r, "a", in) }) // which does not make it younger
			time.Sleep(time.Nanosecond)
			asks(t, r, 1, func() { ask(t, e, r, "a", in) })
		})
	}
}

// TestMaxEntries: the least recently used goes first.
func TestMaxEntries(t *testing.T) {
	r := newRules("r1")
	e := open(t, decisioncache.Config{Engine: r, MaxEntries: 3})
	in := policytest.Input(40)
	for _, name := range []string{"a", "b", "c", "a", "d"} { // d takes the place of b
		ask(t, e, r, name, in)
	}
	for _, name := range []string{"a", "c", "d"} {
		asks(t, r, 0, func() { ask(t, e, r, name, in) })
	}
	asks(t, r, 1, func() { ask(t, e, r, "b", in) })
}

func TestLargeAnswersAreNotKept(t *testing.T) {
	m := policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) {
		return policy.Decision{Revision: "r1", Reason: strings.Repeat("x", 5000)}, nil
	})
	e := open(t, decisioncache.Config{Engine: m, Revision: func() string { return "r1" }})
	for range 2 {
		e.Evaluate(context.Background(), "a", policytest.Input(40))
	}
	if m.Count() != 2 {
		t.Error("kept")
	}
}

// TestSameAsEngine: for random questions and reloads, back and forth, the cache answers as the engine would.
func TestSameAsEngine(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := newRules("0")
		e := open(t, decisioncache.Config{Engine: r, Ignore: perCall, MaxEntries: 1 + random.IntN(60)})
		const rounds = 1000
		for range rounds {
			if random.IntN(50) == 0 {
				r.load(strconv.Itoa(random.IntN(3)))
			}
			name, in := question(random)
			ask(t, e, r, name, in)
		}
		if n := r.asked.Load(); n == rounds {
			t.Errorf("seed %d: nothing came from the cache", seed)
		}
	}
}

// TestReloadStorm: while policies change without pause, each answer is exactly that of a revision that was current
// at some time during its call.
func TestReloadStorm(t *testing.T) {
	r := newRules("0")
	e := open(t, decisioncache.Config{Engine: r, Ignore: perCall, MaxEntries: 100})
	var done atomic.Bool
	var wg sync.WaitGroup
	var questions atomic.Int64
	for worker := range uint64(8) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(worker, 2))
			for !done.Load() {
				name, in := question(random)
				first, _ := strconv.Atoi(r.Revision())
				d, err := e.Evaluate(context.Background(), name, in)
				last, _ := strconv.Atoi(r.Revision())
				questions.Add(1)
				got, _ := strconv.Atoi(d.Revision)
				if want := (&ruleset{d.Revision}).decide(name, in); err != nil || d != want {
					t.Errorf("%+v, %v; want %+v", d, err, want)
					return
				}
				if got < first || got > last {
					t.Errorf("an answer of revision %d, between %d and %d", got, first, last)
					return
				}
			}
		})
	}
	for i := range 400 {
		r.load(strconv.Itoa(i))
		time.Sleep(100 * time.Microsecond)
	}
	done.Store(true)
	wg.Wait()
	if q, a := questions.Load(), r.asked.Load(); a >= q {
		t.Errorf("%d questions, %d of them to the engine: nothing came from the cache", q, a)
	}
}

func TestConfig(t *testing.T) {
	_, err := decisioncache.New(decisioncache.Config{MaxEntries: -1, Ignore: []string{"subject.user"}})
	for _, want := range []string{"no Engine", "negative", `"subject.user"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	logged, _ := decisionlog.New(decisionlog.Config{Engine: policytest.Allow()})
	for name, c := range map[string]decisioncache.Config{
		"no revisions":           {Engine: policytest.Allow()},
		"a wrapper of one":       {Engine: logged}, // it has the method all the same
		"an empty revision":      {Engine: policytest.Allow(), Revision: func() string { return "" }},
		"a negative time":        {Engine: newRules("r1"), TTL: -1},
		"a negative size":        {Engine: newRules("r1"), MaxEntries: -1},
		"trust ignored":          {Engine: newRules("r1"), Ignore: []string{"trust_score"}},
		"everything ignored":     {Engine: newRules("r1"), Ignore: []string{"environment"}},
		"a star":                 {Engine: newRules("r1"), Ignore: []string{"attributes.*"}},
		"nothing named":          {Engine: newRules("r1"), Ignore: []string{"attributes."}},
		"all attributes":         {Engine: newRules("r1"), Ignore: []string{"attributes"}},
		"all of an object":       {Engine: newRules("r1"), Ignore: []string{"object.attributes"}},
		"the empty path":         {Engine: newRules("r1"), Ignore: []string{""}},
		"one of the parent hash": {Engine: newRules("r1"), Ignore: []string{"environment.parent_hash"}},
	} {
		if _, err := decisioncache.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestOptionalInterfaces: what the engine offers besides answers is still there, also through a log, and what it
// does not offer is not made up.
func TestOptionalInterfaces(t *testing.T) {
	type offers interface {
		Revision() string
		Policies() []string
		io.Closer
	}
	inner := &full{Engine: policytest.Allow()}
	logged, err := decisionlog.New(decisionlog.Config{Engine: inner})
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, decisioncache.Config{Engine: logged})
	if c, ok := e.(policy.Checker); !ok || c.Check(policytest.Missing) == nil || c.Check(policytest.DenyAll) != nil {
		t.Errorf("checker %t", ok)
	}
	o := e.(offers)
	if o.Revision() != "r1" || !slices.Equal(o.Policies(), inner.Policies()) || o.Close() != nil || inner.closed != 1 {
		t.Errorf("%q %q, closed %d times", o.Revision(), o.Policies(), inner.closed)
	}

	e = open(t, decisioncache.Config{Engine: policytest.Allow(), Revision: func() string { return "mock" }})
	if _, ok := e.(policy.Checker); ok {
		t.Error("a checker around an engine that is none")
	}
	if o := e.(offers); o.Revision() != "mock" || o.Policies() != nil || o.Close() != nil {
		t.Error("something was made up")
	}
}
