package auto_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/kest-go/kest/auto"
	"github.com/kest-go/kest/identity"
)

var quiet = slog.New(slog.DiscardHandler)

// TestEveryProbeIsLinked: SPEC §8's order, and nobody is told to import what is here.
func TestEveryProbeIsLinked(t *testing.T) {
	var names []string
	for _, p := range auto.Probes(auto.Config{Logger: quiet}) {
		names = append(names, p.Name)
		if p.Open == nil {
			t.Errorf("%s is not linked", p.Name)
		}
	}
	if want := []string{identity.SPIFFE, identity.Bedrock, identity.AWS, identity.OIDC, identity.Local}; !slices.Equal(names, want) {
		t.Errorf("order %q, want %q", names, want)
	}
}

// TestBrokenSignals: each signal that cannot be used is an error of its own provider, and no local key takes its place.
func TestBrokenSignals(t *testing.T) {
	for name, variables := range map[string]map[string]string{
		identity.SPIFFE:  {"SPIFFE_ENDPOINT_SOCKET": "tcp://host.example:1"},
		identity.Bedrock: {"AWS_BEDROCK_AGENT_ID": "no agent", "KEST_AWS_KMS_KEY_ID": "k"},
		identity.AWS:     {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/x", "KEST_AWS_KMS_KEY_ID": ""},
		identity.OIDC:    {"KEST_OIDC_TOKEN": "not.a.token"},
	} {
		env := identity.Env{Getenv: func(name string) (string, bool) { v, ok := variables[name]; return v, ok }}
		p, _, err := identity.Detect(t.Context(), env, auto.Probes(auto.Config{Logger: quiet})...)
		var detect *identity.DetectError
		if p != nil || !errors.As(err, &detect) || detect.Probe != name || !errors.Is(err, identity.ErrBroken) || errors.Is(err, identity.ErrNotLinked) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

// A machine without any platform gives a local key, and says why.
func ExampleProbes() {
	provider, findings, err := identity.Detect(context.Background(), identity.Env{}, auto.Probes(auto.Config{Logger: quiet})...)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, isBinder := provider.(identity.Binder)
	fmt.Println("certified:", isBinder)
	for _, f := range findings {
		fmt.Println(f.Name, f.Chosen)
	}
	// Output:
	// certified: false
	// spiffe false
	// aws-bedrock false
	// aws false
	// oidc false
	// local true
}
