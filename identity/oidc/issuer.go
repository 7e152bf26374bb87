package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
)

// ErrKeys says that the keys of an issuer cannot be had, so that nothing is known about its tokens.
var ErrKeys = errors.New("keys of the OIDC issuer cannot be had")

const (
	maxKeys  = 100  // of one issuer
	maxKeyID = 1024 // bytes, as in bindings
)

// fetchKeys asks an issuer for its keys: discovery document, then key set.
func fetchKeys(ctx context.Context, client *http.Client, issuer string) ([]lineage.RootKey, error) {
	address, err := discover(ctx, client, issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: issuer %q: discovery document: %w", ErrKeys, issuer, err)
	}
	doc, err := get(ctx, client, address, "")
	if err == nil {
		var keys []lineage.RootKey
		if keys, err = readKeys(doc); err == nil {
			return keys, nil
		}
	}
	return nil, fmt.Errorf("%w: issuer %q: key set: %w", ErrKeys, issuer, err)
}

// discover returns the address of the keys (OpenID Connect Discovery 1.0 §4).
func discover(ctx context.Context, client *http.Client, issuer string) (string, error) {
	doc, err := get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", "")
	if err != nil {
		return "", err
	}
	if iss, _ := doc.Get("issuer"); iss.Text != issuer { // §4.3: exactly
		return "", errors.New("it is of another issuer; configure the issuer that it names, to the last slash")
	}
	uri, _ := doc.Get("jwks_uri")
	u, err := endpoint(uri.Text)
	if err != nil {
		return "", fmt.Errorf("its jwks_uri %w", err)
	}
	if u.Scheme == "http" && strings.HasPrefix(issuer, "https:") { // nor may it make us ask our own host
		return "", errors.New("its jwks_uri is plain HTTP; it must be https, as the issuer is")
	}
	return u.String(), nil
}

// readKeys reads a JWK Set. Keys that cannot certify are skipped, as RFC 7517 §5 asks: one weak key must not put an
// issuer out of order. So are keys without an id, because a binding names its key. None left is an answer, too: it is
// how an issuer withdraws all.
func readKeys(doc jcs.Value) ([]lineage.RootKey, error) {
	set, _ := doc.Get("keys")
	if set.Kind != jcs.Array {
		return nil, errors.New(`it has no array "keys"`)
	}
	if len(set.Elems) > maxKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	keys := []lineage.RootKey{}
	for _, jwk := range set.Elems {
		one := jcs.Value{Kind: jcs.Object, Members: []jcs.Member{{Name: "keys", Value: jcs.Value{Kind: jcs.Array, Elems: []jcs.Value{jwk}}}}}
		text, err := one.Append(nil, jcs.Options{})
		if err != nil {
			continue
		}
		parsed, err := lineage.ParseJWKS(text)
		if err == nil && len(parsed) == 1 && parsed[0].ID != "" && len(parsed[0].ID) <= maxKeyID {
			keys = append(keys, parsed[0])
		}
	}
	return keys, nil
}
