package etcdnode

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster/clustertest"
	"scomconnector/test/pipenet"
)

// A leader that is cut off from etcd goes on until its lease could end, and its key may be deleted meanwhile. Who was not there, or did
// not hear of that term at all, must not lead beside it; the watch of clustertest holds the leads against each other.
func TestWhoFindsNoLeaderWaitsForOneThatIsCutOff(t *testing.T) {
	for name, find := range map[string]func(r *rig, c *clustertest.Cluster){
		"started anew": func(r *rig, c *clustertest.Cluster) {
			c.Crash("secondary")
			c.Start("secondary")
		},
		"started with an empty folder": func(r *rig, c *clustertest.Cluster) {
			c.Crash("secondary")
			r.dir = memoryDir(r.t)
			c.Start("secondary")
		},
		"back from a cut": func(r *rig, c *clustertest.Cluster) { r.etcd.setCut("secondary", false) },
	} {
		t.Run(name, func(t *testing.T) {
			overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
				handed(t, c, "secondary")
				time.Sleep(4 * time.Second) // the Secondary knows of its own lease only
				r.etcd.setCut("secondary", name == "back from a cut")
				if name == "back from a cut" {
					c.Eventually(time.Minute, "the Primary leads", func() bool { return c.Node("primary").View().Leading })
				} else {
					handed(t, c, "primary")
				}
				all(t, c, 0, 5)
				time.Sleep(100 * time.Millisecond) // it has just begun: its lease is whole
				r.etcd.setCut("primary", true)
				r.etcd.hand(remove(keyLeader))
				gone, terms := time.Now(), len(c.Leads())
				find(r, c)
				c.Eventually(time.Minute, "another one leads", func() bool { return len(c.Leads()) > terms })
				leads := c.Leads()
				old, now := leads[len(leads)-2], leads[len(leads)-1]
				if !old.Ended.Before(now.Began) || now.Began.Sub(gone) > 6*time.Second {
					t.Errorf("the old leader stopped %v after its key had gone, and the next one led after %v", old.Ended.Sub(gone), now.Began.Sub(gone))
				}
				r.etcd.setCut("primary", false)
				c.Voters(2, time.Minute)
			})
		})
	}
}

// A lease that could not be looked at for a while may have been renewed meanwhile. Whoever found its key gone later than the last look could
// explain took it for one that had ended by itself, and led beside its leader.
func TestALookAtTheLeaseThatIsOldSaysNothing(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		handed(t, c, "secondary")
		awaitLook(c, "primary")
		ends := func() (at time.Time) {
			r.etcd.change(func() { at = r.etcd.leases[r.etcd.keys[keyLeader].Lease].until })
			return at
		}
		before := ends()
		c.Eventually(time.Minute, "the lease is renewed", func() bool { return ends().After(before) })
		r.etcd.setDown(true)
		time.Sleep(3400 * time.Millisecond)
		r.etcd.setDown(false)
		time.Sleep(600 * time.Millisecond) // the leader has renewed its lease, and the other one not looked at it
		r.etcd.setCut("secondary", true)
		r.etcd.revokeLeaders()
		terms := len(c.Leads())
		c.Eventually(time.Minute, "another one leads", func() bool { return len(c.Leads()) > terms })
		leads := c.Leads()
		if old, now := leads[len(leads)-2], leads[len(leads)-1]; !old.Ended.Before(now.Began) {
			t.Errorf("the old leader stopped at %v, and the next one began at %v", old.Ended, now.Began)
		}
		r.etcd.setCut("secondary", false)
		c.Voters(2, time.Minute)
	})
}

// Nodes need not have the same TTLSeconds: it is the leader's that counts.
func TestWhoFindsNoLeaderWaitsForTheLeadersTTL(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		c.Crash("secondary")
		r.ttl = map[string]time.Duration{"secondary": 20 * time.Second}
		c.Start("secondary")
		c.Voters(2, time.Minute)
		handed(t, c, "secondary")
		awaitLook(c, "primary")
		r.etcd.setCut("secondary", true)
		r.etcd.hand(remove(keyLeader))
		terms := len(c.Leads())
		c.Eventually(time.Minute, "another one leads", func() bool { return len(c.Leads()) > terms })
		leads := c.Leads()
		if old, now := leads[len(leads)-2], leads[len(leads)-1]; !old.Ended.Before(now.Began) {
			t.Errorf("the old leader stopped at %v, and the next one began at %v", old.Ended, now.Began)
		}
	})
}

