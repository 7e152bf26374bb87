package propagate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
)

// TestSignedIdentity (F-CP-04): who a message says acts counts as far as every tip of its lineage has signed exactly
// that; the rest is anybody's word.
func TestSignedIdentity(t *testing.T) {
	p := propagator(t, propagate.Config{})
	all := propagate.Identity{User: "alice", Agent: "planner", Task: "t 1"}
	root := chain(t, 1)
	one := grow(t, root, 1, web, signing(`{"agent":"planner","task":"t 1","user":"alice"}`))
	merged := func(id string) lineage.Passport {
		both, err := lineage.Merge(one, grow(t, root, 2, web, signing(id)))
		if err != nil {
			t.Fatal(err)
		}
		return both
	}
	for name, c := range map[string]struct {
		passport lineage.Passport
		claimed  propagate.Identity
		want     propagate.Identity
	}{
		"signed":                  {one, all, all},
		"part of it claimed":      {one, propagate.Identity{Agent: "planner"}, propagate.Identity{Agent: "planner"}},
		"nothing claimed":         {one, propagate.Identity{}, propagate.Identity{}},
		"another user":            {one, propagate.Identity{User: "root", Agent: "planner", Task: "t 1"}, propagate.Identity{Agent: "planner", Task: "t 1"}},
		"other case":              {one, propagate.Identity{User: "Alice"}, propagate.Identity{}},
		"swapped":                 {one, propagate.Identity{User: "planner", Agent: "alice"}, propagate.Identity{}},
		"nobody signed":           {root, all, propagate.Identity{}},
		"a number":                {grow(t, root, 4, web, signing(`{"user":1,"agent":true}`)), propagate.Identity{User: "1", Agent: "true"}, propagate.Identity{}},
		"no object":               {grow(t, root, 5, web, signing(`alice`)), propagate.Identity{User: "alice"}, propagate.Identity{}},
		"not the tip signed":      {grow(t, one, 3, web), all, propagate.Identity{}},
		"every tip signed":        {merged(`{"agent":"planner","task":"t 1","user":"alice"}`), all, all},
		"one tip has another":     {merged(`{"agent":"other","task":"t 1","user":"alice"}`), all, propagate.Identity{User: "alice", Task: "t 1"}},
		"one tip has none":        {merged(`{}`), all, propagate.Identity{}},
		"the other tip, reversed": {merged(`{"user":"bob"}`), propagate.Identity{User: "bob"}, propagate.Identity{}},
	} {
		carrier := carry()
		if err := p.Attach(propagate.WithIdentity(t.Context(), c.claimed), carrier, c.passport); err != nil {
			t.Fatal(err)
		}
		ctx, _ := admitted(t, propagate.IngressConfig{}, t.Context(), propagate.Request{Carrier: carrier})
		if got := propagate.IdentityFrom(ctx); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if _, ok := propagate.CallerFrom(ctx); ok {
			t.Errorf("%s: a caller without a credential", name)
		}
	}
	carrier := carry(headerOf(t, p, one) + ",kest.user=alice")
	mine := propagate.Identity{User: "of the connection"}
	ctx, _ := admitted(t, propagate.IngressConfig{}, propagate.WithIdentity(t.Context(), mine), propagate.Request{Carrier: carrier})
	if got := propagate.IdentityFrom(ctx); got != mine {
		t.Errorf("what was authenticated in front is overwritten: %+v", got)
	}
}

// tokens knows one token.
type tokens struct{ err error }

const goodToken = "eyJhbGciOiJub25lIn0.secret-token"

func (v tokens) VerifyToken(_ context.Context, token string) (propagate.Caller, error) {
	if v.err != nil || token == goodToken {
		return propagate.Caller{
			Identity: propagate.Identity{User: "carol", Agent: "app"}, Issuer: "https://issuer", Actors: []string{"app", "gateway"},
		}, v.err
	}
	return propagate.Caller{}, fmt.Errorf("%w: signature", propagate.ErrBadToken)
}

