package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
)

const (
	maxDocument = 1 << 20  // bytes of a discovery document, a key set or an answer with a token
	maxHeader   = 64 << 10 // bytes of the header before any of them
	maxFault    = 200      // bytes of what a peer, or its certificate, can put into an error
)

// newClient returns a copy of c, or a client of our own. No redirect is followed: it would take a bearer token, or the
// choice of the keys, to a place that nobody configured. Connections are not kept: the next request is minutes away, and
// so nothing needs closing.
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

// endpoint reads a URL that keys or tokens may come from. Errors do not repeat it: it may hold a secret.
func endpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("is not an https URL")
	case u.User != nil:
		return nil, errors.New("holds credentials; take them out")
	case u.Fragment != "":
		return nil, errors.New("has a fragment; take it out")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, errors.New("is plain HTTP, by which anybody on the way can answer; use https")
	}
	return u, nil
}

// issuerURL is OpenID Connect Discovery 1.0 §3: https, without query and fragment.
func issuerURL(text string) error {
	u, err := endpoint(text)
	if err == nil && (u.RawQuery != "" || u.ForceQuery) {
		return errors.New("has a query; take it out")
	}
	return err
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return addr.Unmap().IsLoopback()
}

// get reads one JSON object, strictly. Errors show neither the address nor the answer.
func get(ctx context.Context, client *http.Client, address, bearer string) (jcs.Value, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody) //nolint:gosec // endpoint passed it
	if err != nil {
		return jcs.Value{}, errors.New("its address is no URL")
	}
	req.Header.Set("Accept", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(req) //nolint:gosec // as above
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
	if err != nil || doc.Kind != jcs.Object {
		return jcs.Value{}, fmt.Errorf("it is not one strict JSON object of at most %d bytes", maxDocument)
	}
	return doc, nil
}

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
