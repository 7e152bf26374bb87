// Package demo is the command kest demo: a payment system of three services, in one process and over real HTTP on
// loopback, that shows what Kest does in seven scenes (SPEC §14).
//
// Nothing in it is staged. The services use the middleware that any service would, propagate/kesthttp, with hop proofs
// and return lineage; passports and attacks cross TCP connections; decisions are made by Rego policies; and each scene
// checks what happened before it says so. A scene that ends otherwise makes [Run] fail.
package demo

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// maxRun bounds a whole run. It takes well under a second; the rest is for machines that are busy or slow.
const maxRun = 50 * time.Second

// policies holds the guide's policy, the same file as in examples/policies, and two of the demo's own.
//
//go:embed policies
var policies embed.FS

// Options say where the demo writes and how it looks. The zero value runs it silently.
type Options struct {
	// Dir receives the files; it is made if need be. It must be empty, or hold an earlier demo, which is replaced.
	// "" makes a new folder for temporary files, which stays.
	Dir string
	// Out receives the screen, or the JSON document. nil discards it.
	Out io.Writer
	// JSON writes one JSON document, the [Result], instead of the screen.
	JSON bool
	// Color marks up the screen with ANSI colours.
	Color bool
	// ASCII replaces marks and lines by ASCII characters, for terminals without UTF-8.
	ASCII bool
	// Width of the terminal in columns; 0 means 80. Sentences are broken to fit; nothing is wider than 80 but a
	// path or command that the reader may copy.
	Width int
	// Command is how the reader runs this program, in the hint at the end. "" means kest.
	Command string
	// Log receives the warnings of the services, one for every denial among them. nil discards them.
	Log *slog.Logger
}

// parts are what tests replace to see that a scene notices.
type parts struct {
	policies fs.FS
	verifier func(lineage.VerifierConfig) (verifier, error)
	ingress  func(*propagate.IngressConfig) // changes that of every service; nil: none does
}

// verifier is what the demo asks of a lineage.Verifier in the scenes; services have their own.
type verifier interface {
	Verify(context.Context, lineage.Unverified) (lineage.Passport, *lineage.Report, error)
	VerifyDenial(context.Context, string) (lineage.Denial, error)
	VerifyReceipt(context.Context, string, *lineage.Signed) (lineage.Receipt, error)
}

// ErrScene is matched by the error of a run in which a scene did not end as it should.
var ErrScene = errors.New("the scene did not end as it should")

// Run runs the demo. The error is not nil when a scene ended otherwise than it should, and then matches [ErrScene],
// or when something else went wrong, for example ctx ended or a file could not be written. The result holds what
// was shown until then; it is never nil. No server and no goroutine outlives Run.
func Run(ctx context.Context, o Options) (*Result, error) {
	sub, err := fs.Sub(policies, "policies")
	if err != nil {
		return &Result{}, err
	}
	return run(ctx, o, parts{policies: sub, verifier: func(c lineage.VerifierConfig) (verifier, error) {
		return lineage.NewVerifier(c)
	}})
}

func run(ctx context.Context, o Options, p parts) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, maxRun)
	defer cancel()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Command == "" {
		o.Command = "kest"
	}
	d := &show{options: o, parts: p, started: time.Now(), result: &Result{Scenes: []Scene{}, Services: []Service{}}}
	d.screen = newScreen(o)
	if o.JSON {
		d.screen.w = io.Discard
	}
	err := d.run(ctx)
	d.result.OK = err == nil
	d.result.Millis = time.Since(d.started).Milliseconds()
	if err != nil {
		d.result.Problem = err.Error()
	} else {
		d.screen.end(d.result, o.Command)
		err = d.screen.err
	}
	if o.JSON {
		err = errors.Join(err, d.result.write(o.Out))
	}
	return d.result, err
}

// show is one run.
type show struct {
	options Options
	parts   parts
	started time.Time
	result  *Result
	screen  *screen
	folder  *folder
	log     *logbook
	system  *system
	auditor verifier // knows the keys and the authority policy, and has seen nothing yet

	day    *day   // the gateway's session, in which scenes 1, 3 and 4 happen
	cart   string // the browser's order of scene 2: a genuine entry of another lineage
	denied string // the id of what was denied in scene 2
}

func (d *show) run(ctx context.Context) (err error) {
	if d.folder, err = openFolder(d.options.Dir); err != nil {
		return err
	}
	d.result.Dir = d.folder.path
	journal, err := d.folder.openJournal()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.close()) }()
	book, log, err := d.folder.openLog(d.options.Log)
	if err != nil {
		return err
	}
	d.log = book
	defer func() { err = errors.Join(err, book.close()) }()
	if d.system, err = newSystem(d.parts, journal, log); err != nil {
		return err
	}
	if err := errors.Join(d.folder.write(keysFile, d.system.keyText), d.folder.copy(policiesDir, d.parts.policies)); err != nil {
		return err
	}
	if d.auditor, err = d.parts.verifier(d.system.verifierConfig()); err != nil {
		return err
	}
	if err := d.system.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.system.stop()) }()
	d.result.Services = d.system.describe()
	d.screen.begin(d.result.Services)
	d.day = d.system.newDay(ctx)
	return d.scenes(ctx)
}

// scenes runs them in order. The first that fails ends the run, because the later ones build on it.
func (d *show) scenes(ctx context.Context) error {
	for i, s := range []struct {
		name, title, proves string
		play                func(context.Context) (detail, error)
	}{
		{"payment", "A guarded payment",
			"A call is checked against policy and signed before its body runs.", d.payment},
		{"internet", "The same payment, ordered from the internet",
			"Trust never rises along a chain by itself, not even across HTTP: 10 stays 10.", d.internet},
		{"agent", "What a language model says, before and after a check",
			"A taint follows the data until a named sanitizer removes it.", d.agent},
		{"fork", "Three quotes at once, then one choice",
			"Parallel calls fork the lineage, and the next call joins it.", d.fork},
		{"verify", "The whole passport, verified",
			"Anybody with the public keys can check who did what, and by what right.", d.verify},
		{"forgery", "Three forgeries, caught",
			"Each is made from the passport of scene 5; the verifier says what is wrong.", d.forgery},
		{"attacks", "Three attacks on the ledger, refused",
			"Whoever signed the last entry signs the request, and a request counts once.", d.attacks},
	} {
		scene := Scene{Number: i + 1, Name: s.name, Title: s.title, Proves: s.proves}
		detail, err := s.play(ctx)
		if ended := ctx.Err(); err != nil && ended != nil {
			err = ended
		}
		if err != nil {
			err = fmt.Errorf("scene %d, %s: %w", scene.Number, scene.Name, err)
			scene.Problem = err.Error()
		}
		scene.OK, scene.Detail = err == nil, detail
		d.result.Scenes = append(d.result.Scenes, scene)
		d.screen.scene(scene)
		if err = errors.Join(err, d.screen.err); err != nil {
			return err
		}
	}
	return nil
}

// expect makes a scene fail.
func expect(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: "+format, append([]any{ErrScene}, args...)...)
}
