package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// overFake runs f on a pair over the fake, in a bubble, once the Primary leads.
func overFake(t *testing.T, f func(t *testing.T, r *rig, c *clustertest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clustertest.Pair)
		c := clustertest.NewOver(t, clustertest.Pair, r)
		c.Start()
		c.Leader(time.Minute)
		c.Voters(2, time.Minute)
		f(t, r, c)
	})
}

func sent(i int) state.Commit {
	id := alert.ID{byte(i >> 16), byte(i >> 8), byte(i), 7}
	return state.Commit{Pipeline: "alerts/default", Cursor: alert.Millis(1000 + i), Sent: []alert.Version{{ID: id, LastModified: alert.Millis(1000 + i)}}}
}

func must(t *testing.T, n cluster.Coordinator, op state.Op) state.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := n.Propose(ctx, op)
	if err := errors.Join(err, res.Err); err != nil {
		t.Fatalf("propose %T: %v", op, err)
	}
	return res
}

// all commits n entries, and knows afterwards whether every node has them.
func all(t *testing.T, c *clustertest.Cluster, from, n int) {
	t.Helper()
	for i := range n {
		must(t, c.Node("primary"), sent(from+i))
	}
}

func holds(t *testing.T, c *clustertest.Cluster, n int) {
	t.Helper()
	c.Agree(time.Minute)
	for _, id := range []string{"primary", "secondary"} {
		if p, _ := c.Node(id).View().State.Pipeline("alerts/default"); p.Remembered != n || p.Accepted != uint64(n) {
			t.Errorf("%s remembers %d of %d sent alerts, and counts %d", id, p.Remembered, n, p.Accepted)
		}
	}
}

// The lead of a node that hears nothing of etcd any more ends before the lease could be given away; the watch of clustertest holds the
// next lead against it.
func TestLeaderStopsBeforeItsLeaseCanBeGivenAway(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		n := c.Node("primary").(*Node)
		time.Sleep(1700 * time.Millisecond) // in the middle between two renewals
		cut := time.Now()
		r.etcd.setCut("primary", true)
		next := c.Leader(time.Minute, "primary")
		leads := c.Leads()
		old, now := leads[len(leads)-2], leads[len(leads)-1]
		if next != "secondary" || !old.Ended.Before(now.Began) || now.Began.Sub(cut) > 6*time.Second {
			t.Errorf("%s leads %v after the cut, and the old lead ended %v after it", next, now.Began.Sub(cut), old.Ended.Sub(cut))
		}
		if gap := now.Began.Sub(old.Ended); gap < margin(5*time.Second)-50*time.Millisecond {
			t.Errorf("between the two leads there are %v, want the margin", gap)
		}
		if v := n.View(); v.Leading || v.Leader != "" || v.Waiting == "" {
			t.Errorf("the node that is cut off: got leader %q, waiting %q", v.Leader, v.Waiting)
		}
		r.etcd.setCut("primary", false)
		c.Voters(2, time.Minute)
	})
}

func TestWithoutAMajorityNobodyLeadsAndNothingIsLost(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		all(t, c, 0, 10)
		r.etcd.setDown(true)
		c.Eventually(time.Minute, "nobody leads", func() bool { return !c.Node("primary").View().Leading && c.Node("secondary").View().Leader == "" })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Node("secondary").Propose(ctx, sent(99)); !errors.Is(err, cluster.ErrNoLeader) {
			t.Errorf("propose: got %v, want ErrNoLeader", err)
		}
		back := time.Now()
		r.etcd.setDown(false)
		c.Leader(time.Minute)
		if took := time.Since(back); took > 2*time.Second { // the old leader's key need not wait for its lease to end once more
			t.Errorf("somebody leads %v after etcd was back", took)
		}
		all(t, c, 10, 10)
		holds(t, c, 20)
	})
}

// Who deletes the leader's key, or revokes its lease, while the leader cannot hear of it does not get two leaders.
func TestLeaderWhoseKeyIsTakenAwayBehindItsBack(t *testing.T) {
	for name, do := range map[string]func(*fake){
		"lease revoked": (*fake).revokeLeaders,
		"key deleted":   func(f *fake) { f.hand(remove(keyLeader)) },
	} {
		for _, deaf := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, deaf %v", name, deaf), func(t *testing.T) {
				overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
					all(t, c, 0, 5)
					time.Sleep(4 * time.Second) // the lease has been looked at
					r.etcd.setCut("primary", deaf)
					before := len(c.Leads())
					do(r.etcd)
					c.Eventually(time.Minute, "a new term", func() bool { return len(c.Leads()) > before })
					r.etcd.setCut("primary", false)
					all(t, c, 5, 5)
					holds(t, c, 10)
				})
			})
		}
	}
}

