package lineage_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

// ruleCase is a lineage in which each entry has the trust and taints that SPEC §6 gives; the last one is shown.
type ruleCase struct {
	name   string
	calls  []call  // each the child of the parents in the same place
	of     [][]int // parents, by index
	trust  int
	taints string
}

// F-TS-03…06 (SPEC §6), as signed and as verified.
func TestTrustRules(t *testing.T) {
	checkRules(t, []ruleCase{
		{"F-TS-03 a root has the score of its source type", []call{{source: "verified_rag"}}, [][]int{nil}, 90, ""},
		{"F-TS-03 a root of an llm has none", []call{{source: "llm"}}, [][]int{nil}, 0, ""},
		{"F-TS-04 the weakest direct parent counts", []call{{source: "internal"}, {source: "user_input"}, {source: "verified_rag"}, {source: "third_party_api"}},
			[][]int{nil, {0}, {0}, {1, 2}}, 24, ""},
		{"F-TS-04 integers only, rounded down at each step", []call{{source: "user_input"}, {source: "user_input"}, {source: "user_input"}, {source: "user_input"}},
			[][]int{nil, {0}, {1}, {2}}, 2, ""}, // 40, 16, 6, 2
		{"F-TS-05 trust never grows by itself", []call{{source: "internet"}, {source: "system"}, {source: "system"}}, [][]int{nil, {0}, {1}}, 10, ""},
		{"F-TS-06 an override sets the score", []call{{source: "internet"}, {override: "77"}}, [][]int{nil, {0}}, 77, ""},
		{"F-TS-06 an override may lower it", []call{{source: "internal"}, {override: "0"}}, [][]int{nil, {0}}, 0, ""},
		{"F-TS-06 an override holds for descendants", []call{{source: "internet"}, {override: "80"}, {source: "verified_rag"}}, [][]int{nil, {0}, {1}}, 72, ""},
		{"F-TS-06 but not past another parent", []call{{source: "internet"}, {override: "80"}, {}}, [][]int{nil, {0}, {0, 1}}, 10, ""},
	})
}

// F-TT-01…06 (SPEC §6), as signed and as verified.
func TestTaintRules(t *testing.T) {
	a, b := []string{"a"}, []string{"b"}
	checkRules(t, []ruleCase{
		{"F-TT-01 a call adds taints", []call{{add: []string{"b", "a"}}}, [][]int{nil}, 100, "a b"},
		{"F-TT-02 taints are inherited", []call{{add: a}, {}, {}}, [][]int{nil, {0}, {1}}, 100, "a"},
		{"F-TT-03 from all parents", []call{{}, {add: a}, {add: b}, {}}, [][]int{nil, {0}, {0}, {1, 2}}, 100, "a b"},
		{"F-TT-04 sorted and unique", []call{{add: b}, {add: []string{"a", "b"}}}, [][]int{nil, {0}}, 100, "a b"},
		{"F-TT-05 a sanitizer removes", []call{{add: []string{"a", "b"}}, {remove: b, sanitizer: "s"}}, [][]int{nil, {0}}, 100, "a"},
		{"F-TT-05 an override removes", []call{{add: []string{"a", "b"}}, {remove: b, override: "100"}}, [][]int{nil, {0}}, 100, "a"},
		{"F-TT-05 removal beats addition", []call{{}, {add: a, remove: a, sanitizer: "s"}}, [][]int{nil, {0}}, 100, ""},
		{"F-TT-06 removal holds for descendants", []call{{add: a}, {remove: a, sanitizer: "s"}, {}}, [][]int{nil, {0}, {1}}, 100, ""},
		{"F-TT-06 but not past another parent", []call{{add: a}, {remove: a, sanitizer: "s"}, {}}, [][]int{nil, {0}, {0, 1}}, 100, "a"},
	})
}

func checkRules(t *testing.T, cases []ruleCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var entries []*lineage.Signed
			for i, what := range c.calls {
				var parents []*lineage.Signed
				for _, p := range c.of[i] {
					parents = append(parents, entries[p])
				}
				what.n, what.by = i, []string{web, pay, agent}[i%3]
				entries = append(entries, sign(t, what, parents...))
			}
			last := len(entries) - 1
			p, _ := accepted(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: jwsOf(entries...)})
			if e := p.Last().Entry(); e.TrustScore != c.trust || strings.Join(e.Taints, " ") != c.taints {
				t.Errorf("trust %d, taints %q; want %d, %q", e.TrustScore, e.Taints, c.trust, c.taints)
			}
			// The same entry with any other score or taints is refused.
			e := entries[last].Entry()
			e.TrustScore = (e.TrustScore + 1) % 101
			refuseInstead(t, entries, e, lineage.TrustMismatch)
			e = entries[last].Entry()
			e.Taints = append(slices.Clone(e.Taints), "zz")
			refuseInstead(t, entries, e, lineage.TaintMismatch)
		})
	}
}

// refuseInstead verifies the entries with e in the place of the last one.
func refuseInstead(t *testing.T, entries []*lineage.Signed, e lineage.Entry, reason lineage.Reason) {
	t.Helper()
	last := len(entries) - 1
	s, err := lineage.Sign(t.Context(), signerOf(t, e.Principal()), e, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: append(jwsOf(entries[:last]...), s.JWS())}, reason, last)
}

// F-AE-01…13: every member of an entry that uses all of them comes back as it was signed.
func TestEntryRoundTrip(t *testing.T) {
	environment, err := lineage.NewObject(map[string]any{"region": "eu", "n": 1.5, "deep": map[string]any{"list": []int{1, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	root := sign(t, call{n: 1, add: []string{"x"}})
	e := draft(t, call{n: 2, by: pay, op: "pay \"now\"\n\u2028é\U0001f600", add: []string{"a", "ä"}, remove: []string{"x"}, override: "55", sanitizer: "s",
		labels: map[string]string{"team": "core", "\U0001f600": "emoji before \uffff", "\uffff": ""},
		edit: func(e *lineage.Entry) {
			e.Classification, e.Environment, e.OTelContext = "data", environment, `{"traceparent":"00-x"}`
			e.Policies = lineage.PolicyContext{Enterprise: []string{"z", "a"}, Platform: []string{"p"}, Application: []string{"q"}, Function: []string{"f"},
				Deviations: []lineage.Deviation{{Policy: "z", Tier: "enterprise", Reason: "outage", Approver: "alice"}, {Policy: "p", Tier: "platform"}}}
			e.ContentHash = strings.Repeat("cd", 32)
		}}, root)
	s, err := lineage.Sign(t.Context(), signerOf(t, pay), e, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	p, _ := accepted(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: jwsOf(root, s)})
	got := p.Last().Entry()
	again, err := lineage.Sign(t.Context(), signerOf(t, pay), got, lineage.Limits{})
	if err != nil || again.JWS() != s.JWS() || p.Last().Hash() != s.Hash() || p.Last().KeyID() != lineage.Thumbprint(publicKey(pay)) {
		t.Errorf("read %+v, %v", got, err)
	}
	if got.Operation != e.Operation || got.Policies.Enterprise[0] != "z" || got.Policies.Deviations[0].Approver != "alice" || got.Environment != environment ||
		got.Labels["team"] != "core" || got.TimestampMS != e.TimestampMS || got.Sanitizer() != "s" || got.Extra != "" {
		t.Errorf("read %+v", got)
	}
}
