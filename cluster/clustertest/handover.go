package clustertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

func reasonIsKept(t *testing.T, s Suite, c *Cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	if got := c.newest(); got.Cause != string(cluster.CauseFormed) || got.Node != c.shape[0].NodeID || got.Reason == "" {
		t.Errorf("the first change: got %+v, want that %s formed the cluster", got, c.shape[0].NodeID)
	}
	if len(c.shape) < 2 {
		return
	}
	why := cluster.Reason{Cause: cluster.CauseMaintenance, Text: "asked for by alice"}
	to := c.follower()
	if err := c.Node(to).Transfer(ctx, to, why); err != nil {
		t.Fatal(err)
	}
	got := c.newest()
	if got.Cause != string(why.Cause) || got.Reason != why.Text || got.Node != to || got.Token != c.Node(to).View().State.Token() {
		t.Errorf("after the handover: got %+v, want %+v", got, why)
	}
	if err := c.Stop(to); err != nil {
		t.Errorf("stop: %v", err)
	}
	next := c.Leader(s.Patience)
	for _, ch := range c.Node(next).View().State.Changes() { // a pair's next leader may have begun an epoch since
		if ch.Node == to {
			break
		}
		got = ch
	}
	if got.Cause != string(cluster.CauseStop) || !strings.Contains(got.Reason, to) {
		t.Errorf("after the stop of %s: got %+v", to, got)
	}
}

// newest is the newest change of leader as the leader keeps it.
func (c *Cluster) newest() state.Change { return c.Node(c.leading()).View().State.Changes()[0] }

// leadFinishes: what lead commits while it finishes is under its own term, and the next term begins after it.
func leadFinishes(t *testing.T, s Suite, c *Cluster) {
	if len(c.shape) < 2 {
		t.Log("this takes another node")
		return
	}
	to := c.follower()
	var finished, failed atomic.Int64
	c.Work(func(ctx context.Context, _ string, term cluster.Term) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-term.Finish:
		}
		if ctx.Err() != nil {
			failed.Add(1)
			return ctx.Err()
		}
		if res, err := term.Propose(ctx, entry(int(1000+finished.Load()))); err != nil || res.Err != nil {
			t.Errorf("propose while finishing: %v, %v", err, res.Err)
			failed.Add(1)
			return err
		}
		finished.Add(1)
		return nil
	})
	old := c.leading()
	c.Crash(old)
	c.Start(old) // lead is called anew, with the work
	c.Leader(s.Patience)
	c.Voters(len(c.shape), s.Patience)
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	if c.leading() == to {
		to = c.follower()
	}
	c.Eventually(s.Patience, to+" takes over", func() bool { return c.Node(to).Transfer(ctx, to, askedFor) == nil })
	if finished.Load() != 1 || failed.Load() != 0 {
		t.Errorf("lead finished %d times and could not %d times, want once", finished.Load(), failed.Load())
	}
	if !has(c.Node(to), 1000) {
		t.Error("the next term began without what the last one had finished")
	}
}

// lossIsNotPlanned: what lead would finish in a term that is over could not be committed.
func lossIsNotPlanned(t *testing.T, s Suite, c *Cluster) {
	leader := c.Leader(s.Patience)
	c.Crash(leader)
	if c.toldToFinish(leader) {
		t.Errorf("%s was told to finish its work as for a planned handover, though it was killed", leader)
	}
}

// toldToFinish reports whether the node's newest lead was; it has returned.
func (c *Cluster) toldToFinish(nodeID string) bool {
	var newest Lead
	for _, l := range c.Leads() {
		if l.Node == nodeID {
			newest = l
		}
	}
	select {
	case <-newest.Term.Finish:
		return true
	default:
		return false
	}
}

func maintenance(t *testing.T, s Suite, c *Cluster) {
	leader := c.Leader(s.Patience)
	flag := func(node string, on bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
		defer cancel()
		res, err := c.Node(c.shape[0].NodeID).Propose(ctx, state.SetMaintenance{Node: node, On: on, Author: "alice", At: time.Now()})
		if err := errors.Join(err, res.Err); err != nil {
			t.Fatalf("maintenance of %s: %v", node, err)
		}
	}
	if len(c.shape) < 2 {
		flag(leader, true)
		c.Eventually(s.Patience, "the node in maintenance stops leading", func() bool { return !c.Node(leader).View().Leading })
		flag(leader, false)
		c.Leader(s.Patience)
		return
	}
	other := c.follower()
	flag(other, true)
	c.Agree(s.Patience)
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	if err := c.Node(other).Transfer(ctx, other, askedFor); err == nil || !strings.Contains(err.Error(), "maintenance") {
		t.Errorf("transfer to a node in maintenance: got %v, want the reason", err)
	}
	if got := c.Leader(s.Patience); got != leader {
		t.Errorf("leader: got %s, want %s still", got, leader)
	}
	flag(other, false)
	flag(leader, true)
	if got := c.Leader(s.Patience, leader); got != other {
		t.Errorf("leader once %s is in maintenance: got %s, want %s", leader, got, other)
	}
	c.must(s.Patience, 1, leader)
	c.Crash(other)
	c.Start(other)
	if got := c.Leader(s.Patience); got != other {
		t.Errorf("leader once %s has returned: got %s, since %s is in maintenance", other, got, leader)
	}
	flag(leader, false)
	c.Agree(s.Patience)
}

func askEachOther(t *testing.T, s Suite, c *Cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	for _, from := range c.shape {
		p, ok := c.Node(from.NodeID).(cluster.Peers)
		if !ok {
			t.Log("this backend has no way between the nodes")
			return
		}
		for _, to := range c.shape {
			got, err := p.Ask(ctx, to.NodeID, []byte("how are you"))
			if from.NodeID == to.NodeID {
				if err == nil {
					t.Errorf("%s asks itself: got no error", from.NodeID)
				}
				continue
			}
			if want := fmt.Sprintf("%s to %s: how are you", to.NodeID, from.NodeID); err != nil || string(got) != want {
				t.Errorf("%s asks %s: got %q, %v, want %q", from.NodeID, to.NodeID, got, err, want)
			}
			if _, err := p.Ask(ctx, to.NodeID, nil); err == nil || !strings.Contains(err.Error(), "empty request") {
				t.Errorf("%s asks %s for nothing: got %v, want what that node's answering function said", from.NodeID, to.NodeID, err)
			}
		}
	}
	if len(c.shape) < 2 {
		return
	}
	gone, from := c.follower(), c.leading()
	c.Crash(gone)
	short, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := c.Node(from).(cluster.Peers).Ask(short, gone, []byte("x")); err == nil || !strings.Contains(err.Error(), gone) {
		t.Errorf("ask a member that is gone: got %v, want an error that names it", err)
	}
}

// lostFollower: one of two or three is lost, and the same leader goes on, and takes it back.
func lostFollower(t *testing.T, s Suite, c *Cluster) {
	if len(c.shape) < 2 {
		t.Log("this takes another node")
		return
	}
	leader, lost := c.Leader(s.Patience), c.follower()
	leads := len(c.Leads())
	c.Crash(lost)
	c.must(s.Patience, 1, leader)
	c.Start(lost)
	c.Voters(len(c.shape), s.Patience)
	c.Agree(s.Patience)
	for _, l := range c.Leads()[leads:] { // a claim begins an epoch
		if l.Node != leader {
			t.Errorf("%s led term %v, want %s to go on", l.Node, l.Token, leader)
		}
	}
}
