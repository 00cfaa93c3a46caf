package poller

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"scomconnector/poller/alert"
)

const (
	// maxParkedPayload bounds what is kept of a row or event; the ledger compresses it.
	maxParkedPayload = 1 << 20
	// maxParkedPerBatch keeps a commit of parked entries small.
	maxParkedPerBatch = 16
)

// take decides about one row and encodes it if it must go out.
func (r *reader) take(ctx context.Context, a *alert.Alert) error {
	v := a.Version()
	if v.LastModified < r.w.floor {
		r.count.older.Inc()
		return nil
	}
	// First what is under way, then the ledger: a version is recorded there before it leaves the former.
	old, seq, known := r.flight.newest(v.ID)
	if !known {
		old, known = r.crowd.closed[v.ID]
	}
	if !known {
		old, known = r.p.ledger.Sent(v.ID)
	}
	switch {
	case known && v == old:
		r.count.duplicate.Inc()
		r.repeats.remember(a)
		r.crowd.remember(v)
		return nil
	case known && !v.Supersedes(old):
		r.count.older.Inc()
		return nil
	case !known && !r.p.encoder.Wants(a):
		r.count.filtered.Inc()
		return nil
	case !known && !r.hasRoom():
		if r.held == 0 || v.LastModified < r.held {
			r.held = v.LastModified
		}
		return nil
	}
	if r.b != nil && seq == r.b.seq {
		// One batch never holds two versions of an id: if the older one is refused, the newer must wait behind it.
		if !r.handOver(ctx, nil) {
			return ctx.Err()
		}
	}
	if err := r.acquire(ctx, patience); err != nil {
		return err
	}
	if known && (r.repeats.only(a, old) || r.p.echo(a, old)) {
		r.count.filtered.Inc()
		r.b.quiet = append(r.b.quiet, v)
		r.flight.add(v, r.b.seq)
		return nil
	}
	return r.encode(ctx, a, v)
}

// encode appends a's event to the batch in hand.
func (r *reader) encode(ctx context.Context, a *alert.Alert, v alert.Version) error {
	start := len(r.b.buf)
	buf, err := r.p.encoder.Append(r.b.buf, a)
	if err != nil {
		return r.unencodable(ctx, a, v, err)
	}
	r.b.buf = buf
	if len(r.b.events) > 0 && r.b.size()+1 > r.p.cfg.MaxBatchBytes {
		// It does not fit: it becomes the first of the next batch. The bytes are the old batch's, and still there.
		event := buf[start:]
		r.b.buf = buf[:start]
		if !r.handOver(ctx, nil) {
			return ctx.Err()
		}
		if err := r.acquire(ctx, patience); err != nil {
			return err
		}
		r.b.buf = append(r.b.buf, event...)
	}
	r.b.push(v)
	r.p.board.read.Add(1)
	r.flight.add(v, r.b.seq)
	r.repeats.remember(a)
	r.crowd.remember(v)
	r.late(v)
	if len(r.b.events) >= r.p.cfg.MaxBatchEvents || r.b.size() >= r.p.cfg.MaxBatchBytes {
		if !r.handOver(ctx, nil) {
			return ctx.Err()
		}
	}
	return nil
}

// hasRoom reports whether one more id fits into the delivered map, and reserves its place.
func (r *reader) hasRoom() bool {
	if r.room <= 0 {
		r.room = r.p.ledger.Room() - r.flight.ids()
	}
	r.room--
	return r.room >= 0
}

// crowd makes room while the delivered map is full. The cursor is then held before the oldest alert there
// is no room for, and the map keeps every closed version behind the cursor, so that closing alerts would
// never make room. Instead this remembers, for the term, the closed versions that full reads show, and the
// map may forget them. The price: after a crash in that state they go out once more. The zero value is not crowded.
type crowd struct {
	on     bool
	closed map[alert.ID]alert.Version // kept until no read reaches back to them
}

// maxCrowd bounds that memory, as the delivered map is bounded.
const maxCrowd = 500_000

// crowdStep makes up for the steps of ten seconds in which the map forgets.
const crowdStep = 11 * time.Second

func (c *crowd) remember(v alert.Version) {
	if c.on && v.State == alert.StateClosed && len(c.closed) < maxCrowd {
		c.closed[v.ID] = v
	}
}

// answered takes note of a completely read answer and returns up to where the map may forget, or zero.
// Later full reads begin at start.
func (c *crowd) answered(kind readKind, held, newest, start alert.Millis) alert.Millis {
	switch {
	case kind == readFast:
	case held == 0:
		c.on = false
		maps.DeleteFunc(c.closed, func(_ alert.ID, v alert.Version) bool { return v.LastModified.Add(crowdStep) < start })
	case !c.on: // from the next read on the memory is complete
		c.on = true
		if c.closed == nil {
			c.closed = make(map[alert.ID]alert.Version)
		}
	case len(c.closed) < maxCrowd:
		return newest.Add(crowdStep) // the map knows nothing newer yet
	}
	return 0
}

