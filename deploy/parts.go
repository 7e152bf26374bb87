package deploy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/auto"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/store"
)

// wiring is what builders learn after they were handed over: the store that bindings are published in.
type wiring struct {
	kinds Kinds
	store store.Store // set before an identity is made, and not afterwards
}

func (w *wiring) options(c Config) config.Options {
	w.kinds.Publish = w.publish
	o := Options(w.kinds)
	o.Environ, o.Operations = c.Environ, c.Operations
	maps.Copy(o.Engines, c.More.Engines)
	maps.Copy(o.Identities, c.More.Identities)
	maps.Copy(o.Stores, c.More.Stores)
	maps.Copy(o.Tokens, c.More.Tokens)
	return o
}

// publish keeps a binding for verifiers. Without a store it travels with the requests alone.
func (w *wiring) publish(ctx context.Context, b *lineage.KeyBinding) error {
	if w.store == nil {
		return nil
	}
	return binding.Publish(ctx, w.store, b)
}

// parts makes a deployment, and remembers what has to be closed.
type parts struct {
	app    Config
	file   *config.Deployment
	wiring *wiring

	closers []func() error // in the order in which they were made
	once    sync.Once
	closed  error
	engine  policy.Engine
	bundle  *lineage.Roots
	static  *lineage.KeySet
}

// close closes the latest first: an identity publishes to the store as long as it is open.
func (p *parts) close() error {
	p.once.Do(func() {
		var errs []error
		for _, c := range slices.Backward(p.closers) {
			errs = append(errs, c())
		}
		p.closed = errors.Join(errs...)
	})
	return p.closed
}

// owns notes what was made here.
func (p *parts) owns(made any) {
	if c, ok := made.(io.Closer); ok {
		p.closers = append(p.closers, c.Close)
	}
}

// open makes the parts in three steps; within a step everything that is wrong is reported.
func (p *parts) open(ctx context.Context) (*Deployment, error) {
	d := &Deployment{Config: p.file, app: p.app, current: p.file, close: p.close}
	if err := p.make(ctx, d); err != nil {
		return nil, err
	}
	if err := errors.Join(p.guard(d), p.verify(ctx, d)); err != nil {
		return nil, err
	}
	return d, p.borders(ctx, d)
}

// Faults of application code that is put beside a file.
var (
	errTwoEngines    = errors.New("deploy: Guard.Engine is set by application code, and the file has an engine, which decides; leave it nil")
	errTwoIdentities = errors.New("deploy: Guard.Identity is set by application code, and the file has an identity; leave it nil")
	errTwoKeys       = errors.New("deploy: Verifier.Keys is set by application code, and the file says whose keys count; leave it nil")
	errTwoVerifiers  = errors.New("deploy: Ingress.Verifier or Egress.Verifier is set by application code; leave it nil, and use Config.Verifier")
	errNoNonces      = errors.New("deploy: ingress.proofs needs a store, which remembers the proofs that were used; add the section store to the " +
		"file ({memory: {}} when the service is one process)")
)

// make makes what takes nothing but the file. Whether one of them can be made has nothing to do with the others.
func (p *parts) make(ctx context.Context, d *Deployment) error {
	_, applyErr := p.file.Apply(p.app.Guard)
	_, verifierErr := p.file.Verifier(p.app.Verifier)
	errs := []error{applyErr, verifierErr, p.readKeys(), p.makeStore(ctx, d), p.makeEngine(ctx), p.makeIdentity(ctx, d)}
	if p.app.Ingress.Verifier != nil || p.app.Egress.Verifier != nil {
		errs = append(errs, errTwoVerifiers)
	}
	return errors.Join(errs...)
}

func (p *parts) makeStore(ctx context.Context, d *Deployment) (err error) {
	d.Store, err = p.file.Store(ctx)
	p.owns(d.Store)
	p.wiring.store = d.Store
	return err
}

