package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/kest-go/kest/internal/jcs"
)

// The variables by which a job of GitHub Actions gets tokens. It has them when its permissions say "id-token: write".
const (
	githubURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	githubToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// GitHub asks GitHub Actions for a token that names the key, so the binding is one of form [lineage.FormOIDC]. The
// issuer is https://token.actions.githubusercontent.com, and the subject is like "repo:acme/payments:ref:refs/heads/main".
func GitHub() TokenSource { return githubSource{client: newClient(nil)} }

type githubSource struct{ client *http.Client }

func (g githubSource) Token(ctx context.Context, audience string) (string, error) {
	address, secret := os.Getenv(githubURL), os.Getenv(githubToken)
	if address == "" || secret == "" {
		return "", fmt.Errorf("GitHub token: %s or %s is not set; give the job the permission \"id-token: write\"", githubURL, githubToken)
	}
	u, err := endpoint(address) // it gets a secret
	if err != nil {
		return "", fmt.Errorf("GitHub token: %s %w", githubURL, err)
	}
	query := u.Query()
	query.Set("audience", audience)
	u.RawQuery = query.Encode()
	doc, err := get(ctx, g.client, u.String(), secret)
	if err != nil {
		return "", fmt.Errorf("GitHub token: %w", err)
	}
	value, _ := doc.Get("value")
	if value.Kind != jcs.String || value.Text == "" {
		return "", errors.New("GitHub token: the answer has no value")
	}
	return value.Text, nil
}
