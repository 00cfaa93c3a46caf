package poller

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

// flow changes alerts every step for a while: raise, repeat, close.
func (r *rig) flow(d, step time.Duration) {
	for n := 0; d > 0; n++ {
		state := uint8(0)
		if n%3 == 2 {
			state = 255
		}
		r.scom.set(n/3, state, time.Duration(n%31)*time.Second)
		r.pass(step)
		d -= step
	}
}

func TestConsoleFaultsLoseNothing(t *testing.T) {
	for _, c := range []struct {
		what  string
		class alert.FaultClass
		cut   int
		all   bool
	}{
		{"down", alert.FaultTransport, 0, true},
		{"cut in the middle of an answer", alert.FaultTransport, 7, true},
		{"hanging", alert.FaultTimeout, 0, true},
		{"hanging, and another one is left", alert.FaultTimeout, 0, false},
		{"log-on refused", alert.FaultAuth, 0, true},
		{"criteria refused", alert.FaultCriteria, 0, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.begin()
				r.flow(time.Minute, time.Second)
				r.scom.cut = c.cut
				r.scom.setFault(func(alert.Query) error {
					return &alert.Fault{Class: c.class, Console: "scom1", All: c.all, Err: errors.New("switched off")}
				})
				r.flow(time.Hour, 5*time.Second)
				if s := r.p.Status(); s.ConsolesDownSince.IsZero() || !strings.Contains(s.LastError, "scom1") || s.Lag < 59*time.Minute {
					t.Errorf("while SCOM is away the status says %+v", s)
				}
				r.scom.setFault(nil)
				r.pass(8 * time.Minute)
				if s := r.p.Status(); !s.ConsolesDownSince.IsZero() || s.LastError != "" || s.Phase != PhaseIdle || s.Lag != 0 {
					t.Errorf("after the outage the status says %+v", s)
				}
				r.end()
				r.delivered()
				r.wantOwn("scom-outage 5", "scom-outage 0")
				r.all()
			})
		})
	}
}

func TestAlarmAfterAmountOfTimeouts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.AmountOfTimeouts, c.OutageAlertAfter = 3, time.Hour })
		r.begin()
		r.pass(10 * time.Second)
		r.scom.setFault(faultAll(alert.FaultTransport))
		r.pass(3 * time.Minute)
		r.wantOwn("scom-outage 5")
		r.end()
		// Another leader clears what this one has raised.
		r.scom.setFault(nil)
		r.begin()
		r.pass(5 * time.Second)
		r.end()
		r.wantOwn("scom-outage 5", "scom-outage 0")
	})
}

func TestRetryAfterIsTheLeastPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.scom.setFault(func(alert.Query) error {
			return &alert.Fault{Class: alert.FaultTransport, Console: "scom1", All: true, RetryAfter: 7 * time.Minute, Err: errors.New("503")}
		})
		r.begin()
		r.pass(6 * time.Minute)
		if r.scom.asked != 1 {
			t.Errorf("asked %d times although the console wanted 7 minutes of rest", r.scom.asked)
		}
		r.end()
	})
}

func TestLAMFaultsLoseNothing(t *testing.T) {
	for _, c := range []struct {
		what  string
		set   func(l *fakeLAM)
		unset func(l *fakeLAM)
		twice bool
	}{
		{"down for hours", func(l *fakeLAM) { l.away = true }, func(l *fakeLAM) { l.away = false }, false},
		{"every third request a 502", func(l *fakeLAM) { l.every = 3 }, func(l *fakeLAM) { l.every = 0 }, false},
		{"slow", func(l *fakeLAM) { l.slow = 25 * time.Second }, func(l *fakeLAM) { l.slow = 0 }, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.MaxBatchEvents = 5 })
				r.begin()
				r.flow(time.Minute, time.Second)
				r.lam.set(c.set)
				r.flow(3*time.Hour, 20*time.Second)
				r.lam.set(c.unset)
				r.pass(10 * time.Minute)
				if s := r.p.Status(); !s.LAMAwaySince.IsZero() || s.LastError != "" || s.Undelivered != 0 {
					t.Errorf("after the outage the status says %+v", s)
				}
				r.end()
				r.delivered()
				r.all()
			})
		})
	}
}

