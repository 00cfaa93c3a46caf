package poller

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"time"

	"scomconnector/poller/alert"
)

// The limits of what is set aside are those of a destination's parked entries, where it may end up. One
// batch more may be added, since a batch is judged as a whole.
const (
	maxAside      = 1000
	maxAsideBytes = 16 << 20
)

// refused is an event that a LAM refused, standing alone, with what came after it for the same alert.
type refused struct {
	id     alert.ID
	events []alert.Event // own copies; the first is the one refused, the others wait behind it
	why    alert.Refusal
	taken  uint64 // alerts that LAMs had accepted by then
	fresh  bool   // the first has not been refused itself: it waited behind one that is gone
	tries  int
	next   time.Time // when it may be tried again without the LAM being proven
}

// aside holds refused events until it is clear who is wrong, the event or the LAM. The cursor stays
// before the oldest of them.
type aside struct {
	list  []*refused
	byID  map[alert.ID]*refused
	n     int
	bytes int
}

func (a *aside) empty() bool { return a.n == 0 }
func (a *aside) full() bool  { return a.n >= maxAside || a.bytes >= maxAsideBytes }

func (a *aside) keep(x *refused, e alert.Event) {
	e.Body = bytes.Clone(e.Body)
	x.events = append(x.events, e)
	a.n++
	a.bytes += len(e.Body)
}

// drop removes the first event of x.
func (a *aside) drop(x *refused) {
	a.n--
	a.bytes -= len(x.events[0].Body)
	if x.events = x.events[1:]; len(x.events) > 0 {
		x.fresh, x.tries = true, 0
		return
	}
	delete(a.byID, x.id)
	for i := range a.list {
		if a.list[i] == x {
			a.list = append(a.list[:i], a.list[i+1:]...)
			return
		}
	}
}

// behind takes away those events that must wait behind a refused version of the same alert, and
// returns the others, in place.
func (a *aside) behind(events []alert.Event) []alert.Event {
	if a.empty() {
		return events
	}
	free := events[:0]
	for _, e := range events {
		if x := a.byID[e.ID]; x != nil {
			a.keep(x, e)
		} else {
			free = append(free, e)
		}
	}
	return free
}

// oldest is the lastModified of the oldest event held, or zero.
func (a *aside) oldest() alert.Millis {
	var m alert.Millis
	for _, x := range a.list {
		for _, e := range x.events {
			if m == 0 || e.LastModified < m {
				m = e.LastModified
			}
		}
	}
	return m
}

// setAside keeps e, which a LAM has refused.
func (s *sender) setAside(e alert.Event, why alert.Refusal) {
	x := s.aside.byID[e.ID]
	if x == nil {
		x = &refused{id: e.ID, why: why, taken: s.taken, next: time.Now().Add(s.p.cfg.LowerBackoff)}
		s.aside.byID[e.ID] = x
		s.aside.list = append(s.aside.list, x)
		s.log.Warn("a LAM refused an event; it is set aside", "alert", e.ID.String(), "lam", why.LAM, "status", why.Status, "answer", why.Answer, "do", doAbout(why))
	}
	s.aside.keep(x, e)
	s.showAside()
}

// doAbout is what to do about a refusal.
func doAbout(why alert.Refusal) string {
	return cmp.Or(why.Do, "check the LAM's mapping, and Mapping in the settings")
}

// showAside tells people, and the reader, how many events are set aside.
func (s *sender) showAside() {
	n, full := s.aside.n, s.aside.full()
	text, do := "", ""
	if n > 0 {
		why := s.aside.list[0].why
		text = fmt.Sprintf("LAM %s refused an event with %d (%s); it is tried again until that LAM takes another one: %s", why.LAM, why.Status, why.Answer, doAbout(why))
		do = doAbout(why)
	}
	s.p.board.warn(warnRefused, text)
	s.p.board.set(func(st *Status) { st.SetAside, st.SetAsideDo = n, do })
	why := ""
	switch {
	case full && s.aside.list[0].why.Do != "":
		why = "a LAM refuses everything it is sent, as too large: " + s.aside.list[0].why.Do
	case full:
		why = "a LAM refuses everything it is sent, as malformed: check its mapping and the Mapping of the settings"
	}
	s.block(blockRefused, why)
}

// retryAside tries events again whose LAM has taken another one since, and otherwise, at its own pace, one
// that waits: if the LAM was wrong and is mended, somebody must find out.
func (s *sender) retryAside(ctx context.Context) error {
	probed := false
	for _, x := range append([]*refused(nil), s.aside.list...) {
		proven := x.fresh || s.proven(x)
		if !proven && (probed || time.Now().Before(x.next)) {
			continue
		}
		probed = probed || !proven
		if err := s.retry(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// proven reports whether the LAM that refused x has taken another event since, and that was not just one
// of our own: a LAM whose mapping is broken for alerts may well take a heartbeat.
func (s *sender) proven(x *refused) bool { return s.taken > x.taken && s.p.sink.Proven(x.why) }

// retry posts x's events, one by one, until one is refused. One that is refused once more by LAMs that take others is
// parked: it may have been refused first because the LAM was wrong then.
func (s *sender) retry(ctx context.Context, x *refused) error {
	defer s.showAside()
	for len(x.events) > 0 {
		proven := !x.fresh && s.proven(x)
		rest, refusals, away := s.post(ctx, x.events[:1])
		if len(rest) > 0 {
			if err := s.record(ctx); err != nil {
				return err
			}
			if err := s.waitOut(ctx, away); err != nil {
				return err
			}
			continue
		}
		if len(refusals) > 0 {
			why := refusals[0]
			if !proven {
				x.why, x.taken, x.fresh = why, s.taken, false
				x.next = time.Now().Add(backoff(s.p.cfg.LowerBackoff, s.p.cfg.UpperBackoff, x.tries, s.p.rand(), 0))
				x.tries++
				return nil
			}
			if err := s.giveUp(ctx, x.events[0], why); err != nil {
				return err
			}
		}
		s.aside.drop(x)
		if err := s.record(ctx); err != nil {
			return err
		}
	}
	return nil
}

// giveUp parks an event.
func (s *sender) giveUp(ctx context.Context, e alert.Event, why alert.Refusal) error {
	s.log.Error("parked an event that the LAM refuses", "alert", e.ID.String(), "lam", why.LAM, "status", why.Status, "answer", why.Answer, "do", doAbout(why))
	reason := "the LAM refuses it, but takes others"
	if why.Do != "" {
		reason = "it is too large for the LAM, which takes others: " + why.Do
	}
	err := s.park(ctx, []Parked{{
		Key: versionKey(e.Version), Version: e.Version, At: time.Now().UTC(), Reason: reason,
		LAM: why.LAM, Status: why.Status, Answer: why.Answer, Payload: e.Body[:min(len(e.Body), maxParkedPayload)],
	}})
	if err == nil {
		s.count.parked.Inc()
	}
	return err
}
