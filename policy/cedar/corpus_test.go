package cedar_test

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
)

// The public corpus of Cedar, which comes inside cedar-go's module: policies, entities and requests, and what the
// reference implementation answers. It is read where the module is, so nothing of it is copied here.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Fatal("the module of cedar-go is not found:", err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(out)), "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// A sample is one file of the corpus.
type sample struct {
	Policies, Entities string
	Requests           []*question
}

type question struct {
	Principal, Action, Resource types.EntityUID
	Context                     json.RawMessage
	Decision                    string
	Reason, Errors              []string
}

// TestCorpus asks every question of the corpus twice. First with the request as it is, so that loading, the order of
// statements and the reading of the answer are tested for all of it. Then, where the request can be put as an input
// of Kest, through Evaluate: with its principal, action and resource renamed to ours,
// and its context as attributes. Renaming is from one to one, so it changes no answer.
func TestCorpus(t *testing.T) {
	files := corpus(t)
	step := corpusStep
	if testing.Short() {
		step = 20
	}
	var direct, mapped int
	skipped := map[string]int{}
	for i, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range files {
			if strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".entities.json") && !yield(name) {
				return
			}
		}
	}) {
		if i%step != 0 {
			continue
		}
		var s sample
		if err := json.Unmarshal(files[name], &s); err != nil {
			t.Fatal(name, err)
		}
		entities := files[s.Entities]
		engine, err := cedar.FS(tree{"p.cedar": string(files[s.Policies]), "entities.json": string(entities)}.fs())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for n, q := range s.Requests {
			var c types.Record
			if err := c.UnmarshalJSON(q.Context); err != nil {
				t.Fatal(name, err)
			}
			d, err := engine.Decide("p", cedargo.Request{Principal: q.Principal, Action: q.Action, Resource: q.Resource, Context: c})
			q.compare(t, name, n, d, err)
			direct++
			if why := q.ask(t, name, n, string(files[s.Policies]), string(entities)); why != "" {
				skipped[why]++
			} else {
				mapped++
			}
		}
	}
	t.Logf("%d requests asked as they are, %d of them through the mapping; not mapped: %v", direct, mapped, skipped)
	if least := 10_000 / step; direct < least || mapped < least/10 {
		t.Error("the corpus was hardly asked")
	}
}

// compare holds our answer against that of the reference: an error of any statement is an error here, and otherwise
// the decision is the same, and so are the statements that determined it.
func (q *question) compare(t *testing.T, name string, n int, d policy.Decision, err error) {
	t.Helper()
	if len(q.Errors) > 0 {
		if !errors.Is(err, policy.ErrIndefinite) || d.Allow {
			t.Errorf("%s, request %d: %+v %v; want the errors of %q", name, n, d, err, q.Errors)
		}
		return
	}
	if err != nil || d.Allow != (q.Decision == "allow") {
		t.Errorf("%s, request %d: %+v %v; want %s", name, n, d, err, q.Decision)
		return
	}
	for _, id := range q.Reason {
		if len(q.Reason) <= 8 && !strings.Contains(d.Reason, `"`+id+`"`) {
			t.Errorf("%s, request %d: reason %q lacks %q", name, n, d.Reason, id)
		}
	}
}

// ask puts the question through the public path, or says why it cannot be put.
func (q *question) ask(t *testing.T, name string, n int, text, entities string) (why string) {
	t.Helper()
	if q.Principal == q.Resource || q.Principal == q.Action || q.Resource == q.Action {
		return "one entity in two places: ours are of three types"
	}
	var attributes map[string]any
	d := json.NewDecoder(strings.NewReader(string(q.Context)))
	d.UseNumber()
	if err := d.Decode(&attributes); err != nil {
		t.Fatal(name, err)
	}
	if strings.Contains(string(q.Context), `"__e`) {
		return "entity or extension value in the context: JSON has none"
	}
	engine, err := cedar.FS(tree{"kest/p.cedar": q.policies(t, text), "entities.json": q.rewritten(t, entities)}.fs())
	if err != nil {
		t.Errorf("%s, renamed: %v", name, err)
		return ""
	}
	in := &policy.Input{Subject: policy.Subject{Workload: string(q.Principal.ID)}, Object: policy.Object{ID: cmp.Or(string(q.Resource.ID), emptyID)}, Attributes: attributes}
	decision, err := engine.Evaluate(t.Context(), "kest/p", in)
	q.compare(t, name, n, decision, err)
	return ""
}

// emptyID stands for a resource id that is empty, which is no object in Kest.
const emptyID = "empty"

// policies rewrites policies, in their JSON form, for a principal that is a Workload, a resource that is a Resource, an
// action that is a policy's name, and a context that is in the attributes. That changes no decision: each name of a thing gets one other name everywhere.
func (q *question) policies(t *testing.T, text string) string {
	t.Helper()
	list, err := cedargo.NewPolicyListFromBytes("p.cedar", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, p := range list {
		source, err := p.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var rewritten cedargo.Policy
		if err := rewritten.UnmarshalJSON([]byte(q.rewritten(t, string(source)))); err != nil {
			t.Fatal(err)
		}
		out.Write(rewritten.MarshalCedar())
		out.WriteByte('\n')
	}
	return out.String()
}

func (q *question) rewritten(t *testing.T, text string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if m, ok := v.(map[string]any); ok { // a policy: its scope
		q.scope(m["principal"], q.Principal.Type, "Workload")
		q.scope(m["resource"], q.Resource.Type, "Resource")
	}
	out, err := json.Marshal(q.rewrite(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func (q *question) scope(v any, from types.EntityType, to string) {
	if m, ok := v.(map[string]any); ok && m["op"] == "is" && m["entity_type"] == string(from) {
		m["entity_type"] = to
	}
}

func (q *question) rewrite(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = q.rewrite(v[i])
		}
	case map[string]any:
		typ, _ := v["type"].(string)
		id, isID := v["id"].(string)
		switch uid := types.NewEntityUID(types.EntityType(typ), types.String(id)); {
		case v["Var"] == "context":
			return map[string]any{".": map[string]any{"left": v, "attr": "attributes"}}
		case isID && len(v) == 2 && uid == q.Principal:
			v["type"] = "Workload"
		case isID && len(v) == 2 && uid == q.Resource:
			v["type"], v["id"] = "Resource", cmp.Or(id, emptyID)
		case isID && len(v) == 2 && uid == q.Action:
			v["type"], v["id"] = "Action", "kest/p"
		default:
			for name, inner := range v {
				v[name] = q.rewrite(inner)
			}
			if is, ok := v["is"].(map[string]any); ok && is["left"] != nil {
				return q.is(is)
			}
		}
	}
	return v
}

// is makes "x is T in e" into "x is T || x is Workload && …" where the principal was a T, and the same for the resource.
func (q *question) is(test map[string]any) any {
	left, in := test["left"], test["in"]
	var out any = map[string]any{"is": map[string]any{"left": left, "entity_type": test["entity_type"]}}
	or := func(from types.EntityType, to string) {
		if test["entity_type"] == string(from) {
			out = map[string]any{"||": map[string]any{"left": out, "right": map[string]any{"is": map[string]any{"left": left, "entity_type": to}}}}
		}
	}
	or(q.Principal.Type, "Workload")
	or(q.Resource.Type, "Resource")
	or(q.Action.Type, "Action")
	if in != nil {
		out = map[string]any{"&&": map[string]any{"left": out, "right": map[string]any{"in": map[string]any{"left": left, "right": in}}}}
	}
	return out
}
