package raftnode

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
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

// aboutAway are raft's words for a member that does not answer.
var aboutAway = []string{"failed to heartbeat to", "failed to appendEntries to", "failed to pipeline appendEntries", "failed to start pipeline replication to", "failed to make requestVote RPC"}

func (l raftLog) Error(msg string, args ...any) {
	if slices.Contains(aboutAway, msg) {
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
