package etcdnode

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
)

// A leader keeps its lease without a single write, so that what cannot be written is said by all nodes, and everything that needs a write is
// refused before anything is stopped for it.
func TestWhereEtcdTakesNoWritesAllNodesSaySo(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		says, do string
		both     bool // also who writes nothing can see it
	}{
		"full":      {rpctypes.ErrNoSpace, "its database is full", "etcdctl alarm disarm", true},
		"read only": {rpctypes.ErrPermissionDenied, "takes no writes", "right to read and write all keys that begin with /scomconnector/", false},
	} {
		t.Run(name, func(t *testing.T) {
			overFake(t, func(t *testing.T, r *rig, w *clustertest.Cluster) {
				all(t, w, 0, 5)
				time.Sleep(10 * time.Second)
				primary, secondary, leads := w.Node("primary"), w.Node("secondary"), len(w.Leads())
				since := time.Now()
				r.etcd.change(func() { r.etcd.locked = c.err })
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				done := make(chan error, 1)
				go func() { _, err := primary.(*Node).term.Load().propose(ctx, sent(5)); done <- err }() // as a pipeline does
				for range 3 {                                                                            // as the status page is looked at
					time.Sleep(time.Second)
					secondary.View()
				}
				for _, n := range []clustertest.Node{primary, secondary} {
					s := n.View().Stall
					if n == secondary && !c.both {
						continue
					}
					if !strings.Contains(s.Text, c.says) || !strings.Contains(s.Do, c.do) || s.Since.Before(since) || s.Since.After(since.Add(time.Second+1)) {
						t.Errorf("%s: got %+v", n.View().NodeID, s)
					}
					if _, is := errors.AsType[cluster.Stall](n.Transfer(ctx, "secondary", reasonOfTest)); !is {
						t.Errorf("%s: a handover was not refused", n.View().NodeID)
					}
					if _, err := n.Propose(ctx, sent(6)); !errors.As(err, new(cluster.Stall)) {
						t.Errorf("%s: propose: got %v", n.View().NodeID, err)
					}
				}
				if list := w.Leads(); len(list) != leads || !list[leads-1].Ended.IsZero() || !primary.View().Leading {
					t.Errorf("the leader was stopped: %+v", list[leads-1])
				}
				r.etcd.change(func() { r.etcd.locked = nil })
				if err := <-done; err != nil {
					t.Errorf("what waited: %v", err)
				}
				cancel()
				time.Sleep(50 * time.Millisecond)
				for _, n := range []clustertest.Node{primary, secondary} {
					if s := n.View().Stall; s.Text != "" {
						t.Errorf("%s: once writes are taken: %+v", n.View().NodeID, s)
					}
				}
				all(t, w, 6, 5)
				holds(t, w, 11)
			})
		})
	}
}

// Without a leader the nodes that cannot become one know why, and do not ask all the time.
func TestNobodyCanLeadWhereEtcdTakesNoWrites(t *testing.T) {
	for _, err := range []error{rpctypes.ErrNoSpace, rpctypes.ErrPermissionDenied} {
		overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
			r.etcd.change(func() { r.etcd.locked = err })
			r.etcd.revokeLeaders()
			time.Sleep(20 * time.Second)
			for _, id := range []string{"primary", "secondary"} {
				if v := c.Node(id).View(); v.Stall.Text == "" || v.Leader != "" || time.Since(v.Stall.Since) < 10*time.Second {
					t.Errorf("%v: %s: leader %q, %+v", err, id, v.Leader, v.Stall)
				}
			}
			r.etcd.change(func() { r.etcd.locked = nil })
			c.Leader(3 * time.Second)
			time.Sleep(50 * time.Millisecond) // the other one has seen its first commit
			all(t, c, 0, 1)
		})
	}
}

// The run-book has the commands that the page shows, as they are typed.
func TestTheRunbookFreesAnEtcd(t *testing.T) {
	book, err := os.ReadFile("../../deploy/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, command := range strings.Split(cluster.FreeEtcd, "`") {
		if i%2 == 1 && !strings.Contains(string(book), "\n  "+command+"\n") {
			t.Errorf("it lacks %q", command)
		}
	}
}

// Between two leaders the words are of an etcd, not of nodes that elect one.
func TestBetweenTwoLeadersTheLeaseIsSpokenOf(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		c.Crash("primary")
		c.Eventually(time.Minute, "nobody leads", func() bool { return c.Node("secondary").View().Leader == "" })
		if v := c.Node("secondary").View(); !strings.Contains(v.Waiting, "lease") || v.Do == "" {
			t.Errorf("waiting %q, do %q", v.Waiting, v.Do)
		}
		c.Leader(time.Minute, "primary")
		if v := c.Node("secondary").View(); v.Waiting != "" {
			t.Errorf("once it leads: waiting %q", v.Waiting)
		}
		c.Start("primary")
	})
}

// A leader that was killed and is back at once leads no more, though its key stands: nobody calls it the leader until a term has begun.
func TestARestartedLeaderIsNotTakenForTheOneThatLed(t *testing.T) {
	overFake(t, func(t *testing.T, r *rig, c *clustertest.Cluster) {
		time.Sleep(2 * time.Second)
		r.etcd.setCut("primary", true) // who is killed deletes no key
		c.Crash("primary")
		r.etcd.setCut("primary", false)
		c.Start("primary")
		time.Sleep(time.Second)
		if k := c.Node("secondary").(*Node).replica.keys(); k.leader == nil {
			t.Fatal("the key is gone: this tests nothing")
		}
		for id, says := range map[string]string{"secondary": "the process of primary that led is gone", "primary": "of this node that led"} {
			if v := c.Node(id).View(); v.Leader != "" || !strings.Contains(v.Waiting, says) {
				t.Errorf("%s: leader %q, waiting %q", id, v.Leader, v.Waiting)
			}
		}
		c.Leader(time.Minute)
		time.Sleep(time.Second)
		for _, id := range []string{"secondary", "primary"} {
			if v := c.Node(id).View(); v.Leader == "" || v.Waiting != "" {
				t.Errorf("%s later: leader %q, waiting %q", id, v.Leader, v.Waiting)
			}
		}
	})
}
