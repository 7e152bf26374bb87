package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
)

const (
	maxDocument = 256 << 10 // bytes of an answer
	maxToken    = 64 << 10  // bytes of one token
	maxFault    = 200       // bytes of what a peer, or its certificate, can put into an error
)

// Grants and types of RFC 8628 §3.4 and RFC 8693 §2.1 and §3.
const (
	grantDevice   = "urn:ietf:params:oauth:grant-type:device_code"
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
)

// An oauthClient speaks to the endpoints of one issuer.
type oauthClient struct {
	http          *http.Client
	id, secret    string
	post          bool // the secret goes into the form, not into a header
	device, token string
}

// discover reads the discovery document (OpenID Connect Discovery 1.0 §4, RFC 8628 §4).
func discover(ctx context.Context, c *Config) (*oauthClient, error) {
	o := &oauthClient{http: newClient(c.Client), id: c.ClientID, secret: c.ClientSecret}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Issuer, "/")+"/.well-known/openid-configuration", http.NoBody)
	if err != nil {
		return nil, errors.New("its address is no URL")
	}
	status, doc, err := o.do(req)
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, fmt.Errorf("its server answered %d", status)
	}
	if iss, _ := doc.Get("issuer"); iss.Text != c.Issuer { // §4.3: exactly
		return nil, errors.New("it is of another issuer; configure the issuer that it names, to the last slash")
	}
	if o.device, err = named(doc, "device_authorization_endpoint", c.Issuer); err != nil {
		return nil, err
	}
	if o.token, err = named(doc, "token_endpoint", c.Issuer); err != nil {
		return nil, err
	}
	if grants := list(doc, "grant_types_supported"); c.Exchange && grants != nil && !slices.Contains(grants, grantExchange) {
		return nil, errors.New("it does not offer token exchange; do without Config.Exchange")
	}
	methods := list(doc, "token_endpoint_auth_methods_supported") // nil means client_secret_basic (§3)
	o.post = methods != nil && !slices.Contains(methods, "client_secret_basic") && slices.Contains(methods, "client_secret_post")
	return o, nil
}

// named reads the address of an endpoint.
func named(doc jcs.Value, name, issuer string) (string, error) {
	v, _ := doc.Get(name)
	u, err := endpoint(v.Text)
	if err != nil {
		return "", fmt.Errorf("its %s %w", name, err)
	}
	if u.Scheme == "http" && strings.HasPrefix(issuer, "https:") { // nor may it make us ask our own host
		return "", fmt.Errorf("its %s is plain HTTP; it must be https, as the issuer is", name)
	}
	return u.String(), nil
}

func list(doc jcs.Value, name string) []string {
	v, _ := doc.Get(name)
	var out []string
	for _, e := range v.Elems {
		out = append(out, e.Text)
	}
	return out
}

// form posts a form with the client's credentials and returns the answer, or an *oauthError when it is one of those.
func (o *oauthClient) form(ctx context.Context, address string, form url.Values) (jcs.Value, error) {
	if o.secret == "" || o.post {
		form.Set("client_id", o.id)
	}
	if o.post && o.secret != "" {
		form.Set("client_secret", o.secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return jcs.Value{}, errors.New("its address is no URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if o.secret != "" && !o.post { // RFC 6749 §2.3.1
		req.SetBasicAuth(url.QueryEscape(o.id), url.QueryEscape(o.secret))
	}
	status, doc, err := o.do(req)
	if err != nil {
		return jcs.Value{}, err
	}
	if status != http.StatusOK {
		code, _ := doc.Get("error")
		return jcs.Value{}, &oauthError{status, errorCode(code.Text)}
	}
	return doc, nil
}

// do returns the status and the JSON object of an answer, strictly read. The object of an answer other than 200 may be
// missing. Errors are *transportError when trying again may help, and hold neither the address nor the answer.
func (o *oauthClient) do(req *http.Request) (int, jcs.Value, error) {
	req.Header.Set("Accept", "application/json")
	resp, err := o.http.Do(req)
	if err != nil {
		return 0, jcs.Value{}, newTransportError(req.Context(), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return 0, jcs.Value{}, newTransportError(req.Context(), err)
	}
	doc, err := jcs.Parse(body, jcs.Options{MaxBytes: maxDocument, MaxDepth: 16})
	if resp.StatusCode == http.StatusOK && (err != nil || doc.Kind != jcs.Object) {
		return 0, jcs.Value{}, fmt.Errorf("the answer is not one strict JSON object of at most %d bytes", maxDocument)
	}
	return resp.StatusCode, doc, nil
}

// An oauthError is an answer of RFC 6749 §5.2. Its description is left out: anybody may have written it.
type oauthError struct {
	status int
	code   string
}

func (e *oauthError) Error() string {
	if e.code == "" {
		return fmt.Sprintf("its server answered %d", e.status)
	}
	return fmt.Sprintf("its server answered %d, %s", e.status, e.code)
}

// errorCode keeps what an error code may consist of: the registered ones have small letters and "_".
func errorCode(text string) string {
	if len(text) > 64 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return ""
	}
	return text
}

func hasCode(err error, code string) bool {
	e, ok := errors.AsType[*oauthError](err)
	return ok && e.code == code
}

// A transportError is no answer.
type transportError struct {
	text  string
	cause error // of the context, when that ended
}

func (e *transportError) Error() string { return e.text }
func (e *transportError) Unwrap() error { return e.cause }

func newTransportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &transportError{"no answer in time: " + ctx.Err().Error(), ctx.Err()}
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	text := strconv.QuoteToASCII(err.Error())
	return &transportError{text: text[1:min(len(text)-1, maxFault)]}
}

// newClient returns a copy of c, or a client of our own. No redirect is followed: it would take the client's secret and
// tokens to a place that nobody configured. Connections are not kept, so nothing needs closing.
func newClient(c *http.Client) *http.Client {
	client := &http.Client{}
	if c != nil {
		*client = *c
	} else {
		client.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	client.Jar = nil
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

// endpoint reads a URL that secrets are sent to, or a person. Errors do not repeat it.
func endpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("is not an https URL")
	case u.User != nil: // https://bank.example@mallory.example
		return nil, errors.New("holds credentials; take them out")
	case u.Fragment != "":
		return nil, errors.New("has a fragment; take it out")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, errors.New("is plain HTTP, by which anybody on the way can answer; use https")
	}
	return u, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return addr.Unmap().IsLoopback()
}
