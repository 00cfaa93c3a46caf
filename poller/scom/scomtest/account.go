package scomtest

import (
	"strings"
	"time"
)

// Version is one state of one alert in the account that a group keeps of all it ever held.
type Version struct {
	ID           string
	LastModified time.Time
	State        int
	RepeatCount  int64
	Visible      time.Time // when consoles began to show it
	Shown        bool      // an answer that was written to its end held it
	Confirmed    bool      // see Group.Confirmed
}

// HistoryRow is a line of an alert's history.
type HistoryRow struct {
	ID           string
	ModifiedBy   string
	Comments     string
	TimeModified time.Time
}

// Versions lists every version ever committed, in the order of their commits, also late ones that
// no console shows yet and those of alerts that are gone.
func (g *Group) Versions() []Version { return g.account(func(*note) bool { return true }) }

// Shown lists the versions that at least one completely written answer held. The last bytes of such
// an answer may still have been lost on their way.
func (g *Group) Shown() []Version { return g.account(func(n *note) bool { return n.shown }) }

// Confirmed lists the versions that a client has certainly read in a whole answer: after it, the
// same connection asked again, which HTTP/1.1 allows only once the answer is read to its end. It is
// known only for consoles that run by Serve.
func (g *Group) Confirmed() []Version { return g.account(func(n *note) bool { return n.confirmed }) }

func (g *Group) account(which func(*note) bool) []Version {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.store.record {
		panic("scomtest: the account was switched off by Options.NoRecord")
	}
	var list []Version
	for _, n := range g.store.notes {
		if which(n) {
			list = append(list, Version{ID: n.id, LastModified: n.lastModified, State: n.state, RepeatCount: n.repeats,
				Visible: n.visible, Shown: n.shown, Confirmed: n.confirmed})
		}
	}
	return list
}

// History is the alert's history, oldest first; nil if there is no such alert.
func (g *Group) History(id string) []HistoryRow {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.store.alerts[strings.ToLower(id)]
	if e == nil {
		return nil
	}
	raised := HistoryRow{ID: e.newest.alert.ID, ModifiedBy: "System", Comments: "Alert Activated by the System.", TimeModified: e.newest.alert.TimeAdded}
	return append([]HistoryRow{raised}, e.history...)
}

// markShown notes that an answer with these versions was written to its end.
func (g *Group) markShown(rows []*version) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, v := range rows {
		if v.note != nil {
			v.note.shown = true
		}
	}
}

// markConfirmed notes that an answer with these versions was read to its end.
func (g *Group) markConfirmed(rows []*version) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, v := range rows {
		if v.note != nil {
			v.note.confirmed = true
		}
	}
}
