package spiffe

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// feed is what the watch of the workload's SVIDs says. It implements the library's watcher.
type feed struct {
	agent *agent
	ring  *identity.Keyring
	trust *trust
	wake  chan struct{} // holds one

	mu      sync.Mutex
	fresh   *workloadapi.X509Context // not certified with yet
	svid    *x509svid.SVID           // certified with last
	denied  error                    // matches ErrRevoked: the agent's last word was that there is no identity
	trouble error                    // the last failure of the watch
}

// OnX509ContextUpdate takes an update over. An agent that comes back repeats what it said; that is no reason for a new
// key.
func (f *feed) OnX509ContextUpdate(x *workloadapi.X509Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	repeated := f.denied == nil && f.svid != nil && slices.ContainsFunc(x.SVIDs, func(s *x509svid.SVID) bool {
		return slices.EqualFunc(s.Certificates, f.svid.Certificates, (*x509.Certificate).Equal)
	})
	if f.accept(x) && !repeated {
		f.fresh = x
		f.rouse()
	}
}

// accept believes the agent's latest word. A workload stays who it is: when the agent names others only, the identity is
// gone.
func (f *feed) accept(x *workloadapi.X509Context) bool {
	f.trust.setX509(x.Bundles)
	f.trouble = nil
	if b := f.ring.Binding(""); b != nil && find(x.SVIDs, b.Principal()) == nil {
		f.deny(fmt.Errorf("%w: %s does not name %s any more, but %s", identity.ErrRevoked, f.agent.endpoint, b.Principal(), names(x.SVIDs)))
		return false
	}
	f.denied = nil
	return true
}

// OnX509ContextWatchError takes the keys away when the agent says that the workload has no identity. Any other failure
// leaves them until their end: the agent restarts, or somebody cut the connection.
func (f *feed) OnX509ContextWatchError(err error) {
	if f.agent.ctx.Err() != nil {
		return
	}
	err = f.agent.fault(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(err, identity.ErrRevoked) {
		f.deny(err)
		return
	}
	f.trouble = err
}

// deny takes every key away at once, and one that is being made (see [identity.Keyring.Revoke]). Keep is roused to log it.
func (f *feed) deny(err error) {
	f.denied, f.fresh = err, nil
	f.ring.Revoke(err)
	f.rouse()
}

func (f *feed) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feed) problem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

// take returns what the watch brought, or why there is nothing. nil means that it brought nothing new.
func (f *feed) take() (*workloadapi.X509Context, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.wake: // this is the answer to it
	default:
	}
	x := f.fresh
	f.fresh = nil
	return x, f.denied
}

// fetchTimeout bounds one question to the agent.
const fetchTimeout = 5 * time.Second

