package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisioncache"
	"github.com/kest-go/kest/policy/decisionlog"
)

// wrap puts an engine behind the cache and the log that the file asks for. The log is outside, or it would miss what the
// cache answers.
func (d *Deployment) wrap(e policy.Engine) (policy.Engine, error) {
	var err error
	inner := e
	if c := d.doc.DecisionCache; c != nil {
		if e, err = decisioncache.New(c.config(e)); err != nil {
			return nil, d.unwrapped(inner, "decision_cache", err)
		}
	}
	if l := d.doc.DecisionLog; l != nil {
		if e, err = decisionlog.New(l.config(e, d.options.Logger)); err != nil {
			return nil, d.unwrapped(inner, "decision_log", err)
		}
	}
	return e, nil
}

// unwrapped closes an engine that nobody will get.
func (d *Deployment) unwrapped(e policy.Engine, path string, err error) error {
	if c, ok := e.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return fmt.Errorf("%s: %w", d.places[path].problem(path, "it cannot be made", "").String(), err)
}

func (c *decisionCache) config(e policy.Engine) decisioncache.Config {
	return decisioncache.Config{Engine: e, Ignore: c.Ignore, MaxEntries: c.MaxEntries, TTL: c.TTL}
}

func (l *decisionLog) config(e policy.Engine, logger *slog.Logger) decisionlog.Config {
	c := decisionlog.Config{Engine: e, Logger: logger, SampleAllows: l.SampleAllows, Input: l.Input, MaxInput: l.MaxInput}
	if l.Output == "stderr" {
		c.Logger = slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	for _, m := range l.Masks {
		c.Mask = append(c.Mask, decisionlog.Mask{Path: m.Path, With: m.With})
	}
	return c
}

// decisions asks the packages of log and cache about each of their settings.
func (c *checker) decisions() {
	if l := c.doc.DecisionLog; l != nil {
		c.aboutEngine("decision_log")
		for i, m := range l.Masks {
			one := decisionLog{Masks: []mask{m}}
			if _, err := decisionlog.New(one.config(nobody{}, nil)); err != nil && m.Path != "" {
				c.fail(fmt.Sprintf("decision_log.masks[%d].path", i), cause(err), "")
			}
		}
		if len(l.Masks) > 0 && !l.Input {
			c.warn("decision_log.masks", "there is no input in the log, so they hide nothing", "add input: true, or take them out")
		}
	}
	if cache := c.doc.DecisionCache; cache != nil {
		c.aboutEngine("decision_cache")
		switch kind := c.doc.Engine.kind; kind {
		case "opa", "cedaragent", "avp":
			c.fail("decision_cache", fmt.Sprintf("engine.%s does not say which policies it would answer by, so a change of policy would go unnoticed", kind), "take the section out")
		}
		for i, name := range cache.Ignore {
			one := decisionCache{Ignore: []string{name}}
			if _, err := decisioncache.New(one.config(nobody{})); err != nil && name != "" {
				c.fail(fmt.Sprintf("decision_cache.ignore[%d]", i), cause(err), "")
			}
		}
		if len(cache.Ignore) == 0 {
			c.warn("decision_cache", "without ignore no answer is found again, because every call has an id of its own", "add ignore, with environment.entry_id among it")
		}
	}
}

// aboutEngine reports a section about an engine that application code has to itself.
func (c *checker) aboutEngine(path string) {
	if c.doc.Engine.kind == "" {
		c.fail(path, "it is about the engine of this file, and there is none", "add the section engine, or take this one out")
	}
}

// cause is the text of an error without the name of the Go type that it is about.
func cause(err error) string {
	for _, prefix := range []string{"decision log config: ", "decision cache config: "} {
		if text, ok := strings.CutPrefix(err.Error(), prefix); ok {
			return sentence(text)
		}
	}
	return sentence(err.Error())
}

// nobody is an engine for a check, which asks nothing.
type nobody struct{}

func (nobody) Evaluate(context.Context, string, *policy.Input) (policy.Decision, error) {
	return policy.Decision{}, policy.ErrUnavailable
}

func (nobody) Revision() string { return "none" }
