package poller

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
)

// errEnded says that ctx has ended or Drain has taken effect.
var errEnded = errors.New("the pipeline has ended")

const (
	// tickEvery is how often own events and events set aside are looked at.
	tickEvery = time.Second
	// lastCommit is how long the record of what a LAM has just accepted may take when the term's context
	// has ended meanwhile. The ledger refuses it if the term is over; if it is not, a batch is spared
	// from going out twice.
	lastCommit = time.Second
	// commitAgain is the pause after a commit that failed for another reason than the term's end. Its
	// events are out, so it is repeated until it succeeds.
	commitAgain = time.Second
	// forgetAfter is how much longer than a full read reaches closed versions are remembered: queries are
	// cut to whole seconds, and the map forgets in steps of ten.
	forgetAfter = time.Minute
)

// sender posts batches and records what was accepted: publish, then commit, then the next. One
// goroutine owns all of it and is the only one that calls the Sink.
type sender struct {
	p      *Pipeline
	log    hclog.Logger
	clock  *clock
	flight *flight
	lane   *lane
	gate   *gate
	count  tally

	sent  []alert.Version // accepted, not yet recorded
	quiet []alert.Version // need not go out, not yet recorded
	taken uint64          // alerts ever accepted
	aside aside
	// want is where the pipeline stands once nothing is held.
	want Position
	// forget is what the map may forget, once, to make room.
	forget alert.Millis

	awaySince   time.Time // keeps its monotonic reading, so that a wall clock set back delays no alarm
	fails       int       // posts in a row that nobody took
	fault       string
	commitFails bool // the last commit did
	own         ownEvents
}

func newSender(p *Pipeline, c *clock, f *flight, l *lane, g *gate) *sender {
	s := &sender{p: p, log: p.log.Named("send"), clock: c, flight: f, lane: l, gate: g, count: p.metrics.tally(p.cfg.Stream)}
	s.aside.byID = make(map[alert.ID]*refused)
	s.want = p.ledger.Position()
	p.board.mu.Lock()
	p.board.flight, p.board.clock = f, c
	p.board.mu.Unlock()
	return s
}

// run works until ctx ends or Drain is called (errEnded), or the ledger ends the term.
func (s *sender) run(ctx context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		if s.ended(ctx) {
			return errEnded
		}
		next := s.lane.work
		if s.aside.full() {
			next = nil // only what is aside is tried, until there is room
		}
		var err error
		select {
		case <-ctx.Done():
			return errEnded
		case <-s.p.drain:
			return errEnded
		case w := <-next:
			err = s.deliver(ctx, w)
		case r := <-s.p.resends:
			err = s.resend(ctx, r)
		case <-tick.C:
			err = s.attend(ctx)
		}
		if err != nil {
			return err
		}
	}
}

func (s *sender) ended(ctx context.Context) bool {
	select {
	case <-s.p.drain:
		return true
	default:
		return ctx.Err() != nil
	}
}

// deliver carries one piece of work to its end: every event is accepted, or set aside.
func (s *sender) deliver(ctx context.Context, w work) error {
	var events []alert.Event
	if w.b != nil {
		defer func() { s.lane.free <- w.b }() // has room for every batch there is
		if len(w.b.parked) > 0 {
			if err := s.park(ctx, w.b.parked); err != nil {
				return err
			}
		}
		events = s.aside.behind(w.b.events)
		s.recordQuietly(w.b.quiet)
	}
	for {
		var away *alert.Away
		if len(events) > 0 {
			var refusals []alert.Refusal
			var rest []alert.Event
			rest, refusals, away = s.post(ctx, events)
			for _, r := range refusals {
				s.setAside(events[r.Index], r)
			}
			events = append(events[:0], rest...)
		}
		if len(events) == 0 && w.e != nil {
			s.aim(*w.e)
		}
		if err := s.record(ctx); err != nil {
			return err
		}
		if len(events) == 0 {
			return s.retryAside(ctx)
		}
		if err := s.waitOut(ctx, away); err != nil {
			return err
		}
	}
}

// recordQuietly takes versions that need not go out. One whose older version is set aside is not
// recorded: were it, a crash would lose the alert.
func (s *sender) recordQuietly(quiet []alert.Version) {
	for _, v := range quiet {
		if s.aside.byID[v.ID] == nil {
			s.quiet = append(s.quiet, v)
		} else {
			s.flight.landed([]alert.Version{v})
		}
	}
}

