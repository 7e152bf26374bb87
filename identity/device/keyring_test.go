package device_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/kest-go/kest/identity/device"
)

// TestKeyringIsOptional: without one a login lives in memory, unless one was asked for.
func TestKeyringIsOptional(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	keyring.MockInitWithError(errors.New("locked"))
	bubble(t, func(t *testing.T, i *fakeIssuer) {
		log, text := logs()
		c := i.config()
		c.Keyring, c.Logger = nil, log
		if _, err := device.New(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), "no keyring") || strings.Contains(text.String(), "WARN") {
			t.Errorf("log %s", text)
		}
		c.Keyring = device.OSKeyring()
		if _, err := device.New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Errorf("%v; want the fault of the keyring that was asked for", err)
		}
		r := &ring{secret: map[string]string{}}
		c.Keyring = r
		src, err := device.New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		r.fault = errors.New("full")
		if err := src.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Second)
		if _, err := src.Token(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		noSecrets(t, "log", text.String())
	})
}

// TestOSKeyring uses the library's own stand-in for the operating system's.
func TestOSKeyring(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	keyring.MockInit()
	roundTrip(t)
	if err := device.OSKeyring().Save(t.Context(), "a", ""); err != nil {
		t.Fatal(err)
	}
	if got, err := keyring.Get("kest", "a"); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("%q, %v is left behind", got, err)
	}
}

func roundTrip(t *testing.T) {
	t.Helper()
	r := device.OSKeyring()
	for _, want := range []string{"", "one", "", "", strings.Repeat("x", 2000)} {
		if err := r.Save(t.Context(), "a", want); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Load(t.Context(), "a"); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
		if got, err := r.Load(t.Context(), "b"); err != nil || got != "" {
			t.Errorf("another account: %q, %v", got, err)
		}
	}
}

// inSession runs the test beside a daemon, and returns when both have ended. The daemon would not end with the session.
const inSession = `
printf test | gnome-keyring-daemon --foreground --unlock --components=secrets >/dev/null &
until [ -S "$XDG_RUNTIME_DIR/keyring/control" ]; do sleep 0.05; done
"$0" -test.run '^TestSecretService$' -test.v -test.timeout 60s
status=$?
kill $!
wait $!
exit $status`

// TestSecretService keeps a login in a real GNOME keyring, in a D-Bus session of its own, and looks for it on the disk.
func TestSecretService(t *testing.T) {
	if os.Getenv("KEST_TEST_KEYRING") != "" { // inside the session
		roundTrip(t)
		return
	}
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("KEST_SERVERS") == "require" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home, run := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dbus-run-session", "--", "sh", "-c", inSession, self)
	cmd.Env = []string{"KEST_TEST_KEYRING=1", "HOME=" + home, "XDG_RUNTIME_DIR=" + run, "XDG_DATA_HOME=" + home, "PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestSecretService") {
		t.Fatalf("%v\n%s", err, out)
	}
	files := 0
	err = fsWalk(home, func(name string, data []byte) {
		if files++; strings.Contains(string(data), "xxxxxxxx") {
			t.Errorf("%s holds the secret in clear", name)
		}
	})
	if err != nil || files == 0 {
		t.Errorf("%d files of the keyring, %v", files, err)
	}
}
