package device

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kest-go/kest/internal/jcs"
)

// Errors of a login.
var (
	ErrDenied  = errors.New("the person refused the login")
	ErrExpired = errors.New("nobody logged in before the code ended")
	// ErrLogin says that the issuer ended the login, or that it never began: a person has to log in, by [Source.Login].
	ErrLogin = errors.New("a person has to log in again")
)

const (
	defaultInterval = 5 * time.Second // RFC 8628 §3.2
	slowDown        = 5 * time.Second // §3.5
	maxInterval     = 5 * time.Minute
	maxLogin        = 30 * time.Minute // whatever the issuer allows
	requestTimeout  = 15 * time.Second
)

// tokens are what the issuer gave. They are kept in memory, behind a pointer, so that no %+v shows them.
type tokens struct {
	access, id, refresh string
	got, ends           time.Time // ends is zero when the issuer did not say
}

// authorize is RFC 8628 §3.1 and §3.2.
func (o *oauthClient) authorize(ctx context.Context, scopes []string) (p Prompt, code string, interval time.Duration, err error) {
	began := time.Now()
	doc, err := o.request(ctx, o.device, url.Values{"client_id": {o.id}, "scope": {strings.Join(scopes, " ")}})
	if err != nil {
		return p, "", 0, err
	}
	text := func(name string) string {
		if v, _ := doc.Get(name); v.Kind == jcs.String {
			return v.Text
		}
		return ""
	}
	p = Prompt{URL: text("verification_uri"), Complete: text("verification_uri_complete"), Code: text("user_code")}
	code = text("device_code")
	lifetime, err := seconds(doc, "expires_in", 0)
	if err != nil {
		return p, "", 0, err
	}
	if interval, err = seconds(doc, "interval", defaultInterval); err != nil {
		return p, "", 0, err
	}
	if code == "" || len(code) > maxToken || lifetime <= 0 {
		return p, "", 0, errors.New("the answer has no device_code, or no expires_in")
	}
	p.Expires = began.Add(min(lifetime, maxLogin))
	return p, code, min(interval, maxInterval), p.check()
}

// poll is RFC 8628 §3.4 and §3.5. It ends with ctx or the code.
func (o *oauthClient) poll(ctx context.Context, code string, interval time.Duration, expires time.Time) (*tokens, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, expires, ErrExpired)
	defer cancel()
	for {
		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
		t, err := o.tokens(ctx, url.Values{"grant_type": {grantDevice}, "device_code": {code}})
		switch {
		case err == nil:
			return t, nil
		case hasCode(err, "authorization_pending"):
		case hasCode(err, "slow_down"): // "for this and all subsequent requests"
			interval = min(interval+slowDown, maxInterval)
		case isTransient(err): // §3.5: on a timeout, back off
			interval = min(2*interval, maxInterval)
		case hasCode(err, "access_denied"):
			return nil, ErrDenied
		case hasCode(err, "expired_token"):
			return nil, ErrExpired
		default:
			return nil, err
		}
	}
}

// isTransient says whether there was no answer, or one that says only that the server has problems.
func isTransient(err error) bool {
	if _, ok := errors.AsType[*transportError](err); ok {
		return true
	}
	e, ok := errors.AsType[*oauthError](err)
	return ok && e.code == "" && (e.status >= 500 || e.status == http.StatusTooManyRequests)
}

// refresh is RFC 6749 §6. The issuer may keep the refresh token, or replace it.
func (o *oauthClient) refresh(ctx context.Context, token string) (*tokens, error) {
	t, err := o.tokens(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	if err == nil && t.refresh == "" {
		t.refresh = token
	}
	return t, err
}

// exchange is RFC 8693 §2: a token that is good for one audience only.
func (o *oauthClient) exchange(ctx context.Context, access, audience string) (string, error) {
	doc, err := o.request(ctx, o.token, url.Values{"grant_type": {grantExchange}, "subject_token": {access},
		"subject_token_type": {typeAccess}, "requested_token_type": {typeAccess}, "audience": {audience}})
	if err != nil {
		return "", err
	}
	return tokenIn(doc, "access_token", true)
}

// tokens asks the token endpoint (RFC 6749 §5.1).
func (o *oauthClient) tokens(ctx context.Context, form url.Values) (*tokens, error) {
	t := &tokens{got: time.Now()}
	doc, err := o.request(ctx, o.token, form)
	if err != nil {
		return nil, err
	}
	if typ, _ := doc.Get("token_type"); !strings.EqualFold(typ.Text, "bearer") {
		return nil, errors.New("the answer has no token of type bearer")
	}
	if t.access, err = tokenIn(doc, "access_token", true); err != nil {
		return nil, err
	}
	if t.id, err = tokenIn(doc, "id_token", false); err != nil {
		return nil, err
	}
	if t.refresh, err = tokenIn(doc, "refresh_token", false); err != nil {
		return nil, err
	}
	lifetime, err := seconds(doc, "expires_in", 0)
	if lifetime > 0 {
		t.ends = t.got.Add(lifetime)
	}
	return t, err
}

// request bounds one request in time.
func (o *oauthClient) request(ctx context.Context, address string, form url.Values) (jcs.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return o.form(ctx, address, form)
}

func tokenIn(doc jcs.Value, name string, required bool) (string, error) {
	v, present := doc.Get(name)
	switch {
	case !present && !required:
		return "", nil
	case v.Kind != jcs.String || v.Text == "" || len(v.Text) > maxToken:
		return "", fmt.Errorf("the answer has no %s that is text of at most %d bytes", name, maxToken)
	}
	return v.Text, nil
}

// seconds reads a number of them, which some issuers write as text. Hours and days are fine, decades are not.
func seconds(doc jcs.Value, name string, otherwise time.Duration) (time.Duration, error) {
	v, present := doc.Get(name)
	if !present {
		return otherwise, nil
	}
	n, err := strconv.ParseFloat(v.Text, 64)
	if err != nil || v.Kind != jcs.Number && v.Kind != jcs.String || !(n >= 0 && n <= 1e9) { // NaN is neither
		return 0, fmt.Errorf("the answer's %s is not a number of seconds", name)
	}
	if n < 1 { // no server means to be asked all the time
		return otherwise, nil
	}
	return time.Duration(n) * time.Second, nil
}