func TestALongOutageOfTheLAMIsToldAfterwards(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		r.pass(10 * time.Second)
		r.lam.set(func(l *fakeLAM) { l.away = true })
		r.flow(20*time.Minute, 10*time.Second)
		if s := r.p.Status(); s.LAMAwaySince.IsZero() || s.Phase != PhaseAwayLAM || !strings.Contains(s.LastError, "502") || s.Lag < 19*time.Minute {
			t.Errorf("while the LAM is away the status says %+v", s)
		}
		asked := r.scom.asked
		r.pass(10 * time.Minute)
		if r.scom.asked != asked {
			t.Errorf("SCOM was asked %d times although nothing can be delivered", r.scom.asked-asked)
		}
		r.lam.set(func(l *fakeLAM) { l.away = false })
		r.pass(10 * time.Minute)
		r.end()
		r.delivered()
		r.wantOwn("lam-outage 5", "lam-outage 0")
	})
}

// While the LAM is away a console's connection must not hang with it.
func TestAReadIsGivenUpWhenNobodyTakesItsRows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		for n := range 5000 {
			r.scom.set(n, 0, 0)
		}
		r.lam.away = true
		r.begin()
		r.pass(time.Hour)
		if n := len(r.scom.polls); n != 1 { // the date
			t.Errorf("%d answers were read to their end although nobody takes the rows", n)
		}
		if s := r.p.Status(); s.Undelivered > batches*r.cfg.MaxBatchEvents {
			t.Errorf("%d versions are held in memory, more than %d batches", s.Undelivered, batches)
		}
		r.lam.set(func(l *fakeLAM) { l.away = false })
		for end := time.Now().Add(10 * time.Minute); len(r.lam.taken()) < 5000 && time.Now().Before(end); {
			r.pass(time.Second)
		}
		r.pass(time.Second)
		r.end()
		r.delivered()
		r.all()
	})
}

func TestFifteenThousandRowsInOneAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.scom.twice = true
		r.begin()
		r.pass(10 * time.Second)
		for n := range 15000 {
			r.scom.set(n, 0, 0)
		}
		r.pass(time.Minute)
		r.end()
		r.delivered()
		r.all()
	})
}

func TestLateRowsAreDelivered(t *testing.T) {
	for _, skew := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute} {
		for _, noDate := range []bool{false, true} {
			t.Run(fmt.Sprintf("skew %v, no date %v", skew, noDate), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(t, func(c *Config) { c.Reconcile = 0 })
					r.scom.skew, r.scom.noDate = skew, noDate
					r.begin()
					for n := range 600 {
						r.scom.set(n, 0, time.Duration(n*7%31)*time.Second)
						r.pass(time.Second)
					}
					r.pass(time.Minute)
					r.end()
					r.delivered()
					r.all()
				})
			})
		}
	}
}

func TestTheCursorWaitsWhereTheConsolesClockStandsBeforeIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.begin()
		for n := range 100 {
			r.scom.set(n, 0, 0)
			r.pass(time.Second)
		}
		r.pass(time.Minute)
		before := r.state.pos.Cursor
		r.scom.mu.Lock()
		r.scom.skew = -5 * time.Minute
		r.scom.mu.Unlock()
		for n := range 30 {
			r.scom.set(1000+n, 0, 0)
			r.pass(time.Second)
		}
		r.pass(20 * time.Second)
		if got := r.state.pos.Cursor; got != before {
			t.Errorf("the cursor moved from %s to %s", before, got)
		}
		if s := r.p.Status(); !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "clock stands before the cursor") }) {
			t.Errorf("no warning: %q", s.Warnings)
		}
		r.end()
		r.delivered()
	})
}

func TestARowFromTheFarFutureStopsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.scom.setAt(9999, 0, r.scom.now().Add(10*365*24*time.Hour), 0)
		r.begin()
		r.pass(10 * time.Second)
		for n := range 300 {
			r.scom.set(n, 0, time.Duration(n*7%31)*time.Second)
			r.pass(time.Second)
		}
		r.pass(time.Minute)
		r.end()
		r.delivered()
	})
}

