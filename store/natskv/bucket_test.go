package natskv_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/natskv"
)

// Every setting that breaks the contract is refused, all of them at once, with what to change.
func TestUnfit(t *testing.T) {
	p := serve(t, func(o *server.Options) { o.MaxPayload = 2 << 20 })
	js := connect(t, p.addr())
	for name, test := range map[string]struct {
		change func(*jetstream.StreamConfig)
		says   []string // none: taken
	}{
		"as it should be": {func(*jetstream.StreamConfig) {}, nil},
		"a long time":     {func(c *jetstream.StreamConfig) { c.MaxAge = store.MaxTTL }, nil},
		"in memory":       {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, nil},
		"read directly":   {func(c *jetstream.StreamConfig) { c.AllowDirect = true }, nil},
		"markers":         {func(c *jetstream.StreamConfig) { c.SubjectDeleteMarkerTTL = time.Hour }, nil},
		"short time":      {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, []string{"max_age to 0"}},
		"history":         {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }, []string{"max_msgs_per_subject to 1"}},
		"all messages":    {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = -1 }, []string{"max_msgs_per_subject to 1"}},
		"drops old":       {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, []string{"discard to new"}},
		"new per subject": {func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = true }, []string{"discard_new_per_subject to false"}},
		"work queue":      {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, []string{"retention"}},
		"interest":        {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, []string{"retention"}},
		"no time per key": {func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false }, []string{"allow_msg_ttl to true"}},
		"small messages":  {func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 }, []string{"max_msg_size to at least", "lower MaxValue"}},
		"no answers":      {func(c *jetstream.StreamConfig) { c.NoAck = true }, []string{"no_ack to false"}},
		"sealed":          {func(c *jetstream.StreamConfig) { c.Sealed, c.DenyDelete = true, true }, []string{"sealed"}},
		"more subjects":   {func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "more") }, []string{"messages of others"}},
		"other subjects":  {func(c *jetstream.StreamConfig) { c.Subjects = []string{"other"} }, []string{"messages of others"}},
		"copies":          {func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "KV_x"}} }, []string{"messages of others"}},
		"mirror": {func(c *jetstream.StreamConfig) {
			c.Subjects, c.Mirror = nil, &jetstream.StreamSource{Name: "KV_x"}
		}, []string{"messages of others"}},
		"changes keys": {func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: c.Subjects[0], Destination: "x." + c.Subjects[0]}
		}, []string{"messages of others"}},
		"may lose": {func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, []string{"persist_mode"}},
		"several": {func(c *jetstream.StreamConfig) {
			c.MaxAge, c.MaxMsgsPerSubject, c.AllowMsgTTL = time.Minute, 3, false
		}, []string{"max_age", "max_msgs_per_subject", "allow_msg_ttl"}},
	} {
		t.Run(name, func(t *testing.T) {
			// A bucket for each: the server still deletes files of a stream when it says that it is gone.
			bucket := strings.ReplaceAll(name, " ", "-")
			config := jetstream.StreamConfig{
				Name: "KV_" + bucket, Subjects: []string{"$KV." + bucket + ".>"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowMsgTTL: true, Duplicates: time.Minute,
			}
			test.change(&config)
			sealed := config.Sealed
			config.Sealed = false // it cannot be made so
			if _, err := js.CreateStream(ctx, config); err != nil {
				t.Fatal(err)
			}
			if config.Sealed = sealed; sealed {
				if _, err := js.UpdateStream(ctx, config); err != nil {
					t.Fatal(err)
				}
			}
			s, err := natskv.New(ctx, js, natskv.Config{Bucket: bucket})
			if len(test.says) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				put(t, s, "a:b", "value")
				holds(t, s, "a:b", "value")
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
			if errors.Is(err, store.ErrUnavailable) {
				t.Errorf("error %q: trying again would not help", err)
			}
		})
	}
}

// Replicas may be behind, so in a cluster they must not answer: not in a bucket that is there, and not in one that New
// makes. There is one server here.
func TestReplicasDoNotAnswer(t *testing.T) {
	for replicas, refused := range map[int]bool{1: false, 3: true} {
		made := natskv.Settings(natskv.Config{Bucket: "kest", Replicas: replicas})
		if err := natskv.Fits(natskv.Config{Bucket: "kest", Replicas: replicas}, made); err != nil {
			t.Errorf("%d replicas: New makes a bucket that it refuses: %v", replicas, err)
		}
		made.AllowDirect = true
		if err := natskv.Fits(natskv.Config{Bucket: "kest"}, made); (err != nil) != refused || refused && !strings.Contains(err.Error(), "allow_direct to false") {
			t.Errorf("%d replicas: %v", replicas, err)
		}
	}
}

// Two processes that start at once make one bucket.
func TestCreatedOnce(t *testing.T) {
	p := serve(t)
	var wg sync.WaitGroup
	for i := range 8 {
		js := connect(t, p.addr())
		wg.Go(func() {
			s, err := natskv.New(ctx, js, natskv.Config{Bucket: "kest", MaxBytes: int64(1+i) << 20})
			if err != nil {
				t.Error(err)
				return
			}
			put(t, s, fmt.Sprint(i), "value")
		})
	}
	wg.Wait()
}

