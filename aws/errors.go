package aws

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/kest-go/kest/identity"
)

// A setupError is a mistake that waiting does not mend.
type setupError struct{ text string }

func (e *setupError) Error() string { return e.text }

func setup(format string, args ...any) error { return &setupError{fmt.Sprintf(format, args...)} }

// A callError is the failure of a call to AWS, in words that hold no secret: an answer of AWS repeats the whole request
// after its first line when a signature does not match, session token included, and an error of net/http shows the
// address, which for container credentials is as good as a password. The cause is for errors.As and smithy.APIError.
type callError struct {
	text    string
	refused bool // AWS said no, instead of nothing
	err     error
}

func (e *callError) Error() string { return e.text }
func (e *callError) Unwrap() error { return e.err }

// Is makes a refusal match [identity.ErrRevoked], which takes the present session key away.
func (e *callError) Is(target error) bool { return e.refused && target == identity.ErrRevoked }

// Format keeps every verb, %#v too, from showing the cause.
func (e *callError) Format(s fmt.State, verb rune) {
	if verb == 'q' {
		fmt.Fprintf(s, "%q", e.text)
		return
	}
	fmt.Fprint(s, e.text)
}

// called wraps an error of the SDK.
func called(err error) error {
	e := &callError{err: err}
	var api smithy.APIError
	var address *url.Error
	switch {
	case errors.As(err, &api):
		e.refused, e.text = advise(api)
	case errors.Is(err, context.DeadlineExceeded):
		e.text = "no answer in time; check the network, the endpoint and Config.Timeout"
	case errors.As(err, &address):
		e.text = "not reached: " + firstLine(address.Err.Error()) + "; check the network and the endpoint"
	default:
		e.text = firstLine(err.Error())
	}
	switch name := operation(err); {
	case strings.HasPrefix(name, "ec2imds"): // the SDK's last resort
		e.text = "no credentials found; give this process a role (IRSA, ECS, EC2), a profile, or AWS_ACCESS_KEY_ID"
	case name != "":
		e.text = name + ": " + e.text
	}
	return e
}

func advise(api smithy.APIError) (refused bool, text string) {
	text = firstLine(api.ErrorMessage())
	code := api.ErrorCode()
	if code == "" { // of a container's credential endpoint that is none
		return false, "the endpoint of the credentials answers: " + text
	}
	h, known := hints[code]
	if text = fmt.Sprintf("%.80s: %s", code, text); known {
		text += "; " + h.advice
	}
	return h.refused, text
}

// operation names the innermost call: that for the credentials when it is the one that failed.
func operation(err error) (name string) {
	for {
		var op *smithy.OperationError
		if !errors.As(err, &op) {
			return name
		}
		name, err = op.ServiceID+" "+op.OperationName, op.Err
	}
}

const maxMessage = 300

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	line = strings.ToValidUTF8(line, "?")
	if len(line) > maxMessage {
		line = strings.ToValidUTF8(line[:maxMessage], "") + "…"
	}
	return line
}

type hint struct {
	refused bool
	advice  string
}

const (
	allow  = "allow kms:GetPublicKey and kms:Sign on the key to this role, in its policy or the key's, and sts:GetCallerIdentity and the assuming of roles where they are denied"
	renew  = "the credentials are not known to AWS or have ended; renew them"
	enable = "enable the key, or name another one in " + EnvKeyID
	keyID  = "check the id, account and region of the key in " + EnvKeyID + " and AWS_REGION"
	secret = "check that the secret access key belongs to the access key id, and that nothing on the way changes requests"
	token  = "check the file of AWS_WEB_IDENTITY_TOKEN_FILE and the trust policy of the role"
	slower = "AWS limits the rate; ask for a higher quota, and use mode Certified, which does not call KMS for every entry"
	clock  = "set the clock of this machine (NTP)"
)

// hints are by error code. KMS and STS have names of their own for some of them.
var hints = map[string]hint{
	"AccessDenied": {true, allow}, "AccessDeniedException": {true, allow},
	"DisabledException": {true, enable}, "KMSInvalidStateException": {false, enable},
	"NotFoundException": {false, keyID}, "InvalidArnException": {false, keyID},
	"UnrecognizedClientException": {false, renew}, "InvalidClientTokenId": {false, renew},
	"ExpiredToken": {false, renew}, "ExpiredTokenException": {false, renew},
	"SignatureDoesNotMatch": {false, secret}, "InvalidSignatureException": {false, secret},
	"InvalidIdentityToken": {false, token}, "IDPRejectedClaim": {false, token},
	"ThrottlingException": {false, slower}, "Throttling": {false, slower}, "LimitExceededException": {false, slower},
	"RequestTimeTooSkewed": {false, clock}, "RequestExpired": {false, clock},
}
