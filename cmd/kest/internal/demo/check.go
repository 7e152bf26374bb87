package demo

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/telemetry"
)

// verify is scene 5. The verifier has not seen any of it before, and reads what is in the folder.
func (d *show) verify(ctx context.Context) (detail, error) {
	p, err := d.system.gateway.guard.Seal(d.day.ctx)
	if err != nil {
		return nil, err
	}
	if err := d.save(p); err != nil {
		return nil, err
	}
	u, err := d.folder.read()
	if err != nil {
		return nil, err
	}
	verified, report, err := d.auditor.Verify(ctx, u)
	if err != nil {
		return nil, err
	}
	out := &VerifyDetail{Report: report, Tips: p.Tips(), Bytes: p.Size(), rows: d.rows(report)}
	for _, s := range verified.All() {
		for _, r := range d.system.journal.since(0, telemetry.Receipt) {
			if r.Hash != s.Hash() {
				continue
			}
			if _, err := d.auditor.VerifyReceipt(ctx, r.JWS, s); err != nil {
				return out, err
			}
			out.Receipts++
		}
	}
	if out.Unauthorized, err = d.withoutRights(ctx, u); err != nil {
		return out, err
	}
	return out, errors.Join(
		expect(report.Valid() && verified.Len() == p.Len(), "%d of %d entries verified", verified.Len(), p.Len()),
		expect(out.Receipts == p.Len(), "%d receipts for %d entries", out.Receipts, p.Len()))
}

// withoutRights verifies the same passport under a policy that does not let the gateway clear what a model said.
func (d *show) withoutRights(ctx context.Context, u lineage.Unverified) (Refused, error) {
	c := d.system.verifierConfig()
	c.Authority = &lineage.Authority{Grants: []lineage.Grant{
		{Principal: d.system.gateway.id.Principal(), Originate: []string{lineage.SourceInternal}},
	}}
	strict, err := d.parts.verifier(c)
	if err != nil {
		return Refused{}, err
	}
	_, _, err = strict.Verify(ctx, u)
	return refusedBy(err, lineage.Unauthorized)
}

func (d *show) rows(report *lineage.Report) []row {
	var out []row
	index := map[lineage.Hash]int{}
	for _, e := range report.Entries() {
		index[e.Hash] = e.Index
		who := d.system.nameOf(e.Principal)
		r := row{EntryReport: e, service: who, operation: strings.TrimPrefix(e.Operation, who+".")}
		if s := report.Passport.Find(e.Hash); s != nil {
			entry := s.Entry()
			r.operation = strings.TrimSpace(r.operation + " " + entry.Labels[lineage.LabelResourceID])
		}
		for _, h := range e.Parents {
			r.parents = append(r.parents, index[h])
		}
		slices.Sort(r.parents)
		out = append(out, r)
	}
	return out
}

// save writes what the reader gets: the passport, where it ends, and one baggage header of each kind that was on the
// wire.
func (d *show) save(p lineage.Passport) error {
	text, err := p.MarshalText()
	if err != nil {
		return err
	}
	tip := p.Last().Hash().String() // Seal made it the only one
	d.result.Files = Files{
		Passport: d.folder.join(passportFile), Keys: d.folder.join(keysFile), Tip: d.folder.join(tipFile),
		Audit: d.folder.join(auditFile), Log: d.folder.join(logFile), Headers: []string{}, Forged: []string{},
	}
	d.result.Verify = []string{"verify", d.result.Files.Passport, "--keys", d.result.Files.Keys, "--tip", tip}
	d.result.Why = []string{"why", d.folder.path, "--keys", d.result.Files.Keys, "--policies", d.folder.join(policiesDir), "--entry", d.denied}
	return errors.Join(d.folder.write(passportFile, text), d.folder.write(tipFile, []byte(tip+"\n")), d.saveHeaders())
}

func (d *show) saveHeaders() error {
	kinds := [...]struct{ member, file string }{
		{propagate.KeyPassport, "plain.txt"}, {propagate.KeyPassportZ, "compressed.txt"}, {propagate.KeyClaimCheck, "claim-check.txt"},
	}
	seen := map[string]string{}
	for _, m := range d.system.wire.to("") {
		value := m.header.Get("Baggage")
		for _, k := range kinds {
			if strings.Contains(value, k.member+"=") {
				seen[k.file] = value // the last of a kind is the longest
			}
		}
	}
	for _, k := range kinds {
		if seen[k.file] == "" {
			continue // which kinds there are depends on how long entries are
		}
		file := headersDir + "/" + k.file
		if err := d.folder.write(file, []byte("baggage: "+seen[k.file]+"\n")); err != nil {
			return err
		}
		d.result.Files.Headers = append(d.result.Files.Headers, d.folder.join(file))
	}
	return nil
}

var errAccepted = errors.New("it was accepted")

// refusedBy turns the error of a verification that must fail into what the scene shows.
func refusedBy(err error, want lineage.Reason) (Refused, error) {
	failure, ok := errors.AsType[*lineage.VerifyError](err)
	if !ok {
		if err == nil {
			err = errAccepted
		}
		return Refused{Index: -1}, errors.Join(expect(false, "want a refusal by reason %q", want), err)
	}
	out := Refused{Reason: failure.Reason, Index: failure.Index, EntryID: failure.EntryID, Detail: failure.Detail}
	return out, expect(failure.Reason == want, "refused by reason %q, want %q", failure.Reason, want)
}
