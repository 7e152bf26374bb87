// Package device is being written.
package device
