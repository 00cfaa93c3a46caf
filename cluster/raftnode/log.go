package raftnode

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// raftLog brings raft's own lines to our levels: what raft finds worth Info and Warn is part of any
// election, and its errors repeat. That a member is away is told by whoever reads the view.
type raftLog struct {
	hclog.Logger
	last *lastSaid
}

type lastSaid struct {
	mu   sync.Mutex // guards what
	what map[string]time.Time
}

// repeatAfter is how long the same line of raft's is kept back.
const repeatAfter = time.Minute

func newRaftLog(log hclog.Logger) hclog.Logger {
	return raftLog{log, &lastSaid{what: map[string]time.Time{}}}
}

func (l raftLog) Info(msg string, args ...any) { l.Debug(msg, args...) }
func (l raftLog) Warn(msg string, args ...any) { l.Debug(msg, args...) }

// told are errors of raft's that a line of our own tells, with the member's name and what to do: that a member is out of contact, not
// taken in yet, or in a newer term.
var told = map[string]bool{
	"failed to heartbeat to": true, "failed to appendEntries to": true, "failed to pipeline appendEntries": true, "failed to start pipeline replication to": true,
	"failed to make requestVote RPC": true, "peer has newer term, stopping replication": true,
}

// isTold reports whether the line is no news. A connection, or a transport, that we ourselves have closed is none either, nor an entry
// that stands in a snapshot by now: a member that has been away gets the snapshot.
func isTold(msg string, args []any) bool {
	return told[msg] || slices.ContainsFunc(args, func(a any) bool {
		err, is := a.(error)
		return is && (errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, raft.ErrTransportShutdown) || errors.Is(err, raft.ErrLogNotFound))
	})
}

func (l raftLog) Error(msg string, args ...any) {
	if isTold(msg, args) {
		l.Debug(msg, args...)
		return
	}
	l.last.mu.Lock()
	quiet := time.Since(l.last.what[msg]) < repeatAfter
	if !quiet {
		l.last.what[msg] = time.Now() // bounded: raft has a few dozen messages, all constant
	}
	l.last.mu.Unlock()
	if quiet {
		l.Debug(msg, args...)
		return
	}
	l.Logger.Warn(msg, args...)
}

func (l raftLog) With(args ...any) hclog.Logger  { return raftLog{l.Logger.With(args...), l.last} }
func (l raftLog) Named(name string) hclog.Logger { return raftLog{l.Logger.Named(name), l.last} }
func (l raftLog) ResetNamed(name string) hclog.Logger {
	return raftLog{l.Logger.ResetNamed(name), l.last}
}
