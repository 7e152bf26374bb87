package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// Config says where a person logs in, and how they are told. Issuer, ClientID and Show are required.
type Config struct {
	// Issuer is the URL of the OpenID provider: https, or http on loopback. Its discovery document must name exactly it.
	Issuer string
	// ClientID is what the program is registered as. ClientSecret is for clients that have one; programs on people's
	// machines cannot keep one and should be registered without (RFC 8628 §5.6).
	ClientID     string
	ClientSecret string
	// Scopes to ask for. nil: openid and offline_access, for an ID token and a refresh token.
	Scopes []string
	// Show tells the person where to go and which code to enter, and returns at once; see [Terminal]. An error ends the
	// login.
	Show func(Prompt) error

	// Exchange has every token exchanged for one whose audience is that of the key (RFC 8693), which others can then
	// verify. The issuer must offer that to the client, and issue access tokens that are JWTs. Without it the token is
	// the person's ID token, or the access token when there is none, and names no key.
	Exchange bool
	// Keyring keeps the refresh token from one run of the program to the next. nil: [OSKeyring] when there is one, and
	// memory otherwise. [Memory]: memory only.
	Keyring Keyring
	// Client sends the requests. It is copied, without its cookies, and follows no redirects. nil: one that trusts the
	// system's root certificates and uses the proxy of the environment.
	Client *http.Client
	// Logger gets a warning when a login cannot be kept. nil: slog.Default.
	Logger *slog.Logger
}

// String leaves out the secret.
func (c Config) String() string { return "device login " + c.ClientID + " at " + c.Issuer }

// GoString is String.
func (c Config) GoString() string { return c.String() }

// A Source has the tokens of a person who logged in. It is the TokenSource of package identity/oidc. It is safe for
// concurrent use and needs no closing. The zero value is not usable.
type Source struct {
	*login
}

// login is guarded by turn: whoever takes the one element may use the rest. A mutex could not be waited for with a
// context, and a refresh may take seconds.
type login struct {
	turn   chan struct{}
	config *Config // pointers, because %s looks one behind
	client *oauthClient
	now    *tokens // nil: nobody is logged in
}

