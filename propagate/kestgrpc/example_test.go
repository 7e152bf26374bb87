package kestgrpc_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kestgrpc"
)

// workload is a guard, and what its process uses to send and to admit lineage.
func workload(name string) (*kest.Guard, *kestgrpc.ServerInterceptor, *kestgrpc.ClientInterceptor) {
	quiet := slog.New(slog.DiscardHandler)
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{ // in production: a JWKS, or the trust bundle of SPIFFE
		"spiffe://example.org/shop":   identitytest.New("spiffe://example.org/shop").PublicKeys(),
		"spiffe://example.org/ledger": identitytest.New("spiffe://example.org/ledger").PublicKeys(),
	})
	must(err)
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	must(err)
	guard, err := kest.New(kest.Config{
		Engine: policy.InsecureAllowAll(quiet), Identity: identitytest.New("spiffe://example.org/" + name), Logger: quiet,
	})
	must(err)
	ingress, err := propagate.NewIngress(propagate.IngressConfig{Listener: propagate.Internal, Verifier: verifier, Logger: quiet})
	must(err)
	front, err := kestgrpc.NewServerInterceptor(kestgrpc.ServerConfig{Ingress: ingress})
	must(err)
	egress, err := propagate.NewEgress(propagate.EgressConfig{Sealer: guard, Verifier: verifier, Allow: []string{"ledger:8443"}})
	must(err)
	back, err := kestgrpc.NewClientInterceptor(kestgrpc.ClientConfig{Egress: egress})
	must(err)
	return guard, front, back
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A server and a client: what the ledger does is part of the shop's lineage when the call returns.
func Example() {
	guard, front, _ := workload("ledger")
	book := kest.MustVerified(guard, func(_ context.Context, order string) (string, error) { return "booked " + order, nil },
		kest.Operation("ledger.book"), kest.Policy("kest/allow_trusted"))
	server := grpc.NewServer(front.Options()...)
	server.RegisterService(description(), &service{echo: book})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go server.Serve(listener)
	defer server.Stop()

	guard, _, back := workload("shop")
	conn, err := grpc.NewClient(listener.Addr().String(),
		append(back.Options(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	must(err)
	defer conn.Close()

	ctx, session := kest.StartSession(context.Background())
	checkout := kest.MustVerified(guard, func(ctx context.Context, order string) (string, error) {
		reply := &wrapperspb.StringValue{}
		err := conn.Invoke(ctx, "/kest.test.Service/Echo", wrapperspb.String(order), reply)
		return reply.GetValue(), err
	}, kest.Operation("shop.checkout"), kest.Policy("kest/allow_trusted"))
	fmt.Println(checkout(ctx, "ORD-123"))
	for _, signed := range session.Passport().All() {
		fmt.Println(signed.Entry().Operation, "by", signed.Entry().Principal())
	}

	stranger, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer stranger.Close()
	err = stranger.Invoke(ctx, "/kest.test.Service/Echo", wrapperspb.String("ORD-666"), &wrapperspb.StringValue{})
	fmt.Println(status.Code(err) == codes.PermissionDenied, status.Convert(err).Message())
	// Output:
	// booked ORD-123 <nil>
	// shop.checkout by spiffe://example.org/shop
	// ledger.book by spiffe://example.org/ledger
	// true not allowed
}
