// Package oidc is being written.
package oidc
