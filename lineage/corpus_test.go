package lineage_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

var update = flag.Bool("update", false, "write testdata/passports anew")

const corpusDir = "testdata/passports"

// A corpus is manifest.json. Its README says what the members mean.
type corpus struct {
	Keys  string       `json:"keys"`
	Cases []corpusCase `json:"cases"`
}

type corpusCase struct {
	Name    string        `json:"name"`
	Says    string        `json:"says"`
	File    string        `json:"file"`
	Options corpusOptions `json:"options"`
	Valid   bool          `json:"valid"`
	Reason  string        `json:"reason,omitempty"`
	Index   *int          `json:"index,omitempty"`
	Skipped [][]string    `json:"skipped_checks,omitempty"`
}

type corpusOptions struct {
	Tips      []string      `json:"tips,omitempty"`
	Linear    bool          `json:"linear,omitempty"`
	Legacy    []string      `json:"legacy,omitempty"`
	Authority []corpusGrant `json:"authority,omitempty"`
}

type corpusGrant struct {
	Principal     string   `json:"principal"`
	Originate     []string `json:"originate,omitempty"`
	RootTrust     int      `json:"root_trust,omitempty"`
	OverrideTrust int      `json:"override_trust,omitempty"`
	RemoveTaints  []string `json:"remove_taints,omitempty"`
}

// F-PA-02, NF-INTER-01: every case of the corpus, as a program in another language would read it.
func TestCorpus(t *testing.T) {
	if *update {
		writeCorpus(t)
	}
	var c corpus
	raw := readCorpus(t, "manifest.json")
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	keys, err := lineage.ParseKeySet(readCorpus(t, c.Keys))
	if err != nil {
		t.Fatal(err)
	}
	files, ran := map[string]bool{"manifest.json": true, c.Keys: true, "README.md": true}, map[bool]int{}
	for _, cc := range c.Cases {
		files[cc.File] = true
		t.Run(cc.Name, func(t *testing.T) { runCorpusCase(t, keys, cc) })
		ran[cc.Valid]++
	}
	if ran[true] < 10 || ran[false] < 30 {
		t.Errorf("ran %d good and %d bad cases", ran[true], ran[false])
	}
	list, err := os.ReadDir(corpusDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if !files[f.Name()] {
			t.Errorf("%s is in no case", f.Name())
		}
	}
}

