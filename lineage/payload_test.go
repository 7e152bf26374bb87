package lineage_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

// F-AE-01…13: each member of the entry, missing and of the wrong types. The error names the member. SPEC §2.
func TestEntryMembers(t *testing.T) {
	payload := payloadOf(t, chain(t, 1)[0].JWS())
	v := newVerifier(t, lineage.VerifierConfig{})
	accepted(t, v, lineage.Unverified{Entries: []string{seal(web, plainHeader, payload)}})
	hash := strings.Repeat("ab", 32)
	for _, c := range []struct {
		id, member, as string // as: the member as it stands in the payload
		bad            []string
	}{
		{"F-AE-01", "schema_version", `"0.3.0"`, []string{`"0.3"`, `"0.4.0"`, `""`, `0.3`, `null`}},
		{"F-AE-01", "runtime", `{"name":"kest-go","version":"v0.1.0"}`, []string{`{"name":"","version":""}`, `{"name":"x"}`, `{"version":"x"}`, `{"name":1,"version":""}`, `"kest-go"`, `null`, `[]`}},
		{"F-AE-02", "entry_id", `"` + entryID(0) + `"`, []string{`""`, `"1"`, `null`, `7`, `"` + strings.ToUpper(entryID(0)) + `"`,
			`"0199f0a5-8a11-4c31-8000-000000000000"`, `"0199f0a5-8a11-7c31-c000-000000000000"`, `"0199f0a58a117c318000000000000000"`, `"{199f0a5-8a11-7c31-8000-00000000000}"`}},
		{"F-AE-03", "operation", `"step.0"`, []string{`""`, `null`, `1`, `[]`}},
		{"F-AE-04", "classification", `"system"`, []string{`""`, `null`, `true`}},
		{"F-AE-05", "trust_score", `100`, []string{`101`, `-1`, `40.5`, `1e+21`, `"100"`, `null`, `9007199254740991`}},
		{"F-AE-06", "parent_ids", `["0"]`, []string{`[]`, `null`, `"0"`, `["0","0"]`, `["0","` + hash + `"]`, `["00"]`, `[0]`, `["` + strings.ToUpper(hash) + `"]`,
			`["` + hash + `","` + hash + `"]`, `["` + hash + `","` + strings.Repeat("0a", 32) + `"]`, `["` + hash[:63] + `"]`, `["` + hash[:63] + `g"]`}},
		{"F-AE-07", "added_taints", `[]`, []string{`null`, `{}`, `"a"`, `[1]`, `[""]`, `["b","a"]`, `["a","a"]`}},
		{"F-AE-07", "removed_taints", `[]`, []string{`null`, `[null]`, `[""]`, `["b","a"]`}},
		{"F-AE-07", "taints", `[]`, []string{`null`, `[["a"]]`, `[""]`, `["b","a"]`}},
		{"F-AE-08", "labels", "", []string{`null`, `[]`, `{}`, `{"principal":null}`, `{"":"","principal":"p"}`, `{"principal":""}`}},
		{"F-AE-09", "policy_context", `{"app_policies":[],"deviations":[],"enterprise_policies":[],"function_policies":[],"platform_policies":[]}`, []string{`null`, `{}`, `[]`,
			`{"app_policies":[],"deviations":[],"enterprise_policies":[],"function_policies":[]}`,
			`{"app_policies":[""],"deviations":[],"enterprise_policies":[],"function_policies":[],"platform_policies":[]}`,
			`{"app_policies":[],"deviations":[{}],"enterprise_policies":[],"function_policies":[],"platform_policies":[]}`,
			`{"app_policies":[],"deviations":[1],"enterprise_policies":[],"function_policies":[],"platform_policies":[]}`,
			`{"app_policies":[],"deviations":[{"approver":1,"policy":"p","reason":null,"tier":"app"}],"enterprise_policies":[],"function_policies":[],"platform_policies":[]}`,
			`{"app_policies":[],"deviations":[{"approver":null,"policy":"","reason":null,"tier":"app"}],"enterprise_policies":[],"function_policies":[],"platform_policies":[]}`,
			`{"app_policies":[],"enterprise_policies":[],"function_policies":[],"platform_policies":[]}`}},
		{"F-AE-10", "environment", `{}`, []string{`null`, `[]`, `"{}"`}},
		{"F-AE-10", "otel_context", `{}`, []string{`null`, `[]`, `1`}},
		{"F-AE-11", "metadata", `null`, []string{`{}`, `""`, `0`}},
		{"F-AE-12", "input_hash", `"` + strings.Repeat("0a", 32) + `"`, []string{`null`, `"0a"`, `"` + strings.Repeat("0A", 32) + `"`, `0`}},
		{"F-AE-12", "content_hash", `""`, []string{`null`, `"x"`, `{}`}},
		{"F-AE-13", "timestamp_ms", `1795000000000`, []string{`null`, `"1795000000000"`, `-1`, `1.5`, `9007199254740992`, `1e+21`}},
	} {
		t.Run(c.id+" "+c.member, func(t *testing.T) {
			as := fmt.Sprintf("%q:%s", c.member, c.as)
			if c.as == "" { // the labels
				from := strings.Index(payload, `"labels":`)
				as = payload[from : from+strings.IndexByte(payload[from:], '}')+1]
			}
			cut := as + ","
			if c.member == "trust_score" { // the last one
				cut = "," + as
			}
			texts := []string{replaced(t, payload, cut, "")}
			for _, bad := range c.bad {
				texts = append(texts, replaced(t, payload, as, fmt.Sprintf("%q:%s", c.member, bad)))
			}
			for _, text := range texts {
				f := refused(t, v, lineage.Unverified{Entries: []string{seal(web, plainHeader, text)}}, lineage.Malformed, 0)
				named := strings.Contains(f.Detail, c.member)
				if !named && !strings.Contains(f.Detail, "not in RFC 8785 canonical form") && !strings.Contains(f.Detail, "json:") {
					t.Errorf("%s: %v does not name the member", text[:60], f)
				}
			}
		})
	}
}

