//go:build !windows

package etcdnode

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/test/etcdrig"
)

// world is a pair over a real etcd of its own, with a client beside it, as an operator's.
type world struct {
	*clustertest.Cluster
	t    *testing.T
	rig  *realRig
	etcd *etcdrig.Etcd
	cl   *clientv3.Client
	sent int
}

// overEtcd runs f once the Primary leads and ten entries are committed. In the end all that was committed is on both nodes.
func overEtcd(t *testing.T, members int, f func(w *world)) {
	t.Helper()
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, members)
	r := newRealRig(t, clustertest.Pair, e, DefaultPrefix)
	w := &world{Cluster: clustertest.NewOver(t, clustertest.Pair, r), t: t, rig: r, etcd: e}
	var err error
	if w.cl, err = clientv3.New(clientv3.Config{Endpoints: e.URLs()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.cl.Close() }) //nolint:errcheck // the test is over
	w.Start()
	w.whole()
	w.commit(10)
	f(w)
	w.whole()
	w.commit(10)
	holds(t, w.Cluster, w.sent)
}

// whole waits until both nodes are there and the Primary leads.
func (w *world) whole() {
	w.t.Helper()
	w.Voters(2, time.Minute)
	w.Eventually(time.Minute, "the Primary leads", func() bool {
		if !w.Node("primary").View().Leading {
			w.Node("primary").Transfer(w.t.Context(), "primary", reasonOfTest) //nolint:errcheck // it is tried again
		}
		return w.Node("primary").View().Leading
	})
}

func (w *world) commit(n int) {
	w.t.Helper()
	all(w.t, w.Cluster, w.sent, n)
	w.sent += n
}

// wholeInEtcd reports whether who reads everything in etcd now gets what was committed.
func (w *world) wholeInEtcd() bool {
	rev, items, err := w.Node("secondary").(*Node).readAll(w.t.Context())
	fresh := newReplica()
	if err != nil || fresh.loaded(rev, items) != nil {
		return false
	}
	p, _ := fresh.state.Pipeline("alerts/default")
	return fresh.damaged == "" && p.Remembered == w.sent
}

// newTerm waits until somebody leads in a term after the first ones.
func (w *world) newTerm(after int) {
	w.t.Helper()
	w.Eventually(time.Minute, "a new term", func() bool { return len(w.Leads()) > after })
	w.Leader(time.Minute)
}

// stopsInTime waits until the lead that went on at from has ended, and holds its end against the lease.
func (w *world) stopsInTime(from time.Time) {
	w.t.Helper()
	w.Eventually(time.Minute, "the leader stops", func() bool {
		leads := w.Leads()
		return !leads[len(leads)-1].Ended.IsZero() || leads[len(leads)-1].Began.After(from)
	})
	for _, l := range w.Leads() {
		if l.Began.Before(from) && l.Ended.After(from.Add(w.rig.ttl-margin(w.rig.ttl)/2)) {
			w.t.Errorf("%s has stopped only %v after its etcd fell silent, and its lease can be given away after %v", l.Node, l.Ended.Sub(from), w.rig.ttl)
		}
	}
}

func (w *world) leader() (rev int64, lease clientv3.LeaseID) {
	w.t.Helper()
	r, err := w.cl.Get(w.t.Context(), DefaultPrefix+keyLeader)
	if err != nil || len(r.Kvs) == 0 {
		w.t.Fatalf("there is no leader's key: %v", err)
	}
	return r.Header.Revision, clientv3.LeaseID(r.Kvs[0].Lease)
}

// What is taken from a leader that may not hear of it does not make two.
func TestRealLeaderLosesItsLease(t *testing.T) {
	for name, do := range map[string]func(w *world) error{
		"revoked": func(w *world) error {
			_, lease := w.leader()
			_, err := w.cl.Revoke(w.t.Context(), lease)
			return err
		},
		"key deleted": func(w *world) error {
			_, err := w.cl.Delete(w.t.Context(), DefaultPrefix+keyLeader)
			return err
		},
	} {
		for _, deaf := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, deaf %v", name, deaf), func(t *testing.T) {
				overEtcd(t, 1, func(w *world) {
					terms := len(w.Leads())
					if deaf {
						w.Isolate("primary")
					}
					if err := do(w); err != nil {
						t.Fatal(err)
					}
					w.newTerm(terms)
					w.Heal("primary")
				})
			})
		}
	}
}

// A node that starts does not know how long the leader whose key is gone may go on.
func TestRealStartWhileTheLeaderIsCutOffAndItsKeyDeleted(t *testing.T) {
	overEtcd(t, 1, func(w *world) {
		terms := len(w.Leads())
		w.Crash("secondary")
		w.Isolate("primary")
		w.etcd.Ctl("del", DefaultPrefix+keyLeader)
		w.Start("secondary")
		w.newTerm(terms)
		w.Heal("primary")
	})
}

