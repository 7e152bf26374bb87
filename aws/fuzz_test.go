package aws_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	kestaws "github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/identity"
)

// FuzzPrincipal: whatever STS says, a principal is an ARN of IAM in that account, which prints as it is.
func FuzzPrincipal(f *testing.F) {
	f.Add(awstest.Session("payments"), awstest.Account)
	f.Add("arn:aws-us-gov:iam::123456789012:user/division/anna", awstest.Account)
	f.Add("arn:aws:iam::123456789012:root", awstest.Account)
	f.Add("arn:aws:sts::123456789012:federated-user/x", awstest.Account)
	f.Fuzz(func(t *testing.T, text, account string) {
		p, err := kestaws.PrincipalOf(text, account)
		if err != nil {
			return
		}
		a, err := arn.Parse(p)
		if err != nil || a.AccountID != account || a.Service != "iam" || identity.ValidatePrincipal(p) != nil {
			t.Fatalf("%q: %q, %v", text, p, err)
		}
		if role, ok := strings.CutPrefix(a.Resource, "role/"); ok && (role == "" || strings.Contains(role, "/")) {
			t.Fatalf("%q: %q", text, p)
		}
		if again, err := kestaws.PrincipalOf(p, account); strings.HasPrefix(a.Resource, "user/") && (again != p || err != nil) {
			t.Fatalf("%q changes to %q, %v", p, again, err)
		}
	})
}

// FuzzAgent: an agent is in the account of the credentials, and its ARN, given back, means the same agent.
func FuzzAgent(f *testing.F) {
	for _, id := range []string{"AGENT12345", "arn:aws:bedrock:eu-central-1:123456789012:agent/AGENT12345",
		"arn:aws:bedrock:eu-central-1:123456789012:agent-alias/AGENT12345/TSTALIASID", "arn:aws:bedrock-agentcore:eu-central-1:123456789012:runtime/planner-x1"} {
		f.Add(id, "")
		f.Add(id, "TSTALIASID")
	}
	f.Fuzz(func(t *testing.T, id, alias string) {
		p, err := kestaws.AgentOf(kestaws.BedrockAgent{ID: id, Alias: alias}, awstest.Account, awstest.Region)
		if err != nil {
			return
		}
		a, err := arn.Parse(p)
		if err != nil || a.AccountID != awstest.Account || a.Partition != "aws" || !strings.HasPrefix(a.Service, "bedrock") || identity.ValidatePrincipal(p) != nil {
			t.Fatalf("%q %q: %q, %v", id, alias, p, err)
		}
		if again, err := kestaws.AgentOf(kestaws.BedrockAgent{ID: p}, awstest.Account, awstest.Region); again != p || err != nil {
			t.Fatalf("%q becomes %q, %v", p, again, err)
		}
	})
}
