package policy_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

const payments = "spiffe://example.org/payments"

// policies are those of the table, by name, and the shared ones.
func policies() map[string]source {
	all := map[string]source{}
	for name, s := range shared {
		all[name] = s
	}
	for i, r := range table {
		name := rowName(i)
		s := source{rego: r.rego, cedar: r.cedar}
		if !strings.HasPrefix(s.rego, "\n") {
			s.rego = "default allow := false\n\nallow if {\n\t" + s.rego + "\n}\n"
		}
		if !strings.HasPrefix(s.cedar, "\n") {
			s.cedar = permit(name, s.cedar)
		}
		s.rego = "package " + strings.ReplaceAll(name, "/", ".") + "\n\n" + s.rego
		s.cedar = strings.ReplaceAll(s.cedar, `Action::"ROW"`, `Action::"`+name+`"`)
		all[name] = s
	}
	return all
}

func rowName(i int) string { return fmt.Sprintf("matrix/r%02d", i) }

// TestMatrix asks the same of every engine, through the guard. The body runs exactly for what must be allowed.
func TestMatrix(t *testing.T) {
	if len(table) < 40 {
		t.Fatalf("the table lost rows: %d are left", len(table))
	}
	verifier := newVerifier(t)
	for _, c := range contenders(t, policies()) {
		t.Run(c.name, func(t *testing.T) {
			for i := range table {
				want := table[i].want
				if other, ok := table[i].differs[c.name]; ok {
					want = other
				}
				if want != "allow" {
					by := table[i].by
					if by == "" {
						by = "function " + rowName(i)
					}
					want += " by " + by
				}
				if got := play(t, c.engine, i, verifier); got != want {
					t.Errorf("%s: %s; want %s", table[i].name, got, want)
				}
			}
		})
	}
}

// play makes the calls of a row with an engine, and says what came of the last one.
func play(t *testing.T, engine policy.Engine, i int, verifier *lineage.Verifier) string {
	t.Helper()
	r := &table[i]
	if r.unchecked {
		engine = struct{ policy.Engine }{engine}
	}
	c := kest.Config{Engine: engine, Identity: identitytest.New(payments), Logger: slog.New(slog.DiscardHandler), PolicyTimeout: patient}
	plain, err := kest.New(c)
	if err == nil && r.config != nil {
		r.config(&c)
	}
	guard, err2 := kest.New(c)
	if err := errors.Join(err, err2); err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	ctx, _ := kest.StartSession(t.Context())
	for _, d := range r.past {
		f, err := kest.Verified(plain, func(context.Context, struct{}) (struct{}, error) {
			if d.fails {
				return struct{}{}, errors.New("no")
			}
			return struct{}{}, nil
		}, append([]kest.Option{kest.Operation(d.operation), kest.Policy(anyPolicy)}, d.with...)...)
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		if _, err := f(ctx, struct{}{}); (err != nil) != d.fails {
			t.Fatalf("%s: %s: %v", r.name, d.operation, err)
		}
	}
	var passport lineage.Passport
	f, err := kest.Verified(guard, func(ctx context.Context, _ struct{}) (struct{}, error) {
		passport = kest.CurrentPassport(ctx)
		return struct{}{}, nil
	}, append([]kest.Option{kest.Operation("pay"), kest.Policy(rowName(i))}, r.with...)...)
	if err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	_, err = f(ctx, struct{}{})
	if passport.Len() > 0 {
		return ran(t, r, verifier, passport, err)
	}
	return denied(t, verifier, err)
}

// ran is the outcome of a call whose body ran. Its lineage must verify.
func ran(t *testing.T, r *row, verifier *lineage.Verifier, p lineage.Passport, err error) string {
	t.Helper()
	if err != nil {
		return fmt.Sprintf("the body ran beside %v", err)
	}
	text, err := p.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	u, err := lineage.ParsePassport(text, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if verified, _, err := verifier.Verify(t.Context(), u); err != nil || verified.Len() != len(r.past)+1 {
		t.Errorf("%s: %d entries, %v", r.name, verified.Len(), err)
	}
	return "allow"
}

// denied classes the error of a call whose body did not run, and names the policy that its signed record names.
func denied(t *testing.T, verifier *lineage.Verifier, err error) string {
	t.Helper()
	d, ok := errors.AsType[*kest.DeniedError](err)
	if !ok {
		return fmt.Sprintf("no denial: %v", err)
	}
	record, err := verifier.VerifyDenial(t.Context(), d.Record)
	if err != nil || record.Policy != d.Policy || record.Tier != string(d.Tier) {
		t.Errorf("%v: the record says %s %s (%v)", d, record.Tier, record.Policy, err)
	}
	return class(t, d.Err) + " by " + string(d.Tier) + " " + d.Policy
}

// class names the class of an engine's error; nil is a definite denial.
func class(t *testing.T, err error) string {
	t.Helper()
	var found []string
	for name, class := range map[string]error{"unknown": policy.ErrUnknownPolicy, "unavailable": policy.ErrUnavailable, "indefinite": policy.ErrIndefinite} {
		if errors.Is(err, class) {
			found = append(found, name)
		}
	}
	if err == nil {
		return "denied"
	}
	if len(found) != 1 {
		t.Errorf("%v is of the classes %q", err, found)
	}
	slices.Sort(found)
	return strings.Join(found, "+")
}

// newVerifier lets payments do everything.
func newVerifier(t testing.TB) *lineage.Verifier {
	t.Helper()
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{payments: identitytest.New(payments).PublicKeys()})
	if err != nil {
		t.Fatal(err)
	}
	v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys, Authority: &lineage.Authority{Grants: []lineage.Grant{
		{Principal: payments, Originate: []string{"*"}, OverrideTrust: 100, RemoveTaints: []string{"*"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}
