package propagate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest/lineage"
)

// A Sealer makes the lineage of a context ready to leave the process. *kest.Guard is one.
type Sealer interface {
	Seal(ctx context.Context) (lineage.Passport, error)
}

// A SignerSource knows the credential that signs hop proofs. Every identity.Provider is one.
type SignerSource interface {
	Signer(ctx context.Context) (lineage.Signer, error)
}

// EgressConfig configures an [Egress].
type EgressConfig struct {
	// Sealer is required: the guard whose calls make the lineage.
	Sealer Sealer
	// Propagator writes the lineage; nil means one with the zero [Config].
	Propagator *Propagator

	// Allow names who may get lineage: hosts ("ledger", "ledger:8443"; without a port any port) and suffixes of host
	// names (".mesh.internal"). Loopback addresses are always allowed; everybody else gets no lineage (SPEC §9).
	Allow []string

	// Hops signs a hop proof for each request that carries lineage, with the credential of Identity, which must be
	// that of the guard. nil: none are sent.
	Hops     HopSigner
	Identity SignerSource

	// Verifier checks the lineage that answers bring back. nil: answers are not looked at, and what callees learned
	// does not come back.
	Verifier *lineage.Verifier
	// StrictReturn fails a call whose answer brings no lineage, or one that cannot be believed. Without it the fault
	// is logged and put on the span as an event, and the caller goes on without what the callee learned.
	StrictReturn bool

	// Logger gets one line for each answer without lineage that can be believed; nil means slog.Default.
	Logger *slog.Logger
}

// An Egress sends lineage along with requests, to those who may have it, and takes back what they learned. It is safe
// for concurrent use. propagate/kesthttp and propagate/kestgrpc put it in front of clients; producers of messages call
// [Egress.Attach] themselves.
type Egress struct {
	config EgressConfig
	allow  []destination
}

// destination is one rule of the allow-list.
type destination struct {
	host, port string // "" for any port
	suffix     bool
}

// NewEgress checks the configuration and reports everything that is wrong with it.
func NewEgress(c EgressConfig) (*Egress, error) {
	var problems []error
	if c.Sealer == nil {
		problems = append(problems, errors.New("egress: Sealer is nil; give the guard whose calls make the lineage"))
	}
	if (c.Hops == nil) != (c.Identity == nil) {
		problems = append(problems, errors.New("egress: Hops and Identity go together: who signs, and with which credential"))
	}
	if c.StrictReturn && c.Verifier == nil {
		problems = append(problems, errors.New("egress: StrictReturn needs Verifier"))
	}
	e := &Egress{}
	for _, text := range c.Allow {
		d, err := parseDestination(text)
		if err != nil {
			problems = append(problems, err)
		}
		e.allow = append(e.allow, d)
	}
	if c.Propagator == nil {
		var err error
		if c.Propagator, err = New(Config{}); err != nil {
			problems = append(problems, err)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Allow = slices.Clone(c.Allow)
	e.config = c
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return e, nil
}

func parseDestination(text string) (destination, error) {
	host, port := splitAuthority(text)
	d := destination{host: strings.TrimPrefix(host, "."), port: port, suffix: strings.HasPrefix(host, ".")}
	_, noAddress := netip.ParseAddr(d.host)
	good := isName(d.host) && (!d.suffix || strings.Contains(d.host, ".")) || noAddress == nil && !d.suffix
	if !good || !isPort(port) {
		return d, fmt.Errorf(`egress: Allow: %q; want a host such as "ledger" or "ledger:8443", or a suffix such as ".mesh.internal"`, text)
	}
	return d, nil
}

// splitAuthority returns host and port in lower case and without a trailing dot.
func splitAuthority(a string) (host, port string) {
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(a, "["), "]"), ""
	}
	return strings.TrimSuffix(strings.ToLower(host), "."), port
}

