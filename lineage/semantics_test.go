package lineage_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

// TC-04: internet then internal gives 10. F-TS-03: the floor of min(parents) × self / 100.
func TestTC04TrustIsAttenuated(t *testing.T) {
	for _, c := range []struct{ self, parent, want int }{
		{100, 10, 10}, {40, 90, 36}, {60, 90, 54}, {90, 90, 81}, {0, 100, 0}, {100, 0, 0}, {1, 99, 0}, {99, 99, 98}, {100, 100, 100},
	} {
		if got := (lineage.Attenuate{}).Trust(c.self, []int{c.parent}); got != c.want {
			t.Errorf("%d under a parent of %d: %d, want %d", c.self, c.parent, got, c.want)
		}
	}
	root := sign(t, call{n: 0, source: lineage.SourceInternet})
	child := sign(t, call{n: 1, by: pay}, root)
	if root.Entry().TrustScore != 10 || child.Entry().TrustScore != 10 {
		t.Errorf("scores %d and %d", root.Entry().TrustScore, child.Entry().TrustScore)
	}
	accepted(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: jwsOf(root, child)})
}

// TC-05: override 100 over a parent of 10 gives 100. F-TS-06: it holds for descendants.
func TestTC05Override(t *testing.T) {
	root := sign(t, call{n: 0, source: lineage.SourceInternet})
	raised := sign(t, call{n: 1, by: pay, override: "100"}, root)
	after := sign(t, call{n: 2}, raised)
	if raised.Entry().TrustScore != 100 || after.Entry().TrustScore != 100 {
		t.Errorf("scores %d and %d", raised.Entry().TrustScore, after.Entry().TrustScore)
	}
	accepted(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: jwsOf(root, raised, after)})
}

// TC-06: taints [a,b] + [c] − [b] = [a,c]. F-TT-01…06: union of parents, added, removed, sorted, unique.
func TestTC06Taints(t *testing.T) {
	for _, c := range []struct {
		parents        [][]string
		added, removed []string
		want           string
	}{
		{[][]string{{"a", "b"}}, []string{"c"}, []string{"b"}, "a c"},
		{nil, nil, nil, ""},
		{[][]string{{"a"}, {"b"}, {"a", "c"}}, nil, nil, "a b c"},
		{[][]string{nil, {"a"}, nil}, nil, nil, "a"},
		{[][]string{{"a"}}, []string{"a"}, []string{"a"}, ""}, // removed wins
		{nil, []string{"z", "a", "z"}, nil, "a z"},
		{[][]string{{"b", "a", "b"}}, nil, nil, "a b"}, // sorted whatever came in
		{[][]string{{"a"}}, nil, []string{"x", "b"}, "a"},
	} {
		if got := strings.Join(lineage.MergeTaints(c.parents, c.added, c.removed), " "); got != c.want {
			t.Errorf("%v + %v − %v = %s, want %s", c.parents, c.added, c.removed, got, c.want)
		}
	}
	root := sign(t, call{n: 0, add: []string{"a", "b"}})
	child := sign(t, call{n: 1, by: pay, add: []string{"c"}, remove: []string{"b"}, sanitizer: "scrub"}, root)
	if got := child.Entry().Taints; !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("taints %v", got)
	}
	accepted(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: jwsOf(root, child)})
}

// F-TS-01: the seven fixed origins. F-TS-02: they cannot be overridden; others can be added.
func TestOrigins(t *testing.T) {
	fixed := map[string]int{"system": 100, "internal": 100, "verified_rag": 90, "third_party_api": 60, "user_input": 40, "internet": 10, "llm": 0}
	o, err := lineage.NewOrigins(map[string]int{"partner": 70})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range fixed {
		if got, known := o.Score(name); got != want || !known {
			t.Errorf("%s: %d, %v", name, got, known)
		}
		if _, err := lineage.NewOrigins(map[string]int{name: 100}); err == nil {
			t.Errorf("origin %s can be overridden", name)
		}
	}
	if got, known := o.Score("partner"); got != 70 || !known || len(o.Names()) != 8 || !slices.IsSorted(o.Names()) {
		t.Errorf("partner: %d, %v; names %v", got, known, o.Names())
	}
	for _, bad := range []map[string]int{{"": 1}, {"x": -1}, {"x": 101}} {
		if _, err := lineage.NewOrigins(bad); err == nil {
			t.Errorf("origins %v are accepted", bad)
		}
	}
	if _, known := (lineage.Origins{}).Score("Internal"); known {
		t.Error("case is folded")
	}
}

