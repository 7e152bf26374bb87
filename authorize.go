package kest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/telemetry"
)

// maxReason bounds what an engine can make the records of a denial hold, in bytes.
const maxReason = 1 << 10

// errLate is what an engine's answer counts as when it comes after the deadline.
var errLate = errors.New("answered after the deadline")

// authorize is steps 6 to 9: each policy of each tier on its own, in order; the first that does not allow ends it
// (TC-08).
func (c *call) authorize() error {
	active := c.deviations(time.UnixMilli(c.entry.TimestampMS))
	c.input = c.document(active)
	var answers []policy.Answer // of what is left of the tier, when it was asked at once
	for i := range c.steps {
		s := &c.steps[i]
		if c.lifted(s, active) {
			continue
		}
		c.input.Environment.PolicyNames, c.input.Environment.PolicyTier = s.names, s.tier
		if len(answers) == 0 {
			answers = c.askAtOnce(c.steps[i:], active)
		}
		decision, err := c.next(s, &answers)
		c.decidedBy(decision.Revision)
		if decision.Allow && err == nil {
			continue
		}
		gone := ended(c.ctx)
		if gone != nil && err != nil {
			return c.stop(StepExecute, gone) // the caller gave up before the policy said anything
		}
		denied := c.deny(s, decision, err)
		if gone != nil {
			return c.stop(StepExecute, gone) // SPEC §1; the denial is on record all the same
		}
		return denied
	}
	return nil
}

func (c *call) lifted(s *step, active []policy.Deviation) bool {
	return slices.ContainsFunc(active, func(d policy.Deviation) bool { return d.Covers(s.tier, s.name, c.operation) })
}

// next is the answer of a policy: the first of answers, or its own when there are none.
func (c *call) next(s *step, answers *[]policy.Answer) (policy.Decision, error) {
	if len(*answers) == 0 {
		return c.ask(s)
	}
	a := (*answers)[0]
	*answers = (*answers)[1:]
	return a.Decision, a.Err
}

// askAtOnce asks the policies of the tier with which steps begins, if there are several and their engine can, under one
// deadline. There is one answer for each that is not lifted, in order; nil says to ask one by one.
func (c *call) askAtOnce(steps []step, active []policy.Deviation) []policy.Answer {
	if len(steps[0].names) < 2 {
		return nil
	}
	batcher, ok := steps[0].engine.(policy.Batcher) // a tier has one engine
	if !ok {
		return nil
	}
	var names []string
	for i := range steps {
		if s := &steps[i]; s.tier == steps[0].tier && !c.lifted(s, active) {
			names = append(names, s.name)
		}
	}
	if len(names) < 2 {
		return nil
	}
	ctx := withDeadline(c.ctx, c.guard.config.PolicyTimeout)
	defer ctx.end()
	answers := slices.Clone(policy.EvaluateAll(ctx, batcher, names, &c.input)) // it may be the engine's own
	for i := range answers {
		answers[i].Err = late(ctx, answers[i].Decision, answers[i].Err)
	}
	return answers
}

// maxRevisions bounds the revisions in an entry. More than a few in one call mean that engines disagree, or reload at this
// moment; the log of decisions has all.
const maxRevisions = 4

// decidedBy signs the revision of a policy that decided into the entry, so that it says under which text of the policies
// the call was allowed. What is no plain word is left out.
func (c *call) decidedBy(revision string) {
	revision = revision[:min(len(revision), lineage.MaxPolicyRevision)]
	known := c.entry.Labels[lineage.LabelPolicyRevision]
	switch {
	case revision == "" || revision == known:
		return
	case strings.ContainsFunc(revision, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }):
		return
	case known == "" && len(c.entry.Labels) >= c.guard.labels: // the application's own come first
		return
	case known == "":
		c.entry.Labels[lineage.LabelPolicyRevision] = revision
	case strings.Count(known, ",") < maxRevisions-1 && !slices.Contains(strings.Split(known, ","), revision):
		c.entry.Labels[lineage.LabelPolicyRevision] = known + "," + revision
	}
}

// ask evaluates one policy under the deadline. No retries (SPEC §7).
func (c *call) ask(s *step) (policy.Decision, error) {
	ctx := withDeadline(c.ctx, c.guard.config.PolicyTimeout)
	defer ctx.end()
	return c.evaluate(ctx, s)
}

func (c *call) evaluate(ctx context.Context, s *step) (policy.Decision, error) {
	decision, err := s.engine.Evaluate(ctx, s.name, &c.input)
	return decision, late(ctx, decision, err)
}

// trialTime is for all policies under trial together: that of one policy, and never more than half of what is left to the
// caller, whom a trial must not make late.
func (c *call) trialTime() time.Duration {
	most := c.guard.config.PolicyTimeout
	if at, limited := c.ctx.Deadline(); limited {
		most = min(most, time.Until(at)/2)
	}
	return most
}

// late is the error of an answer, which may be that the deadline has passed. A refusal counts whenever it comes.
func late(ctx context.Context, decision policy.Decision, err error) error {
	if err == nil && decision.Allow && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", policy.ErrUnavailable, errLate)
	}
	return err
}

