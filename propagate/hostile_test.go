package propagate_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// ingress fills in what a test does not say: an edge that verifies.
func ingress(t testing.TB, c propagate.IngressConfig) *propagate.Ingress {
	t.Helper()
	if c.Listener == 0 {
		c.Listener = propagate.Edge
	}
	if c.Verifier == nil && !c.InsecureIgnoreLineage {
		c.Verifier = verifier(t)
	}
	i, err := propagate.NewIngress(c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// turnedAway holds a request to everything that must hold of every refusal: the class, nothing executed under either
// context, nothing of ours in the baggage, and one log line that names the status and repeats no lineage.
func turnedAway(t *testing.T, p *propagate.Propagator, want propagate.Class, lines ...string) {
	t.Helper()
	ctx := p.Extract(t.Context(), carry(lines...))
	if err := propagate.Refusal(ctx); err != nil {
		wantClass(t, err, want)
	}
	stopped(t, ctx) // also when it was readable: nothing has verified it
	var l logs
	i := ingress(t, propagate.IngressConfig{Propagator: p, Logger: l.logger()})
	refused(t, i, &l, want, propagate.Request{Carrier: carry(lines...)}, lines...)
}

func refused(t *testing.T, i *propagate.Ingress, l *logs, want propagate.Class, r propagate.Request, secrets ...string) {
	t.Helper()
	l.lines(t)
	ctx, admission, err := i.Admit(t.Context(), r)
	wantClass(t, err, want)
	stopped(t, ctx)
	if admission.Proven || propagate.SessionFrom(ctx) != nil || propagate.IdentityFrom(ctx) != (propagate.Identity{}) {
		t.Error("something was attached")
	}
	for _, m := range baggage.FromContext(ctx).Members() {
		if strings.HasPrefix(m.Key(), "kest.") {
			t.Errorf("%s is in the baggage of the context", m.Key())
		}
	}
	text := l.text()
	for _, line := range secrets {
		for m := range strings.SplitSeq(line, ",") {
			key, value, _ := strings.Cut(m, "=")
			decoded, _ := url.PathUnescape(value)
			if strings.TrimSpace(key) != propagate.KeyChainTip && len(value) > 12 && (strings.Contains(text, value) || strings.Contains(text, decoded)) {
				t.Errorf("the log repeats %.60q", value)
			}
		}
	}
	out := l.lines(t)
	if len(out) != 1 || out[0]["level"] != "WARN" || out[0]["status"] != float64(want.Status()) || out[0]["class"] != want.Title() ||
		out[0]["reason"] == nil || out[0]["reason"] == "" || len(text) > 1000 {
		t.Errorf("log %v", out)
	}
}

// TestHostileHeader: what cannot be read, contradicts itself or is over a limit is refused with its class (SPEC §9).
func TestHostileHeader(t *testing.T) {
	p := propagator(t, propagate.Config{Store: newShelf()})
	good := headerOf(t, p, chain(t, 2))
	plain, _ := valueOf(good, propagate.KeyPassport)
	tip, _ := valueOf(good, propagate.KeyChainTip)
	other := chain(t, 1).Tips()[0].String() // a real entry, but not the last
	passport, tips := "kest.passport="+plain, "kest.chain_tip="+tip
	enc := func(text string) string { return "kest.passport=" + url.PathEscape(text) }
	many := strings.Repeat("a=,", 62)
	for name, c := range map[string]struct {
		want  propagate.Class
		lines []string
	}{
		"passport twice":              {propagate.Malformed, []string{good + "," + passport}},
		"passport twice in two lines": {propagate.Malformed, []string{good, passport}},
		"tip twice":                   {propagate.Malformed, []string{good + "," + tips}},
		"user twice":                  {propagate.Malformed, []string{good + ",kest.user=a,kest.user=b"}},
		"user twice, once odd":        {propagate.Malformed, []string{good + ",kest.user=a,kest.user = b;p"}},
		"unknown of ours twice":       {propagate.Malformed, []string{good + ",kest.x=1", "kest.x=1"}},
		"user twice without lineage":  {propagate.Malformed, []string{"kest.user=a,kest.user=a"}},

		"broken escape":        {propagate.Malformed, []string{tips + ",kest.passport=%5B%2"}},
		"broken escape, user":  {propagate.Malformed, []string{good + ",kest.user=%zz"}},
		"escape at the end":    {propagate.Malformed, []string{tips + ",kest.passport=%"}},
		"not UTF-8":            {propagate.Malformed, []string{tips + ",kest.passport=%ff%fe"}},
		"no value":             {propagate.Malformed, []string{good + ",kest.passport"}},
		"no value, other case": {propagate.Malformed, []string{good + ",KEST.x"}},
		"name alone":           {propagate.Malformed, []string{good + ",kest."}},
		"space in the name":    {propagate.Malformed, []string{good + ",kest. user=a"}},
		"quoted":               {propagate.Malformed, []string{good + `,kest.user="a"`}},
		"bad property":         {propagate.Malformed, []string{good + ",kest.user=a;=b"}},
		"NUL":                  {propagate.Malformed, []string{good + ",kest.user=a\x00"}},
		"non-ASCII":            {propagate.Malformed, []string{good + ",kest.user=älice"}},
		"Latin-1":              {propagate.Malformed, []string{good + ",kest.user=\xe4"}},
		"CRLF":                 {propagate.Malformed, []string{good + ",kest.user=a\r\nX-Evil: 1"}},
		"CRLF at the end":      {propagate.Malformed, []string{good + ",kest.user=a\r\n"}},
		"CRLF before":          {propagate.Malformed, []string{"\r\n" + passport}},
		"vertical tab before":  {propagate.Malformed, []string{"\v" + passport + "," + tips}},
		"form feed, claim":     {propagate.Malformed, []string{"a=1,\fkest.claim_check=00000000-0000-4000-8000-000000000000"}},
		"no-break space":       {propagate.Malformed, []string{"a=1,\u00a0" + passport}},
		"next line in name":    {propagate.Malformed, []string{"kest.passport\u0085=" + plain}},

		"65 members":    {propagate.TooLarge, []string{many + good + ",b="}},
		"many bytes":    {propagate.TooLarge, []string{good, "a=" + strings.Repeat("x", 8192)}},
		"10^5 commas":   {propagate.TooLarge, []string{strings.Repeat(",", 100_000)}},
		"10^4 lines":    {propagate.TooLarge, make([]string, 10_000)},
		"too many tips": {propagate.TooLarge, []string{passport, "kest.chain_tip=" + strings.TrimSuffix(strings.Repeat("%2C", 65), "%2C")}},

		"tip alone":         {propagate.Malformed, []string{tips}},
		"empty tip alone":   {propagate.Malformed, []string{"kest.chain_tip="}},
		"empty tip":         {propagate.Forbidden, []string{passport, "kest.chain_tip="}},
		"tip of another":    {propagate.Forbidden, []string{passport, "kest.chain_tip=" + other}},
		"one tip more":      {propagate.Forbidden, []string{passport, tips + "%2C" + other}},
		"tip of zeros":      {propagate.Forbidden, []string{passport, "kest.chain_tip=" + strings.Repeat("0", 64)}},
		"tip in upper case": {propagate.Malformed, []string{passport, "kest.chain_tip=" + strings.ToUpper(tip)}},
		"bad tip, packed":   {propagate.Malformed, []string{"kest.passport_z=" + pack(t, textOf(t, chain(t, 2))), "kest.chain_tip=x"}},
		"tip too short":     {propagate.Malformed, []string{passport, "kest.chain_tip=" + tip[1:]}},
		"space in tips":     {propagate.Malformed, []string{passport, tips + "%2C%20" + tip}},
		"trailing comma":    {propagate.Malformed, []string{passport, tips + "%2C"}},
		"passport cut off":  {propagate.Forbidden, []string{enc(textOf(t, chain(t, 1))), tips}},
		"emptied":           {propagate.Forbidden, []string{"kest.passport=%5B%5D", tips}},

		"empty":             {propagate.Malformed, []string{"kest.passport="}},
		"not JSON":          {propagate.Malformed, []string{"kest.passport=x"}},
		"object":            {propagate.Malformed, []string{enc(`{"a":1}`)}},
		"null":              {propagate.Malformed, []string{"kest.passport=null"}},
		"string":            {propagate.Malformed, []string{enc(`"a"`)}},
		"numbers":           {propagate.Malformed, []string{enc(`[1,2]`)}},
		"null entry":        {propagate.Malformed, []string{enc(`[null]`)}},
		"nested":            {propagate.Malformed, []string{enc("[" + textOf(t, chain(t, 1)) + "]")}},
		"deeply nested":     {propagate.Malformed, []string{enc(strings.Repeat("[", 1000))}},
		"two arrays":        {propagate.Malformed, []string{enc(`[][]`)}},
		"after the array":   {propagate.Malformed, []string{enc(textOf(t, chain(t, 1)) + "x")}},
		"no JWS":            {propagate.Malformed, []string{enc(`["a.b.c"]`)}},
		"2000 entries":      {propagate.TooLarge, []string{"kest.passport_z=" + pack(t, `["`+strings.Join(strings.SplitAfter(noise(2000), ""), `","`)+`"]`)}},
		"entry of 70 KB":    {propagate.TooLarge, []string{"kest.passport_z=" + pack(t, `["`+noise(70_000)+`"]`)}},
		"encoded twice":     {propagate.Malformed, []string{"kest.passport=" + url.PathEscape(plain)}},
		"changed signature": {propagate.Forbidden, []string{enc(forged(textOf(t, chain(t, 1))))}},
	} {
		t.Run(name, func(t *testing.T) {
			turnedAway(t, p, c.want, c.lines...)
		})
	}
}

// forged changes the first letter of the last signature.
func forged(text string) string {
	at := strings.LastIndexByte(text, '.') + 1
	if text[at] == 'A' {
		return text[:at] + "B" + text[at+1:]
	}
	return text[:at] + "A" + text[at+1:]
}

// TestLookalikes: names in other case are no lineage; they pass to nobody, and what is broken in others does not matter.
func TestLookalikes(t *testing.T) {
	p := propagator(t, propagate.Config{})
	good := headerOf(t, p, chain(t, 1))
	plain, _ := valueOf(good, propagate.KeyPassport)
	ctx := p.Extract(t.Context(), carry("Kest.Passport="+plain+",KEST.USER=m,kestpassport=x,kest=y,kest.user=alice,a=%zz"))
	if a := propagate.ArrivalFrom(ctx); a == nil || a.Present || a.Claimed != (propagate.Identity{User: "alice"}) {
		t.Errorf("%+v, %v", a, propagate.Refusal(ctx))
	}
	if got := baggage.FromContext(ctx); got.Len() != 2 || got.Member("kest").Value() != "y" || got.Member("kestpassport").Value() != "x" {
		t.Errorf("baggage %q", got)
	}
	out := carry()
	if err := p.Attach(ctx, out, lineage.Passport{}); err != nil || out.Get("baggage") != "kestpassport=x,kest=y" {
		t.Errorf("%q, %v", out.Get("baggage"), err)
	}
	if entry, err := call(t, ctx); err != nil || len(entry.Entry().Parents) != 0 {
		t.Errorf("%v", err) // no lineage came
	}
	both := p.Extract(t.Context(), carry(good+",Kest.Passport=x,KEST.CHAIN_TIP=x"))
	if a := propagate.ArrivalFrom(both); a == nil || len(a.Lineage.Entries) != 1 {
		t.Errorf("%v", propagate.Refusal(both))
	}
	if propagate.ArrivalFrom(t.Context()) != nil {
		t.Error("an arrival out of nothing")
	}
}

// TestReadable: what is unusual and still right.
func TestReadable(t *testing.T) {
	p := propagator(t, propagate.Config{})
	good := headerOf(t, p, chain(t, 2))
	plain, _ := valueOf(good, propagate.KeyPassport)
	tip, _ := valueOf(good, propagate.KeyChainTip)
	for name, line := range map[string]string{
		"white space":   " kest.passport \t=\t " + plain + " ;p=1; q ,\tkest.chain_tip = " + tip,
		"other escapes": "kest.passport=" + strings.ReplaceAll(plain, "%2C", "%20%2c%0A") + ",kest.chain_tip=" + tip,
		"more escaped":  "kest.passport=" + plain + fmt.Sprintf(",kest.chain_tip=%%%02x", tip[0]) + tip[1:],
	} {
		if got := restored(t, p, line); got.Len() != 2 {
			t.Errorf("%s: %d entries", name, got.Len())
		}
	}
	if a, err := p.Restore(t.Context(), carry("kest.passport="+plain)); err != nil || !a.Present || a.Lineage.Tips != nil {
		t.Errorf("without tips: %+v, %v", a, err)
	}
	a, err := p.Restore(t.Context(), carry("kest.passport=%5B%5D,kest.chain_tip="))
	if err != nil || !a.Present || len(a.Lineage.Entries) != 0 || a.Lineage.Tips == nil {
		t.Errorf("empty lineage: %+v, %v", a, err)
	}
	if a, err = p.Restore(t.Context(), carry()); err != nil || a.Present {
		t.Errorf("nothing: %+v, %v", a, err)
	}
}

// TestRefusedError: no class and no cause are faults of ours, and never a panic.
func TestRefusedError(t *testing.T) {
	if text := (&propagate.RefusedError{Class: propagate.Forbidden}).Error(); text != propagate.Forbidden.Title() {
		t.Error(text)
	}
	for _, c := range []propagate.Class{-1, propagate.Unavailable + 1, 99} {
		if propagate.ClassOf(&propagate.RefusedError{Class: c}) != propagate.Fault || c.Status() != 500 || c.Title() != propagate.Fault.Title() {
			t.Errorf("class %d", c)
		}
	}
	if propagate.ClassOf(errors.New("x")) != propagate.Fault || propagate.ClassOf(nil) != propagate.Fault {
		t.Error("an error without a class has one")
	}
	for class, status := range map[propagate.Class]int{
		propagate.Malformed: 400, propagate.Unauthenticated: 401, propagate.Forbidden: 403, propagate.TooLarge: 431,
		propagate.ContentTooLarge: 413, propagate.Unavailable: 503,
	} {
		if class.Status() != status {
			t.Errorf("%s is %d", class.Title(), class.Status())
		}
	}
}

// pack is the compressed form of any text.
func pack(t testing.TB, text string) string {
	t.Helper()
	return base64.RawURLEncoding.EncodeToString(deflated(t, text, zlib.BestCompression))
}

func deflated(t testing.TB, text string, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zlib.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noise is text of n letters that compresses about twenty times: less than what counts as a bomb.
func noise(n int) string {
	r := rand.New(rand.NewSource(1))
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(strings.Repeat("x", 80) + string(rune('a'+r.Intn(26))) + string(rune('a'+r.Intn(26))))
	}
	return b.String()[:n]
}
