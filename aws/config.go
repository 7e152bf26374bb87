package aws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// Environment variables of this package. All others, such as AWS_REGION, AWS_PROFILE and AWS_ROLE_ARN, are the SDK's.
const (
	EnvKeyID      = "KEST_AWS_KMS_KEY_ID"
	EnvAgentID    = "AWS_BEDROCK_AGENT_ID"
	EnvAgentAlias = "AWS_BEDROCK_AGENT_ALIAS_ID"
)

// A Mode says what the KMS key signs.
type Mode int

// The modes.
const (
	// Certified: the KMS key certifies a session key, which signs the entries. The key's spec is ECC_NIST_P256,
	// ECC_NIST_P384, ECC_NIST_P521, ECC_NIST_EDWARDS25519, RSA_2048, RSA_3072 or RSA_4096.
	Certified Mode = iota
	// Direct: the KMS key, of spec ECC_NIST_EDWARDS25519, signs every entry, of at most [MaxDirect] bytes.
	Direct
)

// String returns "certified" or "direct".
func (m Mode) String() string {
	switch m {
	case Certified:
		return "certified"
	case Direct:
		return "direct"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// Config says which key signs, and for whom. The zero value takes everything from the environment.
type Config struct {
	// KeyID of the KMS key: its id, its ARN, an alias ("alias/payments") or the ARN of an alias. "" means
	// KEST_AWS_KMS_KEY_ID. Bindings name the key's ARN as KMS returns it, so a moved alias shows at the next renewal.
	// The region of an ARN is where KMS is asked.
	KeyID string
	Mode  Mode

	// Agent makes the principal that of a Bedrock agent. nil: the principal is the role.
	Agent *BedrockAgent

	// AWSConfig is the SDK's configuration, which is copied. nil: config.LoadDefaultConfig, which looks at the
	// environment, profiles, web identity tokens (IRSA), and the credentials of containers (ECS, EKS) and instances.
	AWSConfig *aws.Config

	// Session is how long one session key is certified for, from one minute to [identity.MaxSession]; 0 means 1 h. It
	// is renewed at half of that.
	Session time.Duration

	// Wait is how long [New] goes on trying when AWS cannot be asked yet, as when credentials or permissions arrive
	// after the process started. The attempt that runs at its end is finished. 0: one attempt. Mistakes that waiting
	// does not mend, such as a key of the wrong spec, end it at once.
	Wait time.Duration

	// Timeout bounds one operation of KMS or STS, with the SDK's retries and with getting credentials for it. 0 means
	// 10 s; at most 5 min.
	Timeout time.Duration

	// Publish gets the binding of every new session key before the key is used, so that verifiers find it. When it
	// fails, the key is not used. nil: nothing is published.
	Publish func(ctx context.Context, b *lineage.KeyBinding) error

	// Logger gets one line for every renewal that failed; nil means slog.Default.
	Logger *slog.Logger
}

const (
	defaultSession = time.Hour
	minSession     = time.Minute
	defaultTimeout = 10 * time.Second
	maxTimeout     = 5 * time.Minute
	maxKeyID       = 2048 // bytes; KMS API reference, GetPublicKey
)

// complete fills in defaults and what the environment says, and reports every problem.
func (c Config) complete(env identity.Env) (Config, error) {
	if c.KeyID == "" {
		c.KeyID, _ = env.Lookup(EnvKeyID)
	}
	if c.Session == 0 {
		c.Session = defaultSession
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return c, errors.Join(c.problems()...)
}

func (c Config) problems() (list []error) {
	problem := func(format string, args ...any) { list = append(list, fmt.Errorf("aws identity: "+format, args...)) }
	switch {
	case c.KeyID == "":
		problem("no KMS key; set Config.KeyID or %s", EnvKeyID)
	case len(c.KeyID) > maxKeyID || strings.ContainsFunc(c.KeyID, notGraphic):
		problem("the KMS key id is longer than %d bytes or has characters that no id, alias or ARN has", maxKeyID)
	}
	if c.Mode != Certified && c.Mode != Direct {
		problem("Config.Mode: %v; use Certified or Direct", c.Mode)
	}
	if c.Session < minSession || c.Session > identity.MaxSession {
		problem("Config.Session: %v; use %v to %v", c.Session, minSession, identity.MaxSession)
	}
	if c.Wait < 0 {
		problem("Config.Wait: %v is negative", c.Wait)
	}
	if c.Timeout < 0 || c.Timeout > maxTimeout {
		problem("Config.Timeout: %v; use up to %v", c.Timeout, maxTimeout)
	}
	if c.Mode == Direct && c.Publish != nil {
		problem("Config.Publish: mode Direct has no bindings to publish; give verifiers Provider.PublicKey")
	}
	if c.Agent != nil {
		if err := c.Agent.check(); err != nil {
			problem("%w", err)
		}
	}
	return list
}

func notGraphic(r rune) bool { return r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' }
