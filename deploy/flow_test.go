package deploy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/deploy"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/propagate/kesthttp"
)

// service is a deployment of a workload of one trust domain, whose store is in SQLite.
func service(t *testing.T, ca *spiffetest.CA, dir, name, more string) *deploy.Deployment {
	t.Helper()
	agent := spiffetest.Start(t, spiffetest.Config{CA: ca, IDs: []string{"spiffe://example.org/" + name}})
	path := filepath.Join(dir, name+".yaml")
	write(t, path, "policies: {enterprise: [org/base], timeout: 20s}\nengine: {rego: {dir: policies}}\nidentity: {spiffe: {socket_path: '"+agent.Addr()+"', wait: 1m}}\n"+
		"store: {sql: {dialect: sqlite, dsn: {env: DSN}}}\n"+more)
	return open(t, deploy.Config{File: path, Environ: []string{"DSN=file:" + dir + "/kest.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"}})
}

// TestFlow: two files make two services. The ledger serves who proves their lineage, and the shop learns what it did.
func TestFlow(t *testing.T) {
	t.Parallel()
	dir, ca := folder(t, regoFiles()), spiffetest.NewCA("example.org")
	ledger := service(t, ca, dir, "ledger", "ingress: {listener: internal, proofs: require, authorities: [ledger.test]}\n"+
		"authority: {grants: [{principal: spiffe://example.org/shop, root_trust: 100}]}\n")
	shop := service(t, ca, dir, "shop", "egress: {allow: [ledger.test], proofs: true, strict_return: true}\n")
	silent := service(t, ca, dir, "silent", "egress: {allow: [ledger.test]}\n")
	other := service(t, ca, dir, "other", "egress: {allow: [ledger.test], proofs: true}\n")

	front := must(kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: ledger.Ingress, Peer: ledger.Peer}))(t)
	book := wrap(t, ledger, "ledger.book")
	server := httptest.NewServer(front.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := book(r.Context(), struct{}{})
		if err != nil {
			kesthttp.WriteError(w, err)
			return
		}
		fmt.Fprint(w, e.Principal())
	})))
	defer server.Close()

	call := func(from *deploy.Deployment) (string, int) {
		transport := must(kesthttp.NewTransport(kesthttp.TransportConfig{Egress: from.Egress, Base: through(server.Listener.Addr().String())}))(t)
		defer transport.CloseIdleConnections()
		ctx, session := kest.StartSession(t.Context())
		run := must(kest.Verified(from.Guard, func(ctx context.Context, _ struct{}) (string, error) {
			resp, err := (&http.Client{Transport: transport}).Do(must(http.NewRequestWithContext(ctx, http.MethodPost, "http://ledger.test/", http.NoBody))(t))
			if err != nil {
				return "", err
			}
			defer resp.Body.Close()
			answer := must(io.ReadAll(resp.Body))(t)
			return fmt.Sprint(resp.StatusCode, " ", string(answer)), nil
		}, kest.Operation("shop.pay"), kest.Policy("kest/allow_trusted")))(t)
		answer, err := run(ctx, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		return answer, session.Passport().Len()
	}
	signer := must(shop.Identity.Signer(t.Context()))(t)
	if _, err := ledger.Store.Get(t.Context(), binding.Prefix+signer.KeyID()); err != nil {
		t.Errorf("the shop's key binding is not in the store: %v", err)
	}
	if answer, n := call(shop); answer != "200 spiffe://example.org/ledger" || n != 2 {
		t.Errorf("%q, and %d entries came back", answer, n)
	}
	for name, from := range map[string]*deploy.Deployment{"without proofs": silent, "without the authority": other} {
		if answer, _ := call(from); !strings.HasPrefix(answer, "403 ") {
			t.Errorf("%s: %q", name, answer)
		}
	}
}

// through is a transport that finds every host at one address.
func through(address string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}
