package propagate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
)

// lineage restores and verifies. Key bindings that came along are offered to the key source, which checks them.
func (i *Ingress) lineage(limited, ctx context.Context, r Request) (*Arrival, lineage.Passport, error) {
	if err := Refusal(ctx); err != nil {
		return nil, lineage.Passport{}, err // of a propagator in front
	}
	arrival, err := i.arrival(limited, ctx, r)
	if err != nil {
		return nil, lineage.Passport{}, err
	}
	var passport lineage.Passport
	if arrival.Present {
		if err := i.anonymous(r); err != nil { // before anything is verified for a stranger
			return nil, lineage.Passport{}, err
		}
		offered := offering(limited, arrival.offers)
		if passport, _, err = i.config.Verifier.Verify(offered, arrival.Lineage); err != nil {
			return nil, lineage.Passport{}, unverified(err)
		}
	}
	if passport.Len() == 0 && i.config.Listener == Internal && !i.config.LineageOptional {
		return nil, lineage.Passport{}, refuse(Forbidden, "the request has no lineage, which this listener requires")
	}
	return arrival, passport, nil
}

func (i *Ingress) arrival(limited, ctx context.Context, r Request) (*Arrival, error) {
	switch {
	case i.config.InsecureIgnoreLineage && r.Carrier != nil:
		h, err := readHeader(lines(r.Carrier))
		return &Arrival{foreign: h.foreign}, err
	case i.config.InsecureIgnoreLineage:
		return &Arrival{}, nil
	case r.Carrier != nil:
		return i.config.Propagator.Restore(limited, r.Carrier)
	}
	if a := ArrivalFrom(ctx); a != nil {
		return a, nil
	}
	if carried(ctx) != "" { // it must not look like no lineage
		return nil, refuse(Fault, "lineage came in OpenTelemetry baggage; install a Propagator in place of propagation.Baggage")
	}
	return &Arrival{}, nil
}

// unverified classifies an error of the verifier.
func unverified(err error) error {
	var failure *lineage.VerifyError
	switch {
	case !errors.As(err, &failure):
		return &RefusedError{Unavailable, fmt.Errorf("verification was not completed: %w", err)}
	case failure.Reason == lineage.UnknownKey && failure.Err != nil:
		return &RefusedError{Unavailable, err} // the key source could not answer
	case failure.Reason == lineage.Limit:
		return &RefusedError{TooLarge, err}
	case failure.Reason == lineage.Malformed || failure.Reason == lineage.Algorithm:
		return &RefusedError{Malformed, err}
	}
	return &RefusedError{Forbidden, err}
}

// prove holds the sender to the tip: only who signed it may present the lineage. That stops a tail that was cut, a
// stolen passport and a replayed request.
func (i *Ingress) prove(ctx context.Context, p lineage.Passport, hop *HopRequest) (bool, error) {
	if i.config.Proofs == ProofOff || p.Len() == 0 {
		return false, nil
	}
	if hop == nil {
		if i.config.Proofs == ProofRequire {
			return false, refuse(Forbidden, "%w, and this transport has none; use an Ingress of its own with Proofs off", ErrNoProof)
		}
		return false, nil
	}
	principal, err := soleSigner(p)
	if err != nil {
		return false, refuse(Forbidden, "%w: %w", ErrBadProof, err)
	}
	// Before the proof is looked at, so that one made for another service does not use up its nonce here.
	if len(hop.Fields["signature-input"]) > 0 && !slices.Contains(i.config.Authorities, normalAuthority(hop.Authority)) {
		return false, refuse(Forbidden, "%w: the request is for %.100q, which is not among Authorities", ErrBadProof, hop.Authority)
	}
	err = i.config.Hops.VerifyHop(ctx, principal, *hop)
	switch {
	case err == nil:
	case errors.Is(err, ErrNoProof) && i.config.Proofs == ProofAccept:
		return false, nil
	case errors.Is(err, ErrNoProof) || errors.Is(err, ErrBadProof):
		return false, &RefusedError{Forbidden, err}
	default:
		return false, &RefusedError{Unavailable, fmt.Errorf("hop proof: %w", err)}
	}
	return true, nil
}

// peer holds the sender to the tip as [Ingress.prove] does, by what mutual TLS shows of the connection.
func (i *Ingress) peer(p lineage.Passport, r Request) error {
	if !i.config.RequirePeer || p.Len() == 0 {
		return nil
	}
	principal, err := soleSigner(p)
	switch {
	case err != nil:
		return &RefusedError{Forbidden, err}
	case r.Peer != principal:
		return refuse(Forbidden, "the lineage ends in an entry of %.100q, but the peer is %.100q", principal, r.Peer)
	}
	return nil
}

