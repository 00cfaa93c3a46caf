package poller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/poller/alert"
)

// maxSettled bounds one Settle: with reasons at their longest it stays far below what a command may hold.
const maxSettled = 32

// settle records how requests ended. It is repeated until it is in the log or the term is over: what was written must not be
// written again. A refusal for which there is no room among the parked requests is kept and tried again; the others go on.
func (w *Writeback) settle(ctx context.Context, settled []Settlement) error {
	var good, refused []Settlement
	for _, s := range settled {
		if s.Outcome == Refused {
			refused = append(refused, s)
		} else {
			good = append(good, s)
		}
	}
	if len(good) > 0 {
		if err := w.record(ctx, good); err != nil {
			return err
		}
	}
	full := false
	for len(refused) > 0 {
		n := min(maxSettled, len(refused))
		if full {
			n = 1 // one more may still fit
		}
		err := w.record(ctx, refused[:n])
		if errors.Is(err, ErrParkedFull) && n > 1 {
			full = true
			continue
		}
		if errors.Is(err, ErrParkedFull) {
			w.keep(refused[0])
		} else if err != nil {
			return err
		} else if w.board.block("") {
			w.log.Info("refused close requests are parked again")
		}
		refused = refused[n:]
	}
	return nil
}

// keep holds a refusal that cannot be parked now.
func (w *Writeback) keep(s Settlement) {
	p := w.progressOf(s.ID)
	p.verdict, p.after = &s, time.Now().Add(fullAgain)
	w.board.note(s.ID, "SCOM refuses it, and the parked requests are at their limit: "+s.Reason)
	const text = "SCOM refuses close requests, and the parked ones are at their limit: look at `scomconnector parked list`, then retry or remove those that are dealt with"
	if w.board.block(text) {
		w.log.Error("a refused close request cannot be parked", "why", text)
	}
}

// record commits settlements, in as few commands as fit. ErrParkedFull is the caller's.
func (w *Writeback) record(ctx context.Context, settled []Settlement) error {
	if err := w.persist(ctx, "how close requests ended", func() error { return w.recordOnce(ctx, settled) }); err != nil {
		return err
	}
	for _, s := range settled {
		w.metrics.settled.WithLabelValues(s.label()).Inc()
		delete(w.work, s.ID)
		w.board.note(s.ID, "")
	}
	return nil
}

// begin records that these are about to be written, unless that stands there already. What a change of fields will look like afterwards
// is not known from a mark, so for those it must be recorded what the alert was like before this very try.
func (w *Writeback) begin(ctx context.Context, todo []Close, now shownNow) error {
	var begun []Begun
	for _, c := range todo {
		b := Begun{ID: c.ID}
		if a := now.alerts[c.Alert]; a != nil {
			b.Seen = alert.MillisOf(a.LastModified)
		}
		if !c.Doubtful || len(c.Fields) > 0 && !w.progressOf(c.ID).fieldsDone && c.Seen != b.Seen {
			begun = append(begun, b)
		}
	}
	if len(begun) == 0 {
		return nil
	}
	return w.persist(ctx, "which close requests are begun", func() error { return w.outbox.Begin(ctx, begun) })
}

// persist repeats a commit of what until it is in the log or the term is over. ErrParkedFull is the caller's.
func (w *Writeback) persist(ctx context.Context, what string, commit func() error) error {
	for failed := false; ; failed = true {
		err := commit()
		switch {
		case err == nil:
			w.board.ledger("")
			if failed {
				w.log.Info("the cluster records it again", "what", what)
			}
			return nil
		case errors.Is(err, ErrTermOver), errors.Is(err, ErrUnknownOutcome), errors.Is(err, ErrParkedFull):
			return err
		case ctx.Err() != nil:
			return errEnded
		}
		w.board.ledger("the cluster does not record " + what + ": " + err.Error())
		if !failed { // what is said of it then may change with each try
			w.log.Error("the cluster does not record it; trying again", "what", what, "error", err)
		}
		if !sleep(ctx, commitAgain) {
			return errEnded
		}
	}
}

// recordOnce uses a short time of its own where ctx has ended meanwhile: the outbox refuses it if the term is over, and if it is not,
// a write is spared from being looked up by the next leader.
func (w *Writeback) recordOnce(ctx context.Context, settled []Settlement) error {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastCommit)
		defer cancel()
	}
	return w.outbox.Settle(ctx, settled)
}

