package poller

import (
	"testing"
	"time"

	"scomconnector/poller/alert"
)

const t0 = alert.Millis(1_700_000_000_000)

func started(cursor alert.Millis) *window {
	return newWindow(Defaults(), Position{Started: true, Cursor: cursor})
}

func TestWindowAsksFor(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	steady := func(w *window) {
		w.through, w.newest, w.lastFull, w.date = t0, t0, now, t0
	}
	for _, c := range []struct {
		what   string
		set    func(w *window)
		after  time.Duration
		server alert.Millis
		kind   readKind
		q      alert.Query
	}{
		{"a term begins with a slice, since the server's time is unknown", func(*window) {}, 0, 0,
			readSlice, alert.Query{From: t0 - 60_000, To: t0 - 60_000 + 900_000, Slow: true}},
		{"steady: what is new", steady, 2 * time.Second, t0 + 2000,
			readFast, alert.Query{From: t0 - 5000}},
		{"steady: the overlap every 15 s", steady, 15 * time.Second, t0 + 15_000,
			readFull, alert.Query{From: t0 - 60_000}},
		{"after an outage: a slice that begins at the cursor's overlap", steady, time.Hour, t0 + 3_600_000,
			readSlice, alert.Query{From: t0 - 60_000, To: t0 + 900_000, Slow: true}},
		{"the next slice begins where the last one ended", func(w *window) { steady(w); w.catching, w.through = true, t0+900_000 }, time.Hour, t0 + 3_600_000,
			readSlice, alert.Query{From: t0 + 900_000, To: t0 + 1_800_000, Slow: true}},
		{"the last one is open", func(w *window) { steady(w); w.catching, w.through = true, t0+900_000 }, time.Hour, t0 + 1_000_000,
			readLast, alert.Query{From: t0 + 900_000, Slow: true}},
		{"a server before the cursor is read from its own time", func(w *window) { steady(w); w.date = t0 - 300_000 }, 15 * time.Second, t0 - 300_000,
			readFull, alert.Query{From: t0 - 360_000}},
	} {
		w := started(t0)
		c.set(w)
		p := w.next(now.Add(c.after), c.server)
		if p.kind != c.kind || p.q.From != c.q.From || p.q.To != c.q.To || p.q.Slow != c.q.Slow {
			t.Errorf("%s: got %d %+v, want %d %+v", c.what, p.kind, p.q, c.kind, c.q)
		}
	}
}

func TestWindowMovesTheCursor(t *testing.T) {
	const local = t0 + 500_000
	for _, c := range []struct {
		what string
		s    shown
		want alert.Millis
	}{
		{"to the newest row", shown{date: t0 + 100_000, newest: t0 + 50_000}, t0 + 50_000},
		{"not into the settling time", shown{date: t0 + 60_000, newest: t0 + 50_000}, t0 + 30_000},
		{"never by the clock alone", shown{date: t0 + 100_000}, t0},
		{"never back", shown{date: t0 - 100_000, newest: t0 - 50_000}, t0},
		{"not when the server's clock stands before it", shown{date: t0 - 100_000, newest: t0 + 50_000}, t0},
		{"without a date to the newest row", shown{newest: t0 + 50_000}, t0 + 50_000},
		{"without a date not into the far future", shown{newest: t0 + 1<<50}, local.Add(unprovenAhead)},
		{"not over a row there was no room for", shown{date: t0 + 100_000, newest: t0 + 50_000, held: t0 + 20_000}, t0 + 19_999},
	} {
		w := started(t0)
		c.s.local = local
		w.done(plan{kind: readFull, q: alert.Query{From: w.start()}}, c.s, time.Unix(0, 0))
		if w.cursor != c.want {
			t.Errorf("%s: got %d, want %d after the cursor", c.what, w.cursor-t0, c.want-t0)
		}
	}
}

