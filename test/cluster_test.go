package test

import (
	"slices"
	"testing"
	"time"

	"scomconnector/publisher/publishertest"
)

// Three nodes form by themselves, in any order of start, and the Primary leads; any of them shows the cluster.
func TestThreeNodesFormAndDeliver(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raise(20)
		w.awaitDelivered(15 * time.Second)
		for _, id := range w.members {
			s := w.status(id)
			if s.Leader != "primary" || len(s.Members) != 3 || s.Totals.Processed != 20 {
				t.Errorf("%s shows leader %q, %d members, total %d; want primary, 3, 20", id, s.Leader, len(s.Members), s.Totals.Processed)
			}
		}
		w.checkWell(0)
	})
}

// A leader that is stopped in good order hands over: nothing comes twice, totals go on.
func TestPlannedStopOfTheLeader(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raise(20)
		w.awaitDelivered(15 * time.Second)
		w.awaitVoters()
		w.stop("primary")
		w.await("the Secondary leads", time.Second, func() bool { return w.leader() == "secondary" })
		w.raise(20)
		w.awaitDelivered(10 * time.Second)
		if d := w.duplicates(); d != 0 {
			t.Errorf("%d events arrived twice over a planned stop, want none", d)
		}
		if got := w.status("secondary").Totals.Processed; got != 40 {
			t.Errorf("total alerts processed on the new leader: %d, want 40", got)
		}
		if c := w.status("secondary").Changes; len(c) < 2 || c[0].Node != "secondary" || c[0].Reason == "" {
			t.Errorf("leader changes: %+v, want the newest to name secondary and a reason", c)
		}
		w.start("primary")
		w.awaitVoters()
	})
}

// A leader that is cut off from the others stops before another begins, and nothing is lost.
func TestIsolatedLeaderIsReplaced(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raise(20)
		w.awaitDelivered(15 * time.Second)
		w.awaitVoters()
		w.cut("primary", "secondary")
		w.cut("primary", "witness")
		cut := time.Now()
		w.await("the Secondary leads", 5*time.Second, func() bool {
			if w.leads("primary") && w.leads("secondary") {
				t.Error("two nodes say that they lead")
			}
			return w.leads("secondary")
		})
		t.Logf("another node led %v after the cut", time.Since(cut))
		w.raise(20)
		w.awaitDelivered(15 * time.Second)
		w.heal("primary", "secondary")
		w.heal("primary", "witness")
		w.await("the Primary follows", 10*time.Second, func() bool { return w.status("primary").Leader == "secondary" })
		w.raise(20)
		w.awaitDelivered(15 * time.Second)
		if d := w.duplicates(); d > 500 {
			t.Errorf("%d events arrived twice, want at most one batch", d)
		}
	})
}

// The witness never polls, even if it is all that is left with one other.
func TestWitnessNeverLeads(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		for range 3 {
			w.awaitVoters()
			leader := w.leader()
			w.stop(leader)
			w.await("the other one leads", 20*time.Second, func() bool { l := w.leader(); return l != "" && l != "witness" })
			w.start(leader)
		}
		w.awaitVoters()
		w.raise(10)
		w.awaitDelivered(20 * time.Second)
	})
}

// All nodes restart at once: position, settings and totals are there again.
func TestRestartOfAllNodes(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raise(20)
		w.awaitDelivered(15 * time.Second)
		for _, id := range w.members {
			w.stop(id)
		}
		w.raise(20)
		w.pass(time.Hour)
		for _, id := range w.members {
			w.start(id)
		}
		w.awaitDelivered(30 * time.Second)
		leader := w.leader()
		if got := w.status(leader); got.Totals.Processed != 40 || got.Config.Version != 1 {
			t.Errorf("after the restart: total %d, settings version %d; want 40, 1", got.Totals.Processed, got.Config.Version)
		}
		if d := w.duplicates(); d != 0 {
			t.Errorf("%d events arrived twice, want none", d)
		}
	})
}

// The same node loses and regains leadership while the LAM is down: what it had read and not
// delivered must not be forgotten with the position it had in memory.
func TestSameNodeRegainsLeadershipWhileTheLAMIsDown(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raise(5)
		w.awaitDelivered(15 * time.Second)
		w.awaitVoters()
		w.lams[0].Set(publishertest.Faults{Status: 503})
		w.raise(7)
		w.pass(10 * time.Second)
		w.stop("secondary") // nobody but the Primary can lead again
		w.cut("primary", "witness")
		w.await("the Primary has lost its leadership", 10*time.Second, func() bool { return !w.leads("primary") })
		w.heal("primary", "witness")
		w.await("the Primary leads again", 20*time.Second, func() bool { return w.leads("primary") })
		w.lams[0].Set(publishertest.Faults{})
		w.raise(1)
		w.awaitDelivered(time.Minute)
		if got := w.status("primary").Totals.Processed; got != 13 {
			t.Errorf("total alerts processed: %d, want 13", got)
		}
	})
}

// awaitVoters waits until the leader sees all members as voters in contact.
func (w *world) awaitVoters() {
	w.t.Helper()
	w.await("all are voters in contact", 20*time.Second, func() bool {
		leader := w.leader()
		if leader == "" {
			return false
		}
		for _, m := range w.status(leader).Members {
			if !m.Voter || time.Since(m.LastContact) > time.Second {
				return false
			}
		}
		return true
	})
}

func (w *world) leads(id string) bool {
	return w.running[id] != nil && w.get(id, "/leader") == "leader\n"
}

// An alert is at the LAM within 2.5 s of its own time at the median: in a flow, and alone after an
// hour of silence.
func TestLatencyOfAFlowAndAfterSilence(t *testing.T) {
	inWorld(t, site{nodes: 1}, func(w *world) {
		w.pass(time.Minute)
		for range 300 { // 40 alerts a minute
			w.raise(1)
			w.pass(1500 * time.Millisecond)
		}
		w.awaitDelivered(10 * time.Second)
		flow := w.latencies(0)
		var alone []time.Duration
		for i := range 5 {
			n := len(w.lams[0].Received())
			w.pass(time.Hour + time.Duration(i)*1234*time.Millisecond)
			w.raise(1)
			w.awaitDelivered(10 * time.Second)
			alone = append(alone, w.latencies(n)...)
		}
		for name, all := range map[string][]time.Duration{"flow": flow, "after an hour of silence": alone} {
			slices.Sort(all)
			median := all[len(all)/2]
			t.Logf("%s: median %v, worst %v of %d", name, median, all[len(all)-1], len(all))
			if median > 2500*time.Millisecond {
				t.Errorf("%s: median %v, want at most 2.5 s", name, median)
			}
		}
	})
}

// latencies are from LastModified to the LAM's acceptance, of what arrived after the first n events.
func (w *world) latencies(n int) []time.Duration {
	var all []time.Duration
	for _, e := range w.lams[0].Received()[n:] {
		at, err := time.Parse(time.RFC3339Nano, e.LastModified)
		if err == nil {
			all = append(all, e.At.Sub(at))
		}
	}
	return all
}
