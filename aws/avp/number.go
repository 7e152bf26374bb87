package avp

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/internal/cedarnumber"
)

// number converts what Cedar can hold exactly.
func (c *converter) number(v any) types.AttributeValue {
	n, err := cedarnumber.Of(v)
	switch {
	case err != nil:
		return c.fail(err.Error())
	case n.Decimal:
		return &types.AttributeValueMemberDecimal{Value: decimal(n.Units)}
	}
	return &types.AttributeValueMemberLong{Value: n.Units}
}

// decimal writes n units of 1/10,000, which are not whole, as Cedar does: with one to four digits after the point.
func decimal(n int64) string {
	sign, u := "", uint64(n)
	if n < 0 {
		sign, u = "-", -u // of the smallest int64, too
	}
	return strings.TrimRight(fmt.Sprintf("%s%d.%04d", sign, u/10_000, u%10_000), "0")
}
