package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/kest-go/kest/identity"
)

// A TokenSource gets tokens from the platform. Token is asked for one whose only audience is the one given; a source
// that cannot choose returns the token that it has, see the package comment for what that is worth. It returns within the
// time of ctx, and its errors hold no token. An error that matches [identity.ErrRevoked] takes the identity away at once,
// any other leaves it until the end of the token before. It is safe for concurrent use.
//
// A caller's own source is a few lines, for example around the Kubernetes TokenRequest API with that audience.
type TokenSource interface {
	Token(ctx context.Context, audience string) (string, error)
}

// A watcher is a source that notices by itself that there is another token.
type watcher interface {
	// watch remembers the token that there is and returns what waits for another one: it sends to wake, which has room for
	// one, until ctx ends.
	watch() func(ctx context.Context, wake chan<- struct{})
}

// pollFile is how often a file is looked at. The file systems of containers do not all report changes.
const pollFile = 2 * time.Second

const maxTokenFile = 64 << 10 // bytes

// File reads the token from a file, anew each time, and notices within seconds when it changes, also by a rename over it
// or by a symbolic link that leads elsewhere, as Kubernetes does it. It may be surrounded by white space, at most 64 KiB
// in all. A token from a file has the audience that whoever wrote it chose, so it names no key.
func File(path string) TokenSource { return fileSource(path) }

type fileSource string

func (f fileSource) Token(context.Context, string) (string, error) { return f.read() }

func (f fileSource) read() (string, error) {
	text, err := f.content()
	if err != nil {
		return "", fmt.Errorf("token file %q: %w", string(f), err)
	}
	return text, nil
}

func (f fileSource) content() (string, error) {
	// O_NONBLOCK: opening a FIFO would otherwise wait for somebody to write.
	file, err := os.OpenFile(string(f), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", plain(err)
	}
	defer file.Close()
	info, err := file.Stat() // of what was opened, which nobody can exchange any more
	if err != nil {
		return "", plain(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file; name the file that holds the token")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxTokenFile+1))
	switch {
	case err != nil:
		return "", plain(err)
	case len(data) > maxTokenFile:
		return "", fmt.Errorf("it is larger than %d bytes", maxTokenFile)
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return "", errors.New("it is empty; have the token written to another file and renamed to this one")
	}
	return text, nil
}

// plain leaves out the path, which is there already.
func plain(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// watch compares contents, because a swapped link and a coarse clock can leave the times of a file as they were. That
// the file cannot be read is a change, too: the renewal that follows says so in the log.
func (f fileSource) watch() func(context.Context, chan<- struct{}) {
	seen := f.digest()
	return func(ctx context.Context, wake chan<- struct{}) { f.poll(ctx, seen, wake) }
}

func (f fileSource) poll(ctx context.Context, seen [sha256.Size]byte, wake chan<- struct{}) {
	ticker := time.NewTicker(pollFile)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := f.digest()
		if now == seen {
			continue
		}
		seen = now
		select {
		case wake <- struct{}{}:
		default: // there is a wake-up call that nobody has answered yet, and it will read what is there now
		}
	}
}

func (f fileSource) digest() [sha256.Size]byte {
	text, err := f.read()
	if err != nil {
		text = err.Error()
	}
	return sha256.Sum256([]byte(text))
}

// Env reads the token from an environment variable, anew each time. It names no key, see [File].
func Env(name string) TokenSource { return envSource{name, identity.OSEnv()} }

type envSource struct {
	name string
	env  identity.Env
}

func (e envSource) Token(context.Context, string) (string, error) {
	text, _ := e.env.Lookup(e.name)
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("environment variable %s holds no token", e.name)
	}
	return text, nil
}
