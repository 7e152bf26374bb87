package identity_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
)

// A target is a ledger at a socket.
type target struct {
	*service
	address string
	client  *http.Client
}

// newTarget runs a ledger; over mutual TLS when config is not nil.
func newTarget(t *testing.T, s setting, config *tls.Config) *target {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	s.listener, s.address, s.nonces = propagate.Internal, listener.Addr().String(), memoryStore(t)
	w := &target{service: newService(t, s), address: s.address, client: caller(t, nil)}
	serve(t, listener, w.ledger(), config)
	return w
}

// caller is an HTTP client that knows nothing of lineage. It makes a connection for each request.
func caller(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	base := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	t.Cleanup(base.CloseIdleConnections)
	return &http.Client{Transport: base, Timeout: 10 * time.Second}
}

// An attempt is a request that somebody made by hand.
type attempt struct {
	entries  []string
	bindings []string
	member   string         // of the baggage, in place of the one of bindings
	prover   lineage.Signer // of the hop proof; nil: there is none
	client   *http.Client   // nil: that of the target
}

func (a attempt) baggage(t *testing.T) string {
	t.Helper()
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	must(z.Write(must(json.Marshal(a.entries))(t)))(t)
	z.Close()
	encode := base64.RawURLEncoding.EncodeToString
	members := []string{
		propagate.KeyPassportZ + "=" + encode(packed.Bytes()),
		propagate.KeyChainTip + "=" + lineage.HashJWS(a.entries[len(a.entries)-1]).String(),
	}
	var offers []string
	for _, b := range a.bindings {
		offers = append(offers, encode([]byte(b)))
	}
	switch {
	case a.member != "":
		members = append(members, a.member)
	case offers != nil:
		members = append(members, propagate.KeyBinding+"="+strings.Join(offers, "."))
	}
	return strings.Join(members, ",")
}

// send returns the status of the answer.
func (a attempt) send(t *testing.T, to *target) int {
	t.Helper()
	client, scheme := to.client, "http"
	if a.client != nil {
		client, scheme = a.client, "https"
	}
	const body = "order"
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, scheme+"://"+to.address+"/book", strings.NewReader(body)))(t)
	digest := sha256.Sum256([]byte(body))
	r.Header.Set("Baggage", a.baggage(t))
	r.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest[:])+":")
	if a.prover != nil {
		input, signature, err := hopproof.Signer{}.SignHop(t.Context(), a.prover, propagate.HopRequest{
			Method: r.Method, Authority: to.address, Path: r.URL.Path,
			Fields: map[string][]string{"baggage": r.Header["Baggage"], "content-digest": r.Header["Content-Digest"]},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Signature-Input", input)
		r.Header.Set("Signature", signature)
	}
	resp := must(client.Do(r))(t)
	resp.Body.Close()
	return resp.StatusCode
}

// by is the attempt of whoever has a key: an entry and a hop proof, both by it.
func by(t *testing.T, signer lineage.Signer, bindings ...string) attempt {
	t.Helper()
	return attempt{entries: []string{entry(t, signer)}, bindings: bindings, prover: signer}
}

var entries atomic.Int64

// entry is by a signer: a root, or the child of others.
func entry(t *testing.T, signer lineage.Signer, parents ...lineage.Hash) string {
	t.Helper()
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "test"}, ID: fmt.Sprintf("0199f0a5-8a11-7c31-8000-%012x", entries.Add(1)),
		Operation: "gate.pay", Classification: "system", TrustScore: 100, TimestampMS: time.Now().UnixMilli(), Parents: parents,
		Labels: map[string]string{lineage.LabelPrincipal: signer.Principal(), lineage.LabelTraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
			lineage.LabelSourceType: lineage.SourceInternal},
	}
	return must(lineage.Sign(t.Context(), signer, e, lineage.Limits{}))(t).JWS()
}

// session is a key of an attacker's own that claims to be a principal's.
func session(t *testing.T, principal string) (ed25519.PublicKey, lineage.Signer) {
	t.Helper()
	public, signer, err := identity.NewSessionKey(principal)
	if err != nil {
		t.Fatal(err)
	}
	return public, signer
}

// certify binds a key by an X.509-SVID, for a time.
func certify(t *testing.T, ca *spiffetest.CA, leaf spiffetest.Leaf, key ed25519.PublicKey, from, to time.Time) string {
	t.Helper()
	chain, private := ca.Mint(leaf)
	return must(lineage.Certify(t.Context(), lineage.Statement{Principal: leaf.ID, Key: key, NotBefore: from, NotAfter: to},
		lineage.StatementKey{Public: private.Public(), Chain: chain, Sign: func(_ context.Context, input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			return private.Sign(rand.Reader, digest[:], crypto.SHA256)
		}}))(t).Text()
}

// document is a binding that no constructor would make.
func document(form lineage.BindingForm, principal string, key ed25519.PublicKey, proof string) string {
	return fmt.Sprintf(`{"form":%q,"key":%q,"principal":%q,"proof":%q,"schema":"kest-binding/1"}`,
		form, base64.RawURLEncoding.EncodeToString(key), principal, proof)
}

// statement is one that lineage.Certify would not sign.
func statement(t *testing.T, chain []*x509.Certificate, private crypto.Signer, principal string, key ed25519.PublicKey, from, to time.Time) string {
	t.Helper()
	var x5c []string
	for _, c := range chain {
		x5c = append(x5c, base64.StdEncoding.EncodeToString(c.Raw))
	}
	encode := base64.RawURLEncoding.EncodeToString
	header := must(json.Marshal(map[string]any{"alg": "ES256", "typ": "kest-key-statement+jws", "x5c": x5c}))(t)
	payload := must(json.Marshal(map[string]any{"cnf": map[string]string{"jkt": lineage.Thumbprint(key)}, "exp": to.Unix(), "nbf": from.Unix(), "sub": principal}))(t)
	input := encode(header) + "." + encode(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, private.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// A liar signs with a key of its own, under the name of another.
type liar struct {
	lineage.Signer
	keyID string
}

func (l liar) KeyID() string { return l.keyID }
