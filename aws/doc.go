// Package aws is being written.
package aws
