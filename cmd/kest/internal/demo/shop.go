package demo

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
)

// What the demo's policies and authority are about.
const (
	policyGuide = "kest/allow_trusted" // the guide's
	policyModel = "agent/no_untrusted_output"
	policyOpen  = "shop/moves_no_money"

	taintModel   = "llm_output"
	sanitizer    = "refund-limits"
	checkedTrust = 60 // of a proposal that the gateway has checked
)

// Payment is the guide's payment.
type Payment struct {
	Order  string  `json:"order_id"`
	Amount float64 `json:"amount"`
}

// Paid is the answer to it.
type Paid struct {
	Order  string  `json:"order_id"`
	Amount float64 `json:"amount"`
	Status string  `json:"status"`
}

// Message is what a customer wrote.
type Message struct {
	Text string `json:"text"`
}

// Rail is a way to send money.
type Rail struct {
	Name string `json:"rail"`
}

// Quote is what a rail costs.
type Quote struct {
	Rail string  `json:"rail"`
	Fee  float64 `json:"fee"`
}

// shop holds the guarded functions. Those of the ledger and the agent are reached over HTTP only.
type shop struct {
	system *system

	payments, refunds atomic.Int64 // bodies that ran
	quotes            *meeting

	payOrder      func(context.Context, Payment) (Paid, error)
	askAgent      func(context.Context, Message) (Payment, error)
	checkProposal func(context.Context, Payment) (Payment, error)
	requestRefund func(context.Context, Payment) (Paid, error)
	askRails      func(context.Context, []Rail) ([]Quote, error)
	pickQuote     func(context.Context, []Quote) (Quote, error)
}

func openShop(s *system) (*shop, error) {
	h := &shop{system: s, quotes: newMeeting(len(fees))}
	g, a, l := s.gateway.guard, s.agent.guard, s.ledger.guard
	var m maker
	// The ledger.
	serve(s.ledger, "/payments", guarded(&m, l, h.processPayment, kest.Operation("ledger.processPayment"),
		kest.Policy(policyGuide), kest.SourceType(lineage.SourceInternal)))
	serve(s.ledger, "/refunds", guarded(&m, l, h.refund, kest.Operation("ledger.refund"),
		kest.Policy(policyModel, policyGuide), kest.SourceType(lineage.SourceInternal)))
	serve(s.ledger, "/quotes", guarded(&m, l, h.quote, kest.Operation("ledger.quote"), kest.Policy(policyOpen),
		kest.ResourceFrom(func(_ context.Context, r Rail) (string, error) { return r.Name, nil })))
	// The agent.
	serve(s.agent, "/messages", guarded(&m, a, readMessage, kest.Operation("agent.readMessage"),
		kest.Policy(policyOpen), kest.SourceType(lineage.SourceLLM), kest.AddTaints(taintModel),
		kest.Agent("support-bot"), kest.Task("refund")))
	// The gateway.
	serve(s.gateway, "/orders", guarded(&m, g, h.pay, kest.Operation("gateway.takeOrder"), kest.Policy(policyOpen)))
	h.payOrder = guarded(&m, g, h.pay, kest.Operation("gateway.payOrder"), kest.Policy(policyGuide))
	h.checkProposal = guarded(&m, g, checkProposal, kest.Operation("gateway.checkProposal"),
		kest.Policy(policyOpen), kest.Classification("sanitizer"), kest.RemoveTaints(taintModel),
		kest.Sanitizer(sanitizer), kest.TrustOverride(checkedTrust))
	h.askAgent = guarded(&m, g, h.ask, kest.Operation("gateway.askAgent"), kest.Policy(policyOpen))
	h.requestRefund = guarded(&m, g, h.payBack, kest.Operation("gateway.requestRefund"), kest.Policy(policyOpen))
	h.askRails = guarded(&m, g, h.compare, kest.Operation("gateway.askRails"), kest.Policy(policyOpen))
	h.pickQuote = guarded(&m, g, pickQuote, kest.Operation("gateway.pickQuote"), kest.Policy(policyGuide))
	return h, m.err
}

// maker keeps the first error of several.
type maker struct{ err error }

func guarded[In, Out any](m *maker, g *kest.Guard, f func(context.Context, In) (Out, error), options ...kest.Option) func(context.Context, In) (Out, error) {
	wrapped, err := kest.Verified(g, f, options...)
	if err != nil && m.err == nil {
		m.err = err
	}
	return wrapped
}