// acquire has a batch in hand when it returns nil. It waits at most limit for one, or without a limit if
// that is zero.
func (r *reader) acquire(ctx context.Context, limit time.Duration) error {
	if r.b != nil {
		return nil
	}
	select {
	case r.b = <-r.lane.free:
	default:
		began := time.Now()
		var late <-chan time.Time
		if limit > 0 {
			t := time.NewTimer(limit)
			defer t.Stop()
			late = t.C
		}
		defer func() { r.blocked += time.Since(began) }()
		select {
		case r.b = <-r.lane.free:
		case <-late:
			return errStuck
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.seq++
	r.b.reset(r.seq)
	return nil
}

// handOver gives the batch in hand, if there is one, and e to the sender. False: ctx has ended.
func (r *reader) handOver(ctx context.Context, e *end) bool {
	w := work{e: e}
	if r.b != nil && !r.b.empty() {
		r.b.seal()
		w.b, r.b = r.b, nil
	}
	if w.b == nil && w.e == nil {
		return ctx.Err() == nil
	}
	select {
	case r.lane.work <- w:
		return true
	case <-ctx.Done():
		return false
	}
}

// tardy is what is known in this term of rows that SCOM shows late.
type tardy struct {
	rows, late int
	// told is what people were told, if anything.
	told lateness
}

type lateness uint8

const (
	notLate       lateness = iota
	lateRow                // commits take long: the overlap must grow
	lateClock              // hardly any row is in time, or one far out of it: a clock is wrong
	tellingRows   = 20     // so many rows tell a wrong clock from a few long commits
	neverInCommit = 5 * time.Minute
)

// judge takes note of a row shown so long after its time, and says what it points to.
func (t *tardy) judge(shown, limit time.Duration) lateness {
	if t.rows++; t.rows > 2*tellingRows { // the latest rows count: a clock may go wrong later
		t.rows, t.late = t.rows/2, t.late/2
	}
	if shown <= limit {
		return notLate
	}
	t.late++
	if shown >= neverInCommit+limit || t.rows >= tellingRows && t.late >= t.rows*9/10 {
		return lateClock
	}
	return lateRow
}

// late measures how long SCOM took, at least, to show a version that nobody had seen before: what it may have waited for our next
// question is not SCOM's, be it seconds or an outage.
func (r *reader) late(v alert.Version) {
	if !r.steady {
		return
	}
	now := r.clock.now()
	limit := (r.p.cfg.Overlap + r.p.cfg.Settle) / 2
	if now <= v.LastModified {
		r.tardy.judge(0, limit)
		return
	}
	d := now.Sub(v.LastModified)
	shown := max(d-r.w.unseen(v.LastModified, time.Now()), 0)
	r.p.metrics.lateness.Observe(shown.Seconds())
	b := &r.p.board
	b.set(func(s *Status) { s.Lateness = max(s.Lateness, shown) })
	why := r.tardy.judge(shown, limit)
	if why <= r.tardy.told {
		return
	}
	r.tardy.told = why
	missed := r.p.cfg.Overlap + r.p.cfg.Settle
	text := fmt.Sprintf("SCOM showed a change %s after its time; more than %s would be missed until the next reconcile: raise OverlapSeconds",
		shown.Round(time.Second), missed)
	if why == lateClock {
		text = fmt.Sprintf("SCOM shows changes %s after their time by the console's clock: the console's clock may be ahead of the database's; compare them. If they agree, raise OverlapSeconds: a change more than %s late would be missed until the next reconcile",
			shown.Round(time.Second), missed)
	}
	b.warn(warnLate, text)
	r.log.Warn("SCOM shows changes late", "alert", v.ID.String(), "seconds", shown.Seconds(), "limit", limit.Seconds(), "clock", why == lateClock)
}

// broken parks a row that cannot be understood, once.
func (r *reader) broken(ctx context.Context, row alert.Row) error {
	return r.park(ctx, Parked{
		Key: rowKey(row), Version: alert.Version{ID: row.ID}, Reason: "a row of SCOM's cannot be understood: " + row.Err.Error(), Payload: row.Raw,
	})
}

// unencodable parks an alert that no event can be made of. It counts as handled: a newer version is tried again.
func (r *reader) unencodable(ctx context.Context, a *alert.Alert, v alert.Version, cause error) error {
	payload, err := json.Marshal(a)
	if err != nil {
		payload = []byte(a.Name)
	}
	r.repeats.forget(v.ID)
	return r.park(ctx, Parked{Key: versionKey(v), Version: v, Reason: "no event can be made of it: " + cause.Error(), Payload: payload})
}

// park puts an entry into the batch in hand, unless it is parked already or on its way there.
func (r *reader) park(ctx context.Context, p Parked) error {
	if r.p.ledger.Parked(p.Key) || !r.flight.park(p.Key) {
		return nil
	}
	if err := r.acquire(ctx, patience); err != nil {
		r.flight.unpark([]Parked{p})
		return err
	}
	r.count.broken.Inc()
	r.log.Warn("parked a row", "alert", p.Version.ID.String(), "reason", p.Reason)
	p.At = time.Now().UTC()
	p.Payload = append([]byte(nil), p.Payload[:min(len(p.Payload), maxParkedPayload)]...)
	r.b.parked = append(r.b.parked, p)
	if p.Version.LastModified != 0 {
		r.flight.add(p.Version, r.b.seq)
	}
	if len(r.b.parked) >= maxParkedPerBatch && !r.handOver(ctx, nil) {
		return ctx.Err()
	}
	return nil
}

// volatile columns change from poll to poll without the alert changing.
var volatile = regexp.MustCompile(`(?i)"(age|ageinmilliseconds|latency)"\s*:\s*("[^"]*"|[^,}\]]*)`)

// rowKey is the same for the same fault of the same row, however often it is shown.
func rowKey(row alert.Row) alert.ID {
	h := sha256.New()
	if row.ID.IsZero() {
		h.Write([]byte("row"))
		h.Write(volatile.ReplaceAll(row.Raw, nil))
	} else {
		h.Write(row.ID[:])
		h.Write([]byte(row.Err.Error()))
	}
	return alert.ID(h.Sum(nil)[:16])
}

// versionKey is the key of a parked version.
func versionKey(v alert.Version) alert.ID {
	var s strings.Builder
	s.WriteString(v.ID.String())
	fmt.Fprintf(&s, "/%d/%d", v.LastModified, v.State)
	h := sha256.Sum256([]byte(s.String()))
	return alert.ID(h[:16])
}
