package hopproof

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/kest-go/kest/propagate"
)

const (
	label = "kest"     // of the signatures that Signer makes; a verifier goes by the tag
	tag   = "kest-hop" // RFC 9421 §2.3: names the profile
	alg   = "ed25519"  // RFC 9421 §3.3.6

	fieldInput     = "signature-input"
	fieldSignature = "signature"
	fieldBaggage   = "baggage"
	fieldDigest    = "content-digest"

	maxCovered = 64 << 10 // bytes of all covered parts
)

// covered lists what a proof of r covers, in the order in which [Signer] writes it.
func covered(r propagate.HopRequest) ([]string, error) {
	names := []string{"@method", "@authority", "@path", "@query", fieldBaggage}
	size := len(r.Method) + len(r.Authority) + len(r.Path) + len(r.Query)
	for name, lines := range r.Fields {
		switch {
		case name == fieldInput || name == fieldSignature || len(lines) == 0:
			continue
		case name == fieldDigest:
			names = append(names, name)
		case name != fieldBaggage:
			// Leaving it out would let the transport believe that it was covered.
			return nil, fmt.Errorf("the field %.40q has no place in a hop proof; leave it out of the HopRequest", name)
		}
		for _, line := range lines {
			size += len(line) + len(", ")
		}
	}
	if size > maxCovered {
		return nil, fmt.Errorf("target, baggage and content-digest have %d bytes, more than the limit of %d", size, maxCovered)
	}
	return names, nil
}

// signatureBase is what gets signed (RFC 9421 §2.5): a line for each component, and one for the parameters.
func signatureBase(components []string, params string, r propagate.HopRequest) ([]byte, error) {
	var base []byte
	for _, name := range components {
		value, err := component(name, r)
		if err != nil {
			return nil, err
		}
		base = append(base, `"`+name+`": `+value+"\n"...)
	}
	return append(base, `"@signature-params": `+params...), nil
}

// component is the value of a derived component (RFC 9421 §2.2) or of a field.
func component(name string, r propagate.HopRequest) (string, error) {
	var value string
	switch name {
	case "@method":
		value = r.Method
	case "@authority":
		value = strings.ToLower(r.Authority) // RFC 9421 §2.2.3
	case "@path":
		value = cmp.Or(r.Path, "/") // RFC 9421 §2.2.6
	case "@query":
		value = cmp.Or(r.Query, "?") // RFC 9421 §2.2.7
		if value[0] != '?' {
			return "", errors.New(`the query does not begin with "?"`)
		}
	default:
		return fieldValue(name, r.Fields[name])
	}
	// A line break would begin another line of the base, under a name of the sender's choice.
	if value == "" || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("%s is empty, or is not printable ASCII without spaces; percent-encode it", name)
	}
	return value, nil
}

// fieldValue joins the lines of a field (RFC 9421 §2.1). A folded line, which that clause would unfold, is refused with
// all other control characters.
func fieldValue(name string, lines []string) (string, error) {
	trimmed := make([]string, len(lines))
	for i, line := range lines {
		if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\t' || c > '~' }) {
			return "", fmt.Errorf("%s is not printable ASCII; percent-encode it", name)
		}
		trimmed[i] = strings.Trim(line, " \t")
	}
	value := strings.Join(trimmed, ", ")
	if strings.Trim(value, " ,") == "" {
		return "", fmt.Errorf("the request has no %s", name)
	}
	return value, nil
}
