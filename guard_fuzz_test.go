package kest_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/telemetry"
)

// FuzzCall: whatever the argument, the labels and the names are, the guard does not panic; what it signs verifies,
// and what it refuses has a typed error.
func FuzzCall(f *testing.F) {
	f.Add(`{"a":1}`, "team", "x", "order/1", "alice", "taint", true)
	f.Add(`9007199254740993`, "a b", "\u2028", "", "", "\x00", false)
	f.Add("\"\xff\"", "kest.x", "\xff", "\xed\xa0\x80", "\"", "", true)
	f.Add(`{"a":1,"a":2}`, "", strings.Repeat("x", 9000), `\`, "\ufffd", "ä", false)
	f.Add(`"\ud800"`, "principal", "\ufffd", `\ufffd`, "\u202e", "a,b", true)
	f.Add(strings.Repeat("[", 70)+strings.Repeat("]", 70), "l", "v", "r", "u", "t", true)
	f.Fuzz(func(t *testing.T, argument, label, value, resource, user, taint string, allow bool) {
		engine := allowOnly()
		if allow {
			engine = allowOnly("a/b")
		}
		r := newRig(t, func(c *kest.Config) { c.Engine = engine })
		var in any
		if json.Unmarshal([]byte(argument), &in) != nil {
			in = argument
		}
		fn, err := kest.Verified(r.Guard, func(context.Context, any) (any, error) { return in, nil },
			kest.Operation("x"), kest.Policy("a/b"), kest.Label(label, value), kest.AddTaints(taint),
			kest.ResourceFrom(func(context.Context, any) (string, error) { return resource, nil }),
			kest.ResourceAttributesFrom(func(context.Context, any) (map[string]any, error) { return map[string]any{resource: in}, nil }),
			kest.UserFrom(func(context.Context, any) (string, error) { return user, nil }))
		if err != nil {
			wantConfig(t, err)
			return
		}
		ctx, s := kest.StartSession(t.Context())
		_, err = fn(ctx, in)
		if denied := (*kest.DeniedError)(nil); errors.As(err, &denied) {
			if allow {
				t.Errorf("denied: %v", err)
			}
			if denied.Record != "" {
				if _, err := r.verifier.VerifyDenial(ctx, denied.Record); err != nil {
					t.Error(err)
				}
			} else if !strings.Contains(r.log.String(), "could not be signed") {
				t.Error("a denial without record and without complaint")
			}
		} else if stopped := (*kest.CallError)(nil); err != nil && !errors.As(err, &stopped) {
			t.Fatalf("%T %v", err, err)
		}
		if (s.Passport().Len() == 1) != (err == nil) {
			t.Fatalf("%d entries, error %v", s.Passport().Len(), err)
		}
		if err != nil {
			return
		}
		r.verify(s.Passport())
		r.receipt(s.Passport().Last())
		e := s.Passport().Last().Entry()
		if e.Labels[label] != value || e.Labels["kest.resource_id"] != resource || e.Principal() != payments || !allow ||
			r.sink.last(t, telemetry.Entry).JWS != s.Passport().Last().JWS() {
			t.Errorf("%+v", e)
		}
	})
}
