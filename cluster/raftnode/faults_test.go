package raftnode_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/raftnode"
	"scomconnector/cluster/state"
)

// bubble runs a cluster of the shape in simulated time.
func bubble(t *testing.T, shape clustertest.Shape, f func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory)) {
	t.Helper()
	raftnode.InBubble(t, func(t *testing.T) {
		c, b := clustertest.New(t, shape)
		f(t, c, b)
	})
}

// three is a running cluster of three.
func three(t *testing.T, f func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory)) {
	t.Helper()
	bubble(t, clustertest.Three, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Start()
		c.Leader(10 * time.Second)
		c.Voters(3, 10*time.Second)
		f(t, c, b)
	})
}

func set(ctx context.Context, n cluster.Coordinator, name string) error {
	res, err := n.Propose(ctx, state.SetManagementGroup{Name: name, Force: true})
	return errors.Join(err, res.Err)
}

func mustSet(t *testing.T, n cluster.Coordinator, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := set(ctx, n, name); err != nil {
		t.Fatalf("propose %q: %v", name, err)
	}
}

func TestFormsOnceAllHaveAnsweredAndSaysWhomItWaitsFor(t *testing.T) {
	bubble(t, clustertest.Three, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Start("primary", "secondary")
		time.Sleep(20 * time.Second)
		for id, want := range map[string]string{"primary": "witness", "secondary": "primary"} {
			v := c.Node(id).View()
			if !strings.Contains(v.Waiting, want) || v.Leader != "" {
				t.Errorf("%s: got leader %q, waiting %q, want none and %q named", id, v.Leader, v.Waiting, want)
			}
		}
		c.Start("witness")
		start := time.Now()
		if got := c.Leader(10 * time.Second); got != "primary" {
			t.Errorf("the first leader is %s, want the Primary", got)
		}
		led := time.Now()
		c.Voters(3, 2*time.Second)
		t.Logf("leads %v after the last start, all vote %v later", led.Sub(start), time.Since(led))
	})
}

func TestMarkFormsWhileOthersAreAwayAndIsUsedOnce(t *testing.T) {
	bubble(t, clustertest.Three, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("primary").Mark()
		c.Start("primary")
		c.Leader(10 * time.Second)
		if b.Disk("primary").Marked() {
			t.Error("the mark is still there")
		}
		for _, id := range []string{"secondary", "witness"} {
			c.Start(id)
			start := time.Now()
			c.Eventually(10*time.Second, id+" is in contact", func() bool { return contact(c, id) })
			contacted := time.Now()
			c.Eventually(2*time.Second, id+" votes", func() bool { return suffrage(c, id) == "voter" })
			t.Logf("%s: contact after %v, vote %v later", id, contacted.Sub(start), time.Since(contacted))
		}
	})
}

// A mark beside state would form a second cluster, should that state be wiped one day while the others are away.
func TestMarkBesideStateIsDeletedUnusedAtTheStart(t *testing.T) {
	pair(t, "operator", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Crash("primary")
		b.Disk("primary").Mark()
		c.Start("primary")
		if b.Disk("primary").Marked() {
			t.Error("the mark is still there")
		}
		c.Voters(2, 10*time.Second)
	})
}

func contact(c *clustertest.Cluster, id string) bool {
	for _, m := range c.Node("primary").View().Members {
		if m.NodeID == id {
			return !m.LastContact.IsZero()
		}
	}
	return false
}

func suffrage(c *clustertest.Cluster, id string) string {
	for _, m := range c.Node("primary").View().Members {
		if m.NodeID == id {
			return m.Suffrage
		}
	}
	return ""
}

func TestMemberWithStateForbidsBootstrap(t *testing.T) {
	for _, marked := range []bool{false, true} {
		three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			mustSet(t, c.Node("primary"), "before")
			id := c.Node("primary").View().State.ClusterID()
			c.Crash("primary")
			b.Wipe("primary")
			if marked {
				b.Disk("primary").Mark()
			}
			c.Start("primary")
			c.Leader(10 * time.Second)
			c.Voters(3, 10*time.Second)
			c.Agree(10 * time.Second)
			s := c.Node("primary").View().State
			if s.ClusterID() != id || s.ManagementGroup() != "before" {
				t.Errorf("the wiped Primary is in cluster %q with %q, want %q with what was there", s.ClusterID(), s.ManagementGroup(), id)
			}
			if b.Disk("primary").Marked() {
				t.Error("the mark beside state was kept")
			}
		})
	}
}

