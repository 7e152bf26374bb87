package redis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/redis"
)

func Example() { //nolint:testableexamples // needs a server that the reader has
	s, err := redis.Open(redis.Config{
		Addresses: []string{"redis.example:6380"},
		Username:  "kest", Password: os.Getenv("REDIS_PASSWORD"),
		TLS:    &tls.Config{MinVersion: tls.VersionTLS13},
		Prefix: "kest.",
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer s.Close()
	err = s.Put(context.Background(), "claim.4711", []byte("a passport"), 5*time.Minute)
	if errors.Is(err, store.ErrUnavailable) {
		log.Print(err) // answer 503
	}
}

// A config lists everything that is wrong with it, and does not print its password.
func ExampleOpen() {
	config := redis.Config{Addresses: []string{"redis.example:6379"}, Password: "hunter2", MaxValue: -1}
	_, err := redis.Open(config)
	fmt.Printf("%+v\n%v\n", config, err)
	// Output:
	// redis config for ["redis.example:6379"]
	// redis config: MaxValue -1 is out of range; use 1 to 4194304, or 0 for that
	// no TLS to "redis.example", so others could read and answer; set TLS, or InsecurePlaintext for a network that encrypts by itself
}