// isName reports whether a host in lower case is a name (RFC 1123 §2.1, and underscores).
func isName(host string) bool {
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// isPort reports whether a port is a number or missing.
func isPort(port string) bool { return strings.Trim(port, "0123456789") == "" }

// Allows reports whether lineage may go to an authority, host[:port].
func (e *Egress) Allows(authority string) bool {
	host, port := splitAuthority(authority)
	if !isPort(port) || strings.ContainsFunc(authority, notHeader) {
		return false // "localhost:80@evil.example"; letters that look like others in another case
	}
	if host == "localhost" {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	return slices.ContainsFunc(e.allow, func(d destination) bool {
		if d.port != "" && d.port != port {
			return false
		}
		if d.suffix { // of names: the zone of an address may be any text (RFC 4007 §11)
			return isName(host) && strings.HasSuffix(host, "."+d.host)
		}
		return host == d.host
	})
}

// Attach seals the lineage of ctx and writes it into the baggage of a message that may have it. sent is what was
// written, empty when there was nothing to send. On an error the message must not be sent.
func (e *Egress) Attach(ctx context.Context, carrier propagation.TextMapCarrier) (sent lineage.Passport, err error) {
	if sent, err = e.config.Sealer.Seal(ctx); err != nil {
		return lineage.Passport{}, err
	}
	if err := e.config.Propagator.Attach(ctx, carrier, sent); err != nil {
		return lineage.Passport{}, err
	}
	if carrier.Get("traceparent") == "" {
		propagation.TraceContext{}.Inject(ctx, carrier)
	}
	return sent, nil
}

// Strip takes what is ours out of the baggage of a message, for somebody who may not have lineage, and leaves the
// members of others as they are.
func Strip(carrier propagation.TextMapCarrier) {
	standing, err := readHeader(lines(carrier))
	var out []string
	if err == nil { // one that cannot be read may hold anything
		for _, m := range standing.foreign {
			out = append(out, m.text)
		}
	}
	set(carrier, out)
}

// Proves reports whether requests with lineage get a hop proof.
func (e *Egress) Proves() bool { return e.config.Hops != nil }

// Prove signs the hop proof of a request that carries sent. The signer is the one who signed the tip: that is what
// the receiver holds it to.
func (e *Egress) Prove(ctx context.Context, sent lineage.Passport, r HopRequest) (input, signature string, err error) {
	signer, err := e.config.Identity.Signer(ctx)
	if err != nil {
		return "", "", fmt.Errorf("hop proof: identity: %w", err)
	}
	for _, leaf := range sent.Leaves() {
		if p := leaf.Entry().Principal(); p != signer.Principal() {
			return "", "", fmt.Errorf("hop proof: the lineage ends in an entry of %q, but %q signs the proof; "+
				"Identity and Sealer must belong to the same workload", p, signer.Principal())
		}
	}
	if input, signature, err = e.config.Hops.SignHop(ctx, signer, r); err != nil {
		return "", "", fmt.Errorf("hop proof: %w", err)
	}
	return input, signature, nil
}

// Returns reports whether answers are looked at for lineage.
func (e *Egress) Returns() bool { return e.config.Verifier != nil }

// Learn takes back what an answer brings: the callee's entries, verified here first and then joined into the session
// of ctx (SPEC §9, return lineage). values are those of [FieldReturn], sent is what went with the request. more says
// that the answer goes on and that its trailer has another value: whoever does not get that calls Learn with none. The
// error is nil unless StrictReturn is set, and then a *[RefusedError]; the fault is on the span of ctx, as an event, and
// in the log.
func (e *Egress) Learn(ctx context.Context, sent lineage.Passport, values []string) (more bool, err error) {
	if e.config.Verifier == nil {
		return false, nil // answers are not looked at
	}
	more, err = e.learn(ctx, sent, values)
	if err == nil {
		return more, nil
	}
	what := "invalid"
	if errors.Is(err, ErrNoReturn) {
		what = "lost"
	}
	trace.SpanFromContext(ctx).AddEvent("kest.return_lineage", trace.WithAttributes(
		attribute.String("kest.return_lineage", what), attribute.String("reason", err.Error())))
	e.config.Logger.WarnContext(ctx, "kest: return lineage is "+what, "reason", err)
	if !e.config.StrictReturn {
		return more, nil
	}
	return more, &RefusedError{Unavailable, fmt.Errorf("return lineage: %w", err)} // not a fault of who asked us
}

func (e *Egress) learn(ctx context.Context, sent lineage.Passport, values []string) (more bool, err error) {
	r, more, err := e.config.Propagator.restoreReturn(ctx, values)
	if err != nil {
		return more, err
	}
	verifying := offering(ctx, r.bindings)
	passport, _, err := e.config.Verifier.VerifyOnto(verifying, sent, r.lineage)
	if err != nil {
		return more, err
	}
	calls, err := e.checkReceipts(verifying, sent, passport, r.receipts)
	if err != nil {
		return more, err
	}
	session := SessionFrom(ctx)
	if session == nil {
		return more, errNoSession
	}
	if err := session.Absorb(passport); err != nil {
		return more, err
	}
	for _, c := range calls {
		session.Settle(c.entry, c.outcome, c.receipt)
	}
	return more, nil
}
