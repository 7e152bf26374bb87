// Package e2e holds tests of whole programs against real servers.
package e2e
