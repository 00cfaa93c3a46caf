package raftnode_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
)

// A machine that was suspended has no monotonic time for it, and another node may lead already.
func TestClockJumpDropsTheTermAndAGreaterOneFollows(t *testing.T) {
	for _, shape := range []clustertest.Shape{clustertest.One, clustertest.Pair, clustertest.Three} {
		bubble(t, shape, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			c.Start()
			leader := c.Leader(10 * time.Second)
			c.Voters(len(shape), 10*time.Second)
			for _, by := range []time.Duration{time.Hour, -time.Hour} {
				before, lost := c.Node(leader).View().Token, c.Node(leader).Health().ElectionLost
				b.Jump(leader, by)
				c.Eventually(2*time.Second, "the term is dropped", func() bool { return c.Node(leader).Health().ElectionLost > lost })
				leader = c.Leader(10 * time.Second)
				mustSet(t, c.Node(leader), by.String())
				if after := c.Node(leader).View().Token; after.Compare(before) <= 0 {
					t.Errorf("after a jump of %v: token %v, before %v", by, after, before)
				}
			}
		})
	}
}

func TestSmallClockStepsAreNoPause(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		before := c.Node("primary").View().Token
		for range 50 {
			b.Jump("primary", 100*time.Millisecond)
			time.Sleep(time.Second)
		}
		if after := c.Node("primary").View().Token; after != before {
			t.Errorf("the term was dropped: %v, before %v", after, before)
		}
	})
}

func TestNodeInMaintenanceNeitherLeadsNorIsHandedTo(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		mustPropose(t, c.Node("witness"), state.SetMaintenance{Node: "primary", On: true, Sticky: true, At: time.Now()})
		if got := c.Leader(10*time.Second, "primary"); got != "secondary" {
			t.Fatalf("leader: got %s", got)
		}
		if cause := c.Node("secondary").View().State.Changes()[0].Cause; cause != string(cluster.CauseMaintenance) {
			t.Errorf("cause: got %q", cause)
		}
		err := c.Node("secondary").Transfer(t.Context(), "primary", askedFor)
		if err == nil || !strings.Contains(err.Error(), "maintenance") {
			t.Errorf("transfer to it: got %v", err)
		}
		c.Crash("secondary")
		time.Sleep(time.Minute)
		if c.Node("primary").View().Leading {
			t.Error("it polls while in maintenance")
		}
		// The cluster has a leader all the same, so that maintenance can be ended.
		mustPropose(t, c.Node("witness"), state.SetMaintenance{Node: "primary", At: time.Now()})
		if got := c.Leader(10 * time.Second); got != "primary" {
			t.Errorf("leader: got %s", got)
		}
	})
}

// In a pair there is nobody left to end it by: a takeover does.
func TestPairTakeoverEndsTheMaintenanceOfTheSurvivor(t *testing.T) {
	pair(t, "operator", func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		mustPropose(t, c.Node("primary"), state.SetMaintenance{Node: "secondary", On: true, Sticky: true, At: time.Now()})
		c.Agree(time.Second)
		c.Crash("primary")
		time.Sleep(5 * time.Second)
		if err := c.TakeOver(t.Context(), "secondary", "alice", false); err != nil {
			t.Fatalf("takeover: %v", err)
		}
		if v := c.Node("secondary").View(); !v.Leading || v.State.InMaintenance("secondary") {
			t.Errorf("after the takeover: leading %v, maintenance %v", v.Leading, v.State.Maintenance())
		}
	})
}

func TestTakeoverIsRefusedWhileALeaderLivesAndOnAWitness(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		for _, id := range []string{"primary", "secondary"} {
			if err := c.TakeOver(t.Context(), id, "alice", true); !errors.Is(err, cluster.ErrLeaderAlive) {
				t.Errorf("takeover on %s: got %v, want ErrLeaderAlive", id, err)
			}
		}
		c.Crash("primary")
		c.Crash("secondary")
		time.Sleep(10 * time.Second)
		if err := c.TakeOver(t.Context(), "witness", "alice", true); err == nil || !strings.Contains(err.Error(), "witness") {
			t.Errorf("takeover on the witness: got %v", err)
		}
	})
}

