package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/propagate/kesthttp"
)

// attacker sends requests to the ledger. It has what it has seen on the wire and, as the insider that it may be, the
// agent's key.
type attacker struct {
	client       *http.Client // without any middleware
	denied, paid message      // the refunds of scene 3, as they were on the wire
	cut          lineage.Passport
	agent        lineage.Signer

	forged *wiretap // what cutTail has sent
}

// attacks is scene 7.
func (d *show) attacks(ctx context.Context) (detail, error) {
	out := &AttackDetail{Attempts: []Attack{}, RefundsBefore: d.system.shop.refunds.Load()}
	a, err := d.newAttacker(ctx)
	if err != nil {
		return out, err
	}
	defer a.client.CloseIdleConnections()
	defer a.forged.CloseIdleConnections()
	out.CutVerifies = true
	mark := d.system.journal.len()
	for _, try := range []struct {
		name, title, what, reason string
		send                      func(context.Context) (*reply, error)
	}{
		{"stripped-header", "stripped", "the refused refund of 5000 once more, without its baggage header: no lineage, so no taint",
			"has no lineage", a.stripped},
		{"replayed-request", "replayed", "the refund that was paid, recorded with all its headers and sent again",
			"replayed", a.replayed},
		{"cut-tail-own-proof", "cut tail", "the agent drops its own entry, and the taint, and adjusts the tip; what is left verifies and ends in the gateway's, but the agent signs",
			"has no such key", a.cutTail},
		{"cut-tail-old-proof", "", "the same, with the gateway's proof of another request",
			"signature does not match", a.cutTailOldProof},
	} {
		got, err := d.attack(ctx, try.send, try.reason)
		got.Name, got.What, got.title = try.name, try.what, try.title
		out.Attempts = append(out.Attempts, got)
		if err != nil {
			return out, fmt.Errorf("%s: %w", try.name, err)
		}
	}
	out.RefundsAfter, out.Signed = d.system.shop.refunds.Load(), d.system.journal.len()-mark
	return out, errors.Join(
		expect(out.RefundsAfter == out.RefundsBefore, "the body of an attacker's refund ran"),
		expect(out.Signed == 0, "%d records were signed for an attacker", out.Signed))
}

// attack sends one request, and looks at both ends what became of it.
func (d *show) attack(ctx context.Context, send func(context.Context) (*reply, error), want string) (Attack, error) {
	mark := d.log.len()
	answer, err := send(ctx)
	if err != nil {
		return Attack{}, err
	}
	out := Attack{Status: answer.status, Answer: strings.TrimSpace(string(answer.body))}
	if err := discreet(answer); err != nil {
		return out, err
	}
	reasons, err := d.log.reasons(mark, d.system.ledger.name)
	if err != nil {
		return out, err
	}
	if err := expect(len(reasons) == 1, "the ledger's log has %d reasons, want 1", len(reasons)); err != nil {
		return out, err
	}
	out.Reason, out.short = reasons[0], reasons[0]
	for _, v := range d.system.services() {
		out.short = strings.ReplaceAll(out.short, strconv.Quote(v.id.Principal()), "the "+v.name)
	}
	out.Caught = strings.Contains(out.Reason, want)
	return out, expect(out.Caught, "refused because %q, want %q", out.Reason, want)
}

func (d *show) newAttacker(ctx context.Context) (*attacker, error) {
	refunds := d.system.wire.to(d.system.ledger.url + "/refunds")
	if err := expect(len(refunds) == 2, "%d refunds were on the wire, want 2", len(refunds)); err != nil {
		return nil, err
	}
	f, err := d.newForger(ctx)
	if err != nil {
		return nil, err
	}
	// What the agent got from the gateway in scene 3. The tip is adjusted, so nothing is missing that was announced.
	u := lineage.Unverified{Entries: f.entries[:f.model], Tips: []lineage.Hash{lineage.HashJWS(f.entries[f.model-1])}}
	cut, _, err := d.auditor.Verify(ctx, u)
	if err != nil {
		return nil, err
	}
	return &attacker{
		client: newClient(newTransport()), denied: refunds[0], paid: refunds[1], cut: cut, agent: f.signer,
		forged: &wiretap{base: newTransport()},
	}, nil
}

func (a *attacker) stripped(ctx context.Context) (*reply, error) {
	m := a.denied
	m.header = m.header.Clone()
	m.header.Del("Baggage")
	return send(ctx, a.client, m)
}

func (a *attacker) replayed(ctx context.Context) (*reply, error) { return send(ctx, a.client, a.paid) }

// cutTail uses the real middleware, which would not sign for somebody else's tip. So the agent says that it is the one
// whose tip it is; what it cannot do is sign with that key.
func (a *attacker) cutTail(ctx context.Context) (*reply, error) {
	thief := thief{a.cut, a.agent}
	egress, err := propagate.NewEgress(propagate.EgressConfig{Sealer: thief, Hops: hopproof.Signer{}, Identity: thief})
	if err != nil {
		return nil, err
	}
	transport, err := kesthttp.NewTransport(kesthttp.TransportConfig{Egress: egress, Base: a.forged})
	if err != nil {
		return nil, err
	}
	return send(ctx, newClient(transport), message{url: a.denied.url, body: a.denied.body})
}

// cutTailOldProof comes after cutTail, and puts its lineage into a request that the gateway has signed with its own.
func (a *attacker) cutTailOldProof(ctx context.Context) (*reply, error) {
	sent := a.forged.to(a.denied.url)
	if err := expect(len(sent) == 1, "%d requests with a cut passport were sent, want 1", len(sent)); err != nil {
		return nil, err
	}
	m := a.denied
	m.header = m.header.Clone()
	m.header["Baggage"] = sent[0].header["Baggage"]
	return send(ctx, a.client, m)
}

// thief sends the lineage of another, and claims its name.
type thief struct {
	passport lineage.Passport
	key      lineage.Signer
}

func (t thief) Seal(context.Context) (lineage.Passport, error) { return t.passport, nil }

func (t thief) Signer(context.Context) (lineage.Signer, error) {
	return impostor{t.key, t.passport.Last().Entry().Principal()}, nil
}

type impostor struct {
	lineage.Signer
	name string
}

func (i impostor) Principal() string { return i.name }