// TestTokens (SPEC §9): a verified token overrides what the message says; a bad one is 401, one that nobody can judge
// 503; two are an attack.
func TestTokens(t *testing.T) {
	p := propagator(t, propagate.Config{})
	signed := grow(t, lineage.Passport{}, 1, web, signing(`{"user":"alice","task":"t"}`))
	header := headerOf(t, p, signed) + ",kest.user=alice,kest.task=t"
	for name, c := range map[string]struct {
		tokens        propagate.TokenVerifier
		require       bool
		authorization []string
		want          propagate.Class // Fault: served
		identity      propagate.Identity
	}{
		"none":                {tokens{}, false, nil, 0, propagate.Identity{User: "alice", Task: "t"}},
		"other scheme":        {tokens{}, false, []string{"Basic YTpi"}, 0, propagate.Identity{User: "alice", Task: "t"}},
		"not looked at":       {nil, false, []string{"Bearer bad", "Bearer worse"}, 0, propagate.Identity{User: "alice", Task: "t"}},
		"good":                {tokens{}, true, []string{"Bearer " + goodToken}, 0, propagate.Identity{User: "carol", Agent: "app"}},
		"any case, any space": {tokens{}, true, []string{"bEARER   " + goodToken + " "}, 0, propagate.Identity{User: "carol", Agent: "app"}},
		"required":            {tokens{}, true, nil, propagate.Unauthenticated, propagate.Identity{}},
		"required, other":     {tokens{}, true, []string{"Basic YTpi"}, propagate.Unauthenticated, propagate.Identity{}},
		"required, empty":     {tokens{}, true, []string{""}, propagate.Unauthenticated, propagate.Identity{}},
		"bad":                 {tokens{}, false, []string{"Bearer " + goodToken + "x"}, propagate.Unauthenticated, propagate.Identity{}},
		"empty":               {tokens{}, false, []string{"Bearer "}, propagate.Unauthenticated, propagate.Identity{}},
		"scheme alone":        {tokens{}, false, []string{"Bearer"}, propagate.Unauthenticated, propagate.Identity{}},
		"two in one":          {tokens{}, false, []string{"Bearer " + goodToken + ", Bearer " + goodToken}, propagate.Unauthenticated, propagate.Identity{}},
		"two":                 {tokens{}, false, []string{"Bearer " + goodToken, "Bearer " + goodToken}, propagate.Unauthenticated, propagate.Identity{}},
		"two, one of another": {tokens{}, false, []string{"Basic YTpi", "Bearer " + goodToken}, propagate.Unauthenticated, propagate.Identity{}},
		"issuer down":         {tokens{errors.New("JWKS: refused")}, false, []string{"Bearer " + goodToken}, propagate.Unavailable, propagate.Identity{}},
		"deadline":            {tokens{context.DeadlineExceeded}, false, []string{"Bearer " + goodToken}, propagate.Unavailable, propagate.Identity{}},
	} {
		t.Run(name, func(t *testing.T) {
			config := propagate.IngressConfig{Tokens: c.tokens, RequireToken: c.require}
			r := propagate.Request{Carrier: carry(header), Authorization: c.authorization}
			if c.want != propagate.Fault {
				var l logs
				config.Logger = l.logger()
				refused(t, ingress(t, config), &l, c.want, r, header, "token="+goodToken)
				return
			}
			ctx, _ := admitted(t, config, t.Context(), r)
			if got := propagate.IdentityFrom(ctx); got != c.identity {
				t.Errorf("%+v, want %+v", got, c.identity)
			}
			caller, ok := propagate.CallerFrom(ctx)
			if ok != (c.identity.User == "carol") || ok && (caller.Issuer != "https://issuer" || !slices.Equal(caller.Actors, []string{"app", "gateway"})) {
				t.Errorf("%+v, %t", caller, ok)
			}
			if ok {
				caller.Actors[0] = "changed"
				if again, _ := propagate.CallerFrom(ctx); again.Actors[0] != "app" {
					t.Error("the caller in the context can be changed")
				}
			}
		})
	}
}

type hookKey struct{}

