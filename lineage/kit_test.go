package lineage_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kest-go/kest/lineage"
)

// The principals of the tests. Their keys are made from their names, so every signature is the same in every run.
const (
	web     = "spiffe://example.org/web"
	pay     = "spiffe://example.org/payments"
	agent   = "spiffe://example.org/agents/planner"
	python  = "python-service"            // writes entries as SPEC §15 describes them
	unknown = "spiffe://evil.example/web" // has a key that no key set names
)

const (
	traceA = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceB = "0af7651916cd43dd8448eb211c80319c"
)

func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("kest lineage test key: " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(name string) ed25519.PublicKey { return privateKey(name).Public().(ed25519.PublicKey) }

func signerOf(t testing.TB, name string) lineage.Signer {
	t.Helper()
	s, err := lineage.NewSigner(name, privateKey(name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keySet(t testing.TB, names ...string) *lineage.KeySet {
	t.Helper()
	if len(names) == 0 {
		names = []string{web, pay, agent, python}
	}
	keys := map[string][]ed25519.PublicKey{}
	for _, name := range names {
		keys[name] = []ed25519.PublicKey{publicKey(name)}
	}
	set, err := lineage.NewKeySet(keys)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// newVerifier fills in the key set of all test principals.
func newVerifier(t testing.TB, c lineage.VerifierConfig) *lineage.Verifier {
	t.Helper()
	if c.Keys == nil {
		c.Keys = keySet(t)
	}
	v, err := lineage.NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func entryID(n int) string { return fmt.Sprintf("0199f0a5-8a11-7c31-8000-%012x", n) }

// A call is what decides an entry. The zero value is a call by web with source type internal in trace A.
type call struct {
	n                     int // makes the entry id
	by, source, trace, op string
	add, remove           []string
	override, sanitizer   string // labels
	joined                string
	labels                map[string]string // more of them
	edit                  func(*lineage.Entry)
}

// draft makes the entry that an honest signer would sign: trust and taints follow SPEC §6.
func draft(t testing.TB, c call, parents ...*lineage.Signed) lineage.Entry {
	t.Helper()
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "v0.1.0"}, ID: entryID(c.n),
		Operation: or(c.op, "test.Call"), Classification: "system",
		AddedTaints: slices.Sorted(slices.Values(c.add)), RemovedTaints: slices.Sorted(slices.Values(c.remove)),
		Labels: map[string]string{
			lineage.LabelPrincipal: or(c.by, web), lineage.LabelTraceID: or(c.trace, traceA),
			lineage.LabelSourceType: or(c.source, lineage.SourceInternal),
		},
		InputHash: strings.Repeat("0a", 32), TimestampMS: 1795000000000 + int64(c.n),
	}
	for label, value := range map[string]string{
		lineage.LabelTrustOverride: c.override, lineage.LabelSanitizer: c.sanitizer, lineage.LabelJoined: c.joined,
	} {
		if value != "" {
			e.Labels[label] = value
		}
	}
	maps.Copy(e.Labels, c.labels)
	var scores []int
	var taints [][]string
	for _, p := range parents {
		e.Parents = append(e.Parents, p.Hash())
		scores, taints = append(scores, p.Entry().TrustScore), append(taints, p.Entry().Taints)
	}
	self, _ := lineage.Origins{}.Score(e.SourceType())
	e.TrustScore = lineage.Attenuate{}.Trust(self, scores)
	if score, present, err := e.TrustOverride(); present && err == nil {
		e.TrustScore = score
	}
	e.Taints = lineage.MergeTaints(taints, e.AddedTaints, e.RemovedTaints)
	if c.edit != nil {
		c.edit(&e)
	}
	return e
}

func sign(t testing.TB, c call, parents ...*lineage.Signed) *lineage.Signed {
	t.Helper()
	e := draft(t, c, parents...)
	s, err := lineage.Sign(t.Context(), signerOf(t, e.Principal()), e, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// chain makes n entries, each the child of the one before.
func chain(t testing.TB, n int) []*lineage.Signed {
	t.Helper()
	out := make([]*lineage.Signed, 0, n)
	for i := range n {
		var parents []*lineage.Signed
		if i > 0 {
			parents = out[i-1:]
		}
		out = append(out, sign(t, call{n: i, by: []string{web, pay, agent}[i%3], op: fmt.Sprintf("step.%d", i)}, parents...))
	}
	return out
}

func jwsOf(entries ...*lineage.Signed) []string {
	out := make([]string, len(entries))
	for i, s := range entries {
		out[i] = s.JWS()
	}
	return out
}

func passportOf(t testing.TB, entries ...*lineage.Signed) lineage.Passport {
	t.Helper()
	var p lineage.Passport
	var err error
	for _, s := range entries {
		if p, err = p.Append(s); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

const plainHeader = `{"alg":"EdDSA","typ":"JWS"}`

// seal signs any payload under any header with a key of the tests: what is wrong with it is not its signature.
func seal(name, header, payload string) string {
	return sealSegments(name, b64([]byte(header)), b64([]byte(payload)))
}

func sealSegments(name, header, payload string) string {
	input := header + "." + payload
	return input + "." + b64(ed25519.Sign(privateKey(name), []byte(input)))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// payloadOf is the canonical payload of an entry.
func payloadOf(t testing.TB, jws string) string {
	t.Helper()
	parts := strings.Split(jws, ".")
	if len(parts) != 3 {
		t.Fatalf("not a compact JWS: %.40s", jws)
	}
	out, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// replaced fails when there is nothing to replace, so that an attack cannot turn into no attack.
func replaced(t testing.TB, s, old, new string) string {
	t.Helper()
	if !strings.Contains(s, old) {
		t.Fatalf("%q is not in %.400s", old, s)
	}
	return strings.Replace(s, old, new, 1)
}

// refused holds a verification to one failure and to everything that must hold of every failure.
func refused(t testing.TB, v *lineage.Verifier, u lineage.Unverified, reason lineage.Reason, index int) *lineage.VerifyError {
	t.Helper()
	p, report, err := v.Verify(t.Context(), u)
	return checkRefusal(t, p, report, err, len(u.Entries), reason, index)
}

func checkRefusal(t testing.TB, p lineage.Passport, report *lineage.Report, err error, n int, reason lineage.Reason, index int) *lineage.VerifyError {
	t.Helper()
	var f *lineage.VerifyError
	if !errors.As(err, &f) || !errors.Is(err, lineage.ErrUnverified) {
		t.Fatalf("got %v, want a *VerifyError for %q at %d", err, reason, index)
	}
	if f.Reason != reason || f.Index != index {
		t.Errorf("got %v (reason %q, index %d), want %q at %d", err, f.Reason, f.Index, reason, index)
	}
	if p.Len() != 0 || report == nil || report.Valid() || report.Failure != f || report.Passport.Len() != 0 {
		t.Errorf("a refused passport of %d entries comes with report %+v", p.Len(), report)
	}
	if errors.Is(err, lineage.ErrLimit) != (f.Reason == lineage.Limit) {
		t.Errorf("%v: is ErrLimit: %v", err, errors.Is(err, lineage.ErrLimit))
	}
	if len(err.Error()) > 1500 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		t.Errorf("error text %q", err.Error())
	}
	checkReport(t, report, f, n)
	return f
}

// checkReport holds the lines of a failure's report to the failure.
func checkReport(t testing.TB, report *lineage.Report, f *lineage.VerifyError, n int) {
	t.Helper()
	lines := report.Entries()
	if f.Index >= 0 && len(lines) != n {
		t.Errorf("report has %d lines for %d entries", len(lines), n)
	}
	for i, line := range lines {
		want := lineage.Unchecked
		switch {
		case i == f.Index:
			want = lineage.Failed
		case i < f.Index:
			want = lineage.Valid
		}
		if line.Index != i || line.Status != want {
			t.Errorf("line %d says entry %d is %s, want %s", i, line.Index, line.Status, want)
		}
		if i == f.Index && f.EntryID != line.ID {
			t.Errorf("failure names entry %q, its line %q", f.EntryID, line.ID)
		}
	}
	raw, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Valid   *bool
		Failure *struct {
			Reason lineage.Reason
			Index  int
		}
		Entries, Tips, Notes []any
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	if out.Valid == nil || *out.Valid || out.Failure == nil || out.Failure.Reason != f.Reason || out.Failure.Index != f.Index ||
		out.Entries == nil || out.Tips == nil || out.Notes == nil || len(out.Entries) != len(lines) {
		t.Errorf("report in JSON: %s", raw)
	}
}

// accepted holds a verification to success.
func accepted(t testing.TB, v *lineage.Verifier, u lineage.Unverified) (lineage.Passport, *lineage.Report) {
	t.Helper()
	p, report, err := v.Verify(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Valid() || report.Failure != nil || p.Len() != len(u.Entries) || !slices.Equal(p.Entries(), u.Entries) {
		t.Fatalf("accepted %d of %d entries, report %+v", p.Len(), len(u.Entries), report)
	}
	for i, line := range report.Entries() {
		if line.Index != i || line.Status != lineage.Valid {
			t.Errorf("line %d of a good passport: %+v", i, line)
		}
	}
	return p, report
}

// countingKeys counts the questions that reach a key source.
type countingKeys struct {
	lineage.KeySource
	asked atomic.Int64
}

func (k *countingKeys) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	k.asked.Add(1)
	return k.KeySource.Keys(ctx, principal, keyID)
}

// countingBatch is a batch verifier with the answers of the standard library.
type countingBatch struct{ calls, items atomic.Int64 }

func (b *countingBatch) VerifyBatch(keys []ed25519.PublicKey, messages, signatures [][]byte, ok []bool) {
	b.calls.Add(1)
	b.items.Add(int64(len(keys)))
	for i := range keys {
		ok[i] = ed25519.Verify(keys[i], messages[i], signatures[i])
	}
}

// keyFunc is a key source made of a function.
type keyFunc func(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error)

func (f keyFunc) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	return f(ctx, principal, keyID)
}