// next returns what the watch brought or, when it is time for a new key and the watch is silent, what the agent answers
// on a new stream: a watch that hangs cannot be told from an agent that has nothing new.
func (f *feed) next(ctx context.Context) (*workloadapi.X509Context, error) {
	x, err := f.take()
	if x != nil || err != nil {
		return x, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	x, err = f.agent.FetchX509Context(ctx)
	if err != nil {
		return nil, f.agent.fault(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.denied != nil {
		return nil, f.denied
	}
	if f.fresh != nil { // the watch was faster, and is later than the answer
		x, f.fresh = f.fresh, nil
		return x, nil
	}
	if !f.accept(x) {
		return nil, f.denied
	}
	return x, nil
}

// use makes s the SVID of TLS connections.
func (f *feed) use(s *x509svid.SVID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.svid = s
}

// issue makes a session key and has it certified. What it returns was verified as others will verify it, against the
// bundles that the agent itself gives: an SVID that proves nothing to others is refused here, with the reason.
func (p *Provider) issue(ctx context.Context) (identity.Credential, error) {
	var none identity.Credential
	x, err := p.feed.next(ctx)
	if err != nil {
		return none, err
	}
	svid, err := p.choose(x.SVIDs)
	if err != nil {
		return none, err
	}
	public, signer, err := identity.NewSessionKey(svid.ID.String())
	if err != nil {
		return none, err
	}
	roots, token := p.trust.roots.Load(), "" // of x, or later
	if p.config.Form == lineage.FormJWT {
		if token, roots, err = p.fetchJWT(ctx, svid.ID, signer.KeyID()); err != nil {
			return none, err
		}
	}
	now := time.Now()
	var binding *lineage.KeyBinding
	if p.config.Form == lineage.FormJWT {
		binding, err = lineage.CertifyToken(lineage.FormJWT, svid.ID.String(), public, token)
	} else {
		binding, err = certifyX509(ctx, svid, public, now)
	}
	var bound *lineage.BoundKey
	if err == nil {
		bound, err = binding.Verify(now, 0, roots)
	}
	if err != nil {
		return none, fmt.Errorf("%s gave an SVID for %s that cannot be used: %w", p.agent.endpoint, svid.ID, err)
	}
	p.feed.use(svid)
	return identity.Credential{
		Signer: signer, Binding: binding, NotAfter: bound.NotAfter, // the end of every certificate, up to the root
	}, nil
}

// choose returns the SVID of the principal that New was asked for, or that it started with.
func (p *Provider) choose(svids []*x509svid.SVID) (*x509svid.SVID, error) {
	want := p.config.Principal
	if b := p.ring.Binding(""); b != nil {
		want = b.Principal()
	}
	if want == "" {
		return svids[0], nil // there is one: the library refuses an empty answer
	}
	if s := find(svids, want); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%s does not name %s, but %s; is there a registration entry for it?", p.agent.endpoint, want, names(svids))
}

func find(svids []*x509svid.SVID, principal string) *x509svid.SVID {
	for _, s := range svids {
		if s.ID.String() == principal {
			return s
		}
	}
	return nil
}

func names(svids []*x509svid.SVID) string {
	var all []string
	for _, s := range svids {
		all = append(all, s.ID.String())
	}
	return clip(strings.Join(all, ", "))
}

// certifyX509 has the SVID's key sign a statement that ends no later than its certificates.
func certifyX509(ctx context.Context, svid *x509svid.SVID, public ed25519.PublicKey, now time.Time) (*lineage.KeyBinding, error) {
	begin, end := now.Truncate(time.Second), now.Add(min(identity.MaxSession, lineage.MaxStatement))
	for _, c := range svid.Certificates {
		if now.Before(c.NotBefore) || !now.Before(c.NotAfter) {
			return nil, fmt.Errorf("a certificate in it holds from %s to %s only; compare the clocks",
				c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
		}
		end = earlier(end, c.NotAfter)
	}
	statement := lineage.Statement{Principal: svid.ID.String(), Key: public, NotBefore: begin, NotAfter: end.Truncate(time.Second)}
	return lineage.Certify(ctx, statement, lineage.StatementKey{
		Public: svid.Certificates[0].PublicKey, Chain: svid.Certificates,
		Sign: func(_ context.Context, input []byte) ([]byte, error) { return sign(svid.PrivateKey, input) },
	})
}

// sign hashes as the JWS algorithm of the key wants it (RFC 7518 §3.3, §3.4, RFC 8037 §3.1).
func sign(key crypto.Signer, input []byte) ([]byte, error) {
	hash := crypto.SHA256
	switch k := key.Public().(type) {
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 384:
			hash = crypto.SHA384
		case 521:
			hash = crypto.SHA512
		}
	case ed25519.PublicKey:
		return key.Sign(rand.Reader, input, crypto.Hash(0))
	}
	h := hash.New()
	h.Write(input)
	return key.Sign(rand.Reader, h.Sum(nil), hash)
}

// fetchJWT asks the agent for a token about the session key, and for the keys of today that verify it.
func (p *Provider) fetchJWT(ctx context.Context, id spiffeid.ID, keyID string) (string, *lineage.Roots, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	token, err := p.agent.FetchJWTSVID(ctx, jwtsvid.Params{Audience: lineage.BindingAudience(keyID), Subject: id})
	if err != nil {
		return "", nil, p.agent.fault(err)
	}
	bundles, err := p.agent.FetchJWTBundles(ctx)
	if err != nil {
		return "", nil, p.agent.fault(err)
	}
	p.trust.offerJWT(bundles)
	return token.Marshal(), rootsOf(nil, bundles, slog.New(slog.DiscardHandler)), nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