func TestABrokenRowIsParkedOnceAndTheOthersPass(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		age := 0
		r.scom.broken = []alert.Row{
			{ID: id(77), Raw: []byte(`{"id":"77","lastmodified":"soon"}`), Err: errors.New("lastmodified is not a time")},
			{Raw: []byte(`{"age":"1 day, 2 hours","ageinmilliseconds":1.5,"name":"no id"}`), Err: errors.New("id is missing")},
		}
		r.begin()
		for n := range 120 {
			r.scom.set(n, 0, 0)
			age++
			r.scom.mu.Lock()
			r.scom.broken[1].Raw = fmt.Appendf(nil, `{"age":"1 day, %d hours","ageinmilliseconds":%d.5,"name":"no id"}`, age, age)
			r.scom.mu.Unlock()
			r.pass(time.Second)
		}
		r.end()
		r.delivered()
		if len(r.state.parked) != 2 {
			t.Errorf("%d entries are parked, want the two broken rows, once each", len(r.state.parked))
		}
		for _, p := range r.state.parked {
			if len(p.Payload) == 0 || !strings.Contains(p.Reason, "cannot be understood") {
				t.Errorf("parked without its row or reason: %+v", p)
			}
		}
	})
}

func TestAnAlertThatCannotBeEncodedIsParkedAndItsNextVersionTried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.enc.refuse = func(a *alert.Alert) bool { return a.ID == id(3) && a.ResolutionState == 0 }
		r.begin()
		for n := range 10 {
			r.scom.set(n, 0, 0)
		}
		r.pass(time.Minute)
		if len(r.state.parked) != 1 || len(r.lam.taken()) != 9 {
			t.Errorf("%d parked, %d delivered; want 1 and 9", len(r.state.parked), len(r.lam.taken()))
		}
		r.scom.set(3, 255, 0)
		r.pass(10 * time.Second)
		r.end()
		r.delivered()
	})
}

func TestARefusedEventIsParkedOnlyOnceTheLAMHasTakenAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.begin()
		r.pass(10 * time.Second)
		bad := func(e alert.Event) bool { return e.ID == id(1) && e.State == 0 }
		r.lam.set(func(l *fakeLAM) { l.refuse = bad })
		v := r.scom.set(1, 0, 0)
		r.pass(20 * time.Minute)
		if len(r.state.parked) != 0 {
			t.Error("parked although the LAM has taken nothing else: the LAM may be what is broken")
		}
		if s := r.p.Status(); s.SetAside != 1 || len(s.Warnings) == 0 || s.Cursor >= v.LastModified {
			t.Errorf("the status says %+v, want one event set aside and the cursor before it", s)
		}
		closed := r.scom.set(1, 255, 0) // must wait behind
		r.pass(5 * time.Second)
		if n := len(r.lam.taken()); n != 0 {
			t.Error("a later version overtook the refused one")
		}
		r.scom.set(2, 0, 0)
		r.pass(5 * time.Second)
		if len(r.state.parked) != 1 {
			t.Fatalf("%d parked, want the refused one, now that the LAM has taken another", len(r.state.parked))
		}
		for _, p := range r.state.parked {
			if p.Version != v || p.Status != 400 || p.Answer != "no" || string(p.Payload) != body(v) {
				t.Errorf("parked %+v", p)
			}
		}
		r.pass(time.Minute)
		r.end()
		r.delivered()
		if s := r.p.Status(); s.SetAside != 0 || s.Undelivered != 0 || s.Cursor < closed.LastModified {
			t.Errorf("the status says %+v, want nothing set aside and the cursor moved on", s)
		}
	})
}

