package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"scomconnector/poller/alert"
)

// This file is for a backend that keeps the state in parts. Parts of the delivered map are in storeddelivered.go.

// Stored is one part as it is kept. Content nil: there is none (any more).
type Stored struct {
	Part    Part
	Content []byte
	// Order places a request that waits: requests are done in the order of (Order, ID). Other parts ignore it.
	Order uint64
}

// storedPart is how the parts of one kind are kept: one row of storedParts.
type storedPart struct {
	kind PartKind
	// prefix begins the parts' paths; name reads the rest of one into p, nil if there is one part of this kind.
	prefix string
	name   func(p *Part, rest string) error
	// list names those that are there; write appends one, false: it is not there; put is its inverse; remove takes one out.
	list   func(s *State) []Part
	write  func(s *State, p Part, b []byte) ([]byte, bool)
	put    func(s *State, p Part, order uint64, r *reader) error
	remove func(s *State, p Part)
}

// storedParts has one row for each kind of part but the delivered map's. A new one is a line here, beside its name in Part.String.
var storedParts = []storedPart{
	single(PartMeta, "meta", writeMeta, (*State).putMeta),
	single(PartLeaders, "leaders", writeList(appendChange, func(s *State) *[]Change { return &s.changes }), putList(maxChanges, (*reader).change, func(s *State) *[]Change { return &s.changes })),
	single(PartMaintenance, "maintenance", writeList(appendFlag, func(s *State) *[]Maintenance { return &s.flags }), putList(maxMaintenance, (*reader).flag, func(s *State) *[]Maintenance { return &s.flags })),
	single(PartNotes, "notes", writeList(appendNote, func(s *State) *[]Note { return &s.notes }), putList(maxNotes, (*reader).note, func(s *State) *[]Note { return &s.notes })),
	single(PartLogons, "logons", writeList(appendLogon, func(s *State) *[]Logon { return &s.logons }), putList(maxLogons, (*reader).logon, func(s *State) *[]Logon { return &s.logons })),
	{PartConfig, "config/", versionName, listConfigs, writeConfig, putConfig, removeConfig},
	{PartPipe, "pipe/", pipelineName, listPipes, writePipe, putPipe, func(s *State, p Part) { delete(s.pipes, p.Pipeline) }},
	{PartParked, "parked/", parkedName, listParked, writeParked, putParked, removeParked},
	{PartOutbox, "outbox/", requestName, listOutbox, writeOutbox, putOutbox, removeOutbox},
	{PartParkedRequest, "parked-request/", requestName, listParkedRequests, writeParkedRequest, putParkedRequest, removeParkedRequest},
	{PartSettled, "settled/", requestName, listSettled, writeSettled, putSettled, func(s *State, p Part) { s.outbox.reopen(p.Request) }},
}

func storedKind(k PartKind) *storedPart {
	i := slices.IndexFunc(storedParts, func(sp storedPart) bool { return sp.kind == k })
	if i < 0 {
		return nil
	}
	return &storedParts[i]
}

// ParsePart is the inverse of Part.String for all parts that Stored writes. ErrUnknownCommand: a newer program's.
func ParsePart(path string) (Part, error) {
	for i := range storedParts {
		sp := &storedParts[i]
		rest, ok := strings.CutPrefix(path, sp.prefix)
		if !ok || (sp.name == nil) != (rest == "") {
			continue
		}
		p := Part{Kind: sp.kind}
		if sp.name != nil {
			if err := sp.name(&p, rest); err != nil {
				return Part{}, fmt.Errorf("part %q: %w", path, err)
			}
		}
		return p, nil
	}
	return Part{}, fmt.Errorf("part %q: %w", path, ErrUnknownCommand)
}

// Stored is the part as it stands now.
func (s *State) Stored(p Part) Stored {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sp := storedKind(p.Kind)
	if sp == nil {
		panic(fmt.Sprintf("state: %v is not stored as one part", p))
	}
	b, ok := sp.write(s, p, nil)
	if !ok {
		return Stored{Part: p}
	}
	if b == nil {
		b = []byte{}
	}
	st := Stored{Part: p, Content: b}
	if q := s.outbox.byID[p.Request]; p.Kind == PartOutbox && q != nil {
		st.Order = q.seq
	}
	return st
}

