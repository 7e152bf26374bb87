package conformance_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
	"pgregory.net/rapid"
)

// The model: random lineages as honest workloads make them, and naive answers to compare with.

var workloads = []string{"spiffe://example.org/a", "spiffe://example.org/b", "svc ünïcode \U0001f600", "python"}

var traces = []string{"4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000001"}

func workloadKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("kest conformance workload: " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func workloadSigner(t *rapid.T, name string) lineage.Signer {
	s, err := lineage.NewSigner(name, workloadKey(name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func workloadKeys(t testing.TB) *lineage.KeySet {
	keys := map[string][]ed25519.PublicKey{}
	for _, w := range workloads {
		keys[w] = []ed25519.PublicKey{workloadKey(w).Public().(ed25519.PublicKey)}
	}
	set, err := lineage.NewKeySet(keys)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func modelID(n int) string { return fmt.Sprintf("0199f0a5-8a11-7c31-8000-%012x", n) }

// distinct draws a sorted list of different strings.
func distinct(g *rapid.Generator[string], most int) *rapid.Generator[[]string] {
	return rapid.Map(rapid.SliceOfN(g, 0, most), func(s []string) []string {
		s = slices.DeleteFunc(slices.Clone(s), func(x string) bool { return x == "" })
		slices.Sort(s)
		return slices.Compact(s)
	})
}

// anyEntry draws an entry of any shape that the format allows, with hostile text wherever text may stand. Only its
// trust and taints need not follow from anything.
func anyEntry() *rapid.Generator[lineage.Entry] {
	return rapid.Custom(func(t *rapid.T) lineage.Entry {
		some := func(label string) string { return text().Filter(func(s string) bool { return s != "" }).Draw(t, label) }
		e := lineage.Entry{
			Runtime: lineage.Runtime{Name: some("runtime"), Version: text().Draw(t, "version")}, ID: modelID(rapid.IntRange(0, 1<<30).Draw(t, "id")),
			Operation: some("operation"), Classification: some("classification"), TrustScore: rapid.IntRange(0, 100).Draw(t, "trust"),
			AddedTaints: distinct(text(), 4).Draw(t, "added"), RemovedTaints: distinct(text(), 4).Draw(t, "removed"), Taints: distinct(text(), 4).Draw(t, "taints"),
			Labels:      rapid.MapOfN(text().Filter(func(s string) bool { return s != "" }), text(), 0, 6).Draw(t, "labels"),
			Environment: object(t, "environment"), OTelContext: object(t, "otel"),
			InputHash: digest(t, "input"), ContentHash: digest(t, "content"), TimestampMS: rapid.Int64Range(0, 1<<53-1).Draw(t, "time"),
		}
		maps.Copy(e.Labels, map[string]string{
			lineage.LabelPrincipal: rapid.SampledFrom(workloads).Draw(t, "principal"), lineage.LabelTraceID: rapid.SampledFrom(traces).Draw(t, "trace"),
			lineage.LabelSourceType: rapid.SampledFrom([]string{"internal", "llm", "moon", "\n"}).Draw(t, "source"),
		})
		if rapid.Bool().Draw(t, "overridden") {
			e.Labels[lineage.LabelTrustOverride] = strconv.Itoa(rapid.IntRange(0, 100).Draw(t, "override"))
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "parents") {
			e.Parents = append(e.Parents, lineage.HashJWS(strconv.Itoa(i)))
		}
		names := func(label string) []string {
			return rapid.SliceOfN(text().Filter(func(s string) bool { return s != "" }), 0, 3).Draw(t, label)
		}
		e.Policies = lineage.PolicyContext{Enterprise: names("enterprise"), Platform: names("platform"), Application: names("app"), Function: names("function")}
		for range rapid.IntRange(0, 2).Draw(t, "deviations") {
			e.Policies.Deviations = append(e.Policies.Deviations, lineage.Deviation{Policy: some("policy"), Tier: some("tier"),
				Reason: text().Draw(t, "reason"), Approver: text().Draw(t, "approver")})
		}
		return e
	})
}

func digest(t *rapid.T, label string) string {
	if rapid.Bool().Draw(t, label) {
		return ""
	}
	return lineage.HashJWS(label).String()
}

// object draws canonical objects.
func object(t *rapid.T, label string) lineage.Object {
	v := document(3).Filter(func(v jcs.Value) bool { return v.Kind == jcs.Object }).Draw(t, label)
	canonical, err := v.Append(nil, jcs.Options{Integers: jcs.Reject})
	if err != nil {
		return "" // a number beyond the range, a duplicate name
	}
	return lineage.Object(canonical)
}

// general encodes an entry as SPEC §2 describes it, by the general encoder and in no particular order of members.
func general(t *rapid.T, e lineage.Entry) string {
	str := func(s string) jcs.Value { return jcs.Value{Kind: jcs.String, Text: s} }
	num := func(n int64) jcs.Value { return jcs.Value{Kind: jcs.Number, Text: strconv.FormatInt(n, 10)} }
	strs := func(list []string) jcs.Value {
		v := jcs.Value{Kind: jcs.Array}
		for _, s := range list {
			v.Elems = append(v.Elems, str(s))
		}
		return v
	}
	obj := func(members map[string]jcs.Value) jcs.Value {
		v := jcs.Value{Kind: jcs.Object}
		for name, m := range members { // Go's map order: the encoder must sort
			v.Members = append(v.Members, jcs.Member{Name: name, Value: m})
		}
		return v
	}
	orNull := func(s string) jcs.Value {
		if s == "" {
			return jcs.Value{}
		}
		return str(s)
	}
	raw := func(o lineage.Object) jcs.Value {
		if o == "" {
			return obj(nil)
		}
		v, err := jcs.Parse([]byte(o), jcs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	parents := []string{"0"}
	if len(e.Parents) > 0 {
		parents = nil
		for _, h := range e.Parents {
			parents = append(parents, h.String())
		}
		slices.Sort(parents)
	}
	labels := map[string]jcs.Value{}
	for name, value := range e.Labels {
		labels[name] = str(value)
	}
	deviations := jcs.Value{Kind: jcs.Array}
	for _, d := range e.Policies.Deviations {
		deviations.Elems = append(deviations.Elems, obj(map[string]jcs.Value{"policy": str(d.Policy), "tier": str(d.Tier), "reason": orNull(d.Reason), "approver": orNull(d.Approver)}))
	}
	out, err := obj(map[string]jcs.Value{
		"schema_version": str("0.3.0"), "runtime": obj(map[string]jcs.Value{"name": str(e.Runtime.Name), "version": str(e.Runtime.Version)}),
		"entry_id": str(e.ID), "operation": str(e.Operation), "classification": str(e.Classification), "trust_score": num(int64(e.TrustScore)),
		"parent_ids": strs(parents), "added_taints": strs(e.AddedTaints), "removed_taints": strs(e.RemovedTaints), "taints": strs(e.Taints),
		"labels": obj(labels), "policy_context": obj(map[string]jcs.Value{"enterprise_policies": strs(e.Policies.Enterprise), "platform_policies": strs(e.Policies.Platform),
			"app_policies": strs(e.Policies.Application), "function_policies": strs(e.Policies.Function), "deviations": deviations}),
		"environment": raw(e.Environment), "otel_context": raw(e.OTelContext), "metadata": {}, "input_hash": str(e.InputHash),
		"content_hash": str(e.ContentHash), "timestamp_ms": num(e.TimestampMS),
	}).Append(nil, jcs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// dag draws a lineage: forks, joins, several traces and roots that are joined in the end, overrides, sanitizers.
// Trust and taints are computed here, naively, and not by the package.
func dag(t *rapid.T, most int) []*lineage.Signed {
	taints := []string{"pii", "external", "ünï", "z"}
	n := rapid.IntRange(1, most).Draw(t, "entries")
	var out []*lineage.Signed
	add := func(parents []*lineage.Signed) {
		by := rapid.SampledFrom(workloads).Draw(t, "by")
		source := rapid.SampledFrom([]string{"system", "internal", "verified_rag", "third_party_api", "user_input", "internet", "llm"}).Draw(t, "source")
		score := map[string]int{"system": 100, "internal": 100, "verified_rag": 90, "third_party_api": 60, "user_input": 40, "internet": 10, "llm": 0}[source]
		trace := rapid.SampledFrom(traces).Draw(t, "trace")
		e := lineage.Entry{Runtime: lineage.Runtime{Name: "kest-go"}, ID: modelID(len(out)), Operation: "op", Classification: "system",
			AddedTaints: distinct(rapid.SampledFrom(taints), 2).Draw(t, "added"),
			Labels:      map[string]string{lineage.LabelPrincipal: by, lineage.LabelSourceType: source},
		}
		lowest, have, joined := 100, map[string]bool{}, []string{}
		for i, p := range parents {
			pe := p.Entry()
			if i == 0 && rapid.Bool().Draw(t, "own trace") {
				trace = pe.TraceID()
			}
			lowest = min(lowest, pe.TrustScore)
			for _, x := range pe.Taints {
				have[x] = true
			}
			e.Parents = append(e.Parents, p.Hash())
			joined = append(joined, pe.TraceID())
		}
		e.TrustScore = score
		if len(parents) > 0 {
			e.TrustScore = lowest * score / 100
			e.Labels[lineage.LabelJoined] = strings.Join(joined, ",")
		}
		e.Labels[lineage.LabelTraceID] = trace
		switch rapid.IntRange(0, 3).Draw(t, "special") {
		case 0:
			e.TrustScore = rapid.IntRange(0, 100).Draw(t, "override")
			e.Labels[lineage.LabelTrustOverride] = strconv.Itoa(e.TrustScore)
			e.RemovedTaints = distinct(rapid.SampledFrom(taints), 2).Draw(t, "removed")
		case 1:
			e.Labels[lineage.LabelSanitizer] = "scrub"
			e.RemovedTaints = distinct(rapid.SampledFrom(taints), 2).Draw(t, "removed")
		}
		for _, x := range e.AddedTaints {
			have[x] = true
		}
		for _, x := range e.RemovedTaints {
			delete(have, x)
		}
		e.Taints = slices.Sorted(maps.Keys(have))
		s, err := lineage.Sign(t.Context(), workloadSigner(t, by), e, lineage.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	for len(out) < n {
		var parents []*lineage.Signed
		if len(out) > 0 && rapid.IntRange(0, 5).Draw(t, "root") > 0 {
			parents = rapid.SliceOfNDistinct(rapid.SampledFrom(out), 1, min(3, len(out)), func(s *lineage.Signed) lineage.Hash { return s.Hash() }).Draw(t, "parents")
		}
		add(parents)
	}
	add(naiveLeaves(out)) // ties all parts
	return out
}

// naiveLeaves are the entries that no entry names, in order of hash.
func naiveLeaves(entries []*lineage.Signed) []*lineage.Signed {
	named := map[lineage.Hash]bool{}
	for _, s := range entries {
		for _, p := range s.Entry().Parents {
			named[p] = true
		}
	}
	leaves := slices.DeleteFunc(slices.Clone(entries), func(s *lineage.Signed) bool { return named[s.Hash()] })
	slices.SortFunc(leaves, func(a, b *lineage.Signed) int { return strings.Compare(a.Hash().String(), b.Hash().String()) })
	return leaves
}

// shuffled draws another topological order.
func shuffled(t *rapid.T, entries []*lineage.Signed) []*lineage.Signed {
	var out []*lineage.Signed
	done, rest := map[lineage.Hash]bool{}, slices.Clone(entries)
	for len(rest) > 0 {
		var ready []int
		for i, s := range rest {
			if !slices.ContainsFunc(s.Entry().Parents, func(p lineage.Hash) bool { return !done[p] }) {
				ready = append(ready, i)
			}
		}
		i := rapid.SampledFrom(ready).Draw(t, "next")
		out, done[rest[i].Hash()] = append(out, rest[i]), true
		rest = slices.Delete(rest, i, i+1)
	}
	return out
}

func compactForms(entries []*lineage.Signed) []string {
	out := make([]string, len(entries))
	for i, s := range entries {
		out[i] = s.JWS()
	}
	return out
}
