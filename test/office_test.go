package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
	"scomconnector/publisher/publishertest"
)

// shapes are those in which another node can take over.
var shapes = map[string]int{"pair": 2, "pair and witness": 3}

// inShapes runs f once in each.
func inShapes(t *testing.T, s site, f func(w *world)) {
	for name, nodes := range shapes {
		t.Run(name, func(t *testing.T) {
			s := s
			s.nodes = nodes
			inWorld(t, s, f)
		})
	}
}

// formed waits until the Primary leads and every node is ready to take over.
func (w *world) formed() {
	w.t.Helper()
	w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
	w.raise(5)
	w.awaitDelivered(15 * time.Second)
	w.awaitVoters()
}

// during raises alerts steadily until do has returned, and for so long after, and returns the longest that one of them took.
func (w *world) during(after time.Duration, do func() error) (slowest time.Duration) {
	w.t.Helper()
	before := len(w.lams[0].Received())
	done := make(chan error, 1)
	go func() { done <- do() }()
	var end time.Time
	for end.IsZero() || time.Now().Before(end) {
		select {
		case err := <-done:
			if err != nil {
				w.t.Error(err)
			}
			end = time.Now().Add(after)
		default:
		}
		w.raise(1)
		w.pass(250 * time.Millisecond)
	}
	w.awaitDelivered(15 * time.Second)
	return slices.Max(w.latencies(before))
}

// maintain orders maintenance through a node.
func (w *world) maintain(via, node, action string, sticky bool) (v1.Leadership, error) {
	return w.operator(via).Maintain(context.Background(), v1.MaintenanceOrder{Node: node, Action: action, Sticky: sticky})
}

func (w *world) lastChange(via string) v1.Change { return w.status(via).Changes[0] }

// seenBy is a member as a node sees it.
func (w *world) seenBy(via, node string) v1.Member {
	all := w.status(via).Members
	return all[slices.IndexFunc(all, func(m v1.Member) bool { return m.Node == node })]
}

// Maintenance of the leader hands over under flow: nothing is lost, nothing comes twice, no alert waits much longer than always. The
// node stays out until it has been stopped and started, and then the Primary leads again by itself.
//
// In a pair with claims the node that comes back finds a higher epoch, and starts from nothing.
func TestMaintenanceUnderFlow(t *testing.T) {
	inShapes(t, site{settings: quick}, maintenanceUnderFlow)
	t.Run("pair with claims", func(t *testing.T) {
		node := fmt.Sprintf(`"PairTakeover": "claim", "ClaimDir": %q,`, t.TempDir())
		inWorld(t, site{settings: quick, nodes: 2, node: node}, maintenanceUnderFlow)
	})
}

func maintenanceUnderFlow(w *world) {
	t := w.t
	w.formed()
	slowest := w.during(5*time.Second, func() error {
		l, err := w.maintain("secondary", "primary", "enter", false)
		if err == nil && (l.Leader != "secondary" || !slices.Equal(l.Maintenance, []string{"primary"})) {
			err = fmt.Errorf("answered %+v, want that secondary leads and primary is in maintenance", l)
		}
		return err
	})
	if slowest > 3*time.Second {
		t.Errorf("an alert took %v over the handover, want at most 3 s: a poll was missed", slowest)
	}
	if c := w.lastChange("primary"); c.Node != "secondary" || c.Cause != "maintenance" || !strings.Contains(c.Reason, "maintenance of primary") {
		t.Errorf("the change was recorded as %+v", c)
	}
	if m := w.seenBy("secondary", "primary"); !m.Maintenance || m.Sticky {
		t.Errorf("secondary sees primary as %+v, want it in maintenance", m)
	}
	_, err := w.operator("primary").Maintain(context.Background(), v1.MaintenanceOrder{Node: "secondary", Action: "enter", Force: true})
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != 409 || !strings.Contains(e.Hint, "leave primary") {
		t.Errorf("maintenance of the second node, with force: got %v, want 409 and what to do", err)
	}
	w.pass(3 * time.Minute)
	if l := w.leader(); l != "secondary" {
		t.Errorf("%s leads after three minutes of the Primary's maintenance, want secondary", l)
	}
	w.stop("primary")
	w.raise(5)
	w.awaitDelivered(15 * time.Second)
	w.start("primary")
	back := time.Now()
	w.await("the maintenance has ended", 15*time.Second, func() bool { return len(w.status("secondary").Maintenance) == 0 })
	w.await("the page says when the Primary takes over", 20*time.Second, func() bool {
		return strings.Contains(w.status("secondary").Verdict.Text, "primary takes over again at ")
	})
	w.await("the Primary leads again", 90*time.Second, func() bool { return w.leader() == "primary" })
	if took := time.Since(back); took < 60*time.Second {
		t.Errorf("the Primary took over %v after it came back, want at least FailbackDelay, 60 s", took)
	}
	if c := w.lastChange("primary"); c.Cause != "failback" || c.Reason == "" {
		t.Errorf("the change was recorded as %+v", c)
	}
	w.checkWell(0)
}

