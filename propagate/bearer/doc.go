// Package bearer verifies the bearer tokens of requests.
package bearer
