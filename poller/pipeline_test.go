package poller

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

func TestFirstReadDeliversOpenAlertsAndTheLookback(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.scom.setAt(1, 0, r.scom.now().Add(-20*24*time.Hour), 0)   // old and open
		r.scom.setAt(2, 255, r.scom.now().Add(-20*24*time.Hour), 0) // old and closed
		r.scom.setAt(3, 255, r.scom.now().Add(-2*time.Hour), 0)     // closed within the look-back
		r.begin()
		r.pass(5 * time.Second)
		r.end()
		if got, want := len(r.lam.taken()), 2; got != want {
			t.Errorf("%d events, want %d: the old open one and the closed one of the look-back", got, want)
		}
		if !r.state.pos.Started {
			t.Error("the first read is not recorded as complete")
		}
		if got, want := r.state.pos.Cursor, alert.MillisOf(time.Now().Add(-2*time.Hour-5*time.Second)); got > want+6000 || got < want-6000 {
			t.Errorf("cursor %s, want the newest row's time, about %s", got, want)
		}
	})
}

func TestFirstStartNowDeliversOnlyWhatChangesFromNowOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.FirstStart = FirstNow })
		r.scom.setAt(1, 0, r.scom.now().Add(-time.Minute), 0)
		r.begin()
		r.pass(10 * time.Second)
		r.scom.set(2, 0, 0)
		r.pass(10 * time.Minute) // reconciles, too
		r.scom.set(1, 10, 0)
		r.pass(10 * time.Second)
		r.end()
		got := r.lam.taken()
		if len(got) != 2 || got[0].v.ID != id(2) || got[1].v.ID != id(1) {
			t.Errorf("got %v, want the new alert and the old one's change", got)
		}
	})
}

func TestAFlowAndAnAlertAfterAnHourOfSilenceArriveWithinTwoAndAHalfSeconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.scom.perPoll = 50 * time.Millisecond
		r.lam.slow = 20 * time.Millisecond
		r.begin()
		r.pass(time.Minute)
		set := make(map[alert.ID]time.Time)
		raise := func(n int) {
			set[id(n)] = time.Now()
			r.scom.set(n, 0, 0)
		}
		for n := range 200 {
			raise(n)
			r.pass(time.Duration(500+n*37%1000) * time.Millisecond)
		}
		for n := range 5 {
			r.pass(time.Hour + time.Duration(n*337)*time.Millisecond)
			raise(1000 + n)
		}
		r.pass(10 * time.Second)
		r.end()
		r.delivered()
		var flow, silence []time.Duration
		for _, x := range r.lam.taken() {
			if lag := x.at.Sub(set[x.v.ID]); binary.BigEndian.Uint64(x.v.ID[8:]) > 1000 {
				silence = append(silence, lag)
			} else {
				flow = append(flow, lag)
			}
		}
		t.Logf("median latency of a flow %v, after an hour of silence %v", median(flow), median(silence))
		if m := median(flow); m > 2500*time.Millisecond {
			t.Errorf("a flow has a median latency of %v", m)
		}
		if m := median(silence); m > 2500*time.Millisecond {
			t.Errorf("after an hour of silence the median latency is %v", m)
		}
	})
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}
