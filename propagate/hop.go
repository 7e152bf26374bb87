package propagate

import (
	"context"
	"errors"

	"github.com/kest-go/kest/lineage"
)

// A HopRequest is the part of a request that a hop proof covers (SPEC §9): who asks for what, with which lineage.
// For gRPC the method is POST and the path is the full method name; message bytes are not covered there.
type HopRequest struct {
	Method    string
	Authority string // host[:port] as the client addressed it
	Path      string // as on the wire, not decoded, at least "/"
	Query     string // as on the wire with its leading "?", "" when there is none
	// Fields are header fields by lower-case name, each line as it stands: baggage, content-digest, and on arrival
	// signature and signature-input.
	Fields map[string][]string
}

// A HopSigner proves that a request comes from the workload that signed the tip of its lineage.
type HopSigner interface {
	// SignHop returns the values of the fields Signature-Input and Signature (RFC 9421 §4).
	SignHop(ctx context.Context, by lineage.Signer, r HopRequest) (input, signature string, err error)
}

// A HopVerifier checks the proof of a request.
type HopVerifier interface {
	// VerifyHop returns nil when r carries a fresh proof by a key of principal that was not seen before. Errors match
	// [ErrNoProof] when r carries no hop proof at all, [ErrBadProof] when it carries one that does not hold, and
	// anything else means that it could not be decided.
	VerifyHop(ctx context.Context, principal string, r HopRequest) error
}

var (
	// ErrNoProof says that a request carries no hop proof.
	ErrNoProof = errors.New("hop proof is missing")
	// ErrBadProof says that the hop proof of a request does not hold: wrong key, changed request, replay, too old.
	ErrBadProof = errors.New("hop proof does not hold")
)

// ProofMode says what an ingress does about hop proofs.
type ProofMode int

// Modes. What each lets through is tabulated in docs/propagation.md.
const (
	ProofOff     ProofMode = iota // not looked at
	ProofAccept                   // one that is there must hold; one that is missing is tolerated
	ProofRequire                  // lineage without a proof is refused
)
