package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/kest-go/kest/policy"
)

// Rego are the settings of engine.rego: policies that OPA's library evaluates in the process (policy/rego).
type Rego struct {
	// Folder of the policies.
	Dir Path `config:"dir" must:"true"`
	// The package below which the policies are: with acme the policy baseline-auth is package acme["baseline-auth"].
	Prefix string `config:"prefix"`
	// Refuse policies that read something of the input that it never has.
	CheckInput bool `config:"check_input"`
	// Built-in functions that policies may call although they are refused otherwise, such as http.send.
	InsecureBuiltins []string `config:"insecure_builtins"`
	// How often the folder is looked at for changes, 5s by default; 0s for never.
	Reload time.Duration `config:"reload" default:"5s" max:"24h"`

	// Timeout is policies.timeout, 0 when that is not set.
	Timeout time.Duration
}

// OPA are the settings of engine.opa: a server of Open Policy Agent (policy/opa). Exactly one of URL and Host is set,
// or Socket, alone or with URL.
type OPA struct {
	// Base of the API, as in https://opa.example.org/authz.
	URL string `config:"url"`
	// Host name or IP address, without a port.
	Host string `config:"host"`
	// Port of the host, 8181 by default.
	Port int `config:"port" min:"1" max:"65535"`
	// Absolute path of a Unix socket.
	Socket string `config:"socket"`
	// The bearer token that the server wants.
	Token Secret `config:"token"`
	// For https.
	TLS *TLS `config:"tls"`
	// The package below which the policies are: with acme the policy baseline-auth is package acme["baseline-auth"].
	Prefix string `config:"prefix"`
	// Where the boolean is in the answer, result.allow by default.
	DecisionPath string `config:"decision_path"`
	// Ask for the revision of the bundles, for the record.
	Provenance bool `config:"provenance"`
	// Permit plain HTTP to other machines, on networks that encrypt by themselves.
	InsecureHTTP bool `config:"insecure_http"`

	// Timeout is policies.timeout, 0 when that is not set.
	Timeout time.Duration
}

// Cedar are the settings of engine.cedar: policies that cedar-go evaluates in the process (policy/cedar).
type Cedar struct {
	// Folder of the policies.
	Dir Path `config:"dir" must:"true"`
	// Schema file, by its path in the folder; schema.cedarschema by default, if there is one.
	Schema string `config:"schema"`
	// Refuse policies that read something of the input that it never has. Not beside a schema.
	CheckInput bool `config:"check_input"`
	// File of entities, by its path in the folder; entities.json by default, if there is one.
	Entities string `config:"entities"`
	// How often the folder is looked at for changes, 5s by default; 0s for never.
	Reload time.Duration `config:"reload" default:"5s" max:"24h"`
}

// minReload is the shortest interval of an engine's watch, which reads the whole folder each time.
const minReload = 100 * time.Millisecond

func checkReload(d time.Duration) error {
	if d > 0 && d < minReload {
		return fmt.Errorf("reload: %s is too often; use 0s for never, or at least %s", d, minReload)
	}
	return nil
}

// Check reports an interval that is too short, and a prefix that is no name.
func (s *Rego) Check() error {
	var wrong error
	if s.Prefix != "" {
		if err := policy.ValidateName(s.Prefix); err != nil {
			wrong = fmt.Errorf("prefix: %w", err)
		}
	}
	return errors.Join(checkReload(s.Reload), wrong)
}

// Check reports an interval that is too short.
func (s *Cedar) Check() error { return checkReload(s.Reload) }

// CedarAgent are the settings of engine.cedaragent: a Cedar Agent over REST (policy/cedaragent). URL is set, or Socket,
// or both.
type CedarAgent struct {
	// Base of the API, as in http://localhost:8180/v1.
	URL string `config:"url"`
	// Absolute path of a Unix socket.
	Socket string `config:"socket"`
	// The token that the server wants.
	Token Secret `config:"token"`
	// Send the token without the word Bearer, as Cedar Agent itself wants it.
	BareToken bool `config:"bare_token"`
	// Send names as they are instead of typed entities.
	Plain bool `config:"plain"`
	// For https.
	TLS *TLS `config:"tls"`
	// Permit plain HTTP to other machines, on networks that encrypt by themselves.
	InsecureHTTP bool `config:"insecure_http"`

	// Timeout is policies.timeout, 0 when that is not set.
	Timeout time.Duration
}

