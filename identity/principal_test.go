package identity_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kest-go/kest/identity"
)

func TestValidatePrincipal(t *testing.T) {
	for _, good := range []string{
		"spiffe://example.org/payments", "local:x", "arn:aws:sts::1:assumed-role/x/y", "Ünïcode ☃", "a",
		strings.Repeat("a", identity.MaxPrincipal),
	} {
		if err := identity.ValidatePrincipal(good); err != nil {
			t.Errorf("%.40q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "\x00", "a\nb", "a\tb", "\x7f", "a\u00a0b", "a\u200bb", "a\u202eb", "\ufeffa", "\ue000", "a\xffb", "\xed\xa0\x80",
		strings.Repeat("a", identity.MaxPrincipal+1),
	} {
		if err := identity.ValidatePrincipal(bad); err == nil {
			t.Errorf("%.40q is accepted", bad)
		} else if len(err.Error()) > 200 || strings.ContainsAny(err.Error(), "\n\x00\u202e") {
			t.Errorf("the error repeats the value: %q", err)
		}
	}
}

func FuzzValidatePrincipal(f *testing.F) {
	for _, seed := range []string{"spiffe://example.org/x", "", "a\u202eb", "\xff", "a b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, principal string) {
		if identity.ValidatePrincipal(principal) != nil {
			return
		}
		if principal == "" || len(principal) > identity.MaxPrincipal || !utf8.ValidString(principal) ||
			strings.ContainsFunc(principal, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q is accepted", principal)
		}
	})
}
