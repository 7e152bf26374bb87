package aws

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/kest-go/kest/identity"
)

// LabelCaller is the label of a Bedrock agent's entries that holds the role, or user, that STS knows the process as.
const LabelCaller = "aws.caller"

// The characters of names in ARNs (IAM user guide "IAM and STS quotas", STS API reference "AssumeRole", Bedrock API
// reference "AgentAlias"). Nothing in a principal is escaped, so nothing else may be in it.
var (
	partitionForm = regexp.MustCompile(`^aws(-[a-z]{1,8}){0,3}$`)
	accountForm   = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm    = regexp.MustCompile(`^[a-z]{2,8}(-[a-z]{1,16}){1,3}-[0-9]{1,2}$`)
	nameForm      = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	userForm      = regexp.MustCompile(`^user/([\x21-\x7e]{1,510}/)?[\w+=,.@-]{1,64}$`)
	agentForm     = regexp.MustCompile(`^[0-9A-Za-z]{10}$`)
	agentCoreForm = regexp.MustCompile(`^(runtime|workload-identity-directory)/[\w./-]{1,512}$`)
)

// A caller is whom STS knows this process as.
type caller struct {
	arn.ARN // of the role, with no path, or of the user
}

// parseCaller reads the answer of STS GetCallerIdentity.
func parseCaller(text, account string) (caller, error) {
	a, err := arn.Parse(text)
	switch {
	case len(text) > identity.MaxPrincipal || err != nil || !partitionForm.MatchString(a.Partition) || a.Region != "":
		return caller{}, fmt.Errorf("STS names the caller %.200q, which is not an ARN of IAM or STS", text)
	case !accountForm.MatchString(a.AccountID) || a.AccountID != account:
		return caller{}, fmt.Errorf("STS names the caller %.200q, of another account than %.20q", text, account)
	}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	role, session, _ := strings.Cut(rest, "/")
	switch {
	case a.Service == "sts" && kind == "assumed-role" && nameForm.MatchString(role) && nameForm.MatchString(session):
		a.Service, a.Resource = "iam", "role/"+role
	case a.Service == "iam" && userForm.MatchString(a.Resource):
	case a.Service == "iam" && a.Resource == "root":
		return caller{}, setup("the credentials are those of the root user of account %s; use a role", account)
	default:
		return caller{}, setup("STS names the caller %.200q, which is neither a role nor an IAM user; use the credentials of a role", text)
	}
	return caller{a}, nil
}

// A BedrockAgent is an agent of Amazon Bedrock, or of Bedrock AgentCore. Its ARN is the principal.
type BedrockAgent struct {
	// ID is the 10 letters and digits of an agent's id, or a whole ARN of service "bedrock" (agent/<id>,
	// agent-alias/<id>/<alias>) or "bedrock-agentcore" (runtime/…, workload-identity-directory/…). The account of an
	// ARN must be that of the credentials.
	ID string
	// Alias is the 10 letters and digits of an alias id, for an ID that has none. "": the agent itself.
	Alias string
}

func (a *BedrockAgent) check() error {
	if strings.HasPrefix(a.ID, "arn:") {
		parsed, err := a.parse()
		if err == nil && a.Alias != "" && (parsed.Service != "bedrock" || !strings.HasPrefix(parsed.Resource, "agent/")) {
			err = errors.New("bedrock agent: an alias beside an ARN that has none to take; use one of the two")
		}
		return errors.Join(err, a.checkAlias())
	}
	if !agentForm.MatchString(a.ID) {
		return fmt.Errorf("bedrock agent id %.40q: want 10 letters and digits, or an ARN; set %s", a.ID, EnvAgentID)
	}
	return a.checkAlias()
}

func (a *BedrockAgent) checkAlias() error {
	if a.Alias != "" && !agentForm.MatchString(a.Alias) {
		return fmt.Errorf("bedrock agent alias %.40q: want the 10 letters and digits of its id; set %s", a.Alias, EnvAgentAlias)
	}
	return nil
}

func (a *BedrockAgent) parse() (arn.ARN, error) {
	wrong := fmt.Errorf("bedrock agent %.200q: not an ARN of an agent, an agent alias or an AgentCore identity", a.ID)
	p, err := arn.Parse(a.ID)
	if err != nil || len(a.ID) > identity.MaxPrincipal || !partitionForm.MatchString(p.Partition) ||
		!regionForm.MatchString(p.Region) || !accountForm.MatchString(p.AccountID) {
		return p, wrong
	}
	kind, rest, _ := strings.Cut(p.Resource, "/")
	id, alias, _ := strings.Cut(rest, "/")
	switch {
	case p.Service == "bedrock" && kind == "agent" && agentForm.MatchString(rest):
	case p.Service == "bedrock" && kind == "agent-alias" && agentForm.MatchString(id) && agentForm.MatchString(alias):
	case p.Service == "bedrock-agentcore" && agentCoreForm.MatchString(p.Resource) && cleanPath(p.Resource):
	default:
		return p, wrong
	}
	return p, nil
}

// cleanPath refuses empty segments and dots, which something that matches prefixes of principals might resolve.
func cleanPath(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if strings.Trim(segment, ".") == "" {
			return false
		}
	}
	return true
}

// principal is the ARN of the agent, in the account that STS named and, without an ARN of its own, in a region.
func (a *BedrockAgent) principal(who caller, region string) (string, error) {
	p := arn.ARN{Partition: who.Partition, Service: "bedrock", Region: region, AccountID: who.AccountID, Resource: "agent/" + a.ID}
	if strings.HasPrefix(a.ID, "arn:") {
		var err error
		if p, err = a.parse(); err != nil {
			return "", err
		}
	} else if !regionForm.MatchString(region) {
		return "", setup("region %.40q of the Bedrock agent is not the name of a region; set AWS_REGION, or give the agent's ARN", region)
	}
	if p.Partition != who.Partition || p.AccountID != who.AccountID {
		return "", setup("bedrock agent %s is not of account %s, which the credentials are of", p, who.AccountID)
	}
	if a.Alias != "" {
		p.Resource = "agent-alias/" + strings.TrimPrefix(p.Resource, "agent/") + "/" + a.Alias
	}
	return p.String(), nil
}
