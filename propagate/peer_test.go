package propagate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// TestRequirePeer (SPEC §8, §9): only the workload at the other end of the connection presents lineage that ends in its
// own entries. Requests without lineage are the listener's affair.
func TestRequirePeer(t *testing.T) {
	p := propagator(t, propagate.Config{})
	several, err := lineage.Merge(fork(t, 1, pay), grow(t, chain(t, 1), 7, web))
	if err != nil {
		t.Fatal(err)
	}
	noName := errors.New("two names in one certificate")
	for name, c := range map[string]struct {
		passport lineage.Passport
		peer     string
		peerErr  error
		say      string // of a refusal; "" when it is served
	}{
		"the signer of the tip":           {chain(t, 2), pay, nil, ""},
		"the only signer of several tips": {fork(t, 3, pay), pay, nil, ""},
		"the signer of an earlier entry":  {chain(t, 2), web, nil, "ends in an entry"},
		"a stranger":                      {chain(t, 2), mallory, nil, "ends in an entry"},
		"a name that begins alike":        {chain(t, 2), pay + "/x", nil, "ends in an entry"},
		"other case":                      {chain(t, 2), strings.ToUpper(pay), nil, "ends in an entry"},
		"nobody":                          {chain(t, 2), "", nil, "mutual TLS is required"},
		"a certificate without a name":    {chain(t, 2), "", noName, "two names"},
		"a name, and an error":            {chain(t, 2), pay, noName, "two names"},
		"several, one of the signers":     {several, pay, nil, "several workloads"},
		"several, the other":              {several, web, nil, "several workloads"},
		"several, nobody":                 {several, "", nil, "mutual TLS is required"},
		"no lineage, a peer":              {lineage.Passport{}, pay, nil, ""},
		"no lineage, nobody":              {lineage.Passport{}, "", nil, ""},
		"no lineage, no name":             {lineage.Passport{}, "", noName, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := propagate.Request{Carrier: carry(headerOf(t, p, c.passport)), Peer: c.peer, PeerErr: c.peerErr}
			if c.say == "" {
				admitted(t, propagate.IngressConfig{RequirePeer: true}, t.Context(), r)
				return
			}
			admitted(t, propagate.IngressConfig{}, t.Context(), r) // it is the peer that is refused
			var l logs
			v := &hopVerifier{}
			r.Hop = &propagate.HopRequest{Authority: "a", Fields: map[string][]string{"signature-input": {"x"}}}
			in := ingress(t, propagate.IngressConfig{RequirePeer: true, Proofs: propagate.ProofRequire, Hops: v, Authorities: []string{"a"}, Logger: l.logger()})
			refused(t, in, &l, propagate.Forbidden, r)
			_, _, err := in.Admit(t.Context(), r)
			if text := err.Error(); !strings.Contains(text, c.say) || strings.Contains(text, "hop proof") || len(v.asked) != 0 {
				t.Errorf("%v does not say %q, or a nonce was used up", err, c.say)
			}
		})
	}
	var l logs
	internal := ingress(t, propagate.IngressConfig{Listener: propagate.Internal, RequirePeer: true, Logger: l.logger()})
	refused(t, internal, &l, propagate.Forbidden, propagate.Request{Carrier: carry(), Peer: pay})
	queued := carry(headerOf(t, p, chain(t, 2)))
	got, err := internal.Passport(t.Context(), queued)
	if wantClass(t, err, propagate.Forbidden); got.Len() != 0 {
		t.Error("a message, which has no peer, is believed")
	}
	if !internal.RequiresPeer() || ingress(t, propagate.IngressConfig{}).RequiresPeer() {
		t.Error("RequiresPeer")
	}
	if _, err := propagate.NewIngress(propagate.IngressConfig{Listener: propagate.Edge, InsecureIgnoreLineage: true, RequirePeer: true}); err == nil || !strings.Contains(err.Error(), "RequirePeer") {
		t.Errorf("peers of lineage that is dropped: %v", err)
	}
}
