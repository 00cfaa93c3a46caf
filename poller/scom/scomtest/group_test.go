package scomtest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/poller/scom/scomtest"
)

// manual is a clock that moves only by hand.
type manual struct{ at time.Time }

func newManual() *manual              { return &manual{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }
func (m *manual) now() time.Time      { return m.at }
func (m *manual) add(d time.Duration) { m.at = m.at.Add(d) }

func TestLateCommitsShowLate(t *testing.T) {
	clock := newManual()
	g := scomtest.New(quiet(scomtest.Options{Now: clock.now}))
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	since := `LastModified >= '2026-01-02T03:04:05Z'`
	late := g.RaiseLate(scomtest.Alert{Name: "late"}, 30*time.Second)
	clock.add(time.Second)
	prompt := g.Raise(scomtest.Alert{Name: "prompt"})
	if got := p.alerts(since, "id").ids(); !slices.Equal(got, []string{prompt}) {
		t.Errorf("at once: got %v, want only the prompt one", got)
	}
	// A change of an invisible alert cannot show before the alert does.
	g.UpdateLate(late, "jo", 0, func(a *scomtest.Alert) { a.Owner = "jo" })
	clock.add(28 * time.Second)
	if _, ok := g.Get(late); ok {
		t.Error("visible a second early")
	}
	clock.add(time.Second)
	tab := p.alerts(`Id = '`+late+`'`, "id", "lastmodified", "owner")
	if len(tab.Rows) != 1 || tab.Rows[0]["lastmodified"] != "2026-01-02T03:04:06.0000000Z" || tab.Rows[0]["owner"] != "jo" {
		t.Errorf("in time: got %v", tab.Rows)
	}
	if got := len(p.alerts(since, "id").ids()); got != 2 {
		t.Errorf("got %d alerts in the delta, want 2", got)
	}
	if got := len(p.alerts(`LastModified >= '2026-01-02T03:04:07Z'`, "id").ids()); got != 0 {
		t.Errorf("got %d alerts modified after both, want 0", got)
	}
}

// TestDeltasAreWhole compares each delta with a full scan of the snapshot, while alerts come late, change and go.
func TestDeltasAreWhole(t *testing.T) {
	clock := newManual()
	g := scomtest.New(quiet(scomtest.Options{Now: clock.now, LateCommit: scomtest.LateUpTo(30*time.Second, 0.5)}))
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	r := rand.New(rand.NewPCG(1, 2))
	var ids []string
	for round := range 60 {
		for range 100 {
			clock.add(time.Duration(r.IntN(20)) * time.Millisecond)
			switch n := r.IntN(10); {
			case n < 3 || len(ids) == 0:
				ids = append(ids, g.Raise(scomtest.Alert{Name: "x"}))
			case n < 4:
				// A database restored, or a row from an agent that had been away: old or ahead of the clock.
				ids = append(ids, g.Raise(scomtest.Alert{LastModified: clock.at.Add(time.Duration(r.IntN(120)-60) * time.Second)}))
			case n < 5:
				g.Delete(ids[r.IntN(len(ids))])
			case n < 8:
				g.Repeat(ids[r.IntN(len(ids))])
			default:
				g.SetState(ids[r.IntN(len(ids))], r.IntN(256), "jo")
			}
		}
		from := clock.at.Add(-time.Duration(r.IntN(90)) * time.Second).Truncate(time.Second)
		var want []string
		for _, a := range g.Snapshot() {
			if !a.LastModified.Before(from) {
				want = append(want, a.ID)
			}
		}
		got := p.alerts(`LastModified >= '`+from.Format("2006-01-02T15:04:05Z")+`'`, "id").ids()
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: got %d alerts, want %d", round, len(got), len(want))
		}
	}
}

