package state

import (
	"bytes"
	"hash/crc64"
	"slices"
	"time"

	"scomconnector/poller/alert"
)

// Note is a sentence for people about what a node did in an epoch that it has yielded.
type Note struct {
	Node  string
	Epoch Epoch
	Text  string
	At    time.Time
}

// Notes lists the last 50 notes of merges, newest first.
func (s *State) Notes() []Note {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := slices.Clone(s.notes)
	slices.Reverse(out)
	return out
}

var sumTable = crc64.MakeTable(crc64.ECMA)

// Sum tells texts apart; a version's author and time do not count.
func (c ConfigVersion) Sum() uint64 { return crc64.Checksum(c.Text, sumTable) }

// adoptPipeline is repeated when a handover was interrupted, so what is there already stays as it is: an entry
// of the same key is the same refused version, and this cluster may know more of it.
func (s *State) adoptPipeline(op *AdoptPipeline) (Result, Parts) {
	p, known := s.pipes[op.Pipeline]
	if !known {
		if len(s.pipes) >= MaxPipelines {
			return refuse(ErrFull)
		}
		p = newPipeline()
	}
	kinds := raised(p.raised, op.Raised, nil)
	if len(kinds) > maxKinds {
		return refuse(ErrFull)
	}
	fresh := p.unknown(op.Parked)
	if err := p.checkParked(fresh); err != nil {
		return refuse(err)
	}
	if known && len(fresh) == 0 && len(kinds) == len(p.raised) {
		return Result{}, nil
	}
	s.pipes[op.Pipeline] = p
	p.raised = kinds
	parts := []Part{{Kind: PartPipe, Pipeline: op.Pipeline}}
	for i := range fresh {
		p.park(&fresh[i])
		parts = append(parts, Part{Kind: PartParked, Pipeline: op.Pipeline, Key: fresh[i].Key})
	}
	return Result{}, partsOf(parts...)
}

// unknown are the entries of list that are not parked, each key once.
func (p *pipeline) unknown(list []Parked) []Parked {
	var out []Parked
	seen := make(map[alert.ID]bool, len(list))
	for i := range list {
		if key := list[i].Key; p.parked[key] == nil && !seen[key] {
			seen[key] = true
			out = append(out, list[i])
		}
	}
	return out
}

// adoptSettings never takes away settings that this cluster has made for itself: those stay in use, and the
// others stand before them in the history. The two sides have the same version where number and text agree; the
// number counts, since a text that was rolled back to is a change, too.
func (s *State) adoptSettings(op AdoptSettings) (Result, Parts) {
	used := s.currentConfig()
	if slices.ContainsFunc(s.configs, func(c ConfigVersion) bool { return bytes.Equal(c.Text, op.Text) }) {
		return Result{Version: used.Version}, nil
	}
	parts := s.addConfig(ConfigVersion{Text: bytes.Clone(op.Text), Author: clip(op.Author), At: op.At})
	if used.Version != 0 && !slices.Contains(op.Known, ConfigSum{Version: used.Version, Sum: used.Sum()}) {
		parts = append(parts, s.addConfig(used)...)
	}
	return Result{Version: s.currentConfig().Version}, partsOf(parts...)
}

func (s *State) adoptNote(op AdoptNote) (Result, Parts) {
	n := Note{Node: op.Node, Epoch: op.Epoch, Text: clipTo(op.Text, maxNoteText), At: op.At}
	// The time is that of the attempt to hand over.
	if slices.ContainsFunc(s.notes, func(o Note) bool { return o.Node == n.Node && o.Epoch == n.Epoch && o.Text == n.Text }) {
		return Result{}, nil
	}
	s.notes = append(s.notes, n)
	if len(s.notes) > maxNotes {
		s.notes = append([]Note(nil), s.notes[1:]...)
	}
	return Result{}, partsOf(Part{Kind: PartNotes})
}
