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

func TestTheEndOfAnOutageCountsTheBatchThatEndedIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.begin()
		r.pass(10 * time.Second)
		r.lam.set(func(l *fakeLAM) { l.away = true })
		for n := range 5 {
			r.scom.set(n, 0, 0)
		}
		r.pass(20 * time.Minute)
		r.lam.set(func(l *fakeLAM) { l.away = false })
		r.pass(10 * time.Minute)
		r.end()
		r.delivered()
		r.wantOwn("lam-outage 5", "lam-outage 0")
		if !slices.ContainsFunc(r.enc.told, func(d string) bool { return strings.Contains(d, "; 5 alert changes arrived late") }) {
			t.Errorf("told %q, want 5 late changes", r.enc.told)
		}
	})
}

func TestTwoOutagesToldAsOneAddTheirLateChanges(t *testing.T) {
	var o ownEvents
	from, late := time.Now(), alert.Version{LastModified: 5}
	o.lamWasAway(from, from.Add(time.Minute), 10)
	o.late(late)
	o.lamWasAway(from.Add(2*time.Minute), from.Add(3*time.Minute), 20)
	o.late(late)
	if o.lamGone.late != 2 || !o.lamGone.from.Equal(from) {
		t.Errorf("got %+v, want two late changes since the first outage", o.lamGone)
	}
}

// Before SCOM was read to its end for the first time nobody knows how far behind that is, also where it has answered a question already.
func TestTheLagIsNotKnownBeforeTheFirstWholeAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.scom.setFault(faultAll(alert.FaultTransport))
		r.begin()
		r.pass(time.Minute)
		if s := r.p.Status(); s.LagKnown || s.Lag != 0 {
			t.Errorf("SCOM was never read, and the lag is %v, known: %v", s.Lag, s.LagKnown)
		}
		r.scom.setFault(func(q alert.Query) error {
			if len(q.IDs) > 0 { // the question for the date
				return nil
			}
			return &alert.Fault{Class: alert.FaultTimeout, Console: "scom1", All: true, Err: errors.New("too slow")}
		})
		r.pass(10 * time.Minute)
		if s := r.p.Status(); s.LastPoll.IsZero() || s.LagKnown {
			t.Errorf("SCOM has told its time and nothing else (at %v), and the lag is %v, known: %v", s.LastPoll, s.Lag, s.LagKnown)
		}
		r.scom.setFault(nil)
		r.pass(10 * time.Minute)
		if s := r.p.Status(); !s.LagKnown {
			t.Errorf("SCOM was read, and the status is %+v", s)
		}
		r.end()
	})
}

// A term that begins in an outage has no clock of SCOM's, but knows the cursor.
func TestTheLagGrowsFromTheBeginningOfATermWithoutAnswers(t *testing.T) {
	for _, skew := range []time.Duration{0, 10 * time.Minute} {
		t.Run(fmt.Sprint("cursor ahead by ", skew), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, nil)
				began := time.Now()
				r.state.pos = Position{Started: true, Cursor: alert.MillisOf(began.Add(skew))}
				r.scom.setFault(faultAll(alert.FaultTransport))
				r.begin()
				for _, at := range []time.Duration{time.Second, 5 * time.Minute, 20 * time.Minute} {
					r.pass(time.Until(began.Add(at)))
					if got, want := r.p.Status().Lag, max(at-skew, 0); got != want {
						t.Errorf("after %v the lag is %v, want %v", at, got, want)
					}
				}
				if got := r.state.pos.Cursor; got != alert.MillisOf(began.Add(skew)) {
					t.Errorf("the estimate moved the cursor to %s", got)
				}
				r.scom.setFault(nil)
				r.pass(10 * time.Minute)
				if s := r.p.Status(); s.Lag != 0 {
					t.Errorf("the lag is %v although SCOM was read", s.Lag)
				}
				r.end()
			})
		})
	}
}

