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
	// Those who sign deviations. Without this section nothing has to be signed, and nothing can be.
	Approvers *approvers `config:"approvers"`
	// Source types besides the fixed ones, with their trust scores from 0 to 100.
	Origins map[string]int `config:"origins" min:"0" max:"100"`
	// The taints that a classification brings, in place of the default ones.
	Classifications map[string][]string `config:"classifications"`
	// Who may begin lineages, raise trust and remove taints. Without this section every known principal may.
	Authority *authority `config:"authority"`
	// How scores follow from those of parents: one kind and its settings. Verifiers everywhere must use the same.
	Trust section `config:"trust" kinds:"trust"`
	// The policy engine: one kind and its settings.
	Engine section `config:"engine" kinds:"engine"`
	// Writes every decision of the engine down. {} is good.
	DecisionLog *decisionLog `config:"decision_log"`
	// Remembers definite answers of an engine that has revisions. Without this section nothing is remembered.
	DecisionCache *decisionCache `config:"decision_cache"`
	// The identity of the workload: one kind and its settings. Without this section it is detected.
	Identity section `config:"identity" kinds:"identity"`
	// The store of claim checks and nonces: one kind and its settings.
	Store section `config:"store" kinds:"store"`
	// Whose lineage is believed, and in which form.
	Verifier verifier `config:"verifier"`
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
	// Policies under trial, by tier: what they say is logged and signed into the entry, and stops nothing. At most 16.
	Shadow shadow `config:"shadow"`
	// The longest time for one policy, 1s by default.
	Timeout time.Duration `config:"timeout" min:"1ms" max:"1m"`
}

type shadow struct {
	// Of the enterprise tier.
	Enterprise []string `config:"enterprise" most:"16"`
	// Of the platform tier.
	Platform []string `config:"platform" most:"16"`
	// Of the application tier.
	Application []string `config:"application" most:"16"`
}

// maxShadow is how many policies a guard tries at once, in all tiers together; a test asks the guard.
const maxShadow = 16

func (p *policies) tiers() policy.Tiers {
	return policy.Tiers{Enterprise: p.Enterprise, Platform: p.Platform, Application: p.Application}
}

func (s *shadow) tiers() policy.Tiers {
	return policy.Tiers{Enterprise: s.Enterprise, Platform: s.Platform, Application: s.Application}
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
	// What the approver signed about all of the above: a detached JWS, header..signature. See approvers.
	Signature string `config:"signature"`
}

type approvers struct {
	// File with their keys: a JSON object from the name in approver to a JWKS, as lineage.ParseKeySet reads it. It is
	// followed like this file.
	Keys Path `config:"keys" must:"true"`
	// Deviations without a signature that holds are refused; true by default.
	Required bool `config:"required" default:"true"`
}

type authority struct {
	// What principals may do; several for one principal add up. An empty list lets nobody do any of it.
	Grants []grant `config:"grants" most:"4096" must:"true"`
	// Policies under trial elsewhere, or * for all: an entry of which one of them said anything but allow is refused.
	RefuseObserved []string `config:"refuse_observed" most:"256"`
}

type decisionLog struct {
	// Where records go: the logger of the program (logger, by default), or JSON lines on its standard error (stderr).
	Output string `config:"output" enum:"logger|stderr"`
	// Log the allows of one trace in this many; 1 by default. Denials and errors are always logged.
	SampleAllows int `config:"sample_allows" min:"1" max:"1000000000"`
	// Add what the policy saw, masked. It holds what callers send, so mask what must not leave.
	Input bool `config:"input"`
	// Parts of the input that are hidden, in this order. A mask that cannot be applied drops the whole input.
	Masks []mask `config:"masks" most:"256"`
	// The longest input in bytes, 16384 by default; longer ones are dropped.
	MaxInput int `config:"max_input" min:"1" max:"1048576"`
}

type mask struct {
	// Names of the input joined by dots, as in attributes.ssn; * stands for every member or element.
	Path string `config:"path" must:"true"`
	// Put in its place. Without it the part is taken out.
	With string `config:"with"`
}

type decisionCache struct {
	// The most answers that are kept, 4096 by default.
	MaxEntries int `config:"max_entries" min:"1" max:"1048576"`
	// The longest time for which an answer counts, 1m by default.
	TTL time.Duration `config:"ttl" min:"1ms" max:"24h"`
	// Members of the input that do not count, because no policy reads them, as in environment.entry_id. Without some of
	// these nothing is found again.
	Ignore []string `config:"ignore" most:"64"`
}

type verifier struct {
	// File with keys that are believed besides those that bindings certify: a JSON object from principal to JWKS.
	Keys Path `config:"keys"`
	// Principals whose entries may lack the labels that semantic checks need, as those of the Python implementation do.
	Legacy []string `config:"legacy" most:"4096"`
	// An entry's only parent must be the entry before it.
	Linear bool `config:"linear"`
	// Bytes for remembering what was verified, 33554432 by default.
	CacheBytes int `config:"cache_bytes" min:"1048576" max:"17179869184"`
}

// Attenuate is the default: the lowest score of the parents times the call's own.
type attenuate struct{}

// Weighted leans on the history of the lineage, and never lets a score rise above the parents'.
type weighted struct {
	// How much the parents' scores weigh, in percent.
	History int `config:"history" min:"0" max:"100" must:"true"`
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
	// Sign a proof for every request that carries lineage, for services that demand them.
	Proofs bool `config:"proofs"`
	// An answer without lineage that can be believed fails the call.
	StrictReturn bool `config:"strict_return"`
}

type propagation struct {
	// The longest member of the header in bytes, 4096 by default. Longer passports go to the store; -1 sends all there.
	Threshold int `config:"threshold" min:"-1" max:"8192"`
	// Never write the plain form, which the middleware of the Python implementation cannot read.
	CompressFirst bool `config:"compress_first"`
	// Send the receipts of calls back with answers, so that policies of the caller know how they ended.
	Receipts bool `config:"receipts"`
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
