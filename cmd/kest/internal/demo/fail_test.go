package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/kest-go/kest/cmd/kest/internal/demo"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// gullible believes everything.
type gullible struct{ demo.Verifier }

func (g gullible) Verify(ctx context.Context, u lineage.Unverified) (lineage.Passport, *lineage.Report, error) {
	p, r, _ := g.Verifier.Verify(ctx, u)
	return p, r, nil
}

// forgetful does not compare tips.
type forgetful struct{ demo.Verifier }

func (f forgetful) Verify(ctx context.Context, u lineage.Unverified) (lineage.Passport, *lineage.Report, error) {
	u.Tips = nil
	return f.Verifier.Verify(ctx, u)
}

// blind believes no receipt.
type blind struct{ demo.Verifier }

func (b blind) VerifyReceipt(context.Context, string, *lineage.Signed) (lineage.Receipt, error) {
	return lineage.Receipt{}, lineage.ErrUnverified
}

// careless overlooks one kind of fault of a hop proof.
type careless struct {
	propagate.HopVerifier
	fault string
}

func (c careless) VerifyHop(ctx context.Context, principal string, r propagate.HopRequest) error {
	err := c.HopVerifier.VerifyHop(ctx, principal, r)
	if err != nil && strings.Contains(err.Error(), c.fault) {
		return nil
	}
	return err
}

func lax(fault string) func(*propagate.IngressConfig) {
	return func(c *propagate.IngressConfig) { c.Hops = careless{c.Hops, fault} }
}

// A demo that shows success whatever happens would show nothing.
func TestSceneFails(t *testing.T) {
	noLeak(t)
	with := func(name, text string) fs.FS {
		out := fstest.MapFS{}
		err := fs.WalkDir(demo.Policies(), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := fs.ReadFile(demo.Policies(), path)
			out[path] = &fstest.MapFile{Data: text}
			return err
		})
		if err != nil || out[name] == nil {
			t.Fatal(name, err)
		}
		out[name] = &fstest.MapFile{Data: []byte(text)}
		return out
	}
	for name, c := range map[string]struct {
		change demo.Changes
		scene  int
		says   string
	}{
		"verifier accepts everything": {demo.Changes{Verifier: func(v demo.Verifier) demo.Verifier { return gullible{v} }}, 5, "accepted"},
		"verifier ignores tips":       {demo.Changes{Verifier: func(v demo.Verifier) demo.Verifier { return forgetful{v} }}, 6, "cut-tail"},
		"receipts do not verify":      {demo.Changes{Verifier: func(v demo.Verifier) demo.Verifier { return blind{v} }}, 5, "not verified"},
		"guide's policy denies all": {demo.Changes{Policies: with("kest/allow_trusted.rego", "package kest.allow_trusted\n\ndefault allow := false\n")},
			1, "denied"},
		"guide's policy allows all": {demo.Changes{Policies: with("kest/allow_trusted.rego", "package kest.allow_trusted\n\nallow := true\n")},
			2, "2 entries were signed"},
		"model's policy allows all": {demo.Changes{Policies: with("agent/no_untrusted_output.rego", "package agent.no_untrusted_output\n\nallow := true\n")},
			3, "denied by kest/allow_trusted"},
		// The ledger holds the other quotes back for this one: they must not wait for their deadline.
		"one quote is denied": {demo.Changes{Policies: with("shop/moves_no_money.rego", "package shop.moves_no_money\n\ndefault allow := false\n\n"+
			`allow if input.object.id != "wallet"`+"\n")}, 4, `"title":"not allowed"`},
		"lineage may be missing": {demo.Changes{Ingress: func(c *propagate.IngressConfig) {
			c.LineageOptional = c.Listener == propagate.Internal
		}}, 7, "stripped-header: the scene did not end as it should: the ledger's log has 0 reasons"},
		"no hop proofs": {demo.Changes{Ingress: func(c *propagate.IngressConfig) { c.Proofs = propagate.ProofOff }},
			7, "replayed-request: the scene did not end as it should: the answer has status 200"},
		"replays are forgotten": {demo.Changes{Ingress: lax("was replayed")}, 7, "replayed-request: the scene did not end as it should: the answer has status 200"},
		"anybody's key is good": {demo.Changes{Ingress: lax("no such key")}, 7, "cut-tail-own-proof: the scene did not end as it should: the answer has status 200"},
		"any request's proof is good": {demo.Changes{Ingress: lax("signature does not match")}, 7,
			"cut-tail-old-proof: the scene did not end as it should: the answer has status 200"},
		"the ledger has another name": {demo.Changes{Ingress: func(c *propagate.IngressConfig) {
			c.Authorities = []string{"ledger.example"}
		}}, 1, "status 403"},
	} {
		var out bytes.Buffer
		result, err := demo.RunWith(t.Context(), demo.Options{Out: &out, Dir: shortDir(t)}, c.change)
		if err == nil || result.OK || result.Problem == "" {
			t.Errorf("%s: not noticed", name)
			continue
		}
		last := result.Scenes[len(result.Scenes)-1]
		if len(result.Scenes) != c.scene || last.OK || !strings.Contains(last.Problem, c.says) {
			t.Errorf("%s: %d scenes, problem %q; want scene %d to fail with %q", name, len(result.Scenes), last.Problem, c.scene, c.says)
		}
		if !strings.Contains(out.String(), "did not end as it should") || strings.Contains(out.String(), "Check it yourself") {
			t.Errorf("%s: the screen does not say so", name)
		}
		for l := range strings.Lines(out.String()) {
			if utf8.RuneCountInString(l) > 81 {
				t.Errorf("%s: line too long: %s", name, l)
			}
		}
	}
}

