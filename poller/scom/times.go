package scom

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scomconnector/poller/alert"
)

// Positions are made of the times in rows, and whether lastmodified is UTC on the wire is documented nowhere. Where a server
// offers lastmodifiedutc, its name says so. Elsewhere one alert is taken, and SCOM is asked whether that alert was modified in
// the very second that its row shows: that compares the column with the database, however old the alert is and whatever the
// zone, half hours included. A column that is not UTC is refused and not corrected: when summer time ends, an hour of local
// time comes twice, and a change in the second would look older than one in the first, and be dropped.
//
// The same question shows whether the console reads dates in criteria as they are meant. So the second form of dates is
// tried where the configured one is refused, and used if the answer is right.

// The forms of dates in criteria.
const (
	formISO   = "iso"
	formSpace = "space"
)

// errUnproven: rows came, or the form of dates has changed, before it was known that the times are UTC.
var errUnproven = errors.New("the times are not proven to be UTC")

// namesUTC reports whether the server offers the column whose name says that it is UTC.
func (s *session) namesUTC() bool {
	return slices.ContainsFunc(s.offered, func(name string) bool { return strings.EqualFold(strings.TrimSpace(name), "lastmodifiedutc") })
}

// beginTimes is what a new session knows of times.
func (s *session) beginTimes(form string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.form = form
	// A date with a Z leaves no doubt; one without is read as whoever reads it likes.
	s.proven = form == formISO && s.namesUTC()
}

func (s *session) times() (form string, proven bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.form, s.proven
}

// otherForm changes to the form of dates that was not tried in this session, if there is one; used is the one that was refused.
func (s *session) otherForm(used string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.form != used {
		return true // another poll has changed it meanwhile
	}
	if s.formsTried {
		return false
	}
	s.formsTried, s.proven = true, false
	if s.form == formISO {
		s.form = formSpace
	} else {
		s.form = formISO
	}
	return true
}

func (s *session) prove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proven = true
}

// read asks the session's console for q and hands the rows over, if need be after a test of the times.
func (c *console) read(ctx context.Context, s *session, q alert.Query, row func(alert.Row) error) (alert.Answer, error) {
	for range 3 { // the form may change once, and the first alert of all may come between test and poll
		if err := c.settleTimes(ctx, s); err != nil {
			return alert.Answer{}, err
		}
		_, proven := s.times()
		answer, err := c.query(ctx, s, q, func(r alert.Row) error {
			if !proven && r.Err == nil {
				return errUnproven
			}
			return row(r)
		})
		if !errors.Is(err, errUnproven) {
			return answer, err
		}
	}
	return alert.Answer{}, broken("the times in its rows could not be tested: the alerts change too fast; the next poll tries again")
}

// query asks for q in the session's form of dates.
func (c *console) query(ctx context.Context, s *session, q alert.Query, row func(alert.Row) error) (alert.Answer, error) {
	form, proven := s.times()
	text, err := criteria(q, form)
	if err != nil {
		return alert.Answer{}, err
	}
	rep, err := c.ask(ctx, s, text, q.Slow)
	if f, ok := errors.AsType[*failure](err); ok && f.class == alert.FaultCriteria && (q.From != 0 || q.To != 0) && s.otherForm(form) {
		return alert.Answer{}, errUnproven
	}
	if err != nil {
		return alert.Answer{}, err
	}
	defer rep.close()
	if proven && !s.namesUTC() {
		row = neverAhead(dateOf(rep), row)
	}
	answer, err := c.consume(ctx, s, rep, row)
	return answer, ours(err)
}

// neverAhead refuses rows that are ahead of the console's clock: what passed the test in winter may be an hour ahead in summer.
func neverAhead(date alert.Millis, row func(alert.Row) error) func(alert.Row) error {
	return func(r alert.Row) error {
		if r.Err == nil && date != 0 {
			if one := (sample{r.ID, alert.MillisOf(r.Alert.LastModified), date}); one.ahead() > mostAhead {
				return notUTC(one, one.ahead(), one.clock())
			}
		}
		return row(r)
	}
}

// ours takes the mark of a caller's error off those of this file, which stand between the caller and the rows.
func ours(err error) error {
	own, ok := errors.AsType[callbackError](err)
	if !ok {
		return err
	}
	if _, refused := errors.AsType[*failure](own.err); refused || errors.Is(own.err, errUnproven) || errors.Is(own.err, errEnough) {
		return own.err
	}
	return err
}

// sample is an alert on which times are tested.
type sample struct {
	id   alert.ID
	at   alert.Millis
	seen alert.Millis // the console's clock then; zero without one
}

func (o sample) ahead() time.Duration { return o.at.Sub(o.seen) }
func (o sample) clock() string {
	return "the console's own clock says " + o.seen.Time().Format(time.RFC3339)
}

// settleTimes sees to it that the session's times are UTC, where that can be told now.
func (c *console) settleTimes(ctx context.Context, s *session) error {
	if _, proven := s.times(); proven {
		return nil
	}
	for range 4 { // the alert may change, and the form of dates
		one, err := c.sample(ctx, s)
		if errors.Is(err, errUnproven) {
			continue
		}
		if err != nil || one.id.IsZero() {
			return err
		}
		same, err := c.agrees(ctx, s, one)
		switch {
		case errors.Is(err, errUnproven):
			continue
		case err != nil:
			return err
		case same:
			if one.seen != 0 && one.ahead() > mostAhead {
				return notUTC(one, one.ahead(), one.clock())
			}
			s.prove()
			return nil
		}
		again, err := c.again(ctx, s, one)
		if err != nil {
			return err
		}
		if again.at == one.at { // it has not changed in between: its time is not what SCOM compares with
			return c.refuseTimes(ctx, s, one)
		}
	}
	return broken("the times in its rows could not be tested: the alerts change too fast; the next poll tries again")
}