func TestAFailedPollWithAnotherConsoleLeftIsNoOutage(t *testing.T) {
	for _, c := range []struct {
		what  string
		fault alert.Fault
		down  bool // at once
		alone bool // no other console is left
	}{
		{"one console", alert.Fault{Class: alert.FaultTransport}, false, false},
		{"one console hangs", alert.Fault{Class: alert.FaultTimeout}, false, false},
		{"every console", alert.Fault{Class: alert.FaultTransport, All: true}, true, true},
		{"a time-out that halves the slice", alert.Fault{Class: alert.FaultTimeout, All: true}, false, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.LowerBackoff, c.UpperBackoff = 30*time.Second, 30*time.Second })
				r.begin()
				r.pass(10 * time.Second)
				f := c.fault
				f.Console, f.Err = "scom1", errors.New("switched off")
				r.scom.setFault(func(alert.Query) error { return &f })
				failed := time.Now()
				r.pass(2 * time.Second)
				s := r.p.Status()
				if s.LastError == "" || s.SCOMError != s.LastError || !s.ConsolesDownSince.IsZero() != c.down || (s.Phase == PhaseAwaySCOM) != c.down {
					t.Errorf("after one failed poll the status says %+v, want down: %v", s, c.down)
				}
				if !s.UnansweredSince.IsZero() != c.alone {
					t.Errorf("unanswered since %v, want it set: %v", s.UnansweredSince, c.alone)
				}
				r.pass(downAfter)
				if s := r.p.Status(); s.ConsolesDownSince.IsZero() || s.Phase != PhaseAwaySCOM {
					t.Errorf("after %v of failed polls the status says %+v", downAfter, s)
				}
				r.wantOwn()             // not yet
				r.pass(5 * time.Minute) // longer than OutageAlertAfter
				s = r.p.Status()
				if since := s.ConsolesDownSince; since.Before(failed) || since.After(failed.Add(2*time.Second)) || since.Location() != time.UTC {
					t.Errorf("after six minutes down since %v, want the first failure, at %v", since, failed)
				}
				r.wantOwn("scom-outage 5")
				r.scom.setFault(nil)
				r.pass(time.Minute)
				if s := r.p.Status(); !s.ConsolesDownSince.IsZero() || !s.UnansweredSince.IsZero() || s.SCOMError != "" || s.LastError != "" {
					t.Errorf("afterwards the status says %+v", s)
				}
				r.end()
			})
		})
	}
}

func TestATimeOutThatCannotBeNarrowedIsAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.scom.setFault(faultAll(alert.FaultTimeout)) // not even the date
		r.begin()
		r.pass(time.Second)
		if s := r.p.Status(); s.ConsolesDownSince.IsZero() {
			t.Errorf("the status says %+v", s)
		}
		r.end()
	})
}

// A wall clock that is set back must not delay the alarm: what is counted from keeps its monotonic reading.
func TestOutagesAreCountedByTheMonotonicClock(t *testing.T) {
	var b board
	now := time.Now()
	b.failed(now, "switched off", 0, true, false)
	if since, _, _, _ := b.outage(Defaults(), now); since != now {
		t.Errorf("counted from %v, want %v", since, now)
	}
	if since := b.answered(now.Add(time.Minute)); since != now {
		t.Errorf("the outage began at %v, want %v", since, now)
	}
}

func TestSCOMAndLAMKeepTheirOwnErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		r.pass(10 * time.Second)
		want := func(when, scom, lam, last string) {
			t.Helper()
			s := r.p.Status()
			for _, c := range []struct{ what, got, want string }{{"SCOMError", s.SCOMError, scom}, {"LAMError", s.LAMError, lam}, {"LastError", s.LastError, last}} {
				if (c.got == "") != (c.want == "") || !strings.Contains(c.got, c.want) {
					t.Errorf("%s: %s is %q, want %q", when, c.what, c.got, c.want)
				}
			}
		}
		r.scom.setFault(faultAll(alert.FaultTransport))
		r.pass(time.Minute)
		want("SCOM away", "switched off", "", "switched off")
		// The self-alert about SCOM shows that the LAM is away, too.
		r.lam.set(func(l *fakeLAM) { l.away = true })
		r.pass(10 * time.Minute)
		want("both away", "switched off", "502", "502")
		r.lam.set(func(l *fakeLAM) { l.away = false })
		r.pass(10 * time.Minute)
		want("the LAM is back", "switched off", "", "switched off")
		r.lam.set(func(l *fakeLAM) { l.away = true })
		r.scom.setFault(nil)
		r.pass(10 * time.Minute)
		r.scom.set(1, 0, 0)
		r.pass(10 * time.Minute)
		want("SCOM is back", "", "502", "502")
		r.lam.set(func(l *fakeLAM) { l.away = false })
		r.pass(10 * time.Minute)
		want("all is well", "", "", "")
		r.end()
	})
}

