package raftnode_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/raftnode"
)

var (
	schedules = flag.Int("schedules", 0, "how many random fault schedules are run; 0: as many as SCOMCONNECTOR_SCHEDULES says, else 200")
	seedFlag  = flag.Uint64("seed", 0, "run only the schedule of this seed, with all that the nodes log; with -schedules that many from it on, without")
	keepGoing = flag.Bool("keep-going", false, "go on after a schedule that failed, and list all of them in the end")
)

// scheduleCount is how many schedules are run, and their first seed: where much is run it is another one each time.
func scheduleCount(t *testing.T) (first uint64, n int) {
	first, n = 1, 200
	if *seedFlag != 0 {
		return *seedFlag, max(*schedules, 1)
	}
	switch {
	case *schedules > 0:
		n = *schedules
	case os.Getenv("SCOMCONNECTOR_SCHEDULES") != "":
		var err error
		if n, err = strconv.Atoi(os.Getenv("SCOMCONNECTOR_SCHEDULES")); err != nil || n <= 0 {
			t.Fatalf("SCOMCONNECTOR_SCHEDULES is %q: it must be a number above 0", os.Getenv("SCOMCONNECTOR_SCHEDULES"))
		}
	case os.Getenv("SCOMCONNECTOR_REAL") == "1" && raceDetector:
		n = 100 // .ci/run has the other 1,900 without the race detector, which is more than ten times as fast
	case os.Getenv("SCOMCONNECTOR_REAL") == "1":
		n = 2000
	}
	if n != 200 {
		first = uint64(time.Now().UnixMilli()) * 1_000_000
	}
	return first, n
}

// TestRandomFaultsLoseNothing: whatever happens, a token has one owner, no two nodes lead at once but where that was chosen, no cursor
// goes back, what was acknowledged is on every node in the end, and all nodes agree byte for byte and go on.
func TestRandomFaultsLoseNothing(t *testing.T) {
	first, n := scheduleCount(t)
	t.Logf("%d schedules from seed %d on", n, first)
	total := runSchedules(t, first, n)
	t.Logf("%+v", total)
	if *seedFlag == 0 && !t.Failed() && (total.Acked < 10*n || total.Terms < 2*n || total.Excused > total.Acked/5) {
		t.Error("the faults leave too little to be acknowledged, or too much of it is excused: this tests nothing")
	}
}

// runSchedules runs as many schedules at a time as there are processors: each is a world of its own, and none looks at a real clock.
func runSchedules(t *testing.T, first uint64, n int) (total tally) {
	var mu sync.Mutex // guards total and failed
	var failed []uint64
	var next atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < uint64(n); i = next.Add(1) - 1 {
				seed, did := first+i, tally{}
				ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					raftnode.InBubble(t, func(t *testing.T) { did = runSchedule(t, seed) })
				})
				mu.Lock()
				total.add(did)
				if !ok {
					failed = append(failed, seed)
				}
				stop := len(failed) > 0 && !*keepGoing
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	workers.Wait()
	for _, seed := range failed {
		t.Errorf("run it again with: go test ./cluster/raftnode -run TestRandomFaults -seed %d", seed)
	}
	return total
}

// tally is what the schedules have done, to see that they do something.
type tally struct {
	Schedules, Acked, Excused, Terms, Takeovers, Wiped, Restored int
}

func (t *tally) add(o tally) {
	t.Schedules += o.Schedules
	t.Acked += o.Acked
	t.Excused += o.Excused
	t.Terms += o.Terms
	t.Takeovers += o.Takeovers
	t.Wiped += o.Wiped
	t.Restored += o.Restored
}

// askedFor is the reason of every handover that a test asks for.
var askedFor = cluster.Reason{Cause: cluster.CauseTransfer, Text: "asked for by the test"}

// schedule is one run of random faults.
type schedule struct {
	t      *testing.T
	rng    *rand.Rand
	c      *clustertest.Cluster
	b      *clustertest.Memory
	shape  clustertest.Shape
	ids    []string
	down   map[string]bool
	resume map[string]time.Time         // when a node that stands still goes on
	copies map[string]*clustertest.Disk // of disks, as they were
	forgot map[string]map[string]bool   // by copy: who has lost what it knew of that node since
	next   int
	wg     sync.WaitGroup
	tally  tally
	forced bool        // a takeover by force was asked for
	newest uint64      // the newest settings that were to be replaced
	quiet  atomic.Bool // lead moves no cursor

	mu    sync.Mutex                  // guards all below
	live  map[string]clustertest.Node // that run
	all   map[string]clustertest.Node // the last ones of each name, also those that have ended
	acked []ack
	moved map[string]uint64 // by epoch: the furthest acknowledged cursor
}

func runSchedule(t *testing.T, seed uint64) tally {
	s := newSchedule(t, seed)
	s.c.AllowOverlap(s.b.PairTakeover == "availability")
	s.c.Work(s.work)
	s.begin()
	for range 30 {
		s.step(rough)
		s.propose()
		s.rest(3 * time.Second)
	}
	s.wg.Wait()
	s.mend()
	s.check()
	s.tally.Schedules = 1
	s.tally.Terms = len(s.c.Leads())
	return s.tally
}

