package raftnode_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
)

// leadsNot looks on for a minute.
func leadsNot(t *testing.T, c *clustertest.Cluster, id, how string) {
	t.Helper()
	for range 600 {
		if c.Node(id).View().Leading {
			t.Fatalf("%s leads %s", id, how)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// pair is a running strict pair.
func pair(t *testing.T, takeover string, f func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory)) {
	t.Helper()
	bubble(t, clustertest.Pair, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.PairTakeover = takeover
		c.Start()
		c.Leader(10 * time.Second)
		c.Voters(2, 10*time.Second)
		f(t, c, b)
	})
}

var takeovers = []string{"operator", "claim", "availability"}

func eachTakeover(t *testing.T, f func(t *testing.T, takeover string)) {
	for _, mode := range takeovers {
		t.Run(mode, func(t *testing.T) { f(t, mode) })
	}
}

func voters(c *clustertest.Cluster, id string) int { return c.Node(id).Health().Voters }

func mustSetWithin(t *testing.T, n cluster.Coordinator, name string, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	start := time.Now()
	if err := set(ctx, n, name); err != nil {
		t.Fatalf("propose %q within %v: %v", name, within, err)
	}
	t.Logf("%q was committed after %v", name, time.Since(start))
}

func TestPairFollowerKilledLeaderGoesOnWithinItsLease(t *testing.T) {
	eachTakeover(t, func(t *testing.T, mode string) {
		pair(t, mode, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
			c.Crash("secondary")
			mustSetWithin(t, c.Node("primary"), "alone", 2500*time.Millisecond)
			if got := voters(c, "primary"); got != 1 {
				t.Errorf("voters: got %d, want the leader alone", got)
			}
			c.Start("secondary")
			c.Voters(2, 5*time.Second)
			c.Agree(time.Second)
			if got := c.Leader(time.Second); got != "primary" {
				t.Errorf("leader: got %s", got)
			}
		})
	})
}

func TestPairLinkCutLeaderGoesOnAndTakesTheOtherBack(t *testing.T) {
	eachTakeover(t, func(t *testing.T, mode string) {
		pair(t, mode, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
			c.Isolate("secondary")
			mustSetWithin(t, c.Node("primary"), "alone", 2500*time.Millisecond)
			time.Sleep(5 * time.Second) // below availability's patience
			c.Heal("secondary")
			c.Voters(2, 5*time.Second)
			c.Agree(time.Second)
			if got := c.Leader(time.Second); got != "primary" {
				t.Errorf("leader: got %s", got)
			}
		})
	})
}

// Heartbeats go on while the follower can store nothing.
func TestPairFollowersDiskFullLeaderGoesOn(t *testing.T) {
	eachTakeover(t, func(t *testing.T, mode string) {
		pair(t, mode, func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
			b.Disk("secondary").Full(0)
			mustSetWithin(t, c.Node("primary"), "alone", 4*time.Second)
			time.Sleep(3 * time.Second)
			mustSetWithin(t, c.Node("primary"), "still alone", 200*time.Millisecond)
			b.Disk("secondary").Heal()
			if c.Ended("secondary") { // a term could not be kept, which raft does not survive: its service manager starts it anew
				c.Gone("secondary", time.Second) //nolint:errcheck // the reason is the disk
				c.Start("secondary")
			}
			c.Voters(2, time.Minute)
			c.Agree(time.Second)
		})
	})
}

func TestPairPlannedStopHandsOverAndDemotesTheOneThatStopped(t *testing.T) {
	eachTakeover(t, func(t *testing.T, mode string) {
		pair(t, mode, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
			if err := c.Stop("primary"); err != nil {
				t.Errorf("stop: %v", err)
			}
			if got := c.Leader(time.Second); got != "secondary" {
				t.Errorf("leader: got %s", got)
			}
			mustSetWithin(t, c.Node("secondary"), "alone", 2500*time.Millisecond)
			if cause := c.Node("secondary").View().State.Changes()[0].Cause; mode != "claim" && cause != string(cluster.CauseStop) {
				t.Errorf("cause of the change: got %q, want %q", cause, cluster.CauseStop)
			}
			c.Start("primary")
			c.Voters(2, 5*time.Second)
			c.Agree(time.Second)
		})
	})
}

