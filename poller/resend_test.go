package poller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

// shelve parks version v of an alert, as a LAM's refusal does.
func (r *rig) shelve(v alert.Version, change func(*Parked)) alert.ID {
	p := Parked{Key: versionKey(v), Version: v, Reason: "the LAM refuses it, but takes others", LAM: "lam1", Status: 400, Answer: "no", Payload: []byte(body(v))}
	if change != nil {
		change(&p)
	}
	r.state.get(func(s *fakeState) {
		s.parked[p.Key] = p
		s.sent[v.ID] = v
	})
	return p.Key
}

func (r *rig) taken(v alert.Version) (n int) {
	for _, x := range r.lam.taken() {
		if x.v == v {
			n++
		}
	}
	return n
}

func TestAParkedEventIsSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		shelf   func(*Parked)
		before  func(r *rig, v alert.Version) // what has happened meanwhile
		outcome ResendOutcome
		err     error
		sent    int
		stays   string // the answer that the entry has then; empty: it is gone
	}{
		"accepted":     {outcome: Delivered, sent: 1},
		"refused":      {before: func(r *rig, _ alert.Version) { r.lam.refuse = func(alert.Event) bool { return true } }, outcome: StillRefused, stays: "no"},
		"overtaken":    {before: func(r *rig, v alert.Version) { r.scom.setAt(1, 255, r.scom.now(), 0); r.pass(10 * time.Second) }, outcome: Overtaken},
		"a row":        {shelf: func(p *Parked) { p.LAM, p.Answer = "", "old" }, err: ErrNoEvent, stays: "old"},
		"cut":          {shelf: func(p *Parked) { p.Payload, p.Answer = p.Payload[:5], "old" }, err: ErrNoEvent, stays: "old"},
		"LAM away":     {shelf: func(p *Parked) { p.Answer = "old" }, before: func(r *rig, _ alert.Version) { r.lam.set(func(l *fakeLAM) { l.away = true }) }, err: ErrAway, stays: "old"},
		"a slow disk":  {before: func(r *rig, _ alert.Version) { r.state.get(func(s *fakeState) { s.faults = 3 }) }, outcome: Delivered, sent: 1},
		"a full shelf": {before: func(r *rig, _ alert.Version) { r.state.get(func(s *fakeState) { s.maxPark = 1 }) }, outcome: Delivered, sent: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.Reconcile = 0 })
				v := r.scom.set(1, 0, 0)
				r.begin()
				r.pass(time.Minute)
				key := r.shelve(v, c.shelf)
				before := r.taken(v) // the fake LAM does not know that it has refused it
				if c.before != nil {
					c.before(r, v)
				}
				got, err := r.p.Resend(t.Context(), key)
				if !errors.Is(err, c.err) || got.Outcome != c.outcome {
					t.Fatalf("got %+v, %v; want outcome %d, %v", got, err, c.outcome, c.err)
				}
				if n := r.taken(v) - before; n != c.sent {
					t.Errorf("sent %d times, want %d", n, c.sent)
				}
				e, parked := r.state.ledgerOf().Entry(key)
				if parked != (c.stays != "") || e.Answer != c.stays {
					t.Errorf("parked %v with %q, want %q", parked, e.Answer, c.stays)
				}
				if _, err := r.p.Resend(t.Context(), id(77)); !errors.Is(err, ErrNotParked) && !errors.Is(c.err, ErrAway) {
					t.Errorf("of a key that is not there: %v", err)
				}
				r.end()
			})
		})
	}
}

// While the LAM is away nobody waits for it; and a pipeline that has ended says so.
func TestAResendDoesNotWaitForALAMThatIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		v := r.scom.set(1, 0, 0)
		r.begin()
		r.pass(time.Minute)
		key := r.shelve(v, nil)
		r.lam.set(func(l *fakeLAM) { l.away = true })
		r.scom.set(2, 0, 0)
		r.pass(time.Minute)
		start := time.Now()
		if _, err := r.p.Resend(t.Context(), key); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "502 bad gateway") || time.Since(start) > 0 {
			t.Errorf("after %v: %v, want at once that the LAM is away", time.Since(start), err)
		}
		r.lam.set(func(l *fakeLAM) { l.away, l.slow = false, 20*time.Second })
		r.pass(6 * time.Minute)
		r.scom.set(3, 0, 0)
		r.pass(5 * time.Second) // its post is under way
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := r.p.Resend(ctx, key); !errors.Is(err, ErrAway) {
			t.Errorf("behind a slow batch: %v, want that it was not sent", err)
		}
		r.end()
		if _, err := r.p.Resend(t.Context(), key); !errors.Is(err, ErrTermOver) {
			t.Errorf("after the end: %v, want ErrTermOver", err)
		}
	})
}

// A term that ends while the LAM answers leaves the entry parked: the next leader is asked again.
func TestAResendOutlivesItsTermAsAnEntryThatIsStillParked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Reconcile = 0 })
		v := r.scom.set(1, 0, 0)
		r.begin()
		r.pass(time.Minute)
		key := r.shelve(v, nil)
		before := r.taken(v)
		r.lam.onTaken = func([]alert.Event) { r.state.ledger() } // another node leads by the time the answer has come
		if got, err := r.p.Resend(t.Context(), key); !errors.Is(err, ErrTermOver) {
			t.Fatalf("got %+v, %v; want the term's end", got, err)
		}
		if err := r.stop(); !errors.Is(err, ErrTermOver) {
			t.Errorf("Run: %v, want ErrTermOver", err)
		}
		r.lam.onTaken = nil
		if _, parked := r.state.parked[key]; !parked {
			t.Fatal("it has left the shelf, although its end was not recorded")
		}
		r.begin()
		if got, err := r.p.Resend(t.Context(), key); err != nil || got.Outcome != Delivered {
			t.Errorf("by the next leader: %+v, %v", got, err)
		}
		if n := r.taken(v) - before; n != 2 {
			t.Errorf("sent %d times, want twice: once by each leader", n)
		}
		r.end()
	})
}
