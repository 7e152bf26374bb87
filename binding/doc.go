// Package binding is being written.
package binding
