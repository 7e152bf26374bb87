package avp

import (
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/policy"
)

// ContextOf is the conversion alone, for the fuzz test and the benchmark.
func ContextOf(in *policy.Input) (map[string]types.AttributeValue, error) {
	c := converter{}
	r := c.context(in)
	if c.fault != "" {
		return nil, c.err()
	}
	return r, nil
}
