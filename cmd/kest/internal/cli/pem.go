package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"runtime"

	"github.com/kest-go/kest/internal/report"
)

const pemBytes = 64 << 10

// privateKey reads a key. No error repeats anything of the file.
func (c *cli) privateKey(ctx context.Context, file string) (ed25519.PrivateKey, error) {
	const advice = "openssl genpkey -algorithm ed25519 -out FILE makes one"
	if file == "" {
		return nil, report.Hint("add --key FILE; "+advice, "no key given")
	}
	text, err := c.Read(ctx, "key", file, pemBytes)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return nil, report.Hint(advice, "key %s: is not a PEM file", report.Shown(file))
	case block.Type == "ENCRYPTED PRIVATE KEY":
		return nil, report.Hint("openssl pkey -in FILE decrypts it; pipe that to --key -", "key %s: is encrypted", report.Shown(file))
	case block.Type != "PRIVATE KEY":
		return nil, report.Hint(advice, "key %s: is no PKCS#8 private key", report.Shown(file))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, report.Hint(advice, "key %s: is no PKCS#8 private key", report.Shown(file))
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, report.Hint(advice, "key %s: is not an Ed25519 key", report.Shown(file))
	}
	if info, err := os.Stat(file); file != "-" && err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		c.Warn(fmt.Sprintf("warning: key %s can be read by others than its owner; chmod 600 changes that", file))
	}
	return private, nil
}
