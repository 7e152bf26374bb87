package auto_test

import (
	"context"
	"testing"
	"time"

	"github.com/kest-go/kest/auto"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// named is a provider whose platform chose the name of the workload.
type named struct {
	identity.Provider
	binding *lineage.KeyBinding
}

func (n named) Binding(string) *lineage.KeyBinding { return n.binding }

func selfCertified(t *testing.T, principal string) *lineage.KeyBinding {
	t.Helper()
	public, signer, err := identity.NewSessionKey(principal)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b, err := lineage.CertifySelf(t.Context(), lineage.Statement{Principal: principal, Key: public, NotBefore: now, NotAfter: now.Add(time.Hour)}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNameIsNoPattern: in roots "*" at the end of a principal stands for everything. A workload whose own name ends so, by
// accident or because somebody could choose a subject, must not make others believe everybody.
func TestNameIsNoPattern(t *testing.T) {
	const issuer = "https://issuer.example"
	roots, err := auto.Roots(context.Background(), named{binding: selfCertified(t, issuer+"#*")})
	if err == nil {
		other := selfCertified(t, issuer+"#victim")
		if k, err := other.Verify(time.Now(), 0, roots); err == nil {
			t.Errorf("the roots of %s#* vouch for %s", issuer, k.Principal)
		}
		t.Error("no error")
	}
	roots, err = auto.Roots(context.Background(), named{binding: selfCertified(t, issuer+"#ci")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := selfCertified(t, issuer+"#ci").Verify(time.Now(), 0, roots); err != nil {
		t.Error(err)
	}
}
