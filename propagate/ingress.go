package propagate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/kest-go/kest/lineage"
	"go.opentelemetry.io/otel/propagation"
)

// Listener says who can reach an ingress, and so what a request without lineage is.
type Listener int

// Listeners. The zero value is none, so that nobody serves the one and means the other.
const (
	// Edge faces clients that have no lineage: a request without one begins one, of the source type Origin.
	Edge Listener = iota + 1
	// Internal is reached by workloads of the system only: a request without lineage is refused, because whoever
	// leaves it out would get rid of its taints.
	Internal
)

// IngressConfig configures an [Ingress].
type IngressConfig struct {
	// Listener is required: [Edge] or [Internal].
	Listener Listener
	// LineageOptional lets an Internal listener serve requests without lineage as an Edge does, while services are
	// moved one by one.
	LineageOptional bool
	// Origin is the source type of roots that begin here: none of them is better (SPEC §6). "" means "internet".
	Origin string

	// Propagator reads the lineage; nil means one with the zero [Config].
	Propagator *Propagator
	// Verifier is required, unless InsecureIgnoreLineage is set. One verifier should serve the whole process.
	Verifier *lineage.Verifier
	// InsecureIgnoreLineage runs without verification, for development: whatever lineage comes is dropped, and every
	// request begins one as Origin. It warns. Only an Edge can do that.
	InsecureIgnoreLineage bool

	// Proofs says what to do about hop proofs; Hops checks them, and is required unless Proofs is [ProofOff].
	Proofs ProofMode
	Hops   HopVerifier
	// Authorities are the names, host[:port], under which clients address this service. They are required with Hops:
	// a proof made for another service does not count here.
	Authorities []string

	// RequirePeer demands that whoever signed the tip is the peer of the connection, as mutual TLS shows it; transports
	// say who that is ([Request].Peer), and lineage on a connection that shows nobody is refused. Requests without lineage
	// are what Listener says. Behind a proxy that ends TLS the peer is the proxy, so hop proofs are the way there. It may
	// stand beside Proofs.
	RequirePeer bool

	// Tokens checks bearer tokens. nil: requests with one are served as if they had none.
	Tokens TokenVerifier
	// RequireToken refuses requests without a token.
	RequireToken bool

	// Hook runs last, with the session in the context and the verified lineage, and may refuse the request or add to
	// the context (SPEC §8.5).
	Hook func(ctx context.Context, verified lineage.Passport) (context.Context, error)

	// Timeout bounds everything that happens before the hook; 0 means 5 s.
	Timeout time.Duration
	// Logger gets one line for each refused request; nil means slog.Default.
	Logger *slog.Logger
}

const defaultIngressTimeout = 5 * time.Second

// An Ingress admits requests: it restores and verifies their lineage, checks the hop proof and the credential, and
// opens a session (SPEC §9). It is safe for concurrent use. propagate/kesthttp and propagate/kestgrpc put it in front
// of servers; consumers of queues call [Ingress.Admit] themselves.
type Ingress struct{ config IngressConfig }

