package bearer

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/propagate"
)

const (
	maxText   = 256          // bytes of a user, an agent, a task, an actor
	maxActors = 8            // of a chain (RFC 8693 §4.1)
	maxTime   = 253402300799 // the end of the year 9999, in seconds
)

// caller checks the claims of a token whose signature holds, and is of the issuer, and reads who it speaks of.
func (c *Config) caller(claims jcs.Value) (propagate.Caller, error) {
	none := propagate.Caller{}
	if err := c.checkAudience(claims); err != nil {
		return none, err
	}
	if err := c.checkTimes(claims, time.Now()); err != nil {
		return none, err
	}
	if sub, err := text(claims, "sub"); err != nil || sub == "" { // even where the user is another claim
		return none, bad("it has no sub that is accepted")
	}
	user, err := text(claims, c.UserClaim)
	if err != nil {
		return none, err
	}
	if user == "" {
		return none, bad("it does not have the claim of the user")
	}
	agent, err := c.agent(claims)
	if err != nil {
		return none, err
	}
	task, err := c.task(claims)
	if err != nil {
		return none, err
	}
	actors, err := c.actors(claims)
	if err != nil {
		return none, err
	}
	return propagate.Caller{
		Identity: propagate.Identity{User: user, Agent: agent, Task: task}, Issuer: c.Issuer, Actors: actors,
	}, nil
}

// checkAudience is RFC 7519 §4.1.3: one text, or an array of them.
func (c *Config) checkAudience(claims jcs.Value) error {
	aud, _ := claims.Get("aud")
	all := aud.Elems
	if aud.Kind == jcs.String {
		all = []jcs.Value{aud}
	}
	found := false
	for _, a := range all {
		if a.Kind != jcs.String {
			return bad("its aud is not text")
		}
		found = found || slices.Contains(c.Audiences, a.Text)
	}
	if !found {
		return bad("it is for another audience")
	}
	return nil
}

// checkTimes is RFC 7519 §4.1.4 to §4.1.6.
func (c *Config) checkTimes(claims jcs.Value, now time.Time) error {
	exp, present, err := instant(claims, "exp")
	if err != nil {
		return err
	}
	if !present {
		return bad("it has no exp")
	}
	if !now.Before(exp.Add(c.Leeway)) {
		return bad("it has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		t, present, err := instant(claims, name)
		if err != nil {
			return err
		}
		if present && t.After(now.Add(c.Leeway)) {
			return bad("it is of the future; compare the clocks")
		}
	}
	return nil
}

// instant reads a NumericDate (RFC 7519 §2), which may have a fraction.
func instant(claims jcs.Value, name string) (t time.Time, present bool, err error) {
	v, present := claims.Get(name)
	if !present {
		return time.Time{}, false, nil
	}
	seconds, err := strconv.ParseFloat(v.Text, 64)
	if v.Kind != jcs.Number || err != nil || seconds < 0 || seconds > maxTime {
		return time.Time{}, false, bad("it has a time that is none")
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), true, nil
}

func (c *Config) agent(claims jcs.Value) (string, error) {
	for _, name := range c.AgentClaims {
		if agent, err := text(claims, name); agent != "" || err != nil {
			return agent, err
		}
	}
	return "", nil
}

// task also takes an array, which some issuers have instead of RFC 8693 §4.2's scope.
func (c *Config) task(claims jcs.Value) (string, error) {
	v, _ := claims.Get(c.TaskClaim)
	if v.Kind != jcs.Array || c.TaskClaim == DefaultTaskClaim {
		return text(claims, c.TaskClaim)
	}
	words := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		if words[i] = e.Text; e.Kind != jcs.String || e.Text == "" || strings.Contains(e.Text, " ") { // it would pass as two
			return "", bad("its task is an array of something else than words")
		}
	}
	return accept(strings.Join(words, " "))
}

// actors reads the chain of RFC 8693 §4.1, the current actor first.
func (c *Config) actors(claims jcs.Value) ([]string, error) {
	var out []string
	act, present := claims.Get("act")
	for ; present; act, present = act.Get("act") {
		if len(out) == maxActors {
			return nil, bad("its chain of actors is too long")
		}
		if iss, other := act.Get("iss"); other && (iss.Kind != jcs.String || iss.Text != c.Issuer) {
			return nil, bad("it has an actor of another issuer")
		}
		sub, err := text(act, "sub")
		if err != nil {
			return nil, err
		}
		if sub == "" {
			return nil, bad("its chain of actors has one without a sub")
		}
		out = append(out, sub)
	}
	return out, nil
}

// text is the claim as text, "" when there is none.
func text(claims jcs.Value, name string) (string, error) {
	v, present := claims.Get(name)
	if !present {
		return "", nil
	}
	if v.Kind != jcs.String {
		return "", bad("it has a claim that is not text")
	}
	return accept(v.Text)
}

// accept refuses text that would not be what it looks like where an entry is read, or not fit where it is carried.
func accept(s string) (string, error) {
	hidden := func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }
	if len(s) > maxText || strings.ContainsFunc(s, hidden) {
		return "", bad("it has a claim that is too long, or has characters that cannot be seen")
	}
	return s, nil
}
