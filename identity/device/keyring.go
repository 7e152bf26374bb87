package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/zalando/go-keyring"
)

// A Keyring keeps one secret for each account where only this person can read it, never in clear on a disk. It is safe for
// concurrent use. Errors hold no secret.
type Keyring interface {
	// Load returns "" when there is none.
	Load(ctx context.Context, account string) (secret string, err error)
	// Save replaces the secret; "" removes it.
	Save(ctx context.Context, account, secret string) error
}

// keyringService is the name under which people find the entries of Kest in their keyring.
const keyringService = "kest"

// keyringTimeout bounds one call: it may ask the person to unlock the keyring.
const keyringTimeout = 30 * time.Second

// OSKeyring is the keyring of the operating system: Secret Service on Linux and BSD, Keychain on macOS, Credential Manager
// on Windows. Load and Save fail where there is none.
func OSKeyring() Keyring { return osKeyring{} }

// Memory keeps nothing: a login lives as long as its [Source].
func Memory() Keyring { return memory{} }

type memory struct{}

func (memory) Load(context.Context, string) (string, error) { return "", nil }
func (memory) Save(context.Context, string, string) error   { return nil }

type osKeyring struct{}

func (osKeyring) Load(ctx context.Context, account string) (string, error) {
	return within(ctx, func() (string, error) {
		secret, err := keyring.Get(keyringService, account)
		if errors.Is(err, keyring.ErrNotFound) {
			return "", nil
		}
		return secret, err
	})
}

func (osKeyring) Save(ctx context.Context, account, secret string) error {
	_, err := within(ctx, func() (string, error) {
		if secret != "" {
			return "", keyring.Set(keyringService, account, secret)
		}
		err := keyring.Delete(keyringService, account)
		if errors.Is(err, keyring.ErrNotFound) {
			return "", nil
		}
		return "", err
	})
	return err
}

// within bounds a call that knows no context. When it does not return in time it is left to itself, and so is what it
// returns.
func within(ctx context.Context, call func() (string, error)) (string, error) {
	if !hasKeyring() {
		return "", errors.New("keyring: there is no session bus")
	}
	ctx, cancel := context.WithTimeout(ctx, keyringTimeout)
	defer cancel()
	type result struct {
		secret string
		err    error
	}
	done := make(chan result, 1)
	go func() {
		secret, err := call()
		done <- result{secret, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return "", fmt.Errorf("keyring: %w", r.err)
		}
		return r.secret, nil
	case <-ctx.Done():
		return "", fmt.Errorf("keyring: no answer in time: %w", ctx.Err())
	}
}

// hasKeyring looks for the session bus, because the library would start one, and leave it running.
func hasKeyring() bool {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" || os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	_, err := os.Stat(filepath.Join(dir, "bus")) //nolint:gosec // the person's own environment, and nothing is read
	return dir != "" && err == nil
}
