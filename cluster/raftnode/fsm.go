package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster/state"
)

// errNewer: going on without understanding a command would make the copies diverge for ever.
var errNewer = errors.New("this log was written by a newer scomconnector: upgrade this node")

var errStopped = errors.New("this node has stopped applying")

// fsm feeds the committed commands to the state.
type fsm struct {
	state   *state.State
	fail    func(error)  // told once why nothing more is applied
	begun   func()       // told of each TermStart; must not block
	stopped atomic.Bool  // only Apply and Snapshot touch what follows it in time
	applied atomic.Int64 // unix nanoseconds of the last command applied by this process, 0: none
	last    state.Token  // after the last command; of raft's FSM goroutine
	// index of the newest entry that the state has, 0 after a snapshot: raft that is started anew on the same log applies it from
	// the beginning. Of raft's FSM goroutine.
	index uint64
}

// applied is what Apply answers the proposer.
type applied struct {
	term   uint64
	result state.Result
	err    error
}

func (f *fsm) Apply(l *raft.Log) any {
	if f.stopped.Load() {
		return applied{err: errStopped}
	}
	if l.Index <= f.index {
		return applied{term: l.Term}
	}
	res, _, err := f.state.Apply(l.Term, l.Index, l.Data)
	if err != nil {
		f.stopped.Store(true)
		if errors.Is(err, state.ErrUnknownCommand) {
			err = fmt.Errorf("%w: %w", errNewer, err)
		}
		f.fail(err)
		return applied{err: err}
	}
	f.index = l.Index
	f.applied.Store(time.Now().UnixNano())
	if token := f.state.Token(); token != f.last {
		f.last = token
		f.begun()
	}
	return applied{term: l.Term, result: res}
}

// reset empties the state; raft must not run.
func (f *fsm) reset() {
	var empty bytes.Buffer
	if _, err := state.New().Snapshot().WriteTo(&empty); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := f.state.Restore(&empty); err != nil {
		panic(err)
	}
	f.last, f.index = state.Token{}, 0
	f.applied.Store(0)
}

// Snapshot is refused once a command was not understood: it would make the gap permanent.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.stopped.Load() {
		return nil, errStopped
	}
	return fsmSnapshot{f.state.Snapshot()}, nil
}

func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	err := f.state.Restore(r)
	if errors.Is(err, state.ErrUnknownCommand) {
		err = fmt.Errorf("%w: %w", errNewer, err)
		f.stopped.Store(true)
		f.fail(err)
	}
	f.index = 0 // what follows is newer than the snapshot
	if err == nil {
		f.begun()
	}
	return err
}

type fsmSnapshot struct{ *state.Snapshot }

func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.WriteTo(sink); err != nil {
		sink.Cancel() //nolint:errcheck // the write's error is the one to report
		return err
	}
	return sink.Close()
}

func (s fsmSnapshot) Release() {}