// Of an event that is too large for a LAM the cure is told from the first refusal on, and kept with it.
func TestTheCureOfAnEventThatIsTooLargeIsToldAndKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.begin()
		r.pass(10 * time.Second)
		const cure = "raise client_max_body_size"
		r.lam.set(func(l *fakeLAM) {
			l.refuse, l.refuseDo = func(e alert.Event) bool { return e.ID == id(1) }, cure
		})
		r.scom.set(1, 0, 0)
		r.pass(time.Minute)
		if s := r.p.Status(); s.SetAside != 1 || s.SetAsideDo != cure || !strings.Contains(strings.Join(s.Warnings, "\n"), cure) || strings.Contains(strings.Join(s.Warnings, "\n"), "mapping") {
			t.Errorf("set aside %d, to do %q, warnings %q; want the cure in both", s.SetAside, s.SetAsideDo, s.Warnings)
		}
		r.scom.set(2, 0, 0)
		r.pass(time.Minute)
		for _, p := range r.state.parked {
			if !strings.Contains(p.Reason, "too large") || !strings.Contains(p.Reason, cure) {
				t.Errorf("parked because %q, want the cure in it", p.Reason)
			}
		}
		if s := r.p.Status(); len(r.state.parked) != 1 || s.SetAsideDo != "" {
			t.Errorf("%d parked, to do %q; want 1 and nothing", len(r.state.parked), s.SetAsideDo)
		}
		r.end()
	})
}

func TestALAMThatRefusesEverythingParksNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.lam.refuse = func(e alert.Event) bool { return e.Kind == "" }
		for n := range 1600 {
			r.scom.set(n, 0, 0)
		}
		r.begin()
		r.pass(30 * time.Minute)
		s := r.p.Status()
		if s.Blocked == "" || s.SetAside > maxAside+r.cfg.MaxBatchEvents || len(r.state.parked) > 0 {
			t.Errorf("set aside %d, parked %d, blocked %q", s.SetAside, len(r.state.parked), s.Blocked)
		}
		r.lam.set(func(l *fakeLAM) { l.refuse = nil })
		r.pass(30 * time.Minute)
		r.end()
		r.delivered()
		r.all()
		if s := r.p.Status(); s.Blocked != "" || s.SetAside != 0 {
			t.Errorf("afterwards: set aside %d, blocked %q", s.SetAside, s.Blocked)
		}
	})
}

func TestParkedFullBlocksAndAlarms(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.state.maxPark = 0
		r.scom.broken = []alert.Row{{ID: id(77), Raw: []byte(`{}`), Err: errors.New("no time")}}
		r.begin()
		r.pass(time.Minute)
		asked := r.scom.asked
		r.scom.set(1, 0, 0)
		r.pass(10 * time.Minute)
		if s := r.p.Status(); s.Blocked == "" || r.scom.asked != asked || len(r.lam.taken()) > 0 {
			t.Errorf("blocked %q, asked %d more times, delivered %d", s.Blocked, r.scom.asked-asked, len(r.lam.taken()))
		}
		r.state.get(func(s *fakeState) { s.maxPark = 10 })
		r.pass(time.Minute)
		r.end()
		r.delivered()
		r.wantOwn("full 5", "full 0")
	})
}

func TestAFullDeliveredMapHoldsNewAlertsAndLetsClosesPass(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.state.room = 50
		r.begin()
		r.pass(10 * time.Second)
		for n := range 80 {
			r.scom.set(n, 0, 0)
			r.pass(time.Second)
		}
		r.pass(2 * time.Minute)
		if s := r.p.Status(); s.Blocked == "" || len(r.lam.taken()) != 50 {
			t.Errorf("blocked %q, %d delivered, want 50", s.Blocked, len(r.lam.taken()))
		}
		for n := range 40 {
			r.scom.set(n, 255, 0)
		}
		r.pass(10 * time.Minute)
		r.end()
		r.delivered()
		r.wantOwn("full 5", "full 0")
		if n := r.repeated(); n > 0 {
			t.Errorf("%d versions twice", n)
		}
	})
}

