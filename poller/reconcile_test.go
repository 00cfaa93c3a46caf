package poller

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

func TestReconcileFindsWhatTheDeltasNeverShowed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		for n := range 100 {
			r.scom.set(n, 0, 0)
			r.pass(time.Second)
		}
		r.pass(5 * time.Minute)
		r.scom.set(500, 0, 20*time.Minute) // committed far later than any overlap
		r.scom.set(1, 255, 20*time.Minute) // a close just as late
		for n := range 30 {
			r.scom.set(200+n, 0, 0)
			r.pass(time.Minute)
		}
		r.pass(35 * time.Minute)
		r.end()
		r.delivered()
		if n := r.repeated(); n > 0 {
			t.Errorf("%d versions twice", n)
		}
	})
}

func TestReconcileClosesWhatHasVanishedTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		var gone alert.Version
		for n := range 30 {
			if v := r.scom.set(n, 0, 0); n == 4 {
				gone = v
			}
		}
		r.pass(2 * time.Minute) // the first pass sees all
		r.scom.groom(4)
		before := len(r.lam.taken())
		r.pass(36 * time.Minute) // absent once
		if n := len(r.lam.taken()) - before; n != 0 {
			t.Errorf("%d events after the first absence, want none", n)
		}
		r.pass(13 * time.Minute) // absent twice
		got := r.lam.taken()[before:]
		want := alert.Version{ID: id(4), LastModified: gone.LastModified, State: 255}
		if len(got) != 1 || got[0].v != want {
			t.Fatalf("got %v, want the close with the last time %v", got, want)
		}
		// Should it return, it is sent again.
		r.scom.set(4, 0, 0)
		r.pass(10 * time.Second)
		r.end()
		r.delivered()
	})
}

func TestReconcileDoesNotCloseWhatReturnsBetweenThePasses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		for n := range 30 {
			r.scom.set(n, 0, 0)
		}
		r.pass(2 * time.Minute)
		r.scom.mu.Lock()
		kept := r.scom.alerts[id(4)]
		delete(r.scom.alerts, id(4))
		r.scom.mu.Unlock()
		r.pass(36 * time.Minute)
		r.scom.mu.Lock()
		r.scom.alerts[id(4)] = kept
		r.scom.mu.Unlock()
		r.pass(2 * time.Hour)
		r.end()
		if n := len(r.lam.taken()); n != 30 {
			t.Errorf("%d events, want 30: each alert once, and no close", n)
		}
	})
}

func TestReconcileClosesNothingWhenTooManyVanish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		for n := range 100 {
			r.scom.set(n, 0, 0)
		}
		r.pass(2 * time.Minute)
		for n := range 21 {
			r.scom.groom(n)
		}
		r.pass(3 * time.Hour)
		if n := len(r.lam.taken()); n != 100 {
			t.Errorf("%d events, want 100 and no close", n)
		}
		s := r.p.Status()
		if s.Vanished != 21 || !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "reconcile confirm") }) {
			t.Errorf("the status says %d vanished, %q", s.Vanished, s.Warnings)
		}
		r.p.ConfirmVanished()
		r.pass(time.Minute)
		if n := len(r.lam.taken()); n != 121 {
			t.Errorf("%d events, want 121: a person has confirmed", n)
		}
		if s := r.p.Status(); s.Vanished != 0 || len(s.Warnings) != 0 {
			t.Errorf("the status still says %d vanished, %q", s.Vanished, s.Warnings)
		}
		// One word, one time.
		for n := range 30 {
			r.scom.groom(30 + n)
		}
		r.pass(3 * time.Hour)
		r.end()
		if n := len(r.lam.taken()); n != 121 {
			t.Errorf("%d events: the confirmation was used twice", n)
		}
	})
}

// A mass close between two deltas is no scope change: asked for by id, all are found.
func TestReconcileFindsVanishedAlertsByTheirIds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		for n := range 300 {
			r.scom.set(n, 0, 0)
		}
		r.pass(3 * time.Minute)
		before := alert.MillisOf(r.scom.now())
		for n := range 200 { // closed long ago, says SCOM, and shown only now
			r.scom.setAt(n, 255, before.Time().Add(-2*time.Minute+time.Duration(n)*time.Millisecond), 10*time.Minute)
		}
		r.pass(time.Hour)
		r.end()
		r.delivered()
		if s := r.p.Status(); s.Vanished != 0 {
			t.Errorf("%d vanished", s.Vanished)
		}
	})
}

func TestReconcileTrustsNoIncompleteAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		for n := range 30 {
			r.scom.set(n, 0, 0)
		}
		r.pass(2 * time.Minute)
		r.scom.groom(4)
		r.scom.mu.Lock()
		r.scom.cut = 3
		r.scom.mu.Unlock()
		r.scom.setFault(func(q alert.Query) error {
			if q.Open {
				return &alert.Fault{Class: alert.FaultTransport, Console: "scom1", All: true, Err: errors.New("cut")}
			}
			return nil
		})
		r.pass(3 * time.Hour)
		r.end()
		if n := len(r.lam.taken()); n != 30 {
			t.Errorf("%d events, want 30 and no close", n)
		}
	})
}
