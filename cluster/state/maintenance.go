package state

import (
	"slices"
	"strings"
	"time"
)

// Maintenance is the flag of a node that must not lead.
type Maintenance struct {
	Node   string
	Sticky bool   // only an operator ends it
	Start  uint64 // the start number of the node's process when it was set
	Author string
	At     time.Time
}

// Maintenance lists the nodes that must not lead, by name.
func (s *State) Maintenance() []Maintenance {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.flags)
}

// InMaintenance reports whether the node must not lead. It is cheap.
func (s *State) InMaintenance(node string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, on := s.flag(node)
	return on
}

// flag is where the node's flag stands, or would have to.
func (s *State) flag(node string) (int, bool) {
	return slices.BinarySearchFunc(s.flags, node, func(m Maintenance, name string) int { return strings.Compare(m.Node, name) })
}

func (s *State) setMaintenance(op SetMaintenance) (Result, Parts) {
	i, known := s.flag(op.Node)
	if !op.On {
		return s.endMaintenance(op, i, known)
	}
	for _, other := range op.Unless {
		if _, on := s.flag(other); on && other != op.Node {
			return refuse(ErrMaintenance)
		}
	}
	m := Maintenance{Node: op.Node, Sticky: op.Sticky, Start: op.Start, Author: clip(op.Author), At: op.At}
	switch {
	case known:
		s.flags[i] = m
	case len(s.flags) >= maxMaintenance:
		return refuse(ErrFull)
	default:
		s.flags = slices.Insert(s.flags, i, m)
	}
	return Result{}, partsOf(Part{Kind: PartMaintenance})
}

// endMaintenance: a node that ends its own flag after a restart names the start it has seen, so that it does not
// end one that was set again meanwhile.
func (s *State) endMaintenance(op SetMaintenance, i int, known bool) (Result, Parts) {
	if !known {
		return Result{}, nil
	}
	if op.Start != 0 && op.Start != s.flags[i].Start {
		return refuse(ErrStale)
	}
	s.flags = slices.Delete(s.flags, i, i+1)
	return Result{}, partsOf(Part{Kind: PartMaintenance})
}
