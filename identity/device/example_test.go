package device_test

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/kest-go/kest/identity/device"
)

// A person logs in at a terminal. The issuer of the example grants everything after one interval.
func ExampleNew() {
	issuer := newIssuer()
	issuer.authorize["interval"] = 1
	login, err := device.New(context.Background(), device.Config{
		Issuer:   "https://issuer.example",
		ClientID: "kest-cli",
		Show: func(p device.Prompt) error {
			_, err := fmt.Fprintf(os.Stdout, "open %s and enter %s\n", p.URL, p.Code)
			return err
		},
		Keyring: device.Memory(),
		Client:  &http.Client{Transport: issuer},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := login.Token(context.Background(), "kest-key:…") // package identity/oidc does this
	fmt.Println(len(token) > 0, err)
	// Output:
	// open https://issuer.example/go and enter WDJB-MJHT
	// true <nil>
}
