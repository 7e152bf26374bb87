package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,18})$`)

// scalar decodes text, numbers, truth values, times and durations.
func (d *decoder) scalar(path string, n *yaml.Node, v reflect.Value, r rule) bool {
	want, advice := wanted(v.Type())
	if !d.expect(path, n, yaml.ScalarNode, want, emptyAdvice) {
		return false
	}
	tag := n.ShortTag()
	fault, hint := "want "+want+", got "+kindOf(n), advice
	switch {
	case tag == "!!null":
		fault, hint = "it is empty", emptyAdvice
	case v.Type() == timeType && (tag == "!!timestamp" || tag == "!!str"):
		t, err := time.Parse(time.RFC3339, n.Value)
		if v.Set(reflect.ValueOf(t)); err == nil {
			return true
		}
		fault = "it is no time"
	case v.Type() == durationType && tag == "!!str":
		t, err := time.ParseDuration(n.Value)
		if v.SetInt(int64(t)); err == nil && t >= 0 {
			return d.between(path, n, v, r)
		}
		fault = "it is no duration"
	case v.Kind() == reflect.Bool && tag == "!!bool":
		v.SetBool(strings.EqualFold(n.Value, "true")) // YAML 1.2 §10.3.2: true, True and TRUE
		return true
	case v.CanInt() && v.Type() != durationType && tag == "!!int" && wholeNumber.MatchString(n.Value):
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if err == nil && !v.OverflowInt(i) {
			v.SetInt(i)
			return d.between(path, n, v, r)
		}
		fault = "the number is too large"
	case v.Kind() == reflect.String && tag == "!!str":
		return d.text(path, n, v, r)
	}
	d.fail(n, path, fault, hint)
	return false
}

// wanted describes a type for people.
func wanted(t reflect.Type) (want, advice string) {
	switch {
	case t == timeType:
		return "a time", "write it as in 2027-01-31T00:00:00Z"
	case t == durationType:
		return "a duration", "write a number with a unit, as in 500ms, 5s or 1m30s"
	case t.Kind() == reflect.Bool:
		return "true or false", "write true or false, without quotes"
	case t.Kind() == reflect.String:
		return "text", "put it into quotes"
	}
	return "a whole number", "write decimal digits, without quotes"
}

func (d *decoder) text(path string, n *yaml.Node, v reflect.Value, r rule) bool {
	switch {
	case n.Value == "":
		d.fail(n, path, "it is empty", emptyAdvice)
		return false
	case strings.ContainsFunc(n.Value, func(c rune) bool { return c < ' ' || c == 0x7f }):
		d.fail(n, path, "it has a line break or another control character", "write it in one line")
		return false
	case r.enum != nil && !slices.Contains(r.enum, n.Value):
		d.fail(n, path, fmt.Sprintf("%q is not one of the values", clip(n.Value)), nearest(n.Value, r.enum))
		return false
	}
	text := n.Value
	if v.Type() == pathType {
		dir := d.dir
		if d.env[n] != "" {
			dir = d.here
		}
		text = resolve(dir, text)
	}
	v.SetString(text)
	return true
}

// between compares a number or duration with min and max.
func (d *decoder) between(path string, n *yaml.Node, v reflect.Value, r rule) bool {
	lo, hi := bound(v.Type(), r.min), bound(v.Type(), r.max)
	i := v.Int()
	if (r.min == "" || i >= lo) && (r.max == "" || i <= hi) {
		return true
	}
	hint := "use " + r.min + " to " + r.max
	switch {
	case r.min == "":
		hint = "use at most " + r.max
	case r.max == "":
		hint = "use at least " + r.min
	}
	d.fail(n, path, clip(n.Value)+" is out of range", hint)
	return false
}

// bound reads a tag of ours, which a test holds to be good.
func bound(t reflect.Type, tag string) int64 {
	if t == durationType {
		b, _ := time.ParseDuration(tag)
		return int64(b)
	}
	b, _ := strconv.ParseInt(tag, 10, 64)
	return b
}