func TestPairOperatorModeLeaderLostStaysDownUntilTakeoverAndTheOldLeaderYields(t *testing.T) {
	pair(t, "operator", func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Isolate("primary")
		mustSetWithin(t, c.Node("primary"), "old leader alone", 3*time.Second)
		time.Sleep(10 * time.Minute)
		s := c.Node("secondary")
		if v := s.View(); v.Leading || v.Leader != "" || !v.Outlook.Possible || !v.Outlook.At.IsZero() {
			t.Fatalf("the survivor: leader %q, outlook %+v, want none, and a takeover offered", v.Leader, v.Outlook)
		}
		c.AllowOverlap(true)
		if err := s.(cluster.Members).TakeOver(t.Context(), "alice", false); err != nil {
			t.Fatalf("takeover: %v", err)
		}
		mustSetWithin(t, s, "survivor", time.Second)
		change := s.View().State.Changes()[0]
		if change.Cause != string(cluster.CauseTakeover) || !strings.Contains(change.Reason, "alice") || change.Token.Epoch.Number != 2 {
			t.Errorf("the change: got %+v", change)
		}
		c.Heal("primary")
		c.Voters(2, 10*time.Second)
		c.AllowOverlap(false)
		c.Agree(time.Second)
		if got := c.Leader(time.Second); got != "secondary" {
			t.Errorf("leader: got %s", got)
		}
		p := c.Node("primary").View()
		if len(p.Archives) != 1 || p.Archives[0].Epoch.Number != 1 {
			t.Errorf("archives of the node that yielded: got %+v", p.Archives)
		}
		if got := s.View().State.ManagementGroup(); got != "survivor" {
			t.Errorf("management group: got %q", got)
		}
	})
}

func TestPairAvailabilityTakesOverAfterItsPatience(t *testing.T) {
	pair(t, "availability", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Crash("primary")
		start := time.Now()
		b.MayTakeOver = func(string) error { return nil } // it is asked ahead, and answers at once
		c.Leader(20*time.Second, "primary")
		if took := time.Since(start); took < 15*time.Second || took > 18*time.Second {
			t.Errorf("took over after %v, want TakeoverAfter (15 s) and at most 3 s", took)
		}
		reason, lost := c.Node("secondary").View().State.Changes()[0].Reason, time.Duration(0)
		if _, text, ok := strings.Cut(reason, "primary was lost for "); ok {
			lost, _ = time.ParseDuration(strings.TrimSuffix(text, " (availability)"))
		}
		if lost < 15*time.Second || lost > 18*time.Second {
			t.Errorf("reason %q, want the time that it really took", reason)
		}
		c.Start("primary")
		c.Voters(2, 10*time.Second)
		c.Agree(time.Second)
		if got := c.Leader(time.Second); got != "secondary" {
			t.Errorf("leader: got %s", got)
		}
	})
}

// A network may return later than the process: what counts is for how long the other one was silent while this one listened.
func TestPairAvailabilityBeginsItsPatienceAnewAfterAPause(t *testing.T) {
	for name, sleep := range map[string]func(c *clustertest.Cluster, b *clustertest.Memory){
		"the machine was suspended": func(_ *clustertest.Cluster, b *clustertest.Memory) { b.Jump("secondary", time.Minute) },
		"the process stood still": func(c *clustertest.Cluster, b *clustertest.Memory) {
			c.Pause("secondary")
			b.Jump("secondary", 2*time.Second)
			c.Resume("secondary")
		},
	} {
		t.Run(name, func(t *testing.T) {
			pair(t, "availability", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
				c.AllowOverlap(true)
				c.Isolate("primary")
				time.Sleep(10 * time.Second)
				sleep(c, b)
				paused := time.Now()
				c.Leader(time.Minute, "primary")
				if took := time.Since(paused); took < 15*time.Second || took > 18*time.Second {
					t.Errorf("took over %v after the pause, want TakeoverAfter (15 s) and at most 3 s", took)
				}
				c.Heal("primary")
				c.Voters(2, 10*time.Second)
			})
		})
	}
}

func TestPairAvailabilityDoesNotTakeOverWhileItMayNot(t *testing.T) {
	pair(t, "availability", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.MayTakeOver = func(string) error { return errors.New("reaches no LAM") }
		c.Crash("primary")
		time.Sleep(5 * time.Minute)
		if c.Node("secondary").View().Leading {
			t.Error("it leads although it can do nothing")
		}
		b.MayTakeOver = nil
		c.Leader(5*time.Second, "primary")
	})
}

