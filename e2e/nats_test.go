package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// natsCarrier reads and writes the headers of a message. Their names are case-sensitive in NATS, and not in the
// carriers of others, so every spelling counts.
type natsCarrier nats.Header

func (c natsCarrier) Values(key string) (values []string) {
	for name, lines := range c {
		if strings.EqualFold(name, key) {
			values = append(values, lines...)
		}
	}
	return values
}

func (c natsCarrier) Get(key string) string { return strings.Join(c.Values(key), ",") }

func (c natsCarrier) Set(key, value string) {
	for name := range c {
		if strings.EqualFold(name, key) {
			delete(c, name)
		}
	}
	c[http.CanonicalHeaderKey(key)] = []string{value}
}

func (c natsCarrier) Keys() (names []string) {
	for name := range c {
		names = append(names, name)
	}
	return names
}

// TestNATS: three messages through a real NATS server, whose lineages one consumer brings together. What is stripped,
// cut or garbled on the way is refused before anything runs.
func TestNATS(t *testing.T) {
	broker := must(server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true}))(t)
	go broker.Start()
	t.Cleanup(func() {
		broker.Shutdown()
		broker.WaitForShutdown()
	})
	if !broker.ReadyForConnections(20 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	connect := func() *nats.Conn {
		conn := must(nats.Connect(broker.ClientURL(), nats.Timeout(30*time.Second)))(t) // a busy machine needs more than 2 s
		t.Cleanup(conn.Close)
		return conn
	}
	sensor := must(newWorkload("shop", setting{Listener: propagate.Edge, Address: "sensor.test"}))(t)
	plant := must(newWorkload("ledger", setting{Listener: propagate.Internal, Address: "plant.test"}))(t)
	inbox := must(connect().SubscribeSync("readings"))(t)
	if err := inbox.SetPendingLimits(100, 1<<20); err != nil {
		t.Fatal(err)
	}

	out := connect()
	publish := func(ctx context.Context, reading string) (struct{}, error) {
		msg := &nats.Msg{Subject: "readings", Data: []byte(reading), Header: nats.Header{}}
		if _, err := sensor.egress.Attach(ctx, natsCarrier(msg.Header)); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, out.PublishMsg(msg)
	}
	for _, source := range []string{lineage.SourceInternal, lineage.SourceUserInput, lineage.SourceVerifiedRAG} {
		send := kest.MustVerified(sensor.guard, publish, kest.Operation("sensor.publish"), kest.Policy("p"), kest.SourceType(source))
		if _, err := send(t.Context(), source); err != nil {
			t.Fatal(err)
		}
	}
	var messages []*nats.Msg
	for range 3 {
		messages = append(messages, must(inbox.NextMsg(20*time.Second))(t))
	}

	ctx, _ := kest.StartSession(t.Context())
	for _, msg := range messages {
		p := must(plant.ingress.Passport(ctx, natsCarrier(msg.Header)))(t)
		if err := kest.Join(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	summarise := kest.MustVerified(plant.guard, func(ctx context.Context, _ struct{}) (lineage.Entry, error) {
		return kest.CurrentEntry(ctx).Entry(), nil
	}, kest.Operation("plant.summarise"), kest.Policy("p"))
	e := must(summarise(ctx, struct{}{}))(t)
	if len(e.Parents) != 3 || e.TrustScore != 40 || strings.Count(e.Labels[lineage.LabelJoined], ",") != 2 {
		t.Errorf("%d parents, trust %d, joined %q", len(e.Parents), e.TrustScore, e.Labels[lineage.LabelJoined])
	}
	whole := kest.CurrentPassport(ctx)
	if _, _, err := must(newVerifier())(t).Verify(t.Context(), lineage.Unverified{Entries: whole.Entries(), Tips: whole.Tips()}); err != nil {
		t.Errorf("the joined lineage does not verify: %v", err)
	}

	for name, change := range map[string]func(nats.Header){
		"stripped":      func(h nats.Header) { h.Del("Baggage") },
		"passport lost": func(h nats.Header) { h.Set("Baggage", strings.Split(h.Get("Baggage"), ",")[0]) },
		"other case":    func(h nats.Header) { h["baggage"] = h["Baggage"] }, // twice
		"swapped": func(h nats.Header) {
			h.Set("Baggage", strings.Split(h.Get("Baggage"), ",")[0]+","+strings.Split(messages[1].Header.Get("Baggage"), ",")[1])
		},
	} {
		header := nats.Header(http.Header(messages[0].Header).Clone())
		change(header)
		if p, err := plant.ingress.Passport(ctx, natsCarrier(header)); err == nil {
			t.Errorf("%s: %d entries are believed", name, p.Len())
		}
	}
}
