package etcdnode

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

var (
	schedules = flag.Int("schedules", 100, "how many random fault schedules are run")
	seedFlag  = flag.Uint64("seed", 0, "run only the schedule of this seed; with -schedules that many from it on; 0: from 1 on")
)

func seeds() (first uint64, n int) {
	if *seedFlag == 0 {
		return 1, *schedules
	}
	if *schedules == 100 {
		return *seedFlag, 1
	}
	return *seedFlag, *schedules
}

// schedule is one run of random faults over the fake.
type schedule struct {
	t     *testing.T
	rng   *rand.Rand
	r     *rig
	c     *clustertest.Cluster
	ids   []string
	down  map[string]bool
	next  int
	wg    sync.WaitGroup
	quiet atomic.Bool // lead moves no cursor

	saved   func() // restores the last backup; nil: there is none of this history
	savedAt int64  // last revision of the commit's key in it

	mu    sync.Mutex // guards what follows
	live  map[string]clustertest.Node
	acked map[string]func(*state.State) bool
	moved uint64 // the furthest acknowledged cursor
}

func newSchedule(t *testing.T, rng *rand.Rand) *schedule {
	shape := clustertest.Pair
	if rng.IntN(8) == 0 {
		shape = clustertest.One
	}
	r := newRig(t, shape)
	s := &schedule{t: t, rng: rng, r: r, c: clustertest.NewOver(t, shape, r), down: map[string]bool{}, live: map[string]clustertest.Node{}, acked: map[string]func(*state.State) bool{}}
	for _, m := range shape {
		s.ids = append(s.ids, m.NodeID)
	}
	return s
}

func (s *schedule) begin() {
	for _, id := range s.ids {
		s.down[id] = true
		s.restart(id)
	}
	s.c.Leader(time.Minute)
}

// fault is one thing that befalls a node, or the etcd.
type fault struct {
	name string
	do   func(*schedule, string)
}

// gentle faults lose nothing that was committed; each is as likely as it is often here.
var gentle = []fault{
	{"crash", (*schedule).crash}, {"crash", (*schedule).crash}, {"stop", (*schedule).stop},
	{"restart", (*schedule).restart}, {"restart", (*schedule).restart}, {"restart", (*schedule).restart},
	{"isolate", func(s *schedule, id string) { s.c.Isolate(id) }},
	{"cut from etcd", func(s *schedule, id string) { s.r.etcd.setCut(id, true) }},
	{"heal", (*schedule).heal}, {"heal", (*schedule).heal}, {"heal", (*schedule).heal},
	{"transfer", (*schedule).transfer}, {"transfer", (*schedule).transfer}, {"maintenance", (*schedule).toggleMaintenance},
	{"majority lost", func(s *schedule, _ string) { s.r.etcd.setDown(true) }},
	{"answers lost", func(s *schedule, _ string) { n := 1 + s.rng.IntN(3); s.r.etcd.change(func() { s.r.etcd.lose = n }) }},
	{"lease revoked", func(s *schedule, _ string) { s.r.etcd.revokeLeaders() }},
	{"leader's key deleted", func(s *schedule, _ string) { s.r.etcd.hand(remove(keyLeader)) }},
	{"compaction", func(s *schedule, _ string) { s.r.etcd.drop() }},
}

// rough is all there is: what etcd loses, the nodes write back.
var rough = append(append([]fault{}, gentle...),
	fault{"wipe", func(s *schedule, _ string) { s.loses((*fake).wipe) }},
	fault{"backup", (*schedule).backup}, fault{"backup restored", (*schedule).restoreBackup},
	fault{"keys deleted", func(s *schedule, _ string) { s.loses(func(f *fake) { f.hand(op{kind: opDeleteAll}) }) }},
)

// step does one thing, and lets the cluster be for a while.
func (s *schedule) step(faults []fault, atMost time.Duration) {
	id, f := s.ids[s.rng.IntN(len(s.ids))], faults[s.rng.IntN(len(faults))]
	s.t.Logf("%v %s: %s", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), id, f.name)
	f.do(s, id)
	time.Sleep(time.Duration(s.rng.Int64N(int64(atMost))))
}

