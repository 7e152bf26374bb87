package examples_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"strings"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
)

// record is a message as Kafka clients have it: headers are a list of names and bytes.
type record struct {
	headers []header
	value   string
}

type header struct {
	key   string
	value []byte
}

// carrier lets OpenTelemetry, and so Kest, read and write the headers of a record.
type carrier struct{ r *record }

func (c carrier) Get(key string) string {
	if all := c.Values(key); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (c carrier) Values(key string) (all []string) { // a second header of the same name is not overlooked
	for _, h := range c.r.headers {
		if strings.EqualFold(h.key, key) {
			all = append(all, string(h.value))
		}
	}
	return all
}

func (c carrier) Set(key, value string) {
	kept := c.r.headers[:0]
	for _, h := range c.r.headers {
		if !strings.EqualFold(h.key, key) {
			kept = append(kept, h)
		}
	}
	c.r.headers = append(kept, header{key, []byte(value)})
}

func (c carrier) Keys() (names []string) {
	for _, h := range c.r.headers {
		names = append(names, h.key)
	}
	return names
}

// Three readings of different worth go through a queue. The consumer brings their lineages together: the summary is
// worth what the worst of them is, whoever wrote that one.
func Example_queue() {
	sensorKey, plantKey := exampleKey(3), exampleKey(4)
	sensor, err := exampleGuard("spiffe://example.org/sensor", sensorKey, policy.InsecureAllowAll(quiet))
	if err != nil {
		log.Fatal(err)
	}
	plant, err := exampleGuard("spiffe://example.org/plant", plantKey, policy.InsecureAllowAll(quiet))
	if err != nil {
		log.Fatal(err)
	}
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{
		"spiffe://example.org/sensor": {sensorKey.Public().(ed25519.PublicKey)},
	})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}

	// The producer: Attach seals the lineage of the context and writes it into the headers.
	egress, err := propagate.NewEgress(propagate.EgressConfig{Sealer: sensor})
	if err != nil {
		log.Fatal(err)
	}
	var topic []*record
	publish := func(ctx context.Context, reading string) (*record, error) {
		r := &record{value: reading}
		_, err := egress.Attach(ctx, carrier{r})
		return r, err
	}
	for _, source := range []string{lineage.SourceInternal, lineage.SourceUserInput, lineage.SourceThirdPartyAPI} {
		send := kest.MustVerified(sensor, publish, kest.Operation("sensor.publish"), kest.Policy("plant/publish"),
			kest.SourceType(source))
		r, err := send(context.Background(), "21 °C from "+source)
		if err != nil {
			log.Fatal(err)
		}
		topic = append(topic, r)
	}

	// The consumer: verify each, join all into one session, and go on.
	ingress, err := propagate.NewIngress(propagate.IngressConfig{
		Listener: propagate.Internal, Verifier: verifier, Logger: quiet,
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := kest.StartSession(context.Background())
	for _, r := range topic {
		passport, err := ingress.Passport(ctx, carrier{r})
		if err != nil {
			log.Fatal(err)
		}
		if err := kest.Join(ctx, passport); err != nil {
			log.Fatal(err)
		}
	}
	summarise := kest.MustVerified(plant, func(ctx context.Context, n int) (string, error) {
		entry := kest.CurrentEntry(ctx).Entry()
		return fmt.Sprintf("%d readings, %d parents, trust %d", n, len(entry.Parents), entry.TrustScore), nil
	}, kest.Operation("plant.summarise"), kest.Policy("plant/summarise"))
	fmt.Println(summarise(ctx, len(topic)))

	topic[0].headers = nil // somebody strips the headers
	_, err = ingress.Passport(ctx, carrier{topic[0]})
	fmt.Println(err)
	// Output:
	// 3 readings, 3 parents, trust 40 <nil>
	// not allowed: the request has no lineage, which this listener requires
}
