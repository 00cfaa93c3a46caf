package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scomconnector/poller/alert"
)

const (
	// goneAfter is how far apart the two passes must be that an alert was absent in before it counts as gone.
	goneAfter = 10 * time.Minute
	// soonest and latest are when a term's first pass begins: after a fail-over the consoles have other work.
	soonest, latest = 30 * time.Second, 90 * time.Second
	// vanishedAlways and vanishedShare: more vanished alerts than the greater of the two are more likely a
	// changed account scope or a cut answer than groomed alerts.
	vanishedAlways = 20
	vanishedShare  = 20 // 1/20 = 5 %
	// maxAsked bounds the ids asked for in one pass, so that delta polls do not wait for long; the
	// others are asked for in the next.
	maxAsked = 1000
	// reconcileAgain is the pause after a pass that could not be finished.
	reconcileAgain = time.Minute
)

// reconcile compares all open alerts with what was sent and is not closed: it finds what the deltas never
// showed, and closes what SCOM shows no longer. Its memory lives in the term.
type reconcile struct {
	next  time.Time
	gone  map[alert.ID]absence
	parts []span // of the open alerts, narrowed when a read of all was too much
	// confirmed: a person has said that what has vanished is gone; holds until nothing waits any more.
	confirmed bool
}

// absence is since when SCOM has not shown an alert, neither open nor by its id.
type absence struct {
	since time.Time
	v     alert.Version // as sent
}

func (c *reconcile) begin(random float64, now time.Time) {
	c.next = now.Add(soonest + time.Duration(random*float64(latest-soonest)))
	c.gone = make(map[alert.ID]absence)
	c.parts = []span{{}}
}

// tooMany reports whether so many of all must not be closed without a person's word.
func tooMany(vanished, all int) bool { return vanished > max(vanishedAlways, all/vanishedShare) }

// reconcileDue says whether the next read is a pass. It never competes with catching up.
func (r *reader) reconcileDue() bool {
	if r.p.confirm.CompareAndSwap(true, false) {
		r.recon.confirmed, r.recon.next = true, time.Now()
	}
	return r.p.cfg.Reconcile > 0 && r.upToDate() && !time.Now().Before(r.recon.next)
}

// reconcile makes one pass and says how long to rest.
func (r *reader) reconcile(ctx context.Context) time.Duration {
	r.p.board.phase(PhaseReconciling, "")
	began := time.Now()
	r.steady = false
	sent := r.p.ledger.Open() // before the read: what is sent meanwhile is not missing
	slices.SortFunc(sent, func(a, b alert.Version) int { return slices.Compare(a.ID[:], b.ID[:]) })
	seen, err := r.readOpen(ctx)
	if err == nil {
		err = r.vanished(ctx, sent, seen)
	}
	took := max(time.Since(began)-r.blocked, 0)
	if err != nil {
		r.recon.next = time.Now().Add(reconcileAgain)
		if errors.Is(err, errUnsure) {
			r.handOver(ctx, nil)
			return took
		}
		return r.failed(ctx, took, err, func() bool { return true }) // readOpen has split its part; whether SCOM is down, the next poll tells
	}
	r.p.board.warn(warnReconcile, "")
	r.recon.next = began.Add(r.interval())
	if !r.handOver(ctx, nil) {
		return 0
	}
	r.showRoom()
	return max(took, r.p.cfg.MinCycle)
}

// interval is the time to the next pass: sooner while alerts wait for their second absence.
func (r *reader) interval() time.Duration {
	d := r.p.cfg.Reconcile
	if len(r.recon.gone) > 0 {
		d = min(d, goneAfter)
	}
	return d + time.Duration(r.p.rand()*float64(d)/10)
}

// errUnsure: the answer was complete, but does not show which alerts are missing.
var errUnsure = errors.New("an answer cannot be trusted to be complete")

// readOpen reads all open alerts, delivers what is newer than what was sent, and returns what it saw.
func (r *reader) readOpen(ctx context.Context) (seen map[alert.ID]struct{}, err error) {
	seen = make(map[alert.ID]struct{})
	var nameless error
	note := func(row alert.Row) {
		if row.ID.IsZero() {
			nameless = row.Err
			return
		}
		seen[row.ID] = struct{}{}
	}
	for i := 0; i < len(r.recon.parts); {
		part := r.recon.parts[i]
		ans, took, err := r.askNoting(ctx, part.query(), note)
		if f, ok := alert.FaultOf(err); ok && f.Class == alert.FaultTimeout {
			halves := part.split(r.clock.now())
			r.recon.parts = slices.Replace(r.recon.parts, i, i+1, halves...)
		}
		if err != nil {
			return nil, err
		}
		r.note(ans)
		if i++; i < len(r.recon.parts) && !sleep(ctx, took) {
			return nil, ctx.Err()
		}
	}
	if nameless != nil {
		if r.p.board.warn(warnReconcile, "the reconcile cannot tell which alerts have vanished: a row of SCOM's has no readable id") {
			r.log.Warn("reconcile gave up: a row has no readable id", "error", nameless)
		}
		return nil, errUnsure
	}
	return seen, nil
}

