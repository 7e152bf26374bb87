package hopproof_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
)

// A request that was changed on the way, or a proof that was put on another request.
func TestChangedRequest(t *testing.T) {
	const mismatch = "does not match"
	type hop = propagate.HopRequest
	for name, c := range map[string]struct {
		change func(*hop)
		reason string
	}{
		"method":               {func(r *hop) { r.Method = "GET" }, mismatch},
		"method's case":        {func(r *hop) { r.Method = "post" }, mismatch},
		"authority":            {func(r *hop) { r.Authority = "vault:8443" }, mismatch},
		"port":                 {func(r *hop) { r.Authority = "ledger:443" }, mismatch},
		"no port":              {func(r *hop) { r.Authority = "ledger" }, mismatch},
		"path":                 {func(r *hop) { r.Path = "/refund" }, mismatch},
		"path decoded":         {func(r *hop) { r.Path = "/pay/a/b" }, mismatch},
		"path, other hex case": {func(r *hop) { r.Path = "/pay/a%2fb" }, mismatch},
		"path, two slashes":    {func(r *hop) { r.Path = "/pay//a%2Fb" }, mismatch},
		"path, slash at end":   {func(r *hop) { r.Path = "/pay/a%2Fb/" }, mismatch},
		"path, dots":           {func(r *hop) { r.Path = "/x/../pay/a%2Fb" }, mismatch},
		"path empty":           {func(r *hop) { r.Path = "" }, mismatch},
		"query into the path":  {func(r *hop) { r.Path, r.Query = r.Path+r.Query, "" }, mismatch},
		"query":                {func(r *hop) { r.Query = "?order=8&b=%20" }, mismatch},
		"query removed":        {func(r *hop) { r.Query = "" }, mismatch},
		"query, + for space":   {func(r *hop) { r.Query = "?order=7&b=+" }, mismatch},
		"query without ?":      {func(r *hop) { r.Query = "order=7" }, "does not begin"},
		"baggage":              {func(r *hop) { r.Fields["baggage"][0] = "kest.passport_z=stolen" }, mismatch},
		"baggage line added":   {func(r *hop) { r.Fields["baggage"] = append(r.Fields["baggage"], "role=admin") }, mismatch},
		"baggage line removed": {func(r *hop) { r.Fields["baggage"] = r.Fields["baggage"][:1] }, mismatch},
		"baggage reordered":    {func(r *hop) { b := r.Fields["baggage"]; b[0], b[1] = b[1], b[0] }, mismatch},
		"baggage removed":      {func(r *hop) { delete(r.Fields, "baggage") }, "no baggage"},
		"baggage blank":        {func(r *hop) { r.Fields["baggage"] = []string{"", " "} }, "no baggage"},
		"digest":               {func(r *hop) { r.Fields["content-digest"] = []string{"sha-256=:AAAA:"} }, mismatch},
		"digest added":         {func(r *hop) { r.Fields["content-digest"] = append(r.Fields["content-digest"], "sha-512=:AAAA:") }, mismatch},
		"digest removed":       {func(r *hop) { delete(r.Fields, "content-digest") }, "cover exactly"},
		"uncovered field":      {func(r *hop) { r.Fields["authorization"] = []string{"x"} }, "no place"},
		"field in upper case":  {func(r *hop) { r.Fields["Baggage"] = []string{"x=y"} }, "no place"},
		"line break in path":   {func(r *hop) { r.Path = "/x\n\"@query\": ?" }, "not printable"},
		"line break in field":  {func(r *hop) { r.Fields["baggage"][0] += "\n" }, "not printable"},
		"folded field":         {func(r *hop) { r.Fields["baggage"][0] += "\r\n secretbaggage" }, "not printable"},
		"NUL":                  {func(r *hop) { r.Fields["baggage"][0] += "\x00" }, "not printable"},
		"not ASCII":            {func(r *hop) { r.Fields["baggage"][0] += "é" }, "not printable"},
		"not UTF-8":            {func(r *hop) { r.Fields["baggage"][0] += "\xff" }, "not printable"},
		"DEL":                  {func(r *hop) { r.Path += "\x7f" }, "not printable"},
		"space in path":        {func(r *hop) { r.Path += " " }, "not printable"},
		"no method":            {func(r *hop) { r.Method = "" }, "is empty"},
		"no authority":         {func(r *hop) { r.Authority = "" }, "is empty"},
		"64 KiB":               {func(r *hop) { r.Fields["baggage"][0] = strings.Repeat("x", 64<<10) }, "limit"},
		"64 KiB of nothing":    {func(r *hop) { r.Fields["baggage"] = make([]string, 32<<10) }, "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := &nonces{}
			v := verifier(t, hopproof.Config{Store: seen})
			r := signed(t, web, request())
			c.change(&r)
			refused(t, v.VerifyHop(t.Context(), web, r), c.reason)
			if seen.puts != 0 {
				t.Error("what does not hold is in the store")
			}
		})
	}
}