// mostAhead is how far a time may be ahead of the console's clock: the clocks of database and console differ, by minutes at
// most within one domain. No zone that people live in is nearer to UTC than an hour.
const mostAhead = 20 * time.Minute

// errEnough ends the reading of an answer of which one row is enough.
var errEnough = errors.New("enough")

// sample finds an alert: among the latest, since few of them are asked for, else among the open ones. None has the zero id.
func (c *console) sample(ctx context.Context, s *session) (sample, error) {
	now := alert.MillisOf(time.Now())
	for _, q := range []alert.Query{{From: now.Add(-15 * time.Minute)}, {From: now.Add(-24 * time.Hour), Slow: true}, {Open: true, Slow: true}} {
		one, err := c.first(ctx, s, q)
		if err != nil || !one.id.IsZero() {
			return one, err
		}
	}
	return sample{}, nil
}

// first is the first row of an answer that can be understood.
func (c *console) first(ctx context.Context, s *session, q alert.Query) (sample, error) {
	var one sample
	answer, err := c.query(ctx, s, q, func(r alert.Row) error {
		if r.Err != nil {
			return nil //nolint:nilerr // another row will do
		}
		one = sample{id: r.ID, at: alert.MillisOf(r.Alert.LastModified)}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		one.seen = answer.ServerDate
		return one, nil
	}
	return sample{}, err
}

// again reads the sample's alert anew; the zero sample if it is gone.
func (c *console) again(ctx context.Context, s *session, one sample) (sample, error) {
	return c.first(ctx, s, alert.Query{IDs: []alert.ID{one.id}})
}

// agrees asks SCOM whether the alert was modified in the second that its row shows.
func (c *console) agrees(ctx context.Context, s *session, one sample) (bool, error) {
	from := one.at.Time().Truncate(time.Second)
	return c.matches(ctx, s, one.id, from, from.Add(time.Second))
}

// matches asks SCOM whether the alert was modified within [from, to); a zero bound is none.
func (c *console) matches(ctx context.Context, s *session, id alert.ID, from, to time.Time) (bool, error) {
	form, _ := s.times()
	text := "(Id = '" + id.String() + "') AND (LastModified >= '" + criteriaTime(from, form) + "')"
	if !to.IsZero() {
		text += " AND (LastModified < '" + criteriaTime(to, form) + "')"
	}
	rep, err := c.ask(ctx, s, text, false)
	if f, ok := errors.AsType[*failure](err); ok && f.class == alert.FaultCriteria && s.otherForm(form) {
		return false, errUnproven
	}
	if err != nil {
		return false, err
	}
	defer rep.close()
	answer, err := c.consume(ctx, s, rep, func(alert.Row) error { return nil })
	return answer.Rows > 0, err
}

// refuseTimes finds by how much the times are wrong, for the person who reads it: zones differ by quarters of an hour.
func (c *console) refuseTimes(ctx context.Context, s *session, one sample) error {
	const quarter = 15 * time.Minute
	at := one.at.Time().Truncate(time.Second)
	low, high := -15*4, 15*4 // quarters by which SCOM's time is later than the row's: at low yes, at high no
	for high-low > 1 {
		middle := (low + high) / 2
		later, err := c.matches(ctx, s, one.id, at.Add(time.Duration(middle)*quarter), time.Time{})
		if err != nil {
			return err
		}
		if later {
			low = middle
		} else {
			high = middle
		}
	}
	if form, _ := s.times(); form == formSpace && s.namesUTC() {
		return misread(one, time.Duration(low)*quarter)
	}
	return notUTC(one, -time.Duration(low)*quarter, "SCOM itself compares it as "+at.Add(time.Duration(low)*quarter).Format(time.RFC3339))
}

func notUTC(one sample, ahead time.Duration, proof string) *failure {
	f := broken("its times are not UTC but %s: alert %s is dated %s, and %s. Local times repeat when summer time ends, so changes would be lost: "+
		"this console is not used. Set the web console server's time zone to UTC, or use a console that offers the column lastmodifiedutc",
		offset(ahead), one.id, one.at.Time().Format(time.RFC3339), proof)
	f.away, f.lasting, f.plain = true, true, "gives times that are not UTC, and is not used"
	return f
}

// misread is a console that takes dates without a zone for local ones.
func misread(one sample, by time.Duration) *failure {
	f := broken("it reads dates in queries not as UTC but %s (tested on alert %s), so alerts would be left out: this console is not used. "+
		"Set CriteriaDateForm to iso; if it does not understand that form, set the web console server's time zone to UTC", offset(by), one.id)
	f.away, f.lasting, f.plain = true, true, "reads dates in queries not as UTC, and is not used"
	return f
}

// offset is a difference of zones in words.
func offset(d time.Duration) string {
	word := "ahead of it"
	if d < 0 {
		d, word = -d, "behind it"
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d:%02d h %s", int(d.Hours()), int(d.Minutes())%60, word)
}
