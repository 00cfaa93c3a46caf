package state

import (
	"maps"
	"slices"
	"time"
)

// rewind lowers the cursor and forgets, so that everything from there on is read and sent again.
// A floor above the new cursor is lowered with it: whoever rewinds to a time wants what was then.
//
// Commits under way were made by somebody who has read up to the old cursor. They are told apart by the count of rewinds and not by the
// cursor, which has risen above the old one again by the time a slow one arrives.
func (s *State) rewind(op Rewind) (Result, Parts) {
	p, known := s.pipes[op.Pipeline]
	if !known {
		return refuse(ErrUnknown)
	}
	p.cursor = min(p.cursor, op.To)
	p.floor = min(p.floor, op.To)
	p.delivered.rewind(op.To)
	p.rewinds++
	s.rewound()
	return Result{}, partsOf(Part{Kind: PartPipe, Pipeline: op.Pipeline}, Part{Kind: PartBase, Pipeline: op.Pipeline})
}

// unpark removes the entries that are there; it is refused only if none of them is.
func (s *State) unpark(op Unpark) (Result, Parts) {
	p, known := s.pipes[op.Pipeline]
	if !known {
		return refuse(ErrUnknown)
	}
	var parts []Part
	for _, key := range op.Keys {
		e, parked := p.parked[key]
		if !parked {
			continue
		}
		delete(p.parked, key)
		p.parkedBytes -= e.size()
		parts = append(parts, Part{Kind: PartParked, Pipeline: op.Pipeline, Key: key})
	}
	if len(parts) == 0 {
		return refuse(ErrUnknown)
	}
	return Result{}, partsOf(parts...)
}

func (s *State) setPipelines(op SetPipelines) (Result, Parts) {
	wanted := make(map[string]bool, len(op.Names))
	for _, name := range op.Names {
		wanted[name] = true
	}
	parts := s.carry(op.Carry, wanted)
	for _, name := range slices.Sorted(maps.Keys(s.pipes)) {
		p := s.pipes[name]
		if wanted[name] {
			if !p.removedAt.IsZero() {
				p.removedAt = time.Time{}
				parts = append(parts, Part{Kind: PartPipe, Pipeline: name})
			}
		} else if p.removedAt.IsZero() {
			p.removedAt = op.At
			parts = append(parts, Part{Kind: PartPipe, Pipeline: name})
		} else if op.At.Sub(p.removedAt) >= keepRemoved {
			parts = append(parts, s.drop(name)...)
		}
	}
	return Result{}, partsOf(parts...)
}

// drop removes a pipeline; its totals stay with the cluster.
func (s *State) drop(name string) []Part {
	p := s.pipes[name]
	s.retired.Accepted += p.accepted
	s.retired.Parked += p.parkedEver
	delete(s.pipes, name)
	return append(p.parts(name), Part{Kind: PartMeta})
}

// carry gives a new name the pipeline of its previous one. It does nothing where the new name has a
// pipeline already, so that settings which go on naming the previous name can be applied again, and
// nothing where the previous name is itself still wanted. A pipeline that has no position yet, since it was
// only adopted from a node that yielded, goes into the previous one's.
func (s *State) carry(names map[string]string, wanted map[string]bool) []Part {
	var parts []Part
	for _, name := range slices.Sorted(maps.Keys(names)) {
		previous := names[name]
		p, known := s.pipes[previous]
		q, taken := s.pipes[name]
		if !known || !wanted[name] || wanted[previous] || (taken && (!q.isBlank() || p.isBlank())) {
			continue
		}
		before := p.parts(previous)
		if taken && !p.fold(q) {
			continue
		}
		parts = append(parts, before...)
		parts = append(parts, p.parts(name)...)
		delete(s.pipes, previous)
		s.pipes[name] = p
	}
	return parts
}

// isBlank reports whether nothing was ever read or delivered.
func (p *pipeline) isBlank() bool {
	return !p.started && p.cursor == 0 && p.floor == 0 && p.accepted == 0 && p.delivered.n == 0
}

// fold takes over what a blank pipeline has, or changes nothing where there is no room for it.
func (p *pipeline) fold(q *pipeline) bool {
	var fresh []Parked
	for key, e := range q.parked {
		if p.parked[key] == nil {
			fresh = append(fresh, *e)
		}
	}
	kinds := raised(p.raised, q.raised, nil)
	if p.checkParked(fresh) != nil || len(kinds) > maxKinds {
		return false
	}
	ever := p.parkedEver + q.parkedEver
	for i := range fresh {
		p.park(&fresh[i])
	}
	p.parkedEver, p.raised = ever, kinds
	return true
}

// parts names all parts of a pipeline.
func (p *pipeline) parts(name string) []Part {
	parts := []Part{{Kind: PartPipe, Pipeline: name}, {Kind: PartBase, Pipeline: name}}
	for key := range p.parked {
		parts = append(parts, Part{Kind: PartParked, Pipeline: name, Key: key})
	}
	return parts
}
