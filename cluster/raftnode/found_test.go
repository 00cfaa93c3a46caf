package raftnode_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// What the random schedules have found, one test each.

func TestRaftStartedAnewAppliesNothingTwice(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		mustPropose(t, c.Node("primary"), state.Commit{Pipeline: "p", Parked: []state.Parked{{Key: alert.ID{1}, At: time.Now(), Reason: "x"}}})
		mustPropose(t, c.Node("primary"), state.Unpark{Pipeline: "p", Keys: []alert.ID{{1}}})
		b.Jump("primary", time.Hour) // its raft is started anew
		time.Sleep(time.Second)      // once it has looked
		c.Leader(10 * time.Second)
		mustSet(t, c.Node("primary"), "after")
		c.Agree(10 * time.Second)
	})
}

// A node that was just started has applied nothing of its log: what it hands over is read from there.
func TestNodeThatYieldsRightAfterItsStartHandsOverWhatItsLogHolds(t *testing.T) {
	pair(t, "operator", func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Isolate("primary")
		time.Sleep(5 * time.Second)
		mustPropose(t, c.Node("primary"), state.Commit{Pipeline: "p", Parked: []state.Parked{{Key: alert.ID{1}, At: time.Now(), Reason: "x"}}})
		c.AllowOverlap(true)
		if err := c.TakeOver(t.Context(), "secondary", "alice", false); err != nil {
			t.Fatal(err)
		}
		c.Crash("primary")
		c.Heal("primary")
		c.Start("primary")
		c.Voters(2, 10*time.Second)
		c.Agree(time.Second)
		if !c.Node("secondary").View().State.HasParked("p", alert.ID{1}) {
			t.Error("the parked entry is lost")
		}
	})
}

func TestNodeKilledWhileItIsTakenInIsTakenInAtItsNextStart(t *testing.T) {
	for d := time.Duration(0); d < 3*time.Second; d += 200 * time.Millisecond { // what it is to be is kept in steps
		bubble(t, clustertest.Pair, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			b.Disk("primary").Mark()
			c.Start("primary")
			c.Leader(20 * time.Second)
			c.Start("secondary")
			b.Disk("secondary").Slow(400 * time.Millisecond)
			c.Eventually(20*time.Second, "the secondary is taken in", func() bool { return suffrage(c, "secondary") != "none" })
			time.Sleep(d)
			c.Crash("secondary")
			b.Disk("secondary").Heal()
			c.Start("secondary")
			c.Voters(2, 10*time.Second)
		})
	}
}

// raft gives a handover up although the heir, told to stand for election, is being elected: it does so without regard to the lease.
func TestHandoverThatIsGivenUpTooSoonLeavesOneLeader(t *testing.T) {
	for by := 50 * time.Millisecond; by <= 500*time.Millisecond; by += 50 * time.Millisecond {
		bubble(t, clustertest.Three, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			b.Timing = "fast"
			c.Start()
			c.Leader(10 * time.Second)
			c.Voters(3, 10*time.Second)
			b.Disk("primary").Slow(by)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c.Node("secondary").Transfer(ctx, "secondary", askedFor) //nolint:errcheck // with such a disk it may well fail
			b.Disk("primary").Heal()
			c.Leader(20 * time.Second)
			mustSet(t, c.Node("witness"), "after")
			c.Agree(20 * time.Second)
		})
	}
}

// raft looks at its lease in the goroutine that hangs.
func TestLeaderWhoseDiskHangsWhenItsLinkIsCutEndsWithItsLease(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Disk("primary").Slow(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		go set(ctx, c.Node("primary"), "during") //nolint:errcheck // it only makes the leader write
		time.Sleep(100 * time.Millisecond)
		cut := time.Now()
		c.Isolate("primary")
		c.Leader(10*time.Second, "primary")
		for _, l := range c.Leads() {
			if l.Node == "primary" && l.Ended.Sub(cut) > 500*time.Millisecond {
				t.Errorf("the old leader ended %v after its link was cut", l.Ended.Sub(cut))
			}
		}
	})
}

