package avp

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"
)

func (c *converter) number(v any) types.AttributeValue {
	switch v := v.(type) {
	case int:
		return long(int64(v))
	case int8:
		return long(int64(v))
	case int16:
		return long(int64(v))
	case int32:
		return long(int64(v))
	case int64:
		return long(v)
	case uint8:
		return long(int64(v))
	case uint16:
		return long(int64(v))
	case uint32:
		return long(int64(v))
	case uint:
		return c.unsigned(uint64(v))
	case uint64:
		return c.unsigned(v)
	case float32:
		return c.float(float64(v), 32)
	case float64:
		return c.float(v, 64)
	case json.Number:
		return c.literal(string(v))
	}
	return c.fail("a type that is not a JSON value; convert it before the call")
}

func long(n int64) types.AttributeValue { return &types.AttributeValueMemberLong{Value: n} }

func (c *converter) unsigned(n uint64) types.AttributeValue {
	if n > math.MaxInt64 {
		return c.fail("number is out of the range of a Long")
	}
	return long(int64(n))
}

func (c *converter) float(f float64, bits int) types.AttributeValue {
	if n := int64(f); f > -1<<53 && f < 1<<53 && float64(n) == f {
		return long(n)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return c.fail("number is not finite")
	}
	return c.literal(strconv.FormatFloat(f, 'g', -1, bits)) // the shortest text that means f
}

// literal converts a number as JSON writes it (RFC 8259 §6): a Long where it is whole, a decimal where four digits
// after the point are enough, and nothing else, since a rounded number is another one.
func (c *converter) literal(s string) types.AttributeValue {
	const most = 400 // characters; the largest float64 has 309 digits before the point
	if len(s) > most || !json.Valid([]byte(s)) || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return c.fail("not a JSON number of at most " + strconv.Itoa(most) + " characters")
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return long(n)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return c.fail("number is out of range")
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	if zero := !strings.ContainsAny(mantissa, "123456789"); zero {
		return long(0)
	}
	if math.Abs(f) < 1e-5 { // 1e-1000000000 is short text, and a gigabyte as a fraction
		return c.fail(digits)
	}
	return c.exact(s)
}

const digits = "number has more than the four digits after the point that a decimal has; scale it, or write it as a string"

// exact works on a number that is neither too large nor too small to be written out.
func (c *converter) exact(s string) types.AttributeValue {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return c.fail("not a number")
	}
	if r.IsInt() {
		if !r.Num().IsInt64() {
			return c.fail("number is out of the range of a Long")
		}
		return long(r.Num().Int64())
	}
	if r.Mul(r, big.NewRat(10_000, 1)); !r.IsInt() {
		return c.fail(digits)
	}
	if !r.Num().IsInt64() {
		return c.fail("number is out of the range of a decimal")
	}
	return &types.AttributeValueMemberDecimal{Value: decimal(r.Num().Int64())}
}

// decimal writes n units of 1/10,000, which are not whole, as Cedar does: with one to four digits after the point.
func decimal(n int64) string {
	sign, u := "", uint64(n)
	if n < 0 {
		sign, u = "-", -u // of the smallest int64, too
	}
	return strings.TrimRight(fmt.Sprintf("%s%d.%04d", sign, u/10_000, u%10_000), "0")
}
