package spiffe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// source gives the library the SVID and bundles of the moment. It is not part of Provider, so that the private key of the
// SVID cannot be had from one.
type source struct{ p *Provider }

// GetX509SVID returns no SVID that has ended or was taken away.
func (s source) GetX509SVID() (*x509svid.SVID, error) {
	if _, err := s.p.ring.Signer(context.Background()); errors.Is(err, identity.ErrRevoked) {
		return nil, err
	}
	f := s.p.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.svid == nil:
		return nil, identity.ErrNotReady
	case !time.Now().Before(f.svid.Certificates[0].NotAfter):
		return nil, fmt.Errorf("%w: the X.509-SVID of %s", identity.ErrExpired, f.svid.ID)
	}
	return f.svid, nil
}

func (s source) GetX509BundleForTrustDomain(domain spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	bundles := s.p.trust.bundles.Load()
	if bundles == nil {
		return nil, identity.ErrNotReady
	}
	return bundles.GetX509BundleForTrustDomain(domain)
}

// ServerTLS returns the configuration of a server that shows the workload's X.509-SVID and demands one of its clients,
// which authorizer must accept: [tlsconfig.AuthorizeMemberOf] a trust domain, or exact IDs. nil refuses everybody. It
// follows the rotation of SVIDs and bundles; connections that exist stay.
//
// protocols are those of ALPN; none means "h2" and "http/1.1", which suits net/http and gRPC.
func ServerTLS(p *Provider, authorizer tlsconfig.Authorizer, protocols ...string) *tls.Config {
	if len(protocols) == 0 {
		protocols = []string{"h2", "http/1.1"}
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: tlsconfig.GetCertificate(source{p}),
		NextProtos:     protocols,
		// crypto/tls verifies as well, against the union of the bundles, and puts the chain where PeerID looks for it. The
		// union alone would let one trust domain speak for another; verifyPeer is what decides.
		ClientAuth:       tls.RequireAndVerifyClientCert,
		ClientCAs:        x509.NewCertPool(), // nobody, where the hook below is lost
		VerifyConnection: verifyPeer(p, authorizer),
		// A resumed session would outlive the SVID of its client.
		SessionTicketsDisabled: true,
	}
	outer := config.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		bundles := p.trust.bundles.Load()
		if bundles == nil {
			return nil, identity.ErrNotReady
		}
		c := config.Clone()
		c.ClientCAs = x509.NewCertPool()
		for _, b := range bundles.Bundles() {
			for _, authority := range b.X509Authorities() {
				c.ClientCAs.AddCert(authority)
			}
		}
		return c, nil
	}
	return outer
}

// ClientTLS returns the configuration of a client that shows the workload's X.509-SVID and demands one of the server,
// which authorizer must accept. nil refuses everybody. Host names do not count: authorizer says who the server must be. It
// follows the rotation of SVIDs and bundles.
func ClientTLS(p *Provider, authorizer tlsconfig.Authorizer) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS12,
		GetClientCertificate: tlsconfig.GetClientCertificate(source{p}),
		InsecureSkipVerify:   true, //nolint:gosec // SVIDs have no host names; verifyPeer verifies the chain instead
		VerifyConnection:     verifyPeer(p, authorizer),
	}
}

// verifyPeer checks the peer's chain against the bundle of its own trust domain, in every handshake.
func verifyPeer(p *Provider, authorizer tlsconfig.Authorizer) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if authorizer == nil {
			return errors.New("spiffe: no authorizer, so nobody is accepted; give one to ServerTLS or ClientTLS")
		}
		id, chains, err := x509svid.Verify(state.PeerCertificates, source{p})
		if err != nil {
			return fmt.Errorf("spiffe: peer: %w", err)
		}
		if err := authorizer(id, chains); err != nil {
			return fmt.Errorf("spiffe: peer %s: %w", id, err)
		}
		return nil
	}
}

// PeerID returns the SPIFFE ID of the client of a connection that [ServerTLS] configured. It is an error when there is no
// client certificate, when it was not verified, and when it is no X.509-SVID of a workload. Behind another configuration
// it believes whatever that one's ClientCAs vouch for. The server of a client's connection has no ID here; the authorizer
// of [ClientTLS] has checked it.
func PeerID(state *tls.ConnectionState) (principal string, err error) {
	switch {
	case state == nil:
		return "", errors.New("spiffe: the connection is not TLS")
	case !state.HandshakeComplete || len(state.PeerCertificates) == 0:
		return "", errors.New("spiffe: the peer showed no certificate")
	case len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 || !state.VerifiedChains[0][0].Equal(state.PeerCertificates[0]):
		return "", errors.New("spiffe: the peer's certificate was not verified; use ServerTLS")
	}
	leaf := state.PeerCertificates[0]
	id, err := x509svid.IDFromCert(leaf) // one URI name (X509-SVID §2)
	if err != nil {
		return "", fmt.Errorf("spiffe: peer: %w", err)
	}
	if _, ok := lineage.SPIFFEDomain(id.String()); !ok || leaf.IsCA {
		return "", fmt.Errorf("spiffe: peer %s is not a workload", id)
	}
	return id.String(), nil
}
