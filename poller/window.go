package poller

import (
	"time"

	"scomconnector/poller/alert"
)

const (
	// fullEvery is how often the whole overlap is read; in between, fast polls read only what is new.
	fullEvery = 15 * time.Second
	// hintBack is how far before the newest known change a fast poll begins.
	hintBack = 5 * time.Second
	// minSlice ends the halving: a console that cannot show ten seconds has another problem.
	minSlice = 10 * time.Second
	// maxSlice ends the growing over quiet times, so that progress stays visible.
	maxSlice = 24 * time.Hour
	// A slice of fewer rows than fewRows may grow beyond the configured width: a quiet weekend then
	// takes ten questions, not three hundred, before the alerts of now are reached.
	fewRows = 1000
	// farAhead is how far ahead of the console's clock a lastModified is still believed as a hint.
	farAhead = 15 * time.Minute
	// unprovenAhead bounds the cursor where no console sends its date, against one row from the far future.
	unprovenAhead = 24 * time.Hour
	// unprovenBack is how far back "now" is set where no console sends its date.
	unprovenBack = 10 * time.Minute
	// minSpan ends the splitting of reads of open alerts.
	minSpan = time.Minute
)

type readKind uint8

const (
	readDate      readKind = iota // only to learn the server's clock
	readFirst                     // all open alerts and the look-back
	readFirstPart                 // a part of the open alerts, after readFirst was too much
	readSlice                     // a bounded part of the past
	readLast                      // from the last slice to now
	readFull                      // the overlap
	readFast                      // what is new
)

func (k readKind) catchingUp() bool { return k == readSlice || k == readLast }

// plan is the next question.
type plan struct {
	kind readKind
	q    alert.Query
	left int // slices still to come, this one included
}

// window decides what to ask next. It is pure, and it is the reading position: it lives for one term
// and begins at the committed cursor.
type window struct {
	cfg Config

	started bool
	floor   alert.Millis
	// cursor is the candidate: what the committed cursor will be once everything read is delivered.
	cursor alert.Millis
	// through is the server time up to which answers were completely read; zero at the term's start.
	// Unlike the cursor it may follow the clock: it decides widths, never what is skipped.
	through  alert.Millis
	seen     alert.Millis // newest lastModified of completely read answers
	newest   alert.Millis // the same without rows from the future, a hint for fast polls
	date     alert.Millis // the console's last date; zero if it sends none
	slice    time.Duration
	catching bool
	lastFull time.Time // when the last read that showed everything since the cursor was asked for
	// lastRead is when the last read that reached the present was asked for, lastFrom what it began with.
	lastRead time.Time
	lastFrom alert.Millis

	firstFrom alert.Millis // where the look-back begins; zero until a date is known
	parts     []span       // of the open alerts still to be read by a first read that was too much
}

func newWindow(cfg Config, pos Position) *window {
	return &window{cfg: cfg, started: pos.Started, floor: pos.Floor, cursor: pos.Cursor, slice: cfg.Slice}
}

// start is where a read begins that must show everything since the cursor. If the server's clock stands
// before the cursor (set back, or a replica that is behind), its new rows may do so, too.
func (w *window) start() alert.Millis {
	from := w.cursor
	if w.date != 0 {
		from = min(from, w.date)
	}
	return max(from.Add(-w.cfg.Overlap), 1)
}

// next is the question to ask now. server is the estimate of the server's clock, zero if unknown.
func (w *window) next(now time.Time, server alert.Millis) plan {
	if !w.started {
		return w.first(server)
	}
	from := w.start()
	reach := max(w.through, from)
	if w.catching {
		from = w.through
	}
	switch {
	case server == 0 || server.Sub(reach) > w.slice:
		p := plan{kind: readSlice, q: alert.Query{From: from, To: reach.Add(w.slice), Slow: true}, left: 1}
		if server != 0 {
			p.left = int((server.Sub(reach) + w.slice - 1) / w.slice)
		}
		return p
	case w.catching:
		return plan{kind: readLast, q: alert.Query{From: from, Slow: true}, left: 1}
	case w.newest == 0 || w.lastFull.IsZero() || now.Sub(w.lastFull) >= fullEvery:
		return plan{kind: readFull, q: alert.Query{From: from}}
	}
	return plan{kind: readFast, q: alert.Query{From: max(from, w.newest.Add(-hintBack))}}
}

func (w *window) first(server alert.Millis) plan {
	if server == 0 {
		// Nothing has this id, so the answer is empty; only its date matters.
		return plan{kind: readDate, q: alert.Query{IDs: []alert.ID{{}}}}
	}
	if w.firstFrom == 0 {
		w.firstFrom = server.Add(-w.cfg.InitialLookback)
	}
	if len(w.parts) > 0 {
		return plan{kind: readFirstPart, q: w.parts[0].query(), left: len(w.parts)}
	}
	q := alert.Query{Open: true, Slow: true}
	if w.cfg.InitialLookback > 0 {
		q.OpenOr, q.From = true, w.firstFrom
	}
	return plan{kind: readFirst, q: q}
}

// shown is what a completely read answer said.
type shown struct {
	date   alert.Millis // zero if the console sent none
	local  alert.Millis // this node's clock, used only where there is no date
	rows   int
	newest alert.Millis // greatest lastModified
	hint   alert.Millis // the same, without rows that are farAhead of the server's clock
	// held, if not zero, is the oldest row that could not be taken (the delivered map is full).
	held alert.Millis
}

