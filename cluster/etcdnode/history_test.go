package etcdnode

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
)

// TestHistoriesAreLinearizable: what callers on any node have seen, while all manner of faults went on, could have been seen on one node
// that does one thing after the other.
func TestHistoriesAreLinearizable(t *testing.T) {
	first, n := seeds()
	n = max(1, n/5)
	operations := 0
	for seed := first; seed < first+uint64(n); seed++ {
		h := runHistory(t, seed, func(n cluster.Coordinator) cluster.Coordinator { return n }, gentle)
		operations += h.Len()
		if got := h.Check(); got != porcupine.Ok {
			t.Fatalf("the history of seed %d is not linearizable (%s)\n%s", seed, got, h.Text())
		}
	}
	t.Logf("%d histories, %d operations", n, operations)
	if operations < 50*n && n > 1 {
		t.Error("the histories are too short to show anything")
	}
}

// A checker that has never refused anything proves nothing.
func TestHistoryOfABrokenCoordinatorIsRefused(t *testing.T) {
	for name, broken := range clustertest.Broken {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				if runHistory(t, seed+1, broken, []fault{{"transfer", (*schedule).transfer}}).Check() == porcupine.Illegal {
					return
				}
			}
			t.Error("ten histories passed")
		})
	}
}

// runHistory runs four callers beside the faults. through stands between the callers and each node.
func runHistory(t *testing.T, seed uint64, through func(cluster.Coordinator) cluster.Coordinator, faults []fault) *clustertest.History {
	h := &clustertest.History{}
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(t, rand.New(rand.NewPCG(seed, seed)))
		s.begin()
		ctx, stop := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for i := range 4 {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			callers.Go(func() {
				h.Call(ctx, i, rng, true, func() cluster.Coordinator {
					s.mu.Lock()
					defer s.mu.Unlock()
					if n := s.live[s.ids[rng.IntN(len(s.ids))]]; n != nil {
						return through(n)
					}
					return nil
				})
			})
		}
		for range 15 {
			s.step(faults, 2*time.Second)
		}
		s.mend()
		stop()
		callers.Wait()
	})
	return h
}
