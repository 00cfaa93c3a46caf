package poller

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
)

// Close is one accepted request of the outbox, as the writeback sees it.
type Close struct {
	ID      string // mark of its writes
	Alert   alert.ID
	State   uint8
	Keep    bool // leave the state as it is
	Comment string
	Fields  []alert.Field
	At      time.Time // accepted
	// Doubtful: a leader has begun to write it, or may have. Seen is what that one had seen then: see Begun.
	Doubtful bool
	Seen     alert.Millis
}

// Begun is a request that is about to be written, and its alert's last modification as SCOM showed it just before; zero: not at all.
type Begun struct {
	ID   string
	Seen alert.Millis
}

// Settlement is how a request ended; see state.Settlement, whose outcomes these are.
type Settlement struct {
	ID      string
	Outcome Outcome
	Reason  string // of Refused, and of Already where SCOM does not know the alert: plain words, at most 1 KiB
}

// Outcome of a request.
type Outcome uint8

// The outcomes.
const (
	Done    Outcome = iota + 1 // SCOM has carried it out
	Already                    // SCOM showed it before, or, with a Reason, does not know the alert; nothing was written
	Refused                    // SCOM refuses for good: parked for a person
)

// Outbox is the replicated outbox, bound to the term. Reads are local and cheap, and see every Settle that has returned.
type Outbox interface {
	// Waiting lists unsettled requests, oldest first, at most limit of them.
	Waiting(limit int) []Close
	// Begin records that requests are about to be written, before they are: Waiting shows them as Doubtful from then on, to later
	// terms, too. Errors as Ledger.Commit's.
	Begin(ctx context.Context, b []Begun) error
	// Settle records how requests ended, all of them or none. Errors as Ledger.Commit's.
	Settle(ctx context.Context, s []Settlement) error
	// Changed is signalled when there may be more to do; one slot, may be spurious.
	Changed() <-chan struct{}
}

// Target is SCOM, to be written to. Calls may overlap. A failed one returns an *alert.Fault, whose Unknown says that the
// write may have happened, or ctx's error, after which it may have happened, too.
type Target interface {
	Source // alerts are read by their ids
	// SetState has the resolution state of alerts set, all with one comment.
	SetState(ctx context.Context, ids []alert.ID, state uint8, comment string) (alert.Written, error)
	// SetFields changes fields of one alert and nothing else of it. alert.ErrUnsupported on servers without it.
	SetFields(ctx context.Context, id alert.ID, fields []alert.Field) (alert.Written, error)
	// ResetMonitor makes the monitor behind the alert healthy. alert.ErrUnsupported on servers without it.
	ResetMonitor(ctx context.Context, id alert.ID) (alert.Written, error)
	// Marked reports which of these marks stand in the alert's history. alert.ErrUnsupported on servers without a history.
	Marked(ctx context.Context, id alert.ID, marks []string) ([]string, error)
	// Account is who SCOM takes us for, "" if that is not known.
	Account() string
}

// WritebackConfig is how requests are carried out.
type WritebackConfig struct {
	LowerBackoff, UpperBackoff time.Duration
	// ResetMonitors closes the alert of an unhealthy monitor by resetting that; otherwise SCOM's refusal is reported.
	ResetMonitors bool
}

// WritebackDeps are what a Writeback works with.
type WritebackDeps struct {
	Target  Target
	Outbox  Outbox
	Log     hclog.Logger      // nil: silent
	Metrics *WritebackMetrics // nil: counted, but not exported
	Rand    func() float64    // in [0,1); nil: math/rand
}

const (
	// maxGroup is the most alerts of one write.
	maxGroup = alert.MaxQueryIDs
	// maxComment bounds a write's comment, which carries the marks: as much as SCOM's longest text column holds.
	// Nobody has documented a limit of the comment's own.
	maxComment = 2000
	// landing is how long a write whose outcome is unknown may still take to show in SCOM. Nothing is decided
	// about it before: neither that of a time-out, nor that of a leader that has just died.
	landing = 3 * time.Second
	// window is how many requests are looked at first; more only if all of those must wait.
	firstWindow = 1000
	// lookUps is how many histories are read at the same time.
	lookUps = 16
	// fullAgain is the pause before a refusal is recorded once more that the parked requests have no room for.
	fullAgain = 5 * time.Second
)