// JSON and canonical form (SPEC §2, RFC 8785). Each payload is sealed with the right key.
func TestPayloadAttacks(t *testing.T) {
	payload := payloadOf(t, chain(t, 1)[0].JWS())
	v := newVerifier(t, lineage.VerifierConfig{})
	edit := func(old, new string) string { return replaced(t, payload, old, new) }
	trust := `"trust_score":100`
	for _, c := range []struct {
		name, payload string
		reason        lineage.Reason
	}{
		{"empty", ``, lineage.Malformed},
		{"not an object", `[]`, lineage.Malformed},
		{"null", `null`, lineage.Malformed},
		{"empty object", `{}`, lineage.Malformed},
		{"two values", payload + payload, lineage.Malformed},
		{"byte order mark", "\ufeff" + payload, lineage.Malformed},
		{"cut", payload[:len(payload)-1], lineage.Malformed},
		{"space inside", edit(`:`, `: `), lineage.Malformed},
		{"space behind", payload + " ", lineage.Malformed},
		{"line feed in front", "\n" + payload, lineage.Malformed},
		{"reordered members", edit(`{"added_taints":[],`, `{`)[:len(payload)-len(`"added_taints":[],`)-1] + `,"added_taints":[]}`, lineage.Malformed},
		{"reordered labels", edit(`{"name":"kest-go","version":"v0.1.0"}`, `{"version":"v0.1.0","name":"kest-go"}`), lineage.Malformed},
		{"escaped letter", edit(`"step.0"`, `"\u0073tep.0"`), lineage.Malformed},
		{"escaped slash", edit(`spiffe://`, `spiffe:\/\/`), lineage.Malformed},
		{"duplicate member", edit(trust, `"trust_score":100,`+trust), lineage.Malformed},
		{"duplicate member, other value", edit(trust, `"trust_score":10,`+trust), lineage.Malformed},
		{"duplicate member by escape", edit(trust, trust+`,"trust\u005fscore":10`), lineage.Malformed},
		{"duplicate label", edit(`"labels":{`, `"labels":{"kest.source_type":"internal",`), lineage.Malformed},
		{"folded name instead", edit(`,"trust_score":100`, ``)[:1] + `"Trust_score":100,` + edit(`,"trust_score":100`, ``)[1:], lineage.Malformed},
		{"NaN", edit(trust, `"trust_score":NaN`), lineage.Malformed},
		{"Infinity", edit(trust, `"trust_score":Infinity`), lineage.Malformed},
		{"1e400", edit(trust, `"trust_score":1e400`), lineage.Malformed},
		{"-0", edit(trust, `"trust_score":-0`), lineage.Malformed},
		{"100.0", edit(trust, `"trust_score":100.0`), lineage.Malformed},
		{"1e2", edit(trust, `"trust_score":1e2`), lineage.Malformed},
		{"+100", edit(trust, `"trust_score":+100`), lineage.Malformed},
		{"0100", edit(trust, `"trust_score":0100`), lineage.Malformed},
		{"0x64", edit(trust, `"trust_score":0x64`), lineage.Malformed},
		{"huge integer", edit(trust, `"trust_score":`+strings.Repeat("9", 300)), lineage.Malformed},
		{"2^64 that wraps", edit(trust, `"trust_score":18446744073709551716`), lineage.Malformed},
		{"huge integer in an object", edit(`"environment":{}`, `"environment":{"n":9007199254740993}`), lineage.Malformed},
		{"fraction in an object is fine there", edit(`"environment":{}`, `"environment":{"n":0.5}`), ""},
		{"-0 in an object", edit(`"environment":{}`, `"environment":{"n":-0}`), lineage.Malformed},
		{"invalid UTF-8", edit(`step.0`, "step.\xff"), lineage.Malformed},
		{"lone surrogate", edit(`step.0`, `step.\ud800`), lineage.Malformed},
		{"surrogate as UTF-8", edit(`step.0`, "step.\xed\xa0\x80"), lineage.Malformed},
		{"control character", edit(`step.0`, "step.\x01"), lineage.Malformed},
		{"parents nested", edit(`["0"]`, `[["0"]]`), lineage.Malformed},
		{"override not decimal", edit(`"principal":`, `"kest.trust_override":"0100","principal":`), lineage.Malformed},
		{"override over 100", edit(`"principal":`, `"kest.trust_override":"101","principal":`), lineage.Malformed},
		{"override signed", edit(`"principal":`, `"kest.trust_override":"+5","principal":`), lineage.Malformed},
		{"source type missing", edit(`"kest.source_type":"internal",`, ``), lineage.Malformed},
		{"source type empty", edit(`"kest.source_type":"internal"`, `"kest.source_type":""`), lineage.Malformed},
		{"trace id missing", edit(`,"trace_id":"`+traceA+`"`, ``), lineage.Malformed},
		{"trace id of zeros", edit(traceA, strings.Repeat("0", 32)), lineage.Malformed},
		{"trace id in upper case", edit(traceA, strings.ToUpper(traceA)), lineage.Malformed},
		{"trace id short", edit(traceA, traceA[1:]), lineage.Malformed},

		{"depth of 65", edit(`"environment":{}`, `"environment":{"a":`+strings.Repeat("[", 63)+strings.Repeat("]", 63)+`}`), lineage.Limit},
		{"depth of 64 is fine", edit(`"environment":{}`, `"environment":{"a":`+strings.Repeat("[", 62)+strings.Repeat("]", 62)+`}`), ""},
		{"depth bomb", edit(`"environment":{}`, `"environment":`+strings.Repeat(`{"a":`, 8000)), lineage.Limit},
		{"bare depth bomb", strings.Repeat("[", 40_000), lineage.Limit},
		{"65 labels", edit(`"labels":{`, `"labels":{`+numbered(`"a%02d":""`, 62)+`,`), lineage.Limit},
		{"64 labels are fine", edit(`"labels":{`, `"labels":{`+numbered(`"a%02d":""`, 61)+`,`), ""},
		{"label of 8 KiB and a byte", edit(`"labels":{`, `"labels":{"a":"`+strings.Repeat("x", 8<<10+1)+`",`), lineage.Limit},
		{"label of 8 KiB is fine", edit(`"labels":{`, `"labels":{"a":"`+strings.Repeat("x", 8<<10)+`",`), ""},
		{"257 taints", edit(`"taints":[]`, `"taints":[`+numbered(`"t%03d"`, 257)+`]`), lineage.Limit},
		{"257 added taints", edit(`"added_taints":[]`, `"added_taints":[`+numbered(`"t%03d"`, 257)+`]`), lineage.Limit},
		{"257 removed taints", edit(`"removed_taints":[]`, `"removed_taints":[`+numbered(`"t%03d"`, 257)+`]`), lineage.Limit},
		{"policy name of 257 bytes", edit(`"app_policies":[]`, `"app_policies":["`+strings.Repeat("p", 257)+`"]`), lineage.Limit},
		{"policy name of 256 bytes is fine", edit(`"app_policies":[]`, `"app_policies":["`+strings.Repeat("p", 256)+`"]`), ""},
		{"1025 policies", edit(`"app_policies":[]`, `"app_policies":[`+numbered(`"%d"`, 1025)+`]`), lineage.Limit},
		{"1025 deviations", edit(`"deviations":[]`, `"deviations":[`+strings.TrimSuffix(strings.Repeat(`0,`, 1025), ",")+`]`), lineage.Limit},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := lineage.Unverified{Entries: []string{seal(web, plainHeader, c.payload)}}
			if c.reason == "" {
				accepted(t, v, u)
				return
			}
			if f := refused(t, v, u, c.reason, 0); len(f.Detail) > 600 {
				t.Errorf("detail of %d bytes", len(f.Detail))
			}
			if _, _, err := lineage.InsecureInspect(u.Entries[0], lineage.Limits{}); err == nil && !strings.HasPrefix(c.name, "source type") && !strings.HasPrefix(c.name, "trace id") {
				t.Error("InsecureInspect shows it") // those two are what a legacy principal may lack (SPEC §15)
			}
		})
	}
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// SPEC §2: unknown members are kept, cover themselves by the signature, and replace nothing; a name that differs
// only in case is such a member.
func TestUnknownMembersAreKept(t *testing.T) {
	payload := payloadOf(t, chain(t, 1)[0].JWS())
	text := `{"Trust_score":0,` + replaced(t, payload[1:], `,"trust_score":100`, `,"trust_score":100,"zz":[1,{"a":null}]`)
	v := newVerifier(t, lineage.VerifierConfig{})
	p, _ := accepted(t, v, lineage.Unverified{Entries: []string{seal(web, plainHeader, text)}})
	e := p.Last().Entry()
	if e.Extra != `{"Trust_score":0,"zz":[1,{"a":null}]}` || e.TrustScore != 100 {
		t.Errorf("extra members %s, trust %d", e.Extra, e.TrustScore)
	}
	e.ID = entryID(1)
	if _, err := lineage.Sign(t.Context(), signerOf(t, web), e, lineage.Limits{}); err == nil {
		t.Error("an entry with unknown members can be signed again")
	}
}