// Maintenance that is sticky survives a restart, and ends when somebody has the node leave it.
func TestStickyMaintenanceSurvivesARestart(t *testing.T) {
	inShapes(t, site{settings: quick}, func(w *world) {
		w.formed()
		if _, err := w.maintain("primary", "primary", "enter", true); err != nil {
			w.t.Fatal(err)
		}
		w.stop("primary")
		w.start("primary")
		w.pass(7 * time.Minute)
		if m := w.seenBy("secondary", "primary"); !m.Maintenance || !m.Sticky || w.leader() != "secondary" {
			w.t.Errorf("after a restart secondary sees %+v, and %s leads; want sticky maintenance, and secondary", m, w.leader())
		}
		if l, err := w.maintain("secondary", "primary", "leave", false); err != nil || len(l.Maintenance) > 0 {
			w.t.Errorf("leave: got %+v, %v", l, err)
		}
		w.await("the Primary leads again", 90*time.Second, func() bool { return w.leader() == "primary" })
		w.checkWell(0)
	})
}

// A node that comes back after a crash must run for five minutes before its maintenance ends: a crash loop must not end it.
func TestMaintenanceOutlastsACrashByFiveMinutes(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		if _, err := w.maintain("primary", "primary", "enter", false); err != nil {
			w.t.Fatal(err)
		}
		crashed := w.disks["primary"].Clone()
		w.stop("primary")
		w.disks["primary"] = crashed
		w.start("primary")
		w.pass(4*time.Minute + 50*time.Second)
		if !w.seenBy("secondary", "primary").Maintenance {
			w.t.Error("the maintenance ended within five minutes after a crash")
		}
		w.await("the maintenance has ended", 30*time.Second, func() bool { return !w.seenBy("secondary", "primary").Maintenance })
	})
}

// A transfer under flow loses nothing, repeats nothing, and the next poll is the new leader's at once.
func TestTransferUnderFlow(t *testing.T) {
	inShapes(t, site{settings: quick + `"Failback": "manual",`}, func(w *world) {
		w.formed()
		for i, to := range []string{"secondary", "primary", "secondary"} {
			slowest := w.during(5*time.Second, func() error {
				l, err := w.operator(w.members[len(w.members)-1]).Transfer(context.Background(), v1.TransferOrder{})
				if err == nil && l.Leader != to {
					err = fmt.Errorf("transfer %d: %s leads, want %s", i, l.Leader, to)
				}
				return err
			})
			if slowest > 3*time.Second {
				w.t.Errorf("transfer %d: an alert took %v, want at most 3 s: a poll was missed", i, slowest)
			}
			if c := w.lastChange(to); c.Cause != "transfer" || !strings.Contains(c.Reason, "asked for by") {
				w.t.Errorf("transfer %d was recorded as %+v", i, c)
			}
		}
		w.pass(3 * time.Minute)
		if l := w.leader(); l != "secondary" {
			w.t.Errorf("%s leads, although fail-back is manual", l)
		}
		if s := w.status("secondary"); !slices.ContainsFunc(s.Warnings, func(s string) bool { return strings.Contains(s, "Failback is manual") }) {
			w.t.Errorf("the leader's page does not say that fail-back is manual: %q", s.Warnings)
		}
		w.checkWell(0)
	})
}

// A node that reaches neither SCOM nor a LAM is not handed leadership, unless somebody insists.
func TestTransferAsksWhetherTheOtherNodeCanWork(t *testing.T) {
	for what, link := range map[string]string{"SCOM": "scom1", "a LAM": "lam1"} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
				w.formed()
				w.sever("secondary", link)
				_, err := w.operator("primary").Transfer(context.Background(), v1.TransferOrder{})
				if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != 409 || !strings.Contains(e.Message, "secondary does not reach") || !strings.Contains(e.Hint, "force") {
					t.Errorf("got %v, want 409 that says what secondary does not reach", err)
				}
				if w.leader() != "primary" {
					t.Error("it was refused, and the Primary leads no more")
				}
				w.restore("secondary", link)
				w.pass(15 * time.Second)
				if l, err := w.operator("primary").Transfer(context.Background(), v1.TransferOrder{}); err != nil || l.Leader != "secondary" {
					t.Errorf("once it reaches all: got %+v, %v", l, err)
				}
			})
		})
	}
}

