package propagate

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/baggage"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
)

// maxTips bounds the leaves that are announced with a passport: each takes 67 bytes of a header.
const maxTips = 64

// encodeMember writes a member as OpenTelemetry does.
func encodeMember(key, value string) (string, error) {
	m, err := baggage.NewMemberRaw(key, value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return m.String(), nil
}

// writeTips is the value of kest.chain_tip before percent-encoding.
func writeTips(tips []lineage.Hash) string {
	var b strings.Builder
	for i, h := range tips {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(h.String())
	}
	return b.String()
}

func readTips(text string) ([]lineage.Hash, error) {
	tips := []lineage.Hash{} // announced, so not nil
	if text == "" {
		return tips, nil
	}
	if n := strings.Count(text, ",") + 1; n > maxTips {
		return nil, refuse(TooLarge, "%s: %d tips, more than the limit of %d", KeyChainTip, n, maxTips)
	}
	for part := range strings.SplitSeq(text, ",") {
		h, err := lineage.ParseHash(part)
		if err != nil {
			return nil, refuse(Malformed, "%s: %w", KeyChainTip, err)
		}
		tips = append(tips, h)
	}
	return tips, nil
}

// represent writes a list of entries as one member of at most room bytes: plain, compressed, or as a claim check,
// in this order and exactly one (SPEC §9).
func (p *Propagator) represent(ctx context.Context, text []byte, entries, room int) (string, error) {
	inline := min(room, p.config.Threshold)
	if fits := len(KeyPassport) + 1 + len(text); fits <= inline && !p.config.CompressFirst {
		m, err := encodeMember(KeyPassport, string(text))
		if err != nil || len(m) <= inline {
			return m, err
		}
	}
	// An entry has more than 128 bytes that no compression takes away: signature, parent and id.
	if entries*128 <= inline {
		if m := KeyPassportZ + "=" + deflate(text); len(m) <= inline {
			return m, nil
		}
	}
	return p.claim(ctx, text, room)
}

// claim keeps the text in the store and returns the member that names it.
func (p *Propagator) claim(ctx context.Context, text []byte, room int) (string, error) {
	id := newUUID()
	m := KeyClaimCheck + "=" + id
	if len(m) > room {
		return "", refuse(TooLarge, "the baggage of others leaves %d bytes, too few for a claim check", max(0, room))
	}
	if p.config.Store == nil {
		return "", refuse(TooLarge, "a passport of %d bytes does not fit into a header, and there is no store for claim "+
			"checks; set Config.Store", len(text))
	}
	if err := p.config.Store.Put(ctx, p.config.ClaimPrefix+id, text, p.config.ClaimTTL); err != nil {
		return "", refuse(Unavailable, "claim check could not be stored: %w", err)
	}
	return m, nil
}

// newUUID is a version 4 UUID (RFC 9562 §5.4).
func newUUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails (crypto/rand, Go 1.24)
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[0:], u[:4])
	hex.Encode(text[9:], u[4:6])
	hex.Encode(text[14:], u[6:8])
	hex.Encode(text[19:], u[8:10])
	hex.Encode(text[24:], u[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// isUUID reports whether id is a UUID in lower or upper case, of any version: the Python implementation writes what
// its library gives. It also bounds what becomes part of a key.
func isUUID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i, c := range []byte(id) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}

// restore reads the entries of whichever representation came, the newest tier first: an older one beside it may be
// stale. One that is there and unreadable is an error, never a reason to look at another.
func (p *Propagator) restore(ctx context.Context, from map[string]string) (u lineage.Unverified, present bool, err error) {
	tips, announced := from[KeyChainTip]
	if announced {
		if u.Tips, err = readTips(tips); err != nil {
			return lineage.Unverified{}, true, err
		}
	}
	var text []byte
	if id, ok := from[KeyClaimCheck]; ok {
		text, err = p.redeem(ctx, id, announced)
	} else if z, ok := from[KeyPassportZ]; ok {
		text, err = inflate(z, p.config.Limits.PassportBytes)
	} else if plain, ok := from[KeyPassport]; ok {
		text = []byte(plain)
	} else if announced {
		err = refuse(Malformed, "%s announces lineage that did not come", KeyChainTip)
	} else {
		return lineage.Unverified{}, false, nil
	}
	if err != nil {
		return lineage.Unverified{}, true, err
	}
	parsed, err := lineage.ParsePassport(text, p.config.Limits)
	if errors.Is(err, lineage.ErrLimit) {
		return lineage.Unverified{}, true, &RefusedError{TooLarge, err}
	} else if err != nil {
		return lineage.Unverified{}, true, &RefusedError{Malformed, err}
	}
	u.Entries = parsed.Entries
	return u, true, nil
}

// redeem fetches the text of a claim check. What a store returns is worth nothing without the tip that it must end in.
func (p *Propagator) redeem(ctx context.Context, id string, tipped bool) ([]byte, error) {
	switch {
	case !isUUID(id):
		return nil, refuse(Malformed, "%s is not a UUID", KeyClaimCheck)
	case !tipped:
		return nil, refuse(Malformed, "%s came without %s", KeyClaimCheck, KeyChainTip)
	case p.config.Store == nil:
		return nil, refuse(Unavailable, "a claim check came, and there is no store to redeem it; set Config.Store")
	}
	text, err := p.config.Store.Get(ctx, p.config.ClaimPrefix+id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, refuse(Forbidden, "claim check is unknown or expired: %w", err)
	case err != nil:
		return nil, refuse(Unavailable, "claim check could not be redeemed: %w", err)
	}
	return text, nil
}

// deflaters are reused: each holds more than 600 KiB.
var deflaters = sync.Pool{New: func() any {
	z, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed) // the level is valid
	return z
}}

