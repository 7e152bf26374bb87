package natskv_test

import (
	"strconv"
	"testing"

	"github.com/kest-go/kest/store/natskv"
)

func BenchmarkPut(b *testing.B) {
	s, value := open(b, serve(b).addr(), natskv.Config{}), make([]byte, 4<<10)
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
	s := open(b, serve(b).addr(), natskv.Config{})
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