// A leader that has not reached SCOM, or no LAM, for five minutes hands over to a node that does; once it could work again for
// long enough the Primary takes over again.
func TestLeaderThatCannotWorkHandsOver(t *testing.T) {
	for what, link := range map[string]string{"SCOM": "scom1", "a LAM": "lam1"} {
		t.Run(what, func(t *testing.T) {
			inShapes(t, site{settings: quick}, func(w *world) {
				w.formed()
				w.sever("primary", link)
				w.raise(5)
				w.pass(4*time.Minute + 30*time.Second)
				if l := w.leader(); l != "primary" {
					w.t.Fatalf("%s leads before the five minutes are over", l)
				}
				w.await("the Secondary leads", 3*time.Minute, func() bool { return w.leader() == "secondary" })
				w.awaitDelivered(15 * time.Second)
				if c := w.lastChange("secondary"); c.Cause != "work" || !strings.Contains(c.Reason, "primary does not reach") {
					w.t.Errorf("the change was recorded as %+v", c)
				}
				w.pass(3 * time.Minute)
				if l := w.leader(); l != "secondary" {
					w.t.Errorf("%s leads, although the Primary still cannot work", l)
				}
				if s := w.status("secondary"); !slices.ContainsFunc(s.Warnings, func(s string) bool { return strings.Contains(s, "primary does not take over again yet") }) {
					w.t.Errorf("the leader's page does not say what holds the fail-back: %q", s.Warnings)
				}
				w.restore("primary", link)
				w.await("the Primary leads again", 2*time.Minute, func() bool { return w.leader() == "primary" })
				w.raise(5)
				w.awaitDelivered(15 * time.Second)
			})
		})
	}
}

// If nobody reaches SCOM the leader keeps its term: another one could do no better.
func TestNobodyHandsOverWhenNobodyCanWork(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		w.sever("primary", "scom1")
		w.sever("secondary", "scom1")
		w.pass(12 * time.Minute)
		if c := w.status("primary").Changes; len(c) != 1 || w.leader() != "primary" {
			w.t.Errorf("leadership went to and fro: %+v", c)
		}
		w.restore("secondary", "scom1")
		w.await("the Secondary leads", time.Minute, func() bool { return w.leader() == "secondary" })
	})
}

// A console that refuses the account, or fails for everybody, is no lack of work: two nodes would lock the account.
func TestRefusedLogOnIsNoReasonToHandOver(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick, password: "plain:wrong"}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.awaitVoters()
		w.pass(15 * time.Minute)
		if c := w.status("primary").Changes; len(c) != 1 || w.leader() != "primary" {
			w.t.Errorf("leadership changed for a refused log-on: %+v", c)
		}
	})
}

// Nodes that have known no leader for a minute tell Moogsoft, repeat it every quarter of an hour, and clear it when there is one.
func TestNoLeaderIsToldInMoogsoft(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		w.cut("primary", "secondary")
		w.cut("primary", "witness")
		w.cut("secondary", "witness")
		w.await("nobody leads", 10*time.Second, func() bool { return w.leader() == "" })
		w.pass(50 * time.Second)
		if got := w.own("noleader"); len(got) > 0 {
			w.t.Errorf("told before a minute was over: %v", got)
		}
		w.pass(25 * time.Second)
		if got := w.own("noleader"); !slices.Equal(got, []int{5, 5}) { // each of the two that have a LAM
			w.t.Errorf("after 75 s Moogsoft has got %v, want 5 from each of the two nodes", got)
		}
		last := w.lams[0].Received()
		text := string(last[len(last)-1].Body)
		for _, want := range []string{"out of contact", "No alert is lost", "What to do: ", "http://127.0.0."} {
			if !strings.Contains(text, want) {
				w.t.Errorf("the alert does not say %q: %s", want, text)
			}
		}
		w.pass(14 * time.Minute)
		if got := len(w.own("noleader")); got != 2 {
			w.t.Errorf("repeated within a quarter of an hour: %d events", got)
		}
		w.pass(2 * time.Minute)
		if got := w.own("noleader"); !slices.Equal(got, []int{5, 5, 5, 5}) {
			w.t.Errorf("after a quarter of an hour Moogsoft has got %v, want it repeated once by each", got)
		}
		w.heal("primary", "secondary")
		w.heal("primary", "witness")
		w.heal("secondary", "witness")
		w.await("somebody leads", 20*time.Second, func() bool { return w.leader() != "" })
		w.await("the alarm is cleared by both", time.Minute, func() bool { return slices.Equal(w.own("noleader"), []int{5, 5, 5, 5, 0, 0}) })
		w.pass(17 * time.Minute)
		if got := len(w.own("noleader")); got != 6 {
			w.t.Errorf("told %d times in all, want 6", got)
		}
	})
}

