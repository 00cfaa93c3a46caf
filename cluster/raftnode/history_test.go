package raftnode_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/raftnode"
)

// TestHistoriesAreLinearizable: what callers on any node have seen, while all manner of faults went on, could have been seen on one node
// that does one thing after the other. Without takeovers by force that holds for every shape, and with claims also when a node takes over.
func TestHistoriesAreLinearizable(t *testing.T) {
	first, n := scheduleCount(t)
	n = max(1, n/10)
	t.Logf("%d histories from seed %d on", n, first)
	operations := 0
	for i := range n {
		seed := first + uint64(i)
		var h *clustertest.History
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			h = runHistory(t, seed, func(n cluster.Coordinator) cluster.Coordinator { return n }, gentle)
		})
		if !ok {
			t.Fatalf("run it again with: go test ./cluster/raftnode -run TestHistories -seed %d", seed)
		}
		operations += h.Len()
		if got := h.Check(); got != porcupine.Ok {
			t.Fatalf("the history of seed %d is not linearizable (%s): go test ./cluster/raftnode -run TestHistories -seed %d\n%s", seed, got, seed, h.Text())
		}
	}
	t.Logf("%d operations", operations)
	if operations < 100*n && *seedFlag == 0 {
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

// runHistory runs four callers beside the faults. through stands between the callers and each node. A node that yields hands its settings
// over, which moves that register outside of any call: a pair has only the other one.
func runHistory(t *testing.T, seed uint64, through func(cluster.Coordinator) cluster.Coordinator, faults []fault) *clustertest.History {
	h := &clustertest.History{}
	raftnode.InBubble(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, seed))
		shape, takeover := clustertest.Three, ""
		if i := rng.IntN(4); i < 2 {
			shape, takeover = clustertest.Pair, []string{"claim", "operator"}[i]
		}
		s := newScheduleOf(t, rng, shape, takeover)
		s.begin()
		ctx, stop := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for i := range 4 {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			callers.Go(func() {
				h.Call(ctx, i, rng, takeover == "", func() cluster.Coordinator {
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
			s.step(faults)
			s.rest(2 * time.Second)
		}
		s.wg.Wait()
		s.mend()
		stop()
		callers.Wait()
	})
	return h
}
