package propagate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
)

// Config configures a [Propagator]. The zero value works as long as passports fit into a header.
type Config struct {
	// Store keeps passports that are too large for a header (claim checks). nil: such a passport cannot be sent, and
	// the attempt is an error.
	Store store.Store
	// ClaimTTL is how long a claim check can be redeemed; 0 means 300 s.
	ClaimTTL time.Duration
	// ClaimPrefix begins the keys of claim checks; "" means "kest.claim.". Tenants that share a store have different
	// ones.
	ClaimPrefix string
	// Threshold is the longest member, in bytes after percent-encoding, that carries a passport in the header itself;
	// 0 means 4096, negative none: everything goes to the store.
	Threshold int
	// CompressFirst never writes the plain form, which the Python implementation's middleware cannot read (SPEC §15).
	CompressFirst bool
	// Bindings are the key bindings to send along with a passport, the most useful first, so that a receiver without a
	// store can find the keys: the method of that name of a binding.Source. What the header has no room for is left out.
	// nil: none are sent.
	Bindings func(lineage.Passport) []string
	// Receipts makes answers say how the calls ended that they bring lineage of, as far as the header has room, so that
	// policies of the caller can ask for the outcome of a call elsewhere. Each receipt costs the caller a signature check.
	// Those that come are always looked at.
	Receipts bool
	// Limits bound what is read, before anything is verified; zero fields mean the defaults of SPEC §12.
	Limits lineage.Limits
	// InjectEverywhere makes Inject write lineage whatever the destination is, which Inject cannot know. Without it
	// Inject writes the baggage of others only, and reports an error to OpenTelemetry when there is lineage to send.
	InjectEverywhere bool
}

const (
	defaultClaimTTL    = 300 * time.Second
	defaultClaimPrefix = "kest.claim."
	defaultThreshold   = 4096
	maxClaimPrefix     = 128
)

// A Propagator writes lineage into the baggage header of a message and reads it there, beside the members of others
// (F-CP-01…03, F-CP-07, SPEC §9). It takes the place of OpenTelemetry's propagation.Baggage: the two must not write
// the same header.
//
// What it reads is believed by nobody: [Ingress] verifies it. It is safe for concurrent use.
type Propagator struct{ config Config }

var _ propagation.TextMapPropagator = (*Propagator)(nil)

var claimPrefixes = regexp.MustCompile(`^[A-Za-z0-9._:-]+$`)

