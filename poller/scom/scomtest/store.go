package scomtest

import (
	"container/heap"
	"sort"
	"sync/atomic"
	"time"
)

// store holds the alerts and knows which version of each is visible. Its group's mutex guards it.
//
// Deltas are what is asked most, so the visible versions are also kept in the order in which they
// became visible: none is visible before its LastModified (but for ahead), so those modified after
// an instant are all in the tail that starts there.
type store struct {
	alerts  map[string]*entry
	pending pending
	log     []*version // in order of visible; superseded ones go when they are half of it
	dead    int        // superseded versions in log
	ahead   time.Duration
	added   uint64
	last    time.Time // when the newest in log became visible

	record     bool
	notes      []*note
	cached     int64 // bytes of encoded rows that are kept
	cacheLimit int64
}

// entry is one alert.
type entry struct {
	shown   *version // what a console shows; nil while the first version is late
	newest  *version // the last one committed, visible or not
	history []HistoryRow
}

// version is one state of one alert. All but live and row are set once.
type version struct {
	alert   Alert
	entry   *entry
	visible time.Time
	seq     uint64
	note    *note // its line in the account; nil without one
	live    bool  // it is what its entry shows; guarded by the group's mutex
	row     atomic.Pointer[encodedRow]
}

// encodedRow is a version's row as one plan prints it.
type encodedRow struct {
	plan *plan
	json []byte
}

// note is a version's line in the account: small, since all are kept.
type note struct {
	id                    string
	lastModified, visible time.Time
	repeats               int64
	state                 int
	shown, confirmed      bool
}

// add commits a version that becomes visible at the given time, but never before an older one of its alert.
func (s *store) add(a Alert, now, visible time.Time) {
	s.settle(now)
	e := s.alerts[a.ID]
	if e == nil {
		e = &entry{}
		s.alerts[a.ID] = e
	}
	s.added++
	v := &version{alert: a, entry: e, visible: visible, seq: s.added}
	if e.newest != nil && v.visible.Before(e.newest.visible) {
		v.visible = e.newest.visible
	}
	e.newest = v
	if s.record {
		if len(s.notes) == maxRecords {
			panic("scomtest: too many versions to keep account of; set Options.NoRecord")
		}
		v.note = &note{id: a.ID, lastModified: a.LastModified, visible: v.visible, repeats: a.RepeatCount, state: a.ResolutionState}
		s.notes = append(s.notes, v.note)
	}
	if v.visible.After(now) {
		heap.Push(&s.pending, v)
		return
	}
	s.show(v)
}

// settle makes visible what is due.
func (s *store) settle(now time.Time) {
	for len(s.pending) > 0 && !s.pending[0].visible.After(now) {
		v := heap.Pop(&s.pending).(*version)
		if s.alerts[v.alert.ID] == v.entry { // else it was removed while it waited
			s.show(v)
		}
	}
}

func (s *store) show(v *version) {
	if s.last.After(v.visible) {
		v.visible = s.last // the wall clock stepped back, and the log stays sorted
	}
	s.last = v.visible
	if v.entry.shown != nil {
		s.supersede(v.entry.shown)
	}
	v.entry.shown, v.live = v, true
	s.ahead = max(s.ahead, v.alert.LastModified.Sub(v.visible))
	s.log = append(s.log, v)
}

// supersede takes v off the log: half of it dead, the log is made anew.
func (s *store) supersede(v *version) {
	v.live = false
	if row := v.row.Swap(nil); row != nil {
		s.cached -= int64(len(row.json))
	}
	if s.dead++; s.dead < 1024 || s.dead < len(s.log)/2 {
		return
	}
	kept := s.log[:0]
	for _, v := range s.log {
		if v.live {
			kept = append(kept, v)
		}
	}
	clear(s.log[len(kept):])
	s.log, s.dead = kept, 0
}

// remove forgets an alert; what is pending of it never shows.
func (s *store) remove(id string) bool {
	e := s.alerts[id]
	if e == nil {
		return false
	}
	delete(s.alerts, id)
	if e.shown != nil {
		s.supersede(e.shown)
	}
	return true
}

// since is the part of the log that holds all visible versions modified at or after from.
func (s *store) since(from time.Time) []*version {
	from = from.Add(-s.ahead)
	return s.log[sort.Search(len(s.log), func(i int) bool { return !s.log[i].visible.Before(from) }):]
}

// keep keeps a row for the next answer, unless it has been superseded meanwhile or there is no room.
func (s *store) keep(v *version, row *encodedRow) {
	size := int64(len(row.json))
	if old := v.row.Load(); old != nil {
		size -= int64(len(old.json))
	}
	if !v.live || s.cached+size > s.cacheLimit {
		return
	}
	s.cached += size
	v.row.Store(row)
}

// maxHistory bounds an alert's history. A real SCOM has no bound, and suffers from it.
const maxHistory = 1000

func (e *entry) remember(row HistoryRow) {
	if len(e.history) == maxHistory {
		e.history = append(e.history[:0], e.history[1:]...)
	}
	e.history = append(e.history, row)
}

// pending is a heap of versions that are not visible yet.
type pending []*version

func (p pending) Len() int { return len(p) }
func (p pending) Less(i, j int) bool {
	if p[i].visible.Equal(p[j].visible) {
		return p[i].seq < p[j].seq
	}
	return p[i].visible.Before(p[j].visible)
}
func (p pending) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *pending) Push(x any)   { *p = append(*p, x.(*version)) }
func (p *pending) Pop() any {
	old := *p
	v := old[len(old)-1]
	old[len(old)-1] = nil
	*p = old[:len(old)-1]
	return v
}
