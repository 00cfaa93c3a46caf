package raftnode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster/datadir"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// keySnapshot is where the store remembers the newest snapshot it has had, so that a snapshot folder
// that has gone is noticed.
var keySnapshot = []byte("SnapshotIndex")

// store stands before raft's log and its few facts. It seals what is written with a checksum, gives
// each write a deadline, and measures.
//
// Once a write has missed its deadline, or has failed for any reason but a full disk, the store is
// poisoned: the write may still land, or half of it may be there, so nothing more is read or written
// through it. raft panics on some of these failures, in a goroutine of its own where nobody can
// catch it. So a call that raft would not survive ends its goroutine instead (see give), and onFault
// has Run return the reason.
type store struct {
	// swap is held by each read, and by whoever replaces what stands behind the store: raft has a goroutine that reads the log for
	// its metrics, and that outlives raft by a moment.
	swap     sync.RWMutex
	closed   bool // nothing is read any more; guarded by swap
	logs     raft.LogStore
	stable   raft.StableStore
	deadline time.Duration
	before   func(op string) error // may be nil
	onFault  func(error)           // called once, when poisoned
	observe  prometheus.Observer
	slow     *slowness // may be nil

	poison    atomic.Pointer[error]
	full      atomic.Pointer[error] // why the last append failed while the disk was full; nil once one succeeds
	running   atomic.Bool           // raft has run on it; before, errors are simply returned
	appended  atomic.Int64          // bytes of log since the last snapshot
	lastWrite atomic.Int64          // nanoseconds the last write took
	written   chan struct{}         // one slot: told when much was appended
}

// replace has the store stand before what open returns. raft must not run.
func (s *store) replace(open func() (raft.LogStore, raft.StableStore, error)) error {
	s.swap.Lock()
	defer s.swap.Unlock()
	logs, stable, err := open()
	if err != nil {
		return err
	}
	s.logs, s.stable = logs, stable
	s.appended.Store(0)
	return nil
}

// close has late readers find nothing, before what stands behind the store is closed.
func (s *store) close() {
	s.swap.Lock()
	defer s.swap.Unlock()
	s.closed = true
}

// fullPatience is how long a full disk is waited for. raft survives a failed append, and whoever frees
// space within this time never hears of it; a node that stays longer without a store only looks alive.
func (s *store) fullPatience() time.Duration { return 2 * s.deadline }

// noteFull remembers a full disk from its first failed append until an append succeeds. A node that
// cannot append is not asked to again, so that a timer has to look.
func (s *store) noteFull(err error) {
	if err == nil {
		s.full.Store(nil)
		return
	}
	mine := &err
	if !datadir.IsDiskFull(err) || !s.full.CompareAndSwap(nil, mine) {
		return
	}
	time.AfterFunc(s.fullPatience(), func() {
		if p := s.full.Load(); p == mine {
			s.giveUp(fmt.Errorf("%w: the disk that holds DataDir has been full for %v; free space there and start this node again", *p, s.fullPatience()))
		}
	})
}

// trouble is why the store was given up, or what keeps it from working now; nil while it works.
func (s *store) trouble() error {
	if err := s.fault(); err != nil {
		return err
	}
	if p := s.full.Load(); p != nil {
		return *p
	}
	return nil
}

// fault is why the store was given up, or nil.
func (s *store) fault() error {
	if p := s.poison.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *store) giveUp(err error) {
	if s.poison.CompareAndSwap(nil, &err) {
		s.onFault(err)
	}
}

// give returns err to a caller that can live with it; raft cannot, so its goroutine ends here.
func (s *store) give(err error) error {
	if s.running.Load() {
		runtime.Goexit()
	}
	return err
}

// write is a write of raft's: the store is given up for whatever it fails, but for a full disk.
func (s *store) write(op string, f func() error) error {
	err := s.within(op, f)
	if err == nil || s.fault() != nil {
		return err
	}
	err = fmt.Errorf("write to the store (%s): %w", op, err)
	if !datadir.IsDiskFull(err) {
		s.giveUp(err)
	}
	return err
}

// within runs f, a write to the data folder, within the deadline. f must not use what may change after within has returned.
func (s *store) within(op string, f func() error) error {
	if err := s.fault(); err != nil {
		return err
	}
	start := time.Now()
	done := make(chan error, 1)
	go func() { // ends when the disk answers, which nobody can hasten
		if s.before != nil {
			if err := s.before(op); err != nil {
				done <- err
				return
			}
		}
		done <- f()
	}()
	ended, err := s.await(done)
	if !ended {
		s.lastWrite.Store(int64(s.deadline))
		s.giveUp(fmt.Errorf("a write to the store (%s) has not ended within %v: the disk hangs or is far too slow", op, s.deadline))
		return s.fault()
	}
	took := time.Since(start)
	s.lastWrite.Store(int64(took))
	s.slow.wrote(took, time.Now())
	s.observe.Observe(took.Seconds())
	return err
}

// lateTimer is how late a timer must fire before the process is taken to have stood still meanwhile.
const lateTimer = time.Second

