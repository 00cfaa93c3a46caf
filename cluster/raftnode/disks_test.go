package raftnode_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
)

// Disks that hang, break, are full, or nearly.

// A leader whose disk hangs keeps its leadership, since heartbeats need no disk (hashicorp/raft#503).
func TestHungDiskEndsTheProcessAndAnotherLeads(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("primary").Slow(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go set(ctx, c.Node("secondary"), "during") //nolint:errcheck // it only makes the leader write
		err := c.Gone("primary", time.Minute)
		if err == nil || !strings.Contains(err.Error(), "has not ended within") {
			t.Errorf("Run: got %v, want the write deadline", err)
		}
		c.Leader(10*time.Second, "primary")
		mustSet(t, c.Node("witness"), "after")
	})
}

func TestIdleLeaderWithHungDiskIsFoundByTheCommitWatchdog(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("primary").Slow(time.Hour)
		if err := c.Gone("primary", time.Minute); err == nil {
			t.Error("Run: got no error")
		}
		c.Leader(10*time.Second, "primary")
	})
}

func TestBrokenDiskEndsTheProcess(t *testing.T) {
	for _, id := range []string{"primary", "secondary"} {
		three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			b.Disk(id).Break()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			go set(ctx, c.Node("witness"), "during") //nolint:errcheck // it only makes both write
			err := c.Gone(id, time.Minute)
			if err == nil || !strings.Contains(err.Error(), "input/output error") {
				t.Errorf("Run of %s: got %v, want the disk's error", id, err)
			}
			b.Disk(id).Heal()
			c.Start(id)
			mustSet(t, c.Node(id), "after")
			c.Agree(10 * time.Second)
		})
	}
}

func TestFullDiskOfTheLeaderGivesLeadershipAway(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("primary").Full(0)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		go set(ctx, c.Node("witness"), "during") //nolint:errcheck // it only makes the leader write
		if got := c.Leader(10*time.Second, "primary"); got != "secondary" {
			t.Errorf("leader: got %s, want the secondary", got)
		}
		mustSet(t, c.Node("witness"), "after")
	})
}

// A node without room on its disk looks alive, stands for election and can do nothing: it must end
// and say so, unless there is room again soon.
func TestFullDiskThatStaysFullEndsTheProcess(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("secondary").Full(0)
		mustSet(t, c.Node("primary"), "written while the disk is full")
		err := c.Gone("secondary", time.Minute)
		if err == nil || !strings.Contains(err.Error(), "free space") {
			t.Errorf("Run: got %v, want the full disk and what to do", err)
		}
		mustSet(t, c.Node("primary"), "after")
	})
}

func TestFullDiskThatIsFreedInTimeIsForgotten(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("secondary").Full(0)
		mustSet(t, c.Node("primary"), "written while the disk is full")
		time.Sleep(5 * time.Second)
		if fault := c.Node("secondary").Health().StoreFault; !strings.Contains(fault, "write to the store") {
			t.Errorf("StoreFault while the disk is full: %q", fault)
		}
		b.Disk("secondary").Heal()
		mustSet(t, c.Node("primary"), "written after")
		time.Sleep(time.Minute)
		if fault := c.Node("secondary").Health().StoreFault; fault != "" {
			t.Errorf("StoreFault after the disk was freed: %q", fault)
		}
		mustSet(t, c.Node("primary"), "after")
	})
}

// Every node, and so every page, says whose disk is about to be full, before it is.
func TestDiskThatIsNearlyFullIsKnownToAllBeforeItIsFull(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		known := func(want bool) func() bool {
			return func() bool {
				for _, id := range []string{"primary", "secondary", "witness"} {
					v := c.Node(id).View()
					i := slices.IndexFunc(v.Members, func(m cluster.MemberView) bool { return m.NodeID == "secondary" })
					if (v.Members[i].Space != "") != want || strings.Contains(v.Alarm, "secondary: the disk that holds DataDir has only 10 MB left") != want {
						return false
					}
				}
				return true
			}
		}
		b.Disk("secondary").NearlyFull(true)
		c.Eventually(5*time.Second, "all know", known(true))
		b.Disk("secondary").NearlyFull(false)
		c.Eventually(5*time.Second, "all know that it is over", known(false))
	})
}

// A full disk that answers writes of votes but not of entries must not have its node elected again and again.
func TestNodeWithAFullDiskIsNotElected(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("secondary").Full(0)
		mustSet(t, c.Node("primary"), "so that the disk is met")
		time.Sleep(time.Second)
		c.Crash("primary")
		time.Sleep(4 * time.Second)
		for _, l := range c.Leads() {
			if l.Node == "secondary" {
				t.Errorf("a node that can store nothing led term %v", l.Token)
			}
		}
		b.Disk("secondary").Heal()
		c.Start("primary")
		c.Leader(20 * time.Second)
		mustSet(t, c.Node("witness"), "after")
	})
}

// Pipelining wedged a follower whose store failed slowly for a while (hashicorp/raft#612).
func TestFollowerWithSlowlyFailingStoreCatchesUp(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("secondary").Full(15 * time.Millisecond)
		b.Disk("primary").Slow(time.Millisecond)
		var wg sync.WaitGroup
		for range 8 { // so that there is always one more to send
			wg.Go(func() {
				for range 200 {
					set(t.Context(), c.Node("primary"), "during") //nolint:errcheck // "after" is what counts
				}
			})
		}
		wg.Wait()
		b.Disk("secondary").Heal()
		mustSet(t, c.Node("primary"), "after")
		c.Eventually(10*time.Second, "the secondary has caught up", func() bool {
			return c.Node("secondary").View().State.ManagementGroup() == "after"
		})
	})
}

// Heartbeats go on while nothing can be committed, and raft's VerifyLeader is content.
func TestLeaderThatCannotCommitEndsTheProcess(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("secondary").Full(0)
		b.Disk("witness").Full(0)
		err := c.Gone("primary", 2*time.Minute)
		if err == nil || !strings.Contains(err.Error(), "committed nothing") {
			t.Errorf("Run: got %v, want the commit watchdog", err)
		}
	})
}

// What a node measures of its disk is what it tells.
func TestANodeTellsThatItsDiskIsTooSlow(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		n := c.Node("primary")
		for i := range 3 {
			if got := n.Health().Slow; got.Text != "" {
				t.Fatalf("after %d slow writes: says %q", i, got.Text)
			}
			b.Disk("primary").Slow(700 * time.Millisecond)
			mustSetWithin(t, c.Node("secondary"), fmt.Sprint("slow ", i), 10*time.Second)
			time.Sleep(2 * time.Second)
			b.Disk("primary").Slow(0)
			time.Sleep(15 * time.Second)
		}
		if got := n.Health().Slow; !strings.Contains(got.Text, "its disk took 500ms or longer") || !strings.Contains(got.Do, "DataDir") {
			t.Errorf("says %q, do %q; want that its disk is too slow", got.Text, got.Do)
		}
		for _, node := range []string{"primary", "secondary", "witness"} {
			time.Sleep(5 * time.Second) // members are asked how they are
			for _, m := range c.Node(node).View().Members {
				if says := strings.Contains(m.Slow.Text, "its disk took 500ms or longer"); says != (m.NodeID == "primary") {
					t.Errorf("%s shows of %s: %q", node, m.NodeID, m.Slow.Text)
				}
			}
		}
		if got := c.Node("secondary").Health().Slow; got.Text != "" {
			t.Errorf("the other one, whose disk is fast, says %q", got.Text)
		}
	})
}
