package poller

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"scomconnector/poller/alert"
)

const (
	// maxEchoes bounds the memory of our own writes; what is forgotten is sent to Moogsoft once more, which does not harm.
	maxEchoes = 20_000
	// echoSlack is how far the console's clock, which is read in whole seconds, may be from the database's.
	echoSlack = 2 * time.Second
)

// echoes remembers what this term has written to SCOM, by alert: SCOM shows it with the next poll as a change, which Moogsoft,
// where it comes from, need not be told.
type echoes struct {
	mu   sync.Mutex
	seed maphash.Seed
	own  map[alert.ID]echo
}

// echo is our last write to an alert.
type echo struct {
	before   alert.Version // as SCOM showed it just before
	state    uint8         // as we set it
	by       string        // who SCOM takes us for
	sum      uint64        // of what SCOM shows afterwards, if nobody else changes anything
	from, to alert.Millis  // SCOM's time within which it was; to is zero while it is under way
	date     alert.Millis  // of the read before; zero: SCOM's time is not known
}

func (e *echoes) init() {
	e.seed = maphash.MakeSeed()
	e.own = make(map[alert.ID]echo)
}

// begin remembers a write before it is made: its row may be read before its answer has come.
func (e *echoes) begin(now shownNow, c Close, state uint8, by string) {
	a := now.alerts[c.Alert]
	e.mu.Lock()
	defer e.mu.Unlock()
	if a == nil {
		delete(e.own, c.Alert)
		return
	}
	if len(e.own) >= maxEchoes {
		clear(e.own)
	}
	after := *a
	for _, f := range c.Fields {
		setField(&after, f)
	}
	e.own[c.Alert] = echo{
		before: a.Version(), state: state, by: by, sum: e.sumOf(after),
		date: now.date, from: now.date.Add(-echoSlack),
	}
}

// end closes the time of a write that was begun.
func (e *echoes) end(id alert.ID, now shownNow) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w, ok := e.own[id]; ok {
		// The date is cut to the second, hence one more.
		w.to = w.date.Add(time.Since(now.began) + time.Second + echoSlack)
		e.own[id] = w
	}
}

// forget takes back a write that SCOM has not made.
func (e *echoes) forget(id alert.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.own, id)
}

// stale reports whether v is what SCOM showed before our last write to the alert, which it has taken: a version that is shown
// late, and says nothing about the present.
func (e *echoes) stale(v alert.Version) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	w, ok := e.own[v.ID]
	return ok && w.to != 0 && w.before == v
}

// match reports whether a is nothing but our own write to an alert whose last version sent is old: by our account, within the time of the
// write, in the state written, and nothing else changed since. A change by somebody else that the same row would hide is
// sent.
func (e *echoes) match(a *alert.Alert, old alert.Version) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	w, ok := e.own[a.ID]
	at := alert.MillisOf(a.LastModified)
	return ok && w.date != 0 && w.by != "" && strings.EqualFold(w.by, a.LastModifiedBy) && a.ResolutionState == w.state &&
		old == w.before && at >= w.from && (w.to == 0 || at <= w.to) && e.sumOf(*a) == w.sum
}

// sumOf is over everything but what a write of ours changes along with what it is asked to.
func (e *echoes) sumOf(a alert.Alert) uint64 {
	a.ResolutionState, a.LastModifiedBy, a.ResolvedBy = 0, "", ""
	a.LastModified, a.TimeResolved = time.Time{}, time.Time{}
	return maphash.Comparable(e.seed, a)
}

// setField changes a field as SCOM would.
func setField(a *alert.Alert, f alert.Field) {
	switch name := strings.ToLower(f.Name); name {
	case "ticketid":
		a.TicketID = f.Value
	case "owner":
		a.Owner = f.Value
	default:
		for i := range a.CustomFields {
			if name == customNames[i] {
				a.CustomFields[i] = f.Value
			}
		}
	}
}

var customNames = [10]string{"customfield1", "customfield2", "customfield3", "customfield4", "customfield5",
	"customfield6", "customfield7", "customfield8", "customfield9", "customfield10"}

// Echo reports whether a is nothing but the echo of a write of this term, where old is the version of it that was sent last.
// It is safe to call at any time.
func (w *Writeback) Echo(a *alert.Alert, old alert.Version) bool { return w.echoes.match(a, old) }
