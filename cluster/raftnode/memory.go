package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// Memory is a data folder in memory, for tests inside a synctest bubble. It outlives the nodes that
// are opened on it one after the other, as a disk outlives its processes.
type Memory struct {
	log *raft.InmemStore

	mu     sync.Mutex // guards all below
	ident  *identity
	mark   bool
	snaps  []memorySnapshot // newest first, at most two
	opened bool
}

type memorySnapshot struct {
	meta raft.SnapshotMeta
	data []byte
}

// NewMemory is an empty data folder.
func NewMemory() *Memory { return &Memory{log: raft.NewInmemStore()} }

// Mark puts the one-time bootstrap mark into the folder.
func (m *Memory) Mark() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mark = true
}

// Marked reports whether the mark is there.
func (m *Memory) Marked() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark
}

func (m *Memory) load() (identity, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ident == nil {
		return identity{}, false, nil
	}
	return *m.ident, true, nil
}

func (m *Memory) save(id identity) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ident = &id
	return nil
}

func (m *Memory) marked() (bool, error) { return m.Marked(), nil }

func (m *Memory) unmark() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mark = false
	return nil
}

func (m *Memory) open() (raft.LogStore, raft.StableStore, raft.SnapshotStore, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.opened {
		return nil, nil, nil, errors.New("the memory is in use: already running?")
	}
	m.opened = true
	return m.log, m.log, memorySnapshots{m}, nil
}

func (m *Memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened = false
	return nil
}

// memorySnapshots shows a snapshot only once it is complete, which raft's own store in memory does not.
type memorySnapshots struct{ m *Memory }

func (s memorySnapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	meta := raft.SnapshotMeta{Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term, Configuration: conf, ConfigurationIndex: confIndex}
	return &memorySink{m: s.m, meta: meta}, nil
}

func (s memorySnapshots) List() ([]*raft.SnapshotMeta, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	var list []*raft.SnapshotMeta
	for _, snap := range s.m.snaps {
		meta := snap.meta
		list = append(list, &meta)
	}
	return list, nil
}

func (s memorySnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	i := slices.IndexFunc(s.m.snaps, func(snap memorySnapshot) bool { return snap.meta.ID == id })
	if i < 0 {
		return nil, nil, fmt.Errorf("open snapshot %s: not found", id)
	}
	meta := s.m.snaps[i].meta
	return &meta, io.NopCloser(bytes.NewReader(s.m.snaps[i].data)), nil
}

type memorySink struct {
	bytes.Buffer
	m         *Memory
	meta      raft.SnapshotMeta
	cancelled bool
}

func (s *memorySink) ID() string { return s.meta.ID }

func (s *memorySink) Cancel() error {
	s.cancelled = true
	return nil
}

func (s *memorySink) Close() error {
	if s.cancelled {
		return nil
	}
	s.meta.Size = int64(s.Len())
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.snaps = slices.DeleteFunc(s.m.snaps, func(o memorySnapshot) bool { return o.meta.ID == s.meta.ID })
	s.m.snaps = append([]memorySnapshot{{meta: s.meta, data: bytes.Clone(s.Bytes())}}, s.m.snaps...)
	s.m.snaps = s.m.snaps[:min(len(s.m.snaps), 2)]
	return nil
}