// newSchedule is a cluster of the seed's shape, which does not run yet.
func newSchedule(t *testing.T, seed uint64) *schedule {
	rng := rand.New(rand.NewPCG(seed, seed))
	shape, takeover := clustertest.Three, ""
	if i := rng.IntN(10); i == 0 {
		shape = clustertest.One
	} else if i < 7 {
		shape, takeover = clustertest.Pair, takeovers[i%3]
	}
	return newScheduleOf(t, rng, shape, takeover)
}

func newScheduleOf(t *testing.T, rng *rand.Rand, shape clustertest.Shape, takeover string) *schedule {
	c, b := clustertest.New(t, shape)
	b.PairTakeover = takeover
	timings := []string{"lan", "relaxed", "fast"}
	if takeover != "" {
		timings = timings[:2]
	}
	b.Timing = timings[rng.IntN(len(timings))]
	if *seedFlag != 0 && *schedules <= 1 {
		b.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testLog{t}, TimeFormat: "04:05.000", TimeFn: func() time.Time { return time.Now().UTC() }})
	}
	s := &schedule{
		t: t, rng: rng, c: c, b: b, shape: shape,
		down: map[string]bool{}, resume: map[string]time.Time{}, copies: map[string]*clustertest.Disk{}, forgot: map[string]map[string]bool{},
		live: map[string]clustertest.Node{}, all: map[string]clustertest.Node{}, moved: map[string]uint64{},
	}
	for _, m := range shape {
		s.ids = append(s.ids, m.NodeID)
	}
	t.Logf("%d nodes, timing %s, takeover %s", len(shape), b.Timing, cmp.Or(takeover, "none"))
	return s
}

// begin starts all nodes, and waits until one leads.
func (s *schedule) begin() {
	for _, id := range s.ids {
		s.start(id)
	}
	s.c.Leader(time.Minute)
}

// rest lets the cluster be for a while.
func (s *schedule) rest(atMost time.Duration) {
	time.Sleep(time.Duration(s.rng.Int64N(int64(atMost))))
	s.wake()
	s.bury()
}

// testLog has the nodes' lines stand among the test's own.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func (s *schedule) node() string { return s.ids[s.rng.IntN(len(s.ids))] }

// start starts a node, and lets its lead find it.
func (s *schedule) start(id string) {
	s.mu.Lock()
	delete(s.live, id)
	s.mu.Unlock()
	s.c.Start(id)
	s.mu.Lock()
	s.live[id], s.all[id] = s.c.Node(id), s.c.Node(id)
	s.mu.Unlock()
	s.down[id] = false
}

func (s *schedule) crash(id string) {
	if s.down[id] {
		return
	}
	s.c.Crash(id)
	s.ended(id)
}

func (s *schedule) ended(id string) {
	s.down[id] = true
	delete(s.resume, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, id)
}

// bury notices nodes that have given up by themselves.
func (s *schedule) bury() {
	for _, id := range s.ids {
		if !s.down[id] && s.c.Ended(id) {
			err := s.c.Gone(id, time.Second)
			if err == nil {
				s.t.Errorf("%s ended without a reason", id)
			}
			s.t.Logf("%v %s has given up: %v", s.now(), id, err)
			s.ended(id)
		}
	}
}

// now is how long the bubble has run.
func (s *schedule) now() time.Duration {
	return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Round(time.Millisecond)
}

// wake has nodes go on that have stood still long enough; half of them find that the clock on the wall has gone on meanwhile.
func (s *schedule) wake() {
	for _, id := range slices.Clone(s.ids) {
		at, paused := s.resume[id]
		if !paused || time.Now().Before(at) {
			continue
		}
		if s.rng.IntN(2) == 0 {
			s.b.Jump(id, time.Duration(s.rng.IntN(60))*time.Second)
		}
		s.c.Resume(id)
		delete(s.resume, id)
	}
}

// mend makes everything whole again, and waits until the cluster is. With -race, where time at rest costs as much as all faults, it does not
// go on once a round was quiet: without, each schedule has all the rest.
func (s *schedule) mend() {
	for range 3 { // a hung write may still end a process
		for _, id := range s.ids {
			s.heal(id)
			s.restart(id)
		}
		time.Sleep(20 * time.Second)
		s.bury()
		if quiet := !slices.ContainsFunc(s.ids, func(id string) bool { return s.down[id] }); quiet && raceDetector {
			break
		}
	}
	for _, m := range s.shape {
		if m.Role != cluster.Witness {
			s.maintain(m.NodeID, false, time.Minute)
		}
	}
	s.c.Leader(time.Minute)
	s.c.Voters(len(s.ids), 3*time.Minute)
	s.agree()
	s.c.AllowOverlap(false)
}

// agree waits until all nodes have the same. A follower may learn of a commit 0.8 s later, which is later than the next one: of three
// nodes that go on being written to, there may be no moment in a minute in which none is an entry behind.
func (s *schedule) agree() {
	s.quiet.Store(true)
	defer s.quiet.Store(false)
	s.c.Agree(time.Minute)
}
