package config_test

import (
	"strings"
	"testing"

	"github.com/kest-go/kest/config"
)

// TestApproversOfTheEnvironment: whoever edits the file cannot take out, or weaken, what the environment says of approvers.
func TestApproversOfTheEnvironment(t *testing.T) {
	environ := []string{"KEST_APPROVERS_KEYS=testdata/approvers.json", "KEST_APPROVERS_REQUIRED=true"}
	const unsigned = "policies: {platform: [a]}\ndeviations: [{policy: a, tier: platform, scope: '*', reason: r, approver: ciso}]\n"
	for name, text := range map[string]string{
		"left out": unsigned, "weakened": unsigned + "approvers: {keys: other.json, required: false}\n",
		"other keys": unsigned + "approvers: {keys: /nowhere/mine.json}\n",
	} {
		if _, err := config.Parse([]byte(text), config.Options{Environ: environ}); err == nil || !strings.Contains(err.Error(), "not signed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := config.Parse([]byte(unsigned), config.Options{}); err != nil {
		t.Errorf("nobody asks for approvals: %v", err)
	}
}