func TestVersionsOfOneAlertAreNewer(t *testing.T) {
	clock := newManual()
	g := scomtest.New(scomtest.Options{Now: clock.now})
	ids := g.RaiseAll(make([]scomtest.Alert, 50))
	for range 5 {
		g.Repeat(ids[0]) // the clock stands still
	}
	var last time.Time
	same := map[time.Time]int{}
	for _, v := range g.Versions() {
		same[v.LastModified]++
		if v.ID == ids[0] {
			if !v.LastModified.After(last) {
				t.Errorf("%v follows %v", v.LastModified, last)
			}
			last = v.LastModified
		}
	}
	if a, _ := g.Get(ids[0]); a.RepeatCount != 5 {
		t.Errorf("repeat count: got %d, want 5", a.RepeatCount)
	}
	if same[clock.at] != 50 {
		t.Errorf("got %d rows of one LastModified, want 50", same[clock.at])
	}
	g.SetState(ids[1], scomtest.Closed, "jo")
	if g.Repeat(ids[1]) || g.Repeat("nobody") {
		t.Error("repeated into a closed alert, or into none")
	}
}

func TestAccountOfWhatWasShown(t *testing.T) {
	g := scomtest.New(quiet(scomtest.Options{}))
	c := g.Console(scomtest.ConsoleOptions{})
	p := serve(t, c)
	p.logOn(goodLogOn)
	var ids []string
	for range 2000 {
		ids = append(ids, g.Raise(scomtest.Alert{Description: "some words to make the answer long enough to be cut in its middle"}))
	}
	all := func(list []scomtest.Version) int { return len(list) }
	c.Set(scomtest.Faults{Path: "data/alert", CutAfter: 100_000})
	if _, _, _, err := p.try("data/alert", map[string]any{"displayColumns": []string{"id", "description"}}); err == nil {
		t.Error("the answer was not cut")
	}
	c.Set(scomtest.Faults{Path: "data/alert", CutAfter: 100_000, CutCleanly: true})
	if status, body, _ := p.do("data/alert", map[string]any{"displayColumns": []string{"id", "description"}}); status != 200 || len(body) != 100_000 {
		t.Errorf("cut cleanly: got %d and %d bytes", status, len(body))
	}
	c.Heal()
	if got := all(g.Shown()); got != 0 {
		t.Errorf("cut answers count as shown: %d", got)
	}
	p.alerts("", "id")
	g.Repeat(ids[0])
	if shown, confirmed, all := all(g.Shown()), all(g.Confirmed()), all(g.Versions()); shown != 2000 || confirmed != 0 || all != 2001 {
		t.Errorf("got %d shown, %d confirmed, %d in all; want 2000, 0, 2001", shown, confirmed, all)
	}
	p.do("resources/alertSeverity", nil) // the same connection asks again
	if got := all(g.Confirmed()); got != 2000 {
		t.Errorf("got %d confirmed, want 2000", got)
	}
	if v := g.Versions()[2000]; v.ID != ids[0] || v.RepeatCount != 1 || v.Shown || v.Confirmed {
		t.Errorf("the repeat was not shown: %+v", v)
	}
}

func TestGroomTakesOnlyOldClosed(t *testing.T) {
	clock := newManual()
	g := scomtest.New(scomtest.Options{Now: clock.now})
	open, closed := g.Raise(scomtest.Alert{}), g.Raise(scomtest.Alert{})
	g.SetState(closed, scomtest.Closed, "jo")
	clock.add(8 * 24 * time.Hour)
	recent := g.Raise(scomtest.Alert{})
	g.SetState(recent, scomtest.Closed, "jo")
	if n := g.Groom(clock.at.Add(-7 * 24 * time.Hour)); n != 1 || g.Len() != 2 {
		t.Errorf("groomed %d, %d left", n, g.Len())
	}
	if _, ok := g.Get(closed); ok || g.Delete(closed) {
		t.Error("the old closed alert is still there")
	}
	if _, ok := g.Get(open); !ok {
		t.Error("the open alert is gone")
	}
	late := g.RaiseLate(scomtest.Alert{}, time.Minute)
	g.Delete(late)
	clock.add(time.Hour)
	if _, ok := g.Get(late); ok || g.Len() != 2 {
		t.Error("an alert deleted before it was visible came back")
	}
}

func TestScope(t *testing.T) {
	g := scomtest.New(quiet(scomtest.Options{}))
	seen, hidden := g.Raise(scomtest.Alert{Name: "seen"}), g.Raise(scomtest.Alert{Name: "hidden"})
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	g.SetScope(func(a *scomtest.Alert) bool { return a.Name == "seen" })
	if got := p.alerts(`Id IN ('`+seen+`','`+hidden+`')`, "id").ids(); !slices.Equal(got, []string{seen}) || len(g.Snapshot()) != 1 {
		t.Errorf("got %v", got)
	}
	g.SetScope(nil)
	if got := len(p.alerts("", "id").ids()); got != 2 {
		t.Errorf("without a scope: got %d", got)
	}
}

