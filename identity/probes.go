package identity

import (
	"errors"
	"fmt"
)

// Names of the standard probes.
const (
	SPIFFE  = "spiffe"
	Bedrock = "aws-bedrock"
	AWS     = "aws"
	OIDC    = "oidc"
	Local   = "local"
)

// SPIFFESockets are the Workload API sockets that are looked for when SPIFFE_ENDPOINT_SOCKET is not set. The
// second is SPIRE's own default, in a directory where anybody may create things: it counts only when root or this user
// made it ([Env.Owned]), because whoever serves it says who the workload is and whom it believes.
func SPIFFESockets() []string {
	return []string{"/run/spire/sockets/agent.sock", "/tmp/spire-agent/public/api.sock"}
}

// StandardProbes returns the platform providers in the order of SPEC §8, none of them linked: their Open is nil,
// so that a signal is an error that names the import. Fill in the ones that the program has with [Link], and
// append the last resort:
//
//	probes := append(identity.StandardProbes(), local.Probe(local.Config{}))
func StandardProbes() []Probe {
	return []Probe{
		{Name: SPIFFE, Import: "github.com/kest-go/kest/identity/spiffe", Signal: spiffeSignal},
		{Name: Bedrock, Import: "github.com/kest-go/kest/aws", Signal: bedrockSignal},
		{Name: AWS, Import: "github.com/kest-go/kest/aws", Signal: awsSignal},
		{Name: OIDC, Import: "github.com/kest-go/kest/identity/oidc", Signal: oidcSignal},
	}
}

// Link sets the Open of the probe called name, in place. It fails when there is none, so that a misspelt name
// does not leave a provider out.
func Link(probes []Probe, name string, open Opener) error {
	for i := range probes {
		if probes[i].Name == name {
			probes[i].Open = open
			return nil
		}
	}
	return fmt.Errorf("no identity probe is called %q", name)
}

var errEmpty = errors.New("the variable is set but empty; give it a value or unset it")

func spiffeSignal(env Env) Signal {
	const name = "SPIFFE_ENDPOINT_SOCKET"
	if value, set := env.Lookup(name); set {
		return variable(name, value)
	}
	if path, err := env.SPIFFESocket(); path != "" {
		return Signal{Present: true, Detail: path + " exists", Err: err}
	}
	return Signal{Detail: name + " is not set, and there is no default socket"}
}

func bedrockSignal(env Env) Signal {
	const name = "AWS_BEDROCK_AGENT_ID"
	value, set := env.Lookup(name)
	switch {
	case !set:
		return Signal{Detail: name + " is not set"}
	case value == "":
		return Signal{Present: true, Detail: name + " is empty", Err: errEmpty}
	}
	return Signal{Present: true, Detail: name + " is set"}
}

// awsSignal wants a role and a key. AWS sets the first two variables by itself, so without a key for Kest they
// say nothing; the key's variable is Kest's own, so alone it is a mistake.
func awsSignal(env Env) Signal {
	const key = "KEST_AWS_KMS_KEY_ID"
	role := ""
	for _, name := range []string{"AWS_EXECUTION_ENV", "AWS_ROLE_ARN"} {
		if value, _ := env.Lookup(name); value != "" && role == "" {
			role = name
		}
	}
	value, set := env.Lookup(key)
	switch {
	case !set && role == "":
		return Signal{Detail: "neither " + key + " nor AWS_EXECUTION_ENV nor AWS_ROLE_ARN is set"}
	case !set:
		return Signal{Detail: role + " is set, but " + key + " is not"}
	case value == "":
		return Signal{Present: true, Detail: key + " is empty", Err: errEmpty}
	case role == "":
		return Signal{Present: true, Detail: key + " is set", Err: errors.New(
			"neither AWS_EXECUTION_ENV nor AWS_ROLE_ARN is set; set one, or unset " + key)}
	}
	return Signal{Present: true, Detail: role + " and " + key + " are set"}
}

// oidcSignal looks for a token in a file or in the environment itself. The second is never shown.
func oidcSignal(env Env) Signal {
	const file, name = "KEST_OIDC_TOKEN_PATH", "KEST_OIDC_TOKEN"
	path, hasFile := env.Lookup(file)
	token, hasToken := env.Lookup(name)
	switch {
	case !hasFile && !hasToken:
		return Signal{Detail: file + " is not set"}
	case hasFile && hasToken:
		return Signal{Present: true, Detail: file + " and " + name + " are set", Err: errors.New("unset one of them")}
	case hasToken && token == "":
		return Signal{Present: true, Detail: name + " is empty", Err: errEmpty}
	case hasToken:
		return Signal{Present: true, Detail: name + " is set"}
	}
	s := variable(file, path)
	if s.Err == nil && !env.exists(path) {
		s.Err = errors.New("there is no such file; mount the token or unset " + file)
	}
	return s
}

// variable is the signal of a variable whose value is a path or an address.
func variable(name, value string) Signal {
	if value == "" {
		return Signal{Present: true, Detail: name + " is empty", Err: errEmpty}
	}
	return Signal{Present: true, Detail: shown(name, value)}
}
