package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// caretaken runs the caretaker of a node until the test ends.
func caretaken(t *testing.T, n *node) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.caretake(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// pass lets the bubble's time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (n *node) shown() pendingReturn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.back
}

// failedBack is the record of a fail-back that ended as said, so long after it began.
func (c *fakeCluster) failedBack(end cluster.Cause, after time.Duration) {
	c.lead("primary", cluster.CauseFailback)
	time.Sleep(after)
	c.lead("secondary", end)
}

// The Primary takes over again once all conditions have held for FailbackDelay; until then the page says when, or what is in the way.
func TestFailbackWaitsForAPrimaryThatIsWell(t *testing.T) {
	edit := func(id string, f func(*cluster.MemberView)) func(*fakeCluster) {
		return func(c *fakeCluster) { c.change(id, f) }
	}
	away := edit("primary", func(m *cluster.MemberView) { m.Fault = "timeout" })
	unable := func(c *fakeCluster) { c.answer("primary", cut(1)) }
	for name, c := range map[string]struct {
		settings string
		before   func(*fakeCluster)
		later    func(*fakeCluster) // after 50 s
		after    time.Duration      // the handover comes, and at most 12 s later; 0: never
		held     string             // what the page says is in the way, a minute after the beginning
	}{
		"well":                  {after: 60 * time.Second},
		"a longer delay":        {settings: `"FailbackDelay": 300,`, after: 300 * time.Second},
		"no delay":              {settings: `"FailbackDelay": 0,`, after: time.Second},
		"manual":                {settings: `"Failback": "manual",`, held: "Failback is manual: scomconnector transfer --to primary"},
		"in maintenance":        {before: func(c *fakeCluster) { c.apply(state.SetMaintenance{Node: "primary", On: true}) }, held: "primary is in maintenance"},
		"without a vote":        {before: edit("primary", func(m *cluster.MemberView) { m.Suffrage = "nonvoter" }), held: "no vote yet"},
		"out of contact":        {before: away, held: "out of contact (timeout)"},
		"behind":                {before: edit("secondary", func(m *cluster.MemberView) { m.Applied = 9 }), held: "applied entry 0 of 9"},
		"unable to work":        {before: unable, held: "does not reach SCOM"},
		"nothing committed":     {before: func(c *fakeCluster) { c.view.Stall.Text = "etcd takes no writes" }, held: "etcd takes no writes"},
		"silent":                {before: func(c *fakeCluster) { c.answer("primary", nil) }, held: "does not answer"},
		"with other settings":   {before: func(c *fakeCluster) { c.answer("primary", fit(7)) }, held: "settings in use"},
		"restarted on the way":  {later: edit("primary", func(m *cluster.MemberView) { m.Start++ }), after: 110 * time.Second},
		"lost on the way":       {later: away, held: "timeout"},
		"unable on the way":     {later: unable, held: "does not reach SCOM"},
		"back on the way":       {before: away, later: edit("primary", func(m *cluster.MemberView) { m.Fault = "" }), after: 110 * time.Second},
		"after one that failed": {before: func(c *fakeCluster) { c.failedBack(cluster.CauseWork, time.Minute) }, after: 120 * time.Second},
		"after three": {before: func(c *fakeCluster) {
			c.failedBack(cluster.CauseWork, time.Minute)
			c.failedBack(cluster.CauseLost, time.Minute)
			c.failedBack(cluster.CauseTakeover, time.Minute)
		}, after: 480 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCluster(t, 3, "secondary", "secondary").seeded(c.settings)
				f.answer("primary", fit(1))
				if c.before != nil {
					c.before(f)
				}
				n := nodeOf(f, nil)
				begun := time.Now()
				caretaken(t, n)
				var took time.Duration
				for took == 0 && time.Since(begun) < 20*time.Minute {
					pass(500 * time.Millisecond)
					at := time.Since(begun)
					if at == 50*time.Second && c.later != nil {
						c.later(f)
					}
					if f.View().Leader == "primary" {
						took = at
					} else if s := n.shown(); at == time.Minute && (!strings.Contains(s.held, c.held) || (c.held == "") != s.at.After(time.Now())) {
						t.Errorf("after a minute the page says %+v, want %q", s, c.held)
					}
				}
				if took < c.after || took > c.after+12*time.Second || c.after == 0 && took != 0 {
					t.Errorf("handed over after %v, want %v; %q", took, c.after, f.handedOver())
				}
			})
		})
	}
}

// A fail-back that the coordinator refuses is tried again, each time after twice as long.
func TestAFailbackThatDoesNotSucceedWaitsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 2, "secondary", "secondary").seeded("")
		f.answer("primary", fit(1))
		f.refuse = errors.New("primary lags")
		n := nodeOf(f, nil)
		caretaken(t, n)
		pass(63 * time.Second)
		if s := n.shown(); time.Until(s.at) < 115*time.Second {
			t.Errorf("after the first failure the page says %+v, want the next try two minutes later", s)
		}
		pass(123 * time.Second)
		if s := n.shown(); time.Until(s.at) < 235*time.Second {
			t.Errorf("after the second failure the page says %+v, want the next try four minutes later", s)
		}
		f.mu.Lock()
		f.refuse = nil
		f.mu.Unlock()
		pass(245 * time.Second)
		if f.View().Leader != "primary" {
			t.Error("the Primary does not lead")
		}
	})
}

