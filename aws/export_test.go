package aws

// PrincipalOf is parseCaller as text.
func PrincipalOf(text, account string) (string, error) {
	c, err := parseCaller(text, account)
	return c.String(), err
}

// AgentOf is the principal of an agent in an account of partition "aws".
func AgentOf(a BedrockAgent, account, region string) (string, error) {
	if err := a.check(); err != nil {
		return "", err
	}
	who := caller{}
	who.Partition, who.AccountID = "aws", account
	return a.principal(who, region)
}