// observe asks the policies under trial about a call that all others allowed. Nothing that they do stops it, a panic
// apart; what they said is signed with the entry.
func (c *call) observe() {
	if len(c.trials) == 0 {
		return
	}
	ctx := withDeadline(policy.WithTrial(c.ctx, true), c.trialTime())
	defer ctx.end()
	said := make([]string, len(c.trials))
	for i := range c.trials {
		s := &c.trials[i]
		c.input.Environment.PolicyNames, c.input.Environment.PolicyTier = s.names, s.tier
		decision, err := c.evaluate(ctx, s)
		verdict := lineage.VerdictAllow
		switch {
		case err != nil:
			verdict = lineage.VerdictError
		case !decision.Allow:
			verdict = lineage.VerdictDeny
		}
		said[i] = string(s.tier) + ":" + s.name + "=" + verdict
		if verdict != lineage.VerdictAllow {
			c.guard.config.Logger.WarnContext(c.ctx, "kest: policy under trial did not allow a call, which goes on",
				"operation", c.operation, "entry_id", c.entry.ID, "trace_id", c.trace, "policy", s.name,
				"tier", string(s.tier), "workload", c.signer.Principal(), "verdict", verdict, "reason", reasonOf(decision, err))
		}
	}
	c.entry.Labels[lineage.LabelObserved] = strings.Join(said, ",")
}

// reasonOf is what an engine said, or why it could not decide, as far as records hold it: in valid UTF-8, or it could not
// be signed.
func reasonOf(decision policy.Decision, err error) string {
	reason := decision.Reason
	if err != nil {
		reason = err.Error()
	}
	if len(reason) > maxReason {
		reason = reason[:maxReason] + "…"
	}
	return strings.ToValidUTF8(reason, "")
}

// deviations are the exemptions in force for this call. They are signed into the entry (F-PE-12).
func (c *call) deviations(now time.Time) []policy.Deviation {
	var active []policy.Deviation
	for _, d := range c.maybe {
		if d.Expired(now) {
			c.guard.reportExpired(d)
			continue
		}
		active = append(active, d)
		c.entry.Policies.Deviations = append(c.entry.Policies.Deviations, lineage.Deviation{
			Policy: d.Policy, Tier: string(d.Tier), Reason: d.Reason, Approver: d.Approver, ApproverKey: d.ApproverKey,
		})
	}
	return active
}

// document is what policies see (SPEC §7).
func (c *call) document(active []policy.Deviation) policy.Input {
	e, past := &c.entry, summaryOf(c.history)
	if past.Length > 0 {
		past.History = policy.NewHistory(c.ancestors)
	}
	return policy.Input{
		Subject: policy.Subject{
			Workload: c.signer.Principal(), User: c.identity.User, Agent: c.identity.Agent, Task: c.identity.Task,
			TrustScore: e.TrustScore, Taints: e.Taints,
		},
		Object: policy.Object{ID: c.object.id, Attributes: c.object.attributes.values},
		Environment: policy.Environment{
			IsRoot: e.IsRoot(), SourceType: c.source, ParentHashes: hashTexts(e.Parents), ActiveDeviations: active,
			Operation: e.Operation, Classification: e.Classification, EntryID: e.ID, TraceID: c.trace,
			TrustOverride: c.override, RemovedTaints: e.RemovedTaints, Sanitizer: c.sanitizer,
		},
		TrustScore: e.TrustScore,
		Lineage:    past,
		Labels:     c.settings.labels,
		Attributes: c.facts.values,
	}
}

// deny makes the record of a refusal: a log line (NF-OBS-01), a signed document, and the error. Whether the
// document can be signed or kept changes nothing about the refusal.
func (c *call) deny(s *step, decision policy.Decision, err error) error {
	reason := reasonOf(decision, err)
	denied := &DeniedError{
		Operation: c.operation, EntryID: c.entry.ID, Tier: s.tier, Policy: s.name, Reason: reason, Err: err,
	}
	c.guard.config.Logger.WarnContext(c.ctx, "kest: call denied", "operation", c.operation, "entry_id", c.entry.ID,
		"trace_id", c.trace, "policy", s.name, "tier", string(s.tier), "workload", c.signer.Principal(),
		"reason", reason, "trust_score", c.entry.TrustScore, "taints", c.entry.Taints)

	ctx := c.afterwards()
	defer ctx.end()
	record, signErr := lineage.SignDenial(ctx, c.signer, lineage.Denial{
		Entry: c.entry, Policy: s.name, Tier: string(s.tier), Reason: reason,
	}, c.guard.config.Limits)
	if signErr != nil {
		c.complain(c.ctx, "kest: denial record could not be signed", signErr)
		return denied
	}
	denied.Record = record
	if sink := c.guard.config.Sink; sink != nil {
		if err := sink.Record(ctx, c.recordOf(telemetry.Denial, record)); err != nil {
			c.complain(c.ctx, "kest: denial record could not be kept", err)
		}
	}
	return denied
}