// post publishes events once. Accepted versions are added to sent; the others are returned in order:
// rest is still to be delivered and shares no memory with events.
func (s *sender) post(ctx context.Context, events []alert.Event) (rest []alert.Event, refusals []alert.Refusal, away *alert.Away) {
	s.p.board.posted.Add(uint64(alerts(events)))
	d := s.p.sink.Publish(ctx, events)
	taken := slices.Contains(d.Verdicts, alert.Accepted)
	if taken || len(d.Refusals) > 0 {
		// A LAM has answered, whatever it said. This comes first: the batch that ends an outage is late, too.
		s.returned(taken)
	}
	accepted, ours, now := 0, 0, s.clock.now()
	for i, e := range events {
		verdict := alert.Pending
		if i < len(d.Verdicts) {
			verdict = d.Verdicts[i]
		}
		switch verdict {
		case alert.Accepted:
			accepted++
			if e.Kind != "" {
				ours++
				continue
			}
			s.sent = append(s.sent, e.Version)
			if now > e.LastModified {
				s.p.metrics.lag.Observe(now.Sub(e.LastModified).Seconds())
			}
			s.own.late(e.Version)
		case alert.Pending:
			rest = append(rest, e)
		}
	}
	s.count.sent.Add(float64(accepted - ours))
	s.taken += uint64(accepted - ours)
	s.p.board.accepted.Add(uint64(accepted - ours))
	if accepted > 0 {
		s.p.board.set(func(st *Status) { st.LastSent = time.Now().UTC() })
	}
	return rest, d.Refusals, d.Err
}

// alerts counts the events that are not our own.
func alerts(events []alert.Event) (n int) {
	for _, e := range events {
		if e.Kind == "" {
			n++
		}
	}
	return n
}

// aim sets what the commits lead to.
func (s *sender) aim(e end) {
	s.want.Started = s.want.Started || e.position.Started
	s.want.Floor = e.position.Floor
	s.want.Cursor = max(s.want.Cursor, e.position.Cursor)
	s.forget = e.forget
	if e.upToDate {
		s.own.caughtUp(e.began)
	}
}

// record commits what was accepted since, and the cursor as far as nothing undelivered stands before it.
func (s *sender) record(ctx context.Context) error {
	pos := s.p.ledger.Position()
	c := Commit{Sent: s.sent, Handled: s.quiet}
	cursor := s.want.Cursor
	if held := s.aside.oldest(); held != 0 {
		cursor = min(cursor, held-1)
	}
	if cursor > pos.Cursor && (s.want.Started || pos.Started) {
		c.Cursor = cursor
		c.Forget = cursor.Add(-s.p.cfg.Overlap - forgetAfter)
	}
	if s.want.Started && !pos.Started && s.aside.empty() {
		c.Start, c.Floor = true, s.want.Floor
	} else if !pos.Started {
		c.Cursor, c.Forget = 0, 0
	}
	c.Forget, s.forget = max(c.Forget, s.forget), 0
	if len(c.Sent)+len(c.Handled) == 0 && c.Cursor == 0 && c.Forget == 0 && !c.Start {
		return nil
	}
	if err := s.commit(ctx, c); err != nil {
		return err
	}
	s.flight.landed(s.sent)
	s.flight.landed(s.quiet)
	s.sent, s.quiet = s.sent[:0], s.quiet[:0]
	return nil
}

// over reports whether the ledger takes nothing more from this pipeline.
func over(err error) bool {
	return errors.Is(err, ErrTermOver) || errors.Is(err, ErrRewound) || errors.Is(err, ErrUnknownOutcome)
}

// commit repeats c until it is in the ledger or the pipeline is over. ErrParkedFull is the caller's.
func (s *sender) commit(ctx context.Context, c Commit) error {
	return s.until(ctx, func(ctx context.Context) error { return s.p.ledger.Commit(ctx, c) })
}

func (s *sender) until(ctx context.Context, record func(context.Context) error) error {
	for {
		err := once(ctx, record)
		switch {
		case err == nil:
			s.commits()
			return nil
		case errors.Is(err, ErrParkedFull), over(err):
			return err
		case ctx.Err() != nil:
			return errEnded
		}
		s.commitFailed(err)
		if !sleep(ctx, commitAgain) {
			return errEnded
		}
	}
}

// commitFailed tells of a commit that will be tried again, and commits of one that has succeeded. In other words the next try may fail,
// that is no news for the log.
func (s *sender) commitFailed(err error) {
	s.p.board.say(errorOfLedger, "the cluster does not record what was delivered: "+err.Error())
	if s.commitFails {
		return
	}
	s.commitFails = true
	s.log.Error("what was delivered cannot be recorded; trying again", "error", err)
}

func (s *sender) commits() {
	if !s.commitFails {
		return
	}
	s.commitFails = false
	s.log.Info("commits succeed again")
	s.p.board.say(errorOfLedger, "")
}

func (s *sender) commitOnce(ctx context.Context, c Commit) error {
	return once(ctx, func(ctx context.Context) error { return s.p.ledger.Commit(ctx, c) })
}

// once gives a commit a short time of its own where ctx has ended: see lastCommit.
func once(ctx context.Context, record func(context.Context) error) error {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastCommit)
		defer cancel()
	}
	return record(ctx)
}

