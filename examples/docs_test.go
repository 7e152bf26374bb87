package examples_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/local"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/rego"
	"github.com/kest-go/kest/telemetry"
)

// The Go snippets of docs/policies.md and docs/explaining.md stand in this file, which compiles and runs, line for line.
func TestDocSnippets(t *testing.T) {
	source, err := os.ReadFile("docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"policies.md", "explaining.md"} {
		found := blocks(t, page, "go")
		for i, snippet := range found {
			if !strings.Contains(flat(string(source)), flat(snippet)) {
				t.Errorf("%s: snippet %d is not in docs_test.go:\n%s", page, i, snippet)
			}
		}
		if len(found) < 2 {
			t.Errorf("%s: %d snippets", page, len(found))
		}
	}
}

// The policies of docs/policies.md are the ones here, which compile and read nothing that an input does not have.
func TestDocPolicies(t *testing.T) {
	if _, err := (rego.Config{CheckInput: true}).Dir("policies"); err != nil {
		t.Fatal(err)
	}
	shown := blocks(t, "policies.md", "rego")
	for i, name := range []string{"limit.rego", "checked.rego"} {
		text, err := os.ReadFile("policies/payments/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if i >= len(shown) || !strings.HasSuffix(string(text), shown[i]) {
			t.Errorf("docs/policies.md shows another policy than policies/payments/%s", name)
		}
	}
}

func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, part := range strings.Split(string(text), "```"+language+"\n")[1:] {
		block, _, closed := strings.Cut(part, "```")
		if !closed {
			t.Fatalf("%s: unclosed code block", page)
		}
		found = append(found, block)
	}
	return found
}

// What docs/policies.md shows of a call with an object and attributes.
func Example_attributes() {
	slog.SetDefault(quiet)
	engine, err := rego.Dir("policies") // policies/payments/limit.rego
	if err != nil {
		log.Fatal(err)
	}
	guard, err := kest.New(kest.Config{Engine: engine})
	if err != nil {
		log.Fatal(err)
	}
	pay, err := kest.Verified(guard, processPayment,
		kest.Operation("payment.pay"),
		kest.Policy("payments/limit"),
		kest.ResourceFrom(func(_ context.Context, p Payment) (string, error) { return "order/" + p.Order, nil }),
		kest.ResourceAttributesFrom(func(_ context.Context, p Payment) (map[string]any, error) {
			return map[string]any{"amount": p.Amount}, nil
		}))
	if err != nil {
		log.Fatal(err)
	}
	_, err = pay(context.Background(), Payment{Order: "1", Amount: 5})
	fmt.Println(err)
	_, err = pay(context.Background(), Payment{Order: "2", Amount: 5000})
	var denied *kest.DeniedError
	fmt.Println(errors.As(err, &denied))
	// Output:
	// <nil>
	// true
}

// What docs/policies.md shows of a deviation.
func exampleDeviation(approvers lineage.KeySource, end time.Time) kest.Config {
	config :=
		kest.Config{
			Enterprise: []string{"baseline-auth"},
			Deviations: []policy.Deviation{{
				Policy: "baseline-auth", Tier: policy.Enterprise, Scope: "reports.*",
				Reason: "INC-4711", Approver: "ciso@example.org", NotAfter: end,
				Signature: "eyJhbGciOiJFZERTQSIs…", // by the approver; see below
			}},
			Approvers:       approvers, // keys by name
			RequireApproval: true,
		}
	return config
}

// A signature that is none is refused when the guard is made.
func TestDocDeviation(t *testing.T) {
	c := exampleDeviation(&lineage.KeySet{}, time.Now().Add(time.Hour))
	c.Engine = policy.InsecureAllowAll(quiet)
	if _, err := kest.New(c); err == nil || !strings.Contains(err.Error(), "baseline-auth") {
		t.Error(err)
	}
}

// What docs/explaining.md shows of the records that kest why reads.

// audit appends what kest why reads to a file.
type audit struct {
	mu   sync.Mutex
	file *os.File
}

func (a *audit) Record(_ context.Context, r telemetry.Record) error {
	line, err := json.Marshal(map[string]string{"kind": string(r.Kind), "jws": r.JWS})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err = a.file.Write(append(line, '\n'))
	return err
}

func Example_audit() {
	slog.SetDefault(quiet)
	file, err := os.CreateTemp("", "audit-*.jsonl")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(file.Name())
	identity, err := local.New(local.Config{})
	if err != nil {
		log.Fatal(err)
	}
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{identity.Principal(): {identity.PublicKey()}})
	if err != nil {
		log.Fatal(err)
	}
	text, err := keys.AppendJSON(nil) // keys.json
	if err != nil {
		log.Fatal(err)
	}
	guard, err := kest.New(kest.Config{Engine: policy.InsecureAllowAll(quiet), Identity: identity, Sink: &audit{file: file}})
	if err != nil {
		log.Fatal(err)
	}
	pay, err := kest.Verified(guard, processPayment, kest.Policy("kest/allow_trusted"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := pay(context.Background(), Payment{Order: "1"}); err != nil {
		log.Fatal(err)
	}
	written, err := os.ReadFile(file.Name())
	if err != nil {
		log.Fatal(err)
	}
	_, err = lineage.ParseKeySet(text)
	fmt.Println(strings.Count(string(written), "\n"), "records, keys:", err)
	// Output: 2 records, keys: <nil>
}