// A digest that comes with a proof that was made without.
func TestDigestAdded(t *testing.T) {
	r := request()
	delete(r.Fields, "content-digest")
	r = signed(t, web, r)
	r.Fields["content-digest"] = []string{digest}
	refused(t, verifier(t, hopproof.Config{}).VerifyHop(t.Context(), web, r), "cover exactly")
}

// Proofs whose signature matches and that do not keep to the profile.
func TestForgeries(t *testing.T) {
	const form = "canonical"
	for name, c := range map[string]struct {
		change func(*forgery)
		reason string // "" for one that holds
	}{
		"good":                {func(*forgery) {}, ""},
		"other order":         {func(f *forgery) { f.names[0], f.names[4] = f.names[4], f.names[0] }, ""},
		"other label":         {func(f *forgery) { f.label = "sig1" }, ""},
		"no alg":              {func(f *forgery) { f.set("alg", "") }, ""},
		"expires later":       {func(f *forgery) { f.set("expires", fmt.Sprint(time.Now().Unix()+5)) }, ""},
		"16 nonce characters": {func(f *forgery) { f.set("nonce", `"AAECAwQFBgcICQoL"`) }, ""},

		"key of another":     {func(f *forgery) { f.by = other }, "does not match"},
		"key id of another":  {func(f *forgery) { f.by = other; f.set("keyid", `"`+thumb(other)+`"`) }, "no such key"},
		"unknown key":        {func(f *forgery) { f.set("keyid", `"`+thumb("nobody")+`"`) }, "no such key"},
		"no keyid":           {func(f *forgery) { f.set("keyid", "") }, "keyid"},
		"empty keyid":        {func(f *forgery) { f.set("keyid", `""`) }, "keyid"},
		"keyid is principal": {func(f *forgery) { f.set("keyid", `"`+web+`"`) }, "keyid"},
		"keyid is a token":   {func(f *forgery) { f.set("keyid", "k"+thumb(web)) }, "keyid"},

		"no created":         {func(f *forgery) { f.set("created", "") }, "created is missing"},
		"created is text":    {func(f *forgery) { f.set("created", `"1"`) }, "created"},
		"created is decimal": {func(f *forgery) { f.set("created", "1.5") }, "created"},
		"created is a date":  {func(f *forgery) { f.set("created", fmt.Sprintf("@%d", time.Now().Unix())) }, "created"},
		"created long ago":   {func(f *forgery) { f.set("created", "0") }, "ago"},
		"created never":      {func(f *forgery) { f.set("created", "-999999999999999") }, "ago"},
		"created far ahead":  {func(f *forgery) { f.set("created", "999999999999999") }, "future"},
		"expired":            {func(f *forgery) { f.set("expires", fmt.Sprint(time.Now().Unix()-31)) }, "expired"},
		"expired for ever":   {func(f *forgery) { f.set("expires", "0") }, "expired"},
		"expires is text":    {func(f *forgery) { f.set("expires", `"9"`) }, "expires"},

		"no nonce":             {func(f *forgery) { f.set("nonce", "") }, "nonce"},
		"empty nonce":          {func(f *forgery) { f.set("nonce", `""`) }, "nonce"},
		"15 nonce characters":  {func(f *forgery) { f.set("nonce", `"AAECAwQFBgcICQo"`) }, "nonce"},
		"65 nonce characters":  {func(f *forgery) { f.set("nonce", `"`+strings.Repeat("A", 65)+`"`) }, "nonce"},
		"nonce in base64":      {func(f *forgery) { f.set("nonce", `"AAECAwQFBgcICQo+/w=="`) }, "nonce"},
		"nonce is bytes":       {func(f *forgery) { f.set("nonce", `:AAECAwQFBgcICQoLDA0ODw==:`) }, "nonce"},
		"alg of another key":   {func(f *forgery) { f.set("alg", `"hmac-sha256"`) }, "alg"},
		"alg in capitals":      {func(f *forgery) { f.set("alg", `"Ed25519"`) }, "alg"},
		"alg is a token":       {func(f *forgery) { f.set("alg", "ed25519") }, "alg"},
		"unknown parameter":    {func(f *forgery) { f.set("x", "1") }, `"x"`},
		"parameter of a body":  {func(f *forgery) { f.params = append(f.params, "secret") }, `"secret"`},
		"signature with param": {func(f *forgery) { f.end = ";x=1" }, "without parameters"},

		"no method":    {func(f *forgery) { f.names = f.names[1:] }, "cover exactly"},
		"no baggage":   {func(f *forgery) { f.names = append(f.names[:4], f.names[5]) }, "cover exactly"},
		"no digest":    {func(f *forgery) { f.names = f.names[:5] }, "cover exactly"},
		"nothing":      {func(f *forgery) { f.names, f.list = nil, "()" }, "cover exactly"},
		"doubled":      {func(f *forgery) { f.names = append(f.names, "@method") }, "cover exactly"},
		"one for two":  {func(f *forgery) { f.names[3] = "@path" }, "cover exactly"},
		"more covered": {func(f *forgery) { f.request.Fields["date"] = []string{"x"}; f.names = append(f.names, "date") }, "cover exactly"},
		"17 covered":   {func(f *forgery) { f.list = `("@method"` + strings.Repeat(` "@path"`, 16) + `)` }, "cover exactly"},
		";req":         {func(f *forgery) { f.list = list(f, `"@method";req`) }, "has parameters"},
		";sf":          {func(f *forgery) { f.list = list(f, `"content-digest";sf`) }, "has parameters"},
		";bs":          {func(f *forgery) { f.list = list(f, `"baggage";bs`) }, "has parameters"},
		";tr":          {func(f *forgery) { f.list = list(f, `"baggage";tr`) }, "has parameters"},
		`;key="a"`:     {func(f *forgery) { f.list = list(f, `"baggage";key="a"`) }, "has parameters"},
		"token":        {func(f *forgery) { f.list = list(f, "baggage") }, "not a string"},

		"space in list":     {func(f *forgery) { f.list = `( "` + strings.Join(f.names, `" "`) + `")` }, form},
		"space in params":   {func(f *forgery) { f.params[0] = " " + f.params[0] }, form},
		"leading zero":      {func(f *forgery) { f.set("created", "0"+fmt.Sprint(time.Now().Unix())) }, form},
		"parameter doubled": {func(f *forgery) { f.params = append([]string{"created=1"}, f.params...) }, form},
		"tag doubled":       {func(f *forgery) { f.params = append([]string{`tag="gateway"`}, f.params...) }, form},
	} {
		t.Run(name, func(t *testing.T) {
			seen := &nonces{}
			v := verifier(t, hopproof.Config{Store: seen})
			f := forge()
			c.change(f)
			input, signature := f.make(t)
			delete(f.request.Fields, "date") // what only a forger says is covered
			err := v.VerifyHop(t.Context(), web, with(f.request, input, signature))
			if c.reason == "" {
				if err != nil || seen.puts != 1 {
					t.Errorf("refused: %v, %d nonces", err, seen.puts)
				}
				return
			}
			refused(t, err, c.reason)
			if seen.puts != 0 {
				t.Error("what does not hold is in the store")
			}
		})
	}
}

