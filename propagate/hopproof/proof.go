package hopproof

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/kest-go/kest/propagate"
)

const (
	maxFields = 8 << 10 // bytes of Signature-Input and Signature together
	maxLabels = 8       // of each

	minNonce, maxNonce = 16, 64 // characters
)

// A proof is what the two fields of a request say. None of it is verified.
type proof struct {
	components []string
	params     string // of the base: the member of Signature-Input as it came
	created    time.Time
	expires    time.Time // zero: not given
	nonce      string
	keyID      string
	signature  []byte
}

// readProof finds the one signature that is ours. The error is [propagate.ErrNoProof] when there is none, and says
// otherwise what is wrong with it, or with the fields.
func readProof(fields map[string][]string) (*proof, error) {
	size := 0
	for _, line := range slices.Concat(fields[fieldInput], fields[fieldSignature]) {
		size += len(line) + len(", ")
	}
	if size > maxFields {
		return nil, fmt.Errorf("signature-input and signature have %d bytes, more than the limit of %d", size, maxFields)
	}
	inputs, err := readDictionary(fields[fieldInput])
	if err != nil {
		return nil, fmt.Errorf("signature-input %w", err)
	}
	ours, list, err := find(inputs)
	if err != nil {
		return nil, err
	}
	params, canonical := inputs.text(ours)
	if !canonical {
		return nil, errors.New("signature-input is not in canonical form (RFC 9651 §4.1)")
	}
	p := &proof{params: params}
	for _, item := range list.Items {
		name, ok := item.Value.(string)
		if !ok || len(item.Params.Names()) > 0 {
			return nil, errors.New("a covered component is not a string, or has parameters")
		}
		p.components = append(p.components, name)
	}
	if err := p.readParams(list.Params); err != nil {
		return nil, err
	}
	signatures, err := readDictionary(fields[fieldSignature])
	if err != nil {
		return nil, fmt.Errorf("signature %w", err)
	}
	if p.signature, err = signatures.bytes(ours); err != nil {
		return nil, err
	}
	return p, nil
}

// find returns the label and the value of the one member with our tag.
func find(inputs *dictionary) (ours string, list httpsfv.InnerList, err error) {
	for _, name := range inputs.Names() {
		member, _ := inputs.Get(name)
		l, ok := member.(httpsfv.InnerList)
		if !ok {
			return "", list, errors.New("signature-input has a member that is not an inner list (RFC 9421 §4.1)")
		}
		if t, _ := l.Params.Get("tag"); t != tag {
			continue // RFC 9421 §3.2: other people's signatures are their business
		}
		if ours != "" {
			return "", list, errors.New("signature-input has several hop proofs")
		}
		ours, list = name, l
	}
	if ours == "" {
		return "", list, propagate.ErrNoProof
	}
	return ours, list, nil
}

// readParams reads the signature parameters (RFC 9421 §2.3).
func (p *proof) readParams(params *httpsfv.Params) error {
	for _, name := range params.Names() {
		value, _ := params.Get(name)
		ok := false
		switch name {
		case "created":
			p.created, ok = seconds(value)
		case "expires":
			p.expires, ok = seconds(value)
		case "nonce":
			p.nonce, ok = value.(string)
		case "keyid":
			p.keyID, ok = value.(string)
		case "alg":
			ok = value == alg
		case "tag":
			ok = value == tag
		}
		if !ok {
			return fmt.Errorf("the parameter %.20q is not one of this profile, or has a value that it cannot have there", name)
		}
	}
	switch {
	case p.created.IsZero():
		return errors.New("the parameter created is missing")
	case !isBase64URL(p.nonce, minNonce, maxNonce):
		return fmt.Errorf("the parameter nonce is missing, or not %d to %d characters of base64url", minNonce, maxNonce)
	case !isBase64URL(p.keyID, thumbprintLen, thumbprintLen):
		// A key source may take an empty or a short id for a request of all keys.
		return errors.New("the parameter keyid is missing, or not an RFC 7638 thumbprint")
	}
	return nil
}

func seconds(value any) (time.Time, bool) {
	n, ok := value.(int64) // of at most 15 digits (RFC 9651 §3.3.1), which [time.Time] holds
	return time.Unix(n, 0), ok
}

// covers reports whether the proof covers exactly want: nothing is missing, doubled or unknown.
func (p *proof) covers(want []string) bool {
	got := slices.Sorted(slices.Values(p.components))
	return slices.Equal(got, slices.Sorted(slices.Values(want)))
}

// A dictionary is a field whose members are all different, together with their texts.
type dictionary struct {
	*httpsfv.Dictionary
	texts []string // "label=value"
}

func readDictionary(lines []string) (*dictionary, error) {
	joined := strings.Join(lines, ", ")
	texts := split(joined)
	if len(texts) > maxLabels {
		return nil, fmt.Errorf("has more than %d labels", maxLabels)
	}
	parsed, err := httpsfv.UnmarshalDictionary([]string{joined})
	if err != nil {
		return nil, errors.New("is not a dictionary (RFC 9651 §3.2)")
	}
	// Of two members with one name the parser keeps the last. What reads the request before us may keep the first.
	if len(parsed.Names()) != len(texts) {
		return nil, errors.New("has a label twice")
	}
	return &dictionary{parsed, texts}, nil
}

// text returns a member's value as it came, and whether that is how RFC 9651 §4.1 writes what was parsed: no parameter
// twice, no other spacing, no stray bits in base64. So it does not matter whether split and the parser agree about
// everything, for example about display strings: what is verified is what was parsed, and is written in one way only.
func (d *dictionary) text(name string) (string, bool) {
	value := strings.TrimPrefix(d.texts[slices.Index(d.Names(), name)], name+"=")
	member, _ := d.Get(name)
	canonical, err := httpsfv.Marshal(member)
	return value, err == nil && value == canonical
}

// bytes returns a member that is a byte sequence without parameters (RFC 9421 §4.2).
func (d *dictionary) bytes(name string) ([]byte, error) {
	member, ok := d.Get(name)
	if !ok {
		return nil, errors.New("signature does not have the label of the hop proof in signature-input")
	}
	item, _ := member.(httpsfv.Item)
	value, ok := item.Value.([]byte)
	if !ok || len(item.Params.Names()) > 0 {
		return nil, errors.New("signature is not a byte sequence without parameters")
	}
	if _, canonical := d.text(name); !canonical {
		return nil, errors.New("signature is not in canonical form (RFC 9651 §4.1)")
	}
	return value, nil
}

// split cuts a dictionary at its commas outside strings and trims the parts. Empty text has none.
func split(text string) []string {
	text = strings.Trim(text, " \t")
	if text == "" {
		return nil
	}
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // RFC 9651 §3.3.3: escapes the next character
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			parts, start = append(parts, strings.Trim(text[start:i], " \t")), i+1
		}
	}
	return append(parts, strings.Trim(text[start:], " \t"))
}
