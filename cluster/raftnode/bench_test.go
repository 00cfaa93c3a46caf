package raftnode_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// fsyncLatency is the median time that one synced write of a page takes where the benchmark runs.
func fsyncLatency(b *testing.B, dir string) time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page, took := make([]byte, 4096), make([]time.Duration, 0, 100)
	for range cap(took) {
		start := time.Now()
		if _, err := f.WriteAt(page, 0); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// BenchmarkCommit commits batches of 500 versions, as the poller does, on real files and loopback TCP.
func BenchmarkCommit(b *testing.B) {
	for _, shape := range []clustertest.Shape{clustertest.One, clustertest.Three} {
		b.Run(fmt.Sprintf("nodes=%d", len(shape)), func(b *testing.B) {
			r := newReal(b, shape, nil)
			c := clustertest.NewOver(b, shape, r)
			c.Start()
			c.Leader(time.Minute)
			c.Voters(len(shape), time.Minute)
			term := c.Leads()[0].Term
			op := state.Commit{Pipeline: "p"}
			for i := range 500 {
				op.Sent = append(op.Sent, alert.Version{ID: alert.ID{byte(i >> 8), byte(i)}})
			}
			took := make([]time.Duration, 0, b.N)
			i := 0
			for b.Loop() {
				i++
				for j := range op.Sent {
					op.Sent[j].LastModified = alert.Millis(i)
				}
				start := time.Now()
				if res, err := term.Propose(context.Background(), op); err != nil || res.Err != nil {
					b.Fatal(err, res.Err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(fsyncLatency(b, r.dir).Microseconds()), "fsync-µs")
		})
	}
}

// BenchmarkFailover measures, in simulated time, from the loss of the leader to lead on another node.
func BenchmarkFailover(b *testing.B) {
	for _, how := range []string{"crash", "cut", "stop"} {
		b.Run(how, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				took = append(took, failover(b, how))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
			b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "max-ms")
		})
	}
}

func failover(b *testing.B, how string) (took time.Duration) {
	// synctest runs tests only.
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: fmt.Sprint("failover", b.N), F: func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, _ := clustertest.New(t, clustertest.Three)
			c.Start()
			leader := c.Leader(time.Minute)
			c.Voters(3, time.Minute)
			time.Sleep(2 * time.Second)
			start := time.Now()
			switch how {
			case "crash":
				c.Crash(leader)
			case "cut":
				c.Isolate(leader)
			case "stop":
				c.Stop(leader)
			}
			c.Leader(time.Minute, leader)
			leads := c.Leads()
			took = leads[len(leads)-1].Began.Sub(start)
		})
	}}})
	if !ok {
		b.Fatal("the cluster did not come up")
	}
	return took
}
