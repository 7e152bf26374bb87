package policytest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/kest-go/kest/policy"
)

// patience is how long an engine may go on after its context has ended.
const patience = 5 * time.Second

// Input returns a complete input with the given trust score: what an engine sees for a call by [Workload].
func Input(trust int) *policy.Input {
	return &policy.Input{
		Subject: policy.Subject{
			Workload: Workload, User: "alice", Agent: "agent-7", Task: "payments:write",
			TrustScore: trust, Taints: []string{"contains_data"},
		},
		Object: policy.Object{ID: "order/ORD-123", Attributes: map[string]any{"tags": []any{"urgent", 7.0}}},
		Environment: policy.Environment{
			SourceType: "internal", ParentHashes: []string{strings.Repeat("ab", 32)},
			PolicyNames: []string{AllowTrusted}, PolicyTier: policy.Function,
			ActiveDeviations: []policy.Deviation{{Policy: "org/audit", Tier: policy.Platform, Reason: "CHG-1", Approver: "ciso"}},
			Operation:        "payments.process", Classification: "system",
			EntryID: "0190e2b0-7b3a-7c3e-8a53-6f1c8a5f0001", TraceID: strings.Repeat("0f", 16),
		},
		TrustScore: trust,
		Lineage: policy.Lineage{
			Length: 1, Principals: []string{Workload}, MinTrust: trust, SourceTypes: []string{"internal"},
			History: policy.NewHistory(func() []policy.Ancestor {
				return []policy.Ancestor{{
					Operation: "orders.take", Classification: "data", SourceType: "internal", Principal: Workload,
					User: "alice", Agent: "agent-7", Task: "payments:write", Resource: "order/ORD-123", TrustScore: trust,
					Taints: []string{"contains_data"}, Labels: map[string]string{"level": "public"}, Outcome: "ok",
				}}
			}),
		},
		Labels:     map[string]string{"level": "internal"},
		Attributes: map[string]any{"card": secret, "nested": map[string]any{"list": []any{true, nil}}},
	}
}

func unchanged(before, after *policy.Input) error {
	if reflect.DeepEqual(before, after) {
		return nil
	}
	return errors.New("the engine changed its input")
}

func (p *probe) threshold() error {
	var errs []error
	for _, trust := range []int{0, 10, 39, 40, 41, 100} {
		if err := p.definite(AllowTrusted, Input(trust), trust >= 40); err != nil {
			errs = append(errs, fmt.Errorf("trust %d: %w", trust, err))
		}
	}
	return errors.Join(errs...)
}

func (p *probe) denial() error { return p.definite(DenyAll, Input(100), false) }

// nested shows that the engine sees the document's nested members, and that their values are data in it.
func (p *probe) nested() error {
	errs := []error{p.definite(AllowWorkload, Input(100), true)}
	for _, workload := range []string{
		"spiffe://example.org/other", "", Workload + "/", strings.ToUpper(Workload), `*`,
		`" || true || "`, `") || true || ("`, `"; true; "`, Workload + "\x00", Workload + "\n",
	} {
		in := Input(100)
		in.Subject.Workload = workload
		if err := p.definite(AllowWorkload, in, false); err != nil {
			errs = append(errs, fmt.Errorf("workload %q: %w", workload, err))
		}
	}
	return errors.Join(errs...)
}

func (p *probe) indefinite(name string) error {
	return p.refused(context.Background(), name, Input(100), policy.ErrIndefinite)
}

func (p *probe) unknown() error {
	if p.UnknownDenies {
		decision, err, bad := p.ask(context.Background(), Missing, Input(100))
		if err == nil && decision.Allow {
			bad = errors.Join(bad, errors.New("allowed"))
		}
		return about(Missing, bad)
	}
	// A case or a segment more or less is another policy.
	var errs []error
	for _, name := range []string{Missing, "kest", "missing/policy", "Kest/Allow_Trusted", AllowTrusted + "/x"} {
		errs = append(errs, p.refused(context.Background(), name, Input(100), policy.ErrUnknownPolicy, policy.ErrIndefinite))
	}
	return errors.Join(errs...)
}

