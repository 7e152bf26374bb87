package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder fills the types of a file from a plain tree. It goes on after a problem, and notes where each value stands.
type decoder struct {
	*reader
	kinds  map[string]kinds // by the tag of the section
	places map[string]place // by path
	dir    string           // of the file, and here the working directory, for relative paths
	here   string
	lookup func(name string) (string, bool)
}

// rule is the tag of a field, which its elements share.
type rule struct {
	min, max string
	most     int // items of a list, 0 for as many as there may be values
	enum     []string
	kinds    string
}

// fields lists the keys of a struct in order.
func fields(t reflect.Type) []reflect.StructField {
	var out []reflect.StructField
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() && f.Tag.Get("config") != "" {
			out = append(out, f)
		}
	}
	return out
}

func ruleOf(f reflect.StructField) rule {
	r := rule{min: f.Tag.Get("min"), max: f.Tag.Get("max"), kinds: f.Tag.Get("kinds")}
	r.most, _ = strconv.Atoi(f.Tag.Get("most"))
	if names := f.Tag.Get("enum"); names != "" {
		r.enum = strings.Split(names, "|")
	}
	return r
}

var (
	durationType  = reflect.TypeFor[time.Duration]()
	timeType      = reflect.TypeFor[time.Time]()
	pathType      = reflect.TypeFor[Path]()
	secretType    = reflect.TypeFor[Secret]()
	sectionType   = reflect.TypeFor[section]()
	checkerType   = reflect.TypeFor[interface{ Check() error }]()
	secretAdvice  = "write {file: PATH} or {env: NAME}"
	emptyAdvice   = "give it a value or take the key out"
	defaultAdvice = "write {} for the defaults, or take the key out"
)

// value decodes n into v, which is settable, and reports whether everything in it is well-formed.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value, r rule) bool {
	d.places[path] = d.place(n)
	switch {
	case v.Type() == secretType:
		return d.secret(path, n, v)
	case v.Type() == sectionType:
		return d.section(path, n, v.Addr().Interface().(*section), r)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(path, n, v.Elem(), r)
	case v.Kind() == reflect.Struct && v.Type() != timeType:
		return d.object(path, n, v)
	case v.Kind() == reflect.Map:
		return d.table(path, n, v, r)
	case v.Kind() == reflect.Slice:
		return d.list(path, n, v, r)
	}
	return d.scalar(path, n, v, r)
}

// expect reports whether n is of the kind wanted.
func (d *decoder) expect(path string, n *yaml.Node, kind yaml.Kind, want, advice string) bool {
	if n.Kind == kind {
		return true
	}
	if kindOf(n) == "nothing" {
		d.fail(n, path, "it is empty", advice)
	} else {
		d.fail(n, path, "want "+want+", got "+kindOf(n), "")
	}
	return false
}

func (d *decoder) object(path string, n *yaml.Node, v reflect.Value) bool {
	if !d.expect(path, n, yaml.MappingNode, "a mapping", defaultAdvice) {
		return false
	}
	known := fields(v.Type())
	keys := make([]string, len(known))
	for i, f := range known {
		keys[i] = f.Tag.Get("config")
	}
	good := true
	for _, f := range known { // what stands in the file replaces it
		if text := f.Tag.Get("default"); text != "" {
			setDefault(v.FieldByIndex(f.Index), text)
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := slices.Index(keys, key.Value)
		if at < 0 {
			d.fail(key, join(path, key.Value), "the key is not known", nearest(key.Value, keys))
			good = false
			continue
		}
		f := known[at]
		good = d.value(join(path, keys[at]), n.Content[i+1], v.FieldByIndex(f.Index), ruleOf(f)) && good
	}
	for i, f := range known {
		if f.Tag.Get("must") != "" && member(n, keys[i]) == nil {
			d.fail(n, path, keys[i]+" is missing", "add it")
			good = false
		}
	}
	return d.check(path, n, v, good)
}

// setDefault reads a tag of ours, which a test holds to be good.
func setDefault(v reflect.Value, tag string) {
	switch {
	case v.Kind() == reflect.Bool:
		v.SetBool(tag == "true")
	case v.Kind() == reflect.String:
		v.SetString(tag)
	case v.CanInt():
		v.SetInt(bound(v.Type(), tag))
	}
}

// check asks a struct that has an opinion of its own.
func (d *decoder) check(path string, n *yaml.Node, v reflect.Value, good bool) bool {
	if !good || !v.CanAddr() || !v.Addr().Type().Implements(checkerType) {
		return good
	}
	for _, err := range each(v.Addr().Interface().(interface{ Check() error }).Check()) {
		d.fail(n, path, sentence(err.Error()), "")
		good = false
	}
	return good
}

// table decodes a mapping whose keys are not ours.
func (d *decoder) table(path string, n *yaml.Node, v reflect.Value, r rule) bool {
	if !d.expect(path, n, yaml.MappingNode, "a mapping", emptyAdvice) {
		return false
	}
	good := true
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		item := reflect.New(v.Type().Elem()).Elem()
		good = d.value(join(path, name), n.Content[i+1], item, r) && good
		v.SetMapIndex(reflect.ValueOf(name), item)
	}
	return good
}

func (d *decoder) list(path string, n *yaml.Node, v reflect.Value, r rule) bool {
	if !d.expect(path, n, yaml.SequenceNode, "a list", "write [] for none, or take the key out") {
		return false
	}
	if r.most > 0 && len(n.Content) > r.most {
		d.fail(n, path, fmt.Sprintf("%d items", len(n.Content)), fmt.Sprintf("use at most %d", r.most))
		return false
	}
	good := true
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, child := range n.Content {
		good = d.value(fmt.Sprintf("%s[%d]", path, i), child, v.Index(i), r) && good
	}
	return good
}

// section decodes a mapping with one key, the kind, whose settings have the type of that kind.
func (d *decoder) section(path string, n *yaml.Node, s *section, r rule) bool {
	if !d.expect(path, n, yaml.MappingNode, "a mapping", emptyAdvice) {
		return false
	}
	known := sorted(d.kinds[r.kinds])
	if len(n.Content) == 0 {
		d.fail(n, path, "it names no kind", "use "+choice(known))
		return false
	}
	if len(n.Content) > 2 {
		d.fail(n.Content[2], join(path, n.Content[2].Value), fmt.Sprintf("it stands beside %q, and there can be one only", n.Content[0].Value), "keep one of them")
		return false
	}
	key := n.Content[0]
	t := d.kinds[r.kinds][key.Value]
	if t == nil {
		d.fail(key, join(path, key.Value), "the kind is not known", nearest(key.Value, known))
		return false
	}
	settings := reflect.New(t).Elem()
	good := d.value(join(path, key.Value), n.Content[1], settings, rule{})
	s.kind, s.settings = key.Value, settings.Interface()
	return good
}

// secret decodes a reference. Whatever stands in its place is not repeated.
func (d *decoder) secret(path string, n *yaml.Node, v reflect.Value) bool {
	if n.Kind != yaml.MappingNode {
		message := "a secret must not stand in the configuration"
		if kindOf(n) == "nothing" {
			message = "it is empty"
		}
		d.fail(n, path, message, secretAdvice)
		return false
	}
	if !d.object(path, n, v) {
		return false
	}
	s := v.Addr().Interface().(*Secret)
	s.lookup = d.lookup
	if (s.File == "") == (s.Env == "") {
		d.fail(n, path, "want exactly one of file and env", secretAdvice)
		return false
	}
	return true
}

// member is the value of a key, nil when there is none.
func member(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