// F-ID-03, SPEC §2: what Sign refuses, with an error that names the member, and nothing comes out.
func TestSignRefuses(t *testing.T) {
	big := lineage.Limits{EntryBytes: 10 << 20}
	for name, c := range map[string]struct {
		member string
		edit   func(*lineage.Entry)
		limit  bool
	}{
		"no id":              {"entry_id", func(e *lineage.Entry) { e.ID = "" }, false},
		"no operation":       {"operation", func(e *lineage.Entry) { e.Operation = "" }, false},
		"no classification":  {"classification", func(e *lineage.Entry) { e.Classification = "" }, false},
		"no runtime":         {"runtime", func(e *lineage.Entry) { e.Runtime.Name = "" }, false},
		"trust 101":          {"trust_score", func(e *lineage.Entry) { e.TrustScore = 101 }, false},
		"negative time":      {"timestamp_ms", func(e *lineage.Entry) { e.TimestampMS = -1 }, false},
		"huge time":          {"timestamp_ms", func(e *lineage.Entry) { e.TimestampMS = 1 << 53 }, false},
		"input hash":         {"input_hash", func(e *lineage.Entry) { e.InputHash = "abc" }, false},
		"content hash":       {"content_hash", func(e *lineage.Entry) { e.ContentHash = strings.Repeat("AB", 32) }, false},
		"other principal":    {"principal", func(e *lineage.Entry) { e.Labels[lineage.LabelPrincipal] = pay }, false},
		"no principal":       {"principal", func(e *lineage.Entry) { delete(e.Labels, lineage.LabelPrincipal) }, false},
		"no labels":          {"principal", func(e *lineage.Entry) { e.Labels = nil }, false},
		"no trace":           {"trace_id", func(e *lineage.Entry) { delete(e.Labels, lineage.LabelTraceID) }, false},
		"no source type":     {"source_type", func(e *lineage.Entry) { delete(e.Labels, lineage.LabelSourceType) }, false},
		"unsorted taints":    {"taints", func(e *lineage.Entry) { e.Taints = []string{"b", "a"} }, false},
		"duplicate taints":   {"taints", func(e *lineage.Entry) { e.AddedTaints = []string{"a", "a"} }, false},
		"empty taint":        {"removed_taints", func(e *lineage.Entry) { e.RemovedTaints = []string{""} }, false},
		"override":           {"trust_override", func(e *lineage.Entry) { e.Labels[lineage.LabelTrustOverride] = "1e2" }, false},
		"empty label name":   {"labels", func(e *lineage.Entry) { e.Labels[""] = "x" }, false},
		"invalid UTF-8":      {"", func(e *lineage.Entry) { e.Operation = "a\xffb" }, false},
		"invalid label name": {"", func(e *lineage.Entry) { e.Labels["\xff"] = "" }, false},
		"duplicate parent":   {"parent_ids", func(e *lineage.Entry) { e.Parents = make([]lineage.Hash, 2) }, false},
		"too many parents":   {"parent_ids", func(e *lineage.Entry) { e.Parents = hashes(1025) }, true},
		"environment":        {"environment", func(e *lineage.Entry) { e.Environment = "not json" }, false},
		"environment breaks out": {"environment", func(e *lineage.Entry) {
			e.Environment = `{},"trust_score":0,"zz":{}`
		}, false},
		"environment not canonical": {"environment", func(e *lineage.Entry) { e.Environment = `{"b":1,"a":2}` }, false},
		"environment not an object": {"environment", func(e *lineage.Entry) { e.Environment = `[]` }, false},
		"otel context":              {"otel_context", func(e *lineage.Entry) { e.OTelContext = `{"a": 1}` }, false},
		"environment too deep": {"environment", func(e *lineage.Entry) {
			e.Environment = lineage.Object(strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64))
		}, true},
		"65 labels": {"labels", func(e *lineage.Entry) {
			for i := range 62 {
				e.Labels[fmt.Sprint("l", i)] = ""
			}
		}, true},
		"long label":       {"labels", func(e *lineage.Entry) { e.Labels["a"] = strings.Repeat("x", 8<<10+1) }, true},
		"257 taints":       {"taints", func(e *lineage.Entry) { e.Taints = strings.Split(strings.Repeat("x,", 256)+"x", ",") }, true},
		"long policy name": {"policy_context", func(e *lineage.Entry) { e.Policies.Function = []string{strings.Repeat("p", 257)} }, true},
		"empty policy":     {"policy_context", func(e *lineage.Entry) { e.Policies.Enterprise = []string{""} }, false},
		"1025 policies": {"policy_context", func(e *lineage.Entry) {
			e.Policies.Application = strings.Split(strings.Repeat("x,", 1024)+"x", ",")
		}, true},
		"1025 deviations": {"policy_context", func(e *lineage.Entry) {
			e.Policies.Deviations = make([]lineage.Deviation, 1025)
		}, true},
		"deviation without tier": {"policy_context", func(e *lineage.Entry) { e.Policies.Deviations = []lineage.Deviation{{Policy: "p"}} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := draft(t, call{n: 1, edit: c.edit})
			s, err := lineage.Sign(t.Context(), signerOf(t, web), e, big)
			if err == nil || s != nil {
				t.Fatalf("signed: %v", s.Entry())
			}
			if !strings.Contains(err.Error(), c.member) || errors.Is(err, lineage.ErrLimit) != c.limit {
				t.Errorf("%v: want it to name %q, and to be ErrLimit: %v", err, c.member, c.limit)
			}
		})
	}
	huge := draft(t, call{n: 1, edit: func(e *lineage.Entry) { e.Operation = strings.Repeat("x", 64<<10) }})
	if _, err := lineage.Sign(t.Context(), signerOf(t, web), huge, lineage.Limits{}); !errors.Is(err, lineage.ErrLimit) {
		t.Errorf("an entry of over 64 KiB: %v", err)
	}
}

func hashes(n int) []lineage.Hash {
	out := make([]lineage.Hash, n)
	for i := range out {
		out[i] = lineage.HashJWS(fmt.Sprint(i))
	}
	return out
}
