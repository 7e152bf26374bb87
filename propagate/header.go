package propagate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
)

// Limits of a whole baggage header, those of W3C Baggage §3.3.2 and of OpenTelemetry: whoever receives more may drop
// all of it, so more is never written and never read.
const (
	MaxHeader  = 8192 // bytes
	MaxMembers = 64
)

// fieldBaggage is the header field of W3C Baggage.
const fieldBaggage = "baggage"

// isOurs reports whether a member belongs to Kest. Names are case-sensitive, so one in other case has no meaning; but
// it must not look like lineage to a reader that is less strict.
func isOurs(name string) bool {
	const prefix = "kest."
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// member is one list-member of a baggage header: its text as it stood, so that what belongs to others is passed on
// byte for byte, and what OpenTelemetry reads in it.
type member struct {
	text   string
	parsed baggage.Member
}

// header is a baggage header, split into what is ours and what is not.
type header struct {
	foreign []member
	ours    map[string]string // decoded values by key; nil when there are none
}

// readHeader parses the lines of a baggage header. It refuses one that is over the limits, because lineage could be
// among what others would drop, and one with a member of ours that is malformed or comes twice. Malformed members of
// others are skipped, as OpenTelemetry does.
func readHeader(lines []string) (header, error) {
	size, count := max(0, len(lines)-1), 0 // commas that join the lines
	for _, line := range lines {
		size += len(line)
		count += strings.Count(line, ",") + 1
	}
	if size > MaxHeader {
		return header{}, refuse(TooLarge, "baggage header of %d bytes, more than the limit of %d", size, MaxHeader)
	}
	if count > MaxMembers {
		return header{}, refuse(TooLarge, "baggage header of %d members, more than the limit of %d", count, MaxMembers)
	}
	var h header
	for _, line := range lines {
		for text := range strings.SplitSeq(line, ",") {
			if err := h.add(strings.Trim(text, " \t")); err != nil { // OWS, RFC 9110 §5.6.3
				return header{}, err
			}
		}
	}
	return h, nil
}

func (h *header) add(text string) error {
	if key, value, ok := plainMember(text); ok && isOurs(key) {
		return h.own(key, value)
	}
	// OpenTelemetry trims white space that is none in a header, such as line breaks. Behind it a name of ours would
	// pass for one of others, and what others wrote would break the lines of whoever gets it next.
	ours := isOurs(strings.TrimSpace(text))
	m, err := parseMember(text)
	if strings.ContainsFunc(text, notHeader) {
		err = errMember
	}
	switch {
	case ours && err != nil:
		return refuse(Malformed, "baggage: a member of Kest is malformed")
	case ours:
		return h.own(m.Key(), m.Value())
	case err == nil:
		h.foreign = append(h.foreign, member{text, m})
	}
	return nil
}

// notHeader reports whether r is not for a baggage header: neither visible ASCII nor OWS.
func notHeader(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }

func (h *header) own(key, value string) error {
	if _, twice := h.ours[key]; twice {
		return refuse(Malformed, "baggage: member %s comes twice", key)
	}
	if h.ours == nil {
		h.ours = map[string]string{}
	}
	h.ours[key] = value
	return nil
}

// plainMember reads a member of letters, digits and a few signs alone, which means what it says: long values are
// mostly of this kind, and OpenTelemetry takes ten times as long for them.
func plainMember(text string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(text, "=")
	for _, part := range [...]string{key, value} {
		for i := range len(part) {
			switch c := part[i]; {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.':
			default:
				return "", "", false
			}
		}
	}
	return key, value, ok
}

var errMember = errors.New("malformed member")

// parseMember reads one list-member with OpenTelemetry's grammar.
func parseMember(text string) (baggage.Member, error) {
	b, err := baggage.Parse(text)
	if err != nil || b.Len() != 1 {
		return baggage.Member{}, errMember
	}
	return b.Members()[0], nil
}

// lines returns all lines of the baggage header, also from carriers that know only one.
func lines(c propagation.TextMapCarrier) []string {
	if many, ok := c.(propagation.ValuesGetter); ok {
		return many.Values(fieldBaggage)
	}
	if line := c.Get(fieldBaggage); line != "" {
		return []string{line}
	}
	return nil
}

type foreignKey struct{}

// withForeign puts the members of others into the OpenTelemetry baggage of a context, in place of those of the same
// names, and remembers how they were written. Members of ours are taken out: lineage is never in the baggage of a
// context, where anything that propagates baggage would send it anywhere.
func withForeign(ctx context.Context, arrived []member) context.Context {
	bag := baggage.FromContext(ctx)
	for _, m := range bag.Members() {
		if isOurs(m.Key()) {
			bag = bag.DeleteMember(m.Key())
		}
	}
	for _, m := range arrived {
		bag, _ = bag.SetMember(m.parsed) // refuses only members that were not parsed
	}
	return context.WithValue(baggage.ContextWithBaggage(ctx, bag), foreignKey{}, arrived)
}

// foreignOf returns the texts of the members of others that go out: those that stand in the carrier already, and
// those of the context. What arrived and was not changed since goes out as it came.
func foreignOf(ctx context.Context, standing []member) ([]string, error) {
	arrived, _ := ctx.Value(foreignKey{}).([]member)
	bag := baggage.FromContext(ctx)
	var out []string
	written := map[string]bool{}
	for _, m := range standing {
		texts := []string{m.text}
		if !written[m.parsed.Key()] { // else it stands there several times, as it may have arrived
			texts = unchanged(arrived, m)
		}
		out, written[m.parsed.Key()] = append(out, texts...), true
	}
	for _, a := range arrived { // in the order in which they came
		if now := bag.Member(a.parsed.Key()); now.Key() != "" && !written[now.Key()] {
			out, written[now.Key()] = append(out, unchanged(arrived, member{now.String(), now})...), true
		}
	}
	rest := bag.Members()
	slices.SortFunc(rest, func(a, b baggage.Member) int { return strings.Compare(a.Key(), b.Key()) })
	for _, m := range rest {
		if written[m.Key()] || isOurs(m.Key()) {
			continue
		}
		text := m.String()
		if text == "" {
			return nil, fmt.Errorf("baggage member %q of the context cannot be written: %w", m.Key(), errMember)
		}
		out = append(out, text)
	}
	return out, nil
}

// unchanged returns how the members of m's name were written when they arrived, if m says the same as the last of
// them, which is the one that counts; else m.
func unchanged(arrived []member, m member) []string {
	var texts []string
	same := false
	for _, a := range arrived {
		if a.parsed.Key() == m.parsed.Key() {
			texts, same = append(texts, a.text), a.parsed.String() == m.parsed.String()
		}
	}
	if same {
		return texts
	}
	return []string{m.text}
}