// waitOut backs off while the destination is away.
func (s *sender) waitOut(ctx context.Context, away *alert.Away) error {
	if s.ended(ctx) {
		return errEnded
	}
	if away == nil {
		away = &alert.Away{LAM: "?", Err: errors.New("took only a part of what was sent")}
	}
	now := time.Now()
	if s.awaySince.IsZero() {
		s.awaySince = now
	}
	s.gate.set(true)
	text := "LAM " + away.LAM + " takes nothing: " + away.Err.Error()
	if text != s.fault {
		s.fault = text
		s.log.Debug("the destination takes nothing", "lam", away.LAM, "error", away.Err)
	}
	s.p.board.say(errorOfLAM, text)
	brief := text
	if away.What != "" {
		brief = "LAM " + away.LAM + " " + away.What
	}
	s.p.board.set(func(st *Status) {
		st.LAMAwaySince, st.LAMBrief, st.LAMDo, st.LAMName, st.LAMSaid, st.LAMTries = s.awaySince.UTC(), brief, away.Do, away.LAM, away.Said, s.fails+1
	})
	d := backoff(s.p.cfg.LowerBackoff, s.p.cfg.UpperBackoff, s.fails, s.p.rand(), away.RetryAfter)
	s.fails++
	return s.idleOr(ctx, d, away.Back)
}

// idle waits for d unless the pipeline ends.
func (s *sender) idle(ctx context.Context, d time.Duration) error { return s.idleOr(ctx, d, nil) }

// idleOr is idle that back ends early, by being closed; it may be nil.
func (s *sender) idleOr(ctx context.Context, d time.Duration, back <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-back:
		return nil
	case <-s.p.drain:
	case <-ctx.Done():
	}
	return errEnded
}

// returned ends an outage of the destination, if there was one. A LAM that answers only to refuse an
// event is back, too, or nothing else would be sent to show whether it takes others; but that is no
// news for the log, which would say so after each try at a LAM that refuses everything.
func (s *sender) returned(taken bool) {
	s.fails = 0
	if s.awaySince.IsZero() {
		return
	}
	now := time.Now()
	if taken {
		s.log.Debug("the destination takes events again", "after", now.Sub(s.awaySince).Round(time.Second).String())
	}
	if now.Sub(s.awaySince) >= s.p.cfg.OutageAlertAfter {
		s.own.lamWasAway(s.awaySince, now, s.clock.now())
	}
	s.awaySince = time.Time{}
	if taken {
		s.fault = ""
	}
	s.gate.set(s.p.board.blockedBy(blockParked) != "" || s.aside.full())
	s.p.board.say(errorOfLAM, "")
	s.p.board.set(func(st *Status) {
		st.LAMAwaySince, st.LAMBrief, st.LAMDo, st.LAMName, st.LAMSaid, st.LAMTries = time.Time{}, "", "", "", "", 0
	})
}

// park records entries, and their versions as handled. While there is no room for them the pipeline blocks:
// what cannot be kept must not be passed over.
func (s *sender) park(ctx context.Context, ps []Parked) error {
	c := Commit{Parked: slices.Clone(ps)}
	for _, p := range ps {
		if p.Version.LastModified != 0 {
			c.Handled = append(c.Handled, p.Version)
		}
	}
	for {
		err := s.commitOnce(ctx, c)
		switch {
		case err == nil:
			s.commits()
			s.block(blockParked, "")
			s.flight.unpark(ps)
			s.flight.landed(c.Handled)
			return nil
		case over(err):
			return err
		case ctx.Err() != nil:
			return errEnded
		case errors.Is(err, ErrParkedFull):
			s.block(blockParked, "the parked entries are at their limit: look at `scomconnector parked list`, then `scomconnector parked remove` those that are dealt with")
		case errors.Is(err, ErrTooLarge) && len(ps) > 1:
			return s.parkEach(ctx, ps)
		case errors.Is(err, ErrTooLarge) && len(c.Parked[0].Payload) > 0:
			// Its payload does not fit into one command even compressed.
			s.log.Warn("a parked entry is too large; keeping less of it", "alert", ps[0].Version.ID.String(), "error", err)
			c.Parked[0].Payload = c.Parked[0].Payload[:len(c.Parked[0].Payload)/2]
			continue
		default:
			s.commitFailed(err)
		}
		if err := s.idle(ctx, commitAgain); err != nil {
			return err
		}
		if err := s.tell(ctx); err != nil {
			return err
		}
	}
}

// parkEach parks entries of which one is too large, so that only that one is cut.
func (s *sender) parkEach(ctx context.Context, ps []Parked) error {
	for i := range ps {
		if err := s.park(ctx, ps[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// block shows why nothing more is read, and shuts the gate; an empty why ends that cause.
func (s *sender) block(cause int, why string) {
	b := &s.p.board
	if b.block(cause, why) {
		if why != "" {
			s.log.Error("the pipeline is blocked", "why", why)
		} else {
			s.log.Info("a cause of blocking is gone")
		}
	}
	s.gate.set(b.blockedBy(blockParked) != "" || b.blockedBy(blockRefused) != "" || !s.awaySince.IsZero())
}
