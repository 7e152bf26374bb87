package avp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions"
)

// Defaults of [Config].
const (
	DefaultTimeout       = time.Second
	DefaultPrincipalType = "Workload"
	DefaultResourceType  = "Resource"
)

// actionType is the only one that Verified Permissions takes, behind any namespace (API reference, ActionIdentifier).
const actionType = "Action"

// credentialsTimeout bounds a request for credentials, by the HTTP client. The SDK does not put it under the deadline
// of the call that needs them, so that the next call finds what the first was too impatient for.
const credentialsTimeout = 10 * time.Second

// Config says which policy store is asked, and how. Only PolicyStoreID is needed; the zero value of every other
// field is a safe default.
type Config struct {
	// PolicyStoreID is the id of the policy store, "PSEXAMPLEabcdefg111111", or "policy-store-alias/" and the name of
	// an alias.
	PolicyStoreID string

	// AWSConfig is the SDK's configuration, which is copied; it needs a region and credentials. nil:
	// config.LoadDefaultConfig, which looks at the environment, profiles, web identity tokens (IRSA), and the
	// credentials of containers (ECS, EKS) and instances. An endpoint that it names must be https, or a loopback
	// address: answers are not signed, so anybody on the way could answer ALLOW.
	AWSConfig *aws.Config

	// Timeout bounds one evaluation, with the SDK's retries and with getting credentials for it; an earlier deadline
	// of the context wins. 0: [DefaultTimeout].
	Timeout time.Duration

	// Namespace is that of the schema, such as "Kest" or "Org::Kest": the types become Kest::Workload, Kest::Action
	// and Kest::Resource. Empty: none.
	Namespace string

	// PrincipalType and ResourceType are the entity types of workloads and objects. One that holds "::" has a
	// namespace of its own and gets no other. Empty: [DefaultPrincipalType] and [DefaultResourceType]. The type of an
	// action is always Action: Verified Permissions takes no other.
	PrincipalType, ResourceType string
}

const (
	maxStoreID = 200 // characters; API reference, IsAuthorized
	maxType    = 200 // characters, with the namespace; API reference, EntityIdentifier
)

var (
	storeID  = regexp.MustCompile(`^[a-zA-Z0-9/_-]+$`)
	typeName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*$`) // Cedar's Path
)

// typeNames are the three entity types, with their namespaces.
type typeNames struct{ principal, action, resource string }

func (c *Config) types() typeNames {
	full := func(name string) string {
		if c.Namespace == "" || strings.Contains(name, "::") {
			return name
		}
		return c.Namespace + "::" + name
	}
	return typeNames{
		principal: full(cmp.Or(c.PrincipalType, DefaultPrincipalType)), action: full(actionType),
		resource: full(cmp.Or(c.ResourceType, DefaultResourceType)),
	}
}

// check reports everything that is wrong with c except AWSConfig.
func (c *Config) check() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.PolicyStoreID == "", "no policy store; set PolicyStoreID")
	bad(c.PolicyStoreID != "" && (len(c.PolicyStoreID) > maxStoreID || !storeID.MatchString(c.PolicyStoreID)),
		"PolicyStoreID is not an id or alias of at most %d letters, digits, '/', '_' and '-'; give the id, not the ARN", maxStoreID)
	bad(c.Timeout < 0, "timeout %v is negative; use a positive duration, or 0 for %v", c.Timeout, DefaultTimeout)
	types := c.types()
	for _, f := range []struct{ field, value, full string }{
		{"Namespace", c.Namespace, types.action}, {"PrincipalType", c.PrincipalType, types.principal}, {"ResourceType", c.ResourceType, types.resource},
	} {
		bad(f.value != "" && (!typeName.MatchString(f.value) || len(f.full) > maxType),
			"%s is not a Cedar name of at most %d characters with its namespace; write it as Name or Namespace::Name", f.field, maxType)
	}
	return errors.Join(errs...)
}

// sdk is the caller's configuration or the default one. It sends nothing.
func (c *Config) sdk(ctx context.Context) (aws.Config, error) {
	var sdk aws.Config
	if c.AWSConfig != nil {
		sdk = c.AWSConfig.Copy()
		if sdk.HTTPClient == nil {
			sdk.HTTPClient = httpClient()
		}
	} else {
		var err error
		if sdk, err = config.LoadDefaultConfig(ctx, config.WithHTTPClient(httpClient())); err != nil {
			return sdk, &callError{text: "the configuration of AWS cannot be loaded; check the AWS_ variables and the files of ~/.aws", cause: err}
		}
	}
	var errs []error
	if sdk.Region == "" {
		errs = append(errs, errors.New("no AWS region; set AWS_REGION, or Region in AWSConfig"))
	}
	if sdk.Credentials == nil {
		errs = append(errs, errors.New("AWSConfig has no credentials; set Credentials, or leave AWSConfig out for those of the environment"))
	} else {
		sdk.Credentials = credentials{sdk.Credentials}
	}
	return sdk, errors.Join(errs...)
}

// httpClient is that of the SDK with bounds. One that the caller gives is taken as it is.
func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTimeout(credentialsTimeout).WithTransportOptions(func(t *http.Transport) {
		t.MaxResponseHeaderBytes = 32 << 10
	})
}

// credentials marks the errors of a provider, which have no type of their own.
type credentials struct{ aws.CredentialsProvider }

type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return got, credentialsError{err}
	}
	return got, nil
}

// checkEndpoint refuses plain HTTP where others could read the input and forge the answer. It does not repeat the
// address: somebody may have written a password into it.
func checkEndpoint(o verifiedpermissions.Options) error {
	if o.BaseEndpoint == nil {
		return nil // the SDK's own, which are https
	}
	u, err := url.Parse(*o.BaseEndpoint)
	switch {
	case err != nil || u.Hostname() == "":
		return errors.New("the endpoint in the configuration of AWS is not a URL; write it as https://host")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("the endpoint in the configuration of AWS is neither https nor a loopback address, " +
		"so anybody on the way could answer ALLOW; use https")
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
