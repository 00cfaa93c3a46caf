package raftnode_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

var (
	schedules = flag.Int("schedules", 200, "how many random fault schedules are run")
	seedFlag  = flag.Uint64("seed", 0, "run only the schedule of this seed")
)

// TestRandomFaultsLoseNothing: whatever happens, no two nodes lead at once, tokens only grow, what was
// acknowledged is on every node in the end, and all nodes agree byte for byte.
func TestRandomFaultsLoseNothing(t *testing.T) {
	first, n := uint64(1), *schedules
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	acked := 0
	for i := range n {
		seed := first + uint64(i)
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { acked += runSchedule(t, seed) })
		})
		if !ok {
			t.Fatalf("run it again with: go test -run TestRandomFaults -seed %d", seed)
		}
	}
	t.Logf("%d proposals were acknowledged in %d schedules", acked, n)
	if acked < n {
		t.Error("the faults leave too little to be acknowledged: this tests nothing")
	}
}

// askedFor is the reason of every handover that a test asks for.
var askedFor = cluster.Reason{Cause: cluster.CauseTransfer, Text: "asked for by the test"}

// schedule is one run of random faults.
type schedule struct {
	t    *testing.T
	rng  *rand.Rand
	c    *clustertest.Cluster
	b    *clustertest.Memory
	ids  []string
	down map[string]bool
	cut  map[string]bool
	next int
	wg   sync.WaitGroup

	mu    sync.Mutex // guards acked
	acked []alert.ID
}

func runSchedule(t *testing.T, seed uint64) (acked int) {
	shapes := []clustertest.Shape{clustertest.Three, clustertest.Three, clustertest.Pair, clustertest.One}
	rng := rand.New(rand.NewPCG(seed, seed))
	shape := shapes[rng.IntN(len(shapes))]
	c, b := clustertest.New(t, shape)
	b.Timing = []string{"lan", "fast", "relaxed"}[rng.IntN(3)]
	s := &schedule{t: t, rng: rng, c: c, b: b, down: map[string]bool{}, cut: map[string]bool{}}
	for _, m := range shape {
		s.ids = append(s.ids, m.NodeID)
	}
	c.Start()
	c.Leader(time.Minute)
	for range 30 {
		s.step()
		s.propose()
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		s.bury()
	}
	s.wg.Wait()
	s.mend()
	return s.check()
}

func (s *schedule) node() string { return s.ids[s.rng.IntN(len(s.ids))] }

func (s *schedule) step() {
	id := s.node()
	switch s.rng.IntN(12) {
	case 0, 1:
		if !s.down[id] {
			s.c.Crash(id)
			s.down[id] = true
		}
	case 2:
		if !s.down[id] {
			if err := s.c.Stop(id); err != nil {
				s.t.Logf("stop %s: %v", id, err)
			}
			s.down[id] = true
		}
	case 3, 4:
		s.restart(id)
	case 5:
		s.c.Isolate(id)
		s.cut[id] = true
	case 6:
		s.b.Net.CutOneWay(id, s.node())
		s.cut[id] = true
	case 7:
		s.heal(id)
	case 8:
		s.transfer(id)
	case 9:
		s.disk(id)
	case 10:
		s.b.Disk(id).Heal()
	case 11:
		s.wipe(id)
	}
}

func (s *schedule) restart(id string) {
	if !s.down[id] {
		return
	}
	s.b.Disk(id).Heal()
	s.c.Start(id)
	s.down[id] = false
}

func (s *schedule) heal(id string) {
	s.c.Heal(id)
	for _, o := range s.ids {
		s.b.Net.Heal(id, o)
	}
	s.cut[id] = false
}

func (s *schedule) disk(id string) {
	d := s.b.Disk(id)
	switch s.rng.IntN(4) {
	case 0:
		d.Full(time.Duration(s.rng.IntN(30)) * time.Millisecond)
	case 1:
		d.Slow(time.Duration(s.rng.IntN(400)) * time.Millisecond)
	case 2:
		d.Slow(time.Hour)
	case 3:
		d.Break()
	}
}

// wipe replaces the disk of a node while all others are there: who wipes more than a minority, or one
// while another is away, loses data by their own hand.
func (s *schedule) wipe(id string) {
	if len(s.ids) < 3 || s.down[id] || !s.well() {
		return
	}
	s.c.Crash(id)
	s.b.Wipe(id)
	s.c.Start(id)
	s.c.Eventually(time.Minute, id+" votes again after it was wiped", func() bool {
		leader := s.c.Leader(time.Minute)
		v := s.c.Node(leader).View()
		for _, m := range v.Members {
			if m.Suffrage != "voter" {
				return false
			}
		}
		return s.c.Node(id).View().Leader != ""
	})
	s.c.Agree(time.Minute)
}

// well: nothing is broken, and all have the same.
func (s *schedule) well() bool {
	for _, id := range s.ids {
		if s.down[id] {
			return false
		}
		s.heal(id)
		s.b.Disk(id).Heal()
	}
	time.Sleep(20 * time.Second)
	s.bury()
	for _, id := range s.ids {
		if s.down[id] {
			return false
		}
	}
	s.wg.Wait()
	s.c.Agree(time.Minute)
	return true
}

func (s *schedule) transfer(to string) {
	via := s.node()
	n := s.c.Node(via)
	if n == nil {
		return
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		n.Transfer(ctx, to, askedFor) //nolint:errcheck // it may well be impossible
	})
}

// propose asks every node for something new.
func (s *schedule) propose() {
	for _, id := range s.ids {
		n := s.c.Node(id)
		if n == nil {
			continue
		}
		s.next++
		v := alert.Version{ID: alert.ID{byte(s.next >> 8), byte(s.next)}, LastModified: alert.Millis(s.next)}
		s.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			res, err := n.Propose(ctx, state.Commit{Pipeline: "p", Sent: []alert.Version{v}})
			if err == nil && res.Err == nil {
				s.mu.Lock()
				s.acked = append(s.acked, v.ID)
				s.mu.Unlock()
			}
			if err != nil && !errors.Is(err, cluster.ErrNoLeader) && !errors.Is(err, cluster.ErrUnknownOutcome) && ctx.Err() == nil {
				s.t.Errorf("propose through %s: an error of no kind: %v", n.View().NodeID, err)
			}
		})
	}
}

// bury notices nodes that have given up by themselves.
func (s *schedule) bury() {
	for _, id := range s.ids {
		if !s.down[id] && s.c.Ended(id) {
			err := s.c.Gone(id, time.Second)
			if err == nil {
				s.t.Errorf("%s ended without a reason", id)
			}
			s.down[id] = true
		}
	}
}

func (s *schedule) mend() {
	for range 3 { // a hung write may still end a process
		for _, id := range s.ids {
			s.heal(id)
			s.b.Disk(id).Heal()
			s.restart(id)
		}
		time.Sleep(20 * time.Second)
		s.bury()
	}
	s.c.Leader(time.Minute)
	s.c.Voters(len(s.ids), time.Minute)
}

// check returns how many proposals were acknowledged.
func (s *schedule) check() int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := set(ctx, s.c.Node(s.ids[0]), "end"); err != nil {
		s.t.Errorf("propose in the end: %v", err)
	}
	s.c.Agree(time.Minute)
	st := s.c.Node(s.ids[0]).View().State
	for _, id := range s.acked {
		if _, ok := st.Sent("p", id); !ok {
			s.t.Errorf("%v was acknowledged and is lost", id)
		}
	}
	return len(s.acked)
}
