package raftnode_test

import (
	"strings"
	"testing"
	"time"

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
				seen := map[string]bool{}
				c.Eventually(10*time.Second, "the restored node votes again", func() bool {
					seen[suffrage(c, "secondary")] = true
					return seen["nonvoter"] && suffrage(c, "secondary") == "voter"
				})
				c.Agree(time.Second)
				if got := len(c.Node("secondary").View().Archives); got != 1 {
					t.Errorf("archives: got %d, want the copy that was put aside", got)
				}
			})
		})
	}
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

// What was copied before the folder was wiped comes back under the incarnation that it had then.
func TestCopyFromBeforeAWipeIsPutAsideToo(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		mustSet(t, c.Node("primary"), "before the copy")
		c.Agree(time.Second)
		c.Crash("secondary")
		old := b.Disk("secondary").Clone()
		b.Wipe("secondary")
		c.Start("secondary")
		c.Eventually(10*time.Second, "the wiped node votes", func() bool { return suffrage(c, "secondary") == "voter" })
		known(c, "secondary")
		mustSet(t, c.Node("primary"), "after the copy")
		c.Agree(time.Second)
		time.Sleep(time.Second)
		c.Crash("secondary")
		b.SetDisk("secondary", old)
		c.Start("secondary")
		seen := map[string]bool{}
		c.Eventually(10*time.Second, "the restored node votes again", func() bool {
			seen[suffrage(c, "secondary")] = true
			return seen["nonvoter"] && suffrage(c, "secondary") == "voter"
		})
		c.Agree(time.Second)
	})
}