// Writeback carries out the requests of the outbox, for one term: each has at most one visible effect in SCOM and is
// settled, or waits.
//
// SCOM has no conditional write. So the alerts' present state is read before each write; what shows the state asked for is
// settled without one. Each group of writes is recorded before it is begun, so that whoever leads next knows which of the requests may
// have been written; the others need no look-up, however many wait. A write of which it is not known whether it happened (a time-out, or
// one that a leader before us had begun) is looked for in the alert's history by the mark in its comment before it is repeated.
type Writeback struct {
	cfg     WritebackConfig
	target  Target
	outbox  Outbox
	log     hclog.Logger
	metrics *WritebackMetrics
	rand    func() float64
	echoes  echoes
	board   writeBoard

	// Of Run's goroutine:
	work  map[string]*progress // by request
	fails int                  // faults in a row

	wake      chan struct{} // one slot; filled by Wake
	drain     chan struct{} // closed by Drain
	drainOnce sync.Once
}

// NewWriteback is a writeback that has not begun. It is bound to one term, as its Outbox is.
func NewWriteback(cfg WritebackConfig, deps WritebackDeps) *Writeback {
	w := &Writeback{
		cfg: cfg, target: deps.Target, outbox: deps.Outbox, log: deps.Log, metrics: deps.Metrics, rand: deps.Rand,
		work: make(map[string]*progress), wake: make(chan struct{}, 1), drain: make(chan struct{}),
	}
	w.echoes.init()
	if w.log == nil {
		w.log = hclog.NewNullLogger()
	}
	if w.metrics == nil {
		w.metrics = NewWritebackMetrics(nil)
	}
	if w.rand == nil {
		w.rand = rand.Float64
	}
	return w
}

// Drain ends the writeback for a planned handover: the write under way is answered and settled, nothing else is begun, and
// then Run returns nil. It returns at once. The caller bounds the wait by Run's context.
func (w *Writeback) Drain() { w.drainOnce.Do(func() { close(w.drain) }) }

