package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Entities turns a document of deployment data into entities for Cedar (entities.json). The document is what Rego reads
// as data.kest.deployment: its members workloads and resources become entities of types Workload and Resource, by their
// ids, and every other one an entity of type Deployment. Values must be what Cedar has: whole numbers, and no null.
//
// Cedar cannot quantify, so what a policy would have to look up for each ancestor is computed here: Workload hears,
// Resource competitors and foreign, and walled of Deployment "brewer_nash". They grow with the square of the workloads
// and of the resources with a conflict class. The result is the same for the same document.
//
// Errors name the member that is wrong.
func Entities(deployment []byte) ([]byte, error) {
	var doc map[string]map[string]any
	if err := decode(deployment, &doc); err != nil {
		return nil, fmt.Errorf("deployment data: %w", err)
	}
	p, err := newPlan(doc)
	if err != nil {
		return nil, err
	}
	entities := []entity{}
	for _, kind := range []struct{ member, cedar string }{{"workloads", "Workload"}, {"resources", "Resource"}} {
		for _, id := range slices.Sorted(maps.Keys(doc[kind.member])) {
			attrs, _ := doc[kind.member][id].(map[string]any) // checked by newPlan
			entities = append(entities, newEntity(kind.cedar, id, attrs))
		}
		delete(doc, kind.member)
	}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		entities = append(entities, newEntity("Deployment", name, doc[name]))
	}
	for _, e := range entities {
		p.expand(e)
		if err := cedarValue(e.Attrs); err != nil {
			return nil, fmt.Errorf("deployment data: %s %q%w", e.UID.Type, e.UID.ID, err)
		}
	}
	return json.MarshalIndent(entities, "", "  ")
}

// decode keeps numbers as they are written, and refuses more than one document.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more text after the document")
	}
	return nil
}

type entity struct {
	UID     uid            `json:"uid"`
	Attrs   map[string]any `json:"attrs"`
	Parents []uid          `json:"parents"`
}

type uid struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

func newEntity(kind, id string, attrs map[string]any) entity {
	if attrs == nil {
		attrs = map[string]any{}
	}
	return entity{UID: uid{kind, id}, Attrs: attrs, Parents: []uid{}}
}

// cedarValue finds what Cedar has no value for. The error goes on where the name of the entity ends.
func cedarValue(v any) error {
	switch v := v.(type) {
	case nil:
		return errors.New(" is null; leave it out")
	case json.Number:
		if _, err := v.Int64(); err != nil {
			return fmt.Errorf(" is %s, which is not a whole number of 64 bits", v)
		}
	case []any:
		for i, item := range v {
			if err := cedarValue(item); err != nil {
				return fmt.Errorf("[%d]%w", i, err)
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if name == "__entity" || name == "__extn" || name == "__expr" {
				return fmt.Errorf(".%s is a name that Cedar keeps for itself", name)
			}
			if err := cedarValue(v[name]); err != nil {
				return fmt.Errorf(".%s%w", name, err)
			}
		}
	}
	return nil
}
