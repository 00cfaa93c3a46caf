package state

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"scomconnector/poller/alert"
)

// batchOf is the i-th batch of 500 versions, 10 ms apart; every second one is closed.
func batchOf(i int) Commit {
	c := Commit{Pipeline: "alerts/default", Sent: make([]alert.Version, 0, 500)}
	for n := range 500 {
		k := i*500 + n
		c.Sent = append(c.Sent, alert.Version{ID: testID(k), LastModified: ms0 + alert.Millis(k*10), State: uint8(k % 2 * 255)})
	}
	last := c.Sent[499].LastModified
	c.Cursor, c.Forget = last, last-60_000
	return c
}

func filled(b testing.TB, n int) *State {
	s := started(b)
	for i := range n / 500 {
		c := batchOf(i)
		c.Forget = 0
		mustApply(b, s, 1, c)
	}
	return s
}

// BenchmarkApply500 applies batches of 500 to a map of 100,000 that forgets as much closed as comes.
func BenchmarkApply500(b *testing.B) {
	for _, snapshots := range []bool{false, true} {
		name := "plain"
		if snapshots {
			name = "each-after-a-snapshot" // every shard it touches must be copied
		}
		b.Run(name, func(b *testing.B) {
			s := filled(b, 100_000)
			commands := make([][]byte, 200)
			size := 0
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n%len(commands) == 0 { // the open ones would fill the map
					b.StopTimer()
					s = filled(b, 100_000)
					for i := range commands {
						commands[i], _ = Encode(Command{Token: tok(1), Op: batchOf(200 + i)})
						size = len(commands[i])
					}
					b.StartTimer()
				}
				if snapshots {
					s.Snapshot()
				}
				if res, _, err := s.Apply(1, 0, commands[n%len(commands)]); err != nil || res.Err != nil {
					b.Fatal(err, res.Err)
				}
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/version")
			b.ReportMetric(float64(size)/500, "B/version-in-log")
		})
	}
}

func BenchmarkEncode500(b *testing.B) {
	c := Command{Token: tok(1), Op: batchOf(0)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = EncodeTo(buf[:0], c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSent(b *testing.B) {
	s := filled(b, 100_000)
	ids := make([]alert.ID, 1<<16)
	for i := range ids {
		ids[i] = testID(i)
	}
	i := 0
	for b.Loop() {
		if _, ok := s.Sent("alerts/default", ids[i&(1<<16-1)]); !ok {
			b.Fatal("not remembered")
		}
		i += 7919
	}
}

// BenchmarkSnapshot100k also reports what 100,000 remembered versions weigh.
func BenchmarkSnapshot100k(b *testing.B) {
	before := heap()
	s := filled(b, 100_000)
	weight := heap() - before
	b.Run("take", func(b *testing.B) {
		for b.Loop() {
			s.Snapshot()
		}
		b.ReportMetric(float64(weight)/1e6, "MB-heap")
	})
	b.Run("write", func(b *testing.B) {
		var n int64
		for b.Loop() {
			n, _ = s.Snapshot().WriteTo(io.Discard)
		}
		b.ReportMetric(float64(n)/1e6, "MB-snapshot")
	})
	b.Run("restore", func(b *testing.B) {
		data := snapshotBytes(b, s)
		for b.Loop() {
			if err := New().Restore(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
	})
	runtime.KeepAlive(s)
}

func waitingRequests(b testing.TB, n int) *State {
	s := started(b)
	for i := range n {
		mustApply(b, s, 1, accept(request(i)))
	}
	return s
}

// BenchmarkAcceptSettle has requests accepted and settled, in batches of 100, behind so many that wait.
func BenchmarkAcceptSettle(b *testing.B) {
	for _, c := range []struct {
		name      string
		waiting   int
		snapshots bool
	}{{"empty", 0, false}, {"behind-100k", 100_000, false}, {"behind-100k-with-snapshots", 100_000, true}} {
		b.Run(c.name, func(b *testing.B) {
			s := waitingRequests(b, c.waiting)
			const batch = 100
			next, ids := c.waiting, []string(nil)
			b.ReportAllocs()
			for b.Loop() {
				if c.snapshots && next%batch == 0 {
					s.Snapshot()
				}
				data, err := Encode(Command{Token: tok(1), Op: accept(request(next))})
				if err != nil {
					b.Fatal(err)
				}
				if res, _, err := s.Apply(1, 0, data); err != nil || res.Err != nil {
					b.Fatal(err, res.Err)
				}
				next++
				if ids = append(ids, requestID(next-1-c.waiting)); len(ids) == batch { // the oldest, as the writeback does
					mustApply(b, s, 1, settle(t0, Done, ids...))
					ids = ids[:0]
				}
			}
		})
	}
}

// BenchmarkOutboxSnapshot100k also reports what 100,000 requests weigh.
func BenchmarkOutboxSnapshot100k(b *testing.B) {
	before := heap()
	s := waitingRequests(b, 100_000)
	weight := heap() - before
	b.Run("take", func(b *testing.B) {
		for b.Loop() {
			s.Snapshot()
		}
		b.ReportMetric(float64(weight)/1e6, "MB-heap")
	})
	b.Run("write", func(b *testing.B) {
		var n int64
		for b.Loop() {
			n, _ = s.Snapshot().WriteTo(io.Discard)
		}
		b.ReportMetric(float64(n)/1e6, "MB-snapshot")
	})
	b.Run("restore", func(b *testing.B) {
		data := snapshotBytes(b, s)
		for b.Loop() {
			if err := New().Restore(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
	})
	runtime.KeepAlive(s)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