func TestWithoutAccount(t *testing.T) {
	g := scomtest.New(scomtest.Options{NoRecord: true})
	g.Raise(scomtest.Alert{})
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	if got := len(p.alerts("", "id").ids()); got != 1 {
		t.Errorf("got %d alerts", got)
	}
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "NoRecord") {
			t.Errorf("Versions without an account: got %v, want a panic that names NoRecord", r)
		}
	}()
	g.Versions()
}

func TestUnknownReleasePanics(t *testing.T) {
	defer func() {
		if r := recover(); r == nil {
			t.Error("no panic")
		}
	}()
	scomtest.New(scomtest.Options{Version: "2012"})
}

func TestLiveIsLively(t *testing.T) {
	run := func(seed uint64) []scomtest.Version {
		var got []scomtest.Version
		synctest.Test(t, func(t *testing.T) {
			g := scomtest.New(scomtest.Options{Seed: seed})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
			defer cancel()
			if err := g.Live(ctx, scomtest.LifeOptions{PerMinute: 20, MaxOpen: 100}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			got = g.Versions()
			open, kinds := 0, map[string]bool{}
			for _, a := range g.Snapshot() {
				if a.ResolutionState != scomtest.Closed {
					open++
				}
				kinds[a.Name] = true
				if a.Name == "" || a.Description == "" || a.ObjectDisplayName == "" {
					t.Errorf("not as a management pack raises it: %+v", a)
				}
			}
			if open < 10 || open > 150 || len(kinds) < 12 {
				t.Errorf("%d open alerts of %d kinds", open, len(kinds))
			}
		})
		return got
	}
	got := run(1)
	states, repeats := map[int]int{}, 0
	for _, v := range got {
		states[v.State]++
		if v.RepeatCount > 0 {
			repeats++
		}
	}
	if n := len(got); n < 10_000 || n > 14_000 || states[0] < 1000 || states[249] < 100 || states[255] < 1000 || repeats < 500 {
		t.Errorf("%d versions in ten hours at 20 a minute: states %v, %d repeats", n, slices.Sorted(maps.Keys(states)), repeats)
	}
	if !slices.Equal(got, run(1)) {
		t.Error("the same seed gave another life")
	}
	if slices.Equal(got, run(2)) {
		t.Error("another seed gave the same life")
	}
}

func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := scomtest.New(scomtest.Options{})
		start := time.Now()
		if n, err := g.Storm(t.Context(), 20_000, 30*time.Second); n != 20_000 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		if took := time.Since(start); took < 29*time.Second || took > 30*time.Second || g.Len() != 20_000 {
			t.Errorf("%d alerts took %v", g.Len(), took)
		}
		hosts, second := map[string]bool{}, map[time.Time]int{}
		for _, a := range g.Snapshot() {
			hosts[a.ObjectID] = true
			second[a.TimeAdded.Truncate(time.Second)]++
		}
		if len(hosts) != 15_000 || second[start.Truncate(time.Second)] > 700 {
			t.Errorf("from %d agents, %d in the first second", len(hosts), second[start.Truncate(time.Second)])
		}
		g.Storm(t.Context(), 100, 0)
		if g.Len() != 20_100 || time.Since(start) > 30*time.Second {
			t.Errorf("a storm at once: %d alerts", g.Len())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, err := g.Storm(ctx, 1000, 10*time.Second); n < 90 || n > 110 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended early: got %d, %v", n, err)
		}
	})
}

func TestPopulate(t *testing.T) {
	clock := newManual()
	g := scomtest.New(scomtest.Options{Now: clock.now})
	g.Populate(1000, 24*time.Hour)
	open := 0
	for _, a := range g.Snapshot() {
		if a.LastModified.After(clock.at) || a.LastModified.Before(clock.at.Add(-25*time.Hour)) {
			t.Errorf("modified at %v", a.LastModified)
		}
		if a.ResolutionState != scomtest.Closed {
			open++
		}
	}
	if g.Len() != 1000 || open < 120 || open > 280 {
		t.Errorf("%d alerts, %d open", g.Len(), open)
	}
}