func (p *parts) makeEngine(ctx context.Context) (err error) {
	p.engine, err = p.file.Engine(ctx)
	p.owns(p.engine)
	own := p.app.Guard.Engine
	if own != nil && p.engine != nil {
		return errTwoEngines
	}
	if own != nil && err == nil {
		p.engine = own
	}
	return err
}

func (p *parts) makeIdentity(ctx context.Context, d *Deployment) (err error) {
	d.Identity, err = p.identity(ctx)
	return err
}

// identity is the file's, or the application's, or what the machine has.
func (p *parts) identity(ctx context.Context) (identity.Provider, error) {
	own := p.app.Guard.Identity
	made, err := p.file.Identity(ctx)
	if err == nil && made == nil && own == nil {
		made, _, err = auto.Identity(ctx, auto.Config{Publish: p.wiring.publish, Logger: p.app.Logger})
	}
	if err != nil {
		return nil, err
	}
	p.owns(made)
	switch {
	case made != nil && own != nil:
		return nil, errTwoIdentities
	case made != nil:
		return made, nil
	}
	return own, nil
}

func (p *parts) guard(d *Deployment) error {
	app := p.app.Guard
	app.Engine, app.Identity = p.engine, d.Identity
	app.Logger = cmp.Or(app.Logger, p.app.Logger)
	c, err := p.file.Apply(app)
	if err != nil {
		return err
	}
	d.app.Guard = app // for Watch, which applies the next file to it
	d.Guard, err = kest.New(c)
	return err
}

// verify makes what finds keys, carries lineage and verifies it.
func (p *parts) verify(ctx context.Context, d *Deployment) error {
	c, err := p.file.Verifier(p.app.Verifier)
	keys, keysErr := p.keys(ctx, d)
	if err := errors.Join(err, keysErr); err != nil {
		return err
	}
	d.Keys = keys
	if c.Keys == nil {
		c.Keys = keys
	}
	var verifierErr, propagatorErr error
	d.Verifier, verifierErr = lineage.NewVerifier(c)
	d.Propagator, propagatorErr = propagate.New(p.file.Propagator(propagate.Config{Store: d.Store, Bindings: keys.Bindings}))
	return errors.Join(verifierErr, propagatorErr)
}

// borders makes ingress and egress, where there are any.
func (p *parts) borders(ctx context.Context, d *Deployment) error {
	shape := p.file.Shape()
	var ingressErr, egressErr error
	if shape.Ingress || p.app.Ingress.Listener != 0 {
		ingressErr = p.ingress(ctx, d)
	}
	if shape.Egress || p.app.Egress.Allow != nil {
		egressErr = p.egress(d, shape)
	}
	return errors.Join(ingressErr, egressErr)
}

func (p *parts) ingress(ctx context.Context, d *Deployment) error {
	c, err := p.file.Ingress(ctx, p.app.Ingress)
	if err != nil {
		return err
	}
	c.Propagator, c.Logger = cmp.Or(c.Propagator, d.Propagator), cmp.Or(c.Logger, p.app.Logger)
	if !c.InsecureIgnoreLineage {
		c.Verifier = cmp.Or(c.Verifier, d.Verifier)
	}
	if c.Proofs != propagate.ProofOff && c.Hops == nil {
		if d.Store == nil {
			return errNoNonces
		}
		if c.Hops, err = hopproof.NewVerifier(hopproof.Config{Keys: d.Keys, Store: d.Store}); err != nil {
			return err
		}
	}
	d.Ingress, err = propagate.NewIngress(c)
	return err
}

func (p *parts) egress(d *Deployment, shape config.Shape) error {
	c, err := p.file.Egress(p.app.Egress)
	if err != nil {
		return err
	}
	c.Propagator, c.Verifier, c.Logger = cmp.Or(c.Propagator, d.Propagator), cmp.Or(c.Verifier, d.Verifier), cmp.Or(c.Logger, p.app.Logger)
	if c.Sealer == nil {
		c.Sealer = d.Guard
	}
	if shape.EgressProofs && c.Hops == nil {
		c.Hops, c.Identity = hopproof.Signer{}, d.Identity
	}
	d.Egress, err = propagate.NewEgress(c)
	return err
}