// deflate is zlib (RFC 1950) and base64url without padding.
func deflate(text []byte) string {
	var out bytes.Buffer
	z := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(z)
	z.Reset(&out)
	_, _ = z.Write(text) // into memory: never fails
	_ = z.Close()
	return base64.RawURLEncoding.EncodeToString(out.Bytes())
}

// maxRatio bounds what one byte may inflate to (SPEC §12). Canonical passports reach 10.
const maxRatio = 100

// inflate reads what deflate or the Python implementation wrote: with or without padding, one zlib stream and
// nothing after it, within the size and the ratio.
func inflate(z string, most int) ([]byte, error) {
	unpadded := strings.TrimRight(z, "=")
	packed, err := base64.RawURLEncoding.Strict().DecodeString(unpadded)
	if err != nil || len(z)-len(unpadded) > 2 || strings.ContainsAny(z, "\r\n") { // the decoder skips line breaks
		return nil, refuse(Malformed, "%s is not base64url", KeyPassportZ)
	}
	most = min(most, maxRatio*len(packed))
	source := bytes.NewReader(packed) // an io.ByteReader: nothing after the stream is consumed
	r, err := inflater(source)
	if err != nil {
		return nil, refuse(Malformed, "%s is not zlib: %w", KeyPassportZ, err)
	}
	defer inflaters.Put(r)
	text := bytes.NewBuffer(make([]byte, 0, min(most, 8*len(packed))+bytes.MinRead))
	n, err := text.ReadFrom(io.LimitReader(r, int64(most)+1))
	switch {
	case err != nil: // truncated, corrupt, wrong checksum
		return nil, refuse(Malformed, "%s: %w", KeyPassportZ, err)
	case n > int64(most):
		return nil, refuse(TooLarge, "%s inflates to more than %d bytes", KeyPassportZ, most)
	case source.Len() > 0:
		return nil, refuse(Malformed, "%s has %d bytes after its end", KeyPassportZ, source.Len())
	}
	return text.Bytes(), nil
}

// inflaters are reused: each holds 40 KiB.
var inflaters sync.Pool

func inflater(source io.Reader) (io.ReadCloser, error) {
	if r, ok := inflaters.Get().(io.ReadCloser); ok {
		return r, r.(zlib.Resetter).Reset(source, nil)
	}
	return zlib.NewReader(source)
}
