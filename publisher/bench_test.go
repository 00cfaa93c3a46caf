package publisher_test

import (
	"fmt"
	"testing"

	"scomconnector/poller/alert"
	"scomconnector/publisher/publishertest"
)

// BenchmarkPublish sends batches of 500 events of 1.1 KB over the loopback to a simulated LAM in
// the same process, which takes its share of the time.
func BenchmarkPublish(b *testing.B) {
	const n = 500
	l := lam(b, publishertest.Options{Light: true, Token: "secret"})
	cfg := to(l)
	cfg.AuthToken = "secret"
	d := destination(b, cfg)
	batch := make([]alert.Event, n)
	size := 0
	for i := range batch {
		batch[i] = event(i, 1100)
		size += len(batch[i].Body)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if got := d.Publish(b.Context(), batch); got.Err != nil {
			b.Fatal(got.Err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
	if c := l.Counts(); c.Events != b.N*n {
		b.Fatal(fmt.Errorf("%d events arrived, want %d", c.Events, b.N*n))
	}
}

// BenchmarkHalving is one guilty event in 500.
func BenchmarkHalving(b *testing.B) {
	l := lam(b, publishertest.Options{Light: true})
	l.Set(refuse(333))
	d := destination(b, to(l))
	batch := events(500)
	for b.Loop() {
		if got := d.Publish(b.Context(), batch); len(got.Refusals) != 1 {
			b.Fatal(got)
		}
	}
	b.ReportMetric(float64(l.Counts().Requests)/float64(b.N), "requests/op")
}
