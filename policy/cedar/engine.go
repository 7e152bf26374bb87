package cedar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/tree"
)

// Config says how policies are loaded. The zero value is ready to use.
type Config struct {
	// Schema is the schema file, by its path in the tree: Cedar's own form, or its JSON form where the name ends
	// in .json. It must be there. Empty means schema.cedarschema at the top, if there is one.
	Schema string

	// CheckInput checks the policies of a tree that has no schema against [InputSchema], so that a misspelt member of
	// the context is an error when it is loaded. Policies that read attributes or labels need a schema of their own,
	// which declares them; so do entities.
	CheckInput bool

	// Entities is the file of entities, by its path in the tree. It must be there. Empty means entities.json at
	// the top, if there is one.
	Entities string

	// Limits bound what a load reads. Zero fields have defaults.
	Limits Limits

	// Logger receives what [Engine.Watch] finds. nil is slog.Default().
	Logger *slog.Logger
}

// An Engine evaluates the policies of one tree. It is a [policy.Engine] and a [policy.Checker], safe for
// concurrent use, and holds no file or goroutine between calls.
type Engine struct {
	schema, entities beside
	checkInput       bool

	keeper  tree.Keeper
	current atomic.Pointer[set]
}

// beside is a file beside the policies. One that the configuration names must be there: without its entities a
// forbid for a group would forbid nobody.
type beside struct {
	name string
	must bool
}

var (
	_ policy.Engine  = (*Engine)(nil)
	_ policy.Checker = (*Engine)(nil)
)

// Dir loads the policies of a folder with the zero [Config].
func Dir(path string) (*Engine, error) { return Config{}.Dir(path) }

// FS loads the policies of a file system, for example an [embed.FS], with the zero [Config].
func FS(fsys fs.FS) (*Engine, error) { return Config{}.FS(fsys) }

// Dir loads the policies of a folder. Nothing outside it is read, links included ([os.Root]). The error joins one
// [SourceError] for each fault in a file.
func (c Config) Dir(path string) (*Engine, error) {
	source, err := tree.Dir(path)
	if err != nil {
		return nil, err
	}
	return c.engine(source)
}

// FS loads the policies of a file system. Whether a link can leave it is up to fsys: [os.DirFS] lets it, so
// prefer Dir for folders.
func (c Config) FS(fsys fs.FS) (*Engine, error) {
	source, err := tree.FS(fsys)
	if err != nil {
		return nil, err
	}
	return c.engine(source)
}

func (c Config) engine(source tree.Source) (*Engine, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		checkInput: c.CheckInput,
		schema:     beside{cmp.Or(c.Schema, "schema.cedarschema"), c.Schema != ""},
		entities:   beside{cmp.Or(c.Entities, "entities.json"), c.Entities != ""},
	}
	e.keeper = tree.Keeper{
		Source: source, Limits: tree.Limits(c.Limits.orDefault()), Wanted: e.wanted, Install: e.install,
		Fault: func(f *tree.FileError) error { return (*SourceError)(f) }, Log: cmp.Or(c.Logger, slog.Default()),
	}
	if err := e.Reload(context.Background()); err != nil {
		return nil, err
	}
	return e, nil
}

func (c Config) validate() error {
	var errs []error
	if c.Limits.Files < 0 || c.Limits.FileBytes < 0 || c.Limits.TotalBytes < 0 {
		errs = append(errs, errors.New("negative limit; zero means the default"))
	}
	errs = append(errs, checkName("Schema", c.Schema), checkName("Entities", c.Entities))
	if c.Schema != "" && c.Schema == c.Entities {
		errs = append(errs, errors.New("Config.Schema and Config.Entities name one file; give each its own"))
	}
	return errors.Join(errs...)
}

// checkName reports what is wrong with the name of a file that lies beside the policies.
func checkName(field, name string) error {
	if name == "" || fs.ValidPath(name) && !tree.Hidden(name) && !isPolicy(name) {
		return nil
	}
	return fmt.Errorf("file %q in Config.%s is none that the tree can hold for this; "+
		"give its path in the tree, for example model/file.json", name, field)
}

// Evaluate asks the policy name about in. See the package comment for the classes of errors.
func (e *Engine) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	s := e.current.Load()
	p := s.policies[name]
	if p == nil {
		return policy.Decision{}, unknown(name)
	}
	if in == nil {
		return policy.Decision{}, &evalError{policy: name, class: policy.ErrIndefinite, text: "nil input"}
	}
	if err := ctx.Err(); err != nil {
		return policy.Decision{}, stopped(name, err)
	}
	return s.decide(ctx, p, in)
}

// unknown quotes the name only when it is valid, so short and plain.
func unknown(name string) error {
	if err := policy.ValidateName(name); err != nil {
		return fmt.Errorf("%w: %w", policy.ErrUnknownPolicy, err)
	}
	return fmt.Errorf("policy %q: %w: there is no file %s.cedar", name, policy.ErrUnknownPolicy, name)
}

// Check reports whether the policy can be asked. A tree with a broken policy is not loaded, so it never has to say
// that one is broken.
func (e *Engine) Check(name string) error {
	if e.current.Load().policies[name] == nil {
		return unknown(name)
	}
	return nil
}

// Policies returns the names that can be evaluated, sorted.
func (e *Engine) Policies() []string { return slices.Sorted(maps.Keys(e.current.Load().policies)) }

// Revision identifies the loaded files: a hash of their names and contents. Decisions carry it.
func (e *Engine) Revision() string { return e.current.Load().revision }