// New checks the configuration and reports everything that is wrong with it.
func New(c Config) (*Propagator, error) {
	var problems []error
	if c.ClaimPrefix == "" {
		c.ClaimPrefix = defaultClaimPrefix
	}
	if len(c.ClaimPrefix) > maxClaimPrefix || !claimPrefixes.MatchString(c.ClaimPrefix) {
		problems = append(problems, fmt.Errorf("propagate: ClaimPrefix: want 1 to %d characters of . _ - : letters and digits", maxClaimPrefix))
	}
	if c.ClaimTTL == 0 {
		c.ClaimTTL = defaultClaimTTL
	}
	if c.ClaimTTL < time.Second || c.ClaimTTL > store.MaxTTL {
		problems = append(problems, fmt.Errorf("propagate: ClaimTTL of %s; want 1s to %s", c.ClaimTTL, store.MaxTTL))
	}
	if c.Threshold == 0 {
		c.Threshold = defaultThreshold
	}
	if c.Threshold > MaxHeader {
		problems = append(problems, fmt.Errorf("propagate: Threshold of %d bytes; a header has %d at most", c.Threshold, MaxHeader))
	}
	if c.Threshold < 0 && c.Store == nil {
		problems = append(problems, errors.New("propagate: Threshold sends everything to the store, and Store is nil"))
	}
	if c.Limits.PassportBytes <= 0 {
		c.Limits.PassportBytes = store.MaxValue
	}
	if c.Limits.PassportBytes > store.MaxValue && c.Store != nil {
		problems = append(problems, fmt.Errorf("propagate: Limits.PassportBytes of %d, but a store takes %d", c.Limits.PassportBytes, store.MaxValue))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Propagator{c}, nil
}

// An Arrival is what the baggage of a message says about lineage, as it came. Nothing of it may be believed.
type Arrival struct {
	// Present says that lineage came. It is false when there was none, which is not the same as lineage that could
	// not be read.
	Present bool
	Lineage lineage.Unverified
	// Claimed is who the message says acts. See [Ingress].
	Claimed Identity

	foreign []member
	offers  []string // key bindings
}

// Restore reads the baggage of a message: claim check, else compressed, else plain form. An error is a
// *[RefusedError], and the message must not be served as if it had come without lineage.
func (p *Propagator) Restore(ctx context.Context, carrier propagation.TextMapCarrier) (*Arrival, error) {
	h, err := readHeader(lines(carrier))
	if err != nil {
		return nil, err
	}
	a := &Arrival{
		Claimed: Identity{User: h.ours[KeyUser], Agent: h.ours[KeyAgent], Task: h.ours[KeyTask]},
		foreign: h.foreign,
	}
	if a.offers, err = readOffers(h.ours); err != nil {
		return nil, err
	}
	if a.Lineage, a.Present, err = p.restore(ctx, h.ours); err != nil {
		return nil, err
	}
	return a, nil
}

type arrivalKey struct{}

// ArrivalFrom returns what [Propagator.Extract] read, nil when it was not used.
func ArrivalFrom(ctx context.Context) *Arrival {
	a, _ := ctx.Value(arrivalKey{}).(*Arrival)
	return a
}

// Extract implements OpenTelemetry's propagation.TextMapPropagator. The context that it returns has the members of
// others in its OpenTelemetry baggage. Lineage is kept apart, as an [Arrival] that nothing has verified: until
// [Ingress.Admit] has done so, every guarded call under the context is refused. The same holds when lineage came that
// cannot be read.
func (p *Propagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	a, err := p.Restore(ctx, carrier)
	if err != nil {
		return Refuse(withForeign(ctx, nil), err)
	}
	return context.WithValue(withForeign(ctx, a.foreign), arrivalKey{}, a)
}

// Inject implements OpenTelemetry's propagation.TextMapPropagator. Where a program can handle errors it should use
// [Egress] instead. When the lineage of ctx cannot be sent, Inject writes the tip alone: the receiver then sees that
// lineage was lost, and refuses. Under [WithAttached] it leaves the carrier as it is.
func (p *Propagator) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	if attached, _ := ctx.Value(attachedKey{}).(bool); attached {
		return
	}
	passport, err := sendable(ctx)
	if err == nil && passport.Len() > 0 && !p.config.InjectEverywhere {
		otel.Handle(errNotInjected)
		p.write(ctx, carrier, nil)
		return
	}
	if err == nil {
		if err = p.Attach(ctx, carrier, passport); err == nil {
			return
		}
	}
	otel.Handle(fmt.Errorf("kest: lineage was not injected: %w", err))
	p.write(ctx, carrier, []string{KeyChainTip + "=" + strings.Repeat("0", 64)})
}

type attachedKey struct{}

// WithAttached returns a context for what sends a message whose baggage is final: instrumentation further down that
// injects once more must not write over it. Transports call it after they have attached lineage, or decided that the
// destination gets none.
func WithAttached(ctx context.Context) context.Context {
	return context.WithValue(ctx, attachedKey{}, true)
}

var errNotInjected = errors.New("kest: lineage was not injected, because nothing says that the destination may have it; " +
	"use kesthttp.Transport or kestgrpc, or set InjectEverywhere")

// sendable is the lineage of a context that can be believed by others.
func sendable(ctx context.Context) (lineage.Passport, error) {
	session := SessionFrom(ctx)
	switch {
	case Refusal(ctx) != nil:
		return lineage.Passport{}, Refusal(ctx)
	case CarriesUnverified(ctx):
		return lineage.Passport{}, errUnverified
	case session == nil:
		return lineage.Passport{}, nil
	case session.Err() != nil:
		return lineage.Passport{}, session.Err()
	}
	passport := session.Passport()
	if !passport.Connected() {
		return lineage.Passport{}, errNotTied
	}
	return passport, nil
}

