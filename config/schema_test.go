package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kest-go/kest/config"
)

var update = flag.Bool("update", false, "write schema.json")

type object = map[string]any

// maker makes the schema from the types and their comments.
type maker struct {
	comments map[string]string // Type and Type.Field → comment
	defs     object
}

// TestSchema: schema.json says what the types say.
func TestSchema(t *testing.T) {
	t.Parallel()
	m := maker{comments: comments(t, "document.go", "settings.go", "secret.go"), defs: object{}}
	made := m.structure(t, config.Document)
	made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	made["$id"] = "https://github.com/kest-go/kest/config/schema.json"
	made["title"] = "Kest deployment configuration"
	made["$defs"] = m.defs
	want, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if config.Schema() != string(want) {
		t.Error("schema.json is not what the types say; run go test -run TestSchema -update")
	}
}

func comments(t *testing.T, files ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok || general.Tok != token.TYPE {
				continue
			}
			spec := general.Specs[0].(*ast.TypeSpec)
			out[spec.Name.Name] = sentence(general.Doc.Text())
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, n := range f.Names {
						out[spec.Name.Name+"."+n.Name] = sentence(f.Doc.Text())
					}
				}
			}
		}
	}
	return out
}

// docLink is [Load] in a comment, but not ["text"].
var docLink = regexp.MustCompile(`\[(\*?[A-Za-z][\w.]*)\]`)

func sentence(comment string) string {
	return strings.TrimSpace(docLink.ReplaceAllString(strings.ReplaceAll(comment, "\n", " "), "$1"))
}

func (m *maker) structure(t *testing.T, typ reflect.Type) object {
	properties, required := object{}, []string(nil)
	for _, f := range config.Fields(typ) {
		key := f.Tag.Get("config")
		s := m.value(t, f.Type, f.Tag)
		comment := m.comments[typ.Name()+"."+f.Name]
		if comment == "" {
			t.Errorf("%s.%s has no comment", typ.Name(), f.Name)
		}
		s["description"] = comment
		if text := f.Tag.Get("default"); text != "" {
			s["default"] = defaultValue(t, f.Type, text)
		}
		properties[key] = s
		if f.Tag.Get("must") != "" {
			required = append(required, key)
		}
	}
	out := object{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		out["required"] = required
	}
	return out
}

// defaultValue holds the tag to be what the decoder takes it for.
func defaultValue(t *testing.T, typ reflect.Type, text string) any {
	t.Helper()
	var err error
	var value any = text
	switch {
	case typ == reflect.TypeFor[time.Duration]():
		_, err = time.ParseDuration(text)
	case typ.Kind() == reflect.Bool:
		value, err = strconv.ParseBool(text)
	case typ.Kind() != reflect.String:
		value, err = strconv.Atoi(text)
	}
	if err != nil {
		t.Errorf("default %q of a %v: %v", text, typ, err)
	}
	return value
}

