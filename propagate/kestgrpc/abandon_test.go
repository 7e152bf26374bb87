package kestgrpc_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kest-go/kest/propagate"
)

// scripted is a stream of a client that does what a test says.
type scripted struct {
	grpc.ClientStream
	recv    func() error
	trailer metadata.MD
}

func (s *scripted) RecvMsg(any) error    { return s.recv() }
func (s *scripted) Trailer() metadata.MD { return s.trailer }

// scriptedStream returns a stream behind the interceptor, and what gRPC calls when it is over.
func scriptedStream(t *testing.T, p *party, ctx context.Context, s *scripted) (stream grpc.ClientStream, finish func(error)) {
	t.Helper()
	conn := dial(t, "127.0.0.1:9")
	stream, err := p.interceptor(strict).Stream(ctx, chatDesc, conn, chatMethod,
		func(_ context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			for _, o := range opts {
				if o, ok := o.(grpc.OnFinishCallOption); ok {
					finish = o.OnFinish
				}
			}
			return s, nil
		})
	if err != nil || finish == nil {
		t.Fatal(err)
	}
	return stream, finish
}

// TestEndOfStream: in whatever order gRPC and the caller find out that a stream is over, its lineage is taken back once.
func TestEndOfStream(t *testing.T) {
	gone := status.Error(codes.Canceled, "gone")
	message := func() error { return nil }
	for name, c := range map[string]struct {
		run     func(s *scripted, stream grpc.ClientStream, finish func(error)) error
		failed  bool
		reports int
	}{
		"a message while it ends": {func(s *scripted, stream grpc.ClientStream, finish func(error)) error {
			s.recv = func() error { finish(gone); return nil }
			return stream.RecvMsg(nil)
		}, true, 1},
		"ends, and then asks": {func(s *scripted, stream grpc.ClientStream, finish func(error)) error {
			s.recv = message
			stream.RecvMsg(nil)
			finish(gone)
			s.recv = func() error { return gone }
			return stream.RecvMsg(nil)
		}, true, 1},
		"asks on after the end": {func(s *scripted, stream grpc.ClientStream, finish func(error)) error {
			s.recv = message
			stream.RecvMsg(nil)
			s.recv = func() error { finish(nil); return io.EOF }
			stream.RecvMsg(nil)
			return stream.RecvMsg(nil)
		}, true, 1},
		"nothing received": {func(s *scripted, stream grpc.ClientStream, finish func(error)) error {
			finish(gone)
			s.recv = func() error { return gone }
			return stream.RecvMsg(nil)
		}, false, 0},
		"ends well with nothing": {func(s *scripted, stream grpc.ClientStream, finish func(error)) error {
			s.recv = func() error { finish(nil); return io.EOF }
			return stream.RecvMsg(nil)
		}, false, 1}, // an error for the caller, who has used nothing
	} {
		t.Run(name, func(t *testing.T) {
			frontend := newParty(t, "frontend")
			ctx, session := frontend.session(t.Context())
			s := &scripted{}
			stream, finish := scriptedStream(t, frontend, ctx, s)
			err := c.run(s, stream, finish)
			if n := frontend.log.count("return lineage"); n != c.reports || (session.Err() != nil) != c.failed {
				t.Errorf("%v, %d reports, session: %v", err, n, session.Err())
			}
			if name == "ends well with nothing" && !errors.Is(err, propagate.ErrNoReturn) {
				t.Error(err)
			}
		})
	}
}

// TestFailureWithBadLineage: the status of a failed call stays, even if what comes with it cannot be believed.
func TestFailureWithBadLineage(t *testing.T) {
	frontend := newParty(t, "frontend")
	trailer := metadata.Pairs(propagate.FieldReturn, "kest.passport_z=!")
	notFound := status.Error(codes.NotFound, "no such order")
	conn := dial(t, serve(t, &service{
		echo: func(ctx context.Context, _ string) (string, error) {
			grpc.SetTrailer(ctx, trailer)
			return "", notFound
		},
		chat: func(s grpc.ServerStream) error { s.SetTrailer(trailer); return notFound },
	}), frontend.client(strict)...)
	ctx, _ := frontend.session(t.Context())
	if _, err := echo(ctx, conn, "x"); status.Code(err) != codes.NotFound {
		t.Errorf("unary: %v", err)
	}
	if err := streamOnce(ctx, conn, "x"); status.Code(err) != codes.NotFound {
		t.Errorf("stream: %v", err)
	}
	if n := frontend.log.count("return lineage is invalid"); n != 2 {
		t.Errorf("%d reports", n)
	}
}