func runCorpusCase(t *testing.T, keys *lineage.KeySet, cc corpusCase) {
	config := lineage.VerifierConfig{Keys: keys, Linear: cc.Options.Linear, Legacy: cc.Options.Legacy}
	if cc.Options.Authority != nil {
		config.Authority = &lineage.Authority{}
		for _, g := range cc.Options.Authority {
			config.Authority.Grants = append(config.Authority.Grants, lineage.Grant(g))
		}
	}
	v := newVerifier(t, config)
	u, err := lineage.ParsePassport(readCorpus(t, cc.File), lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tip := range cc.Options.Tips {
		h, err := lineage.ParseHash(tip)
		if err != nil {
			t.Fatal(err)
		}
		u.Tips = append(u.Tips, h)
	}
	for range 2 { // cold and from the cache
		if !cc.Valid {
			refused(t, v, u, lineage.Reason(cc.Reason), *cc.Index)
			continue
		}
		_, report := accepted(t, v, u)
		for i, line := range report.Entries() {
			var want []string
			if i < len(cc.Skipped) {
				want = cc.Skipped[i]
			}
			if !slices.Equal(line.Skipped, want) {
				t.Errorf("entry %d: skipped %q, want %q", i, line.Skipped, want)
			}
		}
	}
}

func readCorpus(t *testing.T, name string) []byte {
	t.Helper()
	if filepath.Base(name) != name {
		t.Fatalf("file %q is outside the corpus", name)
	}
	raw, err := os.ReadFile(filepath.Join(corpusDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// writeCorpus makes the corpus. Keys, ids and times are fixed and Ed25519 is deterministic, so the files differ only
// when the format does.
func writeCorpus(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(corpusDir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(corpusDir, name), append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := keySet(t).AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	write("keys.json", keys)
	c := corpus{Keys: "keys.json"}
	for _, cc := range corpusCases(t) {
		text, err := json.Marshal(cc.entries)
		if err != nil {
			t.Fatal(err)
		}
		if cc.File == "" {
			cc.File = strings.ReplaceAll(cc.Name, " ", "-") + ".json"
			if cc.text != "" {
				text = []byte(cc.text)
			}
			write(cc.File, text)
		}
		c.Cases = append(c.Cases, cc.corpusCase)
	}
	manifest, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	write("manifest.json", manifest)
}

type corpusSource struct {
	corpusCase
	entries []string
	text    string // instead of entries
}

func corpusCases(t *testing.T) []corpusSource {
	return slices.Concat(goodCases(t), linkCases(t), semanticCases(t), formCases(t), legacyCases(t))
}

func good(name, says string, o corpusOptions, entries ...string) corpusSource {
	return corpusSource{corpusCase: corpusCase{Name: name, Says: says, Options: o, Valid: true}, entries: entries}
}

func bad(name, says string, reason lineage.Reason, index int, entries ...string) corpusSource {
	return corpusSource{corpusCase: corpusCase{Name: name, Says: says, Reason: string(reason), Index: &index}, entries: entries}
}

func (s corpusSource) with(o corpusOptions) corpusSource {
	s.Options = o
	return s
}

func goodCases(t *testing.T) []corpusSource {
	none := corpusOptions{}
	c := chain(t, 4)
	root := sign(t, call{n: 10, source: lineage.SourceUserInput})
	left, right := sign(t, call{n: 11, by: pay, source: lineage.SourceInternet, add: []string{"external"}}, root), sign(t, call{n: 12, by: agent}, root)
	join := sign(t, call{n: 13}, left, right)
	foreign := sign(t, call{n: 20, by: agent, trace: traceB})
	joined := sign(t, call{n: 21, joined: traceB}, c[1], foreign)
	raised := sign(t, call{n: 30, by: pay, override: "95"}, left)
	clean := sign(t, call{n: 31, by: agent, sanitizer: "html", remove: []string{"external"}}, left)
	fork := jwsOf(root, left, right, join)
	spaced := good("spaced text", "the text form is read with any white space", none)
	spaced.text = " [ \"" + strings.Join(jwsOf(c...), "\",\n\t\"") + "\" ]\r\n"
	return []corpusSource{
		good("empty", "the empty passport", none, []string{}...),
		good("root", "one entry", none, jwsOf(c[0])...),
		good("chain", "four entries, each the child of the one before", none, jwsOf(c...)...),
		good("chain with tip", "the announced tip is the leaf", corpusOptions{Tips: []string{c[3].Hash().String()}}, jwsOf(c...)...),
		good("chain linear", "a chain follows the flat rule", corpusOptions{Linear: true}, jwsOf(c...)...),
		spaced,
		good("fork", "two leaves", corpusOptions{Tips: []string{right.Hash().String(), left.Hash().String()}}, fork[:3]...),
		good("fork and join", "an entry with two parents", none, fork...),
		good("joined traces", "a second root of another trace, joined by an entry that names the trace", none, jwsOf(c[0], c[1], foreign, joined)...),
		good("override", "trust raised by override", none, append(fork[:2:2], raised.JWS())...),
		good("override granted", "trust raised by a principal with a grant",
			corpusOptions{Authority: []corpusGrant{{Principal: web, RootTrust: 40}, {Principal: pay, OverrideTrust: 95}}}, append(fork[:2:2], raised.JWS())...),
		good("sanitizer", "a taint removed by a sanitizer", none, append(fork[:2:2], clean.JWS())...),
		good("sanitizer granted", "a taint removed by a principal with a grant",
			corpusOptions{Authority: []corpusGrant{{Principal: "spiffe://example.org/*", Originate: []string{"user_input"}}, {Principal: "spiffe://example.org/agents/*", RemoveTaints: []string{"external"}}}}, append(fork[:2:2], clean.JWS())...),
		bad("override without grant", "trust raised by a principal without a grant", lineage.Unauthorized, 2, append(fork[:2:2], raised.JWS())...).
			with(corpusOptions{Authority: []corpusGrant{{Principal: web, RootTrust: 40}}}),
		bad("sanitizer without grant", "a taint removed by a principal without a grant", lineage.Unauthorized, 2, append(fork[:2:2], clean.JWS())...).
			with(corpusOptions{Authority: []corpusGrant{{Principal: web, RootTrust: 40}}}),
		bad("root without grant", "a root of a principal that may not begin lineages", lineage.Unauthorized, 0, fork...).
			with(corpusOptions{Authority: []corpusGrant{{Principal: web, RootTrust: 39}}}),
	}
}

func linkCases(t *testing.T) []corpusSource {
	c := chain(t, 4)
	second := sign(t, call{n: 40, by: pay})
	tip := func(s *lineage.Signed) corpusOptions { return corpusOptions{Tips: []string{s.Hash().String()}} }
	return []corpusSource{
		bad("dropped", "an inner entry is missing", lineage.BrokenLink, 2, jwsOf(c[0], c[1], c[3])...),
		bad("swapped", "two entries change places", lineage.BrokenLink, 1, jwsOf(c[0], c[2], c[1], c[3])...),
		bad("duplicated", "an entry stands twice", lineage.Duplicate, 4, jwsOf(c[0], c[1], c[2], c[3], c[1])...),
		bad("duplicate id", "two entries have one entry_id", lineage.Duplicate, 4,
			append(jwsOf(c...), sign(t, call{n: 1, op: "other"}, c[3]).JWS())...),
		bad("spliced", "a child of an entry that is not here", lineage.BrokenLink, 2, jwsOf(c[0], c[1], sign(t, call{n: 41}, second))...),
		bad("second root", "a root that nothing joins", lineage.BrokenLink, 2, jwsOf(c[0], c[1], second, c[2])...),
		bad("fork in linear mode", "a fork breaks the flat rule", lineage.BrokenLink, 2,
			jwsOf(c[0], c[1], sign(t, call{n: 42}, c[0]))...).with(corpusOptions{Linear: true}),
		bad("tail cut", "the announced tip is gone", lineage.TipMismatch, -1, jwsOf(c[:3]...)...).with(tip(c[3])),
		bad("tail added", "an entry on top of the announced tip", lineage.TipMismatch, -1, jwsOf(c...)...).with(tip(c[2])),
		bad("everything cut", "an empty passport, but a tip was announced", lineage.TipMismatch, -1, []string{}...).with(tip(c[3])),
	}
}

func semanticCases(t *testing.T) []corpusSource {
	root := sign(t, call{n: 50, source: lineage.SourceInternet, add: []string{"external", "pii"}})
	over := func(name, says string, reason lineage.Reason, c call) corpusSource {
		c.n, c.by = 51, pay
		return bad(name, says, reason, 1, jwsOf(root, sign(t, c, root))...)
	}
	payload := payloadOf(t, sign(t, call{n: 51, by: pay}, root).JWS())
	return []corpusSource{
		over("trust raised", "more trust than the parents give", lineage.TrustMismatch, call{edit: func(e *lineage.Entry) { e.TrustScore = 100 }}),
		over("trust other than override", "trust is not the override", lineage.TrustMismatch, call{override: "50", edit: func(e *lineage.Entry) { e.TrustScore = 51 }}),
		over("unknown source type", "a source type that nobody defined", lineage.TrustMismatch, call{source: "oracle", edit: func(e *lineage.Entry) { e.TrustScore = 10 }}),
		over("taint dropped", "an inherited taint is missing", lineage.TaintMismatch, call{edit: func(e *lineage.Entry) { e.Taints = e.Taints[:1] }}),
		over("taint resurrected", "a removed taint is still there", lineage.TaintMismatch, call{sanitizer: "s", remove: []string{"pii"}, edit: func(e *lineage.Entry) { e.Taints = []string{"external", "pii"} }}),
		over("taint removed silently", "a taint is removed without override or sanitizer", lineage.Unauthorized, call{remove: []string{"pii"}}),
		over("wrong trace", "another trace than the parent's", lineage.TraceMismatch, call{trace: traceB}),
		bad("unnamed joined trace", "a parent of another trace that kest.joined does not name", lineage.TraceMismatch, 2, func() []string {
			foreign := sign(t, call{n: 52, trace: traceB})
			return jwsOf(root, foreign, sign(t, call{n: 53}, root, foreign))
		}()...),
		bad("unknown principal", "a workload that the key set does not name", lineage.UnknownKey, 1, jwsOf(root, sign(t, call{n: 51, by: unknown}, root))...),
		bad("key of another principal", "signed by a known workload in the name of another", lineage.BadSignature, 1, root.JWS(), seal(agent, plainHeader, payload)),
		bad("kid of another principal", "the kid names a key of another workload", lineage.UnknownKey, 1, root.JWS(),
			seal(agent, `{"alg":"EdDSA","kid":"`+lineage.Thumbprint(publicKey(agent))+`"}`, payload)),
	}
}

func formCases(t *testing.T) []corpusSource {
	c := chain(t, 3)
	payload := payloadOf(t, c[0].JWS())
	parts := strings.Split(c[1].JWS(), ".")
	altered := parts[0] + "." + b64([]byte(replaced(t, payloadOf(t, c[1].JWS()), `"trust_score":100`, `"trust_score":10`))) + "." + parts[2]
	zero := c[2].JWS()[:strings.LastIndexByte(c[2].JWS(), '.')+1] + b64(make([]byte, 64))
	header := func(name, says, header string, reason lineage.Reason) corpusSource {
		return bad(name, says, reason, 0, seal(web, header, payload))
	}
	body := func(name, says, old, new string, reason lineage.Reason) corpusSource {
		return bad(name, says, reason, 0, seal(web, plainHeader, replaced(t, payload, old, new)))
	}
	return []corpusSource{
		bad("altered payload", "TC-02: trust changed after signing", lineage.BadSignature, 1, c[0].JWS(), altered, c[2].JWS()),
		bad("altered signature", "TC-03: a signature of zeros", lineage.BadSignature, 2, c[0].JWS(), c[1].JWS(), zero),
		header("alg none", "algorithm none", `{"alg":"none"}`, lineage.Algorithm),
		header("alg HS256", "algorithm HS256", `{"alg":"HS256"}`, lineage.Algorithm),
		header("alg twice", "duplicate member in the header", `{"alg":"none","alg":"EdDSA"}`, lineage.Malformed),
		header("crit", "critical extension", `{"alg":"EdDSA","crit":["x"],"x":1}`, lineage.Malformed),
		header("jwk", "a key in the header", `{"alg":"EdDSA","jwk":{"crv":"Ed25519","kty":"OKP","x":"`+b64(publicKey(web))+`"}}`, lineage.Malformed),
		header("receipt as entry", "typ of a receipt", `{"alg":"EdDSA","typ":"kest-receipt+jws"}`, lineage.Malformed),
		bad("extra segment", "four segments", lineage.Malformed, 0, c[0].JWS()+".AAAA"),
		bad("padding", "base64url with padding", lineage.Malformed, 0, c[0].JWS()+"=="),
		body("spaces", "payload with a space", `:`, `: `, lineage.Malformed),
		body("duplicate member", "duplicate member in the payload", `"trust_score"`, `"trust_score":0,"trust_score"`, lineage.Malformed),
		body("folded member", "member name of another case", `"taints":[],"ti`, `"Taints":[],"ti`, lineage.Malformed),
		body("fraction", "trust 100.0", `"trust_score":100`, `"trust_score":100.0`, lineage.Malformed),
		body("unsorted taints", "taints out of order", `"added_taints":[]`, `"added_taints":["b","a"]`, lineage.Malformed),
		body("duplicate parents", "a parent twice", `["0"]`, `["`+c[0].Hash().String()+`","`+c[0].Hash().String()+`"]`, lineage.Malformed),
		body("old schema", "another schema version", `"schema_version":"0.3.0"`, `"schema_version":"0.2.0"`, lineage.Malformed),
		body("too many taints", "more than 256 taints", `"added_taints":[]`, `"added_taints":[`+numbered(`"%03d"`, 257)+`]`, lineage.Limit),
	}
}

func legacyCases(t *testing.T) []corpusSource {
	one := legacyEntry(t, 60, "0", nil)
	two := legacyEntry(t, 61, lineage.HashJWS(one).String(), nil)
	o := corpusOptions{Legacy: []string{python}}
	skipped := []string{"taint order", "trust", "taint removal", "trace"}
	legacy := good("legacy", "entries of the Python implementation: spaced header, kid is the principal, unsorted taints, no source type, no trace id", o, one, two)
	legacy.Skipped = [][]string{skipped, skipped}
	raised := legacyEntry(t, 61, lineage.HashJWS(one).String(), func(s string) string { return replaced(t, s, `"trust_score":40`, `"trust_score":90`) })
	return []corpusSource{
		legacy,
		bad("legacy not configured", "the same by a principal that configuration does not name", lineage.Malformed, 0, one, two),
		bad("legacy raises trust", "a legacy principal raises trust without a grant", lineage.Unauthorized, 1, one, raised).
			with(corpusOptions{Legacy: []string{python}, Authority: []corpusGrant{{Principal: python, RootTrust: 40}}}),
		bad("legacy drops a taint", "the taint rule holds for legacy principals", lineage.TaintMismatch, 1, one,
			legacyEntry(t, 61, lineage.HashJWS(one).String(), func(s string) string {
				return replaced(t, replaced(t, s, `"added_taints":["raw","a"]`, `"added_taints":[]`), `"taints":["raw","a"],"ti`, `"taints":[],"ti`)
			})).with(o),
	}
}

// Writing the corpus again gives the same bytes.
func TestCorpusIsReproducible(t *testing.T) {
	keys, err := keySet(t).AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(readCorpus(t, "keys.json")), keys) {
		t.Error("keys.json differs; if the format changed, run with -update")
	}
	names := map[string]bool{}
	for _, c := range corpusCases(t) {
		if names[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		names[c.Name] = true
		if c.text != "" {
			continue
		}
		u, err := lineage.ParsePassport(readCorpus(t, strings.ReplaceAll(c.Name, " ", "-")+".json"), lineage.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(u.Entries, c.entries) {
			t.Errorf("%s differs; if the format changed, run with -update", c.Name)
		}
	}
	if len(names) < 40 {
		t.Errorf("cases %v", slices.Sorted(maps.Keys(names)))
	}
}