func TestLatenessNamesItsLikelyCause(t *testing.T) {
	for _, c := range []struct {
		what        string
		ahead       time.Duration
		late        func(n int) time.Duration // of the n-th row
		clock, warn bool
	}{
		{"in time", 0, func(int) time.Duration { return 0 }, false, false},
		{"some long commits", 0, func(n int) time.Duration { return time.Duration(n%4/3) * 80 * time.Second }, false, true},
		{"every row by 80 s", 80 * time.Second, func(int) time.Duration { return 0 }, true, true},
		{"every row by 10 min", 10 * time.Minute, func(int) time.Duration { return 0 }, true, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.Reconcile = 0 })
				r.scom.ahead = c.ahead
				r.begin()
				r.pass(10 * time.Second)
				for n := range 200 {
					r.scom.set(n, 0, c.late(n))
					r.pass(time.Second)
				}
				r.pass(2 * time.Minute)
				got := strings.Join(r.p.Status().Warnings, "\n")
				if strings.Contains(got, "raise OverlapSeconds") != c.warn || strings.Contains(got, "clock may be ahead of the database's") != c.clock {
					t.Errorf("warnings %q, want one: %v, which names the clock: %v", got, c.warn, c.clock)
				}
				r.end()
			})
		})
	}
}

// After an outage all that had changed meanwhile counted as shown late, and an alert said to raise OverlapSeconds.
func TestLatenessIsSCOMsAndNotOurs(t *testing.T) {
	for _, c := range []struct {
		what        string
		outage      time.Duration
		late        time.Duration
		least, most time.Duration
	}{
		{"an outage", 85 * time.Second, 0, 0, 2 * time.Second},
		{"a late commit", 0, 30 * time.Second, 25 * time.Second, 31 * time.Second},
		{"in time", 0, 0, 0, time.Second},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.Reconcile = 0 })
				r.begin()
				r.pass(10 * time.Second)
				r.scom.set(1, 0, 0)
				r.pass(10 * time.Second)
				if c.outage > 0 {
					r.scom.setFault(faultAll(alert.FaultTransport))
				}
				for n := range 20 {
					r.scom.set(2+n, 0, c.late)
					r.pass(time.Second)
				}
				r.pass(c.outage)
				r.scom.setFault(nil)
				r.pass(5 * time.Minute)
				if got := r.p.Status().Lateness; got < c.least || got > c.most {
					t.Errorf("lateness %v, want %v to %v", got, c.least, c.most)
				}
				r.end()
				r.delivered()
			})
		})
	}
}

func TestAClockThatGoesWrongLaterIsNamed(t *testing.T) {
	var j tardy
	const limit = 45 * time.Second
	for range 100_000 {
		j.judge(time.Second, limit)
	}
	why := notLate
	for range 200 {
		why = j.judge(time.Minute, limit)
	}
	if why != lateClock {
		t.Errorf("200 late rows in a row point to %d, want the clock", why)
	}
}

