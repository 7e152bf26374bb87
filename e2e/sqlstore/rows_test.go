package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/sqlstore"
)

// over makes every row older than its time.
func (d database) over(t *testing.T, where string) {
	t.Helper()
	end := map[string]string{"sqlite": "1", "pgx": "now() - interval '1 second'"}[d.driver]
	execute(t, d.connect(t), "UPDATE kest_store SET expires = "+end+" WHERE "+where)
}

// TestTimeOfTheRow: what is over is over whether or not it was swept, and its key is free.
func TestTimeOfTheRow(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		s := d.open(t, sqlstore.Config{})
		put(t, s, "k", "the old value")
		d.over(t, "key = 'k'")
		if _, err := s.Get(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("get: %v", err)
		}
		put(t, s, "k", "the new value")
		holds(t, s, "k", "the new value")
		if n := count(t, d.connect(t), "SELECT count(*) FROM kest_store"); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}

// TestSweep deletes what is over, in more than one batch, and nothing else.
func TestSweep(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		s, db := d.open(t, sqlstore.Config{}), d.connect(t)
		if n, err := s.Sweep(ctx); n != 0 || err != nil {
			t.Errorf("sweep of nothing: %d, %v", n, err)
		}
		for i := range 130 {
			put(t, s, fmt.Sprintf("over.%d", i), "a value")
			if i < 10 {
				put(t, s, fmt.Sprintf("stays.%d", i), "a value")
			}
		}
		d.over(t, "key LIKE 'over%'")
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if n, err := s.Sweep(ended); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("sweep with an ended context: %d, %v", n, err)
		}
		if n, err := s.Sweep(ctx); n != 130 || err != nil {
			t.Errorf("sweep: %d, %v", n, err)
		}
		if n := count(t, db, "SELECT count(*) FROM kest_store"); n != 10 {
			t.Errorf("%d rows are left; want 10", n)
		}
		for i := range 10 {
			holds(t, s, fmt.Sprintf("stays.%d", i), "a value")
		}
	})
}

// TestSweeper: the store sweeps by itself, and Close stops it.
func TestSweeper(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		s, db := d.open(t, sqlstore.Config{SweepInterval: 20 * time.Millisecond}), d.connect(t)
		for i := range 60 {
			if err := s.Put(ctx, fmt.Sprintf("k%d", i), nil, time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		for start := time.Now(); count(t, db, "SELECT count(*) FROM kest_store") > 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > 15*time.Second {
				t.Fatal("nobody sweeps")
			}
		}
		s.Close()
		s.Close()
		execute(t, db, "DELETE FROM kest_store")
		if d.driver == "sqlite" {
			execute(t, db, "INSERT INTO kest_store (key, value, expires) VALUES ('k', x'00', 1)")
		} else {
			execute(t, db, "INSERT INTO kest_store (key, value, expires) VALUES ('k', '', now() - interval '1 hour')")
		}
		time.Sleep(100 * time.Millisecond)
		if n := count(t, db, "SELECT count(*) FROM kest_store"); n != 1 {
			t.Error("it still sweeps after Close")
		}
	})
}

// TestSweepWhileWriting: sweepers and writers of the same keys do not disturb each other. Nothing is deleted in its
// time: a row that was replaced while a sweeper looked at it stays.
func TestSweepWhileWriting(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		s, others := d.open(t, sqlstore.Config{Timeout: 10 * time.Second}), make(chan error, 2)
		sweeping, stop := context.WithCancel(ctx)
		for range cap(others) {
			sweeper := d.open(t, sqlstore.Config{Timeout: 10 * time.Second})
			go func() {
				for sweeping.Err() == nil {
					if _, err := sweeper.Sweep(sweeping); err != nil && sweeping.Err() == nil {
						others <- err
						return
					}
				}
				others <- nil
			}()
		}
		for round := range 300 {
			key := fmt.Sprintf("k%d", round%5)
			err := s.Put(ctx, key, nil, time.Microsecond)
			for errors.Is(err, store.ErrExists) {
				err = s.Put(ctx, key, nil, time.Microsecond)
			}
			if err != nil {
				t.Fatal(err)
			}
			stays := fmt.Sprintf("stays.%d", round)
			if err := s.Put(ctx, stays, nil, time.Microsecond); err != nil {
				t.Fatal(err)
			}
			put(t, s, stays, "a value") // over the row that is just over
		}
		stop()
		for range cap(others) {
			if err := <-others; err != nil {
				t.Errorf("sweep: %v", err)
			}
		}
		for round := range 300 {
			holds(t, s, fmt.Sprintf("stays.%d", round), "a value")
		}
	})
}

// TestForeignRows: rows that another program wrote are not trusted to be small.
func TestForeignRows(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		put(t, d.open(t, sqlstore.Config{}), "secret-key", large(2000))
		s := d.open(t, sqlstore.Config{MaxValue: 1000})
		_, err := s.Get(ctx, "secret-key")
		unavailable(t, err, "value of 2000 bytes, more than MaxValue (1000)", "secret-key", "large value")
	})
}

// TestLosersDoNotWrite: to replay a nonce must not cost the server a write, not even a lock on the row.
func TestLosersDoNotWrite(t *testing.T) {
	d := shared(t)
	s := d.open(t, sqlstore.Config{})
	put(t, s, "k", "a value")
	if err := s.Put(ctx, "k", nil, soon); !errors.Is(err, store.ErrExists) {
		t.Errorf("put: %v", err)
	}
	if n := count(t, d.connect(t), "SELECT count(*) FROM kest_store WHERE xmax = 0"); n != 1 { // who locked the row
		t.Error("a Put that found its key taken has written to the row")
	}
}

// TestPrefixes: stores with different prefixes share nothing.
func TestPrefixes(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		a, b := d.open(t, sqlstore.Config{Prefix: "a_"}), d.open(t, sqlstore.Config{Prefix: "order"})
		put(t, a, "k", "a value of a")
		put(t, b, "k", "a value of b")
		holds(t, a, "k", "a value of a")
		holds(t, b, "k", "a value of b")
	})
}

func BenchmarkStore(b *testing.B) {
	run := func(b *testing.B, d database) {
		s := d.open(b, sqlstore.Config{})
		value := []byte(large(4096))
		b.Run("put", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if err := s.Put(ctx, fmt.Sprintf("k%d.%d", i, time.Now().UnixNano()), value, soon); err != nil {
					b.Fatal(err)
				}
			}
		})
		put(b, s, "k", string(value))
		b.Run("get", func(b *testing.B) {
			for b.Loop() {
				holds(b, s, "k", string(value))
			}
		})
	}
	b.Run("SQLite", func(b *testing.B) { run(b, sqliteFile(b, "WAL")) })
	b.Run("PostgreSQL", func(b *testing.B) { run(b, shared(b)) })
}
