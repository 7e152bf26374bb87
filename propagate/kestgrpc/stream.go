package kestgrpc

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/kest-go/kest/propagate"
)

// clientStream takes back what the trailer of a stream brings, once, when the stream is over: when RecvMsg says so, or
// when gRPC ends it while nobody is receiving, because the context has ended or the connection was closed.
type clientStream struct {
	grpc.ClientStream
	call   *call
	method string
	single bool // one message answers, and then the stream is over

	mu        sync.Mutex
	receiving bool // somebody is in RecvMsg
	received  bool // a message
	ended     bool // gRPC says so
	settled   bool
}

// RecvMsg implements grpc.ClientStream.
func (s *clientStream) RecvMsg(m any) error {
	s.mu.Lock()
	s.receiving = true
	s.mu.Unlock()
	err := s.ClientStream.RecvMsg(m)
	s.mu.Lock()
	s.receiving, s.received = false, s.received || err == nil
	over := err != nil || s.single
	mine, received := s.settle(over || s.ended), s.received
	s.mu.Unlock()
	if !mine {
		return err
	}
	var trailer metadata.MD
	if over {
		trailer = s.Trailer()
	}
	if lost := s.learn(trailer, received, err); lost != nil && (err == nil || errors.Is(err, io.EOF)) {
		return fmt.Errorf("kestgrpc: %s: %w", s.method, lost)
	}
	return err
}

// finished is called by gRPC when the stream is over. Who is receiving hears of it there, with the trailer; who has
// received nothing has learned nothing, and may still ask.
func (s *clientStream) finished(err error) {
	s.mu.Lock()
	s.ended = true
	mine := s.settle(s.received && !s.receiving)
	s.mu.Unlock()
	if mine {
		_ = s.learn(nil, true, err) // nobody waits for it; the session knows
	}
}

// settle reports whether the caller has to take back the lineage. Only one has.
func (s *clientStream) settle(over bool) bool {
	mine := over && !s.settled
	s.settled = s.settled || over
	return mine
}

// learn is that of the call. Messages were handed out before their lineage was known: when it is lost and that is an
// error, the session cannot be used any more.
func (s *clientStream) learn(trailer metadata.MD, received bool, err error) error {
	lost := s.call.learn(trailer, received, err)
	if session := propagate.SessionFrom(s.call.ctx); lost != nil && received && session != nil {
		session.Fail(lost)
	}
	return lost
}
