package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/storetest"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name     string
		key      string
		value    int
		maxValue int
		ttl      time.Duration
		refused  string // part of the error; "": taken
	}{
		{"claim check", "kest.claim.0d9c1a52-64a5-4f0e-9f2a-1f2a7c1f0001", 5000, 0, 300 * time.Second, ""},
		{"shortest", "a", 0, 0, 1, ""},
		{"longest", strings.Repeat("k", store.MaxKey), store.MaxValue, 0, store.MaxTTL, ""},
		{"own limit", "a", 10, 10, time.Second, ""},
		{"over the limit", "a", store.MaxValue + 1, 0, time.Second, "value of 4194305 bytes, more than the limit of 4194304"},
		{"over its own limit", "a", 11, 10, time.Second, "value of 11 bytes, more than the limit of 10"},
		{"own limit above that of all", "a", store.MaxValue + 1, store.MaxValue + 5, time.Second, "limit of 4194304"},
		{"negative limit", "a", store.MaxValue + 1, -1, time.Second, "limit of 4194304"},
		{"no time", "a", 0, 0, 0, "time to live of 0s"},
		{"negative time", "a", 0, 0, -1, "time to live of -1ns"},
		{"too long", "a", 0, 0, store.MaxTTL + 1, "at most 24h0m0s"},
		{"no key", "", 0, 0, time.Second, "key of 0 bytes"},
		{"long key", strings.Repeat("k", store.MaxKey+1), 0, 0, time.Second, "key of 257 bytes"},
	}
	for _, test := range tests {
		err := store.Check(test.key, make([]byte, test.value), test.maxValue, test.ttl)
		if test.refused == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if !errors.Is(err, store.ErrRefused) || !strings.Contains(err.Error(), test.refused) {
			t.Errorf("%s: error %v; want ErrRefused, with %q", test.name, err, test.refused)
		}
	}
}

// TestCheckKey goes through every byte: those that are taken mean nothing in any protocol, query or file system.
func TestCheckKey(t *testing.T) {
	const taken = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:"
	for c := range 256 {
		want := strings.IndexByte(taken, byte(c)) >= 0
		for _, key := range []string{string([]byte{byte(c)}), "a" + string([]byte{byte(c)}), string([]byte{byte(c)}) + "a"} {
			err := store.CheckKey(key)
			if (err == nil) != want || err != nil && !errors.Is(err, store.ErrRefused) {
				t.Errorf("key %q: %v", key, err)
			}
		}
	}
	for _, key := range storetest.HostileKeys() {
		if err := store.CheckKey(key); !errors.Is(err, store.ErrRefused) {
			t.Errorf("key %.60q: %v", key, err)
		}
	}
}

func TestCheckDoesNotRepeat(t *testing.T) {
	const secret = "s3cretpassport"
	for _, err := range []error{
		store.CheckKey(secret + "\n"),
		store.CheckKey(strings.Repeat(secret, 100)),
		store.Check(secret, bytes.Repeat([]byte(secret), 9), 10, time.Second),
		store.Check(secret, []byte(secret), 0, -1),
	} {
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
			t.Errorf("error %v", err)
		}
	}
}

func TestUnavailable(t *testing.T) {
	live := context.Background()
	cancelled, cancel := context.WithCancel(live)
	cancel()
	expired, cancel := context.WithDeadline(live, time.Unix(0, 0))
	defer cancel()
	classes := []error{store.ErrNotFound, store.ErrExists, store.ErrUnavailable, store.ErrRefused, context.Canceled, context.DeadlineExceeded, io.EOF}
	for _, test := range []struct {
		ctx  context.Context
		err  error
		want error
	}{
		{live, io.EOF, store.ErrUnavailable},
		{live, context.DeadlineExceeded, store.ErrUnavailable}, // of a context that the store made
		{live, context.Canceled, store.ErrUnavailable},
		{live, store.ErrNotFound, store.ErrUnavailable},
		{live, nil, store.ErrUnavailable},
		{cancelled, io.EOF, context.Canceled},
		{cancelled, context.DeadlineExceeded, context.Canceled},
		{expired, io.EOF, context.DeadlineExceeded},
	} {
		err := store.Unavailable(test.ctx, test.err)
		for _, class := range classes {
			if errors.Is(err, class) != (class == test.want) {
				t.Errorf("Unavailable(%v, %v) is %q, which matches %q: %t", test.ctx.Err(), test.err, err, class, class != test.want)
			}
		}
	}
	if err := store.Unavailable(live, io.EOF); err.Error() != "store: unavailable: EOF" {
		t.Errorf("text %q", err)
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, key := range storetest.HostileKeys() {
		f.Add(key)
	}
	f.Add("kest.claim.0d9c1a52-64a5-4f0e-9f2a-1f2a7c1f0001")
	f.Fuzz(func(t *testing.T, key string) {
		err := store.CheckKey(key)
		if (err == nil) != (store.Check(key, nil, 0, 1) == nil) {
			t.Error("Check and CheckKey disagree")
		}
		if err == nil && (len(key) > store.MaxKey || strings.ContainsAny(key, " \t\r\n\x00/\\*>?'\"`%{}[]()$")) {
			t.Errorf("key %q is taken", key)
		}
	})
}
