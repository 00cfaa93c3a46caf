package test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
)

// polls notes when SCOM is asked for alerts, to some milliseconds.
type polls struct {
	mu sync.Mutex // guards at
	at []time.Time
}

func watchPolls(p *plant) *polls {
	w := &polls{}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		asked := -1
		for {
			select {
			case <-quit:
				return
			case now := <-tick.C:
				n := p.console.Counters().Requests["data/alert"]
				if n != asked && asked >= 0 {
					w.mu.Lock()
					w.at = append(w.at, now)
					w.mu.Unlock()
				}
				asked = n
			}
		}
	}()
	p.t.Cleanup(func() { close(quit); <-done })
	return w
}

// firstAfter waits for the first poll after a time and returns how long it took.
func (w *polls) firstAfter(t testing.TB, since time.Time) (took time.Duration) {
	t.Helper()
	await(t, "a poll", time.Minute, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		i := slices.IndexFunc(w.at, since.Before)
		if i < 0 {
			return false
		}
		took = w.at[i].Sub(since)
		return true
	})
	return took
}

// gaps are the times between two polls.
func (w *polls) gaps() (all []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := 1; i < len(w.at); i++ {
		all = append(all, w.at[i].Sub(w.at[i-1]))
	}
	slices.Sort(all)
	return all
}

// spread reports the median and the worst of what was measured.
func spread(b *testing.B, what, unit string, each time.Duration, all []time.Duration) {
	b.Helper()
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2])/float64(each), what+"-median-"+unit)
	b.ReportMetric(float64(all[len(all)-1])/float64(each), what+"-worst-"+unit)
	b.ReportMetric(0, "ns/op")
}

// BenchmarkHandover hands leadership to and fro between two of three real nodes under a steady flow: from the order, as an operator
// gives it to the leader, until the other one's term begins, until the answer is there, and until the first poll of that term.
func BenchmarkHandover(b *testing.B) {
	handOver(b, func() *plant { return newPlant(b, lan3) })
}

// handOver is BenchmarkHandover over a site of its caller's.
func handOver(b *testing.B, site func() *plant) {
	b.Helper()
	const handovers = 50
	for range b.N {
		p := site()
		leader := p.works()
		w := watchPolls(p)
		var took, answered, polled []time.Duration
		for range handovers {
			other := p.procs[0]
			if leader == other {
				other = p.procs[1]
			}
			p.flowsBy(leader)
			start := time.Now()
			if code, answer := leader.order("/api/v1/transfer", v1.TransferOrder{To: other.id}); code != http.StatusOK || !strings.Contains(answer, `"leader":"`+other.id) {
				b.Fatalf("transfer to %s: %d %s", other.id, code, answer)
			}
			answered = append(answered, time.Since(start))
			s, err := other.status()
			if err != nil {
				b.Fatal(err)
			}
			term := s.Changes[0].At
			took = append(took, term.Sub(start))
			polled = append(polled, w.firstAfter(b, term)+term.Sub(start))
			leader = other
		}
		p.settled(0)
		spread(b, "term", "ms", time.Millisecond, took)
		spread(b, "answer", "ms", time.Millisecond, answered)
		spread(b, "poll", "ms", time.Millisecond, polled)
		gaps := w.gaps()
		b.ReportMetric(gaps[len(gaps)-1].Seconds(), "worst-s-between-polls")
		b.ReportMetric(float64(p.lam.Counts().Duplicates), "duplicates")
		p.end()
	}
}

// BenchmarkLeaderKilled kills the leader of two nodes and a witness: until another node's first poll.
func BenchmarkLeaderKilled(b *testing.B) {
	const kills = 50
	for range b.N {
		p := newPlant(b, lan3)
		leader := p.works()
		w := watchPolls(p)
		var took []time.Duration
		for range kills {
			p.flowsBy(leader)
			killed := time.Now()
			leader.kill()
			took = append(took, w.firstAfter(b, killed))
			next := p.newLeader(leader)
			leader.start()
			leader = next
			awaitVoters(b, leader, 3)
		}
		p.settled(kills * batch)
		spread(b, "polled-after", "s", time.Second, took)
		b.ReportMetric(float64(p.lam.Counts().Duplicates)/kills, "duplicates/kill")
		p.end()
	}
}

// BenchmarkPairFollowerKilled kills the follower of a pair: the longest time in which the LAM gets nothing. Each kill has a pair of
// its own, since a follower that is lost twice within a minute is kept waiting for its vote.
func BenchmarkPairFollowerKilled(b *testing.B) {
	const kills = 20
	for range b.N {
		var took []time.Duration
		for range kills {
			p := newPlant(b, pairOf("availability"))
			leader := p.works()
			killed := time.Now()
			p.procs[1].kill()
			awaitVoters(b, leader, 1)
			p.flowsBy(leader)
			took = append(took, p.gap(killed))
			if gap := took[len(took)-1]; gap > gapLimit {
				b.Errorf("the LAM got nothing for %v, want at most %v", gap, gapLimit)
			}
			p.settled(0)
			p.end()
		}
		spread(b, "gap", "s", time.Second, took)
	}
}

// BenchmarkPairLeaderKilled kills the leader of a pair whose takeover is availability: until the survivor's first poll.
func BenchmarkPairLeaderKilled(b *testing.B) {
	const kills = 10
	for range b.N {
		var took []time.Duration
		for range kills {
			p := newPlant(b, pairOf("availability"))
			leader := p.works()
			w := watchPolls(p)
			killed := time.Now()
			leader.kill()
			took = append(took, w.firstAfter(b, killed))
			p.flowsBy(p.newLeader(leader))
			p.settled(batch)
			p.end()
		}
		spread(b, "polled-after", "s", time.Second, took)
	}
}
