package kestgrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// ClientConfig configures a [ClientInterceptor].
type ClientConfig struct {
	// Egress is required: it decides who gets lineage.
	Egress *propagate.Egress
}

// A ClientInterceptor sends lineage along with calls to those who may have it, and takes back what they learned. Make
// it with [NewClientInterceptor]. It is safe for concurrent use.
//
// Who may have it depends on where the connection goes: the endpoint of the target that was given to grpc.NewClient,
// host:port of "dns:///host:port" and "passthrough:///host:port", and likewise of other schemes, so that xds:///ledger
// needs "ledger" in Allow. Unix sockets are loopback; targets with a path or a list get nothing. The :authority header
// decides nothing, and a dialer of one's own must go where the target says.
//
// Hop proofs are signed for each attempt of a call, so that retries and hedging do not repeat a nonce. They travel as a
// per-call credential: an interceptor after this one that sets grpc.PerRPCCredentials removes them. An attempt that
// cannot be signed, or whose lineage was taken out after this interceptor, fails with the code Internal.
type ClientInterceptor struct{ egress *propagate.Egress }

// NewClientInterceptor checks the configuration.
func NewClientInterceptor(c ClientConfig) (*ClientInterceptor, error) {
	if c.Egress == nil {
		return nil, errors.New("kestgrpc: Egress is nil; make one with propagate.NewEgress")
	}
	return &ClientInterceptor{c.Egress}, nil
}

// Options are the options of a client all of whose calls carry lineage, unary ones and streams.
func (c *ClientInterceptor) Options() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(c.Unary), grpc.WithChainStreamInterceptor(c.Stream)}
}

// Unary is a grpc.UnaryClientInterceptor. A call whose lineage cannot be sent is not made, and its error is that of
// [propagate.Egress.Attach].
func (c *ClientInterceptor) Unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	call, out, opts, err := c.begin(ctx, cc, opts)
	if err != nil {
		return fmt.Errorf("kestgrpc: %s: %w", method, err)
	}
	if call == nil {
		return invoker(out, method, req, reply, cc, opts...)
	}
	var trailer metadata.MD
	err = invoker(out, method, req, reply, cc, append(opts, grpc.Trailer(&trailer))...)
	if lost := call.learn(trailer, err == nil, err); lost != nil && err == nil {
		return fmt.Errorf("kestgrpc: %s: %w", method, lost)
	}
	return err
}

// Stream is a grpc.StreamClientInterceptor. See [ClientInterceptor.Unary].
func (c *ClientInterceptor) Stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	call, out, opts, err := c.begin(ctx, cc, opts)
	if err != nil {
		return nil, fmt.Errorf("kestgrpc: %s: %w", method, err)
	}
	if call == nil {
		return streamer(out, desc, cc, method, opts...)
	}
	s := &clientStream{call: call, method: method, single: !desc.ServerStreams}
	if s.ClientStream, err = streamer(out, desc, cc, method, append(opts, grpc.OnFinish(s.finished))...); err != nil {
		return nil, err
	}
	return s, nil
}

// begin prepares the context and the options of a call. The call is nil when its answer brings nothing back.
func (c *ClientInterceptor) begin(ctx context.Context, cc *grpc.ClientConn, opts []grpc.CallOption) (*call, context.Context, []grpc.CallOption, error) {
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	if !c.egress.Allows(destination(cc.CanonicalTarget())) {
		if len(md.Get(fieldBaggage)) > 0 {
			propagate.Strip(carrier(md))
			ctx = metadata.NewOutgoingContext(ctx, md)
		}
		return nil, propagate.WithAttached(ctx), opts, nil
	}
	if md == nil {
		md = metadata.MD{}
	}
	sent, err := c.egress.Attach(ctx, carrier(md))
	if err != nil {
		return nil, nil, nil, err
	}
	opts = slices.Clip(opts) // what is appended is for this call alone
	if sent.Len() > 0 {
		opts = append(opts, grpc.PerRPCCredentials(newSealed(c.egress, sent, md, opts)))
	}
	out := metadata.NewOutgoingContext(propagate.WithAttached(ctx), md)
	if sent.Len() == 0 || !c.egress.Returns() {
		return nil, out, opts, nil
	}
	return &call{c.egress, ctx, sent}, out, opts, nil
}

// destination is the authority to which a connection with a canonical target goes.
func destination(target string) string {
	scheme, rest, _ := strings.Cut(target, "://") // always there, and so is the slash
	_, endpoint, _ := strings.Cut(rest, "/")
	switch {
	case scheme == "unix" || scheme == "unix-abstract":
		return "localhost"
	case strings.HasPrefix(endpoint, ":"): // gRPC dials localhost
		return "localhost" + endpoint
	}
	return endpoint // a path or a list is no authority, and not allowed
}

// call is a call whose answer may bring lineage back.
type call struct {
	egress *propagate.Egress
	ctx    context.Context // the caller's
	sent   lineage.Passport
}

// learn takes back what the trailer of an answer has. received says that the caller got something of the answer: if
// nothing and no lineage either, nothing was learned, and nothing is missed.
func (c *call) learn(trailer metadata.MD, received bool, err error) error {
	values := trailer.Get(propagate.FieldReturn)
	if len(values) == 0 && !received && err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	more, lost := c.egress.Learn(c.ctx, c.sent, values)
	if more && lost == nil { // after a trailer nothing comes
		_, lost = c.egress.Learn(c.ctx, c.sent, nil)
	}
	return lost
}
