package cedar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
	exptypes "github.com/cedar-policy/cedar-go/x/exp/types"

	"github.com/kest-go/kest/policy/internal/tree"
)

// maxSchema bounds a schema in bytes whatever Limits say: cedar-go parses it by recursion too.
const maxSchema = 1 << 20

// A model is what the policies are about: the entities, and a schema if there is one.
type model struct {
	entities types.EntityMap
	schema   *resolved.Schema // nil: nothing is checked
	builtIn  bool             // schema is [InputSchema]
}

func (l *loader) model() (*model, error) {
	m := &model{}
	f, err := l.beside(l.engine.schema)
	if err != nil {
		return nil, err
	}
	for _, other := range l.tree.Files {
		if isSchema(other.Path) && other.Path != l.engine.schema.name { // its author believes that it is used
			return nil, &SourceError{File: l.display(other.Path),
				Message: "not the schema of this tree, which is " + l.engine.schema.name + "; name it in Config.Schema, or remove it"}
		}
	}
	if f == nil && l.engine.checkInput {
		f, m.builtIn = l.builtIn(), true
	}
	if f != nil {
		if m.schema, err = l.schema(f); err != nil {
			return nil, err
		}
	}
	if f, err = l.beside(l.engine.entities); err != nil {
		return nil, err
	}
	err = m.fill(l, f)
	return m, err
}

func (l *loader) beside(s beside) (*tree.File, error) {
	f := l.tree.Find(s.name)
	if f == nil && s.must {
		return nil, &SourceError{File: l.display(s.name), Message: "not found, and the configuration names it"}
	}
	return f, nil
}

func (l *loader) schema(f *tree.File) (*resolved.Schema, error) {
	shown := l.display(f.Path)
	if len(f.Data) > maxSchema {
		return nil, &SourceError{File: shown, Message: fmt.Sprintf("more than the %d bytes that a schema may have", maxSchema)}
	}
	var s schema.Schema
	parse := s.UnmarshalCedar
	s.SetFilename("<input>")
	if strings.HasSuffix(f.Path, ".json") {
		parse = s.UnmarshalJSON
	}
	if err := parse(f.Data); err != nil {
		return nil, jsonFault(shown, f.Data, err)
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, &SourceError{File: shown, Message: oneLine(err.Error())}
	}
	return r, nil
}

// fill reads the entities one by one, so that a fault has a line. A schema gives values their types and adds the
// groups of actions that it declares, as Cedar does.
func (m *model) fill(l *loader, f *tree.File) error {
	m.entities = types.EntityMap{}
	var errs []error
	if f != nil {
		errs = m.parse(l.display(f.Path), f.Data)
	}
	if m.schema != nil {
		for id, action := range m.schema.Actions {
			m.entities[id] = action.Entity
		}
	}
	return errors.Join(errs...)
}

func (m *model) parse(shown string, data []byte) (errs []error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return []error{&SourceError{File: shown, Line: 1, Message: "not a JSON array of entities"}}
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return append(errs, &SourceError{File: shown, Line: lineAt(data, d.InputOffset()), Message: oneLine(err.Error())})
		}
		if err := m.entity(raw); err != nil {
			start := d.InputOffset() - int64(len(raw))
			errs = append(errs, &SourceError{File: shown, Line: lineAt(data, start), Message: oneLine(err.Error())})
		}
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return append(errs, &SourceError{File: shown, Line: lineAt(data, int64(len(data))), Message: "the array does not end"})
	}
	if d.More() {
		return append(errs, &SourceError{File: shown, Line: lineAt(data, d.InputOffset()), Message: "more text after the array"})
	}
	return errs
}

func (m *model) entity(raw []byte) error {
	var e types.Entity
	var err error
	if m.schema == nil {
		err = json.Unmarshal(raw, &e)
	} else {
		err = (*exptypes.Entity)(&e).UnmarshalJSONWithSchema(raw, m.schema)
	}
	if err != nil {
		return err
	}
	if _, twice := m.entities[e.UID]; twice {
		return fmt.Errorf("entity %s is given twice", e.UID)
	}
	m.entities[e.UID] = e
	return nil
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n"))
}

// offset finds the byte that go-json-experiment writes into its errors.
var offset = regexp.MustCompile(`after offset (\d+)`)

// jsonFault gives a fault the line that cedar-go's JSON or Cedar parser knows.
func jsonFault(shown string, data []byte, err error) *SourceError {
	s := sourceError(shown, "", err)
	if at := offset.FindStringSubmatch(err.Error()); s.Line == 0 && at != nil {
		n, _ := strconv.ParseInt(at[1], 10, 64) // out of range: the last line
		s.Line = lineAt(data, n)
	}
	return s
}

// check validates one policy against what it can be asked: its own action, by a workload, about a resource. The
// schema may say other things of other actions.
func (m *model) check(p *named, shown string) error {
	if m.schema == nil {
		return nil
	}
	action := uid(typeAction, p.name)
	declared, ok := m.schema.Actions[action]
	if !ok || declared.AppliesTo == nil ||
		!slices.Contains(declared.AppliesTo.Principals, typeWorkload) ||
		!slices.Contains(declared.AppliesTo.Resources, typeResource) {
		return &SourceError{File: shown, Policy: p.name,
			Message: fmt.Sprintf("the schema declares no action %q for principal Workload and resource Resource", p.name)}
	}
	v := validate.New(m.only(action))
	var errs []error
	for _, s := range p.statements {
		err := v.Policy("", (*ast.Policy)(s.policy.AST()))
		if fault := misspelt(s.policy, declared.AppliesTo.Context); m.builtIn && fault != "" {
			err = errors.New(fault)
		}
		if err != nil {
			errs = append(errs, &SourceError{File: shown, Line: s.policy.Position().Line, Policy: p.name,
				Message: oneLine(string(s.id) + ": " + err.Error())})
		}
	}
	return errors.Join(errs...)
}

// only returns the schema with one action that applies to anything.
func (m *model) only(action types.EntityUID) *resolved.Schema {
	s := *m.schema
	s.Actions = maps.Clone(s.Actions)
	for id, a := range s.Actions {
		a.AppliesTo = nil
		if id == action {
			a.AppliesTo = &resolved.AppliesTo{
				Principals: []types.EntityType{typeWorkload}, Resources: []types.EntityType{typeResource},
				Context: m.schema.Actions[id].AppliesTo.Context,
			}
		}
		s.Actions[id] = a
	}
	return &s
}