func TestHeartbeatsStopWhileThePipelineDoesNotWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Heartbeat, c.OutageAlertAfter = time.Minute, time.Hour })
		r.begin()
		r.pass(10*time.Minute + 30*time.Second)
		beats := len(r.lam.owns())
		if beats < 10 || beats > 11 {
			t.Errorf("%d heartbeats in ten minutes", beats)
		}
		r.scom.setFault(faultAll(alert.FaultTransport))
		r.pass(10 * time.Minute)
		if n := len(r.lam.owns()); n > beats+1 {
			t.Errorf("%d heartbeats while SCOM cannot be read", n-beats)
		}
		r.end()
	})
}

func TestFilterDecidesOnlyForIdsNeverSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.enc.wants = func(a *alert.Alert) bool { return a.Owner == "" }
		put := func(n int, owner string, state uint8) {
			r.scom.put(alert.Alert{ID: id(n), LastModified: r.scom.now(), ResolutionState: state, Owner: owner}, 0)
		}
		r.begin()
		r.pass(10 * time.Second)
		put(1, "", 0)
		put(2, "anna", 0)
		r.pass(5 * time.Second)
		put(1, "anna", 255)
		put(2, "anna", 255)
		r.pass(5 * time.Second)
		r.end()
		got := r.lam.taken()
		if len(got) != 2 || got[0].v.ID != id(1) || got[1].v.ID != id(1) || got[1].v.State != 255 {
			t.Errorf("got %v, want both versions of the first alert and nothing of the second", got)
		}
	})
}

func TestMereRepeatCountsAreHeldBackIfNotWanted(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		t.Run(fmt.Sprint(wanted), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.SendRepeatCounts = wanted })
				put := func(repeats int64, owner string, state uint8) {
					r.scom.put(alert.Alert{ID: id(1), LastModified: r.scom.now(), RepeatCount: repeats, Owner: owner, ResolutionState: state}, 0)
					r.pass(5 * time.Second)
				}
				r.begin()
				r.pass(10 * time.Second)
				put(0, "", 0)
				put(1, "", 0)
				put(2, "", 0)
				put(3, "anna", 0)
				put(4, "anna", 255)
				r.end()
				want := 5
				if !wanted {
					want = 3
				}
				if got := len(r.lam.taken()); got != want {
					t.Errorf("%d events, want %d", got, want)
				}
			})
		})
	}
}

func TestARewindEndsThePipelineAndTheNextOneFollowsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.begin()
		for n := range 200 {
			r.scom.set(n, 0, 0)
			r.pass(10 * time.Second)
		}
		r.pass(time.Minute)
		before := len(r.lam.taken())
		to := alert.MillisOf(time.Now().Add(-1000 * time.Second))
		r.lam.set(func(l *fakeLAM) { l.slow = 3 * time.Second })
		r.scom.set(200, 0, 0)
		r.pass(3 * time.Second) // its post is under way: the commit behind it comes after the rewind
		r.state.rewind(to)
		r.pass(10 * time.Second)
		if err := r.stop(); !errors.Is(err, ErrRewound) {
			t.Fatalf("Run: %v, want ErrRewound", err)
		}
		if r.state.pos.Cursor != to {
			t.Errorf("the batch under way has moved the cursor from %v to %v", to, r.state.pos.Cursor)
		}
		r.lam.set(func(l *fakeLAM) { l.slow = 0 })
		r.begin()
		r.pass(time.Minute)
		r.end()
		if again := len(r.lam.taken()) - before; again < 90 || again > 110 {
			t.Errorf("%d events again, want about 94", again)
		}
		if r.state.pos.Cursor <= to {
			t.Error("the cursor did not move on")
		}
	})
}

func TestACommitThatFailsForAnUnknownReasonIsRepeatedNotItsBatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		r.pass(10 * time.Second)
		r.state.get(func(s *fakeState) { s.faults = 5 })
		r.scom.set(1, 0, 0)
		r.pass(4 * time.Second)
		if s := r.p.Status(); !strings.Contains(s.LastError, "does not record") || s.Phase != PhaseAwayLedger {
			t.Errorf("the status says %s, %q", s.Phase, s.LastError)
		}
		r.pass(time.Minute)
		if s := r.p.Status(); s.Phase == PhaseAwayLedger {
			t.Errorf("once commits succeed again it is %s", s.Phase)
		}
		if text := r.log.String(); strings.Count(text, "cannot be recorded") != 1 || strings.Count(text, "commits succeed again") != 1 {
			t.Errorf("five tries that failed in different words: the log has\n%s", text)
		}
		r.end()
		r.delivered()
		if r.repeated() > 0 || r.p.Status().LastError != "" {
			t.Errorf("%d versions twice, last error %q", r.repeated(), r.p.Status().LastError)
		}
	})
}