// TestHook (SPEC §8.5): it runs last, with session, identity and lineage, may add to the context, and may refuse.
func TestHook(t *testing.T) {
	p := propagator(t, propagate.Config{})
	passport := grow(t, lineage.Passport{}, 1, web, signing(`{"user":"alice"}`))
	request := propagate.Request{Carrier: carry(headerOf(t, p, passport) + ",kest.user=alice"), Authorization: []string{"Bearer " + goodToken}}
	ran := 0
	ctx, _ := admitted(t, propagate.IngressConfig{Tokens: tokens{}, Hook: func(ctx context.Context, verified lineage.Passport) (context.Context, error) {
		ran++
		s := propagate.SessionFrom(ctx)
		if s == nil || s.Passport().Len() != 1 || verified.Len() != 1 || propagate.IdentityFrom(ctx).User != "carol" || ctx.Err() != nil {
			t.Errorf("the hook sees %v, %d entries, %+v", s, verified.Len(), propagate.IdentityFrom(ctx))
		}
		if _, limited := ctx.Deadline(); limited {
			t.Error("the time of the ingress ends that of the request")
		}
		if entry, err := call(t, ctx); err != nil || entry == nil {
			t.Errorf("a guarded call in the hook: %v", err)
		}
		return context.WithValue(ctx, hookKey{}, "added"), nil
	}}, t.Context(), request)
	if ran != 1 || ctx.Value(hookKey{}) != "added" {
		t.Error("what the hook added is lost")
	}
	secret := errors.New("no more of mallory today")
	denied := fmt.Errorf("hook: %w", &kest.DeniedError{Policy: "p", Err: policy.ErrUnavailable})
	for name, c := range map[string]struct {
		hook func(context.Context) (context.Context, error)
		want propagate.Class
	}{
		"refuses":          {func(ctx context.Context) (context.Context, error) { return ctx, secret }, propagate.Forbidden},
		"refuses with nil": {func(context.Context) (context.Context, error) { return nil, secret }, propagate.Forbidden},
		"denied":           {func(ctx context.Context) (context.Context, error) { return ctx, denied }, propagate.Unavailable},
		"with a class": {func(context.Context) (context.Context, error) {
			return nil, &propagate.RefusedError{Class: propagate.Unavailable, Err: secret}
		}, propagate.Unavailable},
		"class, no cause": {func(context.Context) (context.Context, error) {
			return nil, &propagate.RefusedError{Class: propagate.Malformed}
		}, propagate.Malformed},
		"no context":        {func(context.Context) (context.Context, error) { return nil, nil }, propagate.Fault},
		"context of nobody": {func(context.Context) (context.Context, error) { return context.Background(), nil }, propagate.Fault},
	} {
		t.Run(name, func(t *testing.T) {
			var l logs
			i := ingress(t, propagate.IngressConfig{Logger: l.logger(), Hook: func(ctx context.Context, _ lineage.Passport) (context.Context, error) { return c.hook(ctx) }})
			if name == "class, no cause" {
				_, _, err := i.Admit(t.Context(), request)
				wantClass(t, err, c.want)
				return
			}
			refused(t, i, &l, c.want, request)
		})
	}
	for name, c := range map[string]propagate.IngressConfig{"before verification": {}, "before the token": {Tokens: tokens{}}} {
		var l logs
		c.Logger = l.logger()
		c.Hook = func(ctx context.Context, _ lineage.Passport) (context.Context, error) {
			t.Errorf("the hook runs %s", name)
			return ctx, nil
		}
		bad, class := propagate.Request{Carrier: carry("kest.passport=x")}, propagate.Malformed
		if c.Tokens != nil {
			bad, class = propagate.Request{Authorization: []string{"Bearer bad"}}, propagate.Unauthenticated
		}
		refused(t, ingress(t, c), &l, class, bad)
	}
}

// hopVerifier answers with err and notes what it was asked.
type hopVerifier struct {
	err   error
	asked []string // principals
}

func (v *hopVerifier) VerifyHop(_ context.Context, principal string, r propagate.HopRequest) error {
	v.asked = append(v.asked, principal)
	if v.err == nil && len(r.Fields["signature-input"]) == 0 {
		return propagate.ErrNoProof
	}
	return v.err
}

