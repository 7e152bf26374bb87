package why_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/why"
	"github.com/kest-go/kest/lineage"
)

// lab signs small lineages. Operations name their entries.
type lab struct {
	t       *testing.T
	records why.Records
	entries map[string]*why.Record
	signers map[string]lineage.Signer
	n       int
	fake    bool // signatures: nothing here checks them, and real ones take time
}

func newLab(t *testing.T) *lab {
	return &lab{t: t, records: why.Records{}, entries: map[string]*why.Record{}, signers: map[string]lineage.Signer{}}
}

// call is what an entry differs by.
type call struct {
	from           string // source type; internal by default
	override       string
	add, remove    []string
	sanitizer      string
	score          *int // claimed in spite of the rules
	labels         map[string]string
	policies       []string
	deviations     []lineage.Deviation
	principal      string
	parents        string // operations, by spaces
	unknownParents int
}

const trace = "0af7651916cd43dd8448eb211c80319c"

// entry makes an entry by the rules of SPEC §6.
func (l *lab) entry(operation string, c call) lineage.Entry {
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "0.1.0"}, Operation: operation, Classification: "system",
		ID: fmt.Sprintf("01900000-0000-7000-8000-%012x", l.n), TimestampMS: 1_795_000_000_000,
		AddedTaints: c.add, RemovedTaints: c.remove,
		Labels:   map[string]string{lineage.LabelPrincipal: "spiffe://td/w", lineage.LabelTraceID: trace, lineage.LabelSourceType: lineage.SourceInternal},
		Policies: lineage.PolicyContext{Function: c.policies, Deviations: c.deviations},
	}
	l.n++
	maps.Copy(e.Labels, c.labels)
	for name, value := range map[string]string{
		lineage.LabelSourceType: c.from, lineage.LabelTrustOverride: c.override, lineage.LabelSanitizer: c.sanitizer, lineage.LabelPrincipal: c.principal,
	} {
		if value != "" {
			e.Labels[name] = value
		}
	}
	var scores []int
	var taints [][]string
	for parent := range strings.FieldsSeq(c.parents) {
		p := l.entries[parent]
		if p == nil {
			l.t.Fatalf("%s: no parent %s", operation, parent)
		}
		e.Parents = append(e.Parents, p.Hash)
		scores, taints = append(scores, p.Entry.TrustScore), append(taints, p.Entry.Taints)
	}
	for i := range c.unknownParents {
		e.Parents = append(e.Parents, lineage.HashJWS(fmt.Sprint("unknown", i)))
	}
	self, _ := lineage.Origins{}.Score(e.SourceType())
	if e.TrustScore = (lineage.Attenuate{}).Trust(self, scores); c.override != "" {
		e.TrustScore, _, _ = e.TrustOverride()
	}
	if c.score != nil {
		e.TrustScore = *c.score
	}
	e.Taints = lineage.MergeTaints(taints, c.add, c.remove)
	return e
}

func key(principal string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(principal))
	return ed25519.NewKeyFromSeed(seed[:])
}

type unsigned struct{ lineage.Signer }

func (unsigned) Sign(context.Context, []byte) ([]byte, error) {
	return make([]byte, ed25519.SignatureSize), nil
}

// sign signs an entry, and keeps it.
func (l *lab) sign(operation string, c call) *why.Record {
	l.t.Helper()
	e := l.entry(operation, c)
	signer := l.signers[e.Principal()]
	if signer == nil {
		var err error
		if signer, err = lineage.NewSigner(e.Principal(), key(e.Principal())); err != nil {
			l.t.Fatal(err)
		}
		l.signers[e.Principal()] = signer
	}
	if l.fake {
		signer = unsigned{signer}
	}
	signed, err := lineage.Sign(l.t.Context(), signer, e, lineage.Limits{})
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := l.records.Add(signed.JWS(), lineage.Limits{})
	if err != nil {
		l.t.Fatal(err)
	}
	l.entries[operation] = r
	return r
}

func (l *lab) of(operation string) *why.Case {
	return why.Of(l.entries[operation], l.records, why.Rules{})
}

// denied is the case of a call that a policy of the function tier refused.
func (l *lab) denied(operation, policy string, c call) *why.Case {
	return why.OfDenial(lineage.Denial{Entry: l.entry(operation, c), Policy: policy, Tier: "function", Reason: "too low"}, l.records, why.Rules{})
}

func operations(refs []why.Ref) string {
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = r.Operation
	}
	return strings.Join(names, " ")
}

// passport is the verified form of everything that was signed, in the order of signing.
func (l *lab) passport() lineage.Passport {
	l.t.Helper()
	keys := map[string][]ed25519.PublicKey{}
	var u lineage.Unverified
	for _, r := range slices.SortedFunc(maps.Values(l.records), func(a, b *why.Record) int { return a.Pos - b.Pos }) {
		keys[r.Entry.Principal()] = []ed25519.PublicKey{key(r.Entry.Principal()).Public().(ed25519.PublicKey)}
		u.Entries = append(u.Entries, r.JWS)
	}
	return l.verify(keys, u)
}

func (l *lab) verify(keys map[string][]ed25519.PublicKey, u lineage.Unverified) lineage.Passport {
	l.t.Helper()
	set, err := lineage.NewKeySet(keys)
	if err != nil {
		l.t.Fatal(err)
	}
	v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: set})
	if err != nil {
		l.t.Fatal(err)
	}
	p, _, err := v.Verify(l.t.Context(), u)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}
