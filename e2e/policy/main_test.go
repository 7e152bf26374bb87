package policy_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/e2e/internal/peer"
)

// TestMain fails the run when an engine or a server leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startAgent runs the Rust engine behind REST with the policies in dir, and returns its address.
func startAgent(t testing.TB, dir string) string {
	t.Helper()
	return peer.Cedar(t, filepath.Join("..", "cedar", "agent", "server.mjs"), dir).URL
}
