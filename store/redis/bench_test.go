package redis_test

import (
	"strconv"
	"testing"
)

func BenchmarkPut(b *testing.B) {
	s, value := open(b, serve(b).config()), make([]byte, 4<<10)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if err := s.Put(ctx, "bench."+strconv.Itoa(n), value, soon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, serve(b).config())
	put(b, s, "key", string(make([]byte, 4<<10)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Get(ctx, "key"); err != nil {
				b.Error(err)
			}
		}
	})
}
