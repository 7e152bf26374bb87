package hopproof

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// A Signer makes hop proofs. It has no state: the zero value is ready, and safe for concurrent use.
type Signer struct{}

var _ propagate.HopSigner = Signer{}

// nonceBytes is 128 bits: two requests never get the same nonce.
const nonceBytes = 16

// SignHop implements [propagate.HopSigner]. It refuses a request without baggage, for which a proof would say nothing,
// and one that cannot be covered as the package comment says. The values are for one request, sent once: they are
// added to its fields Signature-Input and Signature after everything that they cover is in its final form.
func (Signer) SignHop(ctx context.Context, by lineage.Signer, r propagate.HopRequest) (input, signature string, err error) {
	components, err := covered(r)
	if err != nil {
		return "", "", err
	}
	keyID := by.KeyID()
	if !isBase64URL(keyID, thumbprintLen, thumbprintLen) {
		return "", "", errors.New("the key id of the signer is not an RFC 7638 thumbprint")
	}
	var nonce [nonceBytes]byte
	rand.Read(nonce[:]) // never fails (crypto/rand, Go 1.24)
	// RFC 9651 §4.1, by hand: none of the strings has a character that Go or the RFC would escape.
	params := `("` + strings.Join(components, `" "`) + `")` + fmt.Sprintf(`;created=%d;nonce=%q;keyid=%q;alg=%q;tag=%q`,
		time.Now().Unix(), base64.RawURLEncoding.EncodeToString(nonce[:]), keyID, alg, tag)
	base, err := signatureBase(components, params, r)
	if err != nil {
		return "", "", err
	}
	raw, err := by.Sign(ctx, base)
	if err != nil {
		return "", "", fmt.Errorf("signer: %w", err)
	}
	if len(raw) != ed25519.SignatureSize {
		return "", "", fmt.Errorf("signer: signature of %d bytes; Ed25519 has %d", len(raw), ed25519.SignatureSize)
	}
	return label + "=" + params, label + "=:" + base64.StdEncoding.EncodeToString(raw) + ":", nil
}

// thumbprintLen is the length of every SHA-256 in base64url.
const thumbprintLen = 43

// isBase64URL reports whether s has shortest to longest characters of RFC 4648 §5, without padding.
func isBase64URL(s string, shortest, longest int) bool {
	return len(s) >= shortest && len(s) <= longest && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}
