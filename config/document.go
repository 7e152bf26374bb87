package config

import (
	"reflect"
	"time"

	"github.com/kest-go/kest/policy"
)

// The types of a file. A tag config names the key; min, max, most and enum bound its value, and must makes it required.
// The JSON Schema is made from them and their comments: run go test -run TestSchema -update after a change.

// document is a deployment of Kest: what the people who run a program decide about it.
type document struct {
	// Where the schema is, for editors; nothing here reads it.
	Schema string `config:"$schema"`
	// The policies that apply to every call, by tier. Application code can add to them, and take none away.
	Policies policies `config:"policies"`
	// Exemptions from policies.
	Deviations []deviation `config:"deviations" most:"4096"`
	// Source types besides the fixed ones, with their trust scores from 0 to 100.
	Origins map[string]int `config:"origins" min:"0" max:"100"`
	// The taints that a classification brings, in place of the default ones.
	Classifications map[string][]string `config:"classifications"`
	// Who may begin lineages, raise trust and remove taints. Without this section every known principal may.
	Authority *authority `config:"authority"`
	// The policy engine: one kind and its settings.
	Engine section `config:"engine" kinds:"engine"`
	// The identity of the workload: one kind and its settings. Without this section it is detected.
	Identity section `config:"identity" kinds:"identity"`
	// The store of claim checks and nonces: one kind and its settings.
	Store section `config:"store" kinds:"store"`
	// What is demanded of incoming requests.
	Ingress *ingress `config:"ingress"`
	// Who may get lineage.
	Egress *egress `config:"egress"`
	// How lineage travels.
	Propagation propagation `config:"propagation"`
	// What is recorded.
	Telemetry telemetry `config:"telemetry"`
	// Bounds of entries and passports. What is not set has the default of the library.
	Limits limits `config:"limits"`
	// File with the keys of those who certify workloads, as lineage.ParseRoots reads it.
	TrustBundle Path `config:"trust_bundle"`
}

type policies struct {
	// Apply to every call; only a deviation lifts them.
	Enterprise []string `config:"enterprise" most:"256"`
	// Apply to every call of this platform; only a deviation lifts them.
	Platform []string `config:"platform" most:"256"`
	// Apply to every call of this application.
	Application []string `config:"application" most:"256"`
	// The longest time for one policy, 1s by default.
	Timeout time.Duration `config:"timeout" min:"1ms" max:"1m"`
}

func (p *policies) tiers() policy.Tiers {
	return policy.Tiers{Enterprise: p.Enterprise, Platform: p.Platform, Application: p.Application}
}

type deviation struct {
	// The policy that is lifted.
	Policy string `config:"policy" must:"true"`
	// The tier in which it stands. Function policies cannot be lifted.
	Tier policy.Tier `config:"tier" must:"true"`
	// The operations for which it is lifted: a name, in which * stands for any run of characters.
	Scope string `config:"scope" must:"true"`
	// Why. It is signed into the entry of every call.
	Reason string `config:"reason"`
	// Who approved it. It is signed into the entry of every call.
	Approver string `config:"approver"`
	// The end, as in 2027-01-31T00:00:00Z. Without it there is none.
	NotAfter time.Time `config:"not_after"`
}

type authority struct {
	// What principals may do; several for one principal add up. An empty list lets nobody do any of it.
	Grants []grant `config:"grants" most:"4096" must:"true"`
}

type grant struct {
	// An exact principal, or a prefix that ends in /*.
	Principal string `config:"principal" must:"true"`
	// The source types that its roots may declare; * allows all.
	Originate []string `config:"originate"`
	// Allows roots of every source type whose score is at most this. 0 allows none.
	RootTrust int `config:"root_trust" min:"0" max:"100"`
	// The highest score to which it may raise trust. 0 for none.
	OverrideTrust int `config:"override_trust" min:"0" max:"100"`
	// The taints that it may remove; * allows all.
	RemoveTaints []string `config:"remove_taints"`
}

type ingress struct {
	// edge serves clients that have no lineage; internal refuses requests without it.
	Listener string `config:"listener" enum:"edge|internal" must:"true"`
	// An internal listener serves requests without lineage, while services are moved one by one.
	LineageOptional bool `config:"lineage_optional"`
	// The source type of lineages that begin here; internet by default.
	Origin string `config:"origin"`
	// Hop proofs: off, accept (one that is there must hold) or require.
	Proofs string `config:"proofs" enum:"off|accept|require"`
	// The names, host or host:port, under which clients address this service. Proofs need them.
	Authorities []string `config:"authorities"`
	// Whoever signed the lineage last must be the peer of the mutual TLS connection.
	RequirePeer bool `config:"require_peer"`
	// Requests without a bearer token are refused.
	RequireToken bool `config:"require_token"`
	// Who checks bearer tokens: one kind and its settings.
	Tokens section `config:"tokens" kinds:"tokens"`
	// Bounds everything before the handler, 5s by default.
	Timeout time.Duration `config:"timeout" min:"1ms" max:"5m"`
}

type egress struct {
	// Hosts (ledger, ledger:8443) and suffixes (.mesh.internal) that get lineage, besides loopback addresses.
	// Application code can name fewer, not more.
	Allow []string `config:"allow"`
	// An answer without lineage that can be believed fails the call.
	StrictReturn bool `config:"strict_return"`
}

type propagation struct {
	// The longest member of the header in bytes, 4096 by default. Longer passports go to the store; -1 sends all there.
	Threshold int `config:"threshold" min:"-1" max:"8192"`
	// Never write the plain form, which the middleware of the Python implementation cannot read.
	CompressFirst bool `config:"compress_first"`
	// How long a claim check can be redeemed, 300s by default.
	ClaimTTL time.Duration `config:"claim_ttl" min:"1s" max:"24h"`
	// Begins the keys of claim checks, kest.claim. by default. Tenants that share a store have different ones.
	ClaimPrefix string `config:"claim_prefix"`
}

type telemetry struct {
	// The longest passport, in bytes, that a span carries, 65536 by default; -1 for none.
	SpanPassportBytes int `config:"span_passport_bytes" min:"-1" max:"4194304"`
	// Sign a receipt of every outcome. Without this setting application code decides.
	Receipts *bool `config:"receipts"`
}

type limits struct {
	// Of one entry; 65536 by default.
	EntryBytes int `config:"entry_bytes" min:"1" max:"4194304"`
	// Entries of a passport; 1024 by default.
	PassportEntries int `config:"passport_entries" min:"1" max:"1048576"`
	// Of the text form of a passport; 4194304 by default.
	PassportBytes int `config:"passport_bytes" min:"1" max:"268435456"`
	// Labels of an entry; 64 by default.
	Labels int `config:"labels" min:"1" max:"65536"`
	// Of the value of a label; 8192 by default.
	LabelBytes int `config:"label_bytes" min:"1" max:"4194304"`
	// Taints in each list of an entry; 256 by default.
	Taints int `config:"taints" min:"1" max:"65536"`
	// Of the name of a policy; 256 by default.
	PolicyNameBytes int `config:"policy_name_bytes" min:"1" max:"65536"`
	// Levels of JSON; 64 by default.
	Depth int `config:"depth" min:"4" max:"1024"`
}

// section is one kind of several, with its settings.
type section struct {
	kind     string
	settings any // a struct of the type of that kind; nil when there is no such section
}

// sections lists the keys of a file, but for that of editors.
func sections() []string {
	var names []string
	for _, f := range fields(reflect.TypeFor[document]()) {
		if name := f.Tag.Get("config"); name != "$schema" {
			names = append(names, name)
		}
	}
	return names
}