func TestWhatIsChangedByHandIsPutBack(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		all(t, c, 0, 300) // some are folded
		must(t, c.Node("primary"), state.SetConfig{Text: []byte("{}"), Author: "alice", At: time.Now()})
		for _, keys := range [][]op{
			{remove("pipe/alerts/default")}, {remove("meta")}, {remove("config/1")}, {remove(keyCommit)}, {remove(keyEpoch)}, {remove(keyCluster)},
			{{kind: opDeleteAll, key: dirBase}}, {{kind: opDeleteAll, key: dirDelta}}, {put("config/7", []byte("x"))}, {put("hologram", []byte("x"))},
		} {
			r.etcd.hand(keys...)
			time.Sleep(time.Second)
			all(t, c, 0, 1) // known already: it changes nothing, and is committed
		}
		holds(t, c, 300)
		v := c.Node("primary").View()
		if !strings.Contains(v.Notice, "changed by hand at ") || !strings.Contains(v.Notice, "put back") || v.Alarm != "" {
			t.Errorf("the notice says %q, the alarm %q", v.Notice, v.Alarm)
		}
		r.etcd.setDown(true)
		time.Sleep(10 * time.Second)
		if v := c.Node("primary").View(); v.Notice != "" || v.Waiting == "" {
			t.Errorf("beside %q it still says %q", v.Waiting, v.Notice)
		}
		r.etcd.setDown(false)
		time.Sleep(handNotice)
		c.Leader(time.Minute)
		if v := c.Node("primary").View(); v.Notice != "" {
			t.Errorf("after %v it still says %q", handNotice, v.Notice)
		}
		for _, id := range []string{"primary", "secondary"} { // what stands in etcd is whole
			c.Crash(id)
		}
		c.Start()
		c.Leader(time.Minute)
		holds(t, c, 300)
		for _, id := range []string{"primary", "secondary"} {
			if v := c.Node(id).View(); v.Alarm != "" || v.State.Config().Version != 1 {
				t.Errorf("%s after a restart: alarm %q, settings version %d", id, v.Alarm, v.State.Config().Version)
			}
		}
	})
}

func TestAnEtcdThatHasLostEverythingGetsItBack(t *testing.T) {
	for name, lose := range map[string]func(r *rig){
		"new data folder": func(r *rig) { r.etcd.wipe() },
		"prefix deleted":  func(r *rig) { r.etcd.hand(op{kind: opDeleteAll}) },
	} {
		t.Run(name, func(t *testing.T) {
			overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
				all(t, c, 0, 200)
				before := c.Node("primary").View().Token
				terms := len(c.Leads())
				lose(r)
				c.Eventually(time.Minute, "a new term", func() bool { return len(c.Leads()) > terms })
				c.Leader(time.Minute)
				all(t, c, 200, 50)
				holds(t, c, 250)
				if now := c.Node("primary").View().Token; now.Compare(before) <= 0 || now.Epoch.Number <= before.Epoch.Number {
					t.Errorf("the token was %v and is %v", before, now)
				}
			})
		})
	}
}