// The older copy knows the other one as it was then.
func TestOlderCopyForgetsWhatItKnewOfOthers(t *testing.T) {
	bubble(t, clustertest.Pair, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.PairTakeover = "operator"
		copyOf := func(id string) *clustertest.Disk {
			c.Crash(id)
			old := b.Disk(id).Clone()
			c.Start(id)
			return old
		}
		replace := func(id string, old *clustertest.Disk) {
			c.Crash(id)
			b.SetDisk(id, old)
			c.Start(id)
			c.Voters(2, time.Minute)
			c.Agree(10 * time.Second)
		}
		c.Start("secondary")
		empty := copyOf("secondary")
		c.Start("primary")
		c.Leader(20 * time.Second)
		c.Voters(2, 20*time.Second)
		old := copyOf("primary")
		c.Leader(20 * time.Second)
		c.Voters(2, 20*time.Second)
		if c.Leader(time.Second) == "secondary" {
			if err := c.Node("primary").Transfer(t.Context(), "primary", askedFor); err != nil {
				t.Fatal(err)
			}
		}
		replace("secondary", empty)
		if err := c.Node("secondary").Transfer(t.Context(), "secondary", askedFor); err != nil {
			t.Fatal(err)
		}
		replace("primary", old)
	})
}

func TestOlderCopyOfASoleVoterDoesNotLeadBesideTheLeader(t *testing.T) {
	for _, timing := range []string{"fast", "lan"} {
		bubble(t, clustertest.Three, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			b.Timing = timing
			b.Disk("primary").Mark()
			c.Start("primary")
			c.Leader(10 * time.Second)
			c.Crash("primary")
			old := b.Disk("primary").Clone()
			c.Start()
			c.Leader(20 * time.Second)
			c.Voters(3, 10*time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := c.Node("secondary").Transfer(ctx, "secondary", askedFor); err != nil {
				t.Fatal(err)
			}
			mustSet(t, c.Node("secondary"), "newest")
			c.Crash("primary")
			b.SetDisk("primary", old)
			c.Start("primary")
			c.Voters(3, 20*time.Second)
			c.Agree(time.Second)
			if got := c.Node("primary").View().State.ManagementGroup(); got != "newest" {
				t.Errorf("management group: got %q", got)
			}
		})
	}
}

// What is applied of the log after raft was started anew is an older epoch.
func TestEpochIsBegunOnceThoughRaftWasStartedAnew(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Crash("primary")
		c.Leader(10*time.Second, "primary") // by a takeover, which leaves a snapshot
		c.Start("primary")
		c.Voters(2, 10*time.Second)
		c.Crash("primary")
		c.Eventually(5*time.Second, "the secondary goes on alone", func() bool { return c.Node("secondary").View().Token.Epoch.Number == 3 })
		c.Start("primary")
		c.Voters(2, 10*time.Second)
		c.Crash("primary")
		b.Jump("secondary", time.Hour)
		c.Eventually(20*time.Second, "a new epoch", func() bool {
			return c.Node("secondary").View().Leading && c.Node("secondary").View().Token.Epoch.Number != 3
		})
		mustSet(t, c.Node("secondary"), "alone")
		if got := c.Node("secondary").View().Token.Epoch; got.Number != 4 || got.Node != "secondary" {
			t.Errorf("epoch: got %+v, want the fourth", got)
		}
	})
}