// Only what the Primary could not hold counts against it: it was lost, or could not deliver, within ten minutes. One that lasted wipes
// the slate.
func TestWhichFailbacksWereBad(t *testing.T) {
	const soon, late = time.Minute, 11 * time.Minute
	type end struct {
		by    cluster.Cause
		after time.Duration
	}
	for name, c := range map[string]struct {
		ends []end
		want int
	}{
		"none":                         {nil, 0},
		"no work":                      {[]end{{cluster.CauseWork, soon}}, 1},
		"lost":                         {[]end{{cluster.CauseLost, soon}}, 1},
		"taken over":                   {[]end{{cluster.CauseTakeover, soon}}, 1},
		"stopped as planned":           {[]end{{cluster.CauseStop, soon}}, 0},
		"maintenance":                  {[]end{{cluster.CauseMaintenance, soon}}, 0},
		"transfer":                     {[]end{{cluster.CauseTransfer, soon}}, 0},
		"lost later":                   {[]end{{cluster.CauseLost, late}}, 0},
		"three":                        {[]end{{cluster.CauseLost, soon}, {cluster.CauseWork, soon}, {cluster.CauseLost, soon}}, 3},
		"a planned one between":        {[]end{{cluster.CauseLost, soon}, {cluster.CauseStop, soon}, {cluster.CauseLost, soon}}, 2},
		"one that lasted":              {[]end{{cluster.CauseLost, soon}, {cluster.CauseLost, late}}, 0},
		"one that lasted, and another": {[]end{{cluster.CauseLost, soon}, {cluster.CauseLost, late}, {cluster.CauseLost, soon}}, 1},
	} {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var all []state.Change // newest first
		add := func(node string, cause cluster.Cause) {
			all = append([]state.Change{{At: at, Node: node, Cause: string(cause)}}, all...)
		}
		add("primary", cluster.CauseFormed)
		add("secondary", cluster.CauseLost) // no fail-back
		for _, e := range c.ends {
			add("primary", cluster.CauseFailback)
			at = at.Add(e.after / 2)
			add("primary", cluster.CauseElected) // it goes on
			at = at.Add(e.after / 2)
			add("secondary", e.by)
		}
		if got := undone(all, "primary", at); got != c.want {
			t.Errorf("%s: got %d bad ones, want %d", name, got, c.want)
		}
	}
}

func TestBackoffDoublesUpToADay(t *testing.T) {
	for _, c := range []struct {
		delay time.Duration
		bad   int
		want  time.Duration
	}{
		{time.Minute, 0, time.Minute}, {time.Minute, 1, 2 * time.Minute}, {time.Minute, 4, 16 * time.Minute}, {time.Minute, 99, 24 * time.Hour},
		{0, 0, 0}, {0, 1, time.Minute}, {0, 2, 2 * time.Minute}, {24 * time.Hour, 0, 24 * time.Hour}, {24 * time.Hour, 1, 24 * time.Hour},
	} {
		if got := backoff(c.delay, c.bad); got != c.want {
			t.Errorf("backoff(%v, %d): got %v, want %v", c.delay, c.bad, got, c.want)
		}
	}
}

// Maintenance ends by a restart: at once after a clean stop, after five minutes otherwise, and never while it is sticky or the
// process is still the one that was flagged.
func TestMaintenanceEndsByARestart(t *testing.T) {
	for name, c := range map[string]struct {
		flag  state.SetMaintenance
		clean bool
		after time.Duration // 0: never
	}{
		"the same process":       {state.SetMaintenance{Start: 7}, true, 0},
		"after a clean stop":     {state.SetMaintenance{Start: 6}, true, time.Second},
		"after a crash":          {state.SetMaintenance{Start: 6}, false, 5 * time.Minute},
		"sticky":                 {state.SetMaintenance{Start: 6, Sticky: true}, true, 0},
		"of the other node":      {state.SetMaintenance{Node: "primary", Start: 6}, true, 0},
		"set while it was away":  {state.SetMaintenance{Start: 0}, true, time.Second},
		"flagged by a later one": {state.SetMaintenance{Start: 9}, false, 5 * time.Minute}, // its folder was put back
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCluster(t, 3, "secondary", "primary").seeded("")
				f.view.CleanStart = c.clean
				c.flag.On = true
				if c.flag.Node == "" {
					c.flag.Node = "secondary"
				}
				f.apply(c.flag)
				n := nodeOf(f, nil)
				begun := time.Now()
				caretaken(t, n)
				var took time.Duration
				for took == 0 && time.Since(begun) < time.Hour {
					pass(500 * time.Millisecond)
					if !n.state().InMaintenance(c.flag.Node) {
						took = time.Since(begun)
					}
				}
				if took < c.after || took > c.after+2*time.Second || c.after == 0 && took != 0 {
					t.Errorf("it ended after %v, want %v", took, c.after)
				}
			})
		})
	}
}

// A node in maintenance that knows no leader waits: nobody could take note.
func TestMaintenanceDoesNotEndWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 3, "secondary", "primary").seeded("")
		f.apply(state.SetMaintenance{Node: "secondary", On: true, Start: 6})
		f.view.CleanStart = true
		f.lead("", "")
		n := nodeOf(f, nil)
		caretaken(t, n)
		pass(time.Minute)
		if !n.state().InMaintenance("secondary") {
			t.Error("it ended without a leader")
		}
		f.lead("primary", cluster.CauseElected)
		pass(2 * time.Second)
		if n.state().InMaintenance("secondary") {
			t.Error("it does not end although there is a leader")
		}
	})
}