// A backup holds the key and the lease of who led when it was taken, and in most cases that one leads still: its lease can be renewed again, and its term
// went on, over keys that had gone back behind it. Whoever else writes to that etcd makes its revision grow past what was seen there before.
func TestAnEtcdRestoredFromABackupGetsWhatIsNewer(t *testing.T) {
	for name, restored := range map[string]func(t *testing.T, r *rig, c *clustertest.Cluster, restore func()){
		"under its leader": func(_ *testing.T, _ *rig, _ *clustertest.Cluster, restore func()) { restore() },
		"others write there": func(_ *testing.T, r *rig, _ *clustertest.Cluster, restore func()) {
			restore()
			r.etcd.change(func() { r.etcd.revision += 10_000 })
		},
		"after it was away": func(t *testing.T, r *rig, c *clustertest.Cluster, restore func()) {
			r.etcd.setDown(true)
			time.Sleep(8 * time.Second)
			restore()
			r.etcd.setDown(false)
		},
		"the leader is gone": func(t *testing.T, r *rig, c *clustertest.Cluster, restore func()) {
			c.Agree(time.Minute)
			c.Crash("primary")
			restore()
			time.Sleep(15 * time.Second)
			c.Start("primary")
		},
		"another one has led meanwhile": func(t *testing.T, r *rig, c *clustertest.Cluster, restore func()) {
			handed(t, c, "secondary")
			handed(t, c, "primary")
			restore()
		},
		"another one leads": func(t *testing.T, r *rig, c *clustertest.Cluster, restore func()) {
			handed(t, c, "secondary")
			restore()
		},
	} {
		t.Run(name, func(t *testing.T) {
			overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
				all(t, c, 0, 50)
				restore := r.etcd.backup()
				all(t, c, 50, 100)
				must(t, c.Node("primary"), state.SetConfig{Text: []byte("{}"), Author: "alice", At: time.Now().UTC()})
				accepted := must(t, c.Node("secondary"), state.Accept{
					MaxEntries: 100, MaxBytes: 1 << 20, Request: state.Request{ID: "0000000000000001", Alert: alert.ID{9}, State: 255, Node: "secondary", At: time.Now().UTC()},
				})
				before := c.Node("primary").View().Token
				restored(t, r, c, restore)
				c.Eventually(time.Minute, "a new epoch", func() bool {
					v := c.Node("primary").View()
					return v.Leader != "" && v.Token.Epoch.Number > before.Epoch.Number && v.Alarm == ""
				})
				txns := r.etcd.count()
				time.Sleep(10 * time.Second)
				if n := r.etcd.count() - txns; n > 100 {
					t.Errorf("%d transactions within 10 s afterwards, with nothing to do", n)
				}
				all(t, c, 150, 10)
				holds(t, c, 160)
				for _, id := range []string{"primary", "secondary"} {
					st := c.Node(id).View().State
					if _, waits := st.Request(accepted.ID); st.Config().Version != 1 || !waits {
						t.Errorf("%s has settings version %d, and that the accepted request waits is %v", id, st.Config().Version, waits)
					}
				}
			})
		})
	}
}

// A node that had not heard of what etcd lost takes the restored one for the same, and what is written back to it for changes by hand.
func TestWhoWasBehindARestoreTakesInWhatIsWrittenBack(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		all(t, c, 0, 50)
		c.Agree(time.Minute)
		restore := r.etcd.backup()
		r.etcd.setCut("secondary", true)
		all(t, c, 50, 100)
		terms := len(c.Leads())
		restore()
		r.etcd.setCut("secondary", false)
		c.Eventually(time.Minute, "a new term", func() bool { return len(c.Leads()) > terms })
		c.Leader(time.Minute)
		holds(t, c, 150)
	})
}

// Nodes that start on an etcd without their keys begin nothing anew by themselves.
func TestNodesDoNotBeginAnewWhereTheirKeysAreGone(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		for _, id := range []string{"primary", "secondary"} {
			c.Crash(id)
		}
		r.etcd.wipe()
		c.Start()
		time.Sleep(time.Minute)
		for _, id := range []string{"primary", "secondary"} {
			if v := c.Node(id).View(); v.Leader != "" || !strings.Contains(v.Alarm, "restore etcd from a backup") {
				t.Errorf("%s: leader %q, alarm %q", id, v.Leader, v.Alarm)
			}
		}
	})
}

func TestASlowWatcherIsOvertakenByCompaction(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		all(t, c, 0, 20)
		r.etcd.setCut("secondary", true)
		all(t, c, 20, 200)
		r.etcd.drop()
		r.etcd.setCut("secondary", false)
		holds(t, c, 220)
	})
}

func TestAnswersThatAreLost(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		for i := range 60 {
			r.etcd.change(func() { r.etcd.lose = i % 3 })
			must(t, c.Node("primary"), sent(i))
		}
		holds(t, c, 60)
	})
}

