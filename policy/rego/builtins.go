package rego

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

const (
	network     = "reaches the network"
	files       = "follows $ref to files and the network"
	environment = "reads the environment of the process"
	random      = "makes a decision that cannot be repeated"
	unbounded   = "takes time or memory without bound and cannot be interrupted"
	overflow    = "ends the process on deeply nested text"
)

// refused maps built-ins that policies may not call to the reason (SPEC §7: no network or unsafe built-ins unless
// enabled). time.now_ns is allowed: opening hours are a policy, and the entry records the time of the call.
var refused = map[string]string{
	"http.send":               network,
	"net.lookup_ip_addr":      network,
	"json.match_schema":       files,
	"json.verify_schema":      files,
	"opa.runtime":             environment,
	"rand.intn":               random,
	"uuid.rfc4122":            random,
	"bits.lsh":                unbounded,
	"graph.reachable_paths":   unbounded,
	"json.patch":              unbounded, // a copy for every operation
	"regex.globs_match":       unbounded,
	"strings.render_template": unbounded,

	"graphql.is_valid":         overflow,
	"graphql.parse":            overflow,
	"graphql.parse_and_verify": overflow,
	"graphql.parse_query":      overflow,
	"graphql.parse_schema":     overflow,
	"graphql.schema_is_valid":  overflow,
	"providers.aws.sign_req":   random,
	"io.jwt.encode_sign":       random,
	"io.jwt.encode_sign_raw":   random,
}

// Refused returns the built-in functions that a policy may not call unless [Config.InsecureBuiltins] names them,
// with the reason for each.
func Refused() map[string]string { return maps.Clone(refused) }

// forbidden returns refused without the names that the configuration enables.
func forbidden(enabled []string) (map[string]string, error) {
	var errs []error
	left := Refused()
	for _, name := range enabled {
		if _, ok := refused[name]; !ok {
			errs = append(errs, fmt.Errorf("insecure built-in %q is not one of those that are refused; remove it", name))
		}
		delete(left, name)
	}
	return left, errors.Join(errs...)
}

// capabilities describes the language without the forbidden built-ins, so that the compiler, not the evaluation,
// finds their use.
func capabilities(version ast.RegoVersion, forbidden map[string]string) *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(version))
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool {
		_, no := forbidden[b.Name]
		return no
	})
	if _, no := forbidden["http.send"]; no {
		c.AllowNet = []string{} // not nil, which would mean any host
	}
	return c
}
