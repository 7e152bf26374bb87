package config

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// reloadable are the sections that take effect while the program runs. The others need a restart: they are about
// connections that are open, or, like origins, a verifier remembers what it verified under them.
func reloadable() []string { return []string{"approvers", "authority", "deviations", "policies"} }

// Watch follows the file that d was loaded from, and with it the file of approvers.keys, until ctx ends, and returns then:
// call it with go. It reads the files at every interval and acts when two readings in a row agree, so that a file caught
// half-written is not taken; files that are replaced by rename and links that are pointed elsewhere are followed. interval
// must be positive. The environment is that of the time of [Load].
//
// When policies (with shadow), deviations, approvers or authority have changed, apply gets the next deployment, which has those and everything else as
// in d. What it does with it is up to the program: kest.Configure changes the policies of all functions that are wrapped
// for the process default. When apply fails it is asked again at the next interval.
//
// A file that is not good as a whole changes nothing: the last good deployment stays. Each success is logged. A fault,
// and a change of a section that needs a restart, is logged and handed to report, once until it changes. report may be
// nil; both are called on Watch's goroutine.
func (d *Deployment) Watch(ctx context.Context, interval time.Duration, apply func(ctx context.Context, next *Deployment) error, report func(error)) {
	w := watcher{running: d, apply: apply, report: report, log: cmp.Or(d.options.Logger, slog.Default()), path: d.path}
	if w.report == nil {
		w.report = func(error) {}
	}
	if d.options.File == "" {
		w.tell(ctx, errors.New("the configuration has no file to watch"))
		return
	}
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.poll(ctx)
		}
	}
}

type watcher struct {
	path       string
	running    *Deployment
	apply      func(context.Context, *Deployment) error
	report     func(error)
	log        *slog.Logger
	last       []byte // the reading before this one
	done       []byte // the reading that was dealt with
	complained string
	pending    string
}

// poll reads the files once.
func (w *watcher) poll(ctx context.Context) {
	text, err := readFile(w.path, MaxBytes)
	if err != nil { // those who do not replace it at once leave it out for a moment
		w.last, w.done = nil, nil
		w.tell(ctx, err)
		return
	}
	reading := slices.Concat(text, []byte{0}, w.keys()) // which no text holds
	settled := w.last != nil && bytes.Equal(reading, w.last)
	w.last = reading
	if !settled || w.done != nil && bytes.Equal(reading, w.done) {
		return
	}
	o := w.running.options
	o.Environ = w.running.environ()
	next, err := Parse(text, o)
	if err == nil {
		err = w.install(ctx, next)
	}
	if err == nil { // what is not good is looked at again: the keys that it names, or an engine, may change meanwhile
		w.done = reading
	}
	w.tell(ctx, err)
}

// keys is what approvers.keys of the running configuration holds now. One that cannot be read has changed, and Parse
// says so; one that another section will name is read by Parse.
func (w *watcher) keys() []byte {
	if w.running.doc.Approvers == nil {
		return nil
	}
	text, err := readFile(string(w.running.doc.Approvers.Keys), maxKeys)
	if err != nil {
		return []byte(err.Error())
	}
	return text
}

// install hands on what may change and reports what may not.
func (w *watcher) install(ctx context.Context, file *Deployment) error {
	var changed, pending []string
	for _, name := range sections() {
		switch {
		case file.sections[name] == w.running.sections[name]:
		case slices.Contains(reloadable(), name):
			changed = append(changed, name)
		default:
			pending = append(pending, name)
		}
	}
	w.restart(ctx, pending)
	if len(changed) == 0 {
		return nil
	}
	next := w.running.with(file)
	if err := w.apply(ctx, next); err != nil {
		return err
	}
	w.running = next
	w.log.InfoContext(ctx, "kest: configuration reloaded", "file", next.options.File, "changed", changed)
	for _, warning := range next.warnings {
		w.log.WarnContext(ctx, "kest: configuration: "+warning.String())
	}
	return nil
}

// with returns d with the sections of file that may change.
func (d *Deployment) with(file *Deployment) *Deployment {
	next := *d
	next.doc.Policies, next.doc.Deviations, next.doc.Authority = file.doc.Policies, file.doc.Deviations, file.doc.Authority
	next.doc.Approvers, next.approvers = file.doc.Approvers, file.approvers
	next.sections = map[string]string{}
	for _, name := range sections() {
		from := d
		if slices.Contains(reloadable(), name) {
			from = file
		}
		if text, ok := from.sections[name]; ok {
			next.sections[name] = text
		}
	}
	next.warnings = file.warnings
	return &next
}

// A RestartError is reported when a section has changed that takes effect at the next start only.
type RestartError struct {
	File     string
	Sections []string
}

func (e *RestartError) Error() string {
	return e.File + ": changed, but takes effect when the program is started again: " + strings.Join(e.Sections, ", ")
}

func (w *watcher) restart(ctx context.Context, pending []string) {
	text := strings.Join(pending, " ")
	if text == w.pending {
		return
	}
	if w.pending = text; text == "" {
		return
	}
	err := &RestartError{w.running.options.File, pending}
	w.log.WarnContext(ctx, "kest: configuration: "+err.Error())
	w.report(err)
}

func (w *watcher) tell(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil:
		w.complained = ""
	case err.Error() != w.complained:
		w.complained = err.Error()
		w.log.ErrorContext(ctx, "kest: configuration not reloaded; the last good one stays", "file", w.running.options.File, "error", err)
		w.report(err)
	}
}
