package poller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
)

// patience is how long a read may wait for the sender before it is given up: a console's connection must
// not hang for as long as a LAM is away.
const patience = 5 * time.Second

// errStuck ends a read whose rows nobody takes.
var errStuck = errors.New("the LAM does not take what was read")

// reader asks SCOM and fills batches. One goroutine owns all of it.
type reader struct {
	p      *Pipeline
	log    hclog.Logger
	clock  *clock
	flight *flight
	lane   *lane
	gate   *gate
	count  tally
	w      *window

	b       *batch // being filled; nil: none in hand
	seq     uint64
	repeats *repeats // nil: repeat counts are sent
	recon   reconcile
	crowd   crowd
	tardy   tardy
	fault   string          // the last fault's words, to log changes only
	back    <-chan struct{} // ends the rest after a failure early; nil: nothing does

	// Of the read under way:
	noting  func(alert.Row) // sees every row; nil: nobody does
	blocked time.Duration   // spent waiting for the sender
	newest  alert.Millis
	hint    alert.Millis
	held    alert.Millis // oldest row there was no room for
	room    int          // ids that still fit, at least
	steady  bool         // rows are new because SCOM has just shown them, not because we were away
}

func newReader(p *Pipeline, c *clock, f *flight, l *lane, g *gate) *reader {
	r := &reader{p: p, log: p.log.Named("read"), clock: c, flight: f, lane: l, gate: g, count: p.metrics.tally(p.cfg.Stream)}
	r.w = newWindow(p.cfg, p.ledger.Position())
	if !p.cfg.SendRepeatCounts {
		r.repeats = newRepeats()
	}
	r.recon.begin(p.rand(), time.Now())
	return r
}

// run asks until ctx ends.
func (r *reader) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.gate.passage():
		}
		var rest time.Duration
		if r.reconcileDue() {
			rest = r.reconcile(ctx)
		} else {
			rest = r.poll(ctx)
		}
		if !sleepOr(ctx, rest, r.back) {
			return
		}
		r.back = nil
	}
}

// poll asks one question, hands over what it brought, and says how long to rest.
func (r *reader) poll(ctx context.Context) time.Duration {
	began := time.Now()
	plan := r.w.next(began, r.clock.now())
	r.show(plan)
	r.steady = plan.kind == readFull || plan.kind == readFast
	ans, took, err := r.ask(ctx, plan.q)
	if err != nil {
		return r.failed(ctx, took, err, func() bool { return r.w.tooMuch(plan, r.clock.now()) })
	}
	r.note(ans)
	r.w.done(plan, shown{
		date: ans.ServerDate, local: alert.MillisOf(began), rows: ans.Rows, newest: r.newest, hint: r.hint, held: r.held,
	}, began)
	r.p.board.progress(r.behind())
	e := &end{
		position: Position{Started: r.w.started, Cursor: r.w.cursor, Floor: r.w.floor},
		upToDate: r.upToDate(), began: began,
		forget: r.crowd.answered(plan.kind, r.held, r.newest, r.w.start()),
	}
	if !r.handOver(ctx, e) {
		return 0
	}
	r.showRoom()
	if r.held != 0 {
		return max(r.p.cfg.LowerBackoff, took)
	}
	if r.upToDate() && !plan.kind.catchingUp() {
		r.p.board.phase(PhaseIdle, "")
	}
	return pause(r.p.cfg, plan.kind != readFull && plan.kind != readFast, took)
}

// behind is how far SCOM has been read while that is not up to now, else zero.
func (r *reader) behind() alert.Millis {
	if r.upToDate() {
		return 0
	}
	return max(r.w.through, r.w.cursor)
}

func (r *reader) upToDate() bool {
	return r.w.started && !r.w.catching && r.w.through != 0 && r.held == 0
}

// show tells people what is being read.
func (r *reader) show(p plan) {
	b := &r.p.board
	switch p.kind {
	case readDate, readFirst:
		b.phase(PhaseFirst, "all open alerts")
	case readFirstPart:
		b.phase(PhaseFirst, fmt.Sprintf("open alerts last modified before %s, %d parts left", shortTime(cmpOr(p.q.To, r.clock.now())), p.left))
	case readSlice:
		if p.left < 2 {
			b.phase(PhaseCatchingUp, "since "+shortTime(p.q.From))
			return
		}
		b.phase(PhaseCatchingUp, fmt.Sprintf("%s to %s, %d slices left", shortTime(p.q.From), shortTime(p.q.To), p.left))
	case readLast:
		b.phase(PhaseCatchingUp, "since "+shortTime(p.q.From)+", last slice")
	default:
		b.phase(PhasePolling, "")
	}
}

func shortTime(m alert.Millis) string { return m.Time().Format("Jan 2 15:04:05 UTC") }

