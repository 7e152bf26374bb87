package rego

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/kest-go/kest/policy"
)

// These tests are inside the package: what a policy is not shown is not to be seen from outside.

// names lists what r holds: a member that is built whole, or what is read of it. "*" is all.
func (r *reads) names() string {
	if r.whole == every {
		return "*"
	}
	var out []string
	for name, f := range topLevel {
		if r.whole&f != 0 {
			out = append(out, name)
			continue
		}
		for _, member := range r.members[f] {
			out = append(out, name+"."+string(member.(ast.String)))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Leaving out what no rule reads must not change an answer: each of these reads the input in another way.
func TestReads(t *testing.T) {
	tests := map[string]string{
		"allow if input.trust_score >= 40":                                      "trust_score",
		"allow if input[\"trust_score\"] >= 40":                                 "trust_score",
		"allow if not input.subject.taints":                                     "subject.taints",
		"allow if input.nothing":                                                "",
		"allow if input.subject.nothing":                                        "subject.nothing",
		"allow if count(input) == 8":                                            "*",
		"allow if { some k; input[k] }":                                         "*",
		"allow if { k := \"subject\"; input[k] }":                               "*",
		"allow if { x := input; x.subject }":                                    "*",
		"allow if { walk(input, [_, v]); v == 1 }":                              "*",
		"allow if { [_, v] = walk(input); v == 80 }":                            "*",
		"allow if f(input)\nf(x) if x.subject":                                  "*",
		"allow if input == {}":                                                  "*",
		"allow if { some x in input }":                                          "*",
		"allow if { every x in input { x } }":                                   "*",
		"allow if {1: input}[1].subject":                                        "*",
		"allow if count([x | x := input.lineage]) == 1":                         "lineage",
		"allow if count({x: y | x := input.identity; y := input.object}) == 1":  "identity object",
		"allow if input.attributes[input.environment.operation]":                "attributes environment.operation",
		"allow if data.x[input.subject.user]":                                   "subject.user",
		"allow if input.attributes[[input.object.id][0]]":                       "attributes object.id",
		"allow if p with input as {\"trust_score\": 1}\np if input.trust_score": "*",
		"allow if p with input.subject as input.object\np if input.trust_score": "object subject trust_score",
		"allow if p with input.lineage.steps as []\np if input.lineage.length":  "lineage.length lineage.steps",
		"allow if false\nelse if input.lineage.length > 3":                      "lineage.length",
		"allow if false\nelse if other\nother if input.subject.user == \"u\"":   "subject.user",
		"allow := x if { x := input.object.id == \"o\" }":                       "object.id",
		"allow if $\"{input.subject.user}\" == \"u\"":                           "subject.user",
		"allow if m[\"u\"]\nm[input.subject.user] := input.object.id":           "object.id subject.user",
		"allow if s.u.y\ns[input.subject.user][k] contains 1 if k := \"y\"":     "subject.user",
		"allow if not not_ok\nnot_ok if \"x\" in input.subject.taints":          "subject.taints",
		"default allow := false\nallow if g(1)\ng(x) := input.lineage if x > 0": "lineage",

		// The members of lineage that come from the history (SPEC §7).
		"allow if { input.lineage.length > 1; input.lineage.min_trust > 1 }":                         "lineage.length lineage.min_trust",
		"allow if \"s\" in input.lineage.source_types":                                               "lineage.source_types",
		"allow if { some s in input.lineage.steps; s.operation == \"op\" }":                          "lineage.steps",
		"allow if { some a in input.lineage.acts; a.resource == input.object.id }":                   "lineage.acts object.id",
		"allow if { some i; input.lineage.ancestors[i].operation == \"op\" }":                        "lineage.ancestors",
		"allow if { l := input.lineage; l.operations[_] == \"op\" }":                                 "lineage",
		"allow if { l := input.lineage.operations; l[_] == \"op\" }":                                 "lineage.operations",
		"allow if { k := \"taints\"; count(input.lineage[k]) > 0 }":                                  "lineage",
		"allow if { some k, v in input.lineage; k == \"taints\"; v[0] == \"x\" }":                    "lineage",
		"allow if object.get(input, [\"lineage\", \"taints\"], [])[0] == \"x\"":                      "*",
		"allow if object.get(input.lineage, \"taints\", [])[0] == \"x\"":                             "lineage",
		"allow if input.lineage[input.environment.operation]":                                        "environment.operation lineage",
		"allow if q with input.lineage.taints as [\"y\"]\nq if input.lineage.taints == [\"y\"]":      "lineage.taints",
		"allow if q with input.lineage as {}\nq if not input.lineage.taints":                         "lineage",
		"allow if input.labels.level == \"secret\"":                                                  "labels.level",
		"allow if { some name; input.labels[name] == \"secret\" }":                                   "labels",
		"import input.lineage as l\nimport input as all\nallow if { l.length; all.object.id }":       "lineage.length object.id",
		"allow if data.p.other\nother if input.subject.user":                                         "subject.user",
		"allow if data.q[input.environment.operation]":                                               "environment.operation subject.task",
		"allow if { k := \"q\"; data[k].op }":                                                        "subject.task",
		"allow if data[[\"q\"][0]].op":                                                               "subject.task",
		"allow if f(1) with f as g\nf(_) if false\ng(_) if input.subject.task":                       "subject.task",
		"allow if count([]) == 1 with count as g\ng(_) := 1 if input.subject.task":                   "subject.task",
		"allow if data.x with data.x as other\nother if input.subject.user":                          "subject.user",
		"allow if op\nop if input.subject.user\nunasked if input.lineage.steps":                      "subject.user",
		"allow if { x := {r | some r; data.p.set[r]}; \"u\" in x }\nset contains input.subject.user": "subject.user",
	}
	for rules, want := range tests {
		t.Run(rules, func(t *testing.T) {
			e, err := FS(fstest.MapFS{"p.rego": {Data: []byte("package p\n" + rules)},
				"q.rego": {Data: []byte("package q\nop if input.subject.task")}, "data.json": {Data: []byte(`{"x": {"u": true}}`)}})
			if err != nil {
				t.Fatal(err)
			}
			s := e.current.Load()
			p := s.policies["p"]
			got := p.reads.names()
			missing := func(name string) bool { return !slices.Contains(strings.Fields(got), name) }
			if want != got && (want == "*" || slices.ContainsFunc(strings.Fields(want), missing)) {
				t.Errorf("reads %q, want %q", got, want)
			}
			if want != "*" && got != want {
				t.Logf("reads %q, more than %q", got, want)
			}
			all := *p
			all.reads = allFields
			for name, in := range inputs() {
				one, err1 := e.decide(t.Context(), s, p, in)
				other, err2 := e.decide(t.Context(), s, &all, in)
				if (err1 == nil) != (err2 == nil) || (one == nil) != (other == nil) || one != nil && one.Compare(other) != 0 {
					t.Errorf("%s: %v %v with what it reads, %v %v with all", name, one, err1, other, err2)
				}
			}
		})
	}
}

// A call pays for its history only when its policy reads that: not for other policies of the tree, and not for what
// else lineage holds.
func TestHistoryIsLazy(t *testing.T) {
	e, err := FS(fstest.MapFS{
		"cheap.rego": {Data: []byte("package cheap\nallow if { input.lineage.length == 2; input.lineage.min_trust == 3; " +
			"input.lineage.principals == []; input.lineage.source_types == []; input.trust_score == 0; input.subject.user == null }")},
		"dear.rego": {Data: []byte("package dear\nallow if { some s in input.lineage.steps; s.operation == \"op\" }")},
	})
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	in := &policy.Input{Lineage: policy.Lineage{Length: 2, MinTrust: 3, History: policy.NewHistory(func() []policy.Ancestor {
		read++
		return []policy.Ancestor{{Operation: "op"}}
	})}}
	for i, name := range []string{"cheap", "dear", "dear"} {
		d, err := e.Evaluate(context.Background(), name, in)
		if err != nil || !d.Allow || read != min(i, 1) {
			t.Errorf("%s: %+v %v, history read %d times", name, d, err, read)
		}
	}
}

// What is made of a history serves every policy of the call, so none may change it for the others.
func TestHistoryIsShared(t *testing.T) {
	e, err := FS(fstest.MapFS{
		"changes.rego": {Data: []byte(`package changes
allow if { none with input.lineage.steps as []; other with input.lineage.steps as [{"operation": "x"}] }
none if input.lineage.steps == []
other if input.lineage.steps[0].operation == "x"`)},
		"reads.rego": {Data: []byte("package reads\nallow if input.lineage.steps == [{\"operation\": \"op\", \"principal\": \"p\", \"outcome\": \"ok\"}]")},
	})
	if err != nil {
		t.Fatal(err)
	}
	in := &policy.Input{Lineage: policy.Lineage{History: history(policy.Ancestor{Operation: "op", Principal: "p", Outcome: "ok"})}}
	for _, name := range []string{"reads", "changes", "reads"} {
		if d, err := e.Evaluate(context.Background(), name, in); err != nil || !d.Allow {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
}

// Every member of the document that is made of members can be read one by one, and is then as it is in the whole.
func TestEveryMemberAlone(t *testing.T) {
	for input, in := range inputs() {
		for top, v := range in.Document() {
			members, _ := v.(map[string]any)
			for name := range maps.Keys(members) {
				var r reads
				r.add(ast.InputRootRef.Append(ast.StringTerm(top)).Append(ast.StringTerm(name)))
				got, err := inputTerm(in, r)
				if err != nil {
					t.Fatal(err)
				}
				want, err := ast.InterfaceToValue(in.Document()[top].(map[string]any)[name])
				if err != nil {
					t.Fatal(err)
				}
				value, err := got.Value.Find(ast.Ref{ast.StringTerm(top), ast.StringTerm(name)})
				if err != nil || value.Compare(want) != 0 {
					t.Errorf("%s: %s.%s is %v (%v), want %v", input, top, name, value, err, want)
				}
			}
		}
	}
}

// BenchmarkInput makes what a policy reads, which costs the same however long the line of calls is, since nobody asks
// for its history.
func BenchmarkInput(b *testing.B) {
	e, err := FS(fstest.MapFS{"p.rego": {Data: []byte(`package p
allow if {
	input.subject.trust_score >= 40
	input.subject.user == "ada"
	input.environment.operation == "pay"
	not "internet" in input.lineage.source_types
}`)}})
	if err != nil {
		b.Fatal(err)
	}
	want := e.current.Load().policies["p"].reads
	for _, depth := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			in := &policy.Input{
				Subject: policy.Subject{Workload: "spiffe://example.org/payments", User: "ada", TrustScore: 80},
				Lineage: policy.Lineage{
					Length: depth, SourceTypes: []string{"internal"},
					History: policy.NewHistory(func() []policy.Ancestor { b.Fatal("the history was read"); return nil }),
				},
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := inputTerm(in, want); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
