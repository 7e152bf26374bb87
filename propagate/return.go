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

// ErrNoReturn says that an answer brings no lineage.
var ErrNoReturn = errors.New("the answer brings no lineage")

// Return writes what the session of ctx has learned beyond the lineage that came with the request, as a value of
// [FieldReturn]; "" when none came, because only those who sent lineage get some. ctx is the context of the admitted
// request. more announces a later value that has everything. When the lineage cannot be written the value is one that
// the caller takes for a loss, and the reason is logged.
func (i *Ingress) Return(ctx context.Context, a Admission, more bool) string {
	session := SessionFrom(ctx)
	if a.Lineage.Len() == 0 {
		return ""
	}
	value, err := lostReturn, errNoSession
	if session != nil {
		if err = session.Err(); err == nil {
			value, err = i.config.Propagator.Return(ctx, a.Lineage, session.Passport(), more)
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
func (p *Propagator) Return(ctx context.Context, arrived, now lineage.Passport, more bool) (string, error) {
	known := make(map[lineage.Hash]bool, arrived.Len())
	for _, s := range arrived.All() {
		known[s.Hash()] = true
	}
	text, count := []byte{'['}, 0
	for _, s := range now.All() {
		if known[s.Hash()] {
			continue
		}
		if count++; count > 1 {
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
	if more {
		tips += "," + keyMore + "=1"
	}
	m, err := p.represent(ctx, text, count, MaxHeader-len(tips)-1)
	if err != nil {
		return tips, err
	}
	out := []string{tips, m}
	if m := p.offers(now, MaxHeader-length(out)-1); m != "" {
		out = append(out, m)
	}
	return strings.Join(out, ","), nil
}

// restoreReturn reads what [Propagator.Return] wrote.
func (p *Propagator) restoreReturn(ctx context.Context, values []string) (u lineage.Unverified, bindings []string, more bool, err error) {
	if len(values) == 0 {
		return lineage.Unverified{}, nil, false, ErrNoReturn
	}
	h, err := readHeader(values)
	if err != nil {
		return lineage.Unverified{}, nil, false, err
	}
	_, more = h.ours[keyMore]
	if bindings, err = readOffers(h.ours); err != nil {
		return lineage.Unverified{}, nil, more, err
	}
	u, present, err := p.restore(ctx, h.ours)
	switch {
	case err != nil:
		return lineage.Unverified{}, nil, more, err
	case !present:
		return lineage.Unverified{}, nil, more, ErrNoReturn
	case u.Tips == nil:
		return lineage.Unverified{}, nil, more, refuse(Malformed, "%s has no %s", FieldReturn, KeyChainTip)
	}
	return u, bindings, more, nil
}