// A node that was taken in a moment ago holds nothing: what it had decided would have kept it out for ever.
func TestNodeThatHoldsNothingYetDoesNotTakeOver(t *testing.T) {
	bubble(t, clustertest.Pair, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.PairTakeover = "operator"
		b.Disk("primary").Mark()
		c.Start("primary")
		c.Leader(20 * time.Second)
		b.Disk("secondary").Slow(3 * time.Second)
		c.Start("secondary")
		c.Eventually(20*time.Second, "the secondary is taken in", func() bool { return suffrage(c, "secondary") != "none" })
		c.Crash("primary")
		if err := c.TakeOver(t.Context(), "secondary", "alice", true); err == nil || !strings.Contains(err.Error(), "nothing to go on with") {
			t.Errorf("takeover: got %v, want it refused", err)
		}
		b.Disk("secondary").Heal()
		c.Start("primary")
		c.Voters(2, time.Minute)
	})
}

// Nobody else can go on alone while a claim is not used.
func TestClaimOfANodeThatIsKilledBeforeItUsesItIsUsedAtItsNextStart(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Claims.Slow("secondary", 2500*time.Millisecond) // the claim is made after all, and nobody is told
		c.Crash("primary")
		time.Sleep(6 * time.Second)
		if v := c.Node("secondary").View(); v.Leading {
			t.Fatal("the secondary knows of its claim: this tests nothing")
		}
		c.Crash("secondary")
		b.Claims.Slow("secondary", 0)
		c.Start()
		c.Eventually(30*time.Second, "the claim is used", func() bool { return c.Node("primary").View().Token.Epoch.Number == 2 })
		c.Voters(2, 20*time.Second)
		c.Agree(time.Second)
		c.Crash("secondary")
		if got := c.Leader(10*time.Second, "secondary"); got != "primary" {
			t.Errorf("leader: got %s", got)
		}
		mustSet(t, c.Node("primary"), "alone")
	})
}

// The first entries of a log know this node as the only voter. While they are all that has come, it must not act on them: it elected
// itself, and what the others had was gone.
func TestNodeThatHoldsOnlyTheBeginningOfTheLogNeverLeads(t *testing.T) {
	for _, takeover := range []string{"operator", "claim", "availability"} {
		bubble(t, clustertest.Pair, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			b.PairTakeover = takeover
			b.Disk("primary").Mark()
			c.Start("primary")
			c.Leader(20 * time.Second)
			for i := range 100 {
				mustSet(t, c.Node("primary"), "entry "+strconv.Itoa(i))
			}
			c.Start("secondary")
			c.Voters(2, 10*time.Second)
			c.Agree(time.Second)
			time.Sleep(time.Second)
			if err := c.Node("primary").Transfer(t.Context(), "secondary", askedFor); err != nil {
				t.Fatal(err)
			}
			c.Crash("primary")
			mustSetWithin(t, c.Node("secondary"), "newest", 5*time.Second)
			b.Wipe("primary")
			b.Disk("primary").Slow(400 * time.Millisecond)
			c.Start("primary")
			c.Eventually(20*time.Second, "the first entries have come", func() bool { return suffrage(c, "primary") == "voter" })
			c.Crash("secondary")
			b.Disk("primary").Heal()
			for range 2 { // what it knows of this outlives its process
				for range 300 {
					if c.Node("primary").View().Leading {
						t.Fatal("a node that was only being sent the cluster's data leads")
					}
					time.Sleep(100 * time.Millisecond)
				}
				c.Crash("primary")
				c.Start("primary")
			}
			if err := c.TakeOver(t.Context(), "primary", "alice", false); err == nil || !strings.Contains(err.Error(), "beginning") {
				t.Errorf("takeover without force: got %v, want it to say what this node holds", err)
			}
			c.Start("secondary")
			c.Voters(2, time.Minute)
			c.Agree(time.Second)
			if got := c.Node("primary").View().State.ManagementGroup(); got != "newest" {
				t.Errorf("the newest entry: got %q", got)
			}
			c.Crash("secondary")
			if takeover != "operator" { // it has all by now
				c.Eventually(time.Minute, "the primary takes over", func() bool { return c.Node("primary").View().Leading })
			}
		})
	}
}

