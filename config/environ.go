package config

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EnvConfig names the file for [Load] and its variable.
const EnvConfig = "KEST_CONFIG"

func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// environ reads what os.Environ returns. As for the C library, the first of two with one name counts.
func environ(list []string) map[string]string {
	out := make(map[string]string, len(list))
	for _, entry := range list {
		name, value, _ := strings.Cut(entry, "=")
		if _, twice := out[name]; !twice {
			out[name] = value
		}
	}
	return out
}

// leaf is a setting that a variable can give.
type leaf struct {
	path []string
	typ  reflect.Type
}

// variable is the name of the variable of a path: policies.timeout is KEST_POLICIES_TIMEOUT.
func variable(path []string) string {
	return "KEST_" + strings.ToUpper(strings.ReplaceAll(strings.Join(path, "_"), "-", "_"))
}

// leaves lists the scalars and the lists of text below a type.
func leaves(path []string, t reflect.Type, all map[string]kinds, r rule) (out []leaf) {
	switch {
	case t.Kind() == reflect.Pointer:
		return leaves(path, t.Elem(), all, r)
	case t == sectionType:
		for _, kind := range sorted(all[r.kinds]) {
			out = append(out, leaves(append(slices.Clip(path), kind), all[r.kinds][kind], all, rule{})...)
		}
	case t.Kind() == reflect.Struct && t != timeType:
		for _, f := range fields(t) {
			if name := f.Tag.Get("config"); name != "$schema" {
				out = append(out, leaves(append(slices.Clip(path), name), f.Type, all, ruleOf(f))...)
			}
		}
	case t.Kind() == reflect.Map, t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.String:
	default:
		out = []leaf{{path, t}}
	}
	return out
}

// overlay puts the variables into the tree: scalars replace those of the file, and the items of lists are added.
func (d *decoder) overlay(root *yaml.Node, variables map[string]string) {
	known := map[string]leaf{}
	for _, l := range leaves(nil, reflect.TypeFor[document](), d.kinds, rule{}) {
		known[variable(l.path)] = l
	}
	names := sorted(known)
	for _, name := range sorted(variables) {
		l, ok := known[name]
		switch value := variables[name]; {
		case ok && value == "":
			d.add(place{file: name}.problem(strings.Join(l.path, "."), "the variable is set but empty", "give it a value or unset it"))
		case ok:
			d.set(root, name, l, value)
		case ours(name):
			d.add(place{file: name}.problem("", "the variable is not known", nearestVariable(name, names)))
		}
	}
}

// nearestVariable is nearest, but for names that lack their end: a secret has two variables and none of its own.
func nearestVariable(name string, known []string) string {
	longer := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !strings.HasPrefix(k, name+"_") })
	if len(longer) > 0 && len(longer) <= 4 {
		return "use " + choice(longer)
	}
	return nearest(name, known)
}

// ours reports whether a variable begins like a section of the file. Others of that prefix belong to other packages and
// programs.
func ours(name string) bool {
	return slices.ContainsFunc(sections(), func(section string) bool { return strings.HasPrefix(name, variable([]string{section})+"_") })
}

func (d *decoder) set(root *yaml.Node, name string, l leaf, value string) {
	at, last := root, l.path[len(l.path)-1]
	for _, key := range l.path[:len(l.path)-1] {
		next := member(at, key)
		if next == nil {
			next = d.put(at, name, key, &yaml.Node{Kind: yaml.MappingNode})
		}
		if next.Kind != yaml.MappingNode {
			return // whoever decodes it reports what stands there
		}
		at = next
	}
	if l.typ.Kind() != reflect.Slice {
		d.put(at, name, last, scalarNode(l.typ, value))
		return
	}
	list := member(at, last)
	if list == nil {
		list = d.put(at, name, last, &yaml.Node{Kind: yaml.SequenceNode})
	}
	if list.Kind != yaml.SequenceNode {
		return
	}
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if !slices.ContainsFunc(list.Content, func(n *yaml.Node) bool { return n.Value == item }) {
			n := scalarNode(l.typ.Elem(), item)
			d.env[n] = name
			list.Content = append(list.Content, n)
		}
	}
}

// put sets a member to what the variable says.
func (d *decoder) put(mapping *yaml.Node, name, key string, value *yaml.Node) *yaml.Node {
	d.env[value] = name
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			mapping.Content[i+1] = value
			return value
		}
	}
	k := scalarNode(reflect.TypeFor[string](), key)
	d.env[k] = name
	mapping.Content = append(mapping.Content, k, value)
	return value
}

// scalarNode is a value as it would stand in a file. Where text is wanted, it is text.
func scalarNode(t reflect.Type, value string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
	if t.Kind() == reflect.String || t == durationType || t == timeType {
		n.Tag = "!!str"
	}
	return n
}
