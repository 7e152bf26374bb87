// Package device logs a person in at a terminal (SPEC §8, OAuth 2.0 Device Authorization Grant, RFC 8628): it shows an
// address and a code, waits until the person has entered the code at a browser, and renews the tokens for as long as the
// issuer lets it. [Source] is a TokenSource of package identity/oidc, which makes an identity of it:
//
//	login, err := device.New(ctx, device.Config{
//		Issuer: "https://login.example.com", ClientID: "kest-cli", Show: device.Terminal(os.Stderr), Exchange: true,
//	})
//	p, err := oidc.New(ctx, oidc.Config{Source: login, Issuer: "https://login.example.com", RequireBound: true})
//
// # What it proves
//
// An ID token always has the client among its audiences (OpenID Connect Core §2), so it can never be for a session key
// alone. With [Config].Exchange the issuer is asked for an access token whose only audience is the key (RFC 8693), which
// others can verify. Without it the entries of a person are signed on their program's word only; package identity/oidc says
// so in the binding.
//
// # Where tokens are
//
// In memory, and the refresh token in the keyring of the operating system when there is one, under "kest". Never in a
// file, a log, an error or a %+v. When the issuer refuses the refresh token it is removed from the keyring, and [ErrLogin]
// says that a person has to log in again.
//
// # What is believed
//
// The discovery document names the configured issuer exactly. Endpoints are https, or http on loopback; redirects are not
// followed; answers are strict JSON of at most 256 KiB. The address and the code that a person is shown are printable
// ASCII, so that no escape sequence gets to a terminal, and the address has no user name in front of its host. Nothing of
// an issuer's error is repeated but its code. Tokens come from the issuer itself by TLS, so their signatures are not looked
// at here (OpenID Connect Core §3.1.3.7); package identity/oidc does that.
//
// A login waits as long as the code is good, half an hour at most, and polls as RFC 8628 §3.5 asks: at the issuer's
// interval, five seconds more after every slow_down, twice as long after every request without an answer.
//
// # Why not golang.org/x/oauth2
//
// Its device flow (v0.37.0) ends with the first request that gets no answer, panics when the server gives a negative
// interval, follows redirects with a form that holds the client's secret, and its errors repeat what the server answered.
// What remains is one POST.
package device
