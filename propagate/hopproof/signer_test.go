package hopproof_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
)

// The two fields, as the package comment writes them.
func TestSignedForm(t *testing.T) {
	want := regexp.MustCompile(`^kest=\("@method" "@authority" "@path" "@query" "baggage" "content-digest"\);created=[1-9][0-9]{9};` +
		`nonce="[A-Za-z0-9_-]{22}";keyid="` + thumb(web) + `";alg="ed25519";tag="kest-hop"$`)
	form := regexp.MustCompile(`^kest=:[A-Za-z0-9+/]{86}==:$`)
	seen := map[string]bool{}
	for range 100 {
		r := signed(t, web, request())
		input, signature := r.Fields["signature-input"][0], r.Fields["signature"][0]
		if !want.MatchString(input) || !form.MatchString(signature) {
			t.Fatalf("fields %q and %q", input, signature)
		}
		if seen[signature] {
			t.Fatal("two requests have one nonce")
		}
		seen[signature] = true
	}
	r := request()
	delete(r.Fields, "content-digest")
	if r = signed(t, web, r); !strings.Contains(r.Fields["signature-input"][0], `"@query" "baggage");`) {
		t.Errorf("without content: %q", r.Fields["signature-input"])
	}
}

func TestSignRefuses(t *testing.T) {
	for name, change := range map[string]func(*propagate.HopRequest){
		"no fields":       func(r *propagate.HopRequest) { r.Fields = nil },
		"no baggage":      func(r *propagate.HopRequest) { delete(r.Fields, "baggage") },
		"empty baggage":   func(r *propagate.HopRequest) { r.Fields["baggage"] = []string{} },
		"blank baggage":   func(r *propagate.HopRequest) { r.Fields["baggage"] = []string{" ", "\t"} },
		"blank digest":    func(r *propagate.HopRequest) { r.Fields["content-digest"] = []string{""} },
		"other field":     func(r *propagate.HopRequest) { r.Fields["cookie"] = []string{"x"} },
		"no method":       func(r *propagate.HopRequest) { r.Method = "" },
		"no authority":    func(r *propagate.HopRequest) { r.Authority = "" },
		"query without ?": func(r *propagate.HopRequest) { r.Query = "a=b" },
		"space in path":   func(r *propagate.HopRequest) { r.Path = "/a b" },
		"folded baggage":  func(r *propagate.HopRequest) { r.Fields["baggage"] = []string{"a=1,\r\n b=2"} },
		"not ASCII":       func(r *propagate.HopRequest) { r.Fields["baggage"] = []string{"a=ö"} },
		"too large":       func(r *propagate.HopRequest) { r.Query = "?" + strings.Repeat("q", 64<<10) },
	} {
		r := request()
		change(&r)
		input, signature, err := hopproof.Signer{}.SignHop(t.Context(), signerOf(t, web), r)
		if err == nil || input != "" || signature != "" {
			t.Errorf("%s: signed", name)
			continue
		}
		tellsNothing(t, err, r)
	}
}

// brokenSigner does not keep the contract of lineage.Signer.
type brokenSigner struct {
	lineage.Signer
	keyID string
	size  int
	err   error
}

func (b brokenSigner) KeyID() string { return b.keyID }
func (b brokenSigner) Sign(context.Context, []byte) ([]byte, error) {
	return make([]byte, b.size), b.err
}

func TestBrokenSigner(t *testing.T) {
	down := errors.New("KMS is down")
	for name, s := range map[string]brokenSigner{
		"error":              {nil, thumb(web), 64, down},
		"no signature":       {nil, thumb(web), 0, nil},
		"long signature":     {nil, thumb(web), 65, nil},
		"no key id":          {nil, "", 64, nil},
		"key id with quotes": {nil, `";tag="gateway";x="` + thumb(web)[19:], 64, nil},
	} {
		input, signature, err := hopproof.Signer{}.SignHop(t.Context(), s, request())
		if err == nil || input != "" || signature != "" {
			t.Errorf("%s: signed", name)
		}
		if s.err != nil && !errors.Is(err, s.err) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// What is signed verifies, and no byte of anything can be another one.
func TestEveryByteCounts(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	flipped := 0
	for range rounds {
		r := signed(t, web, randomRequest(rng))
		v := verifier(t, hopproof.Config{})
		for _, part := range parts(&r) {
			whole := *part
			for i := range len(whole) {
				b := []byte(whole)
				b[i] ^= 1 << rng.IntN(8)
				*part = string(b)
				if sameMeaning(part == &r.Authority, whole, *part) {
					continue
				}
				if err := v.VerifyHop(t.Context(), web, r); err == nil {
					t.Fatalf("%q passes for %q", *part, whole)
				}
				flipped++
			}
			*part = whole
		}
		if err := v.VerifyHop(t.Context(), web, r); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
	}
	if flipped < 1000 {
		t.Errorf("only %d bytes flipped", flipped)
	}
}

// sameMeaning holds for what RFC 9421 does not tell apart: the case of the authority, and white space at the ends.
func sameMeaning(authority bool, a, b string) bool {
	return authority && strings.EqualFold(a, b) || strings.Trim(a, " \t") == strings.Trim(b, " \t")
}

// parts are the parts of a request that a proof covers, and the proof.
func parts(r *propagate.HopRequest) []*string {
	out := []*string{&r.Method, &r.Authority, &r.Path, &r.Query}
	for _, lines := range r.Fields {
		for i := range lines {
			out = append(out, &lines[i])
		}
	}
	return out
}

func randomRequest(rng *rand.Rand) propagate.HopRequest {
	text := func(alphabet string, longest int) string {
		b := make([]byte, 1+rng.IntN(longest))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
		}
		return string(b)
	}
	const visible = `!"#$%&'()*+,-./09:;<=>?@AZ[\]^_az{|}~`
	r := propagate.HopRequest{Method: text("GETPOS", 7), Authority: text("aZ09.-:", 20), Path: "/" + text(visible, 30), Fields: map[string][]string{}}
	if rng.IntN(2) == 0 {
		r.Query = "?" + text(visible, 30)
	}
	for range 1 + rng.IntN(3) {
		r.Fields["baggage"] = append(r.Fields["baggage"], "k="+text(visible+" \t", 60))
	}
	if rng.IntN(2) == 0 {
		r.Fields["content-digest"] = []string{"sha-256=:" + text(visible, 40) + ":"}
	}
	return r
}
