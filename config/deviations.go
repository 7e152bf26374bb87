package config

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/kest-go/kest/policy"
)

// A ListedDeviation is one of a file, and where it stands in it.
type ListedDeviation struct {
	policy.Deviation
	Line, Column int
}

// Deviations reads the deviations of a file as [Parse] does, and nothing else of it: neither what they lift nor their
// signatures are checked. It is for those who sign them, or look into them; a guard has its deviations from a
// [Deployment]. file names the text in problems. The error is an [*Error] with every problem of the deviations.
func Deviations(text []byte, file string) ([]ListedDeviation, error) {
	d := &decoder{reader: &reader{file: file, env: map[*yaml.Node]string{}}, kinds: known(), places: map[string]place{}}
	root := d.read(text)
	var list []deviation
	if root != nil {
		if n := member(root, "deviations"); n != nil {
			d.value("deviations", n, reflect.ValueOf(&list).Elem(), rule{most: maxDeviations})
		}
	}
	out := make([]ListedDeviation, len(list))
	for i := range list {
		path := fmt.Sprintf("deviations[%d]", i)
		at := d.places[path]
		out[i] = ListedDeviation{list[i].value(), at.line, at.column}
		if err := out[i].Validate(); err != nil && list[i].Policy != "" && list[i].Tier != "" && list[i].Scope != "" {
			for _, e := range each(err) {
				d.add(at.problem(path, sentence(e.Error()), ""))
			}
		}
	}
	if err := d.err(d.file); err != nil {
		return nil, err
	}
	return out, nil
}

// maxDeviations is how many a file may have.
const maxDeviations = 4096