// StoredParts names every part that there is, but those of the delivered maps.
func (s *State) StoredParts() Parts {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []Part
	for i := range storedParts {
		sp := &storedParts[i]
		if sp.list == nil {
			all = append(all, Part{Kind: sp.kind})
			continue
		}
		all = append(all, sp.list(s)...)
	}
	return partsOf(all...)
}

// Install puts parts in, in place of what is there, all at once for readers. Parked entries of a pipeline come after the pipeline.
// After an error some may have been put in.
func (s *State) Install(parts ...Stored) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range parts {
		sp := storedKind(st.Part.Kind)
		if st.Content == nil {
			sp.remove(s, st.Part)
		} else {
			r := &reader{b: st.Content}
			err := sp.put(s, st.Part, st.Order, r)
			if err := errors.Join(err, r.end()); err != nil {
				return fmt.Errorf("part %s: %w", st.Part, err)
			}
		}
		switch st.Part.Kind {
		case PartOutbox, PartParkedRequest, PartSettled:
			s.outboxMoved()
		}
	}
	return nil
}

// single is a part of which there is one.
func single(k PartKind, prefix string, write func(*State, []byte) []byte, read func(*State, *reader) error) storedPart {
	return storedPart{
		kind: k, prefix: prefix,
		write:  func(s *State, _ Part, b []byte) ([]byte, bool) { return write(s, b), true },
		put:    func(s *State, _ Part, _ uint64, r *reader) error { return read(s, r) },
		remove: func(*State, Part) {}, // nothing of this program removes it
	}
}

func writeList[T any](one func([]byte, *T) []byte, of func(*State) *[]T) func(*State, []byte) []byte {
	return func(s *State, b []byte) []byte {
		list := *of(s)
		b = binary.AppendUvarint(b, uint64(len(list)))
		for i := range list {
			b = one(b, &list[i])
		}
		return b
	}
}

func putList[T any](limit int, one func(*reader) T, of func(*State) *[]T) func(*State, *reader) error {
	return func(s *State, r *reader) error {
		n := r.count(1)
		if n > limit {
			return errLimit
		}
		list := make([]T, 0, n)
		for range n {
			list = append(list, one(r))
		}
		*of(s) = list
		return r.err
	}
}

func (r *reader) change() Change {
	return Change{At: r.time(), Node: r.string(), Token: r.token(), Cause: r.string(), Reason: r.string()}
}

func (r *reader) flag() Maintenance {
	return Maintenance{Node: r.string(), Sticky: r.bool(), Start: r.uvarint(), Author: r.string(), At: r.time()}
}

func (r *reader) note() Note {
	return Note{Node: r.string(), Epoch: r.epoch(), Text: r.string(), At: r.time()}
}

func writeMeta(s *State, b []byte) []byte {
	b = appendToken(b, s.token)
	b = appendString(b, s.leader)
	b = appendString(b, s.clusterID)
	b = appendString(b, s.group)
	b = binary.AppendUvarint(b, s.retired.Accepted)
	return binary.AppendUvarint(b, s.retired.Parked)
}

func (s *State) putMeta(r *reader) error {
	s.token = r.token()
	s.leader, s.clusterID, s.group = r.string(), r.string(), r.string()
	s.retired = Totals{Accepted: r.uvarint(), Parked: r.uvarint()}
	return r.err
}

func versionName(p *Part, rest string) (err error) {
	p.Version, err = strconv.ParseUint(rest, 10, 64)
	return err
}

func listConfigs(s *State) (out []Part) {
	for _, c := range s.configs {
		out = append(out, Part{Kind: PartConfig, Version: c.Version})
	}
	return out
}

func (s *State) configAt(version uint64) (int, bool) {
	return slices.BinarySearchFunc(s.configs, version, func(c ConfigVersion, v uint64) int {
		switch {
		case c.Version < v:
			return -1
		case c.Version > v:
			return 1
		}
		return 0
	})
}