// The isolated node cannot know of the leader that the others have; once it hears of it, it gives way.
func TestTakeoverOfThreeWithTheOthersCutOffYieldsToNobodyAndTheyYield(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Isolate("secondary")
		mustSet(t, c.Node("primary"), "majority")
		time.Sleep(5 * time.Second)
		c.AllowOverlap(true)
		if err := c.TakeOver(t.Context(), "secondary", "alice", true); err != nil {
			t.Fatalf("takeover: %v", err)
		}
		mustPropose(t, c.Node("primary"), state.Commit{Pipeline: "a", Parked: []state.Parked{{Key: [16]byte{9}, At: time.Now(), Reason: "parked by the majority"}}})
		c.Heal("secondary")
		c.Voters(3, 20*time.Second)
		c.Agree(time.Second)
		if got := c.Leader(time.Second); got != "secondary" {
			t.Errorf("leader: got %s", got)
		}
		if !c.Node("primary").View().State.HasParked("a", [16]byte{9}) {
			t.Error("what the majority had parked is lost")
		}
	})
}

// A pair that still counts a witness which is in no file any more, and gone, needs both its nodes: the leader that took the vote of one that
// restarted was left with a vote that nobody could give, and nobody was ever elected again.
func TestPairThatStillCountsALostWitnessIsThereAgainWithBothNodes(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Shape = clustertest.Pair
		for _, id := range []string{"secondary", "primary"} {
			c.Stop(id) //nolint:errcheck // what counts is that it comes back
			c.Start(id)
			c.Leader(10 * time.Second)
			c.Eventually(10*time.Second, id+" follows", func() bool { return c.Node(id).View().Leader != "" })
		}
		c.Crash("witness")
		leader := c.Leader(10 * time.Second)
		follower := map[string]string{"primary": "secondary", "secondary": "primary"}[leader]
		c.Crash(follower)
		time.Sleep(5 * time.Second)
		c.Start(follower)
		c.Leader(10 * time.Second)
		mustSetWithin(t, c.Node(follower), "with both", 10*time.Second)
		if err := c.Node("primary").(cluster.Members).Remove(t.Context(), "witness"); err != nil {
			t.Fatalf("remove: %v", err)
		}
		c.Voters(2, 10*time.Second)
	})
}

// Members are changed by editing every file and restarting one node at a time, the leader last.
func TestWitnessIsAddedLaterAndRemovedAgain(t *testing.T) {
	bubble(t, clustertest.Three, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Shape = clustertest.Pair
		c.Start("primary", "secondary")
		c.Leader(10 * time.Second)
		c.Voters(2, 10*time.Second)
		restart := func(shape clustertest.Shape, ids ...string) {
			b.Shape = shape
			for _, id := range ids {
				c.Stop(id) //nolint:errcheck // what counts is that it comes back
				c.Start(id)
				c.Leader(10 * time.Second)
				c.Eventually(10*time.Second, id+" follows", func() bool { return c.Node(id).View().Leader != "" })
			}
		}
		b.Shape = clustertest.Three
		c.Start("witness")
		restart(clustertest.Three, "secondary", "primary")
		c.Voters(3, 10*time.Second)
		mustSet(t, c.Node("witness"), "with a witness")

		leader := c.Leader(time.Second)
		err := c.Node("witness").(cluster.Members).Remove(t.Context(), "witness")
		if err == nil || !strings.Contains(err.Error(), "still in Members of the leader") {
			t.Fatalf("remove a member that the leader's file names: got %v", err)
		}
		c.Stop("witness") //nolint:errcheck // as above
		others := map[string]string{"primary": "secondary", "secondary": "primary"}
		restart(clustertest.Pair, others[leader], leader)
		if err := c.Node("primary").(cluster.Members).Remove(t.Context(), "witness"); err != nil {
			t.Fatalf("remove: %v", err)
		}
		c.Voters(2, 10*time.Second)
		if err := c.Node("primary").(cluster.Members).Remove(t.Context(), "nobody"); err == nil {
			t.Error("remove nobody: got no error")
		}
		mustSet(t, c.Node("secondary"), "without")
		c.Agree(time.Second)
	})
}

// A hung or restarted raft#696: the handover never ends, all proposals are refused, and no election comes.
func TestPeersAnswerEachOther(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		p := c.Node("primary").(cluster.Peers)
		if got, err := p.Ask(t.Context(), "witness", []byte("x")); err != nil || len(got) == 0 {
			t.Errorf("ask the witness: got %q, %v", got, err)
		}
		if _, err := p.Ask(t.Context(), "primary", nil); err == nil {
			t.Error("ask itself: got no error")
		}
	})
}
