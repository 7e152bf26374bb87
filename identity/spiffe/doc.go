// Package spiffe is being written.
package spiffe