// Wake says that SCOM has just answered somebody else: if nothing was written because SCOM could not be read, that is tried
// again at once. It never blocks.
func (w *Writeback) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends or Drain has taken effect (nil), or until the outbox says that the term is over
// (ErrTermOver, ErrUnknownOutcome). It gives up for no other reason, for as long as SCOM is away. It is called once.
func (w *Writeback) Run(ctx context.Context) error {
	for {
		r, err := w.step(ctx)
		if err == nil {
			err = w.rest(ctx, r)
		}
		if errors.Is(err, errEnded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// progress is what is known in this term of a request that is not settled.
type progress struct {
	doubt   bool // a write of it may have happened, and its history was not looked at since
	unsure  bool // the same of its fields, which leave no mark
	touched bool // SCOM has taken a change for it
	after   time.Time
	share   int // most alerts of one write with it; zero: no limit
	faults  int // writes and look-ups without an answer, in a row
	tries   int // objections that nobody can class
	passing int // objections that pass, in a row
	resets  int // how often a close was tried since the monitor was reset
	// fieldsDone says that the fields need no further try; lacking is why they were not changed, if they were not.
	fieldsDone bool
	lacking    string
	// verdict is how it ended, while that cannot be recorded.
	verdict *Settlement
}

func (w *Writeback) progressOf(id string) *progress {
	p := w.work[id]
	if p == nil {
		p = &progress{}
		w.work[id] = p
	}
	return p
}

// rest is a pause: how long (negative: without an end), and what else ends it.
type rest struct {
	d       time.Duration
	changed bool // new requests
	wake    bool // Wake
}

// step carries out what is due and says how to rest.
func (w *Writeback) step(ctx context.Context) (rest, error) {
	if w.ended(ctx) {
		return rest{}, errEnded
	}
	heads, next := w.heads(time.Now())
	switch {
	case len(heads) == 0 && next.IsZero():
		return rest{d: -1, changed: true}, nil
	case len(heads) == 0:
		return rest{d: max(time.Until(next), time.Millisecond), changed: true}, nil
	}
	if v := w.work[heads[0].ID]; v != nil && v.verdict != nil {
		return rest{}, w.settle(ctx, []Settlement{*v.verdict})
	}
	select {
	case <-w.wake: // of before this look at SCOM
	default:
	}
	group := w.group(heads)
	now, err := w.look(ctx, group)
	read := err == nil
	if read {
		err = w.carryOut(ctx, group, now)
	}
	fault, away := alert.FaultOf(err)
	switch {
	case err == nil:
		w.answered()
		return rest{}, nil
	case errors.Is(err, ErrTermOver), errors.Is(err, ErrUnknownOutcome), errors.Is(err, errEnded):
		return rest{}, err
	case ctx.Err() != nil:
		return rest{}, errEnded
	case !away:
		fault = &alert.Fault{Console: "?", All: true, Err: err}
	}
	return rest{d: w.away(fault), wake: !read}, nil
}

func (w *Writeback) ended(ctx context.Context) bool {
	select {
	case <-w.drain:
		return true
	default:
		return ctx.Err() != nil
	}
}

func (w *Writeback) rest(ctx context.Context, r rest) error {
	if r.d == 0 {
		return nil
	}
	var over <-chan time.Time
	if r.d > 0 {
		t := time.NewTimer(r.d)
		defer t.Stop()
		over = t.C
	}
	var changed, wake <-chan struct{}
	if r.changed {
		changed = w.outbox.Changed()
	}
	if r.wake {
		wake = w.wake
	}
	select {
	case <-over:
	case <-changed:
	case <-wake:
	case <-w.drain:
		return errEnded
	case <-ctx.Done():
		return errEnded
	}
	return nil
}

// heads lists the requests that may be carried out now, oldest first: of each alert only its oldest, so that a close, a
// reopening and another close arrive as they were asked for. next is when one more may be, zero if none waits for its time.
func (w *Writeback) heads(now time.Time) (ready []Close, next time.Time) {
	for limit := firstWindow; ; limit *= 4 {
		waiting := w.outbox.Waiting(limit)
		ready, next = w.headsOf(waiting, now)
		if len(ready) > 0 || len(waiting) < limit {
			return ready, next
		}
	}
}

func (w *Writeback) headsOf(waiting []Close, now time.Time) (ready []Close, next time.Time) {
	seen := make(map[alert.ID]struct{}, len(waiting))
	for _, c := range waiting {
		if _, behind := seen[c.Alert]; behind {
			continue
		}
		seen[c.Alert] = struct{}{}
		p := w.work[c.ID]
		if p == nil && c.Doubtful {
			p = &progress{doubt: true, unsure: true, after: now.Add(landing)}
			w.work[c.ID] = p
		}
		if p == nil || !p.after.After(now) {
			ready = append(ready, c)
		} else if next.IsZero() || p.after.Before(next) {
			next = p.after
		}
	}
	return ready, next
}

// group chooses what is carried out together: the oldest, and all that one write can do with it.
func (w *Writeback) group(heads []Close) []Close {
	first := heads[0]
	most := w.share(first)
	group := heads[:1:1]
	if alone(first) {
		return group
	}
	room := maxComment - len(comment(group))
	for _, c := range heads[1:] {
		size := len(comment([]Close{{ID: c.ID}})) + 1
		if len(group) >= most || size > room {
			break
		}
		if p := w.work[c.ID]; alone(c) || p != nil && p.verdict != nil || c.State != first.State || c.Comment != first.Comment || w.share(c) <= len(group) {
			continue
		}
		group, room = append(group, c), room-size
		most = min(most, w.share(c))
	}
	return group
}

// alone reports whether the request takes calls of its own.
func alone(c Close) bool { return c.Keep || len(c.Fields) > 0 }

func (w *Writeback) share(c Close) int {
	if p := w.work[c.ID]; p != nil && p.share > 0 {
		return p.share
	}
	return maxGroup
}

// away tells of a fault and says how long to leave SCOM alone.
func (w *Writeback) away(f *alert.Fault) time.Duration {
	text := "SCOM console " + f.Console + ": " + f.Err.Error()
	if w.board.fault(text, time.Now()) {
		w.log.Debug("close requests wait for SCOM", "console", f.Console, "class", f.Class.String(), "error", f.Err)
	}
	n := w.fails
	w.fails++
	if !f.All {
		return max(time.Second, min(f.RetryAfter, w.cfg.UpperBackoff)) // another console is next
	}
	return backoff(w.cfg.LowerBackoff, w.cfg.UpperBackoff, n, w.rand(), f.RetryAfter)
}

func (w *Writeback) answered() {
	w.fails = 0
	if since := w.board.healed(); !since.IsZero() {
		w.log.Debug("SCOM takes close requests again", "after", time.Since(since).Round(time.Second).String())
	}
}
