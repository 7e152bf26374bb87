package demo

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/fastverify"
	"github.com/kest-go/kest/identity/local"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy/rego"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/propagate/kesthttp"
	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/memory"
)

const (
	requestTimeout = 20 * time.Second
	stopTimeout    = 5 * time.Second
	maxHeader      = 64 << 10 // of all headers of a message, both ways
)

// service is one of the three: an identity, a guard, a verifier, an HTTP server and a client of its own.
type service struct {
	name, does string
	listener   propagate.Listener
	id         *local.Provider
	guard      *kest.Guard
	verifier   *lineage.Verifier
	mux        *http.ServeMux
	client     *http.Client
	log        *slog.Logger

	url    string
	server *http.Server
	served chan error
}

// system is the payment system. Every service knows the keys of all, which were exchanged as one JWKS document,
// and the authority policy.
type system struct {
	parts                  parts
	gateway, agent, ledger *service
	journal                *journal
	shop                   *shop
	keyText                []byte
	keys                   *lineage.KeySet
	authority              *lineage.Authority
	batch                  lineage.BatchVerifier
	store                  store.Store // stands in for the Redis or the database that services share
	propagator             *propagate.Propagator
	wire                   *wiretap // under the clients of all services
}

func (s *system) services() []*service { return []*service{s.gateway, s.agent, s.ledger} }

func newSystem(p parts, j *journal, log *slog.Logger) (*system, error) {
	engine, err := rego.Config{Logger: log}.FS(p.policies)
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	s := &system{
		parts:   p,
		gateway: &service{name: "gateway", does: "faces the internet", listener: propagate.Edge},
		agent:   &service{name: "agent", does: "reads messages; stands in for a language model", listener: propagate.Internal},
		ledger:  &service{name: "ledger", does: "moves the money", listener: propagate.Internal},
		journal: j, batch: fastverify.New(fastverify.Config{}), wire: &wiretap{base: newTransport()},
	}
	if s.store, err = memory.New(memory.Config{}); err != nil {
		return nil, err
	}
	if s.propagator, err = propagate.New(propagate.Config{Store: s.store}); err != nil {
		return nil, err
	}
	for _, v := range s.services() {
		v.mux, v.log = http.NewServeMux(), log.With("service", v.name)
		if v.id, err = local.New(local.Config{Name: v.name, Logger: v.log}); err != nil {
			return nil, err
		}
		v.guard, err = kest.New(kest.Config{Engine: engine, Identity: v.id, Sink: j, Logger: v.log})
		if err != nil {
			return nil, err
		}
	}
	if err := s.exchangeKeys(); err != nil {
		return nil, err
	}
	s.authority = authorityOf(s)
	for _, v := range s.services() {
		if v.verifier, err = lineage.NewVerifier(s.verifierConfig()); err != nil {
			return nil, err
		}
		if v.client, err = s.clientOf(v); err != nil {
			return nil, err
		}
	}
	s.shop, err = openShop(s)
	return s, err
}

// exchangeKeys makes the document that every service reads, and that the reader of the demo gets.
func (s *system) exchangeKeys() error {
	keys := map[string][]ed25519.PublicKey{}
	for _, v := range s.services() {
		keys[v.id.Principal()] = []ed25519.PublicKey{v.id.PublicKey()}
	}
	set, err := lineage.NewKeySet(keys)
	if err != nil {
		return err
	}
	if s.keyText, err = set.AppendJSON(nil); err != nil {
		return err
	}
	s.keys, err = lineage.ParseKeySet(s.keyText)
	return err
}

// authorityOf says what nobody else may do: only the gateway begins lineages and clears what the model said.
func authorityOf(s *system) *lineage.Authority {
	return &lineage.Authority{Grants: []lineage.Grant{{
		Principal:     s.gateway.id.Principal(),
		Originate:     []string{lineage.SourceInternal, lineage.SourceInternet},
		OverrideTrust: checkedTrust,
		RemoveTaints:  []string{taintModel},
	}}}
}

func (s *system) verifierConfig() lineage.VerifierConfig {
	return lineage.VerifierConfig{Keys: s.keys, Authority: s.authority, Batch: s.batch}
}

// clientOf makes a service's client: its requests carry lineage and a hop proof, and their answers bring lineage
// back. Nothing is allowed beyond loopback.
func (s *system) clientOf(v *service) (*http.Client, error) {
	egress, err := propagate.NewEgress(propagate.EgressConfig{
		Sealer: v.guard, Propagator: s.propagator, Hops: hopproof.Signer{}, Identity: v.id,
		Verifier: v.verifier, StrictReturn: true, Logger: v.log,
	})
	if err != nil {
		return nil, err
	}
	transport, err := kesthttp.NewTransport(kesthttp.TransportConfig{Egress: egress, Base: s.wire})
	return newClient(transport), err
}

// frontOf puts the middleware in front of a service that clients reach at authority.
func (s *system) frontOf(v *service, authority string) (http.Handler, error) {
	hops, err := hopproof.NewVerifier(hopproof.Config{Keys: s.keys, Store: s.store})
	if err != nil {
		return nil, err
	}
	c := propagate.IngressConfig{
		Listener: v.listener, Propagator: s.propagator, Verifier: v.verifier,
		Proofs: propagate.ProofRequire, Hops: hops, Authorities: []string{authority}, Logger: v.log,
	}
	if s.parts.ingress != nil {
		s.parts.ingress(&c)
	}
	ingress, err := propagate.NewIngress(c)
	if err != nil {
		return nil, err
	}
	front, err := kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: ingress})
	if err != nil {
		return nil, err
	}
	return front.Wrap(v.mux), nil
}

// nameOf is the service behind a principal.
func (s *system) nameOf(principal string) string {
	for _, v := range s.services() {
		if v.id.Principal() == principal {
			return v.name
		}
	}
	return principal
}

func (s *system) describe() []Service {
	var out []Service
	for _, v := range s.services() {
		out = append(out, Service{v.name, v.does, v.url, v.id.Principal(), lineage.Thumbprint(v.id.PublicKey())})
	}
	return out
}

// start opens the servers on loopback, at ports that the system chooses.
func (s *system) start(ctx context.Context) error {
	for _, v := range s.services() {
		if err := s.open(ctx, v); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", v.name, err), s.stop())
		}
	}
	return nil
}

func (s *system) open(ctx context.Context, v *service) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	front, err := s.frontOf(v, listener.Addr().String())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	v.url = "http://" + listener.Addr().String()
	v.server = &http.Server{
		Handler:           front,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: stopTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       requestTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(v.log.Handler(), slog.LevelWarn),
	}
	v.served = make(chan error, 1)
	go func() { v.served <- v.server.Serve(listener) }()
	return nil
}

// stop ends the servers and waits for them. It works also when ctx of start has ended.
func (s *system) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	s.wire.CloseIdleConnections() // first: a server waits for connections that clients hold open
	for _, v := range s.services() {
		if v.server == nil {
			continue
		}
		if err := v.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", v.name, errors.Join(err, v.server.Close())))
		}
		if err := <-v.served; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, fmt.Errorf("%s: %w", v.name, err))
		}
		v.server = nil
	}
	return errors.Join(errs...)
}
