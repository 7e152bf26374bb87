package config

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/local"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/memory"
)

// A Builder makes one kind of engine, identity, store or token verifier from its settings. The zero value makes none.
type Builder[T any] struct {
	settings reflect.Type
	build    func(ctx context.Context, settings any) (T, error)
}

// Build returns the builder of a kind whose settings are an S. For the kinds that this package knows S is the struct of
// that name, such as [Rego]. For other kinds it is any struct whose fields for settings have a tag config with the key;
// their types are string, bool, int, int64, [time.Duration], [time.Time], [Path], [Secret], lists of strings, and structs
// of these and pointers to them. A tag must:"true" makes a key required, min and max bound a number or duration, most
// bounds the items of a list, enum:"a|b" lists the values of a string, and default gives a string, a bool, a number or a
// duration that is not set. A struct with a method Check() error is asked
// when everything in it is well-formed.
//
// The context bounds the making only. What was made is closed by whoever asked for it.
func Build[S, T any](build func(ctx context.Context, settings S) (T, error)) Builder[T] {
	return Builder[T]{reflect.TypeFor[S](), func(ctx context.Context, settings any) (T, error) {
		s, ok := settings.(S)
		if !ok {
			var none T
			return none, fmt.Errorf("the settings are a %T, and the builder takes a %T", settings, s)
		}
		return build(ctx, s)
	}}
}

// kinds maps the keys of a section to the types of their settings.
type kinds map[string]reflect.Type

// known are the kinds that this package has settings for, whether or not the program can make them. A new kind is a
// struct in settings.go and a line here.
func known() map[string]kinds {
	return map[string]kinds{
		"engine": {
			"rego": reflect.TypeFor[Rego](), "opa": reflect.TypeFor[OPA](),
			"cedar": reflect.TypeFor[Cedar](), "cedaragent": reflect.TypeFor[CedarAgent](), "avp": reflect.TypeFor[AVP](),
		},
		"identity": {
			"spiffe": reflect.TypeFor[SPIFFE](), "aws": reflect.TypeFor[AWS](), "bedrock": reflect.TypeFor[Bedrock](),
			"oidc": reflect.TypeFor[OIDC](), "device": reflect.TypeFor[Device](), "local": reflect.TypeFor[Local](),
			"auto": reflect.TypeFor[Auto](),
		},
		"store": {
			"memory": reflect.TypeFor[Memory](), "redis": reflect.TypeFor[Redis](), "sql": reflect.TypeFor[SQL](),
			"nats": reflect.TypeFor[NATS](),
		},
		"tokens": {"bearer": reflect.TypeFor[Bearer]()},
		"trust":  {"attenuate": reflect.TypeFor[attenuate](), "weighted": reflect.TypeFor[weighted]()},
	}
}

// register adds a program's own kinds, and reports builders that could not be given what the file says.
func register[T any](p *problems, to kinds, field string, builders map[string]Builder[T]) {
	for _, name := range slices.Sorted(maps.Keys(builders)) {
		b, want := builders[name], to[name]
		var fault string
		switch {
		case b.build == nil:
			fault = "is empty; make it with config.Build"
		case want == nil && (b.settings.Kind() != reflect.Struct || !decodable(b.settings, 0)):
			fault = fmt.Sprintf("takes a %v; its settings must be a struct of the types that Build lists", b.settings)
		case want != nil && want != b.settings:
			fault = fmt.Sprintf("takes a %v; the settings of this kind are a %v", b.settings, want)
		case !plainKey.MatchString(name):
			fault = "has a name that is no key; use letters, digits, - and _"
		default:
			to[name] = b.settings
			continue
		}
		p.add(&Problem{Message: fmt.Sprintf("Options.%s[%q] %s", field, name, fault)})
	}
}

// decodable reports whether a decoder knows what to do with a type.
func decodable(t reflect.Type, depth int) bool {
	switch {
	case depth > 8: // it may hold itself
		return false
	case t == timeType, t == durationType, t == secretType:
		return true
	case t.Kind() == reflect.Pointer:
		return decodable(t.Elem(), depth+1)
	case t.Kind() == reflect.Slice:
		return t.Elem().Kind() == reflect.String
	case t.Kind() == reflect.Struct:
		return !slices.ContainsFunc(fields(t), func(f reflect.StructField) bool { return !decodable(f.Type, depth+1) })
	}
	return slices.Contains([]reflect.Kind{reflect.String, reflect.Bool, reflect.Int, reflect.Int64}, t.Kind())
}

// missing says that nobody gave a builder.
func (d *Deployment) missing(path string, s section, field string) error {
	return &Error{Problems: []*Problem{d.places[path].problem(path, fmt.Sprintf("this program cannot make a %q", s.kind),
		fmt.Sprintf("it needs a builder in Options.%s", field))}}
}

// build asks the builder of a section's kind, the program's before ours.
func build[T any](ctx context.Context, d *Deployment, path string, s section, field string, builders ...map[string]Builder[T]) (T, error) {
	var none T
	if s.kind == "" {
		return none, nil
	}
	path = join(path, s.kind)
	for _, set := range builders {
		b, ok := set[s.kind]
		if !ok {
			continue
		}
		made, err := b.build(ctx, s.settings)
		if err != nil {
			return none, fmt.Errorf("%s: %w", d.places[path].problem(path, "it cannot be made", "").String(), err)
		}
		return made, nil
	}
	return none, d.missing(path, s, field)
}