// Strangers get the problem document of a refusal and nothing else: no reason, and no lineage.
func TestDiscreet(t *testing.T) {
	const problem = `{"type":"about:blank","title":"not allowed","status":403}`
	if err := demo.Discreet(403, http.Header{}, problem+"\n"); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"served":  demo.Discreet(200, http.Header{}, problem),
		"talks":   demo.Discreet(403, http.Header{}, `{"type":"about:blank","title":"not allowed","status":403,"detail":"replayed"}`),
		"lineage": demo.Discreet(403, http.Header{"Kest-Lineage": {"kest.chain_tip="}}, problem),
	} {
		if !errors.Is(err, demo.ErrScene) {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// A failed run is a document too, and says what failed.
func TestJSONOfFailure(t *testing.T) {
	var out bytes.Buffer
	_, err := demo.RunWith(t.Context(), demo.Options{Out: &out, Dir: shortDir(t), JSON: true},
		demo.Changes{Verifier: func(v demo.Verifier) demo.Verifier { return forgetful{v} }})
	var doc document
	if !errors.Is(err, demo.ErrScene) || json.Unmarshal(out.Bytes(), &doc) != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if doc.OK || doc.Problem == nil || len(doc.Scenes) != 6 || doc.Scenes[5].OK || doc.Scenes[5].Problem == nil {
		t.Errorf("%+v", doc)
	}
}

// stopper ends the context when the screen reaches a text.
type stopper struct {
	at   string
	stop func()
}

func (s stopper) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(s.at)) {
		s.stop()
	}
	return len(p), nil
}

func TestCancel(t *testing.T) {
	noLeak(t)
	for _, at := range []string{"", "kest demo", "Three quotes", "sanitizer removes it", "Three forgeries"} {
		ctx, cancel := context.WithCancel(t.Context())
		if at == "" {
			cancel()
		}
		result, err := demo.Run(ctx, demo.Options{Out: stopper{at, cancel}, Dir: shortDir(t)})
		cancel()
		if !errors.Is(err, context.Canceled) || result == nil || result.OK {
			t.Errorf("at %q: %v", at, err)
		}
		for _, s := range result.Services {
			if conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://")); err == nil {
				conn.Close()
				t.Errorf("at %q: %s still listens", at, s.Name)
			}
		}
	}
}
