package device

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Prompt is what a person needs to know to log in. Its texts came from the issuer and were checked: they are short
// printable ASCII, and the addresses are https, or http on loopback.
type Prompt struct {
	// URL is where to enter Code, in any browser.
	URL, Code string
	// Complete is the same with the code in it, for a QR code or a link. "": the issuer gave none.
	Complete string
	// Expires is when the code ends.
	Expires time.Time
}

// Terminal returns a [Config].Show that writes the prompt for a person, for example to os.Stderr.
func Terminal(w io.Writer) func(Prompt) error {
	return func(p Prompt) error {
		_, err := fmt.Fprintf(w, "To log in, open\n\n    %s\n\nin a browser and enter the code\n\n    %s\n\nwithin %s. Do not enter a code that somebody sent you.\n",
			p.URL, p.Code, time.Until(p.Expires).Round(time.Second))
		return err
	}
}

const (
	maxCode = 64
	maxURL  = 2048
)

// check refuses what would not be shown as it is: escape sequences can move the cursor, hide the real address, or write
// to a terminal in the person's name (RFC 8628 §5.4 and §6.1).
func (p *Prompt) check() error {
	if !printable(p.Code, maxCode) {
		return errors.New("the code for the person is empty, long, or has characters that do not print")
	}
	addresses := []string{p.URL}
	if p.Complete != "" {
		addresses = append(addresses, p.Complete)
	}
	for _, a := range addresses {
		if !printable(a, maxURL) {
			return errors.New("the address for the person is empty, long, or has characters that do not print")
		}
		if _, err := endpoint(a); err != nil {
			return fmt.Errorf("the address for the person %w", err)
		}
	}
	return nil
}

// printable accepts ASCII that prints. Letters that look like others have to be escaped in a URL, and are in no code that
// a person can type everywhere.
func printable(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
