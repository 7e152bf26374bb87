package natskv_test

import (
	"context"
	"log"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kest-go/kest/store/natskv"
)

func Example() { //nolint:testableexamples // needs a server that the reader has
	nc, err := nats.Connect("tls://nats.example:4222", nats.UserCredentials("/etc/kest/nats.creds"),
		nats.MaxReconnects(-1), nats.FlusherTimeout(5*time.Second), nats.PingInterval(5*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	s, err := natskv.New(context.Background(), js, natskv.Config{Bucket: "kest", Replicas: 3})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Put(context.Background(), "kest.claim.4711", []byte("a passport"), 5*time.Minute); err != nil {
		log.Print(err) // answer 503
	}
}
