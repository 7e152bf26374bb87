package propagate

import (
	"context"
	"errors"
	"strings"

	"github.com/kest-go/kest/lineage"
)

// FieldReturn is the field, of a response's header or trailer, that carries the entries that the callee added. Its
// grammar and members are those of baggage: one representation of the new entries, and the tips of the whole.
const FieldReturn = "kest-lineage"

// keyMore marks a value that is not the last word: the answer goes on, and its trailer says what came of it.
const keyMore = "kest.more"

// A Slot is where in an answer a value of [FieldReturn] stands.
type Slot int

// Slots. The zero value is Whole.
const (
	Whole     Slot = iota // the only value: of a header, or of a trailer that has room for as much
	Beginning             // of the header of an answer that goes on; a later value has everything
	Trailer               // that later value, in a trailer of HTTP/1.1
)

// maxTrailer is the longest value in a trailer of HTTP/1.1: net/http reads 4 KiB of all its fields, and fails the body
// when there is more.
const maxTrailer = 3 << 10

func (s Slot) room() int {
	if s == Trailer {
		return maxTrailer
	}
	return MaxHeader
}

// ErrNoReturn says that an answer brings no lineage.
var ErrNoReturn = errors.New("the answer brings no lineage")

// Return writes what the session of ctx has learned beyond the lineage that came with the request, as a value of
// [FieldReturn]; "" when none came, because only those who sent lineage get some. ctx is the context of the admitted
// request. When the lineage cannot be written the value is one that
// the caller takes for a loss, and the reason is logged.
func (i *Ingress) Return(ctx context.Context, a Admission, at Slot) string {
	session := SessionFrom(ctx)
	if a.Lineage.Len() == 0 {
		return ""
	}
	value, err := lostReturn, errNoSession
	if session != nil {
		if err = session.Err(); err == nil {
			value, err = i.config.Propagator.Return(ctx, a.Lineage, session.Passport(), at)
		}
	}
	if err != nil {
		i.config.Logger.ErrorContext(ctx, "kest: return lineage cannot be sent; the caller will notice", "reason", err)
	}
	return value
}

// lostReturn announces that there are no tips, which is never so.
const lostReturn = KeyChainTip + "="

var errNoSession = errors.New("there is no session in the context")

// Return writes the entries that now has beyond arrived, which came with the request, as a value of [FieldReturn].
// When they cannot be written the value announces the tips alone, so that the caller sees the loss; the error says
// why, and is for the log. See [Ingress.Return].
func (p *Propagator) Return(ctx context.Context, arrived, now lineage.Passport, at Slot) (string, error) {
	known := make(map[lineage.Hash]bool, arrived.Len())
	for _, s := range arrived.All() {
		known[s.Hash()] = true
	}
	text := []byte{'['}
	var fresh []*lineage.Signed
	for _, s := range now.All() {
		if known[s.Hash()] {
			continue
		}
		if fresh = append(fresh, s); len(fresh) > 1 {
			text = append(text, ',')
		}
		text = append(append(append(text, '"'), s.JWS()...), '"')
	}
	text = append(text, ']')
	if len(now.Tips()) > maxTips {
		return lostReturn, refuse(TooLarge, "lineage ends in %d entries, more than the limit of %d", len(now.Tips()), maxTips)
	}
	tips, err := encodeMember(KeyChainTip, writeTips(now.Tips()))
	if err != nil {
		return lostReturn, err
	}
	room := at.room()
	if at == Beginning {
		tips += "," + keyMore + "=1"
	}
	m, err := p.represent(ctx, text, len(fresh), room-len(tips)-1)
	if err != nil {
		return tips, err
	}
	out := []string{tips, m}
	if m := p.offers(now, room-length(out)-1); m != "" {
		out = append(out, m)
	}
	if s := SessionFrom(ctx); s != nil && p.config.Receipts {
		if m := receipts(s, fresh, room-length(out)-1); m != "" {
			out = append(out, m)
		}
	}
	return strings.Join(out, ","), nil
}

// returned is what an answer brings, as it came.
type returned struct {
	lineage            lineage.Unverified
	bindings, receipts []string
}

// restoreReturn reads what [Propagator.Return] wrote.
func (p *Propagator) restoreReturn(ctx context.Context, values []string) (r returned, more bool, err error) {
	if len(values) == 0 {
		return returned{}, false, ErrNoReturn
	}
	h, err := readHeader(values)
	if err != nil {
		return returned{}, false, err
	}
	_, more = h.ours[keyMore]
	if r.bindings, err = readOffers(h.ours); err != nil {
		return returned{}, more, err
	}
	if r.receipts, err = readReceipts(h.ours); err != nil {
		return returned{}, more, err
	}
	u, present, err := p.restore(ctx, h.ours)
	switch {
	case err != nil:
		return returned{}, more, err
	case !present:
		return returned{}, more, ErrNoReturn
	case u.Tips == nil:
		return returned{}, more, refuse(Malformed, "%s has no %s", FieldReturn, KeyChainTip)
	}
	r.lineage = u
	return r, more, nil
}
