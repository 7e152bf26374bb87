package natskv

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kest-go/kest/store"
)

// Defaults of [Config].
const (
	DefaultTimeout  = 2 * time.Second
	DefaultMaxBytes = 256 << 20
	MaxBucket       = 64 // bytes
)

// overhead is what a message has besides its value, at most: the headers of Put, or those and the subject in an answer.
const overhead = 2 << 10

// Config says which bucket. Only Bucket is required.
type Config struct {
	// Bucket is the name of the key-value bucket: up to [MaxBucket] letters, digits, '_' and '-'. Processes that share
	// values have the same, others have another.
	Bucket string

	// MaxValue bounds values in bytes, written and read. 0: [store.MaxValue], or what fits into a message of the server
	// (its max_payload, 1 MiB unless configured) when that is less.
	MaxValue int

	// Timeout bounds every operation, and New; an earlier deadline of the context wins. 0: [DefaultTimeout].
	Timeout time.Duration

	// MaxBytes and Replicas are given to a bucket that does not exist yet: the bytes that it holds before it refuses
	// more, which the server sets aside, and in how many servers of a cluster they are. 0: [DefaultMaxBytes], and one.
	MaxBytes int64
	Replicas int
}

// filled returns c with every zero value replaced by its default, but MaxValue, which the server decides.
func (c Config) filled() Config {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	return c
}

// check reports everything that is wrong with a filled config.
func (c Config) check() error {
	var errs []error
	// '.' and ':' are in store keys and not in names of buckets.
	if len(c.Bucket) > MaxBucket || store.CheckKey(c.Bucket) != nil || strings.ContainsAny(c.Bucket, ".:") {
		errs = append(errs, fmt.Errorf("bucket %.80q; use 1 to %d letters, digits and _ -", c.Bucket, MaxBucket))
	}
	if c.MaxValue < 0 || c.MaxValue > store.MaxValue {
		errs = append(errs, fmt.Errorf("MaxValue %d is out of range; use 1 to %d, or 0 for what the server takes", c.MaxValue, store.MaxValue))
	}
	if c.Timeout < 0 {
		errs = append(errs, errors.New("negative Timeout; use a positive time, or 0 for the default"))
	}
	if c.MaxBytes < 0 {
		errs = append(errs, errors.New("negative MaxBytes; use a size, or 0 for the default"))
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		errs = append(errs, fmt.Errorf("cannot make %d Replicas; use 1 to 5", c.Replicas))
	}
	return errors.Join(errs...)
}

// within returns c with a MaxValue that fits into messages of payload bytes, the limit of the server.
func (c Config) within(payload int64) (Config, error) {
	most := min(store.MaxValue, payload-overhead)
	switch {
	case most <= 0:
		return c, unfitError{fmt.Errorf("the server takes messages of %d bytes; raise its max_payload, to 1 MiB for example", payload)}
	case c.MaxValue == 0:
		c.MaxValue = int(most)
	case int64(c.MaxValue) > most:
		return c, unfitError{fmt.Errorf("MaxValue %d does not fit into a message of the server, which has %d bytes; raise its max_payload to %d, or lower MaxValue",
			c.MaxValue, payload, c.MaxValue+overhead)}
	}
	return c, nil
}

// seconds is the time to live that the server is given: it counts whole seconds, and cuts what is not.
func seconds(ttl time.Duration) time.Duration {
	return time.Duration(math.Ceil(ttl.Seconds())) * time.Second
}

// subject writes a store key as a NATS key of one token. NATS takes no ':' and no '.' in some places; '/' and '=', which
// it takes, are in no store key, so two keys never become one.
func subject(key string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ':':
			return '/'
		case '.':
			return '='
		}
		return r
	}, key)
}