// WritebackMetrics are the series of all writebacks of a process.
type WritebackMetrics struct{ settled *prometheus.CounterVec }

var outcomeNames = map[Outcome]string{Done: "closed", Already: "already_closed", Refused: "refused"}

// unknownAlert counts the closes of alerts that SCOM does not know, apart from those that it showed closed.
const unknownAlert = "unknown_alert"

func (s Settlement) label() string {
	if s.Outcome == Already && s.Reason != "" {
		return unknownAlert
	}
	return outcomeNames[s.Outcome]
}

// NewWritebackMetrics registers the series, all at zero; reg may be nil, which counts for nobody.
func NewWritebackMetrics(reg prometheus.Registerer) *WritebackMetrics {
	m := &WritebackMetrics{settled: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scomconnector_outbox_settled_total", Help: "Close requests that have ended: SCOM has done it, showed it already, does not know the alert, or refuses it for good."}, []string{"outcome"})}
	for _, o := range outcomeNames {
		m.settled.WithLabelValues(o)
	}
	m.settled.WithLabelValues(unknownAlert)
	if reg != nil {
		reg.MustRegister(m.settled)
	}
	return m
}

// writeBoard is where a writeback writes what Status and Stands show.
type writeBoard struct {
	mu      sync.Mutex
	error   string
	since   time.Time // of the first of the faults in a row
	blocked string
	log     string // why settlements cannot be recorded
	notes   map[string]string
}

// fault shows why nothing moves and reports whether that is news.
func (b *writeBoard) fault(text string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := b.error != text
	if b.error == "" {
		b.since = now
	}
	b.error = text
	return news
}

// healed ends a row of faults and returns since when it has lasted, or zero.
func (b *writeBoard) healed() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	since := b.since
	b.error, b.since = "", time.Time{}
	return since
}

func (b *writeBoard) block(text string) bool { return b.put(&b.blocked, text) }
func (b *writeBoard) ledger(text string)     { b.put(&b.log, text) }

// put sets one of the texts and reports whether that is news.
func (b *writeBoard) put(field *string, text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := *field != text
	*field = text
	return news
}

// note sets what is shown of one request; an empty text ends it.
func (b *writeBoard) note(id, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if text == "" {
		delete(b.notes, id)
		return
	}
	if b.notes == nil {
		b.notes = make(map[string]string)
	}
	b.notes[id] = text
}

// WritebackStatus is what a writeback knows of itself.
type WritebackStatus struct {
	// Error is why nothing moves, in plain words; empty while requests are carried out. Since is since when.
	Error string
	Since time.Time
	// Blocked is why refusals cannot be parked, and what to do; else empty. Other requests go on.
	Blocked string
}

// Status is safe to call at any time.
func (w *Writeback) Status() WritebackStatus {
	b := &w.board
	b.mu.Lock()
	defer b.mu.Unlock()
	s := WritebackStatus{Error: b.error, Blocked: b.blocked}
	if b.log != "" {
		s.Error = b.log
	}
	if !b.since.IsZero() {
		s.Since = b.since.UTC()
	}
	return s
}

// Stands says of each request where it stands, in words. waiting is the outbox from its oldest request on. It is safe to call at any
// time.
func (w *Writeback) Stands(waiting []Close) []string {
	status := w.Status()
	b := &w.board
	b.mu.Lock()
	defer b.mu.Unlock()
	before := make(map[alert.ID]int, len(waiting))
	texts := make([]string, len(waiting))
	for i, c := range waiting {
		n := before[c.Alert]
		before[c.Alert]++
		switch note := b.notes[c.ID]; {
		case n > 0:
			texts[i] = fmt.Sprintf("waiting behind %d of the same alert", n)
		case note != "":
			texts[i] = note
		case status.Error != "" && !status.Since.IsZero():
			since := status.Since
			if c.At.After(since) { // it came while SCOM was away
				since = c.At.UTC()
			}
			texts[i] = "waiting for SCOM since " + since.Format("Jan 2 15:04:05 UTC")
		default:
			texts[i] = "its turn is next"
		}
	}
	return texts
}
