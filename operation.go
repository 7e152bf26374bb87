package kest

import (
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"strings"
)

// literal matches the names that the compiler makes up for function literals: they change when code moves, and
// with them the meaning of a deviation's scope.
var literal = regexp.MustCompile(`\.func\d+|\.init\.\d+|\.gowrap\d+|^glob\.\.|\.\d+$`)

// operationOf derives package.Function, or package.Type.Method, from a function value.
func operationOf(fn any) (string, error) {
	f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer())
	if f == nil {
		return "", fmt.Errorf("the function has no name; give it one with kest.Operation")
	}
	name := f.Name()
	name = name[strings.LastIndexByte(name, '/')+1:]
	name = strings.ReplaceAll(name, "%2e", ".") // the linker escapes dots in a package's last path element
	name = strings.TrimSuffix(name, "-fm")      // method values
	if i := strings.IndexByte(name, '['); i >= 0 {
		// The compiler writes type arguments as [...]; what follows them is the method, or a literal's made-up name.
		name = name[:i] + name[strings.LastIndexByte(name, ']')+1:]
	}
	if literal.MatchString(name) {
		return "", fmt.Errorf("function literal %s has no stable name; give it one with kest.Operation", name)
	}
	return strings.NewReplacer("(*", "", "(", "", ")", "").Replace(name), nil
}
