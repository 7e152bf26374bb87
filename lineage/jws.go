package lineage

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kest-go/kest/internal/jcs"
)

// JWS "typ" values. Entries carry "JWS"; the other documents have types of their own, so that none can stand in
// for another.
const (
	typEntry   = "JWS"
	typReceipt = "kest-receipt+jws"
	typDenial  = "kest-denial+jws"
)

// maxHeaderBytes bounds a protected header, x5c chains included, before it is decoded.
const maxHeaderBytes = 16 << 10

// maxKeyID bounds "kid", in bytes. Even if each of them needs an escape of six, the header stays within its bound.
const maxKeyID = 1024

// strict refuses non-zero trailing bits, so a signature has one spelling (RFC 4648 §3.5). Go's decoder skips CR
// and LF even then; [decodeSegment] refuses them.
var strict = base64.RawURLEncoding.Strict()

// decodeSegment decodes behind dst, which it may overwrite.
func decodeSegment(dst []byte, name, segment string) ([]byte, error) {
	if strings.IndexByte(segment, '\r') >= 0 || strings.IndexByte(segment, '\n') >= 0 {
		return nil, fmt.Errorf("%s: line break in base64url", name)
	}
	out, err := strict.AppendDecode(dst, []byte(segment))
	if err != nil {
		return nil, fmt.Errorf("%s: not strict unpadded base64url", name)
	}
	return out, nil
}

// compact is a JWS in its three parts, decoded but not verified.
type compact struct {
	keyID     string
	payload   []byte // shared with the memo: valid until the next document is parsed
	input     string // header.payload as received: what the signature covers
	signature []byte
}

// errAlgorithm marks a header whose algorithm is not one that Kest verifies, whatever keys are known.
var errAlgorithm = errors.New("algorithm is not EdDSA")

