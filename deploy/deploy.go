package deploy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/device"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// Config is what application code brings. The zero value is a program that the file decides everything about.
type Config struct {
	// File is the configuration file. "": the one that KEST_CONFIG names; without that the KEST_* variables alone.
	File string
	// Environ is what os.Environ returns; nil means the environment of the process.
	Environ []string
	// Operations are the names of all operations of the program. Deviations whose scope matches none of them are then
	// warned of. nil: they are not known.
	Operations []string

	// Guard, Verifier, Ingress and Egress are the application's part of each. [config.Deployment.Apply] and the methods
	// beside it say what they may add. Engine and Identity of Guard stay nil where the file has a section of that name,
	// and so does Keys of Verifier where the file says whose keys count, and Verifier of the other two in any case. What
	// else the parts have in common is filled in where it is nil.
	Guard    kest.Config
	Verifier lineage.VerifierConfig
	Ingress  propagate.IngressConfig
	Egress   propagate.EgressConfig

	// More has builders of kinds that only this program has; the rest of it is not looked at. One with a name of ours
	// takes its place.
	More config.Options
	// Show tells a person how to log in, for identity.device. nil: on standard error.
	Show func(device.Prompt) error

	// Interval is how often [Deployment.Watch] reads the file; 0 means [DefaultInterval].
	Interval time.Duration
	// Report is told of what Watch cannot do, besides the log: a file that is not good, a change that takes a restart
	// (*config.RestartError). It is called on Watch's goroutine. nil: nobody.
	Report func(error)
	// Logger gets what every part logs, unless that has a logger of its own; nil means slog.Default.
	Logger *slog.Logger
}

// DefaultInterval is that of [Config].Interval.
const DefaultInterval = 5 * time.Second

// A Deployment is the running parts. Its fields must not be changed. It is safe for concurrent use.
type Deployment struct {
	// Config is the file as it was when the program started.
	Config *config.Deployment
	// Guard wraps functions. It follows the file.
	Guard *kest.Guard
	// Identity signs for the guard.
	Identity identity.Provider
	// Store keeps claim checks, nonces and key bindings; nil when the file has none.
	Store store.Store
	// Keys knows whose keys count now: those of the trust bundle and of the identity's platform, and verifier.keys.
	Keys *binding.Source
	// Verifier verifies lineage by Keys and the authority of the file, which it follows.
	Verifier *lineage.Verifier
	// Propagator carries lineage, for transports besides those of Ingress and Egress.
	Propagator *propagate.Propagator
	// Ingress admits requests and Egress sends lineage along, for kesthttp and kestgrpc; each is nil when neither the
	// file nor application code has one.
	Ingress *propagate.Ingress
	Egress  *propagate.Egress
	// Peer names the client of a mutual TLS connection, where the identity's platform does that, nil elsewhere.
	Peer func(*tls.ConnectionState) (string, error)

	app      Config
	applying sync.Mutex
	current  *config.Deployment // what Guard and Verifier are configured by
	close    func() error
}

// Open reads the configuration, makes the parts and connects them. ctx bounds the start. It reports everything that is
// wrong at once, as far as one fault does not hide the next, and leaves nothing open then: first all problems of the file
// (a *config.Error), then those of everything that is to be made by it.
func Open(ctx context.Context, c Config) (*Deployment, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	w := &wiring{kinds: Kinds{Show: c.Show, Logger: c.Logger}}
	options := w.options(c)
	loaded, err := config.Load(c.File, options)
	if err != nil {
		return nil, err
	}
	for _, warning := range loaded.Warnings() {
		c.Logger.WarnContext(ctx, "kest: configuration: "+warning.String())
	}
	p := &parts{app: c, file: loaded, wiring: w}
	d, err := p.open(ctx)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return d, nil
}

// Close ends the watches of engines and closes what [Open] made, not what application code brought. Calls must have
// ended. It may be called again.
func (d *Deployment) Close() error { return d.close() }

// Watch follows the file until ctx ends, and returns then: call it with go. Policies with those under trial, deviations,
// approvers and authority take effect for calls and verifications that begin after it was read; a file that is not good, or
// whose policies the engine does not have, changes nothing. Every other change is reported as one that takes a restart. At
// most one Watch runs at a time. [config.Deployment.Watch] has the details.
func (d *Deployment) Watch(ctx context.Context) {
	interval := d.app.Interval
	if interval <= 0 {
		interval = DefaultInterval
	}
	d.applying.Lock()
	current := d.current // not Config: this may be the second Watch
	d.applying.Unlock()
	current.Watch(ctx, interval, d.apply, d.app.Report)
}

// apply takes over what may change. The guard is asked first: it may refuse, and then nothing has changed.
func (d *Deployment) apply(_ context.Context, next *config.Deployment) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	c, err := next.Apply(d.app.Guard)
	if err != nil {
		return err
	}
	if err := d.Guard.Reconfigure(c); err != nil {
		return err
	}
	if authority := next.Authority(); !sameAuthority(authority, d.current.Authority()) { // a new one forgets what was verified
		if err := d.Verifier.SetAuthority(authority); err != nil {
			return err
		}
	}
	d.current = next
	return nil
}

func sameAuthority(a, b *lineage.Authority) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.RefuseObserved, b.RefuseObserved) && slices.EqualFunc(a.Grants, b.Grants, func(g, h lineage.Grant) bool {
		return g.Principal == h.Principal && g.RootTrust == h.RootTrust && g.OverrideTrust == h.OverrideTrust &&
			slices.Equal(g.Originate, h.Originate) && slices.Equal(g.RemoveTaints, h.RemoveTaints)
	})
}
