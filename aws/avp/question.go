package avp

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/policy"
)

// maxID is the longest id of a principal or resource in characters, and the shortest has one (API reference,
// EntityIdentifier). Ids of actions may have 512, and policy names have at most 256.
const maxID = 612

// lineEnds are in no id: the API's pattern for them is .*, and in that the point stands for all other characters.
const lineEnds = "\n\r\u0085\u2028\u2029"

// A question is what all policies of one input are asked with.
type question struct {
	principal, resource *types.EntityIdentifier
	context             types.ContextDefinition
}

// question converts the input. The error matches one of package policy's.
func (e *Engine) question(in *policy.Input) (*question, error) {
	if e == nil || e.client == nil {
		return nil, fmt.Errorf("%w: the engine was not made by avp.New", policy.ErrUnavailable)
	}
	if in == nil {
		return nil, indefinite("there is no input")
	}
	resource := cmp.Or(in.Object.ID, "*")
	if err := checkID("workload", in.Subject.Workload); err != nil {
		return nil, err
	}
	if err := checkID("object", resource); err != nil {
		return nil, err
	}
	c := converter{}
	context := c.context(in)
	if c.fault != "" {
		return nil, c.err()
	}
	return &question{
		principal: &types.EntityIdentifier{EntityType: &e.types.principal, EntityId: &in.Subject.Workload},
		resource:  &types.EntityIdentifier{EntityType: &e.types.resource, EntityId: &resource},
		context:   &types.ContextDefinitionMemberContextMap{Value: context},
	}, nil
}

// checkID says before the call what AWS would say of an id after it. It does not repeat the id. That it is UTF-8 is
// checked in the context, which holds it too.
func checkID(of, id string) error {
	switch n := utf8.RuneCountInString(id); {
	case n == 0:
		return indefinite("the id of the %s is empty, and Verified Permissions has no such entity", of)
	case n > maxID:
		return indefinite("the id of the %s has %d characters, and Verified Permissions takes at most %d", of, n, maxID)
	case strings.ContainsAny(id, lineEnds):
		return indefinite("the id of the %s holds a line break, which Verified Permissions does not take", of)
	}
	return nil
}
