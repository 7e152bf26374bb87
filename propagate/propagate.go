// Package propagate is the vocabulary of lineage in motion: the [Session] that a context carries, the ambient
// identity of whoever acts, and the names of the baggage members that carry both between processes (SPEC §5, §9).
package propagate

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/baggage"
)

// Baggage members (SPEC §9).
const (
	KeyPassport   = "kest.passport"
	KeyPassportZ  = "kest.passport_z"
	KeyClaimCheck = "kest.claim_check"
	KeyChainTip   = "kest.chain_tip"
	KeyUser       = "kest.user"
	KeyAgent      = "kest.agent"
	KeyTask       = "kest.task"
)

// Identity is who acts through the workload: a person, an agent on their behalf, and its task. Empty parts are
// absent. It is ambient: calls that do not name their own take it from the context (SPEC §8).
type Identity struct{ User, Agent, Task string }

type (
	sessionKey  struct{}
	identityKey struct{}
	refusalKey  struct{}
)

// WithIdentity returns a context with the ambient identity id.
func WithIdentity(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// IdentityFrom returns the ambient identity.
func IdentityFrom(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}

// AdmitBaggage makes kest.user, kest.agent and kest.task of the context's OpenTelemetry baggage the ambient
// identity (F-CP-04, TC-12). Baggage is text that anybody could have sent: call it only where whoever filled it
// has been authenticated. The guard never reads identity from baggage by itself.
func AdmitBaggage(ctx context.Context) context.Context {
	bag := baggage.FromContext(ctx)
	return WithIdentity(ctx, Identity{
		User: bag.Member(KeyUser).Value(), Agent: bag.Member(KeyAgent).Value(), Task: bag.Member(KeyTask).Value(),
	})
}

// CarriesUnverified reports whether the context holds lineage that its session does not stand for: it came over the
// wire after the session was opened, or there is no session. It may be an [Arrival] or plain baggage. Lineage that is
// merely announced counts: a chain tip whose passport was lost on the way is not the same as no lineage.
func CarriesUnverified(ctx context.Context) bool {
	now, arrival := carried(ctx), presented(ctx)
	if now == "" && arrival == nil {
		return false
	}
	v := attachedTo(ctx)
	return now != v.carried || arrival != v.arrival
}

// presented is the arrival in the context, if it brought lineage.
func presented(ctx context.Context) *Arrival {
	if a := ArrivalFrom(ctx); a != nil && a.Present {
		return a
	}
	return nil
}

// carried is the lineage in the context's baggage as it came, "" for none.
func carried(ctx context.Context) string {
	bag := baggage.FromContext(ctx)
	if bag.Len() == 0 {
		return ""
	}
	var text strings.Builder
	for _, key := range [...]string{KeyPassport, KeyPassportZ, KeyClaimCheck, KeyChainTip} {
		if m := bag.Member(key); m.Key() != "" {
			text.WriteString(key + "=" + m.Value() + "\n") // the keys are fixed, so no value can look like another member
		}
	}
	return text.String()
}

// Refuse marks the context so that every protected call under it stops with reason: lineage arrived and could not
// be believed, which must never look like no lineage at all. A refusal cannot be taken back; nil refuses too.
func Refuse(ctx context.Context, reason error) context.Context {
	if reason == nil {
		reason = errNoReason
	}
	return context.WithValue(ctx, refusalKey{}, reason)
}

var errNoReason = errors.New("no reason was given")

// Refusal returns the reason given to [Refuse], nil when there is none.
func Refusal(ctx context.Context) error {
	reason, _ := ctx.Value(refusalKey{}).(error)
	return reason
}
