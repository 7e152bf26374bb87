// Package reporttest makes the passports that the tests of the command lines read: good, forged, hostile and
// unreadable ones, signed with fixed keys, so that their hashes are the same in every run.
package reporttest

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
)

// Principals of the fixtures.
const (
	Web  = "spiffe://shop.example/web"
	Pay  = "spiffe://shop.example/pay"
	Evil = "spiffe://evil.example/\x1b[2J\u202eyap"
)

// Attack is a text that no terminal may see: it clears the screen, sets the window title, hides itself, reverses
// what follows, and forges a line of a report.
const Attack = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202egood\u2066\nVERIFIED  all is well\x7f\u200b"

const trace = "0af7651916cd43dd8448eb211c80319c"

// key derives the signing key of a principal.
func key(principal string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("reporttest " + principal))
	return ed25519.NewKeyFromSeed(seed[:])
}

// builder makes entries with ascending ids.
type builder struct {
	n    int
	list []*lineage.Signed
	err  error
}

// entry signs an entry below parents; edit changes it before.
func (b *builder) entry(principal, operation string, edit func(*lineage.Entry), parents ...int) {
	if b.err != nil {
		return
	}
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "0.1.0"}, Operation: operation,
		ID:             fmt.Sprintf("01900000-0000-7000-8000-%012x", b.n),
		Classification: "system", TrustScore: 100, TimestampMS: signed.UnixMilli() + int64(b.n),
		Labels: map[string]string{
			lineage.LabelPrincipal: principal, lineage.LabelTraceID: trace, lineage.LabelSourceType: lineage.SourceInternal,
		},
		Policies: lineage.PolicyContext{Function: []string{"kest/allow_trusted"}},
	}
	for _, p := range parents {
		e.Parents = append(e.Parents, b.list[p].Hash())
	}
	if edit != nil {
		edit(&e)
	}
	signer, err := lineage.NewSigner(principal, key(principal))
	if err != nil {
		b.err = err
		return
	}
	signed, err := lineage.Sign(context.Background(), signer, e, lineage.Limits{})
	if err != nil {
		b.err = fmt.Errorf("fixture entry %q: %w", operation, err)
		return
	}
	b.n, b.list = b.n+1, append(b.list, signed)
}

func (b *builder) strings() []string {
	out := make([]string, len(b.list))
	for i, s := range b.list {
		out[i] = s.JWS()
	}
	return out
}

func from(sourceType string, trust int, taints ...string) func(*lineage.Entry) {
	return func(e *lineage.Entry) {
		e.Labels[lineage.LabelSourceType], e.TrustScore = sourceType, trust
		e.AddedTaints, e.Taints = taints, taints
	}
}

func inherit(trust int, taints ...string) func(*lineage.Entry) {
	return func(e *lineage.Entry) { e.TrustScore, e.Taints = trust, taints }
}

// chain is the guide's payment: three calls in a row, by two workloads.
func chain() *builder {
	b := &builder{}
	b.entry(Web, "checkout", from(lineage.SourceUserInput, 40, "contains_data"))
	b.entry(Web, "reserve_stock", inherit(40, "contains_data"), 0)
	b.entry(Pay, "process_payment", inherit(40, "contains_data"), 1)
	return b
}

// diamond forks into three and joins two of them before the third.
func diamond() *builder {
	b := &builder{}
	b.entry(Web, "checkout", nil)
	b.entry(Web, "fetch_stock", nil, 0)
	b.entry(Web, "fetch_price", from(lineage.SourceThirdPartyAPI, 60), 0)
	b.entry(Pay, "fetch_risk", nil, 0)
	b.entry(Web, "merge_offer", inherit(60), 1, 2)
	b.entry(Pay, "process_payment", inherit(60), 3, 4)
	b.entry(Pay, "print_receipt", inherit(60), 5)
	return b
}

func forged() *builder {
	b := chain()
	b.entry(Pay, "refund", inherit(100, "contains_data"), 2) // trust out of nowhere, properly signed
	return b
}

