package identity

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// MaxPrincipal is the longest principal in bytes, as for SPIFFE IDs (SPIFFE-ID §2.4).
const MaxPrincipal = 2048

// ValidatePrincipal accepts any name of 1 to [MaxPrincipal] bytes that is valid UTF-8 and prints as it is:
// no control, format or private-use characters and no space but U+0020, so two principals that look alike in a
// log or a policy do not differ in something invisible.
func ValidatePrincipal(principal string) error {
	switch {
	case principal == "":
		return errors.New("empty principal")
	case len(principal) > MaxPrincipal:
		return fmt.Errorf("principal of %d bytes is longer than %d", len(principal), MaxPrincipal)
	case !utf8.ValidString(principal):
		return errors.New("principal is not valid UTF-8")
	}
	for _, r := range principal {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("principal has the character %U, which does not print", r)
		}
	}
	return nil
}