// The claim of an epoch was this folder's once, but not this copy's.
func TestOlderCopyDoesNotUseAClaimOnceMore(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		alone := func(epoch uint64) {
			c.Crash("primary")
			c.Eventually(10*time.Second, "the secondary goes on alone", func() bool {
				v := c.Node("secondary").View()
				return v.Leading && v.Token.Epoch.Number == epoch
			})
		}
		alone(2)
		c.Crash("secondary")
		old := b.Disk("secondary").Clone()
		c.Start()
		c.Voters(2, 30*time.Second)
		alone(3)
		mustSet(t, c.Node("secondary"), "newest")
		c.Start("primary")
		c.Voters(2, 30*time.Second)
		c.Agree(time.Second)
		c.Crash("primary")
		c.Crash("secondary")
		b.SetDisk("secondary", old)
		c.Start("secondary")
		time.Sleep(30 * time.Second)
		if v := c.Node("secondary").View(); v.Leading || !strings.Contains(v.Waiting, "older copy") {
			t.Fatalf("the older copy: leading %v, says %q", v.Leading, v.Waiting)
		}
		c.Start("primary")
		time.Sleep(5 * time.Second)
		if err := c.TakeOver(t.Context(), "primary", "alice", true); err != nil { // whose vote the other one would need is gone
			t.Fatal(err)
		}
		c.Voters(2, 30*time.Second)
		c.Agree(time.Second)
		if got := c.Node("secondary").View().State.ManagementGroup(); got != "newest" {
			t.Errorf("the newest entry: got %q", got)
		}
	})
}

// The share answers late: the claim is won when the other node leads again, by this node's own vote.
func TestClaimThatIsWonLateWaitsForTheLeaderOfTheMeantimeToStop(t *testing.T) {
	for d := time.Duration(0); d < 4*time.Second; d += 100 * time.Millisecond {
		pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			b.Claims.Unreachable("primary", true)
			b.Claims.Slow("secondary", 1500*time.Millisecond)
			c.Isolate("primary")
			time.Sleep(3500 * time.Millisecond)
			c.Heal("primary")
			time.Sleep(d)
			b.Claims.Slow("secondary", 0)
			c.Isolate("primary") // two that lead at once are the watch's to find
			c.Eventually(30*time.Second, "the claim is used", func() bool {
				v := c.Node("secondary").View()
				return v.Leading && v.Token.Epoch.Number == 2
			})
			c.Heal("primary")
			b.Claims.Unreachable("primary", false)
			c.Voters(2, time.Minute)
			c.Agree(time.Second)
		})
	}
}

// A node that is killed between the end of one raft and the start of the next is not an empty one, whatever its sibling holds.
func TestNodeKilledWhileItTakesOverFormsNoClusterOfItsOwn(t *testing.T) {
	for d := 100 * time.Millisecond; d < 3*time.Second; d += 100 * time.Millisecond {
		pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			c.Crash("secondary")
			mustSetWithin(t, c.Node("primary"), "alone", 5*time.Second)
			b.Wipe("secondary")
			b.Disk("primary").Slow(400 * time.Millisecond)
			b.Jump("primary", time.Hour) // its raft is started anew, and a claim is made before the sibling was waited for
			time.Sleep(2300 * time.Millisecond)
			c.Start("secondary")
			time.Sleep(d)
			c.Crash("primary")
			b.Disk("primary").Heal()
			c.Start("primary")
			c.Voters(2, time.Minute)
			c.Agree(10 * time.Second)
			if got := c.Node("secondary").View().State.ManagementGroup(); got != "alone" {
				t.Errorf("management group: got %q", got)
			}
		})
	}
}