func TestRealKeysDeletedByHand(t *testing.T) {
	overEtcd(t, 1, func(w *world) {
		w.commit(200) // some are folded
		for _, key := range []string{"pipe/alerts/default", "meta", keyCommit, keyEpoch, keyCluster} {
			w.etcd.Ctl("del", DefaultPrefix+key)
			w.commit(1)
			w.Eventually(time.Minute, key+" is put back", func() bool {
				r, err := w.cl.Get(t.Context(), DefaultPrefix+key)
				return err == nil && len(r.Kvs) == 1
			})
		}
		for _, dir := range []string{dirDelta, dirBase} {
			w.etcd.Ctl("del", "--prefix", DefaultPrefix+dir)
			w.Eventually(time.Minute, dir+" is put back", w.wholeInEtcd)
			w.commit(1)
		}
		w.Eventually(time.Minute, "the page says so", func() bool { return strings.Contains(w.Node("primary").View().Notice, "by hand") })
		for _, id := range []string{"primary", "secondary"} { // what stands in etcd is whole
			w.Crash(id)
		}
		w.Start()
		w.whole()
		holds(t, w.Cluster, w.sent)
		terms := len(w.Leads())
		w.etcd.Ctl("del", "--prefix", DefaultPrefix)
		w.newTerm(terms)
	})
}

func TestRealDataFolderRebuilt(t *testing.T) {
	overEtcd(t, 1, func(w *world) {
		w.commit(200)
		before, terms := w.Node("primary").View().Token, len(w.Leads())
		m := w.etcd.Members[0]
		m.Kill()
		m.Wipe()
		m.Start()
		w.etcd.Ready()
		w.newTerm(terms)
		w.whole()
		if now := w.Node("primary").View().Token; now.Epoch.Number <= before.Epoch.Number {
			t.Errorf("the token was %v and is %v", before, now)
		}
	})
}

// A backup of a real etcd holds leases as well, and the leader of when it was taken leads still.
func TestRealBackupRestoredUnderItsLeader(t *testing.T) {
	overEtcd(t, 1, func(w *world) {
		file := filepath.Join(t.TempDir(), "snapshot")
		w.etcd.Ctl("snapshot", "save", file)
		w.commit(50)
		before := w.Node("primary").View().Token
		m := w.etcd.Members[0]
		m.Kill()
		m.Restore(file)
		m.Start()
		w.etcd.Ready()
		w.Eventually(time.Minute, "a new epoch", func() bool {
			v := w.Node("primary").View()
			return v.Leader != "" && v.Token.Epoch.Number > before.Epoch.Number
		})
	})
}

func TestRealCompactionOvertakesASlowWatcher(t *testing.T) {
	overEtcd(t, 1, func(w *world) {
		w.Isolate("secondary")
		w.commit(300)
		rev, _ := w.leader()
		w.etcd.Ctl("compact", fmt.Sprint(rev))
		for _, p := range w.rig.proxies["secondary"] {
			p.Cut() // its watch must begin anew, at a revision that is gone
		}
		w.Heal("secondary")
	})
}

func TestRealNetworkCutFromTheLeader(t *testing.T) {
	overEtcd(t, 1, func(w *world) {
		w.Isolate("primary")
		w.stopsInTime(time.Now())
		if next := w.Leader(time.Minute, "primary"); next != "secondary" {
			t.Errorf("%s leads", next)
		}
		must(t, w.Node("secondary"), sent(w.sent))
		w.sent++
		w.Heal("primary")
	})
}

func TestRealMajorityLostAndRegained(t *testing.T) {
	overEtcd(t, 3, func(w *world) {
		terms := len(w.Leads())
		w.etcd.Members[0].Kill()
		w.etcd.Members[1].Kill()
		w.stopsInTime(time.Now())
		w.Eventually(time.Minute, "nobody leads", func() bool { return w.Node("primary").View().Leader == "" && w.Node("secondary").View().Leader == "" })
		w.etcd.Members[0].Start()
		w.newTerm(terms)
		w.etcd.Members[1].Start()
	})
}

func TestRealEtcdPausedLongerThanTheLease(t *testing.T) {
	overEtcd(t, 1, func(w *world) {
		terms := len(w.Leads())
		w.etcd.Members[0].Pause()
		paused := time.Now()
		w.stopsInTime(paused)
		w.Eventually(time.Minute, "the lease is over", func() bool { return time.Since(paused) > w.rig.ttl+time.Second })
		w.etcd.Members[0].Go()
		w.newTerm(terms)
	})
}

// An etcd at its quota lets the leader keep its lease and take no step. The cure that is shown mends it.
func TestRealEtcdThatIsFull(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, 1, "--quota-backend-bytes", "3000000")
	w := clustertest.NewOver(t, clustertest.Pair, newRealRig(t, clustertest.Pair, e, DefaultPrefix))
	w.Start()
	w.Voters(2, time.Minute)
	w.Leader(time.Minute)
	all(t, w, 0, 5)
	cl, err := clientv3.New(clientv3.Config{Endpoints: e.URLs()})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for err == nil {
		_, err = cl.Put(t.Context(), "filler", strings.Repeat("x", 1000000))
	}
	ids := []string{"primary", "secondary"}
	w.Eventually(20*time.Second, "both say so", func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return !strings.Contains(w.Node(id).View().Stall.Text, "is full") })
	})
	_, cure, _ := strings.Cut(cluster.FreeEtcd, ": ")
	for i, command := range strings.Split(cure, "`") {
		if i%2 == 0 {
			continue
		}
		sh := exec.CommandContext(t.Context(), "sh", "-ec", command) // as an operator types it
		sh.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+strings.Join(e.URLs(), ","))
		if out, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	w.Eventually(20*time.Second, "writes are taken", func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return w.Node(id).View().Stall.Text != "" })
	})
	all(t, w, 5, 5)
	holds(t, w, 10)
}
