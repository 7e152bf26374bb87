package cedar_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/e2e/internal/peer"
	"github.com/kest-go/kest/policy/cedaragent"
)

// TestMain fails the run when an engine or a server leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write writes policies, by name, into a new directory.
func write(t testing.TB, policies map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range policies {
		peer.Put(t, dir, name+".cedar", text)
	}
	return dir
}

// start runs the server with the policies in a directory.
func start(t testing.TB, dir string, key ...string) *peer.Server {
	t.Helper()
	return peer.Cedar(t, filepath.Join("agent", "server.mjs"), dir, key...)
}

// engine makes an engine that is closed with the test.
func engine(t testing.TB, c cedaragent.Config) *cedaragent.Engine {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	e, err := cedaragent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// quoted writes a string of the Cedar language in another way than the engine under test: every character by number.
func quoted(s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, `\u{%x}`, r)
	}
	return `"` + b.String() + `"`
}

// permit is a policy that permits an action under a condition.
func permit(action, condition string) string {
	return rule("permit", action, condition)
}

func forbid(action, condition string) string {
	return rule("forbid", action, condition)
}

func rule(effect, action, condition string) string {
	return fmt.Sprintf("%s(principal, action == Action::%q, resource) when { %s };\n", effect, action, condition)
}
