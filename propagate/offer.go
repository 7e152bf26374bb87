package propagate

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/kest-go/kest/lineage"
)

// KeyBinding is the baggage member that carries key bindings (SPEC §4), each in base64url, joined by ".". They are
// offers: anybody may have written them, and the key source checks what they prove, for the verification of this message
// alone ([lineage.WithOffered]). They ride along where the header has room; a receiver that finds none looks into the
// store to which workloads publish theirs.
const KeyBinding = "kest.binding"

// maxOffers is how many bindings are read and written; the header bounds their size.
const maxOffers = 8

// offering is ctx for the verification of one message, with the bindings that came along and no others.
func offering(ctx context.Context, bindings []string) context.Context {
	if len(bindings) == 0 && len(lineage.Offered(ctx)) == 0 {
		return ctx
	}
	return lineage.WithOffered(ctx, bindings)
}

// offers returns as many bindings, in their order, as fit into a member of so many bytes. "" for none.
func offers(bindings []string, room int) string {
	var texts []string
	room -= len(KeyBinding) // each takes one byte more: "=" or "."
	for _, b := range bindings {
		if n := 1 + base64.RawURLEncoding.EncodedLen(len(b)); len(texts) < maxOffers && n <= room && b != "" {
			texts, room = append(texts, base64.RawURLEncoding.EncodeToString([]byte(b))), room-n
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return KeyBinding + "=" + strings.Join(texts, ".")
}

// readOffers undoes [offers]. What the bindings say is not looked at. Their size is that of a header at most.
func readOffers(ours map[string]string) ([]string, error) {
	value, present := ours[KeyBinding]
	if !present {
		return nil, nil
	}
	if n := strings.Count(value, ".") + 1; n > maxOffers {
		return nil, refuse(TooLarge, "%s: %d bindings, more than the limit of %d", KeyBinding, n, maxOffers)
	}
	var out []string
	for text := range strings.SplitSeq(value, ".") {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || text == "" || strings.ContainsAny(text, "\r\n") { // the decoder skips line breaks
			return nil, refuse(Malformed, "%s: not base64url", KeyBinding)
		}
		out = append(out, string(b))
	}
	return out, nil
}