func writeConfig(s *State, p Part, b []byte) ([]byte, bool) {
	i, ok := s.configAt(p.Version)
	if !ok {
		return nil, false
	}
	return appendConfig(b, &s.configs[i]), true
}

func putConfig(s *State, p Part, _ uint64, r *reader) error {
	c := ConfigVersion{Version: r.uvarint(), Text: r.bytes(), Author: r.string(), At: r.time()}
	if r.err != nil || c.Version != p.Version {
		return errors.Join(r.err, errNumber)
	}
	i, known := s.configAt(c.Version)
	list := slices.Clone(s.configs)
	if known {
		list[i] = c
	} else {
		list = slices.Insert(list, i, c)
	}
	s.configs = list
	s.steeringNews.publish()
	return nil
}

func removeConfig(s *State, p Part) {
	if i, known := s.configAt(p.Version); known {
		s.configs = slices.Delete(slices.Clone(s.configs), i, i+1)
		s.steeringNews.publish()
	}
}

func pipelineName(p *Part, rest string) error {
	p.Pipeline = rest
	return checkName("pipeline", rest)
}

func listPipes(s *State) (out []Part) {
	for name := range maps.Keys(s.pipes) {
		out = append(out, Part{Kind: PartPipe, Pipeline: name})
	}
	return out
}

func writePipe(s *State, part Part, b []byte) ([]byte, bool) {
	p, ok := s.pipes[part.Pipeline]
	if !ok {
		return nil, false
	}
	return p.appendPosition(b), true
}

func (p *pipeline) appendPosition(b []byte) []byte {
	b = appendBool(b, p.started)
	b = appendMillis(b, p.cursor)
	b = appendMillis(b, p.floor)
	b = binary.AppendUvarint(b, p.rewinds)
	b = binary.AppendUvarint(b, p.accepted)
	b = binary.AppendUvarint(b, p.parkedEver)
	b = appendStrings(b, p.raised)
	return appendTime(b, p.removedAt)
}

func putPipe(s *State, part Part, _ uint64, r *reader) error {
	p, known := s.pipes[part.Pipeline]
	if !known {
		p = newPipeline()
	}
	before := p.rewinds
	p.started, p.cursor, p.floor, p.rewinds = r.bool(), r.millis(), r.millis(), r.uvarint()
	if p.rewinds != before {
		s.rewound()
	}
	p.accepted, p.parkedEver = r.uvarint(), r.uvarint()
	p.raised, p.removedAt = r.strings(), r.time()
	if r.err == nil {
		s.pipes[part.Pipeline] = p
	}
	return r.err
}

func parkedName(p *Part, rest string) error {
	i := strings.LastIndexByte(rest, '/')
	if i < 0 {
		return errShort
	}
	key, err := alert.ParseID(rest[i+1:])
	p.Pipeline, p.Key = rest[:i], key
	return errors.Join(err, checkName("pipeline", p.Pipeline))
}

func listParked(s *State) (out []Part) {
	for name, p := range s.pipes {
		for key := range p.parked {
			out = append(out, Part{Kind: PartParked, Pipeline: name, Key: key})
		}
	}
	return out
}

func writeParked(s *State, part Part, b []byte) ([]byte, bool) {
	p := s.pipes[part.Pipeline]
	if p == nil || p.parked[part.Key] == nil {
		return nil, false
	}
	return appendParked(b, p.parked[part.Key]), true
}

func putParked(s *State, part Part, _ uint64, r *reader) error {
	e := r.parked()
	p := s.pipes[part.Pipeline]
	if r.err != nil || p == nil || e.Key != part.Key {
		return errors.Join(r.err, errRecord)
	}
	removeParked(s, part)
	p.parked[e.Key] = &e
	p.parkedBytes += e.size()
	return nil
}

func removeParked(s *State, part Part) {
	if p := s.pipes[part.Pipeline]; p != nil && p.parked[part.Key] != nil {
		p.parkedBytes -= p.parked[part.Key].size()
		delete(p.parked, part.Key)
	}
}
