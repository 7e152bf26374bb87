package config

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// Options say what a program brings to a configuration. The zero value is usable: it knows the keys of every kind, and
// makes those that need no SDK, which are engine.opa, engine.cedaragent, identity.local and store.memory.
type Options struct {
	// The kinds that the program can make, by their keys; see [Build]. One of ours replaces that of the same key.
	Engines    map[string]Builder[policy.Engine]
	Identities map[string]Builder[identity.Provider]
	Stores     map[string]Builder[store.Store]
	Tokens     map[string]Builder[propagate.TokenVerifier]

	// Operations are the names of all operations of the program. A deviation whose scope matches none of them is then a
	// warning. nil: they are not known.
	Operations []string

	// Environ is what os.Environ returns. nil: the environment of the process for [Load], none for [Parse].
	Environ []string
	// File names the text for [Parse]; paths in it are relative to its folder. "": "configuration", and the working
	// directory.
	File string
	// Logger gets what [Deployment.Watch] does; nil means slog.Default.
	Logger *slog.Logger
}

// A Deployment is a valid configuration. It never changes and is safe for concurrent use; what its methods return
// belongs to the caller.
type Deployment struct {
	options Options         // without Environ
	environ func() []string // behind a function, because formatting a Deployment must not show the secrets in it
	doc     document
	// Of approvers.keys, as they were when the file was read; nil when there is no such section.
	approvers *lineage.KeySet
	path      string // of the file, absolute
	places    map[string]place
	sections  map[string]string // by key, for comparison
	warnings  []*Problem
}

// Load reads a file of up to [MaxBytes] and the KEST_* variables. With an empty path it is the file that KEST_CONFIG names, and
// without that the variables alone. It opens no other file but approvers.keys, and no connection. An error about what is configured is an
// [*Error] with every problem.
func Load(path string, o Options) (*Deployment, error) {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if path == "" {
		name, set := environ(o.Environ)[EnvConfig]
		if !set {
			return parse(nil, o)
		}
		if path = name; path == "" {
			return nil, &Error{Problems: []*Problem{place{file: EnvConfig}.problem("", "the variable is set but empty", "give it the path of a file or unset it")}}
		}
	}
	o.File = path
	text, err := readFile(path, MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return parse(text, o)
}

// Parse reads text as [Load] reads a file.
func Parse(text []byte, o Options) (*Deployment, error) {
	if text == nil {
		text = []byte{}
	}
	return parse(text, o)
}

// parse reads text, and nothing but the environment when it is nil.
func parse(text []byte, o Options) (*Deployment, error) {
	o.Environ, o.Operations = slices.Clone(o.Environ), slices.Clone(o.Operations)
	variables := environ(o.Environ)
	d := &decoder{
		reader: &reader{file: o.File, env: map[*yaml.Node]string{}}, kinds: known(), places: map[string]place{},
		lookup: func(name string) (string, bool) { value, set := variables[name]; return value, set },
	}
	if o.Environ == nil {
		d.lookup = os.LookupEnv
	}
	if d.file == "" && text != nil {
		d.file = "configuration"
	}
	var err error
	if d.here, err = filepath.Abs("."); err != nil { // what is read later must not depend on the working directory of then
		return nil, fmt.Errorf("configuration: %w", err)
	}
	d.dir = resolve(d.here, filepath.Dir(o.File))
	register(&d.problems, d.kinds["engine"], "Engines", o.Engines)
	register(&d.problems, d.kinds["identity"], "Identities", o.Identities)
	register(&d.problems, d.kinds["store"], "Stores", o.Stores)
	register(&d.problems, d.kinds["tokens"], "Tokens", o.Tokens)
	root := &yaml.Node{Kind: yaml.MappingNode}
	if text != nil {
		root = d.read(text)
	}
	out := &Deployment{options: o, places: d.places, sections: map[string]string{}, environ: func() []string { return o.Environ }}
	out.options.Environ = nil
	out.path = resolve(d.here, o.File)
	if root != nil {
		d.overlay(root, variables)
		d.value("", root, reflect.ValueOf(&out.doc).Elem(), rule{})
		c := checker{d: d, doc: &out.doc, operations: o.Operations}
		c.check()
		out.warnings, out.approvers = c.warnings.sorted(d.file), c.approvers
		for i := 0; i+1 < len(root.Content); i += 2 {
			out.sections[root.Content[i].Value] = fingerprint(root.Content[i+1])
		}
		if a := out.doc.Approvers; a != nil { // the section is what the file says that it names
			out.sections["approvers"] += c.approverText
		}
	}
	if err := d.err(d.file); err != nil {
		return nil, err
	}
	return out, nil
}

// fingerprint is the same for two trees that say the same. Depth and size are bounded by then.
func fingerprint(n *yaml.Node) string {
	var b strings.Builder
	var write func(n *yaml.Node)
	write = func(n *yaml.Node) {
		fmt.Fprintf(&b, "%d%s%q(", n.Kind, n.ShortTag(), n.Value)
		for _, child := range n.Content {
			write(child)
		}
		b.WriteByte(')')
	}
	write(n)
	return b.String()
}

// Warnings are about what is probably not meant: deviations that have expired or whose scope can match nothing, and
// source types that nobody knows. The guard ignores expired deviations.
func (d *Deployment) Warnings() []*Problem {
	out := make([]*Problem, len(d.warnings))
	for i, w := range d.warnings {
		copied := *w
		out[i] = &copied
	}
	return out
}