func TestWipedVoterHasNoVoteUntilItHasCaughtUp(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Crash("secondary")
		b.Wipe("secondary")
		mustSet(t, c.Node("primary"), "while away")
		c.Start("secondary")
		seen := map[string]bool{}
		c.Eventually(5*time.Second, "the secondary votes again", func() bool {
			seen[suffrage(c, "secondary")] = true
			return seen["nonvoter"] && suffrage(c, "secondary") == "voter"
		})
		c.Agree(time.Second)
	})
}

func TestRestartedMemberCatchesUpWithinFiveSecondsHoweverLongItWasAway(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		for _, away := range []time.Duration{time.Second, 20 * time.Second, 10 * time.Minute} {
			c.Crash("secondary")
			time.Sleep(away)
			mustSet(t, c.Node("primary"), away.String())
			c.Start("secondary")
			start := time.Now()
			c.Eventually(5*time.Second, "the secondary has caught up", func() bool {
				return c.Node("secondary").View().State.ManagementGroup() == away.String()
			})
			t.Logf("away %v: caught up after %v", away, time.Since(start))
		}
	})
}

func TestDifferentClustersRefuseAndNeitherIsWiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The secondary's data is a cluster of its own.
		alone := clustertest.Shape{{NodeID: "secondary", Role: cluster.Primary, ClusterAddress: "secondary:8086"}}
		foreign := clustertest.NewMemory(alone)
		first := clustertest.NewOver(t, alone, foreign)
		first.Start()
		first.Leader(10 * time.Second)
		mustSet(t, first.Node("secondary"), "theirs")
		first.Crash("secondary")

		c, b := clustertest.New(t, clustertest.Pair)
		b.Disk("primary").Mark()
		c.Start("primary")
		c.Leader(10 * time.Second)
		mustSet(t, c.Node("primary"), "ours")
		b.SetDisk("secondary", foreign.Disk("secondary"))
		theirs := clustertest.NewOver(t, clustertest.Pair, b) // it leads its own cluster, beside ours
		theirs.Start("secondary")
		c.Eventually(10*time.Second, "both say so", func() bool {
			return strings.Contains(c.Node("primary").View().Alarm, "another cluster") &&
				strings.Contains(theirs.Node("secondary").View().Alarm, "another cluster")
		})
		time.Sleep(time.Minute)
		if got := c.Node("primary").Health().Voters; got != 1 {
			t.Errorf("the primary has %d voters, want itself alone", got)
		}
		if got := c.Node("primary").View().State.ManagementGroup(); got != "ours" {
			t.Errorf("the primary's state: got %q", got)
		}
		theirs.Crash("secondary")
		// Its data is still what it was.
		b2 := clustertest.NewMemory(alone)
		b2.SetDisk("secondary", foreign.Disk("secondary"))
		again := clustertest.NewOver(t, alone, b2)
		again.Start()
		again.Leader(10 * time.Second)
		if got := again.Node("secondary").View().State.ManagementGroup(); got != "theirs" {
			t.Errorf("the secondary's state: got %q", got)
		}
	})
}

// What is known of a member is half a second old. In a burst that is hundreds of entries, none of which it lacks.
func TestTransferInABurstIsNotRefusedForWhatTheOtherOneHadBefore(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		for i := range 200 {
			mustSet(t, c.Node("primary"), "burst "+strconv.Itoa(i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := c.Node("primary").Transfer(ctx, "secondary", askedFor); err != nil {
			t.Error(err)
		}
		for i := range 200 {
			mustSet(t, c.Node("secondary"), "burst "+strconv.Itoa(i))
		}
		if err := c.Stop("secondary"); err != nil { // a planned stop hands over, too
			t.Error(err)
		}
		if got := c.Node("primary").View().State.Changes()[0].Cause; got != string(cluster.CauseStop) {
			t.Errorf("leadership changed for %q, want for the stop", got)
		}
	})
}

// A transfer to a member that lags leaves raft refusing all proposals for ever (hashicorp/raft#696).
func TestTransferToAMemberThatCannotLeadIsRefusedAndHarmless(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Isolate("secondary")
		time.Sleep(3 * time.Second)
		before := len(c.Leads())
		if err := c.Node("primary").Transfer(t.Context(), "secondary", askedFor); err == nil || !strings.Contains(err.Error(), "out of contact") {
			t.Errorf("transfer to a member out of contact: got %v", err)
		}
		mustSet(t, c.Node("primary"), "after")
		if got := len(c.Leads()); got != before {
			t.Errorf("lead was stopped for nothing: %d calls, before %d", got, before)
		}
	})
}