func TestOnlyAPayloadThatDoesNotFitIsCut(t *testing.T) {
	big, small := []byte(strings.Repeat("x", 1000)), []byte(strings.Repeat("y", 100))
	rows := []alert.Row{{ID: id(78), Raw: small, Err: errors.New("no time")}, {ID: id(77), Raw: big, Err: errors.New("no time")}}
	t.Run("too large", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Reconcile = 0 })
			r.state.largest, r.scom.broken = 300, rows
			r.begin()
			r.pass(time.Minute)
			r.end()
			got := map[alert.ID]int{}
			for _, p := range r.state.parked {
				got[p.Version.ID] = len(p.Payload)
			}
			if len(got) != 2 || got[id(77)] != 250 || got[id(78)] != 100 {
				t.Errorf("payloads %v, want the large one halved twice and the small one whole", got)
			}
		})
	})
	t.Run("another error", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Reconcile = 0 })
			r.begin()
			r.pass(10 * time.Second)
			r.state.get(func(s *fakeState) { s.faults = 30 })
			r.scom.mu.Lock()
			r.scom.broken = rows
			r.scom.mu.Unlock()
			r.pass(20 * time.Second)
			if s := r.p.Status(); !strings.Contains(s.LastError, "does not record") {
				t.Errorf("the status says %q", s.LastError)
			}
			r.pass(time.Minute)
			if s := r.p.Status(); s.LastError != "" {
				t.Errorf("afterwards the status says %q", s.LastError)
			}
			r.end()
			for _, p := range r.state.parked {
				if want := len(big); p.Version.ID == id(77) && len(p.Payload) != want {
					t.Errorf("%d bytes are left of %d", len(p.Payload), want)
				}
			}
			if len(r.state.parked) != 2 || r.state.tried < 30 {
				t.Errorf("%d parked after %d tries", len(r.state.parked), r.state.tried)
			}
		})
	})
}

// What the LAM has not got is not counted as accepted: parked versions, and repeats held back.
func TestTheLedgerCountsWhatTheLAMHasTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.SendRepeatCounts, c.Reconcile = false, 0 })
		r.enc.refuse = func(a *alert.Alert) bool { return a.ID == id(3) }
		r.lam.refuse = func(e alert.Event) bool { return e.ID == id(4) }
		r.begin()
		r.pass(10 * time.Second)
		for n := range 10 {
			r.scom.set(n, 0, 0)
		}
		r.pass(30 * time.Second)
		for n := range 3 { // mere repeats
			r.scom.set(n, 0, 0)
		}
		r.scom.set(10, 0, 0) // proves the LAM, so that what it refuses is parked
		r.pass(time.Minute)
		r.end()
		if got := len(r.lam.taken()); got != 9 || r.state.count != got || len(r.state.parked) != 2 || len(r.state.sent) != 11 {
			t.Errorf("%d accepted and %d counted, %d parked, %d remembered; want 9, 9, 2, 11", got, r.state.count, len(r.state.parked), len(r.state.sent))
		}
		for n := range 3 {
			if got, want := r.state.sent[id(n)], r.scom.last()[id(n)]; got != want {
				t.Errorf("remembered %v, want the repeat %v", got, want)
			}
		}
		if r.p.Status().Undelivered != 0 {
			t.Errorf("%d versions are still under way", r.p.Status().Undelivered)
		}
	})
}

func TestTextsNameCommandsThatExist(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.state.maxPark = 0
		r.scom.broken = []alert.Row{{ID: id(77), Raw: []byte(`{}`), Err: errors.New("no time")}}
		r.begin()
		r.pass(time.Minute)
		if got := r.p.Status().Blocked; !strings.Contains(got, "`scomconnector parked remove`") || strings.Contains(got, "retry") {
			t.Errorf("blocked %q, want what the command can do", got)
		}
		r.end()
	})
}

// What went through is counted step by step: what is tried again counts as sent again, and our own events count nowhere.
func TestFlowCountsEachStep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.begin()
		r.pass(10 * time.Second)
		r.lam.set(func(l *fakeLAM) { l.away = true })
		for n := range 5 {
			r.scom.set(n, 0, 0)
		}
		r.pass(20 * time.Minute) // long enough to be told of afterwards
		away := r.p.Status()
		if f := away.Flow; f.Read != 5 || f.Posted < 10 || f.Accepted != 0 || f.Polls < 2 || away.Undelivered != 5 {
			t.Errorf("while the LAM is away: %+v, %d undelivered; want 5 read, sent more than once, none accepted", f, away.Undelivered)
		}
		r.lam.set(func(l *fakeLAM) { l.away = false })
		r.pass(10 * time.Minute)
		back := r.p.Status()
		if f := back.Flow; f.Read != 5 || f.Accepted != 5 || f.Polls <= away.Flow.Polls || back.Undelivered != 0 {
			t.Errorf("once it is back: %+v, %d undelivered; want 5 read and accepted", f, back.Undelivered)
		}
		r.end()
	})
}