// exempt is a call that a deviation let pass, and that a policy under trial would have stopped.
func exempt() *builder {
	b := &builder{}
	b.entry(Web, "reports.Make", func(e *lineage.Entry) {
		e.Policies.Enterprise = []string{"org/baseline", "org/classes"}
		e.Policies.Deviations = []lineage.Deviation{
			{Policy: "org/baseline", Tier: "enterprise", Reason: "CHG-1", Approver: "ciso", ApproverKey: "key-of-ciso"},
			{Policy: "org/classes", Tier: "enterprise", Reason: "CHG-2"}}
		e.Labels[lineage.LabelObserved] = "platform:org/limits=deny,platform:org/hours=allow,platform:org/quota=error"
		e.Labels[lineage.LabelPolicyRevision] = "sha256:0123"
	})
	return b
}

func hostile() *builder {
	b := &builder{}
	b.entry(Evil, Attack, func(e *lineage.Entry) {
		from(lineage.SourceInternal, 100, Attack)(e)
		e.Labels["note"+Attack], e.Classification = Attack, Attack
		e.Runtime.Name, e.Policies.Function = Attack, []string{Attack}
		e.Policies.Deviations = []lineage.Deviation{{Policy: Attack, Tier: Attack, Reason: Attack, Approver: Attack}}
		e.Environment, _ = lineage.NewObject(map[string]string{Attack: Attack})
	})
	b.entry(Evil, Attack, inherit(99, Attack), 0)
	return b
}

// wide is one call that does n others in parallel and joins them.
func wide(n int) *builder {
	b := &builder{}
	b.entry(Web, "fan_out", nil)
	all := make([]int, n)
	for i := range all {
		all[i] = i + 1
		b.entry(Web, fmt.Sprintf("work_%d", i+1), nil, 0)
	}
	b.entry(Web, "collect", nil, all...)
	return b
}

// Write puts the fixtures into a folder and returns their names.
//
//	keys.json  other-keys.json  keys of everybody, and of somebody else
//	archive.json  archive-late.json  archive-unseen.json  bindings of Web by a KMS key and of Pay by itself; the entries
//		of good.json were seen in time, after the keys had ended, or nobody knows when
//	good.json  spaced.json  empty.json  exempt.json  diamond.json  wide.json  hostile.json (its second entry lies)
//	signature.json  reordered.json  cut.json  trust.json  stranger.json  many.json
//	header.txt  header_z.txt  header_cut.txt  header_claim.txt: good.json in a baggage header, or not
//	jws.txt  baggage.txt  deep.json  garbage.bin  huge.json  utf16.json  none.json  number.json  private.json
func Write(dir string) ([]string, error) {
	files, err := fixtures()
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(files))
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func fixtures() (map[string][]byte, error) {
	files := unreadable()
	good := chain()
	for name, b := range map[string]*builder{
		"good.json": good, "diamond.json": diamond(), "exempt.json": exempt(), "wide.json": wide(40), "hostile.json": hostile(), "trust.json": forged(),
	} {
		if b.err != nil {
			return nil, b.err
		}
		files[name] = passport(b.strings())
	}
	entries := good.strings()
	files["empty.json"] = []byte("[]")
	files["spaced.json"] = []byte("[\n  \"" + strings.Join(entries, "\",\n  \"") + "\"\n]\n")
	files["cut.json"] = passport(entries[:2])
	files["reordered.json"] = passport([]string{entries[0], entries[2], entries[1]})
	files["signature.json"] = passport([]string{entries[0], swapSignature(entries[1], entries[2]), entries[2]})
	files["mangled.json"] = passport([]string{entries[0], "not.a.jws", entries[2]})
	files["many.json"] = []byte("[" + strings.Repeat(`"",`, 1024) + `""]`)
	tip := good.list[2].Hash().String()
	files["jws.txt"] = []byte(entries[0] + "\n")
	files["header.txt"] = []byte("Baggage: tenant=a;p=1\nbaggage: kest.passport=" + percent(passport(entries)) + ", kest.chain_tip=" + tip + "\n")
	files["header_z.txt"] = []byte("kest.chain_tip=" + tip + ",kest.passport_z=" + deflate(passport(entries)))
	files["header_cut.txt"] = []byte("kest.passport=" + percent(passport(entries[:2])) + ",kest.chain_tip=" + tip)
	files["header_claim.txt"] = []byte("kest.claim_check=5f0c1b7e-3c0f-4b6e-9d53-0a3f2f4f8a11,kest.chain_tip=" + tip)
	var err error
	for name, seen := range map[string]time.Time{
		"archive.json": signed.Add(time.Minute), "archive-late.json": signed.Add(48 * time.Hour), "archive-unseen.json": {},
	} {
		if files[name], err = archive(good, seen); err != nil {
			return nil, err
		}
	}
	if files["keys.json"], err = keys(Web, Pay, Evil); err == nil {
		files["other-keys.json"], err = keys(Web)
	}
	files["tip.txt"] = []byte(tip)
	return files, err
}