// AVP are the settings of engine.avp: Amazon Verified Permissions (aws/avp). Region and credentials are those of the
// environment.
type AVP struct {
	// Id of the policy store, or policy-store-alias/ and the name of an alias.
	PolicyStore string `config:"policy_store" must:"true"`
	// Namespace of the schema, as in Kest or Org::Kest.
	Namespace string `config:"namespace"`
	// Entity type of workloads, Workload by default.
	PrincipalType string `config:"principal_type"`
	// Entity type of objects, Resource by default.
	ResourceType string `config:"resource_type"`

	// Timeout is policies.timeout, 0 when that is not set.
	Timeout time.Duration
}

// SPIFFE are the settings of identity.spiffe: the SPIRE agent of this machine (identity/spiffe).
type SPIFFE struct {
	// Endpoint: a path, unix:///path or tcp://ip:port. By default SPIFFE_ENDPOINT_SOCKET or a usual path.
	SocketPath string `config:"socket_path"`
	// What certifies session keys: the X509-SVID (x509), or a JWT-SVID, which proves less.
	Form string `config:"form" enum:"x509|jwt"`
	// The SPIFFE ID to use when the workload has several.
	Principal string `config:"principal"`
	// How long the start may wait for the agent, 10s by default.
	Wait time.Duration `config:"wait" max:"1h"`
}

// AWS are the settings of identity.aws: an IAM role and a KMS key (aws).
type AWS struct {
	// Id, ARN or alias of the KMS key. By default KEST_AWS_KMS_KEY_ID.
	KeyID string `config:"key_id"`
	// certified: the KMS key certifies session keys. direct: it signs every entry.
	Mode string `config:"mode" enum:"certified|direct"`
	// How long a session key is certified for, 1h by default.
	Session time.Duration `config:"session" min:"1m" max:"12h"`
	// How long the start may wait for AWS. By default it tries once.
	Wait time.Duration `config:"wait" max:"1h"`
	// Bounds one operation of KMS or STS, 10s by default.
	Timeout time.Duration `config:"timeout" min:"1ms" max:"5m"`
}

// Bedrock are the settings of identity.bedrock: a Bedrock agent, and a KMS key (aws).
type Bedrock struct {
	// Id or ARN of the agent.
	AgentID string `config:"agent_id" must:"true"`
	// Id of its alias.
	Alias string `config:"alias"`
	// Id, ARN or alias of the KMS key. By default KEST_AWS_KMS_KEY_ID.
	KeyID string `config:"key_id"`
	// certified: the KMS key certifies session keys. direct: it signs every entry.
	Mode string `config:"mode" enum:"certified|direct"`
	// How long a session key is certified for, 1h by default.
	Session time.Duration `config:"session" min:"1m" max:"12h"`
	// How long the start may wait for AWS. By default it tries once.
	Wait time.Duration `config:"wait" max:"1h"`
	// Bounds one operation of KMS or STS, 10s by default.
	Timeout time.Duration `config:"timeout" min:"1ms" max:"5m"`
}

// OIDC are the settings of identity.oidc: a token of an OpenID provider (identity/oidc).
type OIDC struct {
	// File of the token. By default what KEST_OIDC_TOKEN_PATH or KEST_OIDC_TOKEN says.
	TokenPath Path `config:"token_path"`
	// The URL that iss must be; its keys verify the token. By default KEST_OIDC_ISSUER.
	Issuer string `config:"issuer"`
	// An audience that a token without the key in it must have.
	Audience string `config:"audience"`
	// Refuse tokens that do not name the session key.
	RequireBound bool `config:"require_bound"`
	// The longest time for one session key.
	Session time.Duration `config:"session" min:"1m" max:"12h"`
	// How long the start may wait for the token. By default it tries once.
	Wait time.Duration `config:"wait" max:"1h"`
}

// Device are the settings of identity.device: a person who logs in at a terminal (identity/device and identity/oidc).
type Device struct {
	// URL of the OpenID provider.
	Issuer string `config:"issuer" must:"true"`
	// What the program is registered as.
	ClientID string `config:"client_id" must:"true"`
	// For clients that have one.
	ClientSecret Secret `config:"client_secret"`
	// What is asked for. By default openid and offline_access.
	Scopes []string `config:"scopes"`
	// Exchange every token for one that names the session key (RFC 8693), so that others can verify the person.
	Exchange bool `config:"exchange"`
	// Where the login is kept between runs: the keyring of the system when there is one (system, by default), or nowhere
	// (memory).
	Keyring string `config:"keyring" enum:"system|memory"`
	// The longest time for one session key.
	Session time.Duration `config:"session" min:"1m" max:"12h"`
}

