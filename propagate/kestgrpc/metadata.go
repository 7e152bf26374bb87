package kestgrpc

import (
	"maps"
	"slices"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc/metadata"
)

// Metadata that these interceptors read and write. Names are in lower case, as in every metadata.MD.
const (
	fieldAuthority     = ":authority"
	fieldAuthorization = "authorization"
	fieldBaggage       = "baggage"
	fieldSignature     = "signature"
	fieldInput         = "signature-input"
)

// carrier is metadata as OpenTelemetry sees it.
type carrier metadata.MD

var (
	_ propagation.TextMapCarrier = carrier(nil)
	_ propagation.ValuesGetter   = carrier(nil)
)

// Get returns the first value.
func (c carrier) Get(name string) string {
	if values := metadata.MD(c).Get(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values returns all values: baggage may come in several (W3C Baggage §3.1).
func (c carrier) Values(name string) []string { return metadata.MD(c).Get(name) }

// Set replaces all values.
func (c carrier) Set(name, value string) { metadata.MD(c).Set(name, value) }

// Keys returns the names.
func (c carrier) Keys() []string { return slices.Collect(maps.Keys(c)) }