// NewIngress checks the configuration and reports everything that is wrong with it.
func NewIngress(c IngressConfig) (*Ingress, error) {
	if c.Origin == "" {
		c.Origin = lineage.SourceInternet
	}
	if c.Timeout == 0 {
		c.Timeout = defaultIngressTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Authorities = slices.Clone(c.Authorities)
	for i, a := range c.Authorities {
		c.Authorities[i] = normalAuthority(a)
	}
	problems := c.problems()
	if c.Propagator == nil {
		var err error
		if c.Propagator, err = New(Config{}); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if c.InsecureIgnoreLineage {
		c.Logger.Warn("INGRESS DOES NOT VERIFY LINEAGE: whatever arrives is dropped; use it for development only",
			"fix", "set IngressConfig.Verifier")
	}
	return &Ingress{c}, nil
}

func (c *IngressConfig) problems() []error {
	var out []error
	problem := func(wrong bool, text string) {
		if wrong {
			out = append(out, errors.New("ingress: "+text))
		}
	}
	problem(c.Listener != Edge && c.Listener != Internal, "Listener is required: Edge or Internal")
	problem(c.LineageOptional && c.Listener != Internal, "LineageOptional is for an Internal listener")
	problem(c.Verifier == nil && !c.InsecureIgnoreLineage, "Verifier is nil; make one with lineage.NewVerifier, or set InsecureIgnoreLineage")
	problem(c.Verifier != nil && c.InsecureIgnoreLineage, "Verifier and InsecureIgnoreLineage exclude each other")
	problem(c.InsecureIgnoreLineage && c.Listener == Internal, "InsecureIgnoreLineage is for an Edge; an Internal listener lives by its lineage")
	problem(c.Proofs < ProofOff || c.Proofs > ProofRequire, "Proofs is not a mode")
	problem(c.Proofs != ProofOff && c.Hops == nil, "Hops is nil, which Proofs needs; make one with hopproof.NewVerifier")
	problem(c.Proofs != ProofOff && c.InsecureIgnoreLineage, "Proofs need verified lineage, which InsecureIgnoreLineage drops")
	problem(c.Proofs != ProofOff && len(c.Authorities) == 0, "Authorities is empty; name the hosts under which clients address this service")
	problem(slices.Contains(c.Authorities, ""), "Authorities has an empty name")
	problem(c.RequirePeer && c.InsecureIgnoreLineage, "RequirePeer needs verified lineage, which InsecureIgnoreLineage drops")
	problem(c.RequireToken && c.Tokens == nil, "RequireToken needs Tokens")
	problem(c.Timeout < 0, "Timeout is negative")
	return out
}

// RequiresPeer reports whether the ingress asks transports who the peer of a connection is.
func (i *Ingress) RequiresPeer() bool { return i.config.RequirePeer }

// A Request is what an [Ingress] looks at.
type Request struct {
	// Carrier holds the baggage, and traceparent when no span was begun for the request. nil: what
	// [Propagator.Extract] read into the context before.
	Carrier propagation.TextMapCarrier
	// Authorization holds the values of the field of that name.
	Authorization []string
	// Peer is the principal at the other end of the connection as mutual TLS has shown it, "" when it has not. PeerErr is
	// why not, for the log.
	Peer    string
	PeerErr error
	// Hop is what a hop proof covers; nil where there are none, as in queues.
	Hop *HopRequest
}

// Admission says what an admitted request brought.
type Admission struct {
	Lineage lineage.Passport // verified; empty when none came
	Proven  bool             // a hop proof that holds: the fields that it covers are as they were sent
}

// Admit restores, verifies and attaches: the context that it returns has a session that begins with the verified
// lineage of the request, and its verified identity. An error is a *[RefusedError], was logged, and means that the
// request must not be served; every guarded call under the returned context is refused, too.
func (i *Ingress) Admit(ctx context.Context, r Request) (context.Context, Admission, error) {
	out, admission, err := i.admit(ctx, r)
	if err == nil {
		return out, admission, nil
	}
	err = i.Refuse(ctx, err)
	return Refuse(withForeign(ctx, nil), err), Admission{}, err
}

// Refuse logs that a request is not served and returns the *[RefusedError] that says why: err, or one of its class. It
// is for what a transport finds wrong with a request that was admitted.
func (i *Ingress) Refuse(ctx context.Context, err error) error {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		refused = &RefusedError{Class: ClassOf(err), Err: err}
	}
	i.config.Logger.WarnContext(ctx, "kest: request refused", "status", refused.Class.Status(), "class", refused.Class.Title(),
		"reason", refused.Err)
	return refused
}

func (i *Ingress) admit(ctx context.Context, r Request) (context.Context, Admission, error) {
	limited, cancel := context.WithTimeout(ctx, i.config.Timeout)
	defer cancel()
	arrival, passport, err := i.lineage(limited, ctx, r)
	if err != nil {
		return nil, Admission{}, err
	}
	admission := Admission{Lineage: passport}
	if err := i.peer(passport, r); err != nil { // before the proof, so that its nonce is not used up
		return nil, Admission{}, err
	}
	// The proof may be by a newer key than the tip.
	if admission.Proven, err = i.prove(offering(limited, arrival.offers), passport, r.Hop); err != nil {
		return nil, Admission{}, err
	}
	caller, err := i.caller(limited, r.Authorization)
	if err != nil {
		return nil, Admission{}, err
	}
	ctx = i.open(withForeign(ctx, arrival.foreign), r, passport)
	if caller != nil {
		ctx = WithCaller(ctx, *caller)
	} else if id := signedIdentity(passport, arrival.Claimed); id != (Identity{}) && IdentityFrom(ctx) == (Identity{}) {
		ctx = WithIdentity(ctx, id)
	}
	if i.config.Hook != nil {
		if ctx, err = i.config.Hook(ctx, passport); err != nil {
			return nil, Admission{}, hookError(err)
		}
		if ctx == nil || SessionFrom(ctx) == nil {
			return nil, Admission{}, refuse(Fault, "the context of the hook has no session; it must come from the one that the hook got")
		}
	}
	return ctx, admission, nil
}
