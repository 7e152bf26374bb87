package binding_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/store"
)

func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		st, w := memoryStore(t), c.workload(shop)
		publish := binding.Publisher(st)
		for range 2 { // again is no error
			if err := publish(t.Context(), w.binding); err != nil {
				t.Fatal(err)
			}
		}
		text, err := st.Get(t.Context(), binding.Prefix+w.id())
		if err != nil || string(text) != w.binding.Text() {
			t.Errorf("%q, %v", text, err)
		}
		if err := publish(t.Context(), c.certify(pay, w.public, now(), now().Add(time.Hour))); err == nil {
			t.Error("another document in its place")
		}
		time.Sleep(time.Hour)
		if _, err := st.Get(t.Context(), binding.Prefix+w.id()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after its end: %v", err)
		}
		if err := publish(t.Context(), w.binding); err == nil {
			t.Error("what has ended is published")
		}
		broken := errors.New("full")
		down := &lying{put: func([]byte, time.Duration) error { return broken }}
		if err := binding.Publish(t.Context(), down, c.workload(shop).binding); !errors.Is(err, broken) {
			t.Error(err)
		}
		unread := answers("", broken)
		unread.put = func([]byte, time.Duration) error { return store.ErrExists }
		if err := binding.Publish(t.Context(), unread, c.workload(shop).binding); !errors.Is(err, broken) {
			t.Error(err)
		}
		var ttl time.Duration
		long := &lying{put: func(_ []byte, d time.Duration) error { ttl = d; return nil }}
		for hours, want := range map[int]time.Duration{0: 24 * time.Hour, 2: store.MaxTTL, -2: 22 * time.Hour, -25: 0} {
			begin := now().Add(time.Duration(hours) * time.Hour)
			ttl = 0
			err := binding.Publish(t.Context(), long, c.workloadFor(shop, begin, begin.Add(24*time.Hour)).binding)
			if (err == nil) != (want > 0) || ttl != want {
				t.Errorf("a day that begins in %d hours: for %s, %v", hours, ttl, err)
			}
		}
	})
}