// What an answer has shown settles while later answers are empty.
func TestWindowCursorFollowsWhenRowsHaveSettled(t *testing.T) {
	w := started(t0)
	full := plan{kind: readFull, q: alert.Query{From: w.start()}}
	w.done(full, shown{date: t0 + 51_000, newest: t0 + 50_000, hint: t0 + 50_000}, time.Unix(0, 0))
	w.done(full, shown{date: t0 + 90_000}, time.Unix(40, 0))
	if w.cursor != t0+50_000 {
		t.Errorf("got %d, want 50000 after the start", w.cursor-t0)
	}
}

func TestPause(t *testing.T) {
	for _, c := range []struct {
		what       string
		catchingUp bool
		took, want time.Duration
	}{
		{"a quick poll: the shortest interval", false, 50 * time.Millisecond, 1950 * time.Millisecond},
		{"load decides", false, time.Second, 9 * time.Second},
		{"never longer than the cycle", false, 10 * time.Second, 35 * time.Second},
		{"at least as long as the poll", false, 30 * time.Second, 30 * time.Second},
		{"catching up: as much rest as work", true, 3 * time.Second, 3 * time.Second},
	} {
		if got := pause(Defaults(), c.catchingUp, c.took); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	const lower, upper = 10 * time.Second, 360 * time.Second
	for _, c := range []struct {
		n      int
		random float64
		asked  time.Duration
		want   time.Duration
	}{
		{0, 0.99, 0, 10 * time.Second},
		{1, 0, 0, 10 * time.Second},
		{1, 0.5, 0, 15 * time.Second},
		{3, 1, 0, 80 * time.Second},
		{1000, 1, 0, upper},
		{1 << 40, 0, 0, lower},
		{0, 0, 5 * time.Minute, 5 * time.Minute},
		{0, 0, 30 * 24 * time.Hour, time.Hour},
	} {
		if got := backoff(lower, upper, c.n, c.random, c.asked); got != c.want {
			t.Errorf("backoff(%d, %v, %v) = %v, want %v", c.n, c.random, c.asked, got, c.want)
		}
	}
	if got := backoff(20*time.Second, 10*time.Second, 3, 1, 0); got != 20*time.Second {
		t.Errorf("with the bounds crossed: got %v", got)
	}
}

func TestSplitCoversTheSpanOldestFirst(t *testing.T) {
	parts := []span{{}}
	for range 40 {
		var next []span
		for _, s := range parts {
			next = append(next, s.split(t0)...)
		}
		if len(next) == len(parts) || len(next) > 5000 {
			break
		}
		parts = next
		if parts[0].from != 0 || parts[len(parts)-1].to != 0 {
			t.Fatalf("the ends are bounded: %v", parts)
		}
		for i := 1; i < len(parts); i++ {
			if parts[i].from != parts[i-1].to || parts[i].from == 0 {
				t.Fatalf("a gap between %v and %v", parts[i-1], parts[i])
			}
		}
	}
	if len(parts) < 1000 {
		t.Errorf("only %d parts", len(parts))
	}
}

func FuzzWindow(f *testing.F) {
	f.Add(int64(1000), int64(500), uint8(3), true)
	f.Fuzz(func(t *testing.T, newest, date int64, kind uint8, timeout bool) {
		w := started(t0)
		at, server := time.Unix(0, 0), t0
		for i := range 50 {
			p := w.next(at, server)
			if p.q.To != 0 && p.q.To <= p.q.From {
				t.Fatalf("an empty question: %+v", p)
			}
			before := w.cursor
			if timeout && i%3 == int(kind%3) {
				w.tooMuch(p, server)
			} else {
				d := t0 + alert.Millis(date%(1<<40))*alert.Millis(i)
				w.done(p, shown{date: max(d, 0), local: t0, newest: t0 + alert.Millis(newest%(1<<40)), rows: i}, at)
				server = max(d, 1)
			}
			if w.cursor < before {
				t.Fatalf("the cursor went back by %d", before-w.cursor)
			}
			at = at.Add(time.Second)
		}
	})
}
