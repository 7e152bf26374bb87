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

// ErrNoReturn says that an answer brings no lineage.
var ErrNoReturn = errors.New("the answer brings no lineage")

// Return writes the entries that now has beyond arrived, which came with the request, as a value of [FieldReturn].
// When they cannot be written the value announces the tips alone, so that the caller sees the loss; the error says
// why, and is for the log.
func (p *Propagator) Return(ctx context.Context, arrived, now lineage.Passport) (string, error) {
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
		return KeyChainTip + "=", refuse(TooLarge, "lineage ends in %d entries, more than the limit of %d", len(now.Tips()), maxTips)
	}
	tips, err := encodeMember(KeyChainTip, writeTips(now.Tips()))
	if err != nil {
		return KeyChainTip + "=", err
	}
	m, err := p.represent(ctx, text, count, MaxHeader-len(tips)-1)
	if err != nil {
		return tips, err
	}
	return strings.Join([]string{tips, m}, ","), nil
}

// restoreReturn reads what [Propagator.Return] wrote.
func (p *Propagator) restoreReturn(ctx context.Context, values []string) (lineage.Unverified, error) {
	if len(values) == 0 {
		return lineage.Unverified{}, ErrNoReturn
	}
	h, err := readHeader(values)
	if err != nil {
		return lineage.Unverified{}, err
	}
	u, present, err := p.restore(ctx, h.ours)
	switch {
	case err != nil:
		return lineage.Unverified{}, err
	case !present:
		return lineage.Unverified{}, ErrNoReturn
	case u.Tips == nil:
		return lineage.Unverified{}, refuse(Malformed, "%s has no %s", FieldReturn, KeyChainTip)
	}
	return u, nil
}