func TestDeltasAreFolded(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		all(t, c, 0, 1000)
		time.Sleep(time.Second)
		deltas, shards := 0, 0
		r.etcd.change(func() {
			for k := range r.etcd.keys {
				if strings.HasPrefix(k, dirDelta) {
					deltas++
				}
				if strings.HasPrefix(k, dirBase) {
					shards++
				}
			}
		})
		if deltas > foldDeltas+2*state.Shards/foldShards || shards < 200 {
			t.Errorf("%d deltas and %d shards stand in etcd", deltas, shards)
		}
		must(t, c.Node("secondary"), state.Rewind{Pipeline: "alerts/default", To: 1500, At: time.Now()})
		c.Agree(time.Minute)
		must(t, c.Node("secondary"), state.SetPipelines{Names: []string{"alerts/prod"}, Carry: map[string]string{"alerts/prod": "alerts/default"}, At: time.Now()})
		c.Agree(time.Minute)
		for _, id := range []string{"primary", "secondary"} {
			c.Crash(id)
		}
		c.Start()
		c.Leader(time.Minute)
		c.Agree(time.Minute)
		if p, _ := c.Node("primary").View().State.Pipeline("alerts/prod"); p.Remembered != 500 || p.Cursor != 1500 {
			t.Errorf("after a rewind and a new name: got %+v", p)
		}
	})
}

func TestCloseRequestsAreTakenByAnyNodeWithoutALeader(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		accept := func(i int) state.Accept {
			return state.Accept{MaxEntries: 100, MaxBytes: 1 << 20, Request: state.Request{ID: fmt.Sprintf("%016x", i), Alert: alert.ID{byte(i + 1)}, State: 255, Node: "secondary", At: time.Now().UTC()}}
		}
		c.Crash("primary")
		for i := range 5 { // the lease of the last leader is not over yet
			if id := must(t, c.Node("secondary"), accept(i)).ID; id != fmt.Sprintf("%016x", i) {
				t.Errorf("request %d is done as %s", i, id)
			}
		}
		if again := must(t, c.Node("secondary"), state.Accept{MaxEntries: 100, MaxBytes: 1 << 20, Request: state.Request{ID: "another", Alert: alert.ID{3}, State: 255, Node: "secondary", At: time.Now().UTC()}}); again.ID != fmt.Sprintf("%016x", 2) {
			t.Errorf("the same request again is done as %s", again.ID)
		}
		c.Start("primary")
		c.Leader(time.Minute)
		if n, _, _ := c.Node("primary").View().State.OutboxInfo(); n != 5 {
			t.Errorf("%d requests wait, want 5", n)
		}
		var all []state.Settlement
		for i := range 5 {
			all = append(all, state.Settlement{ID: fmt.Sprintf("%016x", i), Outcome: state.Done})
		}
		must(t, c.Node("primary"), state.Settle{Settled: all, At: time.Now()})
		c.Agree(time.Minute)
		if n, _, _ := c.Node("secondary").View().State.OutboxInfo(); n != 0 {
			t.Errorf("%d requests wait, want none", n)
		}
	})
}

func TestAnotherClustersPrefixIsRefused(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		other := newRig(t, clustertest.Shape{
			{NodeID: "primary", Role: cluster.Primary, ClusterAddress: "otherone:8086"}, {NodeID: "secondary", Role: cluster.Secondary, ClusterAddress: "othertwo:8086"},
		})
		other.etcd = r.etcd
		n, err := other.Open("primary")
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		time.Sleep(5 * time.Second)
		if v := n.View(); !strings.Contains(v.Alarm, "belong to another cluster") || v.State.ClusterID() != "" {
			t.Errorf("got alarm %q, cluster %q", v.Alarm, v.State.ClusterID())
		}
	})
}

func TestMachineThatStoodStillLeadsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clustertest.Pair)
		r.wall = func(id string) time.Time {
			ahead, _ := r.ahead.LoadOrStore(id, time.Duration(0))
			return time.Now().Round(0).Add(ahead.(time.Duration))
		}
		c := clustertest.NewOver(t, clustertest.Pair, r)
		c.Start()
		first := c.Leader(time.Minute)
		c.Voters(2, time.Minute)
		before := len(c.Leads())
		time.Sleep(time.Second)
		r.ahead.Store(first, time.Minute)
		c.Eventually(time.Minute, "the term ends", func() bool { return len(c.Leads()) > before })
	})
}

