package raftnode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"

	"github.com/hashicorp/raft"
)

// sealedSnapshots puts a header before each snapshot that repeats, with a checksum, what raft keeps
// beside it without one: a wrong digit in an index or a member would otherwise be believed. It also
// has the store remember the newest index before the log behind it is dropped.
type sealedSnapshots struct {
	raft.SnapshotStore
	store *store
}

const headerBytes = 8

var errSnapshot = errors.New("the snapshot's description does not belong to its content")

func sealOfSnapshot(index, term uint64, conf raft.Configuration, confIndex uint64) []byte {
	var b []byte
	for _, v := range []uint64{index, term, confIndex} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for _, srv := range conf.Servers {
		b = fmt.Appendf(b, "%d %q %q\n", srv.Suffrage, srv.ID, srv.Address)
	}
	return binary.BigEndian.AppendUint64(nil, crc64.Checksum(b, crc64.MakeTable(crc64.ECMA)))
}

func (s sealedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, conf, confIndex, trans)
	if err != nil {
		return nil, err
	}
	if _, err := sink.Write(sealOfSnapshot(index, term, conf, confIndex)); err != nil {
		sink.Cancel() //nolint:errcheck // the write's error is the one to report
		return nil, err
	}
	return &sealedSink{SnapshotSink: sink, store: s.store, index: index}, nil
}

func (s sealedSnapshots) List() ([]*raft.SnapshotMeta, error) {
	list, err := s.SnapshotStore.List()
	for _, m := range list {
		m.Size -= headerBytes
	}
	return list, err
}

func (s sealedSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, r, err := s.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	var got [headerBytes]byte
	if _, err := io.ReadFull(r, got[:]); err != nil {
		r.Close()
		return nil, nil, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if string(got[:]) != string(sealOfSnapshot(meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex)) {
		r.Close()
		return nil, nil, errSnapshot
	}
	m := *meta
	m.Size -= headerBytes
	return &m, r, nil
}

type sealedSink struct {
	raft.SnapshotSink
	store *store
	index uint64
}

func (s *sealedSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	s.store.appended.Store(0)
	return s.store.SetUint64(keySnapshot, s.index)
}