func TestTransferWhileTheLinkIsCutLeavesALeader(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Isolate("secondary") // not known yet
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Node("primary").Transfer(ctx, "secondary", askedFor); err == nil {
			t.Error("transfer over a cut link: got no error")
		}
		c.Leader(10*time.Second, "secondary")
		mustSet(t, c.Node("primary"), "after")
	})
}

func TestWitnessBringsTheLaggingOneUpToDateAndHandsOver(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Isolate("secondary")
		for range 300 {
			mustSet(t, c.Node("primary"), "only on two")
		}
		mustSet(t, c.Node("primary"), "newest")
		c.Crash("primary")
		c.Heal("secondary")
		if got := c.Leader(2500 * time.Millisecond); got != "secondary" {
			t.Errorf("leader: got %s, want the secondary", got)
		}
		if got := c.Node("secondary").View().State.ManagementGroup(); got != "newest" {
			t.Errorf("the secondary leads with %q, want what the witness alone had", got)
		}
		for _, l := range c.Leads() {
			if l.Node == "witness" {
				t.Error("the witness ran lead")
			}
		}
	})
}

// raft takes a wiped voter for one like any other, until it is told otherwise.
func TestWitnessDoesNotHandOverToAWipedVoter(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Isolate("secondary")
		mustSet(t, c.Node("primary"), "newest") // on the witness, too, which therefore must win
		c.Crash("primary")
		b.Wipe("primary")
		c.Start("primary")
		c.Heal("secondary")
		if got := c.Leader(10 * time.Second); got != "secondary" {
			t.Errorf("leader: got %s, want the secondary", got)
		}
		c.Voters(3, 10*time.Second)
		c.Agree(time.Second)
		if got := c.Node("primary").View().State.ManagementGroup(); got != "newest" {
			t.Errorf("the wiped node came back with %q", got)
		}
	})
}

func TestWitnessAloneNeverLeads(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Crash("primary")
		c.Crash("secondary")
		time.Sleep(time.Minute)
		if v := c.Node("witness").View(); v.Leader != "" || v.Leading {
			t.Errorf("the witness alone: got leader %q, leading %v", v.Leader, v.Leading)
		}
		c.Start("secondary")
		if got := c.Leader(20 * time.Second); got != "secondary" {
			t.Errorf("leader once the secondary is back: got %s", got)
		}
	})
}

func TestOneWayLinkLeavesOneLeader(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		for _, cut := range [][2]string{{"primary", "secondary"}, {"secondary", "primary"}, {"primary", "witness"}, {"witness", "primary"}} {
			b.Net.CutOneWay(cut[0], cut[1])
			time.Sleep(10 * time.Second)
			mustSet(t, c.Node(c.Leader(10*time.Second)), "cut "+cut[0]+" "+cut[1])
			b.Net.Heal(cut[0], cut[1])
			c.Agree(10 * time.Second)
		}
	})
}

func TestCrashOfTheLeaderIsSurvivedWithinTwoSeconds(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		for range 10 {
			leader := c.Leader(10 * time.Second)
			start := time.Now()
			c.Crash(leader)
			c.Leader(2500*time.Millisecond, leader)
			t.Logf("%s crashed, another leads after %v", leader, time.Since(start))
			c.Start(leader)
			c.Agree(10 * time.Second)
			time.Sleep(5 * time.Second)
		}
	})
}

// raft's own shutdown waits for reads that have no deadline: with a peer that swallows everything it took a minute.
func TestCloseIsBoundedThoughPeersSwallowEverything(t *testing.T) {
	for _, id := range []string{"primary", "secondary", "witness"} {
		three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
			c.Isolate(id)
			time.Sleep(100 * time.Millisecond) // what is on its way hangs
			begun := time.Now()
			c.Crash(id)
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("closing %s took %v", id, took)
			}
		})
	}
}
