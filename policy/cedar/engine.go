package cedar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kest-go/kest/policy"
)

// Config says how policies are loaded. The zero value is ready to use.
type Config struct {
	// Schema is the schema file, by its path in the tree: Cedar's own form, or its JSON form where the name ends
	// in .json. It must be there. Empty means schema.cedarschema at the top, if there is one.
	Schema string

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
	open             func() (fs.FS, io.Closer, error)
	prefix           string
	schema, entities source
	limits           Limits
	log              *slog.Logger

	current atomic.Pointer[set]
	loading sync.Mutex // one load at a time, so that an older reading cannot replace a newer one
}

// A source is a file beside the policies. One that the configuration names must be there: without its entities a
// forbid for a group would forbid nobody.
type source struct {
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
	abs, err := filepath.Abs(path) // a reload must not depend on the working directory of that moment
	if err != nil {
		return nil, fmt.Errorf("policies %s: %w", path, err)
	}
	return c.engine(filepath.ToSlash(filepath.Clean(path)), func() (fs.FS, io.Closer, error) {
		root, err := os.OpenRoot(abs)
		if err != nil {
			return nil, nil, cause(err)
		}
		return root.FS(), root, nil
	})
}

// FS loads the policies of a file system. Whether a link can leave it is up to fsys: [os.DirFS] lets it, so
// prefer Dir for folders.
func (c Config) FS(fsys fs.FS) (*Engine, error) {
	if fsys == nil {
		return nil, errors.New("policies: nil file system")
	}
	return c.engine("", func() (fs.FS, io.Closer, error) { return fsys, nopCloser{}, nil })
}

type nopCloser struct{}

func (nopCloser) Close() error { return nil }

func (c Config) engine(prefix string, open func() (fs.FS, io.Closer, error)) (*Engine, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		open: open, prefix: prefix, limits: c.Limits.orDefault(), log: cmp.Or(c.Logger, slog.Default()),
		schema:   source{cmp.Or(c.Schema, "schema.cedarschema"), c.Schema != ""},
		entities: source{cmp.Or(c.Entities, "entities.json"), c.Entities != ""},
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
	errs = append(errs, beside("Schema", c.Schema), beside("Entities", c.Entities))
	if c.Schema != "" && c.Schema == c.Entities {
		errs = append(errs, errors.New("Config.Schema and Config.Entities name one file; give each its own"))
	}
	return errors.Join(errs...)
}

// beside reports what is wrong with the name of a file that lies beside the policies.
func beside(field, name string) error {
	if name == "" || fs.ValidPath(name) && !hidden(name) && !isPolicy(name) {
		return nil
	}
	return fmt.Errorf("file %q in Config.%s is none that the tree can hold for this; "+
		"give its path in the tree, for example model/file.json", name, field)
}

// display is how people see the name of a file.
func (e *Engine) display(name string) string {
	if e.prefix == "" {
		return name
	}
	return strings.TrimSuffix(e.prefix, "/") + "/" + name
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
	request, err := p.request(in)
	if err != nil {
		return policy.Decision{}, &evalError{policy: name, class: policy.ErrIndefinite, text: err.Error()}
	}
	return s.decide(ctx, p, request)
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
