package avp

import (
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/policy"
)

// around bounds what stands around one context in a request beside the ids of principal and resource.
const around = 3*maxType + policy.MaxName + 512

// perRequest is how many policies fit into one request with this context, at least 1. It must not be too many: alone,
// each of them would have had an answer.
func (q *question) perRequest() int {
	size := around + textSize(*q.principal.EntityId) + textSize(*q.resource.EntityId)
	if m, ok := q.context.(*types.ContextDefinitionMemberContextMap); ok {
		size += recordSize(m.Value)
	}
	return max(1, min(MaxBatch, maxQuestion/size))
}

// recordSize bounds the bytes that the SDK writes for r.
func recordSize(r record) int {
	n := 0
	for name, v := range r {
		n += len(`"":,`) + textSize(name) + valueSize(v)
	}
	return n
}

func valueSize(v types.AttributeValue) int {
	n := len(`{"boolean":false}`) + 20 // the longest Long and decimal
	switch v := v.(type) {
	case *types.AttributeValueMemberString:
		n += textSize(v.Value)
	case *types.AttributeValueMemberRecord:
		n += recordSize(v.Value)
	case *types.AttributeValueMemberSet:
		for _, element := range v.Value {
			n += len(`,`) + valueSize(element)
		}
	}
	return n
}

// textSize counts six bytes for what may be escaped; the first byte of U+2028 and U+2029 is 0xE2.
func textSize(s string) int {
	n := len(s)
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0xE2 {
			n += 5
		}
	}
	return n
}
