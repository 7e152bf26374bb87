package identitytest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// A Harness connects one provider to [TestProvider].
type Harness struct {
	// New returns the provider. It is called once; everything that must be closed is registered with t.Cleanup.
	New func(t *testing.T) identity.Provider

	// PublicKey returns the key with the given id as a verifier would learn it, nil when there is none.
	PublicKey func(keyID string) ed25519.PublicKey

	// Rotate makes the provider change its credential and returns when Signer gives the new one. nil: it never
	// does.
	Rotate func()

	// Secrets are further byte strings that must never be printed, such as bearer tokens. Ed25519 private keys
	// are found without being told.
	Secrets [][]byte

	// MaxMessage is the longest message in bytes that the provider signs; a provider with such a limit may refuse the
	// empty message, too, which no document is. 0: at least [DefaultMessage], and the empty one.
	MaxMessage int
}

// DefaultMessage is the length in bytes of the longest message that the contract signs: an entry of 64 KiB
// (SPEC §12), in base64url, with its header.
const DefaultMessage = 90 << 10

// TestProvider runs the contract of [identity.Provider] and [lineage.Signer] (SPEC §8, F-ID-01…05): signatures
// are real and belong to the key id, principals are stable, a stopped context never yields a signature,
// concurrent use and rotation never mix credentials, Signer is cheap, and nothing prints a private key.
func TestProvider(t *testing.T, h Harness) {
	t.Helper()
	if err := h.validate(); err != nil {
		t.Fatal(err)
	}
	p := &probe{Harness: h, provider: h.New(t)}
	if p.provider == nil {
		t.Fatal("harness: New returned no provider")
	}
	for _, c := range contract() {
		t.Run(c.name, func(t *testing.T) {
			if c.rotates && h.Rotate == nil {
				t.Skip("the provider does not rotate")
			}
			if err := c.run(p); err != nil {
				t.Error(err)
			}
		})
	}
}

func (h Harness) validate() error {
	if h.New == nil || h.PublicKey == nil {
		return errors.New("harness: New and PublicKey are needed, or nothing would be tested")
	}
	return nil
}

type check struct {
	name    string
	rotates bool
	run     func(*probe) error
}

func contract() []check {
	return []check{
		{"signature verifies", false, (*probe).verifies},
		{"principal", false, (*probe).principal},
		{"messages and signatures are not shared", false, (*probe).unshared},
		{"cancelled", false, (*probe).cancelled},
		{"concurrent", false, (*probe).concurrent},
		{"rotation", true, (*probe).rotation},
		{"concurrent with rotation", true, (*probe).concurrentRotation},
		{"signer is cheap", false, (*probe).cheap},
		{"no secret is printed", false, (*probe).quiet},
	}
}

type probe struct {
	Harness
	provider identity.Provider
}

func (p *probe) signer() (lineage.Signer, error) {
	s, err := p.provider.Signer(context.Background())
	if err == nil && s == nil {
		err = errors.New("no signer and no error")
	}
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	return s, nil
}

// signed checks one signature by s as a verifier would, with the key of the id that s names.
func (p *probe) signed(s lineage.Signer, message []byte) error {
	signature, err := s.Sign(context.Background(), message)
	if err != nil {
		return fmt.Errorf("sign %d bytes: %w", len(message), err)
	}
	key := p.PublicKey(s.KeyID())
	switch {
	case len(key) != ed25519.PublicKeySize:
		return fmt.Errorf("key id %q: no public key", s.KeyID())
	case lineage.Thumbprint(key) != s.KeyID():
		return fmt.Errorf("key id %q is not the thumbprint of its key, %q", s.KeyID(), lineage.Thumbprint(key))
	case len(signature) != ed25519.SignatureSize:
		return fmt.Errorf("signature of %d bytes, not %d", len(signature), ed25519.SignatureSize)
	case !ed25519.Verify(key, message, signature):
		return fmt.Errorf("signature over %d bytes does not verify with key %q", len(message), s.KeyID())
	}
	return nil
}

func (p *probe) verifies() error {
	s, err := p.signer()
	if err != nil {
		return err
	}
	longest, shortest := p.MaxMessage, 1
	if longest == 0 {
		longest, shortest = DefaultMessage, 0
	}
	var errs []error
	for _, n := range []int{shortest, 1, 32, min(1000, longest), longest} {
		errs = append(errs, p.signed(s, bytes.Repeat([]byte("m"), n)))
	}
	return errors.Join(errs...)
}

func (p *probe) principal() error {
	var errs []error
	var first string
	for i := range 3 {
		s, err := p.signer()
		if err != nil {
			return err
		}
		if i == 0 {
			first = s.Principal()
		}
		errs = append(errs, identity.ValidatePrincipal(s.Principal()))
		if s.Principal() != first {
			errs = append(errs, fmt.Errorf("principal changed from %q to %q", first, s.Principal()))
		}
	}
	return errors.Join(errs...)
}