// F-TS-05: another evaluator, on both sides; it must be the same one.
func TestWeighted(t *testing.T) {
	w := lineage.Weighted{History: 50}
	root := sign(t, call{n: 0, source: lineage.SourceVerifiedRAG})
	child := sign(t, call{n: 1, by: pay, source: lineage.SourceUserInput, edit: func(e *lineage.Entry) { e.TrustScore = w.Trust(40, []int{90}) }}, root)
	if child.Entry().TrustScore != 65 {
		t.Errorf("score %d, want 65", child.Entry().TrustScore)
	}
	u := lineage.Unverified{Entries: jwsOf(root, child)}
	accepted(t, newVerifier(t, lineage.VerifierConfig{Trust: w}), u)
	refused(t, newVerifier(t, lineage.VerifierConfig{}), u, lineage.TrustMismatch, 1)
}

// SPEC §4 step 5: entries with good signatures of known principals that say what does not follow.
func TestSemanticAttacks(t *testing.T) {
	web0 := sign(t, call{n: 0, source: lineage.SourceInternet, add: []string{"raw", "url"}})
	foreign := sign(t, call{n: 20, by: agent, trace: traceB})
	set := func(edit func(e *lineage.Entry)) func(*lineage.Entry) { return edit }
	legacyOnly := func(text string) string { return seal(pay, plainHeader, text) }
	base := payloadOf(t, sign(t, call{n: 1, by: pay}, web0).JWS())
	for _, c := range []struct {
		name   string
		jws    string
		reason lineage.Reason
	}{
		{"trust raised without override", sign(t, call{n: 1, by: pay, edit: set(func(e *lineage.Entry) { e.TrustScore = 100 })}, web0).JWS(), lineage.TrustMismatch},
		{"trust one too high", sign(t, call{n: 1, by: pay, edit: set(func(e *lineage.Entry) { e.TrustScore = 11 })}, web0).JWS(), lineage.TrustMismatch},
		{"trust too low", sign(t, call{n: 1, by: pay, edit: set(func(e *lineage.Entry) { e.TrustScore = 9 })}, web0).JWS(), lineage.TrustMismatch},
		{"trust other than override", sign(t, call{n: 1, by: pay, override: "50", edit: set(func(e *lineage.Entry) { e.TrustScore = 60 })}, web0).JWS(), lineage.TrustMismatch},
		{"override named but not applied", sign(t, call{n: 1, by: pay, override: "50", edit: set(func(e *lineage.Entry) { e.TrustScore = 10 })}, web0).JWS(), lineage.TrustMismatch},
		{"source type unknown", sign(t, call{n: 1, by: pay, source: "oracle", edit: set(func(e *lineage.Entry) { e.TrustScore = 10 })}, web0).JWS(), lineage.TrustMismatch},
		{"source type in other case", sign(t, call{n: 1, by: pay, source: "Internal", edit: set(func(e *lineage.Entry) { e.TrustScore = 10 })}, web0).JWS(), lineage.TrustMismatch},
		{"taint dropped", sign(t, call{n: 1, by: pay, edit: set(func(e *lineage.Entry) { e.Taints = []string{"raw"} })}, web0).JWS(), lineage.TaintMismatch},
		{"all taints dropped", sign(t, call{n: 1, by: pay, edit: set(func(e *lineage.Entry) { e.Taints = nil })}, web0).JWS(), lineage.TaintMismatch},
		{"taint out of nothing", sign(t, call{n: 1, by: pay, edit: set(func(e *lineage.Entry) { e.Taints = []string{"raw", "url", "zz"} })}, web0).JWS(), lineage.TaintMismatch},
		{"added taint missing", sign(t, call{n: 1, by: pay, add: []string{"x"}, edit: set(func(e *lineage.Entry) { e.Taints = []string{"raw", "url"} })}, web0).JWS(), lineage.TaintMismatch},
		{"removed taint still there", sign(t, call{n: 1, by: pay, remove: []string{"raw"}, sanitizer: "s", edit: set(func(e *lineage.Entry) { e.Taints = []string{"raw", "url"} })}, web0).JWS(), lineage.TaintMismatch},
		{"removed without sanitizer", sign(t, call{n: 1, by: pay, remove: []string{"raw"}}, web0).JWS(), lineage.Unauthorized},
		{"removed what was not there, without sanitizer", sign(t, call{n: 1, by: pay, remove: []string{"x"}}, web0).JWS(), lineage.Unauthorized},
		{"hostile taints", sign(t, call{n: 1, by: pay, edit: set(func(e *lineage.Entry) { e.Taints = []string{"\x1b[31m\r\nall good" + strings.Repeat("x", 500)} })}, web0).JWS(), lineage.TaintMismatch},
		{"other trace", sign(t, call{n: 1, by: pay, trace: traceB}, web0).JWS(), lineage.TraceMismatch},
		{"other trace, wrong one named", sign(t, call{n: 1, by: pay, trace: traceB, joined: traceB}, web0).JWS(), lineage.TraceMismatch},
		{"other trace, part of it named", sign(t, call{n: 1, by: pay, trace: traceB, joined: traceA[:31]}, web0).JWS(), lineage.TraceMismatch},
		{"other trace, named with spaces", sign(t, call{n: 1, by: pay, trace: traceB, joined: " " + traceA}, web0).JWS(), lineage.TraceMismatch},
		{"principal unknown", sign(t, call{n: 1, by: unknown}, web0).JWS(), lineage.UnknownKey},
		{"principal of other case", seal(pay, plainHeader, replaced(t, base, pay, strings.ToUpper(pay))), lineage.UnknownKey},
		{"key of another principal", seal(agent, plainHeader, base), lineage.BadSignature},
		{"kid of another principal's key", seal(agent, `{"alg":"EdDSA","kid":"`+lineage.Thumbprint(publicKey(agent))+`"}`, base), lineage.UnknownKey},
		{"legacy form by a principal that is not legacy", legacyOnly(replaced(t, base, `"kest.source_type":"internal",`, "")), lineage.Malformed},
		{"legacy form that claims the Python runtime", legacyOnly(replaced(t, replaced(t, base, `"kest.source_type":"internal",`, ""), "kest-go", "kest-python")), lineage.Malformed},
		{"unsorted taints by a principal that is not legacy", legacyOnly(replaced(t, base, `"taints":["raw","url"]`, `"taints":["url","raw"]`)), lineage.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVerifier(t, lineage.VerifierConfig{Legacy: []string{python}})
			refused(t, v, lineage.Unverified{Entries: append(jwsOf(web0), c.jws)}, c.reason, 1)
			accepted(t, v, lineage.Unverified{Entries: jwsOf(web0)})
			refused(t, v, lineage.Unverified{Entries: append(jwsOf(web0), c.jws)}, c.reason, 1) // prefix from the cache
		})
	}
	v := newVerifier(t, lineage.VerifierConfig{})
	two := sign(t, call{n: 2, by: pay}, web0)
	unnamed := sign(t, call{n: 3, by: pay}, two, foreign)
	named := sign(t, call{n: 3, by: pay, joined: strings.Repeat("1", 32) + "," + traceB}, two, foreign)
	refused(t, v, lineage.Unverified{Entries: jwsOf(web0, two, foreign, unnamed)}, lineage.TraceMismatch, 3)
	accepted(t, v, lineage.Unverified{Entries: jwsOf(web0, two, foreign, named)})
}