// Right after its own start a node knows nothing of what its sibling has done meanwhile.
func TestPairAvailabilityNeverTakesOverRightAfterItsStart(t *testing.T) {
	pair(t, "availability", func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Crash("secondary")
		c.Crash("primary")
		c.Start("secondary")
		time.Sleep(10 * time.Minute)
		v := c.Node("secondary").View()
		if v.Leading || v.Leader != "" {
			t.Fatal("it leads with a copy of unknown age")
		}
		err := c.Node("secondary").(cluster.Members).TakeOver(t.Context(), "bob", false)
		if !errors.Is(err, cluster.ErrWarned) {
			t.Fatalf("takeover without force: got %v, want ErrWarned", err)
		}
		if err := c.Node("secondary").(cluster.Members).TakeOver(t.Context(), "bob", true); err != nil {
			t.Fatalf("takeover with force: %v", err)
		}
		c.Start("primary")
		c.Voters(2, 10*time.Second)
		c.Agree(time.Second)
	})
}

func TestPairAvailabilityBothPublishWhileTheLinkIsCutAndOneYieldsAfter(t *testing.T) {
	pair(t, "availability", func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		mustSet(t, c.Node("primary"), "before")
		c.AllowOverlap(true)
		c.Isolate("secondary")
		c.Leader(20*time.Second, "primary")
		mustSetWithin(t, c.Node("primary"), "lower", time.Second)
		mustSetWithin(t, c.Node("secondary"), "higher", time.Second)
		c.Heal("secondary")
		c.Voters(2, 10*time.Second)
		c.AllowOverlap(false)
		c.Agree(time.Second)
		if got := c.Leader(time.Second); got != "secondary" {
			t.Errorf("leader: got %s", got)
		}
	})
}

func TestPairClaimLeaderLostFollowerClaimsAndNeverTwoLead(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		c.Crash("primary")
		start := time.Now()
		c.Leader(10*time.Second, "primary")
		t.Logf("took over after %v", time.Since(start))
		c.Start("primary")
		c.Voters(2, 10*time.Second)
		c.Agree(time.Second)
	})
}

func TestPairClaimShareOutOfReachLeaderStopsFollowerGoesOn(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Claims.Unreachable("primary", true)
		c.Isolate("primary")
		got := c.Leader(10*time.Second, "primary")
		if got != "secondary" {
			t.Fatalf("leader: got %s", got)
		}
		if c.Node("primary").View().Leading {
			t.Error("the old leader goes on without a claim")
		}
		b.Claims.Unreachable("primary", false)
		c.Heal("primary")
		c.Voters(2, 10*time.Second)
		c.Agree(time.Second)
	})
}

func TestPairClaimBothOutOfReachNobodyLeads(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		for _, id := range []string{"primary", "secondary"} {
			b.Claims.Unreachable(id, true)
		}
		c.Isolate("primary")
		time.Sleep(time.Minute)
		for _, id := range []string{"primary", "secondary"} {
			if c.Node(id).View().Leading {
				t.Errorf("%s leads without a claim", id)
			}
		}
		for _, id := range []string{"primary", "secondary"} {
			b.Claims.Unreachable(id, false)
		}
		c.Leader(10 * time.Second)
		c.Heal("primary")
		c.Voters(2, 10*time.Second)
		c.Agree(time.Second)
	})
}

// What the yielding side alone has is committed by the winner before it is wiped.
func TestYieldHandsOverParkedEntriesAndSettings(t *testing.T) {
	pair(t, "operator", func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		p, s := c.Node("primary"), c.Node("secondary")
		mustPropose(t, p, state.SetConfig{Text: []byte("one"), Author: "x", At: time.Now()})
		c.Agree(time.Second)
		c.Isolate("primary")
		time.Sleep(5 * time.Second)
		mustPropose(t, p, state.SetConfig{Expect: 1, Text: []byte("two"), Author: "made alone", At: time.Now()})
		mustPropose(t, p, state.Commit{Pipeline: "a", Parked: []state.Parked{{Key: [16]byte{7}, At: time.Now(), Reason: "refused while alone", Payload: []byte("x")}}})
		c.AllowOverlap(true)
		if err := s.(cluster.Members).TakeOver(t.Context(), "alice", false); err != nil {
			t.Fatal(err)
		}
		c.Heal("primary")
		c.Voters(2, 10*time.Second)
		c.Agree(time.Second)
		st := c.Node("secondary").View().State
		if got := string(st.Config().Text); got != "two" {
			t.Errorf("settings in use: got %q, want those that only the yielding side changed", got)
		}
		if !st.HasParked("a", [16]byte{7}) {
			t.Error("the parked entry is lost")
		}
		if len(st.Notes()) == 0 {
			t.Error("there is no note about what happened")
		}
	})
}

