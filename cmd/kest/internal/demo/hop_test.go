package demo_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kest-go/kest/cmd/kest/internal/demo"
	"github.com/kest-go/kest/lineage"
)

// intruder talks to the ledger between two scenes of a running demo.
type intruder struct {
	t      *testing.T
	dir    string
	screen bytes.Buffer
	tried  int
}

var ledgerAddress = regexp.MustCompile(`ledger +(127\.0\.0\.1:[0-9]+)`)

func (i *intruder) Write(p []byte) (int, error) {
	i.screen.Write(p)
	if bytes.HasPrefix(p, []byte("2  ")) { // scene 1 is over, and so is scene 2
		i.attack("http://" + ledgerAddress.FindStringSubmatch(i.screen.String())[1])
	}
	return len(p), nil
}

// signed returns the entries that the audit file holds so far.
func (i *intruder) signed() []string {
	text, err := os.ReadFile(filepath.Join(i.dir, "audit.jsonl"))
	if err != nil {
		i.t.Fatal(err)
	}
	var entries []string
	for l := range strings.Lines(string(text)) {
		var r struct{ Kind, JWS string }
		if err := json.Unmarshal([]byte(l), &r); err != nil {
			i.t.Fatal(err)
		}
		if r.Kind == "entry" {
			entries = append(entries, r.JWS)
		}
	}
	return entries
}

// attack sends what an ingress has to refuse (SPEC §9): with the right status, without a reason from the inside,
// and before the body of the request is read. The bodies are all malformed, so 400 "malformed body" is what good
// lineage gets, and no scene is disturbed.
func (i *intruder) attack(ledger string) {
	entries := i.signed() // payOrder, processPayment, takeOrder
	text := func(e ...string) string { return `["` + strings.Join(e, `","`) + `"]` }
	tip := func(jws string) string { return lineage.HashJWS(jws).String() }
	chain, last := text(entries[:2]...), tip(entries[1])
	for name, c := range map[string]struct {
		passports, tips []string
		path            string
		status          int
		title           string
	}{
		"good lineage":           {[]string{chain}, []string{last}, "/payments", 400, "malformed body"},
		"no lineage":             {nil, nil, "/payments", 403, "this service serves only calls with lineage"},
		"no tips":                {[]string{chain}, nil, "/payments", 400, "want one passport and its tips"},
		"tips alone":             {nil, []string{last}, "/payments", 400, "want one passport and its tips"},
		"two passports":          {[]string{chain, chain}, []string{last}, "/payments", 400, "want one passport and its tips"},
		"two tips":               {[]string{chain}, []string{last, last}, "/payments", 400, "want one passport and its tips"},
		"empty passport":         {[]string{"[]"}, []string{last}, "/payments", 403, "lineage is not verified"},
		"not a passport":         {[]string{"{}"}, []string{last}, "/payments", 400, "malformed passport"},
		"tips upper case":        {[]string{chain}, []string{strings.ToUpper(last)}, "/payments", 400, "malformed tips"},
		"tips empty":             {[]string{chain}, []string{""}, "/payments", 400, "malformed tips"},
		"too many tips":          {[]string{chain}, []string{strings.Repeat(last+",", 64) + last}, "/payments", 400, "malformed tips"},
		"tail cut":               {[]string{text(entries[0])}, []string{last}, "/payments", 403, "lineage is not verified"},
		"head cut":               {[]string{text(entries[1])}, []string{last}, "/payments", 403, "lineage is not verified"},
		"other lineage in front": {[]string{text(entries[2], entries[0], entries[1])}, []string{last}, "/payments", 403, "lineage is not verified"},
		"signature cut":          {[]string{text(entries[0], entries[1][:len(entries[1])-4])}, []string{last}, "/payments", 403, "lineage is not verified"},
		"too many entries": {[]string{text(strings.Split(strings.Repeat("a.a.a ", 1100), " ")...)}, []string{last}, "/payments",
			431, "passport too large"},
		"header too large": {[]string{strings.Repeat("a", 1<<20)}, []string{last}, "/payments", 431, ""},
	} {
		i.tried++
		r, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, ledger+c.path, strings.NewReader("{]"))
		if err != nil {
			i.t.Fatal(err)
		}
		r.Header["Kest-Demo-Passport"], r.Header["Kest-Demo-Tips"] = c.passports, c.tips
		transport := &http.Transport{DisableKeepAlives: true}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			i.t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
		resp.Body.Close()
		var problem struct {
			Title  string
			Status int
		}
		if err == nil && c.title != "" {
			err = json.Unmarshal(body, &problem)
		}
		if err != nil || resp.StatusCode != c.status || problem.Title != c.title {
			i.t.Errorf("%s: status %d, %s, %v; want %d %q", name, resp.StatusCode, body, err, c.status, c.title)
		}
		if c.title != "" && resp.Header.Get("Content-Type") != "application/problem+json" {
			i.t.Errorf("%s: content type %q", name, resp.Header.Get("Content-Type"))
		}
		if resp.Header.Get("Kest-Demo-Passport") != "" {
			i.t.Errorf("%s: the answer carries lineage", name)
		}
	}
}

// Lineage that arrives and cannot be believed is refused and never taken for none (SPEC §9).
func TestIngress(t *testing.T) {
	i := &intruder{t: t, dir: shortDir(t)}
	if _, err := demo.Run(t.Context(), demo.Options{Out: i, Dir: i.dir}); err != nil {
		t.Fatal(err)
	}
	if i.tried == 0 {
		t.Fatal("nothing was tried")
	}
}