func (s *schedule) restart(id string) {
	if !s.down[id] {
		return
	}
	s.c.Start(id)
	s.down[id] = false
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[id] = s.c.Node(id)
}

func (s *schedule) crash(id string) { s.ends(id, func() { s.c.Crash(id) }) }

func (s *schedule) stop(id string) {
	s.ends(id, func() {
		if err := s.c.Stop(id); err != nil {
			s.t.Errorf("stop %s: %v", id, err)
		}
	})
}

func (s *schedule) ends(id string, end func()) {
	if s.down[id] {
		return
	}
	s.mu.Lock()
	delete(s.live, id)
	s.mu.Unlock()
	end()
	s.down[id] = true
}

func (s *schedule) heal(id string) {
	s.c.Heal(id)
	s.r.etcd.setDown(false)
}

func (s *schedule) transfer(to string) {
	n := s.anyLive()
	if n == nil {
		return
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		n.Transfer(ctx, to, reasonOfTest) //nolint:errcheck // it may well be impossible
	})
}

func (s *schedule) anyLive() clustertest.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[s.ids[s.rng.IntN(len(s.ids))]]
}

func (s *schedule) toggleMaintenance(id string) {
	n, on := s.anyLive(), s.rng.IntN(2) == 0
	if n == nil {
		return
	}
	op := state.SetMaintenance{Node: id, On: on, Author: "the test", At: time.Now().UTC()}
	if on {
		for _, o := range s.ids {
			if o != id {
				op.Unless = append(op.Unless, o)
			}
		}
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		n.Propose(ctx, op) //nolint:errcheck // there may be no leader
	})
}

// mend makes everything whole, and waits until the cluster is.
func (s *schedule) mend() {
	s.wg.Wait()
	for _, id := range s.ids {
		s.heal(id)
		s.restart(id)
	}
	for _, id := range s.ids { // one alone would go on without working
		must(s.t, s.c.Node(s.ids[0]), state.SetMaintenance{Node: id, Author: "the test", At: time.Now().UTC()})
	}
	s.c.Leader(time.Minute)
	s.c.Voters(len(s.ids), time.Minute)
	s.agree()
}

func (s *schedule) agree() {
	s.quiet.Store(true)
	defer s.quiet.Store(false)
	s.c.Agree(time.Minute)
}

func (s *schedule) backup(string) {
	s.saved = s.r.etcd.backup()
	s.r.etcd.change(func() { s.savedAt = s.r.etcd.keys[keyCommit].Mod })
}

// restoreBackup has the etcd go back to the last backup of this history.
func (s *schedule) restoreBackup(string) {
	if s.saved == nil {
		return
	}
	s.mend()
	var epoch uint64
	older := false
	s.r.etcd.change(func() { epoch, older = s.r.etcd.epoch(), s.r.etcd.keys[keyCommit].Mod > s.savedAt })
	s.saved()
	if s.rng.IntN(3) == 0 { // others write there
		s.r.etcd.change(func() { s.r.etcd.revision += 10_000 })
		s.saved = nil
	}
	s.c.Eventually(time.Minute, "what is newer is written back", func() (back bool) {
		s.r.etcd.change(func() { back = !older || s.r.etcd.epoch() > epoch })
		return back
	})
	s.c.Leader(time.Minute)
}

// epoch is the epoch's number. f.mu is held.
func (f *fake) epoch() uint64 {
	k := f.keys[keyEpoch]
	return decodeValue[epochValue](&k).Number
}

// loses has the etcd lose what it holds once all nodes have it; they write it back.
func (s *schedule) loses(how func(*fake)) {
	s.mend()
	s.saved = nil
	how(s.r.etcd)
	s.c.Eventually(time.Minute, "the keys are written back", func() (back bool) {
		s.r.etcd.change(func() { _, back = s.r.etcd.keys[keyCluster] })
		return back
	})
	s.c.Leader(time.Minute)
}

