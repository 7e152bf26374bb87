package oidc_test

import (
	"context"
	"fmt"

	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/lineage"
)

// A job gets tokens that name its session key, and a verifier trusts their issuer for some subjects. The issuer of the
// example has no network.
func ExampleNew() {
	ctx, client := context.Background(), serving(allKeys()).client()
	p, err := oidc.New(ctx, oidc.Config{
		Source:       naming(object{"sub": "repo:acme/payments:ref:refs/heads/main"}), // oidc.GitHub() in a job
		Issuer:       "https://issuer.example",
		RequireBound: true,
		Client:       client,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	roots, err := oidc.NewRoots(ctx, oidc.RootsConfig{
		Issuers: map[string][]string{"https://issuer.example": {"https://issuer.example#repo:acme/payments:*"}},
		Client:  client,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	binding, err := lineage.ParseBinding(p.Binding("").Text()) // from a store that nobody trusts
	if err != nil {
		fmt.Println(err)
		return
	}
	trusted, err := roots.Roots(ctx, binding)
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := binding.Verify(p.Binding("").NotAfter(), 0, trusted)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(key.Principal)
	fmt.Println(key.Form.Proves())
	// Output:
	// https://issuer.example#repo:acme/payments:ref:refs/heads/main
	// the platform issued a token for this key to whoever asked as this workload
}