// vanished asks for those of sent that were not seen, delivers what is found, and closes what is gone.
func (r *reader) vanished(ctx context.Context, sent []alert.Version, seen map[alert.ID]struct{}) error {
	var missing []alert.Version
	for _, v := range sent {
		if _, ok := seen[v.ID]; !ok && r.current(v) {
			missing = append(missing, v)
		}
	}
	absent, unasked, err := r.askFor(ctx, missing)
	if err != nil {
		return err
	}
	gone := r.absentTwice(absent, time.Now())
	if n := len(absent) + unasked; tooMany(n, len(sent)) && !r.recon.confirmed {
		r.alarm(n, len(sent))
		return nil
	}
	r.alarm(0, 0)
	for _, v := range gone {
		if err := r.closeGone(ctx, v); err != nil {
			return err
		}
		delete(r.recon.gone, v.ID)
	}
	if len(r.recon.gone) == 0 && unasked == 0 {
		r.recon.confirmed = false
	}
	return nil
}

// current reports whether v is still the newest version of its alert, and nothing of it is under way.
func (r *reader) current(v alert.Version) bool {
	if _, _, pending := r.flight.newest(v.ID); pending {
		return false
	}
	now, ok := r.p.ledger.Sent(v.ID)
	return ok && now == v
}

// askFor asks for the missing by id. Found: the true version goes out as any other row.
func (r *reader) askFor(ctx context.Context, missing []alert.Version) (absent []alert.Version, unasked int, err error) {
	if len(missing) > maxAsked {
		// Those already absent once first, so that a pass can finish what another began.
		slices.SortStableFunc(missing, func(a, b alert.Version) int { return r.recon.rank(a.ID) - r.recon.rank(b.ID) })
		unasked = len(missing) - maxAsked
		missing = missing[:maxAsked]
	}
	for chunk := range slices.Chunk(missing, alert.MaxQueryIDs) {
		ids := make([]alert.ID, len(chunk))
		for i, v := range chunk {
			ids[i] = v.ID
		}
		found := make(map[alert.ID]struct{}, len(chunk))
		ans, took, err := r.askNoting(ctx, alert.Query{IDs: ids}, func(row alert.Row) { found[row.ID] = struct{}{} })
		if err != nil {
			return nil, 0, err
		}
		r.note(ans)
		if _, nameless := found[alert.ID{}]; nameless {
			return nil, 0, errUnsure
		}
		for _, v := range chunk {
			if _, ok := found[v.ID]; !ok {
				absent = append(absent, v)
			}
		}
		if !sleep(ctx, took) {
			return nil, 0, ctx.Err()
		}
	}
	return absent, unasked, nil
}

func (c *reconcile) rank(id alert.ID) int {
	if _, ok := c.gone[id]; ok {
		return 0
	}
	return 1
}

// absentTwice remembers the absent and returns those that were absent, as the same version, long enough ago.
func (r *reader) absentTwice(absent []alert.Version, now time.Time) (gone []alert.Version) {
	before := r.recon.gone
	r.recon.gone = make(map[alert.ID]absence, len(absent))
	for _, v := range absent {
		a, ok := before[v.ID]
		if !ok || a.v != v {
			a = absence{since: now, v: v}
		}
		r.recon.gone[v.ID] = a
		if now.Sub(a.since) >= goneAfter {
			gone = append(gone, v)
		}
	}
	return gone
}

// alarm shows how many vanished alerts wait for a person; zero ends it.
func (r *reader) alarm(n, all int) {
	text := ""
	if n > 0 {
		text = fmt.Sprintf("%d of %d open alerts have vanished from SCOM. Nothing is closed: check whether the connector's account still sees all of SCOM. If they are really gone: scomconnector reconcile confirm", n, all)
	}
	if r.p.board.warn(warnVanished, text) && n > 0 {
		r.log.Error("too many alerts have vanished from SCOM; nothing is closed", "vanished", n, "open", all)
	}
	r.p.board.set(func(s *Status) { s.Vanished = n })
}

// closeGone sends the close that SCOM never showed. It keeps the last lastModified, so that the alert is
// sent again should it return.
func (r *reader) closeGone(ctx context.Context, v alert.Version) error {
	if !r.current(v) {
		return nil
	}
	if err := r.acquire(ctx, patience); err != nil {
		return err
	}
	const text = "closed in SCOM (groomed)"
	a := &alert.Alert{
		ID: v.ID, LastModified: v.LastModified.Time(), ResolutionState: alert.StateClosed,
		Name: text, Description: "SCOM shows this alert no longer, neither open nor closed.",
	}
	r.log.Info("closing an alert that SCOM shows no longer", "alert", v.ID.String(), "modified", v.LastModified.String())
	return r.encode(ctx, a, a.Version())
}

// askNoting is ask, with every row shown to note as well.
func (r *reader) askNoting(ctx context.Context, q alert.Query, note func(alert.Row)) (alert.Answer, time.Duration, error) {
	r.noting = note
	defer func() { r.noting = nil }()
	return r.ask(ctx, q)
}