// SPEC §4 [+]: what an authority policy allows, and to whom.
func TestAuthority(t *testing.T) {
	outer := sign(t, call{n: 0, source: lineage.SourceInternet, add: []string{"raw", "pii"}})
	trusted := sign(t, call{n: 1})
	empty := sign(t, call{n: 2, source: lineage.SourceLLM})
	raise := sign(t, call{n: 3, by: pay, override: "60"}, outer)
	lower := sign(t, call{n: 4, by: pay, override: "5"}, outer)
	equal := sign(t, call{n: 4, by: pay, override: "10"}, outer)
	strip := sign(t, call{n: 5, by: pay, remove: []string{"raw"}, sanitizer: "s"}, outer)
	both := sign(t, call{n: 6, by: pay, remove: []string{"pii", "raw"}, sanitizer: "s"}, outer)
	rootRaised := sign(t, call{n: 7, source: lineage.SourceInternet, override: "90"})
	any := lineage.Grant{Principal: web, Originate: []string{"*"}}
	grants := func(g ...lineage.Grant) []lineage.Grant { return g }
	ok := lineage.Reason("")
	for _, c := range []struct {
		name    string
		grants  []lineage.Grant
		entries []*lineage.Signed
		reason  lineage.Reason
		index   int
	}{
		{"no grant, no root", nil, []*lineage.Signed{outer}, lineage.Unauthorized, 0},
		{"source type named", grants(lineage.Grant{Principal: web, Originate: []string{"internet"}}), []*lineage.Signed{outer}, ok, 0},
		{"other source type named", grants(lineage.Grant{Principal: web, Originate: []string{"internet"}}), []*lineage.Signed{trusted}, lineage.Unauthorized, 0},
		{"root trust high enough", grants(lineage.Grant{Principal: web, RootTrust: 10}), []*lineage.Signed{outer}, ok, 0},
		{"root trust too low", grants(lineage.Grant{Principal: web, RootTrust: 99}), []*lineage.Signed{trusted}, lineage.Unauthorized, 0},
		{"a grant about something else allows no root, not even of score 0", grants(lineage.Grant{Principal: web, RemoveTaints: []string{"x"}}), []*lineage.Signed{empty}, lineage.Unauthorized, 0},
		{"any source type", grants(any), []*lineage.Signed{trusted}, ok, 0},
		{"grant to another", grants(lineage.Grant{Principal: pay, Originate: []string{"*"}}), []*lineage.Signed{trusted}, lineage.Unauthorized, 0},
		{"pattern", grants(lineage.Grant{Principal: "spiffe://example.org/*", RootTrust: 100}), []*lineage.Signed{trusted}, ok, 0},
		{"pattern below", grants(lineage.Grant{Principal: web + "/*", RootTrust: 100}), []*lineage.Signed{trusted}, lineage.Unauthorized, 0},
		{"pattern of another domain", grants(lineage.Grant{Principal: "spiffe://example.or/*", RootTrust: 100}), []*lineage.Signed{trusted}, lineage.Unauthorized, 0},

		{"raise without grant", grants(any), []*lineage.Signed{outer, raise}, lineage.Unauthorized, 1},
		{"raise beyond grant", grants(any, lineage.Grant{Principal: pay, OverrideTrust: 59}), []*lineage.Signed{outer, raise}, lineage.Unauthorized, 1},
		{"raise within grant", grants(any, lineage.Grant{Principal: pay, OverrideTrust: 60}), []*lineage.Signed{outer, raise}, ok, 0},
		{"lowering needs no grant", grants(any), []*lineage.Signed{outer, lower}, ok, 0},
		{"override to the same needs no grant", grants(any), []*lineage.Signed{outer, equal}, ok, 0},
		{"root raised without grant", grants(any), []*lineage.Signed{rootRaised}, lineage.Unauthorized, 0},
		{"root raised within grant", grants(any, lineage.Grant{Principal: web, OverrideTrust: 90}), []*lineage.Signed{rootRaised}, ok, 0},

		{"removal without grant", grants(any), []*lineage.Signed{outer, strip}, lineage.Unauthorized, 1},
		{"removal within grant", grants(any, lineage.Grant{Principal: pay, RemoveTaints: []string{"raw"}}), []*lineage.Signed{outer, strip}, ok, 0},
		{"removal of one more", grants(any, lineage.Grant{Principal: pay, RemoveTaints: []string{"raw"}}), []*lineage.Signed{outer, both}, lineage.Unauthorized, 1},
		{"grants add up", grants(any, lineage.Grant{Principal: pay, RemoveTaints: []string{"raw"}}, lineage.Grant{Principal: "spiffe://example.org/*", RemoveTaints: []string{"pii"}}), []*lineage.Signed{outer, both}, ok, 0},
		{"removal of any", grants(any, lineage.Grant{Principal: pay, RemoveTaints: []string{"*"}}), []*lineage.Signed{outer, both}, ok, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVerifier(t, lineage.VerifierConfig{Authority: &lineage.Authority{Grants: c.grants}})
			u := lineage.Unverified{Entries: jwsOf(c.entries...)}
			if c.reason == ok {
				if _, report := accepted(t, v, u); !report.AuthorityUsed || len(report.Notes()) != 1 {
					t.Errorf("report: authority %v, notes %q", report.AuthorityUsed, report.Notes())
				}
				return
			}
			refused(t, v, u, c.reason, c.index)
			_, report := accepted(t, newVerifier(t, lineage.VerifierConfig{}), u) // without a policy it is allowed, and said
			if report.AuthorityUsed || !strings.Contains(strings.Join(report.Notes(), " "), "no authority policy") {
				t.Errorf("notes %q", report.Notes())
			}
		})
	}
}

