package config_test

import (
	"context"
	"fmt"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// A program hands over how it makes the kinds that need an SDK, and adds policies of its own.
func ExampleLoad() {
	options := config.Options{Engines: map[string]config.Builder[policy.Engine]{
		"rego": config.Build(func(_ context.Context, s config.Rego) (policy.Engine, error) {
			// return rego.Config{Timeout: s.Timeout, InsecureBuiltins: s.InsecureBuiltins}.Dir(string(s.Dir))
			return policytest.Allow(), nil
		}),
	}}
	options.Environ = []string{"KEST_ENGINE_REGO_DIR=policies", "KEST_POLICIES_ENTERPRISE=baseline-auth"}
	d, err := config.Load("", options) // the file that KEST_CONFIG names; here there is none
	if err != nil {
		fmt.Println(err)
		return
	}
	engine, err := d.Engine(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := d.Apply(kest.Config{Engine: engine, Application: []string{"app/limits"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Enterprise, c.Application)

	_, err = d.Apply(kest.Config{Enterprise: []string{}})
	fmt.Println(err)
	// Output:
	// [baseline-auth] [app/limits]
	// kest: config: Enterprise: application code leaves out "baseline-auth", which the deployment sets; leave the field nil, or name it too
}

// Every problem is reported at once, with its place and what to do.
func ExampleParse() {
	_, err := config.Parse([]byte(`
policies:
  entreprise: [baseline-auth]
  platform: [kest/allow_trusted]
deviations:
  - policy: kest/allow_trusted
    tier: function
    scope: "*"
engine:
  opa: {host: localhost, token: s3cret}
`), config.Options{File: "kest.yaml"})
	fmt.Println(err)
	// Output:
	// kest.yaml:3:3: policies.entreprise: the key is not known; did you mean "enterprise"?
	// kest.yaml:7:11: deviations[0].tier: function policies cannot be deviated; take the policy out of the call instead
	// kest.yaml:10:33: engine.opa.token: a secret must not stand in the configuration; write {file: PATH} or {env: NAME}
}
