package spiffe_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"google.golang.org/grpc/credentials"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
)

var member = tlsconfig.AuthorizeMemberOf(spiffeid.RequireTrustDomainFromString("example.org"))

// serveID is an HTTPS server that answers with the PeerID of its client.
func serveID(t *testing.T, config *tls.Config) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := spiffe.PeerID(r.TLS)
		fmt.Fprint(w, id, err, " ", r.Proto)
	}))
	server.TLS = config
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// get asks over a new connection.
func get(server *httptest.Server, config *tls.Config) (string, error) {
	transport := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(server.URL)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// TestMutualTLS: two workloads, rotating each on its own, over HTTP/2.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca := spiffetest.NewCA("example.org")
	one := spiffetest.Start(t, spiffetest.Config{CA: ca, IDs: []string{"spiffe://example.org/one"}})
	two := spiffetest.Start(t, spiffetest.Config{CA: ca, IDs: []string{"spiffe://example.org/two"}})
	client, callee := start(t, one, spiffe.Config{}), start(t, two, spiffe.Config{})
	server := serveID(t, spiffe.ServerTLS(callee, member))
	config := spiffe.ClientTLS(client, tlsconfig.AuthorizeID(spiffeid.RequireFromString("spiffe://example.org/two")))
	for range 3 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if got, err := get(server, config); err != nil || got != "spiffe://example.org/one<nil> HTTP/2.0" {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		wg.Wait()
		newKey(t, client, one.Rotate)
		newKey(t, callee, func() {
			ca.Rotate() // the callee learns of it first
			two.Rotate()
		})
		before := rootsOf(t, client)
		one.Update()
		eventually(t, "the new authority in the client's bundle", func() bool { return rootsOf(t, client) != before })
	}
	two.Revoke()
	eventually(t, "refused after revocation", func() bool { _, err := get(server, config); return err != nil })
}

// TestRefusedPeers: each is refused by the side that should, whatever the other one thinks.
func TestRefusedPeers(t *testing.T) {
	t.Parallel()
	ca, partner := spiffetest.NewCA("example.org"), spiffetest.NewCA("partner.example")
	ours := spiffetest.Start(t, spiffetest.Config{CA: ca, Federated: []*spiffetest.CA{partner}})
	theirs := spiffetest.Start(t, spiffetest.Config{CA: partner, Federated: []*spiffetest.CA{ca}})
	us, them := start(t, ours, spiffe.Config{}), start(t, theirs, spiffe.Config{})
	federated := serveID(t, spiffe.ServerTLS(us, tlsconfig.AuthorizeAny()))
	if got, err := get(federated, spiffe.ClientTLS(them, member)); err != nil || got != "spiffe://partner.example/workload<nil> HTTP/2.0" {
		t.Errorf("a federated client: %q, %v", got, err)
	}

	// An authority of a federated domain that speaks for ours.
	chain, key := partner.Mint(spiffetest.Leaf{ID: workload})
	impostor := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{{PrivateKey: key, Certificate: [][]byte{chain[0].Raw, chain[1].Raw}}}}
	expired, key := ca.Mint(spiffetest.Leaf{ID: workload, Change: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }})
	late := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{{PrivateKey: key, Certificate: [][]byte{expired[0].Raw, expired[1].Raw}}}}
	stranger := start(t, spiffetest.Start(t, spiffetest.Config{}), spiffe.Config{}) // a false example.org

	for name, test := range map[string]struct{ server, client *tls.Config }{
		"client of another domain":       {spiffe.ServerTLS(us, member), spiffe.ClientTLS(them, tlsconfig.AuthorizeAny())},
		"server of another domain":       {spiffe.ServerTLS(them, tlsconfig.AuthorizeAny()), spiffe.ClientTLS(us, member)},
		"client without a certificate":   {spiffe.ServerTLS(us, tlsconfig.AuthorizeAny()), &tls.Config{InsecureSkipVerify: true}},
		"client of a false authority":    {spiffe.ServerTLS(us, tlsconfig.AuthorizeAny()), spiffe.ClientTLS(stranger, tlsconfig.AuthorizeAny())},
		"federated authority's impostor": {spiffe.ServerTLS(us, tlsconfig.AuthorizeAny()), impostor},
		"expired client":                 {spiffe.ServerTLS(us, tlsconfig.AuthorizeAny()), late},
		"server without an authorizer":   {spiffe.ServerTLS(us, nil), spiffe.ClientTLS(us, member)},
		"client without an authorizer":   {spiffe.ServerTLS(us, member), spiffe.ClientTLS(us, nil)},
		"another exact ID": {spiffe.ServerTLS(us, tlsconfig.AuthorizeID(spiffeid.RequireFromString("spiffe://example.org/other"))),
			spiffe.ClientTLS(us, member)},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := get(serveID(t, test.server), test.client); err == nil {
				t.Errorf("accepted as %q", got)
			}
		})
	}
}