// The survivor of a pair takes over by itself only if it can do the work; until then it says in Moogsoft and on its page what is the matter.
func TestSurvivorTakesOverOnceItCanWork(t *testing.T) {
	inWorld(t, site{nodes: 2, settings: quick}, func(w *world) {
		w.formed()
		w.sever("secondary", "scom1")
		w.net.Freeze(host("primary"))
		defer w.net.Thaw(host("primary"))
		w.pass(12 * time.Second)
		if v := w.status("secondary").Verdict; v.Level != v1.Stopped || !strings.Contains(v.Text, "primary is out of contact") || !strings.Contains(v.Do, "takes over by itself at ") {
			w.t.Errorf("while it is patient the survivor's page says %+v", v)
		}
		w.pass(90 * time.Second)
		if w.leads("secondary") {
			w.t.Fatal("the survivor took over although it does not reach SCOM")
		}
		if got := w.own("noleader"); !slices.Equal(got, []int{5}) {
			w.t.Errorf("Moogsoft has got %v, want one alarm", got)
		}
		if s := w.status("secondary"); !s.Takeover.Possible || !strings.Contains(s.Verdict.Do, "take over at http://127.0.0.2:8085/maintenance") {
			w.t.Errorf("the survivor's page says %+v and offers %+v", s.Verdict, s.Takeover)
		}
		w.restore("secondary", "scom1")
		w.await("the survivor leads", 30*time.Second, func() bool { return w.leads("secondary") })
		w.raise(5)
		w.awaitDelivered(15 * time.Second)
		w.await("the alarm is cleared", time.Minute, func() bool { return slices.Equal(w.own("noleader"), []int{5, 0}) })
		if v := w.status("secondary").Verdict; v.Level != v1.Degraded || !strings.Contains(v.Text, "If this machine dies now, nobody takes over") {
			w.t.Errorf("the survivor's page says %+v, want that it is alone", v)
		}
	})
}

// A pair without a witness says on its page what a cut link would do, and the cure.
func TestPairSaysThatItHasNoWitness(t *testing.T) {
	inWorld(t, site{nodes: 2, settings: quick}, func(w *world) {
		w.formed()
		if s := w.status("primary"); !slices.ContainsFunc(s.Warnings, func(s string) bool { return strings.Contains(s, "no witness") && strings.Contains(s, "Role Witness") }) {
			w.t.Errorf("the leader's page says nothing of a witness: %q", s.Warnings)
		}
	})
}

// A leader that is stopped hands over although its LAM hangs, and ends in time although nobody is there to take over.
func TestStopOfTheLeaderIsBounded(t *testing.T) {
	t.Run("the LAM hangs", func(t *testing.T) {
		inShapes(t, site{settings: quick}, func(w *world) {
			w.formed()
			w.lams[0].Set(publishertest.Faults{Hang: true})
			w.raise(5)
			w.pass(5 * time.Second)
			w.stop("primary") // which demands that it takes ten seconds at most
			w.await("the Secondary leads", time.Second, func() bool { return w.leader() == "secondary" })
			if c := w.lastChange("secondary"); c.Cause != "stop" {
				w.t.Errorf("the change was recorded as %+v, want a planned stop", c)
			}
			w.lams[0].Set(publishertest.Faults{})
			w.awaitDelivered(time.Minute)
		})
	})
	t.Run("the other node has just died", func(t *testing.T) {
		inShapes(t, site{settings: quick}, func(w *world) {
			w.formed()
			w.net.Freeze(host("secondary"))
			defer w.net.Thaw(host("secondary"))
			w.pass(300 * time.Millisecond) // this node does not know yet
			w.stop("primary")
		})
	})
}
