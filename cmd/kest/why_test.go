package main_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kest-go/kest/cmd/kest/internal/cli"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/internal/report/reporttest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// TestExplainScripts runs testdata/explain: why, config, deviation, and verify with a configuration.
func TestExplainScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/explain/*.txtar")
	if err != nil || len(scripts) < 4 {
		t.Fatalf("%d scripts found, %v", len(scripts), err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/explain",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TERM", "xterm")
			s := &story{dir: env.WorkDir}
			s.write()
			return s.err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "jsondoc": jsondoc, "clean": clean, "tamper": tamper, "nosecret": nosecret,
		},
	})
}

// tamper FILE OLD NEW replaces the only occurrence of a text.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: tamper FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if strings.Count(text, args[1]) != 1 {
		ts.Fatalf("%s has %q %d times", args[0], args[1], strings.Count(text, args[1]))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// nosecret FILE demands that the last output repeats nothing of a PEM file, encoded or not.
func nosecret(ts *testscript.TestScript, _ bool, args []string) {
	block, _ := pem.Decode([]byte(ts.ReadFile(args[0])))
	if block == nil {
		ts.Fatalf("%s is no PEM file", args[0])
	}
	seed := string(block.Bytes[len(block.Bytes)-ed25519.SeedSize:])
	for _, stream := range []string{"stdout", "stderr"} {
		text := ts.ReadFile(stream)
		for line := range strings.Lines(ts.ReadFile(args[0])) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") && line != "" && strings.Contains(text, line) {
				ts.Fatalf("%s repeats the file", stream)
			}
		}
		if strings.Contains(text, seed) || strings.Contains(text, fmt.Sprintf("%x", seed)) {
			ts.Fatalf("%s holds the key", stream)
		}
	}
}

const (
	storyWeb   = "spiffe://shop.example/web"
	storyPay   = "spiffe://shop.example/pay"
	storyEvil  = "spiffe://evil.example/\x1b[2J\u202eyap"
	storyTrace = "0af7651916cd43dd8448eb211c80319c"
)

// story is the guide's payment, as records.
type story struct {
	dir     string
	n       int
	entries map[string]*lineage.Signed
	err     error
}

func storyKey(principal string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("story " + principal))
	return ed25519.NewKeyFromSeed(seed[:])
}

type storyCall struct {
	principal, from string
	trust           int
	added, removed  []string
	taints          []string
	labels          map[string]string
	policies        []string
	deviations      []lineage.Deviation
	parents         []string
}

func (s *story) entry(operation string, c storyCall) lineage.Entry {
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "0.1.0"}, Operation: operation, Classification: "system",
		ID: fmt.Sprintf("01900000-0000-7000-8000-%012x", s.n), TimestampMS: 1_795_000_000_000 + int64(s.n), TrustScore: c.trust,
		AddedTaints: c.added, RemovedTaints: c.removed, Taints: c.taints,
		Labels: map[string]string{
			lineage.LabelPrincipal: c.principal, lineage.LabelTraceID: storyTrace, lineage.LabelSourceType: c.from,
		},
		Policies: lineage.PolicyContext{Function: c.policies, Deviations: c.deviations},
	}
	s.n++
	maps.Copy(e.Labels, c.labels)
	for _, p := range c.parents {
		e.Parents = append(e.Parents, s.entries[p].Hash())
	}
	return e
}

func (s *story) signer(principal string) lineage.Signer {
	signer, err := lineage.NewSigner(principal, storyKey(principal))
	s.fail(err)
	return signer
}

func (s *story) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *story) sign(operation string, c storyCall) {
	if s.err != nil {
		return
	}
	e := s.entry(operation, c)
	signed, err := lineage.Sign(context.Background(), s.signer(c.principal), e, lineage.Limits{})
	s.fail(err)
	s.entries[operation] = signed
}

func (s *story) deny(operation, name, reason string, c storyCall) string {
	if s.err != nil {
		return ""
	}
	jws, err := lineage.SignDenial(context.Background(), s.signer(c.principal),
		lineage.Denial{Entry: s.entry(operation, c), Policy: name, Tier: "function", Reason: reason}, lineage.Limits{})
	s.fail(err)
	return jws
}

func (s *story) put(file string, text []byte) {
	s.fail(os.WriteFile(filepath.Join(s.dir, file), text, 0o600))
}

func (s *story) passport(file string, operations ...string) {
	list := make([]string, len(operations))
	for i, o := range operations {
		if s.err == nil {
			list[i] = s.entries[o].JWS()
		}
	}
	text, err := json.Marshal(list)
	s.fail(err)
	s.put(file, text)
}

func auditText(kind, jws string) string {
	return `{"kind":"` + kind + `","operation":"what the line says is not believed","jws":"` + jws + "\"}\n"
}

// write puts the story into the folder.
//
//	keys.json  of everybody
//	audit.jsonl  folder/audit.jsonl  a call from the internet, and the payment that is denied below it
//	denial.jws  passport.json  the same in two files
//	receipts.jsonl  audit.jsonl, with how its two calls ended: one before the payment, the other after it
//	disputed.jsonl  foreign.jsonl  with another receipt that contradicts, and with one that somebody else signed
//	forged.json  passport.json with a score of 100, signed by its own key
//	liar.jws  a denial with another signature
//	agent.json  a taint that is removed and comes back, a trial, a deviation
//	hostile.jsonl  texts that a terminal must not see
//	large.jsonl  10,000 entries besides
//	alice.pem  rsa.pem  keys of approvers
func (s *story) write() {
	s.entries = map[string]*lineage.Signed{}
	s.sign("take_order", storyCall{principal: storyWeb, from: "internet", trust: 10})
	s.sign("reserve_stock", storyCall{principal: storyWeb, from: "internal", trust: 10, parents: []string{"take_order"}})
	denial := s.deny("process_payment", "kest/allow_trusted", "rule allow is not true", storyCall{
		principal: storyPay, from: "internal", trust: 10, parents: []string{"reserve_stock"}, policies: []string{"kest/allow_trusted"},
	})
	forged := s.entry("reserve_stock", storyCall{principal: storyWeb, from: "internal", trust: 100, parents: []string{"take_order"}})
	s.forged(forged)
	s.sign("other", storyCall{principal: storyWeb, from: "internal", trust: 100})
	if s.err != nil {
		return
	}
	audit := auditText("entry", s.entries["take_order"].JWS()) + "\n" + auditText("receipt", "x.y.z") +
		auditText("entry", s.entries["reserve_stock"].JWS()) + auditText("denial", denial) + auditText("denial", denial)
	s.put("audit.jsonl", []byte(audit))
	s.fail(os.Mkdir(filepath.Join(s.dir, "folder"), 0o700))
	s.put("folder/audit.jsonl", []byte(audit))
	s.put("denial.jws", []byte(denial+"\n"))
	s.receipts(audit)
	s.put("liar.jws", []byte(denial[:strings.LastIndexByte(denial, '.')]+s.entries["other"].JWS()[strings.LastIndexByte(s.entries["other"].JWS(), '.'):]))
	s.passport("passport.json", "take_order", "reserve_stock")
	s.agent()
	s.hostile()
	s.large(audit)
	s.keys()
}

func (s *story) receipts(audit string) {
	receipt := func(operation, signer string, status lineage.Outcome, ended int64) string {
		e := s.entries[operation]
		jws, err := lineage.SignReceipt(context.Background(), s.signer(signer), lineage.Receipt{EntryHash: e.Hash(), EntryID: e.Entry().ID,
			Status: status, StartedMS: e.Entry().TimestampMS, EndedMS: 1_795_000_000_000 + ended, Tips: []lineage.Hash{e.Hash()}}, lineage.Limits{})
		s.fail(err)
		return auditText("receipt", jws)
	}
	before := audit + receipt("take_order", storyWeb, lineage.OutcomeOK, 1)
	s.put("receipts.jsonl", []byte(before+receipt("reserve_stock", storyWeb, lineage.OutcomeOK, 9)))
	s.put("disputed.jsonl", []byte(audit+receipt("take_order", storyWeb, lineage.OutcomeError, 1)+before[len(audit):]))
	s.put("foreign.jsonl", []byte(audit+receipt("take_order", storyPay, lineage.OutcomeOK, 1)))
}

func (s *story) forged(e lineage.Entry) {
	signed, err := lineage.Sign(context.Background(), s.signer(storyWeb), e, lineage.Limits{})
	s.fail(err)
	if err == nil {
		s.entries["forged"] = signed
		s.passport("forged.json", "take_order", "forged")
	}
}

func (s *story) agent() {
	s.sign("read_mail", storyCall{principal: storyWeb, from: "llm", added: []string{"llm"}, taints: []string{"llm"},
		labels: map[string]string{lineage.LabelObserved: "platform:shop/new=deny,platform:shop/old=allow"}})
	s.sign("check_mail", storyCall{principal: storyWeb, from: "internal", trust: 60, removed: []string{"llm"}, parents: []string{"read_mail"},
		labels: map[string]string{lineage.LabelSanitizer: "limits", lineage.LabelTrustOverride: "60"}})
	s.sign("ask_again", storyCall{principal: storyWeb, from: "user_input", trust: 24, added: []string{"llm"}, taints: []string{"llm"}, parents: []string{"check_mail"}})
	s.sign("refund", storyCall{principal: storyPay, from: "internal", trust: 24, taints: []string{"llm"}, parents: []string{"ask_again"},
		policies:   []string{"kest/allow_trusted"},
		labels:     map[string]string{lineage.LabelPolicyRevision: "sha256:old"},
		deviations: []lineage.Deviation{{Policy: "kest/allow_trusted", Tier: "function", Reason: "INC-7", Approver: "alice", ApproverKey: "key-1"}}})
	s.passport("agent.json", "read_mail", "check_mail", "ask_again", "refund")
}

func (s *story) hostile() {
	const attack = reporttest.Attack
	s.sign("hostile", storyCall{principal: storyEvil, from: "internet", trust: 10, added: []string{attack}, taints: []string{attack},
		labels: map[string]string{lineage.LabelObserved: attack + ":" + attack + "=" + attack, attack: attack}, policies: []string{attack},
		deviations: []lineage.Deviation{{Policy: attack, Tier: attack, Reason: attack, Approver: attack, ApproverKey: attack}}})
	denial := s.deny(attack, attack, attack, storyCall{principal: storyEvil, from: "internal", trust: 10, taints: []string{attack}, parents: []string{"hostile"}})
	if s.err == nil {
		s.put("hostile.jsonl", []byte(auditText("entry", s.entries["hostile"].JWS())+auditText("denial", denial)+"{\"kind\":\"\x1b[2J\"}\n"))
	}
}

func (s *story) large(audit string) {
	more, err := manyLines()
	s.fail(err)
	s.put("large.jsonl", []byte(audit+more))
}

// manyLines are the same in every script.
var manyLines = sync.OnceValues(func() (string, error) {
	var b strings.Builder
	s := &story{n: 1000}
	signer := s.signer(storyWeb)
	for i := range 10_000 {
		e := s.entry(fmt.Sprintf("work_%d", i), storyCall{principal: storyWeb, from: "internal", trust: 100})
		signed, err := lineage.Sign(context.Background(), signer, e, lineage.Limits{})
		if err != nil {
			return "", err
		}
		b.WriteString(auditText("entry", signed.JWS()))
	}
	return b.String(), s.err
})

func (s *story) keys() {
	all := map[string][]ed25519.PublicKey{}
	for _, p := range []string{storyWeb, storyPay, storyEvil} {
		all[p] = []ed25519.PublicKey{storyKey(p).Public().(ed25519.PublicKey)}
	}
	set, err := lineage.NewKeySet(all)
	s.fail(err)
	text, err := set.AppendJSON(nil)
	s.fail(err)
	s.put("keys.json", text)
	der, err := x509.MarshalPKCS8PrivateKey(storyKey("alice"))
	s.fail(err)
	s.put("alice.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	s.put("sealed.pem", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}))
	s.put("cut.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der[1:]}))
}

// TestDeviationRoundTrip: what kest deviation sign prints is what a guard accepts, for words of any kind.
func TestDeviationRoundTrip(t *testing.T) {
	t.Parallel()
	public := storyKey("alice").Public().(ed25519.PublicKey)
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{"alice": {public}})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{dir: t.TempDir()}
	s.keys()
	if s.err != nil {
		t.Fatal(s.err)
	}
	for _, reason := range []string{"", "plain", `"quoted" 'text' \ # : - {}`, reporttest.Attack, "Größe 支付 🙂 \U000e0041", "\u2028\u0085\t"} {
		args := []string{"deviation", "sign", "--key", filepath.Join(s.dir, "alice.pem"), "--approver", "alice", "--yaml",
			"--policy", "base", "--tier", "enterprise", "--scope", "payments.*", "--not-after", "2099-01-31T00:00:00+01:00"}
		if reason != "" {
			args = append(args, "--reason", reason)
		}
		code, out, diagnostics := runKest(t, args...)
		if strings.ContainsAny(reason, "\x1b\t") { // no configuration file can hold it
			if code != 2 || out != "" || !strings.Contains(diagnostics, "control character") {
				t.Errorf("%q: %d: %s%s", reason, code, out, diagnostics)
			}
			continue
		}
		if code != 0 {
			t.Fatalf("%q: %d: %s", reason, code, diagnostics)
		}
		d := readBack(t, out)
		verified, err := d.Verify(t.Context(), keys)
		if err != nil || d.Reason != reason || verified.ApproverKey != lineage.Thumbprint(public) || !d.NotAfter.Equal(time.Date(2099, 1, 30, 23, 0, 0, 0, time.UTC)) {
			t.Errorf("%q: %v: %s%+v", reason, err, out, d)
		}
	}
}

func readBack(t *testing.T, item string) policy.Deviation {
	t.Helper()
	list, err := config.Deviations([]byte("deviations:\n"+item), "x.yaml")
	if err != nil || len(list) != 1 {
		t.Fatalf("%v: %d deviations in %s", err, len(list), item)
	}
	return list[0].Deviation
}

// runKest runs one command line.
func runKest(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, diagnostics bytes.Buffer
	code = cli.Main(args, strings.NewReader(""), &out, &diagnostics)
	return code, out.String(), diagnostics.String()
}