// TestNothingIsResumed: a session must not outlive the SVID that it began with.
func TestNothingIsResumed(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	p := start(t, s, spiffe.Config{})
	server := serveID(t, spiffe.ServerTLS(p, member, "http/1.1"))
	config := spiffe.ClientTLS(p, member)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	for range 3 {
		conn, err := tls.Dial("tcp", server.Listener.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
		if _, err := io.ReadAll(conn); err != nil { // tickets come with the answer
			t.Error(err)
		}
		if conn.ConnectionState().DidResume {
			t.Error("resumed")
		}
		conn.Close()
	}
}

// TestExpiredSVIDIsNotShown: with tokens, the session key may hold when the X.509-SVID does not.
func TestExpiredSVIDIsNotShown(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{Lifetime: 2 * time.Second})
	p := start(t, s, spiffe.Config{Form: lineage.FormJWT})
	get := spiffe.ServerTLS(p, member).GetCertificate
	if _, err := get(nil); err != nil {
		t.Fatal(err)
	}
	s.Hang(true)
	eventually(t, "expired", func() bool { _, err := get(nil); return errors.Is(err, identity.ErrExpired) })
	if _, err := p.Signer(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestTLSWithGRPC: gRPC insists on ALPN, and clones the configuration.
func TestTLSWithGRPC(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	p := start(t, s, spiffe.Config{})
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	id := make(chan string, 1)
	go func() {
		_, info, err := credentials.NewTLS(spiffe.ServerTLS(p, member)).ServerHandshake(b)
		if err != nil {
			id <- err.Error()
			return
		}
		state := info.(credentials.TLSInfo).State
		peer, err := spiffe.PeerID(&state)
		id <- fmt.Sprint(peer, err)
	}()
	_, _, err := credentials.NewTLS(spiffe.ClientTLS(p, member)).ClientHandshake(context.Background(), "anything", a)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-id; got != workload+"<nil>" {
		t.Error(got)
	}
}

// TestPeerIDRefuses: what was not verified has no name.
func TestPeerIDRefuses(t *testing.T) {
	t.Parallel()
	ca := spiffetest.NewCA("example.org")
	good, _ := ca.Mint(spiffetest.Leaf{ID: workload})
	other, _ := ca.Mint(spiffetest.Leaf{ID: "spiffe://example.org/other"})
	two, _ := ca.Mint(spiffetest.Leaf{ID: workload, Change: func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }})
	none, _ := ca.Mint(spiffetest.Leaf{})
	bare, _ := ca.Mint(spiffetest.Leaf{ID: "spiffe://example.org"})
	state := func(chain, verified []*x509.Certificate) *tls.ConnectionState {
		return &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{verified}}
	}
	if id, err := spiffe.PeerID(state(good, good)); id != workload || err != nil {
		t.Fatal(id, err)
	}
	unfinished := state(good, good)
	unfinished.HandshakeComplete = false
	for name, s := range map[string]*tls.ConnectionState{
		"no TLS": nil, "empty": {}, "no certificate": state(nil, good), "unfinished": unfinished,
		"not verified":    {HandshakeComplete: true, PeerCertificates: good},
		"empty chain":     state(good, nil),
		"another's chain": state(good, other),
		"two URIs":        state(two, two),
		"no URI":          state(none, none),
		"no path":         state(bare, bare),
		"an authority":    state(good[1:], good[1:]),
	} {
		if id, err := spiffe.PeerID(s); id != "" || err == nil {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
}
