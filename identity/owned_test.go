//go:build unix

package identity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kest-go/kest/identity"
)

// TestForeignSocket: below a directory where anybody may create things, a default socket must be root's or ours. Somebody
// else's would name the workload and its roots.
func TestForeignSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir() // below /tmp, which is open to everybody
	agent := filepath.Join(dir, "agent")
	socket := filepath.Join(agent, "api.sock")
	if err := os.Mkdir(agent, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	env := identity.OSEnv()
	if err := env.Owned(socket); err != nil {
		t.Errorf("our own: %v", err)
	}
	for _, theirs := range []string{socket, agent} {
		if err := os.Lchown(theirs, 4711, 4711); err != nil {
			t.Fatal(err)
		}
		if err := env.Owned(socket); err == nil || !strings.Contains(err.Error(), "4711") {
			t.Errorf("%s of another user: %v", filepath.Base(theirs), err)
		}
		if err := os.Lchown(theirs, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(agent, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(link, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	if err := env.Owned(filepath.Join(link, "api.sock")); err == nil {
		t.Error("a link of another user is followed")
	}
	if err := env.Owned("/proc/self/status"); err != nil {
		t.Errorf("where nobody may create things, owners do not matter: %v", err)
	}
	if err := env.Owned(filepath.Join(dir, "nothing")); err == nil {
		t.Error("what is not there is owned")
	}
}

// TestForeignDefaultSocket: it is a signal that is broken, not one to fall through.
func TestForeignDefaultSocket(t *testing.T) {
	env := machine(nil, identity.SPIFFESockets()[1])
	env.Owned = func(string) error { return os.ErrPermission }
	opened := 0
	provider, findings, err := identity.Detect(t.Context(), env, append(identity.StandardProbes(), last(&opened))...)
	if provider != nil || opened != 0 || err == nil || !strings.Contains(err.Error(), "SPIFFE_ENDPOINT_SOCKET") {
		t.Errorf("%v, %v, opened %d", provider, err, opened)
	}
	if f := finding(t, findings, identity.SPIFFE); !f.Present || f.Chosen {
		t.Errorf("%+v", f)
	}
}