// A pattern stands for at least one more character.
func TestAuthorityPatternIsNotItsPrefix(t *testing.T) {
	const folder = "spiffe://example.org/team/"
	for by, ok := range map[string]bool{folder: false, folder + "x": true, folder + "x/y": true, "spiffe://example.org/team": false, "spiffe://example.org/teams/x": false} {
		v := newVerifier(t, lineage.VerifierConfig{Keys: keySet(t, by), Authority: &lineage.Authority{Grants: []lineage.Grant{{Principal: folder + "*", RootTrust: 100}}}})
		u := lineage.Unverified{Entries: jwsOf(sign(t, call{n: 1, by: by}))}
		if ok {
			accepted(t, v, u)
		} else {
			refused(t, v, u, lineage.Unauthorized, 0)
		}
	}
}

func TestAuthorityIsValidatedAndCopied(t *testing.T) {
	for _, g := range []lineage.Grant{
		{}, {Principal: "*"}, {Principal: "/*"}, {Principal: "a*"}, {Principal: "a/*/b"}, {Principal: "*/a/*"},
		{Principal: "spiffe://*"}, {Principal: "spiffe:///*"}, // every trust domain, or none
		{Principal: "a", RootTrust: 101}, {Principal: "a", OverrideTrust: -1},
	} {
		if _, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keySet(t), Authority: &lineage.Authority{Grants: []lineage.Grant{g}}}); err == nil {
			t.Errorf("grant %+v is accepted", g)
		}
	}
	a := &lineage.Authority{Grants: []lineage.Grant{{Principal: web, RootTrust: 50, Originate: []string{"llm"}}}}
	v := newVerifier(t, lineage.VerifierConfig{Authority: a})
	a.Grants[0].RootTrust, a.Grants[0].Originate[0] = 100, "*"
	refused(t, v, lineage.Unverified{Entries: jwsOf(chain(t, 1)...)}, lineage.Unauthorized, 0)
	if _, err := lineage.NewVerifier(lineage.VerifierConfig{}); err == nil {
		t.Error("a verifier without keys")
	}
	if _, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keySet(t), Legacy: []string{""}}); err == nil {
		t.Error("an empty legacy principal")
	}
}

