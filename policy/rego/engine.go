package rego

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/tree"
)

// Config says how policies are loaded and evaluated. The zero value is ready to use.
type Config struct {
	// Timeout bounds one evaluation; an earlier deadline of the context counts too. Zero is one second (SPEC §7).
	Timeout time.Duration

	// Prefix is the package below which the policies are, in the form of a policy name: with "acme" the policy
	// baseline-auth is package acme["baseline-auth"]. Rego needs it for names that begin with no word of its own. Packages
	// elsewhere are for others to use. Empty: the whole tree.
	Prefix string

	// Data is added to the data files of the tree, for values that the program knows: JSON values only. A path
	// that a file gives too is an error.
	Data map[string]any

	// InsecureBuiltins are built-in functions of [Refused] that policies may call all the same, by name. With
	// "http.send" a policy can reach every host that the process can reach.
	InsecureBuiltins []string

	// CheckInput checks what policies read of the input against [policy.InputSchema], so that input.subjct.user, or a
	// number compared with a text, is an error when they are loaded. It counts for all modules of the tree, those for
	// other programs too. Labels and attributes may hold anything.
	CheckInput bool

	// Limits bound what a load reads. Zero fields have defaults.
	Limits Limits

	// Logger receives the warning for Rego v0, and what [Engine.Watch] finds. nil is slog.Default().
	Logger *slog.Logger
}

// An Engine evaluates the policies of one tree. It is a [policy.Engine] and a [policy.Checker], safe for
// concurrent use, and holds no file or goroutine between calls.
type Engine struct {
	timeout  time.Duration
	insecure bool
	prefix   string // of packages, with "/", or empty
	data     []byte // JSON object

	forbidden map[string]string
	v0, v1    *ast.Capabilities
	schemas   *ast.SchemaSet // nil: the input is not checked

	keeper  tree.Keeper
	current atomic.Pointer[set]
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
	no, err := forbidden(c.InsecureBuiltins)
	if err != nil {
		return nil, err
	}
	if c.Timeout < 0 || c.Limits.Files < 0 || c.Limits.FileBytes < 0 || c.Limits.TotalBytes < 0 {
		return nil, errors.New("negative timeout or limit; zero means the default")
	}
	if c.Prefix != "" {
		if err := policy.ValidateName(c.Prefix); err != nil {
			return nil, fmt.Errorf("Config.Prefix: %w", err)
		}
		c.Prefix += "/"
	}
	data, err := json.Marshal(c.Data)
	if err != nil {
		return nil, fmt.Errorf("Config.Data: %w", err)
	}
	e := &Engine{
		data: data, prefix: c.Prefix, timeout: cmp.Or(c.Timeout, time.Second), insecure: len(c.InsecureBuiltins) > 0,
		forbidden: no, v0: capabilities(ast.RegoV0, no), v1: capabilities(ast.RegoV1, no),
	}
	if c.CheckInput {
		if e.schemas, err = inputSchema(); err != nil {
			return nil, err
		}
	}
	e.keeper = tree.Keeper{
		Source: source, Limits: tree.Limits(c.Limits.orDefault()), Wanted: wanted, Salt: data, Install: e.install,
		Fault: func(f *tree.FileError) error { return (*SourceError)(f) }, Log: cmp.Or(c.Logger, slog.Default()),
	}
	if err := e.Reload(context.Background()); err != nil {
		return nil, err
	}
	return e, nil
}

// Evaluate asks the policy name about in. See the package comment for the classes of errors.
func (e *Engine) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	s := e.current.Load()
	p := s.policies[name]
	if p == nil {
		return policy.Decision{}, s.unknown(name)
	}
	if in == nil {
		return policy.Decision{}, &evalError{policy: name, class: policy.ErrIndefinite, text: "nil input"}
	}
	value, err := e.decide(ctx, s, p, in)
	if bad := (*inputError)(nil); errors.As(err, &bad) {
		return policy.Decision{}, &evalError{policy: name, class: policy.ErrIndefinite, text: bad.Error()}
	}
	if err != nil {
		return policy.Decision{}, failure(name, err)
	}
	if value == nil {
		return policy.Decision{}, &evalError{policy: name, class: policy.ErrIndefinite, text: "rule allow has no value " +
			"for this input; give it a default"}
	}
	allow, ok := definite(value)
	if !ok {
		return policy.Decision{}, &evalError{policy: name, class: policy.ErrIndefinite, text: "rule allow is of type " +
			ast.ValueName(value) + `; make it a boolean, or {"allow": boolean} without more members`}
	}
	d := policy.Decision{Allow: allow, Revision: s.revision}
	if !allow {
		d.Reason = p.denied
	}
	return d, nil
}

// unknown explains why there is no policy of that name. It quotes names only when they are valid, so short and plain.
func (s *set) unknown(name string) error {
	if err := policy.ValidateName(name); err != nil {
		return fmt.Errorf("%w: %w", policy.ErrUnknownPolicy, err)
	}
	if shown, ok := s.without[name]; ok {
		return fmt.Errorf("policy %q: %w: %s defines no rule named allow", name, policy.ErrUnknownPolicy, shown)
	}
	return fmt.Errorf("policy %q: %w: no file has its package", name, policy.ErrUnknownPolicy)
}

// Check reports whether the policy can be asked. Policies that do not compile are not loaded, so it never
// has to say that one is broken.
func (e *Engine) Check(name string) error {
	if s := e.current.Load(); s.policies[name] == nil {
		return s.unknown(name)
	}
	return nil
}

// Policies returns the names that can be evaluated, sorted.
func (e *Engine) Policies() []string { return slices.Sorted(maps.Keys(e.current.Load().policies)) }

// Revision identifies the loaded files: a hash of their names and contents. Decisions carry it.
func (e *Engine) Revision() string { return e.current.Load().revision }

// loader makes a fresh one for each load.
func (e *Engine) loader(left tree.Limits) (*loader, error) {
	l := &loader{
		source: e.keeper.Source, forbidden: e.forbidden, v0: e.v0, v1: e.v1, schemas: e.schemas, log: e.keeper.Log, left: left,
		modules: map[string]*ast.Module{}, names: map[string]string{}, data: map[string]any{}, prefix: e.prefix,
	}
	if err := util.UnmarshalJSON(e.data, &l.data); err != nil {
		return nil, fmt.Errorf("Config.Data: %w", err)
	}
	if l.data == nil { // JSON null
		l.data = map[string]any{}
	}
	return l, nil
}