var (
	errUnverified = errors.New("lineage arrived that is not verified")
	errNotTied    = errors.New("lineages were joined and no entry ties them yet; use Guard.Seal")
)

// Attach writes a sealed passport into the baggage of a message, in one of three representations and with its tips,
// beside the ambient identity of ctx and the members of others (F-CP-01…03). The empty passport is not written. On an
// error, a *[RefusedError], nothing has been written.
func (p *Propagator) Attach(ctx context.Context, carrier propagation.TextMapCarrier, passport lineage.Passport) error {
	standing, err := readHeader(lines(carrier))
	if err != nil {
		return err
	}
	out, err := foreignOf(ctx, standing.foreign)
	if err != nil {
		return &RefusedError{Malformed, err}
	}
	if length(out) > MaxHeader || len(out) > MaxMembers {
		return refuse(TooLarge, "the baggage of others has %d members and %d bytes; %d and %d at most", len(out), length(out), MaxMembers, MaxHeader)
	}
	if passport.Len() > 0 {
		members, err := p.members(ctx, passport, MaxHeader-length(out)-1, MaxMembers-len(out)) // one comma
		if err != nil {
			return err
		}
		out = append(out, members...)
		if m := p.offers(passport, MaxHeader-length(out)-1); m != "" && len(out) < MaxMembers {
			out = append(out, m)
		}
	}
	set(carrier, out)
	return nil
}

// offers is the member with the key bindings that go along with a passport.
func (p *Propagator) offers(passport lineage.Passport, room int) string {
	if p.config.Bindings == nil {
		return ""
	}
	return offers(p.config.Bindings(passport), room)
}

// members are ours, the passport last: it takes what room the others leave.
func (p *Propagator) members(ctx context.Context, passport lineage.Passport, room, count int) ([]string, error) {
	tips := passport.Tips()
	if len(tips) > maxTips {
		return nil, refuse(TooLarge, "lineage ends in %d entries, more than the limit of %d; use Guard.Seal", len(tips), maxTips)
	}
	id := IdentityFrom(ctx)
	var out []string
	for _, m := range [...]struct{ key, value string }{
		{KeyChainTip, writeTips(tips)}, {KeyUser, id.User}, {KeyAgent, id.Agent}, {KeyTask, id.Task},
	} {
		if m.value == "" {
			continue
		}
		text, err := encodeMember(m.key, m.value)
		if err != nil {
			return nil, &RefusedError{Malformed, err}
		}
		out = append(out, text)
	}
	if len(out)+1 > count {
		return nil, refuse(TooLarge, "the baggage of others has too many members to add lineage; %d at most in all", MaxMembers)
	}
	text, err := passport.MarshalText()
	if err != nil {
		return nil, &RefusedError{Fault, err}
	}
	m, err := p.represent(ctx, text, passport.Len(), room-length(out)-1) // one comma more
	if err != nil {
		return nil, err
	}
	return append(out, m), nil
}

// write sets what others have in the baggage and the given members. It never fails: what does not fit is left out.
func (p *Propagator) write(ctx context.Context, carrier propagation.TextMapCarrier, members []string) {
	standing, err := readHeader(lines(carrier))
	out := members
	if err == nil {
		if foreign, err := foreignOf(ctx, standing.foreign); err == nil {
			out = slices.Concat(foreign, members)
		}
	}
	if length(out) > MaxHeader || len(out) > MaxMembers {
		out = members
	}
	set(carrier, out)
}

// length is that of members joined by commas.
func length(members []string) int {
	n := max(0, len(members)-1)
	for _, m := range members {
		n += len(m)
	}
	return n
}

func set(carrier propagation.TextMapCarrier, members []string) {
	if text := strings.Join(members, ","); text != "" || len(lines(carrier)) > 0 {
		carrier.Set(fieldBaggage, text)
	}
}

// Fields implements OpenTelemetry's propagation.TextMapPropagator.
func (p *Propagator) Fields() []string { return []string{fieldBaggage} }