// awaitLook waits until the node has just looked at the leader's lease.
func awaitLook(c *clustertest.Cluster, id string) {
	n := c.Node(id).(*Node)
	looked := func() time.Time {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.leftAsked
	}
	before := looked()
	c.Eventually(time.Minute, id+" looks at the lease", func() bool { return looked().After(before) })
}

func handed(t *testing.T, c *clustertest.Cluster, to string) {
	t.Helper()
	if err := c.Node(to).Transfer(t.Context(), to, reasonOfTest); err != nil {
		t.Fatal(err)
	}
}

// Where it is certain that nobody leads, nobody waits for that.
func TestStartsDoNotWaitForALeaderThatCannotBe(t *testing.T) {
	const soon = time.Second
	out := func() { time.Sleep(2 * freshFor) } // of contact
	for name, c := range map[string]struct {
		end    func(c *clustertest.Cluster)
		start  string
		within time.Duration
	}{
		"stopped in good order": {func(c *clustertest.Cluster) { c.Stop("secondary"); out(); c.Stop("primary") }, "secondary", soon}, //nolint:errcheck // how they end is another test's
		"stopped one by one":    {func(c *clustertest.Cluster) { c.Stop("primary"); out(); c.Stop("secondary") }, "secondary", soon}, //nolint:errcheck // as above
		"lost with the power":   {func(c *clustertest.Cluster) { c.Crash("primary"); c.Crash("secondary") }, "primary", soon},        // it led last
		"the other comes back":  {func(c *clustertest.Cluster) { c.Crash("primary"); c.Crash("secondary") }, "secondary", 6 * soon},  // it cannot know
	} {
		t.Run(name, func(t *testing.T) {
			overFake(t, func(t *testing.T, r *rig, cl *clustertest.Cluster) {
				c.end(cl)
				time.Sleep(time.Minute) // the lease has ended
				began := time.Now()
				cl.Start(c.start)
				cl.Leader(time.Minute)
				if took := time.Since(began); took > c.within {
					t.Errorf("%s leads after %v", c.start, took)
				}
			})
		})
	}
}

// A state that was carried over has terms of another backend, whose nodes do not run.
func TestFirstStartAfterAMoveDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clustertest.One)
		cfg := bystanders(t, r.etcd)
		if err := Import(t.Context(), cfg, r.log, clustertest.Filled(t), second, nil); err != nil {
			t.Fatal(err)
		}
		r.net = pipenet.New()
		c := clustertest.NewOver(t, clustertest.One, r)
		began := time.Now()
		c.Start()
		c.Leader(time.Minute)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it leads after %v", took)
		}
	})
}

func TestADataFolderIsOneProcesss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clustertest.One)
		first, err := r.Open("primary")
		if err != nil {
			t.Fatal(err)
		}
		r.net = pipenet.New()
		_, err = r.Open("primary")
		if err == nil || err.Error() != "the data folder "+filepath.Join(r.dir, "primary")+" is in use by another process: is scomconnector already running?" {
			t.Errorf("a second one: got %v", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := r.Open("primary")
		if err != nil {
			t.Fatalf("after the first has ended: %v", err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A leader that was killed and started again at once, as systemd does, finds its own name in etcd until that lease ends: neither does it lead, nor
// was it cloned.
func TestANodeDoesNotTakeItsLastProcessForALeader(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		time.Sleep(time.Minute) // as long as it likes
		terms := len(c.Leads())
		c.Crash("primary")
		c.Start("primary")
		for len(c.Leads()) == terms {
			v := c.Node("primary").View()
			if v.Leader != "" || v.Alarm != "" {
				t.Fatalf("leader %q, alarm %q, while the lease of its last process goes on", v.Leader, v.Alarm)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

func TestAClonedNodeIsTold(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		lease, _, err := r.etcd.client("clone").Grant(t.Context(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		r.etcd.revokeLeaders()
		r.etcd.hand(op{kind: opPut, key: keyLeader, value: encodeJSON(leaderValue{Node: "primary", Process: "another", TTL: 5}), lease: lease})
		c.Eventually(time.Minute, "the clone is named", func() bool { return strings.Contains(c.Node("primary").View().Alarm, "stop the one that was cloned") })
		r.etcd.hand(remove(keyLeader))
		c.Leader(time.Minute)
	})
}
