package natskv

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kest-go/kest/store"
)

// settings are those of a bucket that this package makes. It differs from what CreateKeyValue makes in two points. There
// are no markers for keys whose time is over, which nobody would read. And reads are answered by the leader, since a
// replica may not know yet what another process was told is kept.
func (c Config) settings() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "KV_" + c.Bucket, Subjects: []string{"$KV." + c.Bucket + ".>"}, Description: "claim checks and nonces of Kest",
		Storage: jetstream.FileStorage, Replicas: c.Replicas,
		MaxMsgs: -1, MaxConsumers: -1, MaxMsgSize: -1, MaxBytes: c.MaxBytes, MaxMsgsPerSubject: 1,
		Discard: jetstream.DiscardNew, AllowMsgTTL: true, AllowRollup: true, DenyDelete: true,
		AllowDirect: c.Replicas == 1,
	}
}

// A bucket is what a store works with, and the longest value there.
type bucket struct {
	kv       jetstream.KeyValue
	maxValue int
}

// bucket opens the bucket of c, and makes it first if there is none.
func (c Config) bucket(ctx context.Context, js jetstream.JetStream) (bucket, error) {
	c, err := c.within(js.Conn().MaxPayload())
	if err != nil {
		return bucket{}, err
	}
	want := c.settings()
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster, with other settings
			stream, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return bucket{}, err
	}
	// What the server has, not what it was asked for: an older one ignores settings that it does not know.
	if err := c.fits(stream.CachedInfo().Config); err != nil {
		return bucket{}, err
	}
	kv, err := js.KeyValue(ctx, c.Bucket)
	return bucket{kv, c.MaxValue}, err
}

// An unfitError says what to change in a server or a bucket.
type unfitError struct{ error }

// fits reports everything in the settings of a bucket that would break the contract of a store.
func (c Config) fits(b jetstream.StreamConfig) error {
	want := c.settings()
	var errs []error
	refuse := func(is bool, why string) {
		if is {
			errs = append(errs, unfitError{fmt.Errorf("bucket %q %s", c.Bucket, why)})
		}
	}
	// A mirror has no subjects.
	refuse(len(b.Subjects) != 1 || b.Subjects[0] != want.Subjects[0] || len(b.Sources) > 0 || b.SubjectTransform != nil,
		"takes or changes messages of others; use another one")
	refuse(b.Sealed || b.NoAck, "is sealed, or does not say what it kept; set no_ack to false, or use another one")
	refuse(!b.AllowMsgTTL, "cannot count the time of each key; set allow_msg_ttl to true (nats-server 2.11 or later)")
	refuse(b.MaxAge != 0 && b.MaxAge < store.MaxTTL, fmt.Sprintf("ends values after %v; set max_age to 0 or to at least %v", b.MaxAge, store.MaxTTL))
	refuse(b.MaxMsgsPerSubject != 1, "keeps a history; set max_msgs_per_subject to 1")
	refuse(b.Discard != want.Discard || b.DiscardNewPerSubject, "drops old values when it is full; set discard to new, and discard_new_per_subject to false")
	refuse(b.Retention != want.Retention, "drops values that were read; retention cannot be changed, so use another one")
	refuse(b.MaxMsgSize > 0 && int(b.MaxMsgSize) < c.MaxValue+overhead,
		fmt.Sprintf("takes messages of %d bytes; set max_msg_size to at least %d, or lower MaxValue", b.MaxMsgSize, c.MaxValue+overhead))
	refuse(b.AllowDirect && b.Replicas > 1, "is read from replicas that may be behind; set allow_direct to false")
	refuse(b.PersistMode == jetstream.AsyncPersistMode, "says that it kept what it may lose; persist_mode cannot be async, so use another one")
	return errors.Join(errs...)
}