// Who led last, and goes on in a higher epoch, may do so on an older copy of its data, noticed or not: what it has lost must not go with
// the node that still has it.
func TestNodeThatYieldsToAnOlderCopyOfItsLeaderHandsOver(t *testing.T) {
	for what, starts := range map[string]int{"at a start number that was another process's": 1, "unnoticed": 2} {
		t.Run(what, func(t *testing.T) {
			pair(t, "operator", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
				if err := c.Node("primary").Transfer(t.Context(), "secondary", askedFor); err != nil {
					t.Fatal(err)
				}
				c.Agree(time.Second)
				c.Crash("secondary")
				old := b.Disk("secondary").Clone()
				c.Start("secondary")
				c.Leader(20*time.Second, "primary")
				c.Voters(2, 10*time.Second)
				mustPropose(t, c.Node("secondary"), state.Commit{Pipeline: "p", Parked: []state.Parked{{Key: alert.ID{1}, At: time.Now(), Reason: "x"}}})
				c.Agree(time.Second)
				c.Crash("primary")
				c.Crash("secondary")
				b.SetDisk("secondary", old)
				for i := range starts {
					if i > 0 {
						c.Crash("secondary")
					}
					c.Start("secondary")
				}
				c.AllowOverlap(true)
				if err := c.TakeOver(t.Context(), "secondary", "alice", true); err != nil {
					t.Fatal(err)
				}
				for i := range 10 { // past what the other one has
					mustSet(t, c.Node("secondary"), "alone "+strconv.Itoa(i))
				}
				c.Start("primary")
				c.Voters(2, time.Minute)
				c.AllowOverlap(false)
				c.Agree(10 * time.Second)
				if !c.Node("secondary").View().State.HasParked("p", alert.ID{1}) {
					t.Error("the parked entry that only the node that yielded had is lost")
				}
				if got := len(c.Node("primary").View().Archives); got != 1 {
					t.Errorf("archives of the node that yielded: got %d", got)
				}
			})
		})
	}
}

// In a pair with claims each restart of the other node is a new epoch. It hands over nothing then: what was removed meanwhile would be
// there again. Until it was taken in, its archive is its only copy.
func TestRestartInAPairWithClaimsHandsOverNothingAndKeepsACopyUntilItWasTakenIn(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		archives := func() int { return len(c.Node("primary").View().Archives) }
		alone := func(epoch uint64) {
			c.Crash("primary")
			c.Eventually(10*time.Second, "the secondary goes on alone", func() bool {
				v := c.Node("secondary").View()
				return v.Leading && v.Token.Epoch.Number == epoch
			})
		}
		alone(2) // by a takeover
		c.Start("primary")
		c.Voters(2, 10*time.Second)
		c.Agree(10 * time.Second)
		before := len(c.Node("secondary").View().State.Notes())
		put := archives() // what only it could have had
		mustPropose(t, c.Node("secondary"), state.Commit{Pipeline: "p", Parked: []state.Parked{{Key: alert.ID{1}, At: time.Now(), Reason: "x"}}})
		c.Agree(time.Second)
		alone(3) // as the leader
		mustPropose(t, c.Node("secondary"), state.Unpark{Pipeline: "p", Keys: []alert.ID{{1}}})
		c.Start("primary")
		c.Eventually(10*time.Second, "the state was put aside", func() bool { return archives() == put+1 })
		c.Crash("secondary")
		c.Crash("primary")
		c.Start("primary")
		time.Sleep(10 * time.Second)
		if got := archives() - put; got != 1 {
			t.Errorf("copies of a node that has nothing yet: got %d", got)
		}
		c.Start("secondary")
		c.Voters(2, time.Minute)
		c.Agree(10 * time.Second)
		c.Eventually(5*time.Second, "the copy is dropped", func() bool { return archives() == put })
		if st := c.Node("secondary").View().State; st.HasParked("p", alert.ID{1}) || len(st.Notes()) != before {
			t.Errorf("the entry that was removed is there again: %v; notes: %d, before %d", st.HasParked("p", alert.ID{1}), len(st.Notes()), before)
		}
	})
}
