package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Env is what detection may look at. It is a value, so that tests and the CLI can look at another machine than
// this one. The zero value has nothing set and no files.
type Env struct {
	// Getenv returns a variable and whether it is set, as os.LookupEnv does: set to "" is set.
	Getenv func(name string) (string, bool)

	// Exists reports whether there is something at path.
	Exists func(path string) bool

	// Owned reports what is wrong with trusting what is at path because of where it is: somebody else than root and this
	// user could have put it there. nil: nothing is wrong with anything.
	Owned func(path string) error
}

// OSEnv is the environment of this process. A path that cannot be examined, for lack of permission for example,
// counts as existing: the provider then fails with the reason, where "not there" would mean a weaker identity.
func OSEnv() Env {
	return Env{Getenv: os.LookupEnv, Owned: owned, Exists: func(path string) bool {
		_, err := os.Stat(path)
		return !errors.Is(err, fs.ErrNotExist)
	}}
}

// Lookup returns a variable and whether it is set.
func (e Env) Lookup(name string) (string, bool) {
	if e.Getenv == nil {
		return "", false
	}
	return e.Getenv(name)
}

// SPIFFESocket returns the first of [SPIFFESockets] that exists, "" for none. The error says why it must not be used.
func (e Env) SPIFFESocket() (string, error) {
	for _, path := range SPIFFESockets() {
		if !e.exists(path) {
			continue
		}
		if e.Owned != nil {
			if err := e.Owned(path); err != nil {
				return path, fmt.Errorf("%w; when this is the agent's socket, set SPIFFE_ENDPOINT_SOCKET to it", err)
			}
		}
		return path, nil
	}
	return "", nil
}

func (e Env) exists(path string) bool { return e.Exists != nil && e.Exists(path) }

// maxShown is the longest value of a variable that a finding repeats, in bytes.
const maxShown = 256

// shown is a variable that holds a path or address, for people. A value that does not begin like one is withheld:
// it may be the token itself, set by mistake.
func shown(name, value string) string {
	if len(value) > maxShown || !startsLikePath(value) {
		return name + " is set (value withheld: it does not look like a path)"
	}
	return name + "=" + quoteIfNeeded(value)
}

func startsLikePath(value string) bool {
	for _, prefix := range []string{"/", "./", "../", "unix:", "tcp:"} {
		if strings.HasPrefix(value, prefix) {
			return true
		}
	}
	return len(value) > 2 && value[1:3] == `:\` // a drive of Windows
}

// quoteIfNeeded keeps plain values readable and makes line breaks and control characters visible.
func quoteIfNeeded(value string) string {
	if quoted := strconv.Quote(value); quoted != `"`+value+`"` {
		return quoted
	}
	return value
}
