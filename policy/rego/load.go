package rego

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/kest-go/kest/policy/internal/tree"
)

// A loader turns one tree into modules and data.
type loader struct {
	source    tree.Source
	forbidden map[string]string
	v0, v1    *ast.Capabilities
	schemas   *ast.SchemaSet
	log       *slog.Logger
	left      tree.Limits
	prefix    string

	modules map[string]*ast.Module // by displayed file name
	data    map[string]any
	names   map[string]string // displayed file name to policy name
}

func (l *loader) holds(file string) string { return l.names[file] }

// load reads every file and joins the faults of all, so that one run shows everything that is to be mended.
func (l *loader) load(ctx context.Context, files []tree.File) error {
	var errs []error
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		shown := l.source.Display(f.Path)
		var err error
		switch {
		case isBundle(f.Path):
			err = l.bundle(shown, f)
		case isData(f.Path):
			err = l.dataFile(shown, f)
		default:
			err = l.module(shown, f)
		}
		if err != nil {
			errs = append(errs, l.sourceErrors(shown, err))
		}
	}
	if len(errs) == 0 && len(l.modules) == 0 {
		return errors.New("no policy files (*.rego) found")
	}
	return errors.Join(errs...)
}

// module parses as Rego v1, and as v0 when that does not work (SPEC §7). The faults that a reader sees are
// always those of v1, which is what new policies are written in.
func (l *loader) module(shown string, f tree.File) error {
	l.names[shown] = strings.TrimSuffix(f.Path, ".rego")
	source := string(f.Data)
	m, err := ast.ParseModuleWithOpts(shown, source, ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: l.v1})
	if err != nil {
		old, oldErr := ast.ParseModuleWithOpts(shown, source, ast.ParserOptions{RegoVersion: ast.RegoV0, Capabilities: l.v0})
		if oldErr != nil || old == nil {
			return err
		}
		m = old
		l.deprecated(shown, firstLine(err))
	}
	if m == nil {
		return &ast.Error{Message: "empty file; write a policy or remove it"}
	}
	l.keep(shown, m)
	return nil
}

func (l *loader) keep(shown string, m *ast.Module) {
	l.modules[shown] = m
	if name, ok := policyName(l.prefix, m.Package.Path); ok {
		l.names[shown] = name
	}
}

func (l *loader) deprecated(shown string, line int) {
	l.log.Warn("policy is written in Rego v0, which is deprecated; rewrite it with: opa fmt --v0-v1 --write",
		"file", shown, "line", line)
}

func firstLine(err error) int {
	var many ast.Errors
	if errors.As(err, &many) {
		many.Sort()
		if many[0].Location != nil {
			return many[0].Location.Row
		}
	}
	return 1
}

// dataFile mounts data at the path of its folder, as OPA does for a bundle.
func (l *loader) dataFile(shown string, f tree.File) error {
	var v any
	decode := util.UnmarshalJSON
	if bundle.IsYAMLDataFile(f.Path) {
		decode = util.Unmarshal
		if err := l.unfolded(f.Data); err != nil {
			return err
		}
	}
	if err := decode(f.Data, &v); err != nil {
		s := &SourceError{File: shown, Message: oneLine(err.Error())}
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			s.Line = 1 + strings.Count(string(f.Data[:min(int(syntax.Offset), len(f.Data))]), "\n")
		}
		return s
	}
	if dir := path.Dir(f.Path); dir != "." {
		folders := strings.Split(dir, "/")
		for _, name := range slices.Backward(folders) {
			v = map[string]any{name: v}
		}
	}
	top, ok := v.(map[string]any)
	if !ok {
		return errors.New("data at the top of the tree must be an object")
	}
	return merge(l.data, top, "data")
}

// merge adds src to dst. Two values for one path are an error: neither file may silently win.
func merge(dst, src map[string]any, at string) error {
	for _, k := range slices.Sorted(maps.Keys(src)) {
		old, taken := dst[k]
		if !taken {
			dst[k] = src[k]
			continue
		}
		a, ok1 := old.(map[string]any)
		b, ok2 := src[k].(map[string]any)
		if !ok1 || !ok2 {
			return fmt.Errorf("%s.%s is given by another file too", at, k)
		}
		if err := merge(a, b, at+"."+k); err != nil {
			return err
		}
	}
	return nil
}

// bundle reads an OPA bundle. Its manifest may say which Rego it is written in; otherwise v1, then v0.
func (l *loader) bundle(shown string, f tree.File) error {
	if err := l.unpackable(f); err != nil {
		return err
	}
	b, err := l.readBundle(shown, f, ast.RegoV1, l.v1)
	var parse ast.Errors
	if errors.As(err, &parse) {
		if old, oldErr := l.readBundle(shown, f, ast.RegoV0, l.v0); oldErr == nil {
			b, err = old, nil
		}
	}
	if err != nil {
		return err
	}
	if b.Type() != bundle.SnapshotBundleType {
		return errors.New("a delta bundle cannot be loaded from a file; build a full one")
	}
	if len(b.Manifest.WasmResolvers) > 0 {
		return errors.New("bundle decides by WebAssembly, which is not run here; build it with target rego")
	}
	for _, m := range b.Modules {
		if !isModule(m.Path) {
			continue
		}
		l.keep(m.Path, m.Parsed)
		if m.Parsed.RegoVersionSpan().Max() == ast.RegoV0 {
			l.deprecated(m.Path, 1)
		}
	}
	return merge(l.data, b.Data, "data")
}

// member looks into those members of a bundle that can stand for more than they have. OPA refuses one that is too long.
func (l *loader) member(name string, r io.Reader) error {
	if !bundle.IsYAMLDataFile(name) {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(r, l.left.FileBytes+1))
	if err != nil {
		return err
	}
	if err := l.unfolded(data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (l *loader) readBundle(shown string, f tree.File, v ast.RegoVersion, c *ast.Capabilities) (*bundle.Bundle, error) {
	b, err := bundle.NewReader(bytes.NewReader(f.Data)).WithBaseDir(shown).WithSizeLimitBytes(l.left.FileBytes).
		WithRegoVersion(v).WithCapabilities(c).WithLazyLoadingMode(false).Read()
	return &b, err
}

// unpackable counts the members and the bytes of a bundle before OPA holds them in memory.
func (l *loader) unpackable(f tree.File) error {
	z, err := gzip.NewReader(bytes.NewReader(f.Data))
	if err != nil {
		return err
	}
	defer z.Close()
	l.left.TotalBytes += int64(len(f.Data)) // counted unpacked instead
	counted := &io.LimitedReader{R: z, N: l.left.TotalBytes + 1}
	for r := tar.NewReader(counted); ; {
		member, err := r.Next()
		if errors.Is(err, io.EOF) { // the end of the archive; the checksum of the compression comes after it
			if _, err = io.Copy(io.Discard, counted); err == nil && counted.N > 0 {
				break
			}
		}
		if counted.N <= 0 {
			return errors.New("bundle unpacks to more than Limits.TotalBytes leave for it")
		}
		if err != nil {
			return err
		}
		if err := l.left.Entry(); err != nil {
			return err
		}
		if err := l.member(member.Name, r); err != nil {
			return err
		}
	}
	l.left.TotalBytes = counted.N - 1
	return nil
}