// ask has one question answered, row by row. took leaves out the time spent waiting for the sender.
func (r *reader) ask(ctx context.Context, q alert.Query) (ans alert.Answer, took time.Duration, err error) {
	r.blocked, r.newest, r.hint, r.held, r.room = 0, 0, 0, 0, 0
	began := time.Now()
	believed := alert.Millis(0)
	if now := r.clock.now(); now != 0 {
		believed = now.Add(farAhead)
	}
	ans, err = r.p.source.Poll(ctx, q, func(row alert.Row) error {
		if r.noting != nil {
			r.noting(row)
		}
		if row.Err != nil {
			return r.broken(ctx, row)
		}
		if err := r.take(ctx, row.Alert); err != nil {
			return err
		}
		m := alert.MillisOf(row.Alert.LastModified)
		r.newest = max(r.newest, m)
		if believed == 0 || m <= believed {
			r.hint = max(r.hint, m)
		}
		return nil
	})
	took = max(time.Since(began)-r.blocked, 0)
	r.p.metrics.polled(r.p.cfg.Stream, outcome(ctx, err), took)
	return ans, took, err
}

// outcome is a poll's label.
func outcome(ctx context.Context, err error) string {
	if err == nil {
		return "ok"
	}
	if f, ok := alert.FaultOf(err); ok {
		return f.Class.String()
	}
	if ctx.Err() != nil || errors.Is(err, errStuck) {
		return "cancelled"
	}
	return "transport"
}

// note takes from an answer what does not depend on the question.
func (r *reader) note(ans alert.Answer) {
	now := time.Now()
	began := now.Add(-ans.Duration)
	b := &r.p.board
	if ans.ServerDate != 0 {
		r.clock.set(ans.ServerDate, began)
		r.p.metrics.offset.Set(alert.MillisOf(began).Sub(ans.ServerDate).Seconds())
		b.warn(warnNoDate, "")
	} else {
		r.clock.set(alert.MillisOf(began), began)
		if b.warn(warnNoDate, "console "+ans.Console+" sends no Date header; the cursor has no settling time, only the overlap protects against late rows") {
			r.log.Warn("the console sends no Date header", "console", ans.Console)
		}
	}
	if ans.ServerDate != 0 && ans.ServerDate < r.w.cursor {
		text := fmt.Sprintf("console %s's clock stands before the cursor: the cursor waits for it; check that clock, or whether SCOM's database is a replica that is behind", ans.Console)
		if b.warn(warnClock, text) {
			r.log.Warn("the console's clock stands before the cursor", "console", ans.Console, "date", ans.ServerDate.String(), "cursor", r.w.cursor.String())
		}
	} else {
		b.warn(warnClock, "")
	}
	r.recovered(now)
}

// recovered ends an outage of the consoles, if there was one.
func (r *reader) recovered(now time.Time) {
	since := r.p.board.answered(now)
	if r.fault != "" {
		r.log.Debug("SCOM answers again", "after", now.Sub(since).Round(time.Second).String())
		r.fault = ""
	}
}

// showRoom tells people when the delivered map is full. Known alerts go on being delivered, above all
// their closes, which is what makes room again.
func (r *reader) showRoom() {
	why := ""
	if r.held != 0 {
		why = "too many alerts are open: the connector can remember no further one; close alerts in SCOM, or narrow the Filter"
	}
	if r.p.board.block(blockFull, why) && why != "" {
		r.log.Error("the delivered map is full", "oldest", r.held.String())
	}
}

// failed decides how to go on after a read that has taken so long and did not end. After a time-out tooMuch narrows the next
// question, and reports whether it could.
func (r *reader) failed(ctx context.Context, took time.Duration, err error, tooMuch func() bool) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	// What was read is valid all the same, so it goes out now.
	if !r.handOver(ctx, nil) {
		return 0
	}
	if errors.Is(err, errStuck) {
		_ = r.acquire(ctx, 0) // goes on when the sender does; the only error is ctx's
		return 0
	}
	f, ok := alert.FaultOf(err)
	if !ok {
		f = &alert.Fault{Class: alert.FaultTransport, Console: "?", All: true, Err: err}
	}
	narrowed := f.Class == alert.FaultTimeout && tooMuch()
	text := faultText(f)
	r.p.board.set(func(s *Status) {
		s.SCOMFault, s.SCOMConsole, s.SCOMSaid, s.SCOMBrief = f.Class, f.Console, f.Err.Error(), text
		if f.What != "" {
			s.SCOMBrief = "SCOM console " + f.Console + " " + f.What
		}
	})
	n := r.p.board.failed(time.Now().Add(-took), text, max(r.w.through, r.w.cursor), f.All, narrowed)
	if text != r.fault {
		r.log.Debug("poll failed", "console", f.Console, "class", f.Class.String(), "error", f.Err)
		r.fault = text
	}
	if !f.All {
		return max(r.p.cfg.MinCycle, min(f.RetryAfter, r.p.cfg.UpperBackoff))
	}
	r.back = f.Back
	return backoff(r.p.cfg.LowerBackoff, r.p.cfg.UpperBackoff, n, r.p.rand(), f.RetryAfter)
}

// faultText says it in an operator's words.
func faultText(f *alert.Fault) string {
	what := "does not answer as it should"
	switch f.Class {
	case alert.FaultTimeout:
		what = "was too slow"
	case alert.FaultAuth:
		what = "refuses the log-on"
	case alert.FaultCriteria:
		what = "refuses the question"
	}
	return fmt.Sprintf("SCOM console %s %s: %v", f.Console, what, f.Err)
}