// Engine makes the engine of the file, nil when there is none, behind the cache and the log of decisions that the file
// asks for. Whoever calls it closes the engine, if it is an io.Closer.
func (d *Deployment) Engine(ctx context.Context) (policy.Engine, error) {
	s := d.doc.Engine
	switch settings := s.settings.(type) { // an engine that gave up earlier would make policies.timeout a lie
	case Rego:
		settings.Timeout = d.doc.Policies.Timeout
		s.settings = settings
	case OPA:
		settings.Timeout = d.doc.Policies.Timeout
		s.settings = settings
	case CedarAgent:
		settings.Timeout = d.doc.Policies.Timeout
		s.settings = settings
	case AVP:
		settings.Timeout = d.doc.Policies.Timeout
		s.settings = settings
	}
	made, err := build(ctx, d, "engine", s, "Engines", d.options.Engines, map[string]Builder[policy.Engine]{
		"opa": Build(func(_ context.Context, s OPA) (policy.Engine, error) {
			c := s.config()
			var err error
			if c.TLS, err = s.TLS.Config(); err != nil {
				return nil, err
			}
			return opa.New(c)
		}),
		"cedaragent": Build(func(_ context.Context, s CedarAgent) (policy.Engine, error) {
			c := s.config()
			var err error
			if c.TLS, err = s.TLS.Config(); err != nil {
				return nil, err
			}
			return cedaragent.New(c)
		}),
	})
	if made == nil || err != nil {
		return nil, err
	}
	return d.wrap(made)
}

// Identity makes the identity of the file, nil when there is none; [kest.New] then detects one. Whoever calls it closes
// the identity, if it is an io.Closer.
func (d *Deployment) Identity(ctx context.Context) (identity.Provider, error) {
	return build(ctx, d, "identity", d.doc.Identity, "Identities", d.options.Identities, map[string]Builder[identity.Provider]{
		"local": Build(func(_ context.Context, s Local) (identity.Provider, error) {
			return local.New(local.Config{Name: s.Name, Logger: d.options.Logger})
		}),
	})
}

// Store makes the store of the file, nil when there is none. Whoever calls it closes the store, if it is an io.Closer.
func (d *Deployment) Store(ctx context.Context) (store.Store, error) {
	return build(ctx, d, "store", d.doc.Store, "Stores", d.options.Stores, map[string]Builder[store.Store]{
		"memory": Build(func(_ context.Context, s Memory) (store.Store, error) { return memory.New(s.config()) }),
	})
}

func (s *OPA) config() opa.Config {
	c := opa.Config{
		URL: s.URL, Host: s.Host, Port: s.Port, Socket: s.Socket, DecisionPath: s.DecisionPath, Provenance: s.Provenance,
		Prefix: s.Prefix, InsecureHTTP: s.InsecureHTTP, Timeout: s.Timeout,
	}
	if token := s.Token; !token.IsZero() {
		c.BearerToken = func(context.Context) (string, error) { return token.Read() }
	}
	return c
}

// Check asks package opa, which connects to nothing yet.
func (s *OPA) Check() error {
	c := s.config()
	if s.TLS != nil {
		c.TLS = new(tls.Config) // for the scheme: the files are read when the engine is made
	}
	e, err := opa.New(c)
	if err == nil {
		err = e.Close()
	}
	return err
}

func (s *CedarAgent) config() cedaragent.Config {
	c := cedaragent.Config{URL: s.URL, Socket: s.Socket, BareToken: s.BareToken, Plain: s.Plain, InsecureHTTP: s.InsecureHTTP,
		Timeout: s.Timeout}
	if token := s.Token; !token.IsZero() {
		c.BearerToken = func(context.Context) (string, error) { return token.Read() }
	}
	return c
}

// Check asks package cedaragent, which connects to nothing yet.
func (s *CedarAgent) Check() error {
	c := s.config()
	if s.TLS != nil {
		c.TLS = new(tls.Config) // for the scheme: the files are read when the engine is made
	}
	e, err := cedaragent.New(c)
	if err == nil {
		err = e.Close()
	}
	return err
}

func (s *Memory) config() memory.Config {
	return memory.Config{MaxBytes: s.MaxBytes, MaxEntries: s.MaxEntries, MaxValue: s.MaxValue}
}

// Check asks package memory, which sets nothing aside yet.
func (s *Memory) Check() error {
	_, err := memory.New(s.config())
	return err
}

// Check asks package local, without its warning.
func (s *Local) Check() error {
	_, err := local.New(local.Config{Name: s.Name, Logger: slog.New(slog.DiscardHandler)})
	return err
}

// each returns the errors that were joined into err, without what stands before them.
func each(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		multiple, ok := e.(interface{ Unwrap() []error })
		if !ok {
			continue
		}
		var all []error
		var texts []string
		for _, inner := range multiple.Unwrap() {
			all, texts = append(all, each(inner)...), append(texts, inner.Error())
		}
		if e.Error() == strings.Join(texts, "\n") { // errors.Join, not a sentence with several causes
			return all
		}
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
