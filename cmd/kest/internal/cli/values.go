package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
)

// wrong says what stands in a place and what should.
func (r *inputReader) wrong(path string, v jcs.Value, want string) {
	shown := "is "
	switch brief := len(v.Text) <= 40; {
	case brief && v.Kind == jcs.String:
		shown = fmt.Sprintf("%q is ", v.Text)
	case brief && v.Kind == jcs.Number:
		shown = v.Text + " is "
	}
	kind := map[jcs.Kind]string{jcs.Null: "null", jcs.Bool: "a bool", jcs.Number: "a number", jcs.String: "a string",
		jcs.Array: "an array", jcs.Object: "an object"}[v.Kind]
	r.fail(path, "%s%s; want %s", shown, kind, want)
}

func (r *inputReader) integer(path string, v jcs.Value, most int) *int {
	f, err := strconv.ParseFloat(v.Text, 64)
	if v.Kind != jcs.Number || err != nil || f != math.Trunc(f) || f < 0 || f > float64(most) {
		r.wrong(path, v, fmt.Sprintf("an integer from 0 to %d", most))
		return nil
	}
	n := int(f)
	return &n
}

// text reads a string that is not empty: an absent value is null or left out.
func (r *inputReader) text(to *string) func(string, jcs.Value) { return r.formed(to, nonEmpty) }

func (r *inputReader) formed(to *string, check func(string) error) func(string, jcs.Value) {
	return func(path string, v jcs.Value) {
		if v.Kind != jcs.String {
			r.wrong(path, v, "a string")
		} else if err := check(v.Text); err != nil {
			r.fail(path, "%v", err)
		}
		*to = v.Text
	}
}

func (r *inputReader) orNull(to *string) func(string, jcs.Value) {
	text := r.text(to)
	return func(path string, v jcs.Value) {
		if v.Kind != jcs.Null {
			text(path, v)
		}
	}
}

func (r *inputReader) texts(to *[]string, check func(string) error) func(string, jcs.Value) {
	return func(path string, v jcs.Value) {
		if v.Kind != jcs.Array {
			r.wrong(path, v, "an array of strings")
			return
		}
		*to = make([]string, len(v.Elems))
		for i, item := range v.Elems {
			r.formed(&(*to)[i], check)(fmt.Sprintf("%s[%d]", path, i), item)
		}
	}
}

func nonEmpty(s string) error {
	if s == "" {
		return errors.New("is empty; leave it out instead")
	}
	return nil
}

func hash(s string) error { _, err := lineage.ParseHash(s); return err }

func parentHash(s string) error {
	if s == "0" {
		return nil
	}
	return hash(s)
}

func matches(form *regexp.Regexp, want string) func(string) error {
	return func(s string) error {
		if !form.MatchString(s) {
			return errors.New("want " + want)
		}
		return nil
	}
}

// attributes reads the caller's own facts. Numbers keep their digits.
func (r *inputReader) attributes(path string, v jcs.Value) map[string]any {
	if v.Kind != jcs.Object {
		r.wrong(path, v, "an object")
		return nil
	}
	return v.Go(number).(map[string]any)
}

// number keeps the digits of a number.
func number(literal string) any { return json.Number(literal) }
