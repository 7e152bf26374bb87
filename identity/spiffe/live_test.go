package spiffe_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/lineage"
)

// TestLiveSPIRE runs the contract against a real agent: the one that KEST_SPIRE_SOCKET names, which must know this
// process, or one that lab/spire/up.sh starts.
func TestLiveSPIRE(t *testing.T) {
	endpoint := os.Getenv("KEST_SPIRE_SOCKET")
	if endpoint == "" {
		for _, program := range []string{"spire-server", "spire-agent"} {
			if _, err := exec.LookPath(program); err != nil {
				t.Skipf("KEST_SPIRE_SOCKET is not set, and %s is not on the PATH", program)
			}
		}
		endpoint = up(t)
	}
	config := spiffe.Config{SocketPath: endpoint, Wait: 30 * time.Second, Logger: quiet()}
	verifier, err := spiffe.WatchRoots(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { verifier.Close() })
	for _, form := range []lineage.BindingForm{lineage.FormX509, lineage.FormJWT} {
		t.Run(string(form), func(t *testing.T) {
			config.Form = form
			p := start(t, nil, config)
			if _, ok := lineage.SPIFFEDomain(p.Binding("").Principal()); !ok {
				t.Errorf("principal %q", p.Binding("").Principal())
			}
			identitytest.TestProvider(t, identitytest.Harness{
				New: func(*testing.T) identity.Provider { return p },
				PublicKey: func(keyID string) ed25519.PublicKey {
					key, err := publicKey(p, rootsOf(t, verifier), keyID)
					if err != nil {
						t.Error(err)
					}
					return key
				},
			})
			if _, err := entry(p, rootsOf(t, verifier)); err != nil {
				t.Error(err)
			}
		})
	}
}

// up starts a server and an agent, and ends them with the test, by closing the script's input.
func up(t *testing.T) string {
	t.Helper()
	script := exec.Command("../../lab/spire/up.sh")
	script.Stderr = os.Stderr
	in, err := script.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := script.Wait(); err != nil {
			t.Error("up.sh:", err)
		}
	})
	slow := time.AfterFunc(2*time.Minute, func() { _ = script.Process.Signal(os.Interrupt) })
	defer slow.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if endpoint, ok := strings.CutPrefix(lines.Text(), "SPIFFE_ENDPOINT_SOCKET="); ok {
			return endpoint
		}
	}
	t.Fatal("up.sh gave no endpoint")
	return ""
}