// propose asks every node for something new.
func (s *schedule) propose() {
	for _, id := range s.ids {
		n := s.c.Node(id)
		if n == nil {
			continue
		}
		s.next++
		i, key := s.next, alert.ID{byte(s.next >> 8), byte(s.next)}
		op := state.Op(state.Commit{Pipeline: "p", Sent: []alert.Version{{ID: key, LastModified: alert.Millis(i)}}})
		has := func(st *state.State) bool { _, ok := st.Sent("p", key); return ok }
		if s.rng.IntN(4) == 0 {
			op = state.Commit{Pipeline: "p", Parked: []state.Parked{{Key: key, At: time.Now().UTC(), Reason: "refused", Payload: []byte("x")}}}
			has = func(st *state.State) bool { return st.HasParked("p", key) }
		}
		s.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			res, err := n.Propose(ctx, op)
			switch {
			case err == nil && res.Err == nil:
				s.mu.Lock()
				defer s.mu.Unlock()
				s.acked[fmt.Sprint("entry ", i)] = has
			case err != nil && !errors.Is(err, cluster.ErrNoLeader) && !errors.Is(err, cluster.ErrUnknownOutcome) && ctx.Err() == nil && !errors.Is(err, errClosed):
				s.t.Errorf("propose: an error of no kind: %v", err)
			}
		})
	}
}

// work is the lead: it moves a cursor, from where the term before has left it.
func (s *schedule) work(ctx context.Context, nodeID string, term cluster.Term) error {
	var n clustertest.Node
	for n == nil {
		s.mu.Lock()
		n = s.live[nodeID]
		s.mu.Unlock()
		if !pause(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
	info, _ := n.View().State.Pipeline("w")
	at := uint64(info.Cursor)
	s.mu.Lock()
	if at < s.moved {
		s.t.Errorf("%s begins term %v at cursor %d, and %d was acknowledged", nodeID, term.Token, at, s.moved)
	}
	s.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-term.Finish:
			return nil
		case <-time.After(500 * time.Millisecond):
		}
		if s.quiet.Load() {
			continue
		}
		at++
		if res, err := term.Propose(ctx, state.Commit{Pipeline: "w", Cursor: alert.Millis(at)}); err == nil && res.Err == nil {
			s.mu.Lock()
			s.moved = max(s.moved, at)
			s.mu.Unlock()
		}
	}
}

// TestRandomFaultsLoseNothing: whatever happens, a token has one owner, no two nodes lead at once, no cursor goes back, what was
// acknowledged is on every node in the end, and all nodes agree byte for byte and go on.
func TestRandomFaultsLoseNothing(t *testing.T) {
	first, n := seeds()
	acked, terms := 0, 0
	for seed := first; seed < first+uint64(n); seed++ {
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchedule(t, rand.New(rand.NewPCG(seed, seed)))
				s.c.Work(s.work)
				s.begin()
				for range 30 {
					s.step(rough, 3*time.Second)
					s.propose()
				}
				s.mend()
				for _, id := range s.ids {
					for what, has := range s.acked {
						if !has(s.c.Node(id).View().State) {
							t.Errorf("%s was acknowledged and is not on %s", what, id)
						}
					}
				}
				acked, terms = acked+len(s.acked), terms+len(s.c.Leads())
			})
		})
		if !ok {
			t.Fatalf("run it again with: go test ./cluster/etcdnode -run TestRandomFaults -seed %d", seed)
		}
	}
	t.Logf("%d schedules: %d acknowledged, %d terms", n, acked, terms)
	if n > 10 && (acked < 10*n || terms < 2*n) {
		t.Error("the faults leave too little to be acknowledged: this tests nothing")
	}
}

// What the schedules have found: a lease that is revoked under a leader that is cut off, before anybody has looked at it, or in the last
// seconds of it, which etcd tells in whole ones, was taken for one that had ended.
func TestLeaseOfADeafLeaderRevokedAtAnyMoment(t *testing.T) {
	for after := time.Duration(0); after < 4*time.Second; after += 500 * time.Millisecond {
		for deaf := time.Duration(0); deaf < 4*time.Second; deaf += 500 * time.Millisecond {
			overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
				time.Sleep(after)
				terms := len(c.Leads())
				r.etcd.setCut("primary", true)
				time.Sleep(deaf)
				r.etcd.revokeLeaders()
				c.Eventually(time.Minute, "a new term", func() bool { return len(c.Leads()) > terms })
			})
		}
	}
}