func mustPropose(t *testing.T, n cluster.Coordinator, op state.Op) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if res, err := n.Propose(ctx, op); err != nil || res.Err != nil {
		t.Fatalf("propose %T: %v, %v", op, err, res.Err)
	}
}

// Killed between its decision and its first term, the node finishes what it has begun.
func TestTakeoverInterruptedByAKillIsFinishedAtTheNextStart(t *testing.T) {
	pair(t, "operator", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Crash("primary")
		time.Sleep(5 * time.Second)
		b.Disk("secondary").Slow(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // its decision is kept by then, and no more
		defer cancel()
		if err := c.Node("secondary").(cluster.Members).TakeOver(ctx, "alice", false); err == nil {
			t.Fatal("the takeover was done before the kill: this tests nothing")
		}
		c.Crash("secondary")
		b.Disk("secondary").Heal()
		c.Start("secondary")
		if got := c.Leader(30 * time.Second); got != "secondary" {
			t.Errorf("leader: got %s", got)
		}
		c.Start("primary")
		c.Voters(2, 10*time.Second)
		c.Agree(time.Second)
	})
}

// The machine that has made the claim may be gone for good.
func TestPairClaimOperatorsForceGoesPastAClaimThatIsNeverUsed(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		b.Claims.LoseAnswers("primary", true)
		b.Claims.Unreachable("secondary", true)
		c.Crash("secondary")
		time.Sleep(5 * time.Second) // the claim is the primary's, which does not know it
		c.Crash("primary")
		c.Start("secondary")
		b.Claims.Unreachable("secondary", false)
		time.Sleep(30 * time.Second)
		if c.Node("secondary").View().Leading {
			t.Fatal("it leads by itself although the claim is another's")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.TakeOver(ctx, "secondary", "alice", false); !errors.Is(err, cluster.ErrWarned) {
			t.Errorf("takeover without force: got %v, want ErrWarned", err)
		}
		if err := c.TakeOver(ctx, "secondary", "alice", true); err != nil {
			t.Fatalf("takeover with force: %v", err)
		}
		b.Claims.LoseAnswers("primary", false)
		c.AllowOverlap(true)
		c.Start("primary")
		c.Voters(2, time.Minute)
		c.AllowOverlap(false)
		c.Agree(time.Second)
	})
}

// A flag of maintenance carries the start number: had it gone back, the flag would have been taken for one of this process.
func TestStartNumberDoesNotGoBackWhenANodeStartsFromNothing(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		alone := func(lost, other string, epoch uint64) {
			c.Crash(lost)
			c.Eventually(10*time.Second, other+" goes on alone", func() bool {
				v := c.Node(other).View()
				return v.Leading && v.Token.Epoch.Number == epoch
			})
		}
		var old *clustertest.Disk
		for epoch := uint64(2); epoch <= 4; epoch++ {
			alone("primary", "secondary", epoch)
			old = b.Disk("primary").Clone()
			c.Start("primary")
			c.Voters(2, 10*time.Second)
			c.Agree(10 * time.Second)
			if got := c.Node("primary").View().Start; got != epoch {
				t.Fatalf("start number once it was taken into epoch %d: got %d, want %d", epoch, got, epoch)
			}
		}
		c.Crash("primary")
		b.SetDisk("primary", old) // from before its last start
		c.Start("primary")
		c.Voters(2, 20*time.Second)
		c.Agree(10 * time.Second)
		if got := c.Node("primary").View().Start; got != 4 {
			t.Errorf("start number of an older copy that was put aside: got %d, want 4", got)
		}
	})
}

