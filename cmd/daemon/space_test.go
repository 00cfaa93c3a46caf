package daemon

import (
	"slices"
	"testing"
	"time"

	"scomconnector/cluster"
)

// A leader whose disk is nearly full hands over while it can, but to nobody who is worse off.
func TestALeaderWhoseDiskIsNearlyFullHandsOverToOneThatHasRoom(t *testing.T) {
	const few = "the disk that holds DataDir has only 40 MB left"
	for name, c := range map[string]struct {
		own, others string
		theirs      any
		want        []string
	}{
		"room everywhere":            {"", "", fit(1), nil},
		"the other one has room":     {few, "", fit(1), []string{"primary: work: secondary: " + few}},
		"both are nearly full":       {few, few, fit(1), nil},
		"the other one cannot work":  {few, "", cut(1), nil},
		"only the other one is full": {"", few, fit(1), nil},
	} {
		f := newFakeCluster(t, 2, "secondary", "secondary").seeded("")
		f.change("secondary", func(m *cluster.MemberView) { m.Space = c.own })
		f.change("primary", func(m *cluster.MemberView) { m.Space = c.others })
		f.answer("primary", c.theirs)
		n := nodeOf(f, nil)
		n.prober.last, n.prober.at = fit(f.View().State.Config().Version), time.Now()
		var r roomless
		for range 3 {
			n.considerSpace(t.Context(), f.View(), &r)
		}
		if !slices.Equal(f.transfers, c.want) {
			t.Errorf("%s: transfers %q, want %q", name, f.transfers, c.want)
		}
	}
}

// Else the two would hand the leadership to and fro.
func TestNoFailbackToANodeWhoseDiskIsNearlyFull(t *testing.T) {
	f := newFakeCluster(t, 2, "secondary", "secondary").seeded("")
	f.answer("primary", fit(1))
	f.change("primary", func(m *cluster.MemberView) { m.Space = "the disk that holds DataDir has only 40 MB left" })
	n := nodeOf(f, nil)
	var b failback
	if got := n.considerFailback(t.Context(), f.View(), &b); got.held != "primary: the disk that holds DataDir has only 40 MB left" {
		t.Errorf("got %+v", got)
	}
	f.change("primary", func(m *cluster.MemberView) { m.Space = "" })
	if got := n.considerFailback(t.Context(), f.View(), &b); got.held != "" {
		t.Errorf("with room: got %+v", got)
	}
}
