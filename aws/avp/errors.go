package avp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kest-go/kest/policy"
)

// An indefiniteError says that the question cannot be put, or that the answer holds no decision.
type indefiniteError struct{ text string }

func (e *indefiniteError) Error() string { return policy.ErrIndefinite.Error() + ": " + e.text }
func (e *indefiniteError) Unwrap() error { return policy.ErrIndefinite }

func indefinite(format string, args ...any) error {
	return &indefiniteError{fmt.Sprintf(format, args...)}
}

// A callError is the failure of a call in words of our own. Those of AWS can repeat the input (a ValidationException)
// and the session token (a wrong signature). The cause is for errors.As and smithy.APIError.
type callError struct {
	text         string
	class, cause error
}

func (e *callError) Error() string {
	if e.class == nil {
		return e.text
	}
	return e.class.Error() + ": " + e.text
}

func (e *callError) Unwrap() []error {
	if e.class == nil {
		return []error{e.cause}
	}
	return []error{e.class, e.cause}
}

// Format keeps every verb, %#v too, from showing the cause.
func (e *callError) Format(s fmt.State, verb rune) {
	if verb == 'q' {
		fmt.Fprintf(s, "%q", e.Error())
		return
	}
	fmt.Fprint(s, e.Error())
}

// classed gives an error of the SDK its class.
func classed(err error) error {
	var own *indefiniteError
	if errors.As(err, &own) { // made in wire.go; what the SDK has wrapped around it says nothing more
		return own
	}
	text, class := describe(err)
	return &callError{text: text, class: class, cause: err}
}

// since tells of the last attempt when there is something to tell.
func since(last error) string {
	if last == nil {
		return ""
	}
	text, _ := describe(last)
	return "; the last attempt: " + text
}

// describe returns the words for an error of the SDK, and its class.
func describe(err error) (text string, class error) {
	status := 0
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	var noCredentials credentialsError
	var api smithy.APIError
	var undecodable *smithy.DeserializationError
	switch {
	case errors.As(err, &noCredentials):
		return "no credentials of AWS; give this process a role (IRSA, ECS, EC2), a profile, or AWS_ACCESS_KEY_ID", policy.ErrUnavailable
	case errors.As(err, &api):
		return advise(status, api.ErrorCode())
	case status >= 300:
		return answered(status), policy.ErrUnavailable
	case errors.As(err, &undecodable):
		return "the answer is not of the form of Verified Permissions", policy.ErrIndefinite
	}
	return unreached(err), policy.ErrUnavailable
}

func answered(status int) string {
	return strings.TrimSpace("AWS answered " + strconv.Itoa(status) + " " + http.StatusText(status))
}

// code is the form of the error codes of AWS. Anything else that a server calls one is not repeated.
var code = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,63}$`)

func advise(status int, c string) (text string, class error) {
	text = answered(status)
	if code.MatchString(c) && c != "UnknownError" { // the SDK's word for none
		text = "AWS answered " + strconv.Itoa(status) + " " + c
	}
	if hint, known := hints[c]; known {
		text += "; " + hint
	}
	if c == "ValidationException" {
		return text, policy.ErrIndefinite
	}
	return text, policy.ErrUnavailable
}

const (
	allow  = "allow verifiedpermissions:IsAuthorized on the policy store to this role"
	renew  = "the credentials are not known to AWS or have ended; renew them"
	secret = "check that the secret access key belongs to the access key id, that the clock is right, and that nothing on the way changes requests"
	slower = "AWS limits the rate; ask for a higher quota of IsAuthorized requests"
)

var hints = map[string]string{
	"AccessDeniedException": allow, "AccessDenied": allow,
	"ResourceNotFoundException":   "check PolicyStoreID and the account and region of the policy store",
	"UnrecognizedClientException": renew, "InvalidClientTokenId": renew, "ExpiredToken": renew, "ExpiredTokenException": renew,
	"SignatureDoesNotMatch": secret, "InvalidSignatureException": secret,
	"ThrottlingException": slower, "Throttling": slower, "TooManyRequestsException": slower, "ServiceQuotaExceededException": slower,
	"ValidationException": "the policy store does not take this question; check it against the types and the schema of the store",
}

// unreached words the errors of this side's network and TLS code. What net/http says about a malformed answer quotes
// the answer, so that is replaced.
func unreached(err error) string {
	var timeout net.Error
	var operation *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time; check the network and the endpoint"
	case errors.As(err, &certificate):
		return "the certificate of the endpoint is not trusted; check the endpoint and AWS_CA_BUNDLE"
	case errors.As(err, &operation):
		return "not reached: " + oneLine(operation.Error()) + "; check the network, AWS_REGION and the endpoint"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended before the answer was complete"
	}
	return "the exchange with AWS failed; check the network and the endpoint"
}
