package lineage

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kest-go/kest/internal/jcs"
)

// maxRootsBytes bounds a roots document and a key set.
const maxRootsBytes = 4 << 20

// ParseRoots reads a trust bundle, at most 4 MiB:
//
//	{"trust_domains": {"example.org": <SPIFFE bundle>},
//	 "issuers": {"https://issuer.example": {"keys": [<JWK>, …], "principals": ["https://issuer.example#ci-*"]}},
//	 "kms": [{"key": <JWK>, "principals": ["arn:aws:iam::123456789012:role/payments"]}],
//	 "self": ["local:*"]}
//
// All members are optional. An issuer may have a list of such objects: the keys of one certify no principal of another. A SPIFFE bundle is what a bundle endpoint serves and "spire-server bundle show -format
// spiffe" prints (SPIFFE Trust Domain and Bundle §4). Keys of types that sign no bindings are skipped (RFC 7517 §5);
// weak ones are errors.
func ParseRoots(text []byte) (*Roots, error) {
	doc, err := jcs.Parse(text, jcs.Options{MaxBytes: maxRootsBytes, MaxDepth: 16})
	if err != nil {
		return nil, fmt.Errorf("roots: %w", err)
	}
	return readRoots(doc)
}

func readRoots(doc jcs.Value) (*Roots, error) {
	c, issuers := RootsConfig{Domains: map[string]DomainRoots{}}, map[string][]IssuerRoots{}
	r := reader{}
	r.want("roots", doc, jcs.Object)
	for _, m := range doc.Members {
		switch m.Name {
		case "trust_domains":
			r.want(m.Name, m.Value, jcs.Object)
			for _, d := range m.Value.Members {
				c.Domains[d.Name] = r.bundle(d.Name, d.Value)
			}
		case "issuers":
			r.want(m.Name, m.Value, jcs.Object)
			for _, i := range m.Value.Members {
				parts := []jcs.Value{i.Value}
				if i.Value.Kind == jcs.Array {
					parts = r.elems(i.Name, i.Value, maxRoots)
				}
				for _, part := range parts {
					r.only(i.Name, part, "keys", "principals")
					issuers[i.Name] = addIssuer(issuers[i.Name], IssuerRoots{Keys: r.jwks(i.Name, part), Principals: r.list(i.Name, part, "principals")})
				}
			}
		case "kms":
			for _, k := range r.elems(m.Name, m.Value, maxRoots) {
				r.only("kms", k, "key", "principals")
				jwk, _ := k.Get("key")
				key, _, err := parseRootKey(jwk)
				if err == nil && key.Public == nil {
					err = errors.New("it is of a type that signs no bindings")
				}
				if err != nil {
					r.fail("kms", "key %q: %w", clip(key.ID), err)
				}
				c.KMS = append(c.KMS, KMSRoot{key, r.list("kms", k, "principals")})
			}
		case "self":
			c.Self = r.strings(m.Name, m.Value, maxRoots)
		default:
			r.fail("roots", "member %q is not known", clip(m.Name))
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("roots: %w", r.err)
	}
	return newRoots(c.clone(), issuers)
}

// maxRoots bounds the keys of one authority, and lists of principals.
const maxRoots = 1024

// only refuses members with other names: one of them may be a misspelled restriction.
func (r *reader) only(where string, object jcs.Value, names ...string) {
	r.want(clip(where), object, jcs.Object)
	for _, m := range object.Members {
		if !slices.Contains(names, m.Name) {
			r.fail(clip(where), "member %q is not known", clip(m.Name))
		}
	}
}

func (r *reader) list(where string, object jcs.Value, name string) []string {
	v, _ := object.Get(name)
	return r.strings(clip(where)+": "+name, v, maxRoots)
}

// jwks reads the keys of an issuer; certificates that come with them mean nothing.
func (r *reader) jwks(where string, v jcs.Value) []RootKey {
	var keys []RootKey
	list, _ := v.Get("keys")
	for _, jwk := range r.elems(clip(where)+": keys", list, maxRoots) {
		key, use, err := parseRootKey(jwk)
		switch {
		case err != nil:
			r.fail(clip(where), "key %q: %w", clip(key.ID), err)
		case key.Public != nil && (use == "" || use == "sig"):
			keys = append(keys, key)
		}
	}
	return keys
}

// bundle reads a SPIFFE bundle: a JWKS in which "use" says what a key is for (SPIFFE Trust Domain and Bundle §4.2).
func (r *reader) bundle(name string, v jcs.Value) DomainRoots {
	var d DomainRoots
	list, _ := v.Get("keys")
	for _, jwk := range r.elems(clip(name)+": keys", list, maxRoots) {
		use, _ := jwk.Get("use")
		switch use.Text {
		case "x509-svid":
			x5c, _ := jwk.Get("x5c")
			der := r.strings(clip(name)+": x5c", x5c, 1) // §4.2.2: exactly one
			if len(der) != 1 {
				r.fail(clip(name), "an x509-svid key has %d certificates; want 1", len(der))
				continue
			}
			if _, private := jwk.Get("d"); private {
				r.fail(clip(name), "an x509-svid key holds a private key; give the certificate only")
			}
			c, err := parseCertificate(der[0])
			if err != nil {
				r.fail(clip(name), "x5c: %w", err)
				continue
			}
			d.X509 = append(d.X509, c)
		case "jwt-svid":
			key, _, err := parseRootKey(jwk)
			if err != nil {
				r.fail(clip(name), "key %q: %w", clip(key.ID), err)
			} else if key.Public != nil {
				d.JWT = append(d.JWT, key)
			}
		}
	}
	return d
}

// ParseJWKS reads the signing keys of an issuer's key set (RFC 7517 §5), at most 4 MiB. Keys for other uses and of
// other types are skipped.
func ParseJWKS(text []byte) ([]RootKey, error) {
	doc, err := jcs.Parse(text, jcs.Options{MaxBytes: maxRootsBytes, MaxDepth: 16})
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	r := reader{}
	keys := r.jwks("key set", doc)
	if r.err != nil {
		return nil, r.err
	}
	return keys, nil
}

// AppendJSON writes the roots in the form that [ParseRoots] reads.
func (r *Roots) AppendJSON(dst []byte) ([]byte, error) {
	if r == nil {
		r = &Roots{}
	}
	w := writer{buf: append(dst, `{"issuers":{`...)}
	for n, name := range slices.SortedFunc(maps.Keys(r.issuers), jcs.Compare) {
		w.comma(n)
		w.string(name)
		w.issuer(r.issuers[name])
	}
	w.raw(`},"kms":[`)
	for n, k := range r.config.KMS {
		w.comma(n)
		w.raw(`{"key":`)
		w.jwk(k.Key, "sig")
		w.raw(`,"principals":`)
		w.strings(k.Principals)
		w.raw("}")
	}
	w.raw(`],"self":`)
	w.strings(r.config.Self)
	w.raw(`,"trust_domains":{`)
	for n, name := range slices.SortedFunc(maps.Keys(r.config.Domains), jcs.Compare) {
		w.comma(n)
		w.string(name)
		w.raw(`:{"keys":[`)
		d := r.config.Domains[name]
		for i, c := range d.X509 {
			w.comma(i)
			w.certificate(c)
		}
		for i, k := range d.JWT {
			w.comma(len(d.X509) + i)
			w.jwk(k, "jwt-svid")
		}
		w.raw("]}")
	}
	w.raw("}}")
	return w.buf, w.err
}

// issuer writes one object, or a list of several.
func (w *writer) issuer(parts []IssuerRoots) {
	w.raw(":")
	if len(parts) > 1 {
		w.raw("[")
		defer w.raw("]")
	}
	for n, i := range parts {
		w.comma(n)
		w.raw("{")
		w.keys(i.Keys)
		w.raw(`,"principals":`)
		w.strings(i.Principals)
		w.raw("}")
	}
}

func (w *writer) comma(n int) {
	if n > 0 {
		w.raw(",")
	}
}

func (w *writer) keys(keys []RootKey) {
	w.raw(`"keys":[`)
	for n, k := range keys {
		w.comma(n)
		w.jwk(k, "sig")
	}
	w.raw("]")
}
