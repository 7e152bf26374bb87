package demo

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/fastverify"
	"github.com/kest-go/kest/identity/local"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy/rego"
)

const (
	requestTimeout = 20 * time.Second
	stopTimeout    = 5 * time.Second
)

// service is one of the three: an identity, a guard, a verifier and an HTTP server of its own.
type service struct {
	name, does string
	public     bool // serves requests without lineage
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
	gateway, agent, ledger *service
	journal                *journal
	shop                   *shop
	keyText                []byte
	keys                   *lineage.KeySet
	authority              *lineage.Authority
	batch                  lineage.BatchVerifier
}

func (s *system) services() []*service { return []*service{s.gateway, s.agent, s.ledger} }

func newSystem(policies fs.FS, j *journal, log *slog.Logger) (*system, error) {
	engine, err := rego.Config{Logger: log}.FS(policies)
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	s := &system{
		gateway: &service{name: "gateway", does: "faces the internet", public: true},
		agent:   &service{name: "agent", does: "reads messages; stands in for a language model"},
		ledger:  &service{name: "ledger", does: "moves the money"},
		journal: j, batch: fastverify.New(fastverify.Config{}),
	}
	for _, v := range s.services() {
		if v.id, err = local.New(local.Config{Name: v.name, Logger: log}); err != nil {
			return nil, err
		}
		v.guard, err = kest.New(kest.Config{Engine: engine, Identity: v.id, Sink: j, Logger: log})
		if err != nil {
			return nil, err
		}
		v.mux, v.client, v.log = http.NewServeMux(), newClient(), log
	}
	if err := s.exchangeKeys(); err != nil {
		return nil, err
	}
	s.authority = authorityOf(s)
	for _, v := range s.services() {
		if v.verifier, err = lineage.NewVerifier(s.verifierConfig()); err != nil {
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

// newClient never follows a redirect and asks no proxy: a passport goes to the service that it is meant for.
func newClient() *http.Client {
	return &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: stopTimeout}).DialContext,
			MaxResponseHeaderBytes: maxHeader,
			ResponseHeaderTimeout:  requestTimeout,
			MaxIdleConnsPerHost:    4,
		},
	}
}

// start opens the servers on loopback, at ports that the system chooses.
func (s *system) start(ctx context.Context) error {
	for _, v := range s.services() {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", v.name, err), s.stop())
		}
		v.url = "http://" + listener.Addr().String()
		v.server = &http.Server{
			Handler:           v.mux,
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
	}
	return nil
}

// stop ends the servers and waits for them. It works also when ctx of start has ended.
func (s *system) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	for _, v := range s.services() { // all first: a server waits for connections that clients hold open
		v.client.CloseIdleConnections()
	}
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
