package config

import (
	"reflect"
	"strings"

	"github.com/kest-go/kest/policy"
)

// What the schema is made from.
var (
	Document    = reflect.TypeFor[document]()
	SectionType = sectionType
	TierType    = reflect.TypeFor[policy.Tier]()
	Deviable    = deviable
	Fields      = fields
)

// Known are the kinds of a section.
func Known(name string) map[string]reflect.Type { return known()[name] }

// Variables lists the settings that have a variable, by variable.
func Variables() map[string][]string {
	out := map[string][]string{}
	for _, l := range leaves(nil, Document, known(), rule{}) {
		out[variable(l.path)] = append(out[variable(l.path)], strings.Join(l.path, "."))
	}
	return out
}

// Sections are the keys of a file, and Reloadable those that take effect at once.
var (
	Sections   = sections
	Reloadable = reloadable
)