// Nobody could have gone on without the node that has just formed the cluster; that is true for its first term only.
func TestNodeThatFormedTheClusterAsksBeforeItLeadsAgain(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Isolate("primary")
		c.Eventually(10*time.Second, "the primary goes on alone", func() bool {
			v := c.Node("primary").View()
			return v.Leading && v.Token.Epoch.Number == 2
		})
		time.Sleep(5 * time.Second)
		c.AllowOverlap(true)
		if err := c.TakeOver(t.Context(), "secondary", "alice", true); err != nil {
			t.Fatal(err)
		}
		b.Jump("primary", time.Hour) // its term ends
		c.Eventually(5*time.Second, "the term ends", func() bool { return !c.Node("primary").View().Leading })
		leadsNot(t, c, "primary", "again beside the node whose claim stands")
		if got := c.Node("primary").View().Waiting; !strings.Contains(got, "secondary has claimed") {
			t.Errorf("it waits for %q", got)
		}
		c.Heal("primary")
		c.Voters(2, 20*time.Second)
		c.Agree(10 * time.Second)
	})
}

// The old leader, which reaches the claims again, finds the one of the node that was taken over by hand.
func TestPairClaimOperatorsTakeoverMakesTheClaim(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		// So that it claims nothing by itself. The takeover ends it.
		mustPropose(t, c.Node("primary"), state.SetMaintenance{Node: "secondary", On: true, At: time.Now()})
		c.Agree(time.Second)
		b.Claims.Unreachable("primary", true)
		c.Isolate("primary")
		time.Sleep(5 * time.Second)
		if err := c.TakeOver(t.Context(), "secondary", "alice", false); err != nil {
			t.Fatal(err)
		}
		b.Claims.Unreachable("primary", false)
		leadsNot(t, c, "primary", "beside the one that has taken over")
		c.Heal("primary")
		c.Voters(2, 20*time.Second)
		c.Agree(10 * time.Second)
	})
}

func TestPairClaimSoleVoterThatCannotReadTheClaimsAtItsStartDoesNotLead(t *testing.T) {
	pair(t, "claim", func(t *testing.T, c *clustertest.Cluster, b *clustertest.Memory) {
		c.Crash("secondary")
		time.Sleep(5 * time.Second)
		mustSet(t, c.Node("primary"), "alone")
		c.Crash("primary")
		b.Claims.Unreachable("primary", true)
		c.Start("primary")
		leadsNot(t, c, "primary", "although it cannot know whether the other one has claimed to")
		if got := c.Node("primary").View().Waiting; !strings.Contains(got, "claims") {
			t.Errorf("it waits for %q", got)
		}
		b.Claims.Unreachable("primary", false)
		c.Leader(10 * time.Second)
	})
}

// byThemselves are the modes in which a node takes over without being asked to.
var byThemselves = []string{"claim", "availability"}

// stays: the node begins no epoch in ten minutes.
func stays(t *testing.T, c *clustertest.Cluster, id string) {
	t.Helper()
	before := c.Node(id).View().Token.Epoch
	time.Sleep(10 * time.Minute)
	if v := c.Node(id).View(); v.Leading || v.Token.Epoch != before {
		t.Errorf("%s: leading %v, in epoch %+v, and was in %+v", id, v.Leading, v.Token.Epoch, before)
	}
}

// The leader went on without it: it lacks what was done since.
func TestPairNodeThatHasHeardOfItsDemotionDoesNotTakeOver(t *testing.T) {
	for _, mode := range byThemselves {
		t.Run(mode, func(t *testing.T) {
			pair(t, mode, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
				leftBehind := func() {
					c.Isolate("secondary")
					c.Eventually(10*time.Second, "it is left behind", func() bool { return voters(c, "primary") == 1 })
					time.Sleep(500 * time.Millisecond)
					c.Heal("secondary")
				}
				leftBehind()
				c.Voters(2, 10*time.Second)
				leftBehind() // this time it has to wait for its vote
				c.Eventually(10*time.Second, "it hears of that", func() bool { return member(t, c, "secondary", "secondary").Suffrage == "nonvoter" })
				time.Sleep(500 * time.Millisecond)
				if got := member(t, c, "secondary", "secondary").Suffrage; got != "nonvoter" {
					t.Fatalf("it is a %s: this tests nothing", got)
				}
				c.Crash("primary")
				stays(t, c, "secondary")
			})
		})
	}
}

func TestPairNodeInMaintenanceDoesNotTakeOverByItself(t *testing.T) {
	for _, mode := range byThemselves {
		t.Run(mode, func(t *testing.T) {
			pair(t, mode, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
				mustPropose(t, c.Node("primary"), state.SetMaintenance{Node: "secondary", On: true, At: time.Now()})
				c.Agree(time.Second)
				c.Crash("primary")
				stays(t, c, "secondary")
			})
		})
	}
}
