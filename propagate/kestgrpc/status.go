package kestgrpc

import (
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kest-go/kest/propagate"
)

// domain is that of the ErrorInfo in every status from here.
const domain = "kest"

// answerOf is the code and the ErrorInfo reason of a class.
func answerOf(c propagate.Class) (code codes.Code, reason string) {
	switch c {
	case propagate.Malformed:
		return codes.InvalidArgument, "KEST_MALFORMED"
	case propagate.Unauthenticated:
		return codes.Unauthenticated, "KEST_UNAUTHENTICATED"
	case propagate.Forbidden:
		return codes.PermissionDenied, "KEST_FORBIDDEN"
	case propagate.TooLarge:
		return codes.ResourceExhausted, "KEST_TOO_LARGE"
	case propagate.ContentTooLarge:
		return codes.ResourceExhausted, "KEST_CONTENT_TOO_LARGE"
	case propagate.Unavailable:
		return codes.Unavailable, "KEST_UNAVAILABLE"
	case propagate.Fault:
	}
	return codes.Internal, "KEST_FAULT"
}

// A refusal is an error with a status. Its text and its status are for the client, and say the class alone; what it
// wraps is for interceptors of the same server.
type refusal struct {
	status *status.Status
	cause  error
}

func refused(cause error) error {
	class := propagate.ClassOf(cause)
	code, reason := answerOf(class)
	s := status.New(code, class.Title())
	if detailed, err := s.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: domain}); err == nil {
		s = detailed
	}
	return &refusal{s, cause}
}

func (r *refusal) Error() string { return r.status.Err().Error() }

// GRPCStatus is what gRPC asks for.
func (r *refusal) GRPCStatus() *status.Status { return r.status }

func (r *refusal) Unwrap() error { return r.cause }

// handled is the error of a handler as the client gets it: one that has a class becomes its status, everything else
// is the handler's own affair. A status somewhere inside such an error, of a policy engine for example, is not meant
// for the client.
func handled(err error) error {
	if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok { // inside does not count
		return err
	}
	var classed interface{ RefusalClass() propagate.Class }
	if errors.As(err, &classed) {
		return refused(err)
	}
	return err
}

// ErrorOf gives the error of a call the class that it has for whoever relays it: a refusal of the other service,
// PermissionDenied, and one that could not be decided, Unavailable, keep theirs. Errors that have a class, and all
// others, are returned as they are; without a class they are faults of ours, because the call was ours.
func ErrorOf(err error) error {
	var classed interface{ RefusalClass() propagate.Class }
	if err == nil || errors.As(err, &classed) {
		return err
	}
	switch status.Code(err) {
	case codes.PermissionDenied:
		return &propagate.RefusedError{Class: propagate.Forbidden, Err: err}
	case codes.Unavailable:
		return &propagate.RefusedError{Class: propagate.Unavailable, Err: err}
	default:
		return err
	}
}
