package propagate

import (
	"encoding/base64"
	"strings"
)

// KeyBinding is the baggage member that carries key bindings (SPEC §4), each in base64url, joined by ".". They are
// offers: whoever reads them checks what they prove. They ride along where the header has room; a receiver that finds none
// looks into the store to which workloads publish theirs.
const KeyBinding = "kest.binding"

// maxOffers is how many bindings are read and written; the header bounds their size.
const maxOffers = 8

// offers returns as many bindings, in their order, as fit into a member of so many bytes. "" for none.
func offers(bindings []string, room int) string {
	out, sep := KeyBinding, "="
	for _, b := range bindings[:min(len(bindings), maxOffers)] {
		next := sep + base64.RawURLEncoding.EncodeToString([]byte(b))
		if len(out)+len(next) > room {
			break // the first are the most useful ones
		}
		out, sep = out+next, "."
	}
	if sep == "=" {
		return ""
	}
	return out
}

// readOffers undoes [offers]. What the bindings say is not looked at.
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
		if err != nil || strings.ContainsAny(text, "\r\n") {
			return nil, refuse(Malformed, "%s: not base64url", KeyBinding)
		}
		out = append(out, string(b))
	}
	return out, nil
}
