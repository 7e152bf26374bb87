package spiffe_test

import (
	"context"
	"crypto/tls"
	"log"
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/spiffe"
)

// The production identity: what SPIRE's agent says that this workload is. It goes into the Identity of a guard's Config.
func ExampleNew() { //nolint:testableexamples // it needs an agent
	ctx := context.Background()
	workload, err := spiffe.New(ctx, spiffe.Config{SocketPath: "/run/spire/sockets/agent.sock"})
	if err != nil {
		log.Fatal(err) // no identity: nothing to start
	}
	defer workload.Close()

	var _ identity.Provider = workload
}

// A program that takes its identity from where it runs, with SPIFFE among the choices.
func ExampleOpen() { //nolint:testableexamples // it needs an agent
	probes := identity.StandardProbes()
	if err := identity.Link(probes, identity.SPIFFE, spiffe.Open(spiffe.Config{Wait: time.Minute})); err != nil {
		log.Fatal(err)
	}
	provider, findings, err := identity.Detect(context.Background(), identity.OSEnv(), probes...)
	if err != nil {
		log.Fatal(err, findings)
	}
	_ = provider
}

// A server that accepts members of its trust domain only, and knows each by its SPIFFE ID.
func ExampleServerTLS() { //nolint:testableexamples // it needs an agent
	workload, err := spiffe.New(context.Background(), spiffe.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer workload.Close()

	members := tlsconfig.AuthorizeMemberOf(spiffeid.RequireTrustDomainFromString("example.org"))
	listener, err := tls.Listen("tcp", ":8443", spiffe.ServerTLS(workload, members))
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		caller, err := spiffe.PeerID(r.TLS)
		log.Print(caller, err)
	})}
	log.Print(server.Serve(listener))
}
