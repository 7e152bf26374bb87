package lineage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// A Hash identifies a signed entry: SHA-256 over the ASCII bytes of its complete compact JWS (SPEC §3). Its text
// form is 64 lower-case hexadecimal digits. The zero Hash identifies nothing.
type Hash [sha256.Size]byte

// HashJWS returns the hash of a compact JWS.
func HashJWS(jws string) Hash { return sha256.Sum256([]byte(jws)) }

// ParseHash reads the text form. Upper-case digits are refused, so that a hash has one spelling.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if !isHexDigest(s) {
		return h, fmt.Errorf("%q is not a hash; want 64 lower-case hex digits", clip(s))
	}
	_, err := hex.Decode(h[:], []byte(s))
	return h, err
}

func isHexDigest(s string) bool { return len(s) == 2*sha256.Size && isHex(s) }

// isHex reports whether s has lower-case hex digits only.
func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func (h Hash) String() string {
	var text [2 * len(h)]byte
	hex.Encode(text[:], h[:])
	return string(text[:])
}

// MarshalText writes the text form.
func (h Hash) MarshalText() ([]byte, error) { return h.appendHex(nil), nil }

// UnmarshalText reads the text form, strictly.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	if err == nil {
		*h = parsed
	}
	return err
}

func (h Hash) appendHex(dst []byte) []byte { return hex.AppendEncode(dst, h[:]) }

func (h Hash) compare(o Hash) int { return bytes.Compare(h[:], o[:]) }

// validDigest reports whether s is "" or 64 lower-case hex digits, the two forms of input_hash and content_hash.
func validDigest(s string) bool { return s == "" || isHexDigest(s) }