// TestHopProofs (SPEC §9): the proof is asked of who signed the tip; which modes let what through.
func TestHopProofs(t *testing.T) {
	p := propagator(t, propagate.Config{})
	proof := func(authority string) *propagate.HopRequest {
		return &propagate.HopRequest{Method: "POST", Authority: authority, Path: "/", Fields: map[string][]string{"signature-input": {"kest=()"}}}
	}
	bare := &propagate.HopRequest{Method: "POST", Authority: "ledger:8443", Path: "/"}
	bad, down := fmt.Errorf("%w: replay", propagate.ErrBadProof), errors.New("nonce store: refused")
	forked, err := lineage.Merge(grow(t, chain(t, 1), 8, web), grow(t, chain(t, 1), 9, pay))
	if err != nil {
		t.Fatal(err)
	}
	const off, accept, require = propagate.ProofOff, propagate.ProofAccept, propagate.ProofRequire
	for name, c := range map[string]struct {
		mode     propagate.ProofMode
		passport lineage.Passport
		hop      *propagate.HopRequest
		err      error
		want     propagate.Class // Fault: served
		proven   bool
		asked    string
	}{
		"off, bad proof":              {off, chain(t, 2), proof("ledger:8443"), bad, 0, false, ""},
		"accept, good":                {accept, chain(t, 2), proof("ledger:8443"), nil, 0, true, pay},
		"require, good":               {require, chain(t, 1), proof("LEDGER:8443"), nil, 0, true, web},
		"require, several leaves":     {require, fork(t, 3, pay), proof("ledger:8443"), nil, 0, true, pay},
		"accept, missing":             {accept, chain(t, 2), bare, nil, 0, false, pay},
		"require, missing":            {require, chain(t, 2), bare, nil, propagate.Forbidden, false, pay},
		"accept, bad":                 {accept, chain(t, 2), proof("ledger:8443"), bad, propagate.Forbidden, false, pay},
		"require, bad":                {require, chain(t, 2), proof("ledger:8443"), bad, propagate.Forbidden, false, pay},
		"accept, undecided":           {accept, chain(t, 2), proof("ledger:8443"), down, propagate.Unavailable, false, pay},
		"require, undecided":          {require, chain(t, 2), proof("ledger:8443"), down, propagate.Unavailable, false, pay},
		"accept, for another":         {accept, chain(t, 2), proof("orders:8443"), nil, propagate.Forbidden, false, ""},
		"require, for another port":   {require, chain(t, 2), proof("ledger"), nil, propagate.Forbidden, false, ""},
		"require, suffix":             {require, chain(t, 2), proof("ledger:8443.evil.example"), nil, propagate.Forbidden, false, ""},
		"require, several workloads":  {require, forked, proof("ledger:8443"), nil, propagate.Forbidden, false, ""},
		"accept, several workloads":   {accept, forked, bare, nil, propagate.Forbidden, false, ""},
		"accept, transport has none":  {accept, chain(t, 2), nil, nil, 0, false, ""},
		"require, transport has none": {require, chain(t, 2), nil, nil, propagate.Forbidden, false, ""},
		"require, no lineage":         {require, lineage.Passport{}, proof("orders"), bad, 0, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := &hopVerifier{err: c.err}
			config := propagate.IngressConfig{Proofs: c.mode, Hops: v, Authorities: []string{"Ledger:8443"}}
			r := propagate.Request{Carrier: carry(headerOf(t, p, c.passport)), Hop: c.hop}
			if c.want == propagate.Fault {
				_, admission := admitted(t, config, t.Context(), r)
				if admission.Proven != c.proven {
					t.Errorf("proven: %t", admission.Proven)
				}
			} else {
				var l logs
				config.Logger = l.logger()
				refused(t, ingress(t, config), &l, c.want, r)
			}
			if strings.Join(v.asked, " ") != c.asked {
				t.Errorf("asked for %q, want %q", v.asked, c.asked) // a nonce is used up only by a proof that is for us
			}
		})
	}
}
