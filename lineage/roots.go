package lineage

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// RootsConfig says who may certify session keys, and for whom.
type RootsConfig struct {
	// Domains are SPIFFE trust domains by name: each may certify every workload in it.
	Domains map[string]DomainRoots
	// Issuers are OpenID providers by issuer URL.
	Issuers map[string]IssuerRoots
	KMS     []KMSRoot
	// Self names principals whose session key may speak for itself, exactly or by a prefix that ends in "*". It proves
	// nothing about them.
	Self []string
}

// DomainRoots are the authorities of one SPIFFE trust domain.
type DomainRoots struct {
	X509 []*x509.Certificate // CA certificates
	JWT  []RootKey           // of JWT-SVIDs
}

// IssuerRoots are the keys of one OpenID provider. Principals names whom they may certify, as [OIDCPrincipal] writes
// them, exactly or by a prefix that ends in "*". It is required: a public provider issues tokens to anybody.
type IssuerRoots struct {
	Keys       []RootKey
	Principals []string
}

// A KMSRoot is a key in a key management service, by its id there, and whom it may certify.
type KMSRoot struct {
	Key        RootKey
	Principals []string
}

// A RootKey is one public key of an authority.
type RootKey struct {
	ID        string // JWS "kid"
	Algorithm string // JWS "alg"; "" means any that suits the key
	Public    crypto.PublicKey
}

// Sizes of RSA keys in bits: fewer are too weak (NIST SP 800-131A), more would take too long.
const minRSA, maxRSA = 2048, 8192

func (k RootKey) check() error {
	a, known := algorithms[k.Algorithm]
	if k.Algorithm != "" && !known {
		return fmt.Errorf("alg %q is not one that signs bindings", clip(k.Algorithm))
	}
	var family string
	var curve elliptic.Curve
	switch key := k.Public.(type) {
	case *rsa.PublicKey:
		if key == nil || key.N == nil || key.E < 3 {
			return errors.New("RSA key without modulus or exponent")
		}
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("RSA key of %d bits; want %d to %d", bits, minRSA, maxRSA)
		}
		if a.family == "RSA-PSS" {
			family = a.family
		} else {
			family = "RSA"
		}
	case *ecdsa.PublicKey:
		if key == nil || algorithmOf(key) == "" {
			return errors.New("EC key on a curve other than P-256, P-384 and P-521")
		}
		if _, err := key.Bytes(); err != nil {
			return errors.New("EC key that is not a point on its curve")
		}
		family, curve = "EC", key.Curve
	case ed25519.PublicKey:
		if family = "Ed25519"; CheckKey(key) != nil {
			return CheckKey(key)
		}
	default:
		return fmt.Errorf("a key of type %T cannot sign bindings", k.Public)
	}
	if known && (a.family != family || a.curve != curve) {
		return fmt.Errorf("alg %s does not suit a key of type %s", k.Algorithm, family)
	}
	return nil
}

// Roots are the authorities that bindings are checked against: all that an auditor must believe. They are immutable
// and safe for concurrent use. The zero value, and nil, believe nobody.
type Roots struct {
	config  RootsConfig              // but for Issuers
	issuers map[string][]IssuerRoots // what several roots say of one issuer stays apart: keys of one certify no principal of another
	domains map[string]*domain
}

type domain struct {
	config DomainRoots
	pool   *x509.CertPool // nil when there is no certificate
}

// NewRoots checks the configuration and reports everything that is wrong with it.
func NewRoots(c RootsConfig) (*Roots, error) {
	issuers := map[string][]IssuerRoots{}
	for name, i := range c.Issuers {
		issuers[name] = addIssuer(nil, i)
	}
	return newRoots(c.clone(), issuers)
}