// parseCompact reads a compact JWS (RFC 7515 §7.1) with a protected header as SPEC §3 allows.
func parseCompact(jws, typ string, l Limits, memo *memo) (compact, error) {
	if len(jws) > l.EntryBytes {
		return compact{}, fmt.Errorf("%d bytes, more than the limit of %d: %w", len(jws), l.EntryBytes, ErrLimit)
	}
	header, rest, ok1 := strings.Cut(jws, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.Contains(signature, ".") {
		return compact{}, errors.New("not a compact JWS of three parts")
	}
	c := compact{input: jws[:len(header)+1+len(payload)]}
	var err error
	if c.keyID, err = parseHeader(header, typ, memo); err != nil {
		return compact{}, err
	}
	if c.payload, err = decodeSegment(memo.buffer(), "payload", payload); err != nil {
		return compact{}, err
	}
	if c.signature, err = decodeSegment(nil, "signature", signature); err != nil {
		return compact{}, err
	}
	if len(c.signature) != ed25519.SignatureSize {
		return compact{}, fmt.Errorf("signature: %d bytes; Ed25519 has %d", len(c.signature), ed25519.SignatureSize)
	}
	return c, nil
}

// memo is what the entries of one verification share; nil for a single document.
type memo struct {
	headers map[string]string // key ids of the headers accepted so far, by their exact text: a passport has a handful
	payload [maxShared]byte   // decoded payload of the entry that is being read
}

// maxShared is enough for an entry as this library makes them; larger payloads get memory of their own.
const maxShared = 4 << 10

func (m *memo) buffer() []byte {
	if m == nil {
		return nil
	}
	return m.payload[:0]
}

func parseHeader(segment, typ string, memo *memo) (keyID string, err error) {
	if len(segment) > maxHeaderBytes {
		return "", fmt.Errorf("header: %d bytes, more than the limit of %d: %w", len(segment), maxHeaderBytes, ErrLimit)
	}
	if memo != nil {
		if keyID, ok := memo.headers[segment]; ok {
			return keyID, nil
		}
	}
	raw, err := decodeSegment(nil, "header", segment)
	if err != nil {
		return "", err
	}
	if keyID, err = checkHeader(raw, typ); err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	if memo != nil {
		memo.headers[segment] = keyID
	}
	return keyID, nil
}

// checkHeader applies SPEC §3. The key never comes from the header: members that carry or point to one, or that
// change what is signed, are refused; x5c is tolerated and ignored.
func checkHeader(raw []byte, typ string) (keyID string, err error) {
	doc, err := jcs.Parse(raw, jcs.Options{MaxBytes: maxHeaderBytes, MaxDepth: 8})
	if err != nil {
		return "", err
	}
	if doc.Kind != jcs.Object {
		return "", errors.New("not a JSON object")
	}
	alg, _ := doc.Get("alg")
	if alg.Kind != jcs.String || alg.Text != "EdDSA" && alg.Text != "Ed25519" { // RFC 8037 §3.1, RFC 9864 §2.2
		return "", fmt.Errorf("alg %q: %w", clip(alg.Text), errAlgorithm)
	}
	for _, name := range []string{"crit", "b64", "jwk", "jku", "x5u"} {
		if _, present := doc.Get(name); present {
			return "", fmt.Errorf("member %q is not allowed", name)
		}
	}
	if v, present := doc.Get("typ"); present && (v.Kind != jcs.String || v.Text != typ) {
		return "", fmt.Errorf("typ %q; want %q", clip(v.Text), typ)
	} else if !present && typ != typEntry {
		return "", fmt.Errorf("typ is missing; want %q", typ)
	}
	kid, present := doc.Get("kid")
	if present && (kid.Kind != jcs.String || len(kid.Text) > maxKeyID) {
		return "", fmt.Errorf("kid is not a string of at most %d bytes", maxKeyID)
	}
	return kid.Text, nil
}

// buffers hold a payload while it is encoded, so a call allocates its signed form once, at its exact size, and a
// reader compares canonical forms without allocating.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

const maxPooled = 64 << 10

// signCompact writes header.payload.signature, and its hash unless hash is nil. encode appends the canonical payload
// to its argument. Everything is put together in one pooled buffer, so a signature allocates its final string and no
// more.
func signCompact(ctx context.Context, s Signer, typ string, l Limits, hash *Hash, encode func([]byte) ([]byte, error)) (string, error) {
	pooled := buffers.Get().(*[]byte)
	defer func() {
		if cap(*pooled) <= maxPooled {
			buffers.Put(pooled)
		}
	}()
	buf, err := appendHeader((*pooled)[:0], s.KeyID(), typ)
	headerEnd := len(buf)
	if err == nil {
		buf, err = encode(buf)
	}
	*pooled = buf[:0]
	if err != nil {
		return "", err
	}
	start, enc := len(buf), base64.RawURLEncoding
	size := enc.EncodedLen(headerEnd) + 1 + enc.EncodedLen(start-headerEnd) + 1 + enc.EncodedLen(ed25519.SignatureSize)
	if size > l.EntryBytes {
		return "", fmt.Errorf("signed form of %d bytes, more than the limit of %d: %w", size, l.EntryBytes, ErrLimit)
	}
	buf = slices.Grow(buf, size) // so that encoding never reads from memory that it has moved away from
	header, payload := buf[:headerEnd], buf[headerEnd:start]
	buf = appendBase64(buf, header)
	buf = append(buf, '.')
	buf = appendBase64(buf, payload)
	*pooled = buf[:0]
	signature, err := s.Sign(ctx, buf[start:])
	if err != nil {
		return "", err
	}
	if len(signature) != ed25519.SignatureSize {
		return "", fmt.Errorf("signer returned %d bytes; Ed25519 has %d", len(signature), ed25519.SignatureSize)
	}
	buf = append(buf, '.')
	out := appendBase64(buf, signature)[start:]
	if hash != nil {
		*hash = sha256.Sum256(out)
	}
	return string(out), nil
}

// appendHeader writes the protected header, canonical (SPEC §3).
func appendHeader(dst []byte, keyID, typ string) ([]byte, error) {
	if keyID == "" || len(keyID) > maxKeyID {
		return dst, fmt.Errorf("signer has a key id of %d bytes; want 1 to %d", len(keyID), maxKeyID)
	}
	w := writer{buf: dst}
	w.member(`{"alg":"EdDSA","kid":`, keyID)
	w.member(`,"typ":`, typ)
	w.raw("}")
	return w.buf, w.err
}
