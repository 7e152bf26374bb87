package report

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kest-go/kest/lineage"
)

// notVerified stands above everything that was decoded only (SPEC §14).
const notVerified = "no signature, key, link or trust was checked; these are claims"

// claim is what one entry says of itself.
type claim struct {
	Index  int             `json:"index"`
	Hash   lineage.Hash    `json:"hash"`
	KeyID  string          `json:"kid,omitempty"`
	Claims json.RawMessage `json:"claims,omitempty"` // the payload as it was signed
	Error  string          `json:"error,omitempty"`

	entry lineage.Entry
}

// passportEntries is what is decoded without a verifier, which has a limit of its own (SPEC §12).
const passportEntries = 1024

func claims(file string, u lineage.Unverified) ([]claim, error) {
	if n := len(u.Entries); n > passportEntries {
		return nil, fmt.Errorf("%s: %d entries, more than the limit of %d", Shown(file), n, passportEntries)
	}
	out := make([]claim, len(u.Entries))
	for i, jws := range u.Entries {
		c := claim{Index: i, Hash: lineage.HashJWS(jws)}
		entry, keyID, err := lineage.InsecureInspect(jws, lineage.Limits{})
		if err == nil {
			c.Claims, err = payload(jws)
		}
		if err != nil {
			c.Error = err.Error()
		}
		c.entry, c.KeyID = entry, keyID
		out[i] = c
	}
	return out, nil
}

// payload returns the middle part of a compact JWS that InsecureInspect has accepted: canonical JSON.
func payload(jws string) (json.RawMessage, error) {
	_, rest, _ := strings.Cut(jws, ".")
	middle, _, _ := strings.Cut(rest, ".")
	return base64.RawURLEncoding.DecodeString(middle)
}

// Inspect shows what the entries of a passport claim. It verifies nothing and says so. An entry that cannot be
// decoded is shown as such, and makes an error in the end.
func (e *Env) Inspect(ctx context.Context, file string) error {
	u, err := e.Passport(ctx, file)
	if err != nil {
		return err
	}
	all, err := claims(file, u)
	if err != nil {
		return err
	}
	if e.JSON {
		err = e.WriteJSON(struct {
			Verified bool    `json:"verified"`
			Note     string  `json:"note"`
			Length   int     `json:"length"`
			Entries  []claim `json:"entries"`
		}{false, notVerified, len(all), all})
	} else {
		err = e.Write(e.inspection(Shown(file), all))
	}
	bad := 0
	for i := range all {
		if all[i].Error != "" {
			bad++
		}
	}
	if err == nil && bad > 0 {
		err = fmt.Errorf("%s: %d of %s could not be decoded", Shown(file), bad, Count(len(all), "entry", "entries"))
	}
	return err
}

func (e *Env) inspection(name string, all []claim) []byte {
	p := e.Page()
	p.Line("%s  %s", p.Paint(Yellow, "NOT VERIFIED"), notVerified)
	p.Line("%s: %s", Fit(name, 60), Count(len(all), "entry", "entries"))
	for i := range all {
		p.Line("")
		p.claim(&all[i])
	}
	return p.Bytes()
}

func (p *Page) claim(c *claim) {
	p.Line("%s", p.Paint(Bold, fmt.Sprintf("entry %d", c.Index)))
	p.field("hash", c.Hash.String())
	if c.Error != "" {
		p.field("error", "cannot be decoded: "+c.Error)
		return
	}
	e := &c.entry
	p.field("entry_id", e.ID)
	p.field("operation", e.Operation)
	p.field("classification", e.Classification)
	p.field("principal", e.Principal())
	p.field("kid", c.KeyID)
	p.field("trust_score", fmt.Sprint(e.TrustScore))
	p.field("source_type", e.SourceType())
	p.field("taints", names(e.Taints))
	p.field("added_taints", names(e.AddedTaints))
	p.field("removed_taints", names(e.RemovedTaints))
	p.parents(e.Parents)
	p.field("trace_id", e.TraceID())
	p.field("timestamp", time.UnixMilli(e.TimestampMS).UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	p.field("runtime", e.Runtime.Name+" "+e.Runtime.Version)
	p.field("input_hash", e.InputHash)
	p.field("content_hash", e.ContentHash)
	p.policies(&e.Policies)
	for _, o := range e.Observed() {
		p.field("on trial", observed(o))
	}
	p.field("revision", e.Labels[lineage.LabelPolicyRevision])
	p.labels(e.Labels)
	for _, object := range []struct {
		name string
		text lineage.Object
	}{{"environment", e.Environment}, {"otel_context", e.OTelContext}, {"extra", e.Extra}} {
		if object.text != "{}" {
			p.field(object.name, string(object.text))
		}
	}
}

// field writes one member, nothing when it is empty.
func (p *Page) field(name, value string) {
	if value != "" {
		p.Wrap(fmt.Sprintf("%-14s  ", name), value)
	}
}

// names joins all of a list: what is inspected is shown whole.
func names(list []string) string {
	parts := make([]string, len(list))
	for i, name := range list {
		parts[i] = Name(name, len(name)*10+2) // room for any escape
	}
	return strings.Join(parts, ", ")
}

func (p *Page) parents(parents []lineage.Hash) {
	if len(parents) == 0 {
		p.field("parents", "none: it begins a lineage")
	}
	for _, hash := range parents {
		p.field("parent", hash.String())
	}
}

func (p *Page) policies(c *lineage.PolicyContext) {
	for _, tier := range []struct {
		name  string
		names []string
	}{{"enterprise", c.Enterprise}, {"platform", c.Platform}, {"application", c.Application}, {"function", c.Function}} {
		if len(tier.names) > 0 {
			p.field("policies", tier.name+": "+names(tier.names))
		}
	}
	for _, d := range c.Deviations {
		p.field("deviation", d.Tier+": "+d.Policy)
		p.field("  reason", d.Reason)
		p.field("  approver", d.Approver)
		p.field("  signed with", d.ApproverKey)
	}
}

// labels writes the labels that have no line of their own.
func (p *Page) labels(labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		switch name {
		case lineage.LabelPrincipal, lineage.LabelTraceID, lineage.LabelSourceType, lineage.LabelObserved, lineage.LabelPolicyRevision:
			continue
		}
		p.field("label", Name(name, nameColumns)+" = "+labels[name])
	}
}
