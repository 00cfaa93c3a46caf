package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
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
	kept   map[string][]byte // archives
}

type memorySnapshot struct {
	meta raft.SnapshotMeta
	data []byte
}

// NewMemory is an empty data folder.
func NewMemory() *Memory { return &Memory{log: raft.NewInmemStore()} }

// Clone is a copy of the folder as it is now, as a backup or a snapshot of a machine is. No node may be using it.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Memory{log: cloneStore(m.log), mark: m.mark, snaps: slices.Clone(m.snaps), kept: maps.Clone(m.kept)}
	if m.ident != nil {
		id := m.ident.clone()
		c.ident = &id
	}
	return c
}

func cloneStore(from *raft.InmemStore) *raft.InmemStore {
	to := raft.NewInmemStore()
	first, _ := from.FirstIndex() //nolint:errcheck // it never fails, as all of them in memory
	last, _ := from.LastIndex()   //nolint:errcheck // as above
	for i := max(first, 1); i <= last; i++ {
		var l raft.Log
		if from.GetLog(i, &l) == nil {
			to.StoreLog(&l) //nolint:errcheck // as above
		}
	}
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand", string(keySnapshot)} {
		if v, err := from.Get([]byte(key)); err == nil {
			to.Set([]byte(key), v) //nolint:errcheck // as above
		}
	}
	return to
}

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
	return m.ident.clone(), true, nil
}

func (m *Memory) save(id identity) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	id = id.clone()
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

func (m *Memory) wipe(id identity) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	id.Wiping = false
	m.ident, m.snaps, m.log, m.opened = &id, nil, raft.NewInmemStore(), false
	return nil
}

func (m *Memory) archive(name string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = map[string][]byte{}
	}
	m.kept[name] = b.Bytes()
	return nil
}

func (m *Memory) archives() ([]cluster.Archive, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []cluster.Archive
	for name := range m.kept {
		if a, ok := parseArchive(name); ok {
			list = append(list, a)
		}
	}
	newestFirst(list)
	return list, nil
}

func (m *Memory) dropArchive(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kept, name)
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
