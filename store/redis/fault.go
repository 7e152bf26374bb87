package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/redis/rueidis"
)

var (
	errSlow     = errors.New("redis: no answer in time; raise Timeout, or look why the server is slow")
	errConfused = errors.New("redis: an answer that does not fit the question")
)

// hint says what to do about the error codes of Redis that operators meet, "" for others.
func hint(code string) string {
	switch code {
	case "OOM":
		return "the server is full; raise maxmemory"
	case "READONLY":
		return "that server is a replica; give the address of the primary"
	case "LOADING":
		return "the server is starting"
	case "MASTERDOWN":
		return "the replica has lost its primary"
	case "NOAUTH":
		return "the server wants a password; set Password"
	case "WRONGPASS":
		return "the server knows no such user and password; check Username and Password"
	case "NOPERM":
		return "the user may not do that; allow GET and SET on the keys"
	case "MISCONF":
		return "the server cannot save its data; look into its log"
	case "CLUSTERDOWN":
		return "the cluster does not serve all slots"
	case "NOREPLICAS":
		return "too few replicas are connected"
	case "WRONGTYPE":
		return "something else was written under that key; set Prefix"
	case "MOVED":
		return "redirected too often; give the addresses of more nodes of the cluster"
	}
	return ""
}

// fault returns an error without the server's words: in some of them Redis repeats the arguments of a command. It
// keeps no cause, since that may be the end of another caller's context.
func fault(err error) error {
	if answer, ok := rueidis.IsRedisErr(err); ok {
		code, _, _ := strings.Cut(answer.Error(), " ")
		if hint := hint(code); hint != "" { // else the code may be anything, too
			return fmt.Errorf("redis: %s: %s", code, hint)
		}
		return errors.New("redis: the server answered with an error; look into its log")
	}
	var breach *protocolError
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	switch {
	case errors.Is(err, errSlow):
		return errSlow
	case errors.Is(err, errConfused), rueidis.IsParseErr(err):
		return errConfused
	case errors.Is(err, rueidis.ErrClosing):
		return errors.New("redis: the store is closed")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("redis: the server closed the connection")
	case errors.As(err, &plain):
		return errors.New("redis: the server does not speak TLS there; check the port")
	case errors.Is(err, errPlaintext), errors.As(err, &breach), errors.As(err, &network), errors.As(err, &certificate):
		return errors.New("redis: " + clip(err.Error()))
	case errors.Is(err, context.DeadlineExceeded): // the store's own, or that of whoever connects
		return errSlow
	}
	return errors.New("redis: the connection failed")
}

// clip keeps a short printable part of text that others may have written.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), 200)]
}
