package cedar

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/tree"
)

// Limits of one statement. cedar-go parses and evaluates by recursion without a bound of its own, and a stack that
// overflows ends the process: no recover helps. "context has a.b.c" becomes three tests, so its length counts squared.
const (
	maxStatement = 64 << 10 // bytes, comments included
	maxChain     = 64       // attributes in a row, as in a.b.c
)

// load compiles every file and joins the faults of all, so that one run shows everything that is to be mended.
func (e *Engine) load(ctx context.Context, t *tree.Tree) (s *set, err error) {
	defer func() {
		if r := recover(); r != nil { // the validator is experimental; a reload must not end the process
			s, err = nil, fmt.Errorf("loading ended with a panic of type %T", r)
		}
	}()
	s = &set{revision: t.Revision, policies: map[string]*named{}}
	l := loader{engine: e, tree: t}
	model, err := l.model()
	if err != nil {
		return nil, err
	}
	s.entities = model.entities
	var errs []error
	for _, f := range t.Files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !isPolicy(f.Path) {
			continue
		}
		p, err := l.policy(f)
		if err == nil {
			err = model.check(p, l.display(f.Path))
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.policies[p.name] = p
	}
	if len(errs) == 0 && len(s.policies) == 0 {
		return nil, errors.New("no policy files (*.cedar) found")
	}
	return s, errors.Join(errs...)
}

// A loader turns one tree into a set.
type loader struct {
	engine *Engine
	tree   *tree.Tree
}

func (l *loader) display(name string) string { return l.engine.keeper.Source.Display(name) }

// policy parses the one file of one policy.
func (l *loader) policy(f tree.File) (*named, error) {
	shown, name := l.display(f.Path), strings.TrimSuffix(f.Path, ".cedar")
	fault := func(line int, message string) error {
		return &SourceError{File: shown, Line: line, Policy: name, Message: message}
	}
	if err := policy.ValidateName(name); err != nil { // nobody could ask it, so it would protect nothing
		return nil, &SourceError{File: shown, Message: oneLine(err.Error()) + "; rename the file, whose path is the policy's name"}
	}
	if line, message := unbounded(f.Data); message != "" {
		return nil, fault(line, message)
	}
	list, err := cedar.NewPolicyListFromBytes(shown, f.Data)
	if err != nil {
		return nil, sourceError(shown, name, err)
	}
	if len(list) == 0 {
		return nil, fault(0, "empty file; write a policy or remove it")
	}
	p := &named{name: name, silent: "no permit of " + shown + " applies"}
	lines := make(map[cedar.PolicyID]int, len(list))
	for i, statement := range list {
		s := newStatement(statement, i)
		line := statement.Position().Line
		if first, taken := lines[s.id]; taken {
			return nil, fault(line, fmt.Sprintf("the id %q is that of line %d too; give each its own", oneLine(string(s.id)), first))
		}
		lines[s.id] = line
		p.statements = append(p.statements, s)
		p.reads.add(statement)
	}
	return p, nil
}

// newStatement names a statement by its @id, or else by its index, as Cedar does.
func newStatement(p *cedar.Policy, index int) statement {
	id := string(p.Annotations()["id"])
	if id == "" {
		id = "policy" + strconv.Itoa(index)
	}
	effect, at := "forbid", p.Position()
	if p.Effect() == types.Permit {
		effect = "permit"
	}
	return statement{
		id: cedar.PolicyID(id), policy: p,
		shown: fmt.Sprintf("%s %q (%s:%d)", effect, oneLine(id), at.Filename, at.Line),
	}
}

// unbounded reports the line of the first statement that is too much for a recursive parser, and why. Where a
// statement ends is plain without parsing: at a semicolon that stands in no text and no comment.
func unbounded(data []byte) (line int, message string) {
	line, start, chain := 1, 0, 0
	for i := 0; i <= len(data); i++ {
		if i-start > maxStatement {
			return line, fmt.Sprintf("statement of more than %d bytes; split it, or move lists into the entities file", maxStatement)
		}
		if i >= len(data) {
			break
		}
		switch b := data[i]; {
		case b == '\n':
			line++
		case b == ';':
			start, chain = i+1, 0
		case b == '"':
			i += text(data[i+1:])
			chain = 0
		case b == '/' && i+1 < len(data) && data[i+1] == '/':
			for i+1 < len(data) && data[i+1] != '\n' {
				i++
			}
		case b == '.':
			if chain++; chain > maxChain {
				return line, fmt.Sprintf("more than %d attributes in a row; nothing that can be asked is as deep", maxChain)
			}
		case !partOfChain(b):
			chain = 0
		}
	}
	return 0, ""
}

// text returns the length of a text with its closing quote.
func text(data []byte) int {
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// partOfChain reports whether b can stand between the dots of a.b.c.
func partOfChain(b byte) bool {
	return b == ' ' || b == '\t' || b == '\r' || b == '_' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}
