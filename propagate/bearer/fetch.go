package bearer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
)

const (
	maxDocument = 1 << 20  // bytes of a discovery document and of a key set
	maxHeader   = 64 << 10 // bytes of the header before either
)

// newClient returns a copy of c, or a client of our own. Its connections are not kept: the next fetch is minutes away,
// and so nothing needs closing.
func newClient(c *http.Client) *http.Client {
	client := &http.Client{}
	if c != nil {
		*client = *c
	} else {
		client.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
		}
	}
	client.Jar = nil
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

type fetcher struct {
	config Config
	client *http.Client
}

// keys asks the issuer. Errors match [ErrKeys].
func (f *fetcher) keys(ctx context.Context) ([]key, error) {
	address := f.config.JWKS
	if address == "" {
		var err error
		if address, err = f.discover(ctx); err != nil {
			return nil, fmt.Errorf("%w: discovery document: %w", ErrKeys, err)
		}
	}
	doc, err := f.get(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%w: key set: %w", ErrKeys, err)
	}
	keys, err := readKeySet(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: key set: %w", ErrKeys, err)
	}
	return keys, nil
}

// discover returns the address of the keys (OpenID Connect Discovery 1.0 §4).
func (f *fetcher) discover(ctx context.Context) (string, error) {
	doc, err := f.get(ctx, strings.TrimSuffix(f.config.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	if iss, _ := doc.Get("issuer"); iss.Text != f.config.Issuer { // §4.3: exactly
		return "", errors.New("it is of another issuer; set Issuer to what it says, to the last slash")
	}
	uri, _ := doc.Get("jwks_uri")
	u, err := f.config.endpoint(uri.Text)
	if err != nil {
		return "", fmt.Errorf("its jwks_uri %w", err)
	}
	if u.Scheme == "http" && strings.HasPrefix(f.config.Issuer, "https:") { // nor may it make us ask our own host
		return "", errors.New("its jwks_uri is plain HTTP; it must be https, as the issuer is")
	}
	return u.String(), nil
}

// get reads one JSON object, strictly.
func (f *fetcher) get(ctx context.Context, address string) (jcs.Value, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return jcs.Value{}, errors.New("its address is no URL")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return jcs.Value{}, transportFault(ctx, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return jcs.Value{}, errors.New("it is somewhere else, and redirects are not followed; configure where it really is")
	case resp.StatusCode != http.StatusOK:
		return jcs.Value{}, fmt.Errorf("its server answered %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return jcs.Value{}, transportFault(ctx, err)
	}
	doc, err := jcs.Parse(body, jcs.Options{MaxBytes: maxDocument})
	switch {
	case len(body) > maxDocument:
		return jcs.Value{}, fmt.Errorf("it is larger than %d bytes", maxDocument)
	case err != nil || doc.Kind != jcs.Object:
		return jcs.Value{}, errors.New("it is not one strict JSON object")
	}
	return doc, nil
}

// maxFault bounds what a server's certificate, for one, can put into an error.
const maxFault = 200

// transportFault leaves out the address, and makes the rest short and printable.
func transportFault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	text := strconv.QuoteToASCII(err.Error())
	return errors.New(text[1:min(len(text)-1, maxFault)])
}