func newRoots(c RootsConfig, issuers map[string][]IssuerRoots) (*Roots, error) {
	r := &Roots{config: c, issuers: issuers, domains: map[string]*domain{}}
	var problems []error
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("roots: "+format, args...))
	}
	keys := func(where string, list []RootKey) {
		for _, k := range list {
			if k.ID == "" || len(k.ID) > maxKeyID {
				problem("%s: a key with an id of %d bytes; want 1 to %d", where, len(k.ID), maxKeyID)
			}
			if err := k.check(); err != nil {
				problem("%s: key %q: %w", where, clip(k.ID), err)
			}
		}
	}
	patterns := func(where string, list []string) {
		for _, p := range list {
			if prefix := strings.TrimSuffix(p, "*"); prefix == "" || strings.Contains(prefix, "*") {
				problem(`%s: principal %q; use an exact id or a prefix ending in "*"`, where, clip(p))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.config.Domains)) {
		d, where := r.config.Domains[name], fmt.Sprintf("trust domain %q", clip(name))
		if got, ok := SPIFFEDomain("spiffe://" + name + "/x"); !ok || got != name {
			problem("%s: not the name of a trust domain", where)
		}
		r.domains[name] = &domain{config: d}
		for _, c := range d.X509 {
			if c == nil {
				problem("%s: a certificate is nil", where)
				continue
			}
			if !c.IsCA {
				problem("%s: the certificate %q is not that of an authority", where, clip(c.Subject.String()))
			}
			if err := (RootKey{Public: c.PublicKey}).check(); err != nil {
				problem("%s: the certificate %q: %w", where, clip(c.Subject.String()), err)
			}
			if r.domains[name].pool == nil {
				r.domains[name].pool = x509.NewCertPool()
			}
			r.domains[name].pool.AddCert(c)
		}
		keys(where, d.JWT)
	}
	for _, name := range slices.Sorted(maps.Keys(r.issuers)) {
		where := fmt.Sprintf("issuer %q", clip(name))
		if !strings.HasPrefix(name, "https://") && !strings.HasPrefix(name, "http://") || strings.ContainsAny(name, "?#") {
			problem("%s: not the URL of an issuer", where)
		}
		for _, i := range r.issuers[name] {
			if len(i.Principals) == 0 {
				problem("%s: Principals is empty; name whom the issuer may certify", where)
			}
			keys(where, i.Keys)
			patterns(where, i.Principals)
			for _, p := range i.Principals {
				if !strings.HasPrefix(p, OIDCPrincipal(name, "")) { // it would never match
					problem("%s: principal %q; the issuer's principals begin with %q", where, clip(p), clip(OIDCPrincipal(name, "")))
				}
			}
		}
	}
	for _, k := range r.config.KMS {
		where := fmt.Sprintf("KMS key %q", clip(k.Key.ID))
		if len(k.Principals) == 0 {
			problem("%s: Principals is empty; name whom the key may certify", where)
		}
		keys(where, []RootKey{k.Key})
		patterns(where, k.Principals)
	}
	patterns("self", r.config.Self)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return r, nil
}

func (c RootsConfig) clone() RootsConfig {
	out := RootsConfig{Domains: map[string]DomainRoots{}, Self: slices.Clone(c.Self)}
	out.add(c)
	return out
}

// add appends what c does not have yet, but for Self and Issuers: the same authority comes again with every update of a bundle.
func (c *RootsConfig) add(more RootsConfig) {
	for name, d := range more.Domains {
		have := c.Domains[name]
		c.Domains[name] = DomainRoots{
			X509: union(have.X509, d.X509, (*x509.Certificate).Equal),
			JWT:  union(have.JWT, d.JWT, RootKey.equal),
		}
	}
	c.KMS = union(c.KMS, more.KMS, func(a, b KMSRoot) bool {
		return a.Key.equal(b.Key) && slices.Equal(a.Principals, b.Principals)
	})
}

// addIssuer adds what one of several roots says of an issuer: more keys for the same principals, or a part of its own.
func addIssuer(have []IssuerRoots, more IssuerRoots) []IssuerRoots {
	out := slices.Clone(have)
	for i := range out {
		if slices.Equal(out[i].Principals, more.Principals) {
			out[i].Keys = union(out[i].Keys, more.Keys, RootKey.equal)
			return out
		}
	}
	return append(out, IssuerRoots{Keys: slices.Clone(more.Keys), Principals: slices.Clone(more.Principals)})
}