// done takes note of a completely read answer to p, which was asked at the time at.
func (w *window) done(p plan, s shown, at time.Time) {
	w.date = s.date
	if s.held != 0 && !w.started {
		return // the first read is not complete
	}
	switch p.kind {
	case readDate:
		if w.cfg.FirstStart == FirstNow {
			w.startAt(cmpOr(s.date, s.local.Add(-unprovenBack)))
			w.floor = w.cursor
		}
		return
	case readFirst:
		w.startAt(w.firstFrom)
	case readFirstPart:
		if w.parts = w.parts[1:]; len(w.parts) == 0 {
			w.startAt(w.firstFrom)
		}
		return
	}
	w.advance(s)
	w.reached(p, s, at)
	if s.held != 0 {
		w.lastFull = time.Time{} // the row is behind the hint: only a full read shows it again
	}
}

func (w *window) startAt(cursor alert.Millis) { w.started, w.cursor = true, cursor }

// advance moves the cursor over the rows shown, never into the time that late rows may still fall into,
// and never by the clock alone.
func (w *window) advance(s shown) {
	w.seen = max(w.seen, s.newest)
	to := w.seen // also when this answer was empty: what an earlier one showed may have settled by now
	if s.held != 0 {
		to = min(to, s.held-1)
	}
	settled := s.local.Add(unprovenAhead)
	if s.date != 0 {
		settled = s.date.Add(-w.cfg.Settle)
	}
	w.cursor = max(w.cursor, min(to, settled))
}

// reached widens or ends the catch-up after an answer.
func (w *window) reached(p plan, s shown, at time.Time) {
	server := cmpOr(s.date, s.local)
	w.newest = max(w.newest, s.hint)
	if p.q.To != 0 && p.q.To < server {
		w.through, w.catching = p.q.To, true
		w.grow(s.rows)
		return
	}
	if p.kind == readFull || p.kind == readFirst {
		w.lastFull = at
	}
	if p.kind == readSlice && !w.catching {
		w.lastFull = at // the first slice of a term reaches beyond now: an ordinary fail-over
	}
	w.through, w.catching = server, false
	w.lastRead, w.lastFrom = at, p.q.From
	w.grow(s.rows)
	w.slice = min(w.slice, w.cfg.Slice)
}

// unseen is for how long a version may have been there unseen, since no read asked for it.
func (w *window) unseen(modified alert.Millis, now time.Time) time.Duration {
	last := w.lastFull
	if modified >= w.lastFrom && w.lastRead.After(last) {
		last = w.lastRead
	}
	return now.Sub(last)
}

func (w *window) grow(rows int) {
	switch {
	case rows < fewRows:
		w.slice = min(2*w.slice, maxSlice)
	case w.slice < w.cfg.Slice:
		w.slice = min(2*w.slice, w.cfg.Slice)
	}
}

// tooMuch narrows the next question after one that timed out, and reports whether it could.
func (w *window) tooMuch(p plan, server alert.Millis) bool {
	switch p.kind {
	case readDate:
		return false
	case readFirst:
		// The changes of the look-back are left to the slices that follow.
		w.parts = span{to: w.firstFrom}.split(server)
		return true
	case readFirstPart:
		halves := w.parts[0].split(server)
		w.parts = append(halves, w.parts[1:]...)
		return len(halves) > 1
	default:
		to := p.q.To
		if to == 0 {
			to = server
		}
		width := min(to.Sub(p.q.From), w.slice)
		w.slice = max(width/2, minSlice)
		if !w.catching {
			w.through = 0
		}
		return w.slice < width
	}
}

// span is a part of time, To excluded; a zero bound is none.
type span struct{ from, to alert.Millis }

func (s span) query() alert.Query { return alert.Query{Open: true, From: s.from, To: s.to, Slow: true} }

// split halves a span, the older half first: an alert that changes meanwhile moves into the half that
// is still to be read. The first cut of an unbounded span is a day before its end, further ones go ever
// further back, since most open alerts are young.
func (s span) split(server alert.Millis) []span {
	hi := cmpOr(s.to, server)
	lo := s.from
	var cut alert.Millis
	switch {
	case hi == 0 || hi.Sub(lo) <= minSpan && lo != 0:
		return []span{s}
	case lo == 0 && s.to == 0:
		cut = hi.Add(-24 * time.Hour)
	case lo == 0:
		cut = hi.Add(-2 * max(server.Sub(hi), 24*time.Hour))
	default:
		cut = lo + (hi-lo)/2
	}
	if cut <= lo {
		return []span{s}
	}
	return []span{{from: s.from, to: cut}, {from: cut, to: s.to}}
}

func cmpOr(a, b alert.Millis) alert.Millis {
	if a != 0 {
		return a
	}
	return b
}

// pause is how long to wait after a poll that took so long. The interval is ten times that, between the
// two bounds, and the pause at least as long as the poll: load decides, never quiet. Catching up
// only leaves the console as much rest as work.
func pause(cfg Config, catchingUp bool, took time.Duration) time.Duration {
	if catchingUp {
		return took
	}
	interval := min(max(10*took, cfg.MinCycle), cfg.Cycle)
	return max(interval-took, took)
}