func thumb(name string) string { return lineage.Thumbprint(publicKey(name)) }

// list writes one component in another way.
func list(f *forgery, item string) string {
	name := strings.Trim(strings.Split(item, ";")[0], `"`)
	return strings.Replace(`("`+strings.Join(f.names, `" "`)+`")`, `"`+name+`"`, item, 1)
}

// What can be done to the two fields without the key.
func TestFields(t *testing.T) {
	var input, signature string // of the proof
	foreign := func(n int) (inputs, signatures string) {
		for i := range n {
			inputs += fmt.Sprintf(`g%d=("@method");created=1;tag="gateway", `, i)
			signatures += fmt.Sprintf(`g%d=:AAAA:, `, i)
		}
		return inputs, signatures
	}
	in7, sig7 := foreign(7)
	in8, sig8 := foreign(8)
	raw := func() []byte {
		b, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimPrefix(signature, "kest="), ":"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	member := func(b []byte) string { return "kest=:" + base64.StdEncoding.EncodeToString(b) + ":" }
	type lines = []string
	const none = "hop proof is missing"
	for name, c := range map[string]struct {
		fields func() (inputs, signatures []string)
		reason string // none: ErrNoProof; "": holds
	}{
		"as made":              {func() (a, b lines) { return lines{input}, lines{signature} }, ""},
		"space around":         {func() (a, b lines) { return lines{" " + input + " "}, lines{" " + signature + "\t"} }, ""},
		"with foreign ones":    {func() (a, b lines) { return lines{in7 + input}, lines{sig7 + signature} }, ""},
		"foreign lines":        {func() (a, b lines) { return lines{`g=();tag="a,\"b"`, input}, lines{signature, "g=:AAAA:"} }, ""},
		"foreign without sig":  {func() (a, b lines) { return lines{`g=()`, input}, lines{signature} }, ""},
		"foreign, not written": {func() (a, b lines) { return lines{`g=( "x" );a=1;a=2`, input}, lines{signature} }, ""},

		"nothing":        {func() (a, b lines) { return nil, nil }, none},
		"empty lines":    {func() (a, b lines) { return lines{""}, lines{""} }, none},
		"signature only": {func() (a, b lines) { return nil, lines{signature} }, none},
		"foreign only":   {func() (a, b lines) { return lines{`g=("@method");tag="gateway"`}, lines{"g=:AAAA:"} }, none},
		"no tag":         {func() (a, b lines) { return lines{strings.Replace(input, `;tag="kest-hop"`, "", 1)}, lines{signature} }, none},
		"other tag": {func() (a, b lines) {
			return lines{strings.Replace(input, `kest-hop`, "kest-hop2", 1)}, lines{signature}
		}, none},
		"tag is a token": {func() (a, b lines) {
			return lines{strings.Replace(input, `"kest-hop"`, "kest-hop", 1)}, lines{signature}
		}, none},
		"tag is bytes": {func() (a, b lines) {
			return lines{strings.Replace(input, `"kest-hop"`, ":a2VzdC1ob3A=:", 1)}, lines{signature}
		}, none},
		"input only":           {func() (a, b lines) { return lines{input}, nil }, "label"},
		"other label":          {func() (a, b lines) { return lines{input}, lines{"x" + signature} }, "label"},
		"label of another":     {func() (a, b lines) { return lines{`x=("@method");tag="y"`, input}, lines{"x" + signature[4:]} }, "label"},
		"two proofs":           {func() (a, b lines) { return lines{input, "x" + input}, lines{signature, "x" + signature} }, "several"},
		"label twice":          {func() (a, b lines) { return lines{input, input}, lines{signature} }, "twice"},
		"label first foreign":  {func() (a, b lines) { return lines{`kest=("@method");tag="x"`, input}, lines{signature} }, "twice"},
		"label twice in other": {func() (a, b lines) { return lines{input}, lines{"kest=:AAAA:", signature} }, "twice"},
		"foreign label twice":  {func() (a, b lines) { return lines{"g=()", "g=()", input}, lines{signature} }, "twice"},
		"9 labels":             {func() (a, b lines) { return lines{in8 + input}, lines{signature} }, "more than 8"},
		"9 signatures":         {func() (a, b lines) { return lines{input}, lines{sig8 + signature} }, "more than 8"},
		"1,500 labels":         {func() (a, b lines) { return lines{strings.Repeat("a=(),", 1500) + input}, lines{signature} }, "more than 8"},
		"8 KiB":                {func() (a, b lines) { return lines{input + strings.Repeat(" ", 8<<10)}, lines{signature} }, "limit"},
		"8 KiB of signatures":  {func() (a, b lines) { return lines{input}, lines{signature + strings.Repeat(" ", 8<<10)} }, "limit"},
		"8 KiB of empty lines": {func() (a, b lines) { return make(lines, 4<<10), lines{signature} }, "limit"},
		"item, not list":       {func() (a, b lines) { return lines{`kest=1;tag="kest-hop"`}, lines{signature} }, "inner list"},
		"bare label":           {func() (a, b lines) { return lines{`kest;tag="kest-hop"`}, lines{signature} }, "inner list"},
		"foreign item":         {func() (a, b lines) { return lines{`g=1`, input}, lines{signature} }, "inner list"},
		"not a dictionary":     {func() (a, b lines) { return lines{`("@method")`}, lines{signature} }, "not a dictionary"},
		"open list":            {func() (a, b lines) { return lines{`kest=("@method"`}, lines{signature} }, "not a dictionary"},
		"open string":          {func() (a, b lines) { return lines{input[:len(input)-1]}, lines{signature} }, "not a dictionary"},
		"comma at end":         {func() (a, b lines) { return lines{input + ","}, lines{signature} }, "not a dictionary"},
		"empty line":           {func() (a, b lines) { return lines{"", input}, lines{signature} }, "not a dictionary"},
		"label in capitals":    {func() (a, b lines) { return lines{"K" + input[1:]}, lines{signature} }, "not a dictionary"},
		"not ASCII": {func() (a, b lines) {
			return lines{strings.Replace(input, "kest-hop", "kest-höp", 1)}, lines{signature}
		}, "not a dictionary"},
		"control byte": {func() (a, b lines) {
			return lines{strings.Replace(input, "kest-hop", "kest\x00hop", 1)}, lines{signature}
		}, "not a dictionary"},
		"signature no dict":      {func() (a, b lines) { return lines{input}, lines{":AAAA:"} }, "not a dictionary"},
		"signature is text":      {func() (a, b lines) { return lines{input}, lines{`kest="AAAA"`} }, "byte sequence"},
		"signature is a list":    {func() (a, b lines) { return lines{input}, lines{`kest=(:AAAA:)`} }, "byte sequence"},
		"signature is true":      {func() (a, b lines) { return lines{input}, lines{`kest`} }, "byte sequence"},
		"signature of 0 bytes":   {func() (a, b lines) { return lines{input}, lines{`kest=::`} }, "does not match"},
		"signature of 63 bytes":  {func() (a, b lines) { return lines{input}, lines{member(raw()[:63])} }, "does not match"},
		"signature of 65 bytes":  {func() (a, b lines) { return lines{input}, lines{member(append(raw(), 0))} }, "does not match"},
		"signature of zeros":     {func() (a, b lines) { return lines{input}, lines{member(make([]byte, 64))} }, "does not match"},
		"signature plus order":   {func() (a, b lines) { return lines{input}, lines{member(plusOrder(raw()))} }, "does not match"},
		"base64 without padding": {func() (a, b lines) { return lines{input}, lines{strings.Replace(signature, "==", "", 1)} }, "not a dictionary"},
		"base64url":              {func() (a, b lines) { return lines{input}, lines{`kest=:__-_:`} }, "not a dictionary"},
		"base64 with stray bits": {func() (a, b lines) { return lines{input}, lines{stray(signature)} }, "canonical"},
		"display string":         {func() (a, b lines) { return lines{`g=();x=%"\", ` + input}, lines{signature} }, "signature-input"},
	} {
		t.Run(name, func(t *testing.T) {
			r := signed(t, web, request())
			input, signature = r.Fields["signature-input"][0], r.Fields["signature"][0]
			r.Fields["signature-input"], r.Fields["signature"] = c.fields()
			seen := &nonces{}
			err := verifier(t, hopproof.Config{Store: seen}).VerifyHop(t.Context(), web, r)
			switch c.reason {
			case "":
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			case none:
				if err != propagate.ErrNoProof {
					t.Errorf("error %v; want ErrNoProof", err)
				}
			default:
				refused(t, err, c.reason)
				tellsNothing(t, err, propagate.HopRequest{Fields: map[string][]string{"signature": {signature}}})
			}
			if seen.puts != 0 {
				t.Error("what does not hold is in the store")
			}
		})
	}
}

// plusOrder adds the order of the group to the scalar of a signature: the same value in another form (RFC 8032 §8.4).
func plusOrder(signature []byte) []byte {
	order := [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	carry := 0
	for i := range order {
		sum := int(signature[32+i]) + int(order[i]) + carry
		signature[32+i], carry = byte(sum), sum>>8
	}
	return signature
}

// stray sets a bit of the last base64 character that decoding drops.
func stray(signature string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := len(signature) - len("X==:")
	return signature[:i] + string(alphabet[strings.IndexByte(alphabet, signature[i])|1]) + signature[i+1:]
}

// Somebody whose own proof is good presents the lineage of another.
func TestTheft(t *testing.T) {
	v := verifier(t, hopproof.Config{})
	refused(t, v.VerifyHop(t.Context(), web, signed(t, other, request())), "no such key")
	refused(t, v.VerifyHop(t.Context(), "", signed(t, web, request())), "no such key")
	if err := v.VerifyHop(t.Context(), other, signed(t, other, request())); err != nil {
		t.Error(err)
	}
}

// A key that two principals have makes one proof good for one of them only.
func TestSharedKey(t *testing.T) {
	set, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{web: {publicKey(web)}, other: {publicKey(web)}})
	if err != nil {
		t.Fatal(err)
	}
	v, r := verifier(t, hopproof.Config{Keys: set}), signed(t, web, request())
	if err := v.VerifyHop(t.Context(), web, r); err != nil {
		t.Fatal(err)
	}
	refused(t, v.VerifyHop(t.Context(), other, r), "replayed")
}