// union is a new list of what is in a or b.
func union[T any](a, b []T, equal func(T, T) bool) []T {
	out := slices.Clone(a)
	for _, x := range b {
		if !slices.ContainsFunc(out, func(y T) bool { return equal(x, y) }) {
			out = append(out, x)
		}
	}
	return out
}

// equal is false for keys that [RootKey.check] refuses, which may be nil: Equal of some types panics then.
func (k RootKey) equal(other RootKey) bool {
	same, ok := k.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.ID == other.ID && k.Algorithm == other.Algorithm && k.check() == nil && other.check() == nil && same.Equal(other.Public)
}

// MergeRoots returns roots that believe whoever one of the arguments believes.
func MergeRoots(all ...*Roots) (*Roots, error) {
	merged, issuers := RootsConfig{}.clone(), map[string][]IssuerRoots{}
	for _, r := range all {
		if r == nil {
			continue
		}
		merged.add(r.config)
		merged.Self = union(merged.Self, r.config.Self, func(a, b string) bool { return a == b })
		for name, parts := range r.issuers {
			for _, i := range parts {
				issuers[name] = addIssuer(issuers[name], i)
			}
		}
	}
	return newRoots(merged, issuers)
}

// A RootSource has the roots of the moment: one that follows a SPIFFE bundle or an issuer's key set returns other
// Roots after a change, and the same pointer as long as there is none. It is asked for every binding that is not
// known yet, which it may look at, unverified, to find out which key it has to look for; nil asks for what is known.
// It is safe for concurrent use.
type RootSource interface {
	Roots(ctx context.Context, b *KeyBinding) (*Roots, error)
}

// Roots implements [RootSource]: it returns r.
func (r *Roots) Roots(context.Context, *KeyBinding) (*Roots, error) { return r, nil }

func (r *Roots) domain(name string) *domain {
	if r == nil {
		return nil
	}
	return r.domains[name]
}

// issuer returns the keys that may certify a principal, and whether the issuer is known at all.
func (r *Roots) issuer(name, principal string) (keys []RootKey, known bool) {
	if r == nil {
		return nil, false
	}
	for _, part := range r.issuers[name] {
		if known = true; matchesAny(part.Principals, principal) {
			keys = append(keys, part.Keys...)
		}
	}
	return keys, known
}

func (r *Roots) kms() []KMSRoot {
	if r == nil {
		return nil
	}
	return r.config.KMS
}

func (r *Roots) self() []string {
	if r == nil {
		return nil
	}
	return r.config.Self
}

// matchesAny compares with exact names and with prefixes that end in "*", which stands for at least one character.
func matchesAny(patterns []string, principal string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(principal, prefix) && len(principal) > len(prefix)
		}
		return p == principal
	})
}

// SPIFFEDomain returns the trust domain of a workload's SPIFFE ID, and false for anything else (SPIFFE-ID §2): the
// scheme in lower case, a trust domain of a-z, 0-9, ".", "-" and "_", and a path of segments of letters, digits, ".",
// "-" and "_" that are not "." and "..". Nothing is normalised.
func SPIFFEDomain(id string) (domain string, ok bool) {
	rest, found := strings.CutPrefix(id, "spiffe://")
	domain, path, hasPath := strings.Cut(rest, "/")
	const letters, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789.-_"
	if !found || !hasPath || len(id) > 2048 || domain == "" || len(domain) > 255 || strings.Trim(domain, letters+digits) != "" {
		return "", false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.Trim(segment, letters+strings.ToUpper(letters)+digits) != "" {
			return "", false
		}
	}
	return domain, true
}

// rsaExponent reads a public exponent: odd, above 1, and in 31 bits, as crypto/rsa wants it.
func rsaExponent(b []byte) (int, error) {
	e := new(big.Int).SetBytes(b)
	if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Int64()%2 == 0 {
		return 0, errors.New("the exponent is not an odd number from 3 to 2^31-1")
	}
	return int(e.Int64()), nil
}