// Local are the settings of identity.local: a key that nobody vouches for, for development.
type Local struct {
	// Readable part of the principal.
	Name string `config:"name"`
}

// Auto are the settings of identity.auto: what the machine asks for (auto).
type Auto struct {
	// How long the start may wait for the platform. By default that of each kind.
	Wait time.Duration `config:"wait" max:"1h"`
	// Readable part of the principal when it is a local one.
	Name string `config:"name"`
}

// Memory are the settings of store.memory, for a service that is one process.
type Memory struct {
	// Keys and values together; 67108864 by default.
	MaxBytes int64 `config:"max_bytes" min:"1" max:"1099511627776"`
	// Values. By default max_bytes alone decides.
	MaxEntries int `config:"max_entries" min:"1" max:"1073741824"`
	// Of one value; 4194304 by default.
	MaxValue int `config:"max_value" min:"1" max:"4194304"`
}

// Redis are the settings of store.redis: Redis or Valkey (store/redis).
type Redis struct {
	// host:port of the server, or of some nodes of a cluster.
	Addresses []string `config:"addresses" must:"true"`
	// User of AUTH.
	Username string `config:"username"`
	// Password of AUTH.
	Password Secret `config:"password"`
	// Without it only loopback addresses are connected to.
	TLS *TLS `config:"tls"`
	// Permit connections without TLS to other machines, on networks that encrypt by themselves.
	InsecurePlaintext bool `config:"insecure_plaintext"`
	// Goes before every key.
	Prefix string `config:"prefix"`
	// Bounds every operation, 2s by default.
	Timeout time.Duration `config:"timeout" min:"1ms" max:"1m"`
}

// SQL are the settings of store.sql: SQLite or PostgreSQL (store/sqlstore).
type SQL struct {
	// What the database speaks.
	Dialect string `config:"dialect" enum:"sqlite|postgres" must:"true"`
	// Data source name. It is a secret because it may hold a password.
	DSN Secret `config:"dsn" must:"true"`
	// Begins the names of the tables, kest_ by default.
	Prefix string `config:"prefix"`
	// Bounds every operation, 2s by default.
	Timeout time.Duration `config:"timeout" min:"1ms" max:"1m"`
}

// NATS are the settings of store.nats: a key-value bucket of JetStream (store/natskv).
type NATS struct {
	// Addresses of the servers, host:port.
	Addresses []string `config:"addresses" must:"true"`
	// The bucket.
	Bucket string `config:"bucket" must:"true"`
	// File of credentials, as nsc writes it.
	Credentials Path `config:"credentials"`
	// Without it only loopback addresses are connected to.
	TLS *TLS `config:"tls"`
	// Permit connections without TLS to other machines, on networks that encrypt by themselves.
	InsecurePlaintext bool `config:"insecure_plaintext"`
	// Bounds every operation, 2s by default.
	Timeout time.Duration `config:"timeout" min:"1ms" max:"1m"`
}

// Check reports addresses that are none, and those that would be connected to without TLS. It does not repeat them:
// somebody may have written a URL with a password.
func (s *NATS) Check() error {
	var errs []error
	for i, address := range s.Addresses {
		host, port, err := net.SplitHostPort(address)
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || bad != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@") {
			errs = append(errs, fmt.Errorf("address %d is not host:port", i))
			continue
		}
		ip, err := netip.ParseAddr(host)
		loopback := err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
		if s.TLS == nil && !s.InsecurePlaintext && !loopback {
			errs = append(errs, fmt.Errorf("address %d is of another machine and there is no tls, so others could read and answer; add tls: {}", i))
		}
	}
	return errors.Join(errs...)
}

// Bearer are the settings of ingress.tokens.bearer: JWTs of one issuer (propagate/bearer).
type Bearer struct {
	// What iss must be.
	Issuer string `config:"issuer" must:"true"`
	// The names of this service, one of which must be in aud.
	Audiences []string `config:"audiences" must:"true"`
	// URL of the issuer's keys. By default discovery finds it.
	JWKS string `config:"jwks"`
	// Algorithms that may sign. By default RS256, PS256, ES256, ES384 and EdDSA.
	Algorithms []string `config:"algorithms"`
	// By how much clocks may differ, 30s by default.
	Leeway time.Duration `config:"leeway" min:"1ms" max:"5m"`
	// The claim that becomes the user, sub by default.
	UserClaim string `config:"user_claim"`
	// The first of these that a token has becomes the agent. By default client_id and azp.
	AgentClaims []string `config:"agent_claims"`
	// The claim that becomes the task, scope by default.
	TaskClaim string `config:"task_claim"`
}