func (m *maker) value(t *testing.T, typ reflect.Type, tag reflect.StructTag) object {
	switch {
	case typ == config.SectionType:
		properties := object{}
		for name, settings := range config.Known(tag.Get("kinds")) {
			s := m.structure(t, settings)
			s["description"] = m.comments[settings.Name()]
			properties[name] = s
		}
		return object{"type": "object", "additionalProperties": false, "properties": properties, "minProperties": 1, "maxProperties": 1}
	case typ == config.TierType:
		return object{"enum": config.Deviable()}
	case typ == reflect.TypeFor[config.Secret]() || typ == reflect.TypeFor[*config.TLS]():
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		name := strings.ToLower(typ.Name())
		s := m.structure(t, typ)
		s["description"] = m.comments[typ.Name()]
		if name == "secret" {
			s["minProperties"], s["maxProperties"] = 1, 1
		}
		m.defs[name] = s
		return object{"$ref": "#/$defs/" + name}
	case typ == reflect.TypeFor[time.Duration]():
		return object{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}
	case typ == reflect.TypeFor[time.Time]():
		return object{"type": "string", "pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$`}
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return m.value(t, typ.Elem(), tag)
	case reflect.Struct:
		return m.structure(t, typ)
	case reflect.Slice:
		out := object{"type": "array", "items": m.value(t, typ.Elem(), tag)}
		if most, err := strconv.Atoi(tag.Get("most")); err == nil {
			out["maxItems"] = most
		}
		return out
	case reflect.Map:
		return object{"type": "object", "additionalProperties": m.value(t, typ.Elem(), tag)}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		if enum := tag.Get("enum"); enum != "" {
			return object{"enum": strings.Split(enum, "|")}
		}
		return object{"type": "string", "minLength": 1}
	case reflect.Int, reflect.Int64:
		out := object{"type": "integer"}
		for keyword, bound := range map[string]string{"minimum": tag.Get("min"), "maximum": tag.Get("max")} {
			if bound == "" {
				continue
			}
			n, err := strconv.Atoi(bound)
			if err != nil {
				t.Errorf("%v: %v", tag, err)
			}
			out[keyword] = n
		}
		return out
	}
	t.Fatalf("no schema for %v", typ)
	return nil
}

// TestSchemaAgrees: what the schema refuses is refused, and of what is refused for its shape the schema refuses everything.
func TestSchemaAgrees(t *testing.T) {
	t.Parallel()
	var schema object
	if err := json.Unmarshal([]byte(config.Schema()), &schema); err != nil {
		t.Fatal(err)
	}
	shape := regexp.MustCompile(`not known|is missing|: want |out of range|not one of the values|is not a tier|it is empty|no kind|must not stand|it stands beside|use at most`)
	refused := 0
	for _, test := range bad() {
		var value any
		if yaml.Unmarshal([]byte(test.text), &value) != nil || !shape.MatchString(test.want) || strings.Contains(test.want, "the file is empty") {
			continue
		}
		if test.name == "octal" || test.name == "long duration" {
			continue // another library's reading of the number, and an order that a pattern does not know
		}
		if check(schema, schema, value) == nil {
			t.Errorf("%s: the schema accepts %s", test.name, test.text)
		}
		refused++
	}
	if refused < 30 {
		t.Errorf("only %d texts were compared", refused)
	}
	for _, name := range []string{"testdata/kest.yaml", "testdata/kest.json"} {
		var value any
		if err := yaml.Unmarshal(read(t, name), &value); err != nil {
			t.Fatal(err)
		}
		if err := check(schema, schema, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// check holds a value to the few keywords that the schema uses; one that it does not know is an error.
func check(root, schema object, value any) error {
	if date, ok := value.(time.Time); ok {
		value = date.Format(time.RFC3339)
	}
	for _, keyword := range slices.Sorted(maps.Keys(schema)) {
		if err := checkKeyword(root, schema, keyword, value); err != nil {
			return err
		}
	}
	return nil
}

func checkKeyword(root, schema object, keyword string, value any) error {
	arg := schema[keyword]
	text, isText := value.(string)
	number, isNumber := value.(int)
	members, isObject := value.(object)
	wrong := false
	switch keyword {
	case "$schema", "$id", "$defs", "title", "description", "default":
	case "$ref":
		return check(root, root["$defs"].(object)[strings.TrimPrefix(arg.(string), "#/$defs/")].(object), value)
	case "type":
		_, isList := value.([]any)
		_, isBool := value.(bool)
		wrong = !map[any]bool{"object": isObject, "array": isList, "string": isText, "integer": isNumber, "boolean": isBool}[arg]
	case "enum":
		wrong = !slices.Contains(arg.([]any), value)
	case "minLength":
		wrong = len(text) < int(arg.(float64))
	case "pattern":
		wrong = isText && !regexp.MustCompile(arg.(string)).MatchString(text)
	case "minimum":
		wrong = isNumber && number < int(arg.(float64))
	case "maximum":
		wrong = isNumber && number > int(arg.(float64))
	case "maxItems":
		list, _ := value.([]any)
		wrong = len(list) > int(arg.(float64))
	case "minProperties":
		wrong = isObject && len(members) < int(arg.(float64))
	case "maxProperties":
		wrong = isObject && len(members) > int(arg.(float64))
	case "required":
		for _, name := range arg.([]any) {
			_, ok := members[name.(string)]
			wrong = wrong || !ok
		}
	case "items":
		list, _ := value.([]any)
		for _, item := range list {
			if err := check(root, arg.(object), item); err != nil {
				return err
			}
		}
	case "properties", "additionalProperties":
		return checkMembers(root, schema, keyword, members)
	default:
		return fmt.Errorf("keyword %q is not known here", keyword)
	}
	if wrong {
		return fmt.Errorf("%v: %s is %v", value, keyword, arg)
	}
	return nil
}

func checkMembers(root, schema object, keyword string, members object) error {
	properties, _ := schema["properties"].(object)
	for name, value := range members {
		of, listed := properties[name].(object)
		if keyword == "additionalProperties" {
			more, open := schema[keyword].(object)
			switch {
			case listed:
				continue
			case !open:
				return fmt.Errorf("member %q is not known", name)
			}
			of = more
		} else if !listed {
			continue
		}
		if err := check(root, of, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