// HostileNames returns policy names that every engine must refuse before it does any I/O.
func HostileNames() []string {
	return []string{
		"", ".", "..", "/", "//", "../kest/allow_trusted", "kest/../kest/allow_trusted", "kest/./allow_trusted",
		"kest//allow_trusted", "/kest/allow_trusted", "kest/allow_trusted/", "kest/allow_trusted/..",
		"kest%2fallow_trusted", "kest/%2e%2e/kest/allow_trusted", `kest\allow_trusted`, `kest/..\allow_trusted`,
		`kest/"allow_trusted"`, `kest/'allow_trusted'`, "kest/`allow_trusted`", `kest/allow_trusted"]`,
		"kest/allow_trusted\n", "kest/\r\nHost: x", "kest/allow_trusted\x00", " kest/allow_trusted", "kest/allow trusted",
		"kest/allow_trusted?pretty", "kest/allow_trusted#x", "kest/allow_trusted;x", "kest/allow_trusted,x",
		"http://example.org/v1/data/kest", "kest:allow_trusted", "kest/*", "kest/[x]", "kest/{x}",
		"kest/\uff41llow_trusted", "kest/all\u00f6w", "kest/\xff", "kest/\u202eallow",
		strings.Repeat("a", policy.MaxName+1), strings.Repeat("a/", 5<<10) + "a",
	}
}

func (p *probe) hostileNames() error {
	before := p.requests()
	var errs []error
	for _, name := range HostileNames() {
		errs = append(errs, p.refused(context.Background(), name, Input(100)))
	}
	if n := p.requests() - before; n != 0 {
		errs = append(errs, fmt.Errorf("%d requests went out for names that must not leave the process", n))
	}
	return errors.Join(errs...)
}

func (p *probe) requests() int {
	if p.Requests == nil {
		return 0
	}
	return p.Requests()
}

// noInput: a nil input is a mistake of the caller, which must neither crash nor allow.
func (p *probe) noInput() error { return p.refused(context.Background(), AllowTrusted, nil) }

func (p *probe) cancelledBefore() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return p.refused(ctx, AllowTrusted, Input(100), context.Canceled)
}

func (p *probe) deadlineBefore() error {
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	return p.refused(ctx, AllowTrusted, Input(100), context.DeadlineExceeded)
}

func (p *probe) cancelledDuring() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer time.AfterFunc(100*time.Millisecond, cancel).Stop()
	return p.stopped(ctx, context.Canceled)
}

func (p *probe) deadlineDuring() error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	return p.stopped(ctx, context.DeadlineExceeded)
}

// stopped asks the slow policy and expects it to end with ctx.
func (p *probe) stopped(ctx context.Context, cause error) error {
	in, start := Input(100), time.Now()
	err := p.refused(ctx, Slow, in, cause)
	if took := time.Since(start); took > patience {
		err = errors.Join(err, fmt.Errorf("returned after %v; the context ended after 100ms", took))
	}
	in.TrustScore = 0 // the input is ours again: under -race this catches an engine that still reads it
	in.Attributes["late"] = true
	return err
}

// checker: what Check accepts can be evaluated, and what it refuses cannot.
func (p *probe) checker() error {
	c, ok := p.engine.(policy.Checker)
	if !ok {
		return nil
	}
	var errs []error
	for _, name := range []string{AllowTrusted, DenyAll} {
		errs = append(errs, about(name, c.Check(name)))
	}
	for _, name := range append(HostileNames(), Missing) {
		if name == Missing && p.UnknownDenies {
			continue
		}
		if c.Check(name) == nil {
			errs = append(errs, about(name, errors.New("accepted by Check")))
		}
	}
	return errors.Join(errs...)
}

// concurrency shares one input per score among goroutines: each must get the answer for its own score.
func (p *probe) concurrency() error {
	const workers, rounds = 8, 20
	high, low := Input(40), Input(39)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range rounds {
				in := low
				if w%2 == 0 {
					in = high
				}
				if errs[w] = p.definite(AllowTrusted, in, w%2 == 0); errs[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
