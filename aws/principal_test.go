package aws_test

import (
	"strings"
	"testing"

	kestaws "github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/identity"
)

// TestPrincipals: who the credentials belong to, and whom that makes.
func TestPrincipals(t *testing.T) {
	for caller, want := range map[string]string{
		awstest.Session("payments"):                                    role,
		"arn:aws-cn:sts::123456789012:assumed-role/payments/i-0abc":    "arn:aws-cn:iam::123456789012:role/payments",
		"arn:aws-us-gov:sts::123456789012:assumed-role/payments/x@y.z": "arn:aws-us-gov:iam::123456789012:role/payments",
		"arn:aws:iam::123456789012:user/division/anna":                 "arn:aws:iam::123456789012:user/division/anna",
		"arn:aws:iam::123456789012:root":                               "",
		"arn:aws:sts::123456789012:federated-user/anna":                "",
		"arn:aws:sts::123456789012:assumed-role/payments":              "",
		"arn:aws:sts::123456789012:assumed-role//x":                    "",
		"arn:aws:sts::123456789012:assumed-role/a b/x":                 "",
		"arn:aws:sts::12345:assumed-role/payments/x":                   "",
		"arn:aws:sts:::assumed-role/payments/x":                        "",
	} {
		s := awstest.Start(t)
		p, err := kestaws.New(t.Context(), kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: sdkAs(s, caller), Logger: quiet})
		if want == "" {
			if err == nil {
				t.Errorf("%s: accepted", caller)
				p.Close()
			} else if strings.HasSuffix(caller, ":root") && !strings.Contains(err.Error(), "root user") {
				t.Errorf("%s: %v", caller, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", caller, err)
			continue
		}
		if got := must(p.Signer(t.Context()))(t).Principal(); got != want {
			t.Errorf("%s: %s", caller, got)
		}
		p.Close()
	}
}

// TestBedrock: the agent's ARN by id, alias and whole (SPEC §8 Bedrock agent).
func TestBedrock(t *testing.T) {
	prefix := "arn:aws:bedrock:" + awstest.Region + ":" + awstest.Account + ":"
	core := "arn:aws:bedrock-agentcore:" + awstest.Region + ":" + awstest.Account + ":workload-identity-directory/default/workload-identity/planner"
	for _, test := range []struct{ id, alias, want string }{
		{"AGENT12345", "", prefix + "agent/AGENT12345"},
		{"AGENT12345", "TSTALIASID", prefix + "agent-alias/AGENT12345/TSTALIASID"},
		{prefix + "agent/AGENT12345", "", prefix + "agent/AGENT12345"},
		{core, "", core},
		{"", "", ""}, {"AGENT/../X", "", ""}, {"AGENT\n", "", ""}, {"A B", "", ""}, {strings.Repeat("A", 65), "", ""},
		{"AGENT12345", "a/b", ""}, {prefix + "agent/AGENT12345", "TSTALIASID", prefix + "agent-alias/AGENT12345/TSTALIASID"},
		{prefix + "agent-alias/AGENT12345/TSTALIASID", "", prefix + "agent-alias/AGENT12345/TSTALIASID"},
		{prefix + "agent-alias/AGENT12345/TSTALIASID", "TSTALIASID", ""}, {core, "TSTALIASID", ""},
		{core + "/../admin", "", ""}, {core + "//x", "", ""}, {prefix + "agent/AGENT12345/x", "", ""},
		{strings.Replace(prefix, "arn:aws:", "arn:aws-cn:", 1) + "agent/AGENT12345", "", ""},
		{"arn:aws:s3:::bucket", "", ""}, {"arn:aws:bedrock:eu-central-1:999999999999:agent/AGENT12345", "", ""}, {"arn:aws:bedrock::" + awstest.Account + ":agent/AGENT12345", "", ""},
		{prefix + "agent/\u202eX", "", ""},
	} {
		s := awstest.Start(t)
		p, err := kestaws.NewBedrock(t.Context(), kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: sdk(s), Agent: &kestaws.BedrockAgent{ID: test.id, Alias: test.alias}, Logger: quiet})
		switch {
		case test.want == "" && err == nil:
			t.Errorf("%q %q: accepted", test.id, test.alias)
		case test.want != "" && err != nil:
			t.Errorf("%q %q: %v", test.id, test.alias, err)
		case err == nil:
			signer := must(p.Signer(t.Context()))(t)
			if signer.Principal() != test.want {
				t.Errorf("%q %q: %s", test.id, test.alias, signer.Principal())
			}
			if labels := signer.(identity.Labeler).Labels(); labels[kestaws.LabelCaller] != role {
				t.Errorf("labels %v do not name the role", labels)
			}
		}
		if err == nil {
			p.Close()
		}
	}
}
