package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"pgregory.net/rapid"
)

// witness is an engine that allows, and remembers for each entry what its policies were shown.
type witness struct {
	mu   sync.Mutex
	past map[string]*policy.Past // by entry id
}

func (w *witness) Evaluate(_ context.Context, _ string, in *policy.Input) (policy.Decision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.past[in.Environment.EntryID] = in.Lineage.History.Past()
	return policy.Decision{Allow: true}, nil
}

var errBody = errors.New("body")

// journal has the entries of all calls.
type journal struct {
	mu      sync.Mutex
	entries []*lineage.Signed
}

func (j *journal) add(s *lineage.Signed) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, s)
}

// program is a random tree of guarded calls: in sequence, in parallel, detached, in scopes of their own, with and without
// sanitizers, and with bodies that fail.
func program(t *rapid.T, guard *kest.Guard, depth int, all *journal) func(context.Context) {
	n, parallel := rapid.IntRange(0, 3).Draw(t, "calls"), rapid.Bool().Draw(t, "parallel")
	calls := make([]func(context.Context), n)
	for i := range calls {
		options := []kest.Option{kest.NoInputHash(), kest.Policy("p"), kest.Operation(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "operation")),
			kest.SourceType(rapid.SampledFrom([]string{"system", "internet", "llm", "user_input", "internal"}).Draw(t, "source"))}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			options = append(options, kest.RemoveTaints("web"), kest.Sanitizer("strip"))
		case 1:
			options = append(options, kest.Sanitizer("strip"))
		case 2:
			options = append(options, kest.AddTaints("web"))
		}
		if rapid.IntRange(0, 4).Draw(t, "detached") == 0 {
			options = append(options, kest.Detached())
		}
		var failure error
		if rapid.Bool().Draw(t, "fails") {
			failure = errBody
		}
		body := func(context.Context) {}
		if depth > 0 {
			body = program(t, guard, depth-1, all)
		}
		f := kest.MustVerified(guard, func(ctx context.Context, _ struct{}) (int, error) {
			all.add(kest.CurrentEntry(ctx))
			body(ctx)
			return 0, failure
		}, options...)
		scope := rapid.IntRange(0, 5).Draw(t, "own scope") == 0
		calls[i] = func(ctx context.Context) {
			if scope {
				ctx, _ = kest.StartSession(ctx)
			}
			if _, err := f(ctx, struct{}{}); !errors.Is(err, failure) {
				t.Error(err)
			}
		}
	}
	return func(ctx context.Context) {
		var wg sync.WaitGroup
		for _, call := range calls {
			if parallel {
				wg.Go(func() { call(ctx) })
			} else {
				call(ctx)
			}
		}
		wg.Wait()
	}
}

// SPEC §7 lineage: what policies see of the ancestors of a call follows from the signed parents of its entry alone,
// whatever calls came before, beside and around it. The oracle walks every path through the hashes.
func TestPropertyHistoryIsTheGraph(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &witness{past: map[string]*policy.Past{}}
		guard, err := kest.New(kest.Config{
			Engine: w, Identity: identitytest.New("spiffe://example.org/payments"), NoReceipts: true, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		all := new(journal)
		run := program(t, guard, 2, all)
		ctx, _ := kest.StartSession(context.Background())
		run(ctx)
		byHash := map[lineage.Hash]lineage.Entry{}
		for _, s := range all.entries {
			byHash[s.Hash()] = s.Entry()
		}
		for _, s := range all.entries {
			checkPast(t, byHash, s.Entry(), w.past[s.Entry().ID])
		}
	})
}

func checkPast(t *rapid.T, byHash map[lineage.Hash]lineage.Entry, e lineage.Entry, past *policy.Past) {
	ancestors, open := map[lineage.Hash]bool{}, map[string]bool{}
	var walk func(child lineage.Entry, clean bool, seen map[string]bool)
	walk = func(child lineage.Entry, clean bool, seen map[string]bool) {
		for _, h := range child.Parents {
			parent, known := byHash[h]
			if !known {
				t.Fatalf("entry %s has a parent that never ran", e.ID)
			}
			ancestors[h] = true
			clean := clean || child.ID != e.ID && child.Sanitizer() != "" &&
				slices.ContainsFunc(child.RemovedTaints, func(taint string) bool { return slices.Contains(parent.Taints, taint) })
			key := fmt.Sprint(h, clean)
			if seen[key] { // from here on the paths are the same
				continue
			}
			seen[key] = true
			if !clean {
				open[parent.SourceType()] = true
			}
			walk(parent, clean, seen)
		}
	}
	walk(e, false, map[string]bool{})
	var sources []string
	for source := range open {
		sources = append(sources, source)
	}
	slices.Sort(sources)
	if !slices.Equal(past.Unsanitized, sources) {
		t.Fatalf("unsanitized %q, want %q", past.Unsanitized, sources)
	}
	if len(past.Ancestors) != len(ancestors) || past.Omitted != 0 {
		t.Fatalf("%d ancestors, %d omitted; want %d", len(past.Ancestors), past.Omitted, len(ancestors))
	}
	for i, a := range past.Ancestors {
		for _, p := range a.Parents {
			if p >= i {
				t.Fatalf("ancestor %d comes before its parent %d", i, p)
			}
		}
	}
}