// Two buckets are two stores.
func TestTenants(t *testing.T) {
	p := serve(t)
	a, b := open(t, p.addr(), natskv.Config{Bucket: "a"}), open(t, p.addr(), natskv.Config{Bucket: "b"})
	put(t, a, "key", "of a")
	_, err := b.Get(ctx, "key")
	classified(t, err, store.ErrNotFound, "")
	put(t, b, "key", "of b")
	holds(t, a, "key", "of a")
}

func TestNoJetStream(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*server.Options)
		config natskv.Config
		says   string
	}{
		"disabled": {func(o *server.Options) { o.JetStream = false }, natskv.Config{}, "JetStream"},
		"no room":  {func(o *server.Options) { o.JetStreamMaxStore = 1 << 20 }, natskv.Config{}, "MaxBytes"},
		"replicas": {func(*server.Options) {}, natskv.Config{Replicas: 3}, "Replicas to 1"},
		"disabled for the account": {func(o *server.Options) {
			account := server.NewAccount("plain")
			o.Accounts = []*server.Account{account}
			o.Users = []*server.User{{Username: "u", Password: "p4ssw0rd", Account: account}}
			o.NoAuthUser = "u"
		}, natskv.Config{}, "JetStream"},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Bucket = "kest"
			_, err := natskv.New(ctx, connect(t, serve(t, test.change).addr()), test.config)
			classified(t, err, store.ErrUnavailable, test.says, "p4ssw0rd")
		})
	}
}

// A user with the permissions of the package comment can do everything, and one without gets a class and no secrets.
func TestPermissions(t *testing.T) {
	user := func(name string, publish ...string) *server.User {
		return &server.User{Username: name, Password: "p4ssw0rd", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: publish},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}
	}
	needed := []string{"$KV.kest.>", "$JS.API.STREAM.INFO.KV_kest", "$JS.API.STREAM.MSG.GET.KV_kest", "$JS.API.DIRECT.GET.KV_kest.>"}
	p := serve(t, func(o *server.Options) {
		o.Users = []*server.User{user("maker", append(needed, "$JS.API.STREAM.CREATE.KV_kest")...), user("needed", needed...), user("reader", needed[1:]...), user("none", "nothing")}
	})
	config := natskv.Config{Bucket: "kest", Timeout: 300 * time.Millisecond}
	login := func(name string) jetstream.JetStream { return connect(t, p.addr(), nats.UserInfo(name, "p4ssw0rd")) }
	_, err := natskv.New(ctx, login("needed"), config)
	classified(t, err, store.ErrUnavailable, "natskv: ", "p4ssw0rd")
	for _, name := range []string{"maker", "needed"} {
		s, err := natskv.New(ctx, login(name), config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		put(t, s, "of."+name, "value")
		holds(t, s, "of."+name, "value")
	}
	reader, err := natskv.New(ctx, login("reader"), config)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, reader, "of.maker", "value")
	classified(t, reader.Put(ctx, "kest.claim.secret", []byte("value"), soon), store.ErrUnavailable, "user may", "p4ssw0rd", "claim")
	_, err = natskv.New(ctx, login("none"), config)
	classified(t, err, store.ErrUnavailable, "user may", "p4ssw0rd")
}

// The bucket is deleted under a store, which says so and does not make it again.
func TestBucketGone(t *testing.T) {
	p := serve(t)
	js := connect(t, p.addr())
	s, err := natskv.New(ctx, js, natskv.Config{Bucket: "kest"})
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(ctx, "kest"); err != nil {
		t.Fatal(err)
	}
	classified(t, s.Put(ctx, "key", nil, soon), store.ErrUnavailable, "does the bucket exist")
	_, err = s.Get(ctx, "key")
	classified(t, err, store.ErrUnavailable, "does the bucket exist")
}

func TestConfig(t *testing.T) {
	js := connect(t, serve(t).addr())
	for name, test := range map[string]struct {
		config natskv.Config
		says   []string
	}{
		"empty":        {natskv.Config{}, []string{"bucket"}},
		"dot":          {natskv.Config{Bucket: "a.b"}, []string{"bucket"}},
		"colon":        {natskv.Config{Bucket: "a:b"}, []string{"bucket"}},
		"wildcard":     {natskv.Config{Bucket: ">"}, []string{"bucket"}},
		"space":        {natskv.Config{Bucket: "a b"}, []string{"bucket"}},
		"long":         {natskv.Config{Bucket: strings.Repeat("a", natskv.MaxBucket+1)}, []string{"bucket"}},
		"max_payload":  {natskv.Config{Bucket: "a", MaxValue: 1 << 20}, []string{"raise its max_payload to 1050624", "lower MaxValue"}},
		"all together": {natskv.Config{Bucket: "?", MaxValue: -1, Timeout: -1, MaxBytes: -1, Replicas: 6}, []string{"bucket", "MaxValue", "Timeout", "MaxBytes", "Replicas"}},
		"over all":     {natskv.Config{Bucket: "a", MaxValue: store.MaxValue + 1}, []string{"MaxValue"}},
	} {
		_, err := natskv.New(ctx, js, test.config)
		for _, part := range test.says {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v; want %q", name, err, part)
			}
		}
	}
	if _, err := natskv.New(ctx, nil, natskv.Config{Bucket: "a"}); err == nil {
		t.Error("no JetStream: accepted")
	}
	if _, err := natskv.New(ctx, js, natskv.Config{Bucket: strings.Repeat("a", natskv.MaxBucket)}); err != nil {
		t.Error(err)
	}
}
