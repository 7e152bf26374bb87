package spiffetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/kest-go/kest/identity/spiffe/spiffetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServesRealClients: what the library's own client and verifier take.
func TestServesRealClients(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(fmt.Sprint("TCP ", tcp), func(t *testing.T) { servesRealClients(t, tcp) })
	}
}

func servesRealClients(t *testing.T, tcp bool) {
	s := spiffetest.Start(t, spiffetest.Config{TCP: tcp})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(s.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	x, err := client.FetchX509Context(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if id, _, err := x509svid.Verify(x.DefaultSVID().Certificates, x.Bundles); err != nil || id.String() != "spiffe://example.org/workload" {
		t.Error(id, err)
	}
	token, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	bundles, err := client.FetchJWTBundles(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwtsvid.ParseAndValidate(token.Marshal(), bundles, []string{"somebody"}); err != nil {
		t.Error(err)
	}
	if _, err := client.FetchX509Bundles(ctx); err != nil {
		t.Error(err)
	}
}

// TestWantsTheHeader: a client that does not say that it means the Workload API gets nothing, as from a real agent.
func TestWantsTheHeader(t *testing.T) {
	s := spiffetest.Start(t, spiffetest.Config{TCP: true})
	conn, err := grpc.NewClient(strings.TrimPrefix(s.Addr(), "tcp://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := workload.NewSpiffeWorkloadAPIClient(conn)
	stream, err := client.FetchX509SVID(context.Background(), &workload.X509SVIDRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	_, err2 := client.FetchJWTSVID(context.Background(), &workload.JWTSVIDRequest{Audience: []string{"a"}})
	if status.Code(err) != codes.InvalidArgument || status.Code(err2) != codes.InvalidArgument {
		t.Error(errors.Join(err, err2))
	}
}

func TestDestroyedAuthorityIssuesNothing(t *testing.T) {
	ca := spiffetest.NewCA("example.org")
	ca.Destroy()
	for name, issue := range map[string]func(){
		"X.509": func() { ca.Mint(spiffetest.Leaf{ID: "spiffe://example.org/x"}) },
		"JWT":   func() { ca.Token(map[string]any{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error(name, "is issued")
				}
			}()
			issue()
		}()
	}
	if len(ca.X509()) != 1 || len(ca.JWT()) != 1 {
		t.Error("the bundle is gone")
	}
}