// anonymous refuses lineage on a connection that does not show who the peer is, where that is required.
func (i *Ingress) anonymous(r Request) error {
	switch {
	case !i.config.RequirePeer:
		return nil
	case r.PeerErr != nil:
		return refuse(Forbidden, "the connection does not show who the peer is: %w", r.PeerErr)
	case r.Peer == "":
		return refuse(Forbidden, "the connection does not show who the peer is; mutual TLS is required")
	}
	return nil
}

var errSeveral = errors.New("the lineage ends in entries of several workloads; the sender must seal it")

// soleSigner is the workload that signed every tip.
func soleSigner(p lineage.Passport) (string, error) {
	principal := p.Last().Entry().Principal()
	for _, leaf := range p.Leaves() {
		if leaf.Entry().Principal() != principal {
			return "", errSeveral
		}
	}
	return principal, nil
}

// normalAuthority is an authority in lower case (RFC 9110 §4.2.3).
func normalAuthority(a string) string { return strings.ToLower(a) }

// caller checks the credential. nil: there is none.
func (i *Ingress) caller(ctx context.Context, authorization []string) (*Caller, error) {
	if i.config.Tokens == nil {
		return nil, nil
	}
	token, err := bearerToken(authorization)
	if err != nil {
		return nil, err
	}
	if token == "" {
		if i.config.RequireToken {
			return nil, refuse(Unauthenticated, "the request has no bearer token, which is required")
		}
		return nil, nil
	}
	c, err := i.config.Tokens.VerifyToken(ctx, token)
	switch {
	case errors.Is(err, ErrBadToken):
		return nil, &RefusedError{Unauthenticated, err}
	case err != nil:
		return nil, &RefusedError{Unavailable, fmt.Errorf("token: %w", err)}
	}
	return &c, nil
}

// bearerToken reads RFC 6750 §2.1. Another scheme is somebody else's business; two credentials are an attack.
func bearerToken(authorization []string) (string, error) {
	if len(authorization) > 1 {
		return "", refuse(Unauthenticated, "the request has %d credentials", len(authorization))
	}
	if len(authorization) == 0 {
		return "", nil
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	if token = strings.Trim(token, " "); token == "" {
		return "", refuse(Unauthenticated, "the bearer token is empty")
	}
	return token, nil
}

// open attaches a session. Verified lineage goes on in its own trace; without it the request's trace counts.
func (i *Ingress) open(ctx context.Context, r Request, p lineage.Passport) context.Context {
	if r.Carrier != nil && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, r.Carrier)
	}
	origin := i.config.Origin
	if p.Len() > 0 {
		origin = ""
		if id := p.Last().Entry().TraceID(); id != "" { // legacy principals may have none (SPEC §15)
			return WithSession(ctx, NewSession(p, id, origin))
		}
	}
	id := trace.SpanContextFromContext(ctx).TraceID()
	if !id.IsValid() {
		rand.Read(id[:]) // never fails (crypto/rand, Go 1.24)
	}
	return WithSession(ctx, NewSession(p, hex.EncodeToString(id[:]), origin))
}

// signedIdentity is the part of what the message claims that every tip of the verified lineage has signed; the rest
// is anybody's word.
func signedIdentity(p lineage.Passport, claimed Identity) Identity {
	if p.Len() == 0 || claimed == (Identity{}) {
		return Identity{}
	}
	for _, leaf := range p.Leaves() {
		var signed Identity
		if label, err := jcs.Parse([]byte(leaf.Entry().Labels[lineage.LabelIdentity]), jcs.Options{}); err == nil {
			text := func(name string) string {
				if v, _ := label.Get(name); v.Kind == jcs.String {
					return v.Text
				}
				return ""
			}
			signed = Identity{User: text("user"), Agent: text("agent"), Task: text("task")}
		}
		claimed = Identity{
			User: both(claimed.User, signed.User), Agent: both(claimed.Agent, signed.Agent), Task: both(claimed.Task, signed.Task),
		}
	}
	return claimed
}

func both(a, b string) string {
	if a == b {
		return a
	}
	return ""
}

// hookError is the class that the hook's error has, and Forbidden when it has none.
func hookError(err error) error {
	var classed interface{ RefusalClass() Class }
	if errors.As(err, &classed) {
		return err
	}
	return &RefusedError{Forbidden, fmt.Errorf("hook: %w", err)}
}

// Passport restores and verifies the lineage of one message without opening a session, for a consumer that brings
// several messages together: it joins each into one session. Hop proofs are not looked at. Messages have no peer, so
// an ingress with RequirePeer refuses them.
func (i *Ingress) Passport(ctx context.Context, carrier propagation.TextMapCarrier) (lineage.Passport, error) {
	limited, cancel := context.WithTimeout(ctx, i.config.Timeout)
	defer cancel()
	r := Request{Carrier: carrier}
	_, passport, err := i.lineage(limited, ctx, r)
	if err == nil {
		err = i.peer(passport, r)
	}
	if err != nil {
		return lineage.Passport{}, err
	}
	return passport, nil
}
