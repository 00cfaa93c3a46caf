package poller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

// The reading position belongs to the term: the same node loses and regains leadership while the LAM
// is down, and what was in its memory must be read again.
func TestTheSameNodeRegainsLeadershipWhileTheLAMIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.begin()
		r.pass(10 * time.Second)
		r.lam.set(func(l *fakeLAM) { l.away = true })
		r.scom.set(7, 0, 0)
		r.pass(5 * time.Minute)
		if s := r.p.Status(); s.Undelivered != 1 {
			t.Fatalf("%d undelivered, want event 7", s.Undelivered)
		}
		r.end()
		r.begin()
		r.pass(time.Minute)
		r.lam.set(func(l *fakeLAM) { l.away = false })
		r.scom.set(8, 0, 0)
		r.pass(10 * time.Minute)
		r.end()
		r.delivered()
	})
}

// A crash right after a LAM has taken a batch, before the commit, repeats that batch and nothing else.
func TestACrashBetweenAcceptanceAndCommitRepeatsOneBatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxBatchEvents, c.Reconcile = 20, 0 })
		const crashes = 50
		r.begin()
		r.pass(5 * time.Second)
		for n := range crashes {
			// The next term begins in the very instant in which the LAM has taken the batch.
			died := false
			r.lam.set(func(l *fakeLAM) {
				l.onTaken = func(events []alert.Event) {
					if events[0].Kind == "" && !died {
						died = true
						r.state.ledger()
					}
				}
			})
			for i := range 50 {
				r.scom.set(n*50+i, 0, 0)
			}
			r.pass(time.Minute)
			if err := r.stop(); !errors.Is(err, ErrTermOver) {
				t.Fatalf("Run: %v, want ErrTermOver", err)
			}
			r.lam.set(func(l *fakeLAM) { l.onTaken = nil })
			r.begin()
			r.pass(time.Minute)
		}
		r.end()
		r.delivered()
		if n := r.repeated(); n != crashes*20 {
			t.Errorf("%d versions twice, want the one batch of 20 for each of %d crashes", n, crashes)
		}
	})
}

func TestThreeDaysAreCaughtUpOldestFirstInSlices(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		r.scom.perPoll, r.scom.perRow = 200*time.Millisecond, time.Millisecond
		r.begin()
		r.scom.set(0, 0, 0)
		r.pass(time.Minute)
		r.end()
		for n := range 3 * 24 * 60 {
			r.scom.set(n, 0, time.Duration(n%20)*time.Second)
			r.pass(time.Minute)
		}
		began := time.Now()
		polls := len(r.scom.polls)
		r.begin()
		r.pass(5 * time.Second)
		if s := r.p.Status(); s.Phase != PhaseCatchingUp || s.Progress == "" || s.Lag < 24*time.Hour {
			t.Errorf("while catching up the status says %+v", s)
		}
		for r.p.Status().Phase != PhaseIdle {
			r.pass(time.Second)
			if time.Since(began) > time.Hour {
				t.Fatal("still not caught up after an hour")
			}
		}
		took := time.Since(began)
		r.end()
		r.delivered()
		slices := r.scom.polls[polls:]
		for i, q := range slices {
			if q.To != 0 && q.To.Sub(q.From) > maxSlice {
				t.Errorf("slice %d is %v wide", i, q.To.Sub(q.From))
			}
			if i > 0 && q.From < slices[i-1].From {
				t.Errorf("slice %d begins at %s, before the one before", i, q.From)
			}
		}
		t.Logf("%d questions, %v", len(slices), took)
		var last alert.Millis
		for _, x := range r.lam.taken() {
			if x.v.LastModified < last.Add(-maxSlice) {
				t.Errorf("%s was delivered after %s", x.v.LastModified, last)
			}
			last = max(last, x.v.LastModified)
		}
	})
}

func TestTimeoutsNarrowTheQuestionUntilItIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 10 * time.Minute })
		const most = 300 // rows an answer may have
		r.scom.setFault(func(q alert.Query) error {
			n := len(r.scom.visible(func(a *alert.Alert) bool { return matches(q, nil, a) }))
			if n > most {
				return &alert.Fault{Class: alert.FaultTimeout, Console: "scom1", All: true, Err: errors.New("no byte for 60 s")}
			}
			return nil
		})
		now := r.scom.now()
		for n := range 3000 { // open ones of many ages, and many of the look-back
			r.scom.setAt(n, 0, now.Add(-time.Duration(n*n)*time.Second/2), 0)
		}
		r.begin()
		r.pass(4 * time.Hour)
		for range 100 { // it may be in the middle of a poll or of a reconcile
			if r.p.Status().Phase == PhaseIdle {
				break
			}
			r.pass(100 * time.Millisecond)
		}
		if s := r.p.Status(); s.Phase != PhaseIdle || !r.state.pos.Started {
			t.Errorf("the status says %+v, want the first read done in parts", s)
		}
		r.delivered()
		// A storm that one overlap read cannot show.
		for n := range 2000 {
			r.scom.set(10000+n, 0, 0)
			r.pass(50 * time.Millisecond)
		}
		r.pass(2 * time.Hour)
		r.end()
		r.delivered()
		if n := r.repeated(); n > 0 {
			t.Errorf("%d versions twice", n)
		}
	})
}

