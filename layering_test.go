package kest_test

import (
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// layers lists every package of every module in the repository. To add a package, add its line: its directory, its
// layer (see docs/architecture.md) and, where it may lead to code that is neither ours nor the standard library's,
// the import paths it may lead to. A line ending in /... stands for every package below that directory.
var layers = map[string]place{
	"internal/cedarnumber":       in(base),
	"internal/jcs":               in(base).pure(),
	"internal/uuid7":             in(base),
	"lineage":                    in(core).pure(),
	"identity":                   in(vocabulary),
	"policy":                     in(vocabulary),
	"store":                      in(vocabulary),
	"binding":                    in(vocabulary).on("store", "identity"),
	"propagate":                  in(vocabulary, otelAPI).on("store"),
	"telemetry":                  in(vocabulary, otelAPI),
	"identity/identitytest":      in(kit),
	"internal/report/reporttest": in(kit),
	"policy/policytest":          in(kit),
	"store/storetest":            in(kit),
	"aws/awstest":                in(kit, "github.com/aws/aws-sdk-go-v2"),
	"identity/oidc/oidctest":     in(kit, anything),
	"identity/spiffe/spiffetest": in(kit, anything),
	"fastverify":                 in(adapter, "filippo.io/edwards25519"),
	"aws":                        in(adapter, "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go").on("identity"),
	"aws/avp":                    in(adapter, "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go").on("policy"),
	"identity/device":            in(adapter, "github.com/zalando/go-keyring"),
	"identity/local":             in(adapter),
	"identity/oidc":              in(adapter, "github.com/go-jose/go-jose/v4"),
	"identity/spiffe":            in(adapter, "github.com/spiffe/go-spiffe/v2", "google.golang.org/grpc"),
	"identity/static":            in(adapter),
	"policies":                   in(adapter),
	"policy/cedar":               in(adapter, "github.com/cedar-policy/cedar-go"),
	"policy/cedaragent":          in(adapter),
	"policy/decisioncache":       in(adapter),
	"policy/decisionlog":         in(adapter, otelAPI),
	"policy/internal/rest":       in(base),
	"policy/internal/resttest":   in(kit).on("policy"),
	"policy/internal/tree":       in(base),
	"policy/opa":                 in(adapter),
	"policy/rego":                in(adapter, "github.com/open-policy-agent/opa", "go.yaml.in/yaml/v3"),
	"propagate/bearer":           in(adapter, otelAPI, "github.com/go-jose/go-jose/v4"),
	"propagate/hopproof":         in(adapter, otelAPI, "github.com/dunglas/httpsfv"),
	"propagate/kestgrpc":         in(adapter, otelAPI, "google.golang.org/grpc", "google.golang.org/genproto", "google.golang.org/protobuf"),
	"propagate/kesthttp":         in(adapter, otelAPI),
	"store/memory":               in(adapter),
	"store/natskv":               in(adapter, "github.com/nats-io/nats.go"),
	"store/redis":                in(adapter, "github.com/redis/rueidis"),
	"store/sqlstore":             in(adapter),
	".":                          in(guard, otelAPI),
	"internal/report":            in(shared).on("binding"),
	"internal/why":               in(shared, otelAPI).on(".", "policy"),
	"cmd/kest":                   in(binary, anything),
	"cmd/kest/internal/...":      in(binary, anything),
	"cmd/kest-verify":            in(binary),
	"auto":                       in(adapter, anything).on("identity", "identity/local", "identity/oidc", "identity/spiffe", "aws"), // links them all
	"config":                     in(adapter, otelAPI, "go.yaml.in/yaml/v3").on(".", "identity", "identity/local", "policy", "policy/cedaragent", "policy/decisioncache", "policy/decisionlog", "policy/opa", "propagate", "store", "store/memory"),
	"deploy":                     in(adapter, anything).on(".", "auto", "aws", "aws/avp", "binding", "config", "identity", "identity/device", "identity/oidc", "identity/spiffe", "policy", "policy/cedar", "policy/rego", "propagate", "propagate/bearer", "propagate/hopproof", "store", "store/natskv", "store/redis", "store/sqlstore"), // links them all
	"bench":                      in(leaf, anything),
	"conformance":                in(leaf, anything),
	"e2e/...":                    in(leaf, anything),
	"examples/...":               in(leaf, anything),
}

// TestLayering holds the repository to DESIGN §2 and §3.
func TestLayering(t *testing.T) {
	t.Parallel()
	found, checked := lintLayers(os.DirFS("."), layers)
	for _, fault := range found {
		t.Error(fault)
	}
	if checked == 0 {
		t.Error("no import was checked")
	}
	t.Logf("%d imports checked", checked)
}

// TestLayeringFinds gives the checker small repositories with one fault each.
func TestLayeringFinds(t *testing.T) {
	t.Parallel()
	table := map[string]place{
		"internal/jcs": in(base).pure(), "lineage": in(core).pure(), "policy": in(vocabulary), "identity": in(vocabulary), "store": in(vocabulary),
		"propagate": in(vocabulary).on("store"), "propagate/http": in(adapter),
		"policy/policytest": in(kit), "policy/opa": in(adapter), "policy/rego": in(adapter, "example.com/rego"),
		"internal/report": in(shared), ".": in(guard, otelAPI), "cmd/kest": in(binary, anything), "cmd/kest-verify": in(binary), "bench": in(leaf, anything),
	}
	good := map[string]string{
		"go.work": "go 1.26\n\nuse (\n\t.\n\t./policy/rego\n\t./cmd/kest\n\t./bench\n)\n",
		"go.mod": "module github.com/kest-go/kest\n\ngo 1.26\n\nrequire go.opentelemetry.io/otel v1.47.0\n\n" +
			"require (\n\tgo.opentelemetry.io/otel/trace v1.47.0\n\texample.com/logr v1.0.0 // indirect\n)\n",
		"policy/rego/go.mod": "module github.com/kest-go/kest/policy/rego\n\nreplace github.com/kest-go/kest => ../../\n",
		"cmd/kest/go.mod":    "module github.com/kest-go/kest/cmd/kest\n", "bench/go.mod": "module github.com/kest-go/kest/bench\n",
		"internal/tools/lint/go.mod": "module github.com/kest-go/kest/internal/tools/lint\n",
		"docs/architecture.md":       "`.` `policy/rego` `cmd/kest` `bench`",
		"internal/jcs/a.go":          "strconv", "lineage/a.go": "crypto/ed25519 time " + ours + "/internal/jcs",
		"policy/a.go": ours + "/lineage", "identity/a.go": "os " + ours + "/lineage",
		"store/a.go": "time", "propagate/a.go": ours + "/store", "propagate/http/a.go": ours + "/propagate " + ours + "/store",
		"policy/policytest/a.go": "testing " + ours + "/policy", "policy/opa/a.go": "net/http " + ours + "/policy",
		"policy/opa/a_test.go": ours + "/policy/policytest", "policy/rego/a.go": "example.com/rego/ast " + ours + "/policy",
		"policy/rego/a_test.go": "example.com/goleak", "a.go": otelAPI + "/trace " + ours + "/policy " + ours + "/policy/opa",
		"a_test.go": ours + "/identity", "cmd/kest/a.go": "example.com/cobra " + ours + " " + ours + "/policy/rego",
		"cmd/kest-verify/a.go": "os " + ours + "/internal/report", "internal/report/a.go": "os " + ours + "/lineage", "bench/a_test.go": ours + " " + ours + "/policy/policytest",
		"lineage/testdata/a.go": "example.com/not/looked/at",
	}
	if found, checked := lintLayers(mapTree(good), table); len(found) != 0 || checked == 0 {
		t.Fatalf("the good tree, %d imports checked, has %q", checked, found)
	}
	faults := []struct{ name, file, text, want string }{
		{"unlisted package", "internal/util/a.go", "fmt", "internal/util: the package is not listed"},
		{"listed, not there", "lineage/a.go", "", "lineage: listed, but it has no Go file"},
		{"upward", "lineage/b.go", ours + "/policy", "lineage/b.go: core must not import policy"},
		{"vocabulary sideways", "policy/b.go", ours + "/identity", "policy/b.go: vocabulary must not import identity"},
		{"sibling adapter", "policy/rego/b.go", ours + "/policy/opa", "policy/rego/b.go: adapter must not import policy/opa"},
		{"vocabulary below", "store/b.go", ours + "/propagate", "store/b.go: vocabulary must not import propagate"},
		{"vocabulary that its own is not built upon", "propagate/http/b.go", ours + "/policy", "propagate/http/b.go: adapter must not import policy"},
		{"another vocabulary", "policy/opa/b.go", ours + "/identity", "policy/opa/b.go: adapter must not import identity"},
		{"adapter of the root", "policy/opa/b.go", ours, "policy/opa/b.go: adapter must not import ."},
		{"kit in production", "policy/opa/b.go", ours + "/policy/policytest", "adapter must not import policy/policytest"},
		{"guard takes another module", "b.go", ours + "/policy/rego", "b.go: guard must not import policy/rego"},
		{"part of the binaries in the guard", "b.go", ours + "/internal/report", "b.go: guard must not import internal/report"},
		{"binary of a binary", "cmd/kest/b.go", ours + "/cmd/kest-verify", "binary must not import cmd/kest-verify"},
		{"guard of a binary", "b.go", ours + "/cmd/kest", "b.go: guard must not import cmd/kest"},
		{"unknown package of ours", "policy/b.go", ours + "/nothing", "policy/b.go: imports nothing, which is not listed"},
		{"third party in the core", "lineage/b.go", "example.com/x", "lineage: leads to example.com/x"},
		{"OpenTelemetry in policy", "policy/b.go", otelAPI, "policy: leads to " + otelAPI},
		{"SDK in the root", "b.go", otelAPI + "/sdk/trace", ".: leads to go.opentelemetry.io/otel/sdk/trace"},
		{"similar path", "b.go", otelAPI + "extra/x", ".: leads to go.opentelemetry.io/otelextra/x"},
		{"third party, transitively", "cmd/kest-verify/b.go", ours, "cmd/kest-verify: leads to go.opentelemetry.io/otel/trace"},
		{"third party in a root test", "policy/b_test.go", "example.com/testify", "policy/b_test.go: a test of the root"},
		{"root test of another module", "policy/b_test.go", ours + "/policy/rego", "policy/b_test.go: a test of the root"},
		{"test of a binary", "policy/rego/b_test.go", ours + "/cmd/kest", "policy/rego/b_test.go: a test must not import"},
		{"cgo", "policy/rego/b.go", "C", "policy/rego/b.go: imports C"},
		{"environment in the core", "lineage/b.go", "os", "lineage/b.go: imports os"},
		{"randomness in the core", "lineage/b.go", "math/rand/v2", "lineage/b.go: imports math/rand/v2"},
		{"clock in the core", "lineage/b.go", "time !time.Now", "lineage/b.go: uses time.Now"},
		{"no Go", "policy/b.go", "!!", "policy/b.go: "},
		{"module not in go.work", "policy/rego/x/go.mod", "module " + ours + "/policy/rego/x\n", "policy/rego/x: the module is neither"},
		{"go.work names nothing", "bench/go.mod", "", "bench: in go.work, but it has no go.mod"},
		{"undocumented module", "docs/architecture.md", "`.` `policy/rego` `bench`", "cmd/kest: the module is not named"},
		{"module path", "bench/go.mod", "module example.com/bench\n", "bench/go.mod: the module path is not"},
		{"root requires", "go.mod", "module " + ours + "\n\nrequire example.com/x v1.0.0\n", "go.mod: the root requires example.com/x"},
		{"foreign replace", "bench/go.mod", "module " + ours + "/bench\nreplace example.com/x => example.com/y v1.0.0\n", "bench/go.mod: replaces by example.com/y"},
		{"replace leaves", "bench/go.mod", "module " + ours + "/bench\nreplace example.com/x => ../../y\n", "bench/go.mod: replaces by ../../y"},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			bad := maps.Clone(good)
			if bad[f.file] = f.text; f.text == "" {
				delete(bad, f.file)
			}
			found, _ := lintLayers(mapTree(bad), table)
			if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, f.want) }) {
				t.Errorf("found %q, want %q", found, f.want)
			}
		})
	}
	if found, checked := lintLayers(fstest.MapFS{}, nil); len(found) == 0 || checked != 0 {
		t.Errorf("an empty tree: %d imports checked, faults %q", checked, found)
	}
}

// mapTree makes a tree of short descriptions: a Go file is given by its imports, and !X adds the expression X.
func mapTree(files map[string]string) fs.FS {
	tree := fstest.MapFS{}
	for name, text := range files {
		if strings.HasSuffix(name, ".go") {
			var b strings.Builder
			b.WriteString("package a\n")
			for word := range strings.FieldsSeq(text) {
				if expr, ok := strings.CutPrefix(word, "!"); ok {
					b.WriteString("var _ = " + expr + "\n")
				} else {
					b.WriteString("import _ \"" + word + "\"\n")
				}
			}
			text = b.String()
		}
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}