func TestRunReturnsTheEndOfTheTerm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		r.pass(10 * time.Second)
		r.state.ledger() // another term begins
		r.scom.set(1, 0, 0)
		r.pass(10 * time.Second)
		if err := r.stop(); !errors.Is(err, ErrTermOver) {
			t.Errorf("Run: %v, want ErrTermOver", err)
		}
	})
}

func TestDrainLetsTheBatchUnderWayLand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		r.pass(10 * time.Second)
		r.lam.set(func(l *fakeLAM) { l.slow = 3 * time.Second })
		r.scom.set(1, 0, 0)
		r.pass(2500 * time.Millisecond) // the post is under way
		r.p.Drain()
		r.pass(4 * time.Second)
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if len(r.lam.taken()) != 1 {
			t.Fatalf("%d delivered", len(r.lam.taken()))
		}
		r.begin()
		r.pass(time.Minute)
		r.end()
		if n := r.repeated(); n > 0 {
			t.Errorf("a planned handover repeated %d versions", n)
		}
	})
}

func TestTwoVersionsOfAnAlertInOneAnswerStayInOrder(t *testing.T) {
	version := func(at time.Time, state uint8) *alert.Alert {
		return &alert.Alert{ID: id(1), LastModified: at.Truncate(time.Millisecond), ResolutionState: state}
	}
	for _, newestFirst := range []bool{false, true} {
		t.Run(fmt.Sprintf("newest first %v", newestFirst), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.Reconcile = 0 })
				r.lam.refuse = func(e alert.Event) bool { return e.ID == id(1) && e.State == 0 }
				first, second := version(r.scom.now(), 0), version(r.scom.now().Add(time.Second), 255)
				r.scom.broken = []alert.Row{{Alert: first, ID: first.ID}, {Alert: second, ID: first.ID}}
				if newestFirst {
					slices.Reverse(r.scom.broken)
				}
				r.begin()
				r.pass(time.Minute)
				want := 0 // the close waits behind the refused version
				if newestFirst {
					want = 1 // the older version is of no interest any more
				}
				if got := len(r.lam.taken()); got != want {
					t.Errorf("%d events, want %d", got, want)
				}
				r.scom.set(2, 0, 0)
				r.pass(10 * time.Second)
				r.end()
				if got := r.lam.taken(); len(got) != 2 || len(r.state.parked) != 1-want {
					t.Errorf("%d taken and %d parked, want the close and the other alert, and %d parked", len(got), len(r.state.parked), 1-want)
				}
			})
		})
	}
}

// What ends an outage is not waited for until the end of a back-off, which grows to minutes in a long one.
func TestABackOffEndsWhenTheOtherSideIsBack(t *testing.T) {
	const hour = 60 * time.Minute
	t.Run("SCOM", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.begin()
			r.pass(10 * time.Second)
			back := make(chan struct{})
			r.scom.setFault(func(alert.Query) error {
				return &alert.Fault{Console: "c1", All: true, Back: back, Err: errors.New("connection refused")}
			})
			r.pass(hour)
			r.scom.set(1, 0, 0)
			r.scom.setFault(nil)
			close(back)
			r.pass(5 * time.Second)
			r.end()
			r.delivered()
		})
	})
	t.Run("LAM", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.begin()
			r.pass(10 * time.Second)
			back := make(chan struct{})
			r.lam.set(func(l *fakeLAM) { l.away, l.back = true, back })
			r.scom.set(1, 0, 0)
			r.pass(hour)
			r.lam.set(func(l *fakeLAM) { l.away = false })
			close(back)
			r.pass(5 * time.Second)
			r.end()
			r.delivered()
		})
	})
}
