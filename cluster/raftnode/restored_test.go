package raftnode_test

import (
	"strings"
	"testing"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
)

// An older copy of a data folder has forgotten votes and entries. It must not vote before it has caught up, and its start number gives
// it away.
func TestRestoredCopyIsPutAsideAndHasNoVoteUntilItHasCaughtUp(t *testing.T) {
	for name, copyAt := range map[string]func(c *clustertest.Cluster){
		"two starts ago": func(c *clustertest.Cluster) {
			for range 2 {
				c.Start("secondary")
				known(c, "secondary")
				c.Crash("secondary")
			}
		},
		"the start before": func(c *clustertest.Cluster) {
			c.Start("secondary")
			known(c, "secondary")
			c.Crash("secondary")
		},
		"same start, log cut short": func(c *clustertest.Cluster) {},
	} {
		t.Run(name, func(t *testing.T) {
			three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
				mustSet(t, c.Node("primary"), "before the copy")
				c.Agree(time.Second)
				c.Crash("secondary")
				old := b.Disk("secondary").Clone()
				if name == "same start, log cut short" {
					c.Start("secondary") // at the very start number that the copy will have
					mustSet(t, c.Node("primary"), "after the copy")
					c.Agree(10 * time.Second)
					time.Sleep(time.Second)
					c.Crash("secondary")
				}
				copyAt(c)
				mustSet(t, c.Node("primary"), "after the copy")
				b.SetDisk("secondary", old)
				c.Start("secondary")
				votesAnew(c, "secondary")
				c.Agree(time.Second)
				if got := len(c.Node("secondary").View().Archives); got != 1 {
					t.Errorf("archives: got %d, want the copy that was put aside", got)
				}
			})
		})
	}
}

// votesAnew waits until the node has lost its vote and got it back: at first all still take it for the voter that it was.
func votesAnew(c *clustertest.Cluster, id string) {
	lost := false
	c.Eventually(10*time.Second, id+" loses its vote and gets it back", func() bool {
		now := suffrage(c, id)
		lost = lost || now == "nonvoter"
		return lost && now == "voter"
	})
}

// known waits until the others have heard of the node's present start.
func known(c *clustertest.Cluster, id string) {
	start := c.Node(id).View().Start
	c.Eventually(10*time.Second, "the others know the present start of "+id, func() bool {
		for _, o := range []string{"primary", "witness"} {
			for _, m := range c.Node(o).View().Members {
				if m.NodeID == id && m.Start != start {
					return false
				}
			}
		}
		return true
	})
}

// Two machines on copies of one folder: the second is refused, and both sides say so.
func TestCloneBesideTheOriginalIsRefusedWithAnAlarm(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Crash("secondary")
		twin := clustertest.NewMemory(b.Shape)
		twin.Net = b.Net
		twin.SetDisk("secondary", b.Disk("secondary").Clone())
		c.Start("secondary")
		known(c, "secondary")
		twin.Host = "elsewhere"
		clone := clustertest.NewOver(t, b.Shape, twin)
		clone.Start("secondary")
		c.Eventually(10*time.Second, "an alarm on the leader", func() bool {
			return strings.Contains(c.Node("primary").View().Alarm, "two processes")
		})
		mustSet(t, c.Node("primary"), "meanwhile")
		if v := clone.Node("secondary").View(); v.Leader != "" || v.Leading {
			t.Errorf("the clone takes part: leader %q", v.Leader)
		}
		clone.Crash("secondary")
		c.Eventually(2*time.Minute, "the alarm ends", func() bool { return c.Node("primary").View().Alarm == "" })
		c.Voters(3, time.Second)
		c.Agree(time.Second)
	})
}

// A clone that is started while the original is away is no second process yet, and is greeted. What it was granted by then ends once
// the original is back: it could vote, and be elected, beside it.
func TestCloneThatCameWhileTheOriginalWasAwayIsRefusedOnceItIsBack(t *testing.T) {
	bubble(t, clustertest.Three, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.WriteDeadline = 10 * time.Minute // an idle leader commits nothing meanwhile: the clone has all that it takes to be elected
		c.Start()
		c.Leader(10 * time.Second)
		c.Voters(3, 10*time.Second)
		c.Agree(time.Second)
		c.Crash("secondary")
		c.Eventually(10*time.Second, "the leader misses the secondary", func() bool { return member(t, c, "primary", "secondary").Fault != "" })
		twin := clustertest.NewMemory(b.Shape)
		twin.Net, twin.Host = b.Net, "elsewhere"
		twin.SetDisk("secondary", b.Disk("secondary").Clone())
		clone := clustertest.NewOver(t, b.Shape, twin)
		clone.Start("secondary")
		clone.Eventually(10*time.Second, "the clone is in contact with the others", func() bool {
			return inContact(member(t, clone, "secondary", "primary")) && inContact(member(t, clone, "secondary", "witness"))
		})
		time.Sleep(10 * time.Second) // it has asked them for their votes
		c.Start("secondary")
		for _, id := range []string{"primary", "witness"} {
			c.Eventually(10*time.Second, "an alarm on the "+id, func() bool {
				return strings.Contains(c.Node(id).View().Alarm, "two processes")
			})
		}
		clone.Eventually(time.Second, "the clone is told", func() bool {
			return strings.Contains(member(t, clone, "secondary", "primary").Fault, "cloned")
		})
		c.Crash("primary")
		c.Crash("secondary")
		time.Sleep(10 * time.Second)
		if v := clone.Node("secondary").View(); v.Leader != "" || v.Leading {
			t.Errorf("the clone takes part: leader %q", v.Leader)
		}
		c.Start("secondary")
		if got := c.Leader(10 * time.Second); got != "secondary" {
			t.Errorf("%s leads once the secondary is back, want the secondary", got)
		}
	})
}

func member(t *testing.T, c *clustertest.Cluster, of, id string) cluster.MemberView {
	t.Helper()
	for _, m := range c.Node(of).View().Members {
		if m.NodeID == id {
			return m
		}
	}
	t.Fatalf("%s knows no %s", of, id)
	return cluster.MemberView{}
}

func inContact(m cluster.MemberView) bool { return m.Fault == "" && !m.LastContact.IsZero() }

// What was copied before the folder was wiped comes back under the incarnation that it had then.
func TestCopyFromBeforeAWipeIsPutAsideToo(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		mustSet(t, c.Node("primary"), "before the copy")
		c.Agree(time.Second)
		c.Crash("secondary")
		old := b.Disk("secondary").Clone()
		b.Wipe("secondary")
		c.Start("secondary")
		votesAnew(c, "secondary")
		known(c, "secondary")
		mustSet(t, c.Node("primary"), "after the copy")
		c.Agree(time.Second)
		time.Sleep(time.Second)
		c.Crash("secondary")
		b.SetDisk("secondary", old)
		c.Start("secondary")
		votesAnew(c, "secondary")
		c.Agree(time.Second)
	})
}
