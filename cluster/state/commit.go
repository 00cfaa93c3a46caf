package state

import (
	"slices"

	"scomconnector/poller/alert"
)

// commit applies one Commit as a whole or not at all: everything that can refuse it is looked at
// before anything is changed.
func (s *State) commit(c *Commit) (Result, Parts) {
	p, known := s.pipes[c.Pipeline]
	if !known {
		if len(s.pipes) >= MaxPipelines {
			return refuse(ErrFull)
		}
		p = newPipeline()
	}
	if err := p.check(c); err != nil {
		return refuse(err)
	}
	s.pipes[c.Pipeline] = p
	parts := []Part{{Kind: PartPipe, Pipeline: c.Pipeline}}
	if p.deliver(c) {
		parts = append(parts, Part{Kind: PartDelta, Pipeline: c.Pipeline})
	}
	for i := range c.Parked {
		p.park(&c.Parked[i])
		parts = append(parts, Part{Kind: PartParked, Pipeline: c.Pipeline, Key: c.Parked[i].Key})
	}
	p.raised = raised(p.raised, c.Raised, c.Cleared)
	p.move(c)
	return Result{}, partsOf(parts...)
}

func newPipeline() *pipeline { return &pipeline{parked: map[alert.ID]*Parked{}} }

// check says why c cannot be applied, or nil.
func (p *pipeline) check(c *Commit) error {
	if c.Rewinds != p.rewinds {
		return ErrRewound
	}
	if !p.delivered.fits(c.Forget, c.Sent, c.Handled) {
		return ErrFull
	}
	if len(c.Raised) > 0 && len(raised(p.raised, c.Raised, c.Cleared)) > maxKinds {
		return ErrFull
	}
	return p.checkParked(c.Parked)
}

// checkParked counts an entry that is parked already, or twice in the list, once.
func (p *pipeline) checkParked(list []Parked) error {
	if len(list) == 0 {
		return nil
	}
	count, bytes := len(p.parked), p.parkedBytes
	fresh := make(map[alert.ID]int, len(list))
	for i := range list {
		key, size := list[i].Key, list[i].size()
		if old, twice := fresh[key]; twice {
			bytes -= old
		} else if old, known := p.parked[key]; known {
			bytes -= old.size()
		} else {
			count++
		}
		fresh[key] = size
		bytes += size
	}
	if count > MaxParked || bytes > MaxParkedBytes {
		return ErrParkedFull
	}
	return nil
}

// park stores an entry; one of the same key is replaced, and counts only once.
func (p *pipeline) park(e *Parked) {
	if old, known := p.parked[e.Key]; known {
		p.parkedBytes -= old.size()
	} else {
		p.parkedEver++
	}
	kept := *e
	p.parked[e.Key] = &kept
	p.parkedBytes += kept.size()
}

// size is what an entry counts against MaxParkedBytes.
func (e *Parked) size() int {
	const fixed = 64 // the key, version, time and status
	return fixed + len(e.Reason) + len(e.LAM) + len(e.Answer) + len(e.Payload)
}

// deliver records what was sent or handled otherwise, then forgets. Forgetting comes last so that a
// commit does the same in one piece as in several, of which the last one forgets. What was sent comes
// first, so that it is counted although a newer version of the same alert was held back. It reports
// whether anything changed.
func (p *pipeline) deliver(c *Commit) bool {
	changed := false
	for _, v := range c.Sent {
		if p.delivered.put(v) {
			p.accepted++
			changed = true
		}
	}
	for _, v := range c.Handled {
		changed = p.delivered.put(v) || changed
	}
	return p.delivered.forget(c.Forget) || changed
}

// move moves the position. The cursor only rises, and the floor is set once.
func (p *pipeline) move(c *Commit) {
	if c.Start && !p.started {
		p.started, p.floor = true, c.Floor
	}
	if c.Cursor != 0 { // zero is no time of SCOM's, but would lie above one before 1970
		p.cursor = max(p.cursor, c.Cursor)
	}
}

// raised is the sorted set of kinds after raising up, then clearing down.
func raised(kinds, up, down []string) []string {
	if len(up)+len(down) == 0 {
		return kinds
	}
	out := slices.Concat(kinds, up)
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(k string) bool { return slices.Contains(down, k) })
}