// await waits for the disk until the deadline. A process that was stopped, or whose machine was suspended, meanwhile has not given
// the disk its time: it waits anew.
func (s *store) await(done <-chan error) (ended bool, err error) {
	for {
		began := time.Now()
		timer := time.NewTimer(s.deadline)
		select {
		case err := <-done:
			timer.Stop()
			return true, err
		case <-timer.C:
		}
		select { // both may have happened while it stood still
		case err := <-done:
			return true, err
		default:
		}
		if time.Since(began) < s.deadline+lateTimer {
			return false, nil
		}
	}
}

func (s *store) FirstIndex() (uint64, error) {
	return s.index(func() (uint64, error) { return s.logs.FirstIndex() })
}

func (s *store) LastIndex() (uint64, error) {
	return s.index(func() (uint64, error) { return s.logs.LastIndex() })
}

func (s *store) index(f func() (uint64, error)) (uint64, error) {
	if err := s.fault(); err != nil {
		return 0, s.give(err)
	}
	s.swap.RLock()
	defer s.swap.RUnlock()
	if s.closed {
		return 0, raft.ErrLogNotFound
	}
	i, err := f()
	if err != nil {
		err = fmt.Errorf("read the log's bounds: %w", err)
		s.giveUp(err)
		return 0, s.give(err)
	}
	return i, nil
}

// GetLog reads one entry and opens its seal.
func (s *store) GetLog(index uint64, log *raft.Log) error {
	if err := s.fault(); err != nil {
		return s.give(err)
	}
	s.swap.RLock()
	defer s.swap.RUnlock()
	if s.closed {
		return raft.ErrLogNotFound
	}
	*log = raft.Log{}
	err := s.logs.GetLog(index, log)
	if errors.Is(err, raft.ErrLogNotFound) {
		return raft.ErrLogNotFound // raft compares
	}
	if err == nil {
		err = unseal(index, log)
	}
	if err != nil {
		err = fmt.Errorf("read log entry %d: %w", index, err)
		s.giveUp(err)
		return s.give(err)
	}
	return nil
}

func (s *store) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs appends. raft survives its failure: a leader steps down, a follower refuses.
func (s *store) StoreLogs(logs []*raft.Log) error {
	sealed, size := make([]*raft.Log, len(logs)), int64(0)
	for i, l := range logs {
		sealed[i] = seal(l)
		size += int64(len(l.Data)) + 64
	}
	err := s.write("append", func() error { return s.logs.StoreLogs(sealed) })
	s.noteFull(err)
	if err == nil && s.appended.Add(size) > snapshotBytes {
		select {
		case s.written <- struct{}{}:
		default:
		}
	}
	return err
}

func (s *store) DeleteRange(first, last uint64) error {
	if last == 0 { // raft deletes an empty log, too, when it is recovered twice
		return nil
	}
	return s.write("compact", func() error { return s.logs.DeleteRange(first, last) })
}

// Set keeps one of raft's facts. raft panics when it cannot store its term, so there a failure ends
// the goroutine, also when the disk is merely full.
func (s *store) Set(key, value []byte) error {
	sealed := binary.BigEndian.AppendUint32(append([]byte(nil), value...), crcOf(key, value))
	err := s.write("set", func() error { return s.stable.Set(key, sealed) })
	if err != nil && string(key) == "CurrentTerm" {
		s.giveUp(err)
		return s.give(err)
	}
	return err
}

func (s *store) SetUint64(key []byte, v uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, v))
}

// errNotFound is told apart by raft by its text.
var errNotFound = errors.New("not found")

func (s *store) Get(key []byte) ([]byte, error) {
	if err := s.fault(); err != nil {
		return nil, s.give(err)
	}
	sealed, err := s.stable.Get(key)
	if err != nil {
		if err.Error() == errNotFound.Error() { // each store has its own, and raft itself asks by text
			return nil, errNotFound
		}
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if len(sealed) < 4 || binary.BigEndian.Uint32(sealed[len(sealed)-4:]) != crcOf(key, sealed[:len(sealed)-4]) {
		return nil, fmt.Errorf("read %s: its checksum is wrong", key)
	}
	return sealed[:len(sealed)-4], nil
}

func (s *store) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("read %s: it has %d bytes, not 8", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

func crcOf(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// seal returns a copy of l that carries the checksum of what matters in it.
func seal(l *raft.Log) *raft.Log {
	c := *l
	c.Extensions = binary.BigEndian.AppendUint32(append([]byte(nil), l.Extensions...), crcOfLog(l))
	return &c
}

// unseal checks the entry that was stored at index, and takes the checksum off.
func unseal(index uint64, l *raft.Log) error {
	n := len(l.Extensions) - 4
	if n < 0 || l.Index != index {
		return errors.New("it is damaged")
	}
	sum := binary.BigEndian.Uint32(l.Extensions[n:])
	l.Extensions = l.Extensions[:n]
	if n == 0 {
		l.Extensions = nil
	}
	if sum != crcOfLog(l) {
		return errors.New("its checksum is wrong")
	}
	return nil
}

func crcOfLog(l *raft.Log) uint32 {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	sum := crc32.Checksum(head[:], castagnoli)
	sum = crc32.Update(sum, castagnoli, l.Data)
	return crc32.Update(sum, castagnoli, l.Extensions)
}