// processPayment is the guide's function.
func (h *shop) processPayment(_ context.Context, p Payment) (Paid, error) {
	h.payments.Add(1)
	return Paid{Order: p.Order, Amount: p.Amount, Status: "completed"}, nil
}

// pay is the gateway's part of a payment: it asks the ledger, within the lineage of the order.
func (h *shop) pay(ctx context.Context, p Payment) (Paid, error) {
	return call[Payment, Paid](ctx, h.system.gateway, h.system.ledger, "/payments", p)
}

// ask has the agent read a message.
func (h *shop) ask(ctx context.Context, m Message) (Payment, error) {
	return call[Message, Payment](ctx, h.system.gateway, h.system.agent, "/messages", m)
}

// payBack asks the ledger for a refund. It moves no money itself: the ledger decides.
func (h *shop) payBack(ctx context.Context, p Payment) (Paid, error) {
	return call[Payment, Paid](ctx, h.system.gateway, h.system.ledger, "/refunds", p)
}

// compare asks what every rail costs, all at once; the ledger answers none before it has been asked for all.
func (h *shop) compare(ctx context.Context, rails []Rail) ([]Quote, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quotes := make([]Quote, len(rails))
	var all sync.WaitGroup
	for i, rail := range rails {
		all.Go(func() {
			var err error
			quotes[i], err = call[Rail, Quote](ctx, h.system.gateway, h.system.ledger, "/quotes", rail)
			if err != nil {
				cancel(err) // the others would wait for it
			}
		})
	}
	all.Wait()
	return quotes, context.Cause(ctx)
}

func (h *shop) refund(_ context.Context, p Payment) (Paid, error) {
	h.refunds.Add(1)
	return Paid{Order: p.Order, Amount: p.Amount, Status: "refunded"}, nil
}

// refundPattern is all that this model understands. Like a real one it does what the text asks for.
var refundPattern = regexp.MustCompile(`(ORD-[0-9]+).*pay ([0-9]+(?:\.[0-9]+)?)`)

// readMessage stands in for a language model.
func readMessage(_ context.Context, m Message) (Payment, error) {
	found := refundPattern.FindStringSubmatch(m.Text)
	if found == nil {
		return Payment{}, fmt.Errorf("no order and amount in the message")
	}
	amount, err := strconv.ParseFloat(found[2], 64)
	if err != nil {
		return Payment{}, fmt.Errorf("amount: %w", err)
	}
	return Payment{Order: found[1], Amount: amount}, nil
}

// sold is what was paid for the orders that may be refunded.
var sold = map[string]float64{"ORD-123": 99.95}

// checkProposal is the sanitizer: nothing of the proposal is used but the order's number, and that only when the
// shop knows it. The amount is what the order cost, at most.
func checkProposal(_ context.Context, p Payment) (Payment, error) {
	paid, known := sold[p.Order]
	if !known || p.Amount <= 0 {
		return Payment{}, fmt.Errorf("no refund of %v for order %q", p.Amount, p.Order)
	}
	return Payment{Order: p.Order, Amount: min(p.Amount, paid)}, nil
}

// fees by rail.
var fees = map[string]float64{"card": 0.35, "bank": 0.20, "wallet": 0.28}

// quote answers when all rails have been asked, so the calls are in flight together.
func (h *shop) quote(ctx context.Context, r Rail) (Quote, error) {
	fee, known := fees[r.Name]
	if !known {
		return Quote{}, fmt.Errorf("rail %q is not known", r.Name)
	}
	return Quote{Rail: r.Name, Fee: fee}, h.quotes.wait(ctx)
}

func pickQuote(_ context.Context, quotes []Quote) (Quote, error) {
	if len(quotes) == 0 {
		return Quote{}, fmt.Errorf("no quote to choose from")
	}
	best := quotes[0]
	for _, q := range quotes[1:] {
		if q.Fee < best.Fee {
			best = q
		}
	}
	return best, nil
}

// meeting is a point that n goroutines must have reached before any goes on.
type meeting struct {
	mu      sync.Mutex
	missing int
	all     chan struct{}
}

func newMeeting(n int) *meeting { return &meeting{missing: n, all: make(chan struct{})} }

func (m *meeting) wait(ctx context.Context) error {
	m.mu.Lock()
	if m.missing--; m.missing == 0 {
		close(m.all)
	}
	m.mu.Unlock()
	select {
	case <-m.all:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