// legacyEntry is an entry as the Python implementation writes it (SPEC §15).
func legacyEntry(t *testing.T, n int, parent string, edit func(payload string) string) string {
	t.Helper()
	payload := `{"added_taints":["raw","a"],"classification":"data","content_hash":"","entry_id":"` + entryID(n) + `","environment":{},"input_hash":"",` +
		`"labels":{"kest.identity":"{\"agent\": \"planner\", \"user\": \"alice\"}","principal":"` + python + `"},"metadata":null,"operation":"fetch",` +
		`"otel_context":{},"parent_ids":["` + parent + `"],"policy_context":{"app_policies":[],"deviations":[],"enterprise_policies":[],"function_policies":["p"],"platform_policies":[]},` +
		`"removed_taints":[],"runtime":{"name":"kest-python","version":"0.3.0"},"schema_version":"0.3.0","taints":["raw","a"],"timestamp_ms":1795000000000,"trust_score":40}`
	if edit != nil {
		payload = edit(payload)
	}
	return seal(python, `{"alg": "EdDSA", "kid": "`+python+`", "typ": "JWS"}`, payload)
}

// SPEC §15: entries of the Python implementation verify for the principals that configuration names, and only the
// checks whose labels are missing are skipped, and named.
func TestLegacyEntries(t *testing.T) {
	v := newVerifier(t, lineage.VerifierConfig{Legacy: []string{python}})
	one := legacyEntry(t, 0, "0", nil)
	two := legacyEntry(t, 1, lineage.HashJWS(one).String(), nil)
	for range 2 {
		p, report := accepted(t, v, lineage.Unverified{Entries: []string{one, two}})
		for _, line := range report.Entries() {
			if strings.Join(line.Skipped, ",") != "taint order,trust,taint removal,trace" {
				t.Errorf("skipped %q", line.Skipped)
			}
		}
		if !strings.Contains(strings.Join(report.Notes(), "\n"), "2 entries of legacy principals") {
			t.Errorf("notes %q", report.Notes())
		}
		if e := p.Last().Entry(); e.Principal() != python || !slices.Equal(e.Taints, []string{"a", "raw"}) || e.SourceType() != "" || e.TraceID() != "" {
			t.Errorf("entry %+v", e)
		}
	}
	go3 := sign(t, call{n: 2}, firstEntry(t, v, one))
	_, report := accepted(t, v, lineage.Unverified{Entries: []string{one, go3.JWS()}}) // a child that is not legacy is held to everything
	if line := report.Entries()[1]; len(line.Skipped) != 0 || line.TrustScore != 40 {
		t.Errorf("line %+v", line)
	}
	// A trace id that is none cannot be named in kest.joined, so it does not make honest children unverifiable.
	odd := legacyEntry(t, 0, "0", func(s string) string {
		return replaced(t, s, `"principal":"`+python+`"`, `"principal":"`+python+`","trace_id":"a,b"`)
	})
	accepted(t, v, lineage.Unverified{Entries: []string{odd, sign(t, call{n: 2}, firstEntry(t, v, odd)).JWS()}})
	refused(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: []string{one}}, lineage.Malformed, 0)
	refused(t, newVerifier(t, lineage.VerifierConfig{Legacy: []string{web}}), lineage.Unverified{Entries: []string{one}}, lineage.Malformed, 0)

	for name, c := range map[string]struct {
		edit   func(string) string
		reason lineage.Reason
	}{
		"taint dropped":        {func(s string) string { return replaced(t, s, `"taints":["raw","a"],"ti`, `"taints":["raw"],"ti`) }, lineage.TaintMismatch},
		"declared source type": {func(s string) string { return replaced(t, s, `"labels":{`, `"labels":{`) }, ""},
		"source type that does not give the trust": {func(s string) string {
			return replaced(t, s, `","principal"`, `","kest.source_type":"internet","principal"`)
		}, lineage.TrustMismatch},
		"source type unknown": {func(s string) string {
			return replaced(t, s, `","principal"`, `","kest.source_type":"moon","principal"`)
		}, lineage.TrustMismatch},
		"duplicate taint is one": {func(s string) string {
			return replaced(t, s, `"taints":["raw","a"],"ti`, `"taints":["raw","a","raw"],"ti`)
		}, ""},
		"schema": {func(s string) string {
			return replaced(t, s, `"0.3.0"},"schema_version":"0.3.0"`, `"0.3.0"},"schema_version":"0.2.0"`)
		}, lineage.Malformed},
		"not canonical": {func(s string) string { return replaced(t, s, `:`, `: `) }, lineage.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			u := lineage.Unverified{Entries: []string{legacyEntry(t, 0, "0", c.edit)}}
			if c.reason == "" {
				accepted(t, v, u)
				return
			}
			refused(t, v, u, c.reason, 0)
		})
	}

	// A legacy principal gets no authority that nobody gave it: neither trusted roots, nor raises, nor removals.
	low := newVerifier(t, lineage.VerifierConfig{Legacy: []string{python}, Authority: &lineage.Authority{Grants: []lineage.Grant{{Principal: python, RootTrust: 40}}}})
	accepted(t, low, lineage.Unverified{Entries: []string{one, two}})
	high := func(s string) string { return replaced(t, s, `"trust_score":40`, `"trust_score":41`) }
	refused(t, low, lineage.Unverified{Entries: []string{legacyEntry(t, 0, "0", high)}}, lineage.Unauthorized, 0)
	refused(t, low, lineage.Unverified{Entries: []string{one, legacyEntry(t, 1, lineage.HashJWS(one).String(), high)}}, lineage.Unauthorized, 1)
	stripped := func(s string) string {
		s = replaced(t, s, `"added_taints":["raw","a"]`, `"added_taints":[]`)
		s = replaced(t, s, `"removed_taints":[]`, `"removed_taints":["raw"]`)
		return replaced(t, s, `"taints":["raw","a"],"ti`, `"taints":["a"],"ti`)
	}
	strip := []string{one, legacyEntry(t, 1, lineage.HashJWS(one).String(), stripped)}
	refused(t, low, lineage.Unverified{Entries: strip}, lineage.Unauthorized, 1)
	accepted(t, v, lineage.Unverified{Entries: strip})
}

