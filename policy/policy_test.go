package policy_test

import (
	"strings"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

func TestValidateName(t *testing.T) {
	good := []string{
		"kest/allow_trusted", "a", "A/b.c/d-e_f/0", "...", "a..b", ".hidden", "-", "_", strings.Repeat("a", policy.MaxName),
	}
	for _, name := range good {
		if err := policy.ValidateName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range policytest.HostileNames() {
		err := policy.ValidateName(name)
		if err == nil {
			t.Errorf("%.80q is accepted", name)
		} else if len(err.Error()) > 4*policy.MaxName+200 || strings.ContainsAny(err.Error(), "\n\x00\u202e") {
			t.Errorf("%.80q: the error repeats it raw or at length: %.200q", name, err)
		}
	}
}

// FuzzValidateName: what is accepted is exactly safe as a relative path and as URL path segments.
func FuzzValidateName(f *testing.F) {
	for _, name := range append(policytest.HostileNames(), "kest/allow_trusted", "a.b-c_d/e") {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if policy.ValidateName(name) != nil {
			return
		}
		if name == "" || len(name) > policy.MaxName {
			t.Fatalf("length %d", len(name))
		}
		for _, segment := range strings.Split(name, "/") {
			if segment == "" || strings.Trim(segment, ".") == "" && len(segment) < 3 {
				t.Fatalf("%q has segment %q", name, segment)
			}
		}
		if i := strings.IndexFunc(name, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/", r)
		}); i >= 0 {
			t.Fatalf("%q has %q", name, name[i])
		}
	})
}

func TestTierOrder(t *testing.T) { // F-PE-03
	want := [4]policy.Tier{"enterprise", "platform", "application", "function"}
	if got := policy.Order(); got != want {
		t.Errorf("order %q, want %q", got, want)
	}
	order := policy.Order()
	order[0] = "changed"
	if policy.Order() != want {
		t.Error("a caller can change the order for everyone")
	}
}

func TestTiersNames(t *testing.T) {
	tiers := policy.Tiers{
		Enterprise: []string{"e"}, Platform: []string{"p"}, Application: []string{"a"}, Function: []string{"f", "g"},
	}
	for tier, want := range map[policy.Tier]string{
		policy.Enterprise: "e", policy.Platform: "p", policy.Application: "a", policy.Function: "f g", "other": "", "": "",
	} {
		if got := strings.Join(tiers.Names(tier), " "); got != want {
			t.Errorf("%s: %q, want %q", tier, got, want)
		}
	}
	if err := tiers.Validate(); err != nil {
		t.Error(err)
	}
	if err := (policy.Tiers{}).Validate(); err != nil {
		t.Errorf("no policies: %v", err)
	}
}

// TestTiersValidateReportsAll: every bad name of every tier, with its tier, in one error.
func TestTiersValidateReportsAll(t *testing.T) {
	err := policy.Tiers{
		Enterprise: []string{"ok", "", "ok"}, Platform: []string{"../x"}, Application: []string{"a b"}, Function: []string{"x//y", "ok"},
	}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"enterprise policy: empty", `enterprise policy "ok" is listed twice`, `platform policy: policy name "../x"`, `application`, `function`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	if strings.Count(err.Error(), "twice") != 1 { // the same name may stand in two tiers
		t.Errorf("duplicates in %q", err)
	}
}

func TestZeroDecisionDenies(t *testing.T) { // F-PE-02
	if (policy.Decision{}).Allow {
		t.Error("the zero decision allows")
	}
}
