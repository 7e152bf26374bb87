package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// A workload is this process as AWS knows it.
type workload struct {
	config Config
	region string
	sts    *sts.Client
	kms    *kms.Client
	trust  trust
}

// connect makes the clients. It sends nothing.
func connect(ctx context.Context, c Config) (*workload, error) {
	sdk, err := c.sdk(ctx)
	if err != nil {
		return nil, called(err)
	}
	keyRegion := sdk.Region
	if a, err := arn.Parse(c.KeyID); err == nil && a.Region != "" {
		keyRegion = a.Region
	}
	if sdk.Region == "" {
		sdk.Region = keyRegion
	}
	if sdk.Region == "" {
		return nil, setup("no AWS region; set AWS_REGION, or give the KMS key as an ARN")
	}
	return &workload{config: c, region: sdk.Region, sts: sts.NewFromConfig(sdk),
		kms: kms.NewFromConfig(sdk, func(o *kms.Options) { o.Region = keyRegion })}, nil
}

// sdk is the caller's configuration or the default one, with bounds on what AWS may answer.
func (c Config) sdk(ctx context.Context) (aws.Config, error) {
	if c.AWSConfig != nil {
		sdk := c.AWSConfig.Copy()
		sdk.APIOptions = append(slices.Clone(sdk.APIOptions), limitBodies)
		return sdk, nil
	}
	return config.LoadDefaultConfig(ctx, config.WithAPIOptions([]func(*middleware.Stack) error{limitBodies}),
		// The SDK gets credentials without the deadline of the call that needs them, so the client has one.
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(c.Timeout)))
}

// maxBody bounds one answer, in bytes. The longest that is expected has a public key of 550.
const maxBody = 1 << 20

// limitBodies is a middleware because there it also guards the calls that get credentials, whatever the HTTP client is.
func limitBodies(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("KestLimitBodies",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
			middleware.DeserializeOutput, middleware.Metadata, error,
		) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if r, ok := out.RawResponse.(*smithyhttp.Response); ok && r.Body != nil {
				r.Body = &limitedBody{r.Body, maxBody}
			}
			return out, metadata, err
		}), middleware.After)
}

type limitedBody struct {
	io.ReadCloser
	left int
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("answer of more than %d bytes", maxBody)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// maxSkew is how far this clock may be from that of AWS, which is what AWS allows a signed request. The SDK corrects
// requests beyond it, but nobody corrects the times in entries and bindings.
const maxSkew = 5 * time.Minute

// who asks STS for the caller and makes the principal of it.
func (w *workload) who(ctx context.Context) (principal string, labels map[string]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.config.Timeout)
	defer cancel()
	out, err := w.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", nil, called(err)
	}
	if skew, known := awsmiddleware.GetAttemptSkew(out.ResultMetadata); known && skew.Abs() > maxSkew {
		return "", nil, fmt.Errorf("the clock of this machine is %v off that of AWS, so nobody would believe the times it signs; "+clock,
			skew.Abs().Round(time.Minute))
	}
	who, err := parseCaller(aws.ToString(out.Arn), aws.ToString(out.Account))
	if err != nil {
		return "", nil, err
	}
	if w.config.Agent == nil {
		return who.String(), nil, nil
	}
	principal, err = w.config.Agent.principal(who, w.region)
	return principal, map[string]string{LabelCaller: who.String()}, err
}

func (w *workload) key(ctx context.Context) (*key, error) {
	return fetch(ctx, w.kms, w.config.KeyID, w.config.Timeout)
}

// issue has the KMS key certify a new session key (SPEC §4, F-ID-04).
func (w *workload) issue(ctx context.Context) (identity.Credential, error) {
	principal, labels, err := w.who(ctx)
	if err != nil {
		return identity.Credential{}, err
	}
	key, err := w.key(ctx)
	if err != nil {
		return identity.Credential{}, err
	}
	public, signer, err := identity.NewSessionKey(principal)
	if err != nil {
		return identity.Credential{}, err
	}
	now := time.Now().Truncate(time.Second)
	statement := lineage.Statement{Principal: principal, Key: public, NotBefore: now, NotAfter: now.Add(w.config.Session)}
	b, err := lineage.Certify(ctx, statement, lineage.StatementKey{
		Public: key.public, Algorithm: key.jws, ID: key.arn, Sign: key.sign,
	})
	if err != nil {
		return identity.Credential{}, err
	}
	return identity.Credential{Signer: signer, Binding: b, Labels: labels}, w.trust.add(key, principal)
}

// direct makes the signer of mode [Direct].
func (w *workload) direct(ctx context.Context) (*directSigner, error) {
	principal, labels, err := w.who(ctx)
	if err != nil {
		return nil, err
	}
	key, err := w.key(ctx)
	if err != nil {
		return nil, err
	}
	s, err := key.signer(principal, labels)
	if err != nil {
		return nil, err
	}
	return s, w.trust.add(key, principal)
}

// Pauses between the attempts of [Config.Wait].
const firstPause, lastPause = 250 * time.Millisecond, 5 * time.Second

// patiently tries until it works, until wait is over, or until waiting cannot help.
func patiently(ctx context.Context, wait time.Duration, try func(context.Context) error) error {
	end := time.Now().Add(wait)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := try(ctx)
		var mistake *setupError
		if err == nil || errors.As(err, &mistake) || !time.Now().Add(pause).Before(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
