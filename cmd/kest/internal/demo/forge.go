package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kest-go/kest/lineage"
)

// forger makes forgeries from a passport as it is in the folder.
type forger struct {
	entries []string
	tips    []lineage.Hash
	model   int            // index of the agent's entry, with trust 0
	signer  lineage.Signer // the agent's, for the insider
	cart    string         // a genuine entry of another lineage
}

// forgery is scene 6. Tips are announced with each as the forger would: only the cut is caught by them.
func (d *show) forgery(ctx context.Context) (detail, error) {
	f, err := d.newForger(ctx)
	if err != nil {
		return nil, err
	}
	out := &ForgeryDetail{Attempts: []Forgery{}}
	var errs []error
	for _, a := range []struct {
		name, title, what string
		want              lineage.Reason
		make              func(context.Context) (lineage.Unverified, error)
	}{
		{"altered-trust", "altered trust", "the agent's 0 becomes 100, in the bytes of its entry", lineage.BadSignature, f.altered},
		{"altered-trust-resigned", "", "the same, and the agent signs it with its real key", lineage.TrustMismatch, f.resigned},
		{"cut-tail", "cut tail", "the last entry is left out, below the announced tip", lineage.TipMismatch, f.cut},
		{"spliced-entry", "spliced entry", "the browser's order of scene 2 is put in as it was signed", lineage.BrokenLink, f.spliced},
	} {
		u, err := a.make(ctx)
		if err != nil {
			return out, fmt.Errorf("%s: %w", a.name, err)
		}
		file, err := d.keep(a.name, u)
		if err != nil {
			return out, err
		}
		_, _, err = d.auditor.Verify(ctx, u)
		refused, err := refusedBy(err, a.want)
		agent := d.system.agent
		out.Attempts = append(out.Attempts, Forgery{
			Name: a.name, What: a.what, File: file, Caught: err == nil, Refused: refused, title: a.title,
			short: strings.ReplaceAll(refused.Detail, strconv.Quote(agent.id.Principal()), "the "+agent.name),
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.name, err))
		}
	}
	return out, errors.Join(errs...)
}

func (d *show) newForger(ctx context.Context) (*forger, error) {
	u, err := d.folder.read()
	if err != nil {
		return nil, err
	}
	f := &forger{entries: u.Entries, tips: u.Tips, model: -1, cart: d.cart}
	for i, jws := range u.Entries {
		e, _, err := lineage.InsecureInspect(jws, lineage.Limits{})
		if err != nil {
			return nil, err
		}
		if e.SourceType() == lineage.SourceLLM {
			f.model = i
		}
	}
	if err := expect(f.model > 0 && f.cart != "", "there is nothing to forge"); err != nil {
		return nil, err
	}
	f.signer, err = d.system.agent.id.Signer(ctx)
	return f, err
}

// with returns the passport with another text for one entry.
func (f *forger) with(i int, jws string) lineage.Unverified {
	entries := slices.Clone(f.entries)
	entries[i] = jws
	return lineage.Unverified{Entries: entries, Tips: f.tips}
}

func (f *forger) altered(context.Context) (lineage.Unverified, error) {
	parts := strings.Split(f.entries[f.model], ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return lineage.Unverified{}, err
	}
	forged := bytes.Replace(payload, []byte(`"trust_score":0`), []byte(`"trust_score":100`), 1)
	if bytes.Equal(forged, payload) {
		return lineage.Unverified{}, errors.New("the entry has no trust_score of 0")
	}
	parts[1] = base64.RawURLEncoding.EncodeToString(forged)
	return f.with(f.model, strings.Join(parts, ".")), nil
}

// resigned is what an insider can do: sign what is not true with a key that everybody knows.
func (f *forger) resigned(ctx context.Context) (lineage.Unverified, error) {
	e, _, err := lineage.InsecureInspect(f.entries[f.model], lineage.Limits{})
	if err != nil {
		return lineage.Unverified{}, err
	}
	e.TrustScore = 100
	signed, err := lineage.Sign(ctx, f.signer, e, lineage.Limits{})
	if err != nil {
		return lineage.Unverified{}, err
	}
	return f.with(f.model, signed.JWS()), nil
}

func (f *forger) cut(context.Context) (lineage.Unverified, error) {
	return lineage.Unverified{Entries: slices.Clone(f.entries[:len(f.entries)-1]), Tips: f.tips}, nil
}

// spliced puts the entry between two genuine ones, and announces it with the tips.
func (f *forger) spliced(context.Context) (lineage.Unverified, error) {
	tips := append(slices.Clone(f.tips), lineage.HashJWS(f.cart))
	return lineage.Unverified{Entries: slices.Insert(slices.Clone(f.entries), 1, f.cart), Tips: tips}, nil
}

// keep writes a forgery for the reader to try.
func (d *show) keep(name string, u lineage.Unverified) (string, error) {
	file := forgedDir + "/" + name + ".json"
	if err := d.folder.write(file, []byte(`["`+strings.Join(u.Entries, `","`)+`"]`+"\n")); err != nil {
		return "", err
	}
	d.result.Files.Forged = append(d.result.Files.Forged, d.folder.join(file))
	return d.folder.join(file), nil
}