func firstEntry(t *testing.T, v *lineage.Verifier, jws string) *lineage.Signed {
	t.Helper()
	p, _ := accepted(t, v, lineage.Unverified{Entries: []string{jws}})
	return p.Last()
}

// The first failure is the one with the lowest index; within an entry, that of the earliest check (SPEC §4).
func TestFirstFailure(t *testing.T) {
	c := chain(t, 6)
	wrong := func(n int, parent *lineage.Signed) *lineage.Signed { // semantics fail
		return sign(t, call{n: n, edit: func(e *lineage.Entry) { e.TrustScore = 7 }}, parent)
	}
	forged := func(s *lineage.Signed) string { // signature fails
		return s.JWS()[:strings.LastIndexByte(s.JWS(), '.')+1] + b64(make([]byte, 64))
	}
	for _, a := range []struct {
		name    string
		entries []string
		reason  lineage.Reason
		index   int
	}{
		{"semantics before a malformed one", append(jwsOf(c[0], wrong(9, c[0]), c[1]), "x"), lineage.TrustMismatch, 1},
		{"signature before a malformed one", append(jwsOf(c[0]), forged(c[1]), "x"), lineage.BadSignature, 1},
		{"semantics before a signature", append(jwsOf(c[0], wrong(9, c[0])), forged(c[1])), lineage.TrustMismatch, 1},
		{"signature before semantics", append(jwsOf(c[0]), forged(c[1]), wrong(9, c[0]).JWS()), lineage.BadSignature, 1},
		{"unknown key before a signature", append(jwsOf(c[0], sign(t, call{n: 8, by: unknown}, c[0])), forged(c[1])), lineage.UnknownKey, 1},
		{"signature before an unknown key", append(jwsOf(c[0]), forged(c[1]), sign(t, call{n: 8, by: unknown}, c[0]).JWS()), lineage.BadSignature, 1},
		{"second root before a signature", append(jwsOf(c[0], sign(t, call{n: 8})), forged(c[1])), lineage.BrokenLink, 1},
		{"signature before a second root", append(jwsOf(c[0]), forged(c[1]), sign(t, call{n: 8}).JWS()), lineage.BadSignature, 1},
		{"within an entry, link before key", jwsOf(c[0], sign(t, call{n: 8, by: unknown}, c[3])), lineage.BrokenLink, 1},
		{"within an entry, key before signature", append(jwsOf(c[0]), forged(sign(t, call{n: 8, by: unknown}, c[0]))), lineage.UnknownKey, 1},
		{"within an entry, signature before semantics", append(jwsOf(c[0]), forged(wrong(9, c[0]))), lineage.BadSignature, 1},
	} {
		t.Run(a.name, func(t *testing.T) {
			v := newVerifier(t, lineage.VerifierConfig{})
			refused(t, v, lineage.Unverified{Entries: a.entries}, a.reason, a.index)
			accepted(t, v, lineage.Unverified{Entries: jwsOf(c...)})
			refused(t, v, lineage.Unverified{Entries: a.entries}, a.reason, a.index)
		})
	}
}

// A *VerifyError matches its cause, and only then.
func TestVerifyErrorMatchesItsCause(t *testing.T) {
	cause := errors.New("directory is down")
	down := keyFunc(func(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) { return nil, cause })
	v := newVerifier(t, lineage.VerifierConfig{Keys: down})
	f := refused(t, v, lineage.Unverified{Entries: jwsOf(chain(t, 1)...)}, lineage.UnknownKey, 0)
	if !errors.Is(f, cause) || !strings.Contains(f.Error(), "directory is down") {
		t.Errorf("%v does not match its cause", f)
	}
}