// unshared: the provider leaves the message alone, and its result is the caller's.
func (p *probe) unshared() error {
	s, err := p.signer()
	if err != nil {
		return err
	}
	message := []byte("header.payload")
	first, err := s.Sign(context.Background(), message)
	if err != nil {
		return err
	}
	if string(message) != "header.payload" {
		return errors.New("signing changed the message")
	}
	kept := bytes.Clone(first)
	second, err := s.Sign(context.Background(), []byte("another"))
	if err != nil {
		return err
	}
	if !bytes.Equal(first, kept) {
		return errors.New("a second signature overwrote the first")
	}
	clear(second)
	return p.signed(s, message)
}

// cancelled: a stopped context gives an error and no signature, from an old signer and from a new one.
func (p *probe) cancelled() error {
	old, err := p.signer()
	if err != nil {
		return err
	}
	var errs []error
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		ctx := stopped(cause)
		errs = append(errs, refuses(ctx, old, cause))
		s, err := p.provider.Signer(ctx)
		switch {
		case err == nil && s == nil:
			errs = append(errs, errors.New("signer: no signer and no error"))
		case err == nil:
			errs = append(errs, refuses(ctx, s, cause)) // a cached signer may be handed out; it must not sign
		case !errors.Is(err, cause):
			errs = append(errs, fmt.Errorf("signer: error %q does not match %q", err, cause))
		}
	}
	return errors.Join(append(errs, p.signed(old, []byte("after")))...)
}

// stopped returns a context that has ended with cause already.
func stopped(cause error) context.Context {
	end := time.Now().Add(time.Hour)
	if errors.Is(cause, context.DeadlineExceeded) {
		end = time.Unix(0, 0)
	}
	ctx, cancel := context.WithDeadline(context.Background(), end)
	cancel()
	return ctx
}

func refuses(ctx context.Context, s lineage.Signer, cause error) error {
	signature, err := s.Sign(ctx, []byte("message"))
	switch {
	case len(signature) > 0:
		return fmt.Errorf("a signature with a context that ended (%v), error %v", cause, err)
	case !errors.Is(err, cause):
		return fmt.Errorf("sign: error %v does not match %q", err, cause)
	}
	return nil
}

// concurrent signs different messages from many goroutines, with a shared signer and with fresh ones.
func (p *probe) concurrent() error {
	shared, err := p.signer()
	if err != nil {
		return err
	}
	const workers, rounds = 8, 20
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				s := shared
				if w%2 == 1 {
					if s, errs[w] = p.signer(); errs[w] != nil {
						return
					}
				}
				if errs[w] = p.signed(s, fmt.Appendf(nil, "worker %d round %d", w, i)); errs[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// rotation: a new credential gives a new signer, and the old one does not change under its holder.
func (p *probe) rotation() error {
	before, err := p.signer()
	if err != nil {
		return err
	}
	principal, keyID := before.Principal(), before.KeyID()
	p.Rotate()
	after, err := p.signer()
	if err != nil {
		return err
	}
	switch {
	case after.KeyID() == keyID:
		return errors.New("the key id is the same after a rotation")
	case after.Principal() != principal:
		return fmt.Errorf("principal changed from %q to %q by a rotation", principal, after.Principal())
	case before.KeyID() != keyID || before.Principal() != principal:
		return errors.New("a rotation changed a signer that was already handed out")
	}
	if _, err := before.Sign(context.Background(), []byte("old")); err == nil { // an expired one may refuse
		if err := p.signed(before, []byte("old")); err != nil {
			return err
		}
	}
	return p.signed(after, []byte("new"))
}

// concurrentRotation signs while the credential changes: whatever a signer signs is under the key that it names.
func (p *probe) concurrentRotation() error {
	const enough = 20 // rotations under load
	var rotations atomic.Int32
	stop := make(chan struct{})
	var rotating sync.WaitGroup
	rotating.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				p.Rotate()
				rotations.Add(1)
			}
		}
	})
	var err error
	for start := time.Now(); err == nil && rotations.Load() < enough && time.Since(start) < 5*time.Second; {
		err = p.concurrent()
	}
	close(stop)
	rotating.Wait()
	if err == nil && rotations.Load() == 0 {
		err = errors.New("no rotation took place")
	}
	return err
}

// cheapest is what a call of Signer may cost; a network call, a file or a subprocess costs more.
const cheapest = 100 * time.Microsecond

func (p *probe) cheap() error {
	best := time.Hour
	for range 10 { // the best of several, because the machine has other things to do
		start := time.Now()
		for range 100 {
			if _, err := p.signer(); err != nil {
				return err
			}
		}
		best = min(best, time.Since(start)/100)
	}
	if best > cheapest {
		return fmt.Errorf("signer takes %v a call; it is called for every protected call and must take less than %v", best, cheapest)
	}
	return nil
}