// TestRandomSchedules lets everything go wrong at random instants and checks the promises.
func TestRandomSchedules(t *testing.T) {
	for seed := range 40 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { schedule(t, uint64(seed)) })
		})
	}
}

func schedule(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, func(c *Config) {
		c.MaxBatchEvents = 1 + rng.IntN(20)
		c.SendRepeatCounts = rng.IntN(2) == 0
		c.LowerBackoff, c.UpperBackoff = time.Second, 30*time.Second
	})
	r.scom.twice, r.scom.perPoll = true, time.Duration(rng.IntN(300))*time.Millisecond
	r.scom.perRow = time.Duration(rng.IntN(20)) * time.Millisecond
	r.lam.slow, r.state.slow = time.Duration(rng.IntN(100))*time.Millisecond, time.Duration(rng.IntN(30))*time.Millisecond
	r.scom.cut = rng.IntN(5)
	var cursor alert.Millis
	crashes := 0
	r.begin()
	for range 300 {
		switch n := rng.IntN(40); n {
		case 0:
			r.lam.set(func(l *fakeLAM) { l.away = !l.away })
		case 1:
			r.lam.set(func(l *fakeLAM) { l.every = rng.IntN(4) })
		case 2, 3:
			class := alert.FaultClass(rng.IntN(4))
			r.scom.setFault(func(alert.Query) error {
				return &alert.Fault{Class: class, Console: "scom1", All: n == 2, Err: errors.New("random")}
			})
		case 4, 5:
			r.scom.setFault(nil)
		case 6, 7: // another leader, while this one still works
			crashes++
			old := r.stop
			r.begin()
			r.pass(time.Duration(rng.IntN(2000)) * time.Millisecond)
			if err := old(); err != nil && !errors.Is(err, ErrTermOver) && !errors.Is(err, ErrUnknownOutcome) {
				t.Errorf("Run: %v", err)
			}
		case 8:
			r.p.Drain()
			r.pass(time.Second)
			crashes++ // a LAM away when draining may cost nothing, a slow one neither; stop may
			_ = r.stop()
			r.begin()
		case 9:
			bad := id(rng.IntN(30))
			r.lam.set(func(l *fakeLAM) { l.refuse = func(e alert.Event) bool { return e.ID == bad } })
		case 10:
			r.lam.set(func(l *fakeLAM) { l.refuse = nil })
		default:
			for range rng.IntN(10) {
				state := []uint8{0, 0, 249, 255}[rng.IntN(4)]
				r.scom.set(rng.IntN(60), state, time.Duration(rng.IntN(31))*time.Second)
			}
		}
		r.pass(time.Duration(rng.IntN(10000)) * time.Millisecond)
		r.state.get(func(s *fakeState) {
			if s.pos.Cursor < cursor {
				t.Errorf("the cursor went back from %s to %s", cursor, s.pos.Cursor)
			}
			cursor = s.pos.Cursor
		})
	}
	r.scom.setFault(nil)
	r.lam.set(func(l *fakeLAM) { l.away, l.every, l.refuse, l.slow = false, 0, nil, 0 })
	r.pass(2 * time.Minute)
	r.scom.set(1000, 0, 0)
	r.pass(10 * time.Minute)
	if s := r.p.Status(); s.Undelivered != 0 || s.Phase != PhaseIdle && s.Phase != PhasePolling {
		t.Errorf("at rest the status says %+v", s)
	}
	r.end()
	r.checkDelivered()
	if n := r.repeated(); n > crashes*r.cfg.MaxBatchEvents {
		t.Errorf("%d versions twice by %d changes of leader with batches of %d", n, crashes, r.cfg.MaxBatchEvents)
	}
}

// checkDelivered is delivered, where a parked version counts as handled, and one that is nothing but a
// later time (a repeat count) need not be there if those are not wanted.
func (r *rig) checkDelivered() {
	r.t.Helper()
	got := make(map[alert.ID]alert.Version)
	for _, x := range r.lam.taken() {
		if x.v.Supersedes(got[x.v.ID]) {
			got[x.v.ID] = x.v
		}
	}
	for _, p := range r.state.parked {
		if p.Version.Supersedes(got[p.Version.ID]) {
			got[p.Version.ID] = p.Version
		}
	}
	for id, v := range r.scom.last() {
		ok := got[id] == v || !r.cfg.SendRepeatCounts && got[id].State == v.State && !got[id].LastModified.Time().IsZero()
		if !ok {
			r.t.Errorf("alert %s: the LAM has %v, SCOM shows %v", id, show(got[id]), show(v))
		}
	}
}