// What the leader has not begun while the caller waited has changed nothing, and the caller may try it again. It was answered with an error
// of no kind.
func TestForwardedProposalThatRunsOutOfTimeMayBeTriedAgain(t *testing.T) {
	overFake(t, func(t *testing.T, _ *rig, c *clustertest.Cluster) {
		n := c.Node(c.Leader(time.Minute)).(*Node)
		data, err := state.Encode(state.Command{Op: sent(1)})
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		for range 100 { // whether it is queued at the last moment is chance
			switch got := n.answer(n.greeting(), request{Op: opPropose, Command: data}).Fault; got {
			case port.FaultNotLeader:
				tried++
			case "", port.FaultUnknown:
			default:
				t.Fatalf("got %q", got)
			}
		}
		if tried == 0 {
			t.Error("each was queued: this tests nothing")
		}
	})
}

// etcd works on each password that it checks, and a wrong one stays wrong until somebody comes.
func TestWhatEtcdRefusesIsNotAskedForAgainAtOnce(t *testing.T) {
	for _, err := range []error{rpctypes.ErrAuthFailed, rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty} {
		overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
			r.etcd.change(func() { r.etcd.refuse = err })
			r.etcd.revokeLeaders()
			time.Sleep(time.Minute) // terms have ended, and their renewals
			before := 0
			r.etcd.change(func() { before = r.etcd.refused })
			time.Sleep(time.Minute)
			r.etcd.change(func() {
				if n := r.etcd.refused - before; n > 2*30 {
					t.Errorf("%v: two nodes asked %d times in a minute", err, n)
				}
				r.etcd.refuse = nil
			})
			c.Leader(15 * time.Second)
		})
	}
}

// An etcd that was set up anew has soon come as far again as it was before, with its keys at the same revisions. Who did not look at it in
// between took it for the same one, kept what it knew of the other, and led with that.
func TestAnEtcdSetUpAnewIsNotTakenForTheOneBefore(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		c.Crash("secondary")
		time.Sleep(500 * time.Millisecond)
		c.Start("secondary") // its looks at etcd come half a second after the other's
		c.Voters(2, time.Minute)
		handed(t, c, "secondary")
		primary, n := c.Node("primary").(*Node), 0
		setUpAnew := func() {
			c.Agree(time.Minute)
			awaitLook(c, "primary")
			epoch := primary.replica.state.Token().Epoch.Number
			r.etcd.wipe()
			c.Eventually(time.Minute, "the Secondary leads again", func() bool {
				v := c.Node("secondary").View()
				return v.Leading && v.Token.Epoch.Number > epoch
			})
		}
		setUpAnew()
		for ; n < 5; n++ {
			must(t, c.Node("secondary"), sent(n))
		}
		setUpAnew()
		for ; n < 15; n++ { // more than the Primary has seen of the one before
			must(t, c.Node("secondary"), sent(n))
		}
		c.Crash("secondary")
		c.Eventually(time.Minute, "the Primary leads", func() bool { return c.Node("primary").View().Leading })
		c.Start("secondary")
		holds(t, c, n)
	})
}

func TestTheLinesOfWhoLeadsAreMarked(t *testing.T) {
	clustertest.TurnsAreMarked(t, clustertest.Pair, func(t *testing.T, log hclog.Logger) clustertest.Backend {
		r := newRig(t, clustertest.Pair)
		r.log = log
		return r
	})
}

// told is a logger that tells what was said.
type told struct {
	hclog.Logger
	said func(msg string)
}

func (l told) Named(name string) hclog.Logger { return told{l.Logger.Named(name), l.said} }

func (l told) Info(msg string, args ...any) {
	l.Logger.Info(msg, args...)
	l.said(msg)
}

// A node that was closed as its term began led on for ever, and Close waited for it.
func TestANodeThatIsClosedAsItsTermBeginsLeadsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clustertest.One)
		c := clustertest.NewOver(t, clustertest.One, r)
		closed := make(chan struct{})
		var once sync.Once
		r.log = told{r.log, func(msg string) {
			if msg != "this node leads" {
				return
			}
			once.Do(func() {
				go func() { c.Crash("primary"); close(closed) }()
				time.Sleep(time.Second) // it has looked for the term
			})
		}}
		c.Start()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Error("a closed node leads on")
			r.etcd.hand(remove(keyLeader)) // which ends it
		}
	})
}
