package daemon

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
	"scomconnector/poller/scom/scomtest"
)

// What the desk says that a rewind will send again is what the LAM gets again.
func TestARewindSendsAgainWhatWasSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newRewindSite(t)
		defer s.end()
		d := desk{s.n}
		s.group.RaiseAll(make([]scomtest.Alert, 20))
		s.await(t, "the first 20", func() bool { return s.lam.Counts().Events == 20 })
		s.pass(10 * time.Minute)
		to := time.Now()
		s.pass(time.Second)
		s.group.RaiseAll(make([]scomtest.Alert, 30))
		s.await(t, "50", func() bool { return s.lam.Counts().Events == 50 })
		s.pass(2 * time.Minute)

		shown := d.List(to)
		if len(shown) != 1 || shown[0].Again != 30 || shown[0].Remembered != 50 || shown[0].Rewinds != 0 || !shown[0].Cursor.After(to) {
			t.Errorf("shown is %+v", shown)
		}
		if none := d.List(time.Time{}); none[0].Again != 0 {
			t.Errorf("without a time %d are counted", none[0].Again)
		}
		back, err := d.Rewind(t.Context(), v1.RewindOrder{To: to}, "ann")
		if err != nil || back.Again != 30 || back.Pipeline != "alerts/default" || !back.From.Equal(shown[0].Cursor) {
			t.Errorf("got %+v, %v", back, err)
		}
		s.await(t, "30 again", func() bool { return s.lam.Counts().Events == 80 })
		s.pass(5 * time.Minute)
		if c := s.lam.Counts(); c.Duplicates != 30 || d.List(time.Time{})[0].Rewinds != 1 {
			t.Errorf("%d came again, want 30; shown is %+v", c.Duplicates, d.List(time.Time{}))
		}
	})
}

func TestACursorIsPutNowhereElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newRewindSite(t)
		defer s.end()
		d := desk{s.n}
		s.group.RaiseAll(make([]scomtest.Alert, 3))
		s.await(t, "the first 3", func() bool { return s.lam.Counts().Events == 3 })
		s.await(t, "the first read's end", func() bool { p, _ := s.n.state().Pipeline("alerts/default"); return p.Started })
		earliest := d.List(time.Time{})[0].Earliest
		for _, c := range []struct {
			order v1.RewindOrder
			is    error
			want  string
		}{
			{v1.RewindOrder{To: time.Now().Add(time.Minute)}, api.ErrRewind, "is in the future, and a cursor does not skip what was not delivered; accepted is a time from "},
			{v1.RewindOrder{To: earliest.Add(-2 * time.Hour)}, api.ErrRewind, "is too long ago, as SCOM has groomed what was resolved before; accepted is a time from "},
			{v1.RewindOrder{Pipeline: "alerts/old", To: time.Now()}, api.ErrNotFound, "there are alerts/default"},
		} {
			_, err := d.Rewind(t.Context(), c.order, "ann")
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: got %v, want one with %q", c.order, err, c.want)
			}
		}
		if _, err := d.Rewind(t.Context(), v1.RewindOrder{To: earliest.Add(-30 * time.Minute)}, "ann"); err != nil {
			t.Errorf("the earliest that was shown half an hour ago is refused: %v", err)
		}
	})
}