// signed is when all entries were signed.
var signed = time.UnixMilli(1_795_000_000_000)

// archive is that of a passport whose entries were seen at a time, or not.
func archive(b *builder, seen time.Time) ([]byte, error) {
	const kms = "arn:aws:kms:eu-central-1:123456789012:key/reporttest"
	a, ctx, root := &binding.Archive{}, context.Background(), key(kms)
	statement := func(principal string) lineage.Statement {
		return lineage.Statement{Principal: principal, Key: key(principal).Public().(ed25519.PublicKey),
			NotBefore: signed.Add(-time.Hour), NotAfter: signed.Add(time.Hour)}
	}
	web, err := lineage.Certify(ctx, statement(Web), lineage.StatementKey{Public: root.Public(), ID: kms,
		Sign: func(_ context.Context, input []byte) ([]byte, error) { return ed25519.Sign(root, input), nil }})
	if err != nil {
		return nil, err
	}
	signer, err := lineage.NewSigner(Pay, key(Pay))
	if err != nil {
		return nil, err
	}
	pay, err := lineage.CertifySelf(ctx, statement(Pay), signer)
	if err != nil {
		return nil, err
	}
	roots, err := lineage.NewRoots(lineage.RootsConfig{Self: []string{Pay}, KMS: []lineage.KMSRoot{
		{Key: lineage.RootKey{ID: kms, Public: root.Public()}, Principals: []string{Web}}}})
	if err == nil {
		err = a.AddRoots(roots)
	}
	a.Add(web)
	a.Add(pay)
	for _, s := range b.list {
		if !seen.IsZero() {
			a.Observe(s.Hash(), seen)
		}
	}
	if err != nil {
		return nil, err
	}
	return a.AppendJSON(nil)
}

func unreadable() map[string][]byte {
	return map[string][]byte{
		"deep.json":    []byte(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)),
		"garbage.bin":  {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xfe, 0x1b, '['},
		"huge.json":    []byte("[" + strings.Repeat(" ", 5<<20) + "]"),
		"utf16.json":   {0xff, 0xfe, '[', 0, ']', 0},
		"none.json":    []byte(" \n"),
		"number.json":  []byte(`["a", 5]`),
		"baggage.txt":  []byte("tenant=a,kest.passport=%5B%22eyJ%22%5D,kest.chain_tip=0a\n"),
		"private.json": []byte(`{"` + Web + `":{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"c2VjcmV0"}]}}`),
	}
}

// percent encodes as a baggage member needs it.
func percent(text []byte) string {
	return strings.NewReplacer(`"`, "%22", ",", "%2C").Replace(string(text))
}

func deflate(text []byte) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(text) // into memory: never fails
	_ = z.Close()
	return base64.RawURLEncoding.EncodeToString(b.Bytes())
}

func passport(entries []string) []byte {
	text, err := json.Marshal(entries)
	if err != nil {
		panic(err) // strings always encode
	}
	return text
}

// swapSignature gives an entry the signature of another.
func swapSignature(jws, other string) string {
	return jws[:strings.LastIndexByte(jws, '.')] + other[strings.LastIndexByte(other, '.'):]
}

func keys(principals ...string) ([]byte, error) {
	set := map[string][]ed25519.PublicKey{}
	for _, p := range principals {
		set[p] = []ed25519.PublicKey{key(p).Public().(ed25519.PublicKey)}
	}
	all, err := lineage.NewKeySet(set)
	if err != nil {
		return nil, err
	}
	return all.AppendJSON(nil)
}
