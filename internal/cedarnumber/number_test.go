package cedarnumber_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/cedarnumber"
)

// TestOf: a number is held exactly or not at all.
func TestOf(t *testing.T) {
	long := func(n int64) cedarnumber.Number { return cedarnumber.Number{Units: n} }
	decimal := func(n int64) cedarnumber.Number { return cedarnumber.Number{Units: n, Decimal: true} }
	for _, test := range []struct {
		v    any
		want cedarnumber.Number
	}{
		{7, long(7)}, {int64(math.MinInt64), long(math.MinInt64)}, {uint64(math.MaxInt64), long(math.MaxInt64)}, {uint8(255), long(255)},
		{87.5, decimal(875_000)}, {-0.0001, decimal(-1)}, {0.1, decimal(1000)}, {float32(0.1), decimal(1000)}, {float64(1 << 53), long(1 << 53)},
		{json.Number("1e2"), long(100)}, {json.Number("1.50"), decimal(15_000)}, {json.Number("0e-999"), long(0)}, {math.Copysign(0, -1), long(0)},
	} {
		if got, err := cedarnumber.Of(test.v); err != nil || got != test.want {
			t.Errorf("%T %v: %+v, %v", test.v, test.v, got, err)
		}
	}
	for _, test := range []struct {
		v    any
		want string
	}{
		{0.00001, "four digits"}, {1.0 / 3, "four digits"}, {5e-324, "four digits"}, {math.NaN(), "not finite"}, {math.Inf(-1), "not finite"},
		{uint64(math.MaxInt64 + 1), "range of a Long"}, {1e19, "range of a Long"}, {json.Number("922337203685477.5808"), "range of a decimal"},
		{json.Number("1e1000000000"), "out of range"}, {json.Number("1e-1000000000"), "four digits"},
		{json.Number(strings.Repeat("1", 401)), "400 characters"}, {json.Number(""), "not a JSON number"}, {json.Number("true"), "not a JSON number"},
		{json.Number("0x10"), "not a JSON number"}, {"7", "not a JSON value"}, {nil, "not a JSON value"},
	} {
		if got, err := cedarnumber.Of(test.v); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%T %v: %+v, %v", test.v, test.v, got, err)
		}
	}
}