// New finds the issuer's endpoints and logs a person in: by the refresh token in the keyring when that is still good, and
// otherwise by a code that Config.Show shows, for which it waits until ctx or the code ends, at most 30 minutes. Errors
// match [ErrDenied] or [ErrExpired] when that is what happened.
func New(ctx context.Context, c Config) (*Source, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Scopes = slices.Clone(c.Scopes); c.Scopes == nil {
		c.Scopes = []string{"openid", "offline_access"}
	}
	optional := c.Keyring == nil
	if optional {
		c.Keyring = OSKeyring()
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	find, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	client, err := discover(find, &c)
	if err != nil {
		return nil, fmt.Errorf("device login: issuer %q: discovery document: %w", c.Issuer, err)
	}
	l := &login{turn: make(chan struct{}, 1), config: &c, client: client}
	if err := l.resume(ctx, optional); err != nil && !errors.Is(err, ErrLogin) {
		return nil, err
	}
	s := &Source{l}
	if l.now == nil {
		if err := s.Login(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (c *Config) check() error {
	var problems []error
	problem := func(wrong bool, text string) {
		if wrong {
			problems = append(problems, errors.New("device login: "+text))
		}
	}
	u, err := endpoint(c.Issuer)
	if err != nil {
		problems = append(problems, fmt.Errorf("device login: Issuer %w", err))
	}
	problem(err == nil && (u.RawQuery != "" || u.ForceQuery), "Issuer has a query; take it out")
	problem(c.ClientID == "", "ClientID is empty; register the program with the issuer")
	problem(c.Show == nil, "Show is nil; use Terminal(os.Stderr)")
	problem(slices.Contains(c.Scopes, ""), "Scopes has an empty one; take it out")
	return errors.Join(problems...)
}

// account is under what the keyring has the refresh token.
func (l *login) account() string { return l.config.ClientID + " at " + l.config.Issuer }

// resume takes up the login in the keyring. A keyring that cannot be asked is an error only where it was asked for.
func (l *login) resume(ctx context.Context, optional bool) error {
	kept, err := l.config.Keyring.Load(ctx, l.account())
	switch {
	case err != nil && optional:
		l.config.Logger.Info("kest: there is no keyring that keeps the login; it ends with the program", "reason", err)
		l.config.Keyring = Memory()
		return nil
	case err != nil:
		return fmt.Errorf("device login: %w", err)
	case kept == "":
		return nil
	}
	return l.refresh(ctx, kept)
}

// Login has a person log in anew, as [New] does, whatever is in the keyring.
func (s *Source) Login(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.release()
	prompt, code, interval, err := s.client.authorize(ctx, s.config.Scopes)
	if err != nil {
		return fmt.Errorf("device login: issuer %q: %w", s.config.Issuer, err)
	}
	if err := s.config.Show(prompt); err != nil {
		return fmt.Errorf("device login: show the code: %w", err)
	}
	t, err := s.client.poll(ctx, code, interval, prompt.Expires)
	if err != nil {
		return fmt.Errorf("device login: issuer %q: %w", s.config.Issuer, err)
	}
	s.keep(ctx, t)
	return nil
}

// Token returns a token of the person, renewed when half of its time is over, and exchanged for one with that audience
// when Config.Exchange says so. When the issuer ended the login the error matches [ErrLogin].
func (s *Source) Token(ctx context.Context, audience string) (string, error) {
	if err := s.take(ctx); err != nil {
		return "", err
	}
	defer s.release()
	if err := s.fresh(ctx); err != nil {
		return "", err
	}
	if s.config.Exchange {
		token, err := s.client.exchange(ctx, s.now.access, audience)
		if err != nil {
			return "", fmt.Errorf("device login: issuer %q: token exchange: %w", s.config.Issuer, err)
		}
		return token, nil
	}
	if s.now.id != "" {
		return s.now.id, nil
	}
	return s.now.access, nil
}

// fresh renews tokens that are old.
func (l *login) fresh(ctx context.Context) error {
	if l.now == nil {
		return fmt.Errorf("device login: %w", ErrLogin)
	}
	left, lifetime := time.Until(l.now.ends), l.now.ends.Sub(l.now.got)
	switch {
	case !l.now.ends.IsZero() && left > lifetime/2:
		return nil
	case l.now.refresh != "":
		return l.refresh(ctx, l.now.refresh)
	case l.now.ends.IsZero() || left > 0:
		return nil
	}
	return fmt.Errorf("device login: the token has expired, and the issuer gave none to renew it with: %w", ErrLogin)
}

// refresh renews the tokens. Another program of this person may have done it before us, and taken our refresh token's
// place in the keyring (RFC 6819 §5.2.2.3), so that is tried, too, before the login is given up.
func (l *login) refresh(ctx context.Context, by string) error {
	t, err := l.client.refresh(ctx, by)
	if hasCode(err, "invalid_grant") {
		kept, failed := l.config.Keyring.Load(ctx, l.account())
		if failed == nil && kept != "" && kept != by {
			by = kept
			t, err = l.client.refresh(ctx, by)
		}
	}
	if hasCode(err, "invalid_grant") {
		l.now = nil
		l.save(ctx, "")
		return fmt.Errorf("device login: issuer %q ended the login: %w", l.config.Issuer, ErrLogin)
	}
	if err != nil {
		return fmt.Errorf("device login: issuer %q: renew: %w", l.config.Issuer, err)
	}
	l.keep(ctx, t)
	return nil
}

func (l *login) keep(ctx context.Context, t *tokens) {
	if l.now == nil || l.now.refresh != t.refresh {
		l.save(ctx, t.refresh)
	}
	l.now = t
}

// save keeps the login for the next run. That it cannot be kept is no reason to end it.
func (l *login) save(ctx context.Context, refresh string) {
	if err := l.config.Keyring.Save(ctx, l.account(), refresh); err != nil {
		l.config.Logger.WarnContext(ctx, "kest: the login cannot be kept; it ends with the program", "reason", err)
	}
}

func (l *login) take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *login) release() { <-l.turn }

// String names the client and the issuer.
func (s Source) String() string { return s.config.String() }

// GoString is String.
func (s Source) GoString() string { return s.String() }
