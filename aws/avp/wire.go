package avp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kest-go/kest/internal/jcs"
)

const (
	// maxQuestion is how long an authorization request may be, in bytes (User Guide, Quotas: 1 MB, taken strictly).
	maxQuestion = 1_000_000
	// maxAnswer bounds an answer in bytes: ids of policies and descriptions of errors.
	maxAnswer = 256 << 10
	// maxBatchAnswer is larger, since a batch repeats its questions.
	maxBatchAnswer = maxQuestion + maxAnswer
	// answerDepth bounds the nesting of an answer: a batch repeats the context, in which each level has two of JSON.
	answerDepth = 2*maxDepth + 16
)

// limitQuestion adds the check of a request's size after the SDK has written it and before it is signed and sent.
func limitQuestion(stack *middleware.Stack) error {
	return stack.Build.Add(middleware.BuildMiddlewareFunc("KestLimitQuestion",
		func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
			r, ok := in.Request.(*smithyhttp.Request)
			if !ok {
				return middleware.BuildOutput{}, middleware.Metadata{}, errors.New("the request is not HTTP")
			}
			if n, known, err := r.StreamLength(); err != nil || !known || n > maxQuestion {
				return middleware.BuildOutput{}, middleware.Metadata{}, indefinite(
					"the request has %d bytes, and Verified Permissions takes at most %d; give the policy fewer attributes", n, maxQuestion)
			}
			return next.HandleBuild(ctx, in)
		}), middleware.Before)
}

// strictAnswer adds a reader of answers next to the network, before the SDK's own. The SDK takes the last of two
// members with one name and ignores data behind the first value: a server, or a proxy before it, that says ALLOW and
// DENY in one document has said nothing.
func strictAnswer(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("KestStrictAnswer",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
			middleware.DeserializeOutput, middleware.Metadata, error,
		) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if err != nil {
				return out, metadata, err
			}
			r, ok := out.RawResponse.(*smithyhttp.Response)
			if !ok {
				return out, metadata, errors.New("the answer is not HTTP")
			}
			asked, _ := in.Request.(*smithyhttp.Request)
			return out, metadata, readAnswer(ctx, asked, r)
		}), middleware.After)
}

// readAnswer reads the body within its limit and leaves it as if unread.
func readAnswer(ctx context.Context, asked *smithyhttp.Request, r *smithyhttp.Response) error {
	body := r.Body
	defer body.Close()
	limit := maxAnswer
	if middleware.GetOperationName(ctx) == "BatchIsAuthorized" {
		limit = maxBatchAnswer
	}
	text, err := io.ReadAll(io.LimitReader(body, int64(limit)+1))
	r.Body = io.NopCloser(bytes.NewReader(text))
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer: %w", err)
	case len(text) > limit:
		return indefinite("the answer is larger than %d bytes", limit)
	case r.Request != nil && asked != nil && (r.Request.URL.Host != asked.URL.Host || r.Request.URL.Scheme != asked.URL.Scheme):
		return indefinite("the answer comes from another address, after a redirect; set the endpoint to where the service really is")
	case r.StatusCode >= 300: // an error of the service, which the SDK reads
		return nil
	case r.StatusCode != http.StatusOK:
		return indefinite("AWS answered %d, which carries no decision", r.StatusCode)
	}
	doc, err := jcs.Parse(text, jcs.Options{MaxDepth: answerDepth})
	switch fault := (*jcs.Error)(nil); {
	case errors.As(err, &fault): // without member names, which are the server's words
		return indefinite("the answer is not one strict JSON value: %v, at byte %d", fault.Unwrap(), fault.Offset)
	case err != nil:
		return indefinite("the answer is not one strict JSON value")
	case doc.Kind != jcs.Object:
		return indefinite("the answer is not a JSON object")
	}
	return nil
}

// noteFailures keeps the failure of the last attempt: the SDK forgets it when the time is up between two of them.
func noteFailures(last *error) func(*verifiedpermissions.Options) {
	note := middleware.DeserializeMiddlewareFunc("KestNoteFailures",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
			middleware.DeserializeOutput, middleware.Metadata, error,
		) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if err != nil && ctx.Err() == nil {
				*last = err
			}
			return out, metadata, err
		})
	add := func(stack *middleware.Stack) error { return stack.Deserialize.Add(note, middleware.Before) }
	return func(o *verifiedpermissions.Options) { o.APIOptions = append(o.APIOptions, add) }
}
