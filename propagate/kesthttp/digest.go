package kesthttp

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/kest-go/kest/propagate"
)

var (
	errUncovered = errors.New("the hop proof does not cover the body; the sender must add Content-Digest, or set StreamBodies here")
	errDigest    = errors.New("the body is not the one that Content-Digest speaks of")
	errBody      = errors.New("the body could not be read to its end")
	errNoSHA256  = errors.New("Content-Digest has no sha-256 digest, or not in the form of RFC 9530")
)

func tooLong(most int64) error {
	return &propagate.RefusedError{Class: propagate.ContentTooLarge, Err: fmt.Errorf(
		"the body has more than %d bytes, which is too much to hold for its digest; raise MaxBody", most)}
}

// writeDigest is the value of Content-Digest (RFC 9530 §2).
func writeDigest(d [sha256.Size]byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(d[:]) + ":"
}

// parseDigest finds the sha-256 digest in a dictionary of byte sequences (RFC 8941 §3.2, §3.3.5). Digests of other
// algorithms are passed over, as RFC 9530 §2 wants; two of this one contradict each other or are the same thing twice.
func parseDigest(lines []string) (d [sha256.Size]byte, err error) {
	found := false
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.Trim(member, " \t"), "=")
			if name != "sha-256" {
				continue
			}
			text, opened := strings.CutPrefix(value, ":")
			text, closed := strings.CutSuffix(text, ":")
			raw, err := base64.StdEncoding.Strict().DecodeString(text)
			if found || !opened || !closed || err != nil || len(raw) != len(d) || strings.ContainsAny(text, "\r\n") {
				return d, errNoSHA256 // the decoder skips line breaks
			}
			found = true
			copy(d[:], raw)
		}
	}
	if !found {
		return d, errNoSHA256
	}
	return d, nil
}
