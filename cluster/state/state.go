package state

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scomconnector/poller/alert"
)

// State is the replicated state of one node. One goroutine applies; any number may read meanwhile.
type State struct {
	mu sync.RWMutex // guards data
	data
	outboxVersion atomic.Uint64 // of this process, so that it also grows when a snapshot replaces data
	outboxNews    news          // of outboxVersion
	rewindVersion atomic.Uint64 // of this process, too
	steeringNews  news          // of rewindVersion, and of the version of the settings in use
}

// data is everything that Restore replaces at once.
type data struct {
	token     Token
	leader    string // node of the current term
	clusterID string
	group     string          // management group
	changes   []Change        // oldest first, at most maxChanges
	configs   []ConfigVersion // oldest first, versions without a gap, at most maxConfigVersions
	flags     []Maintenance   // sorted by node, at most maxMaintenance
	notes     []Note          // oldest first, at most maxNotes
	logons    []Logon         // sorted, at most maxLogons; replaced, never changed
	pipes     map[string]*pipeline
	retired   Totals // of pipelines that were dropped
	outbox    outbox
}

// pipeline is one stream to one destination.
type pipeline struct {
	started     bool
	cursor      alert.Millis
	floor       alert.Millis
	rewinds     uint64 // how often it was rewound
	accepted    uint64
	parkedEver  uint64
	raised      []string  // kinds, sorted
	removedAt   time.Time // zero while the settings want it
	delivered   delivered
	parked      map[alert.ID]*Parked // values are never changed once stored
	parkedBytes int                  // Invariant: the sum of size() over parked
}

// New is the state before the first command.
func New() *State { return &State{data: newData()} }

func newData() data { return data{pipes: map[string]*pipeline{}, outbox: newOutbox()} }

// Apply applies one committed command. raftTerm is the term in which the log ordered it; a backend
// without terms passes 0. Result.Err is the state machine's refusal: nothing was changed, Parts is
// empty. The error is not a refusal: the command is unknown (ErrUnknownCommand) or damaged, and the
// caller must stop applying, since no node can know what others made of it. index, the command's
// place in the log, is only named in that error. Calls must not overlap.
func (s *State) Apply(raftTerm, index uint64, data []byte) (Result, Parts, error) {
	c, err := Decode(data)
	if err != nil {
		return Result{}, nil, fmt.Errorf("apply log entry %d: %w", index, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	res, parts := s.apply(raftTerm, c)
	return res, parts, nil
}

func (s *State) apply(raftTerm uint64, c Command) (Result, Parts) {
	// A log entry keeps the term it was appended in, so a command under this term's token that the
	// log ordered in another one was stamped by a leader that had already lost.
	if raftTerm != 0 && c.Token.Term != raftTerm {
		return refuse(ErrTermOver)
	}
	if op, ok := c.Op.(TermStart); ok {
		return s.termStart(c.Token, op)
	}
	if s.token.IsZero() || c.Token != s.token {
		return refuse(ErrTermOver)
	}
	switch op := c.Op.(type) {
	case Commit:
		return s.commit(&op)
	case SetConfig:
		return s.setConfig(op)
	case SetManagementGroup:
		return s.setGroup(op)
	case Rewind:
		return s.rewind(op)
	case Unpark:
		return s.unpark(op)
	case SetPipelines:
		return s.setPipelines(op)
	case SetMaintenance:
		return s.setMaintenance(op)
	case AdoptPipeline:
		return s.adoptPipeline(&op)
	case AdoptSettings:
		return s.adoptSettings(op)
	case AdoptNote:
		return s.adoptNote(op)
	case NoteLogon:
		return s.noteLogon(&op)
	}
	return s.applyOutbox(c.Op)
}

func (s *State) applyOutbox(op Op) (Result, Parts) {
	switch op := op.(type) {
	case Accept:
		return s.accept(&op)
	case Begin:
		return s.begin(op)
	case Settle:
		return s.settle(&op)
	case Retry:
		return s.retry(&op)
	case Discard:
		return s.discard(op)
	case AdoptOutbox:
		return s.adoptOutbox(&op)
	}
	panic(fmt.Sprintf("state: Decode returned a %T", op))
}

func refuse(err error) (Result, Parts) { return Result{Err: err}, nil }

func (s *State) termStart(token Token, op TermStart) (Result, Parts) {
	if token.Compare(s.token) <= 0 {
		return refuse(ErrTermOver)
	}
	parts := []Part{{Kind: PartMeta}, {Kind: PartLeaders}}
	if token.Epoch != s.token.Epoch {
		parts = append(parts, s.doubtAll()...)
	}
	s.token, s.leader = token, op.Node
	if s.clusterID == "" {
		s.clusterID = op.ClusterID
	}
	s.changes = append(s.changes, Change{At: op.At, Node: op.Node, Token: token, Cause: op.Cause, Reason: clip(op.Reason)})
	if n := len(s.changes) - maxChanges; n > 0 {
		s.changes = append([]Change(nil), s.changes[n:]...)
	}
	return Result{}, partsOf(parts...)
}

// clip bounds what a person wrote. It is done here and not refused, since no term may fail to begin
// for a long sentence.
func clip(s string) string { return clipTo(s, maxText) }

func clipTo(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

func (s *State) setConfig(op SetConfig) (Result, Parts) {
	current := s.currentConfig().Version
	if op.Expect != current {
		return Result{Err: ErrStale, Version: current}, nil
	}
	parts := s.addConfig(ConfigVersion{Text: bytes.Clone(op.Text), Author: clip(op.Author), At: op.At})
	return Result{Version: current + 1}, partsOf(parts...)
}

// currentConfig shares its text with the state; its version is 0 if there is none.
func (s *State) currentConfig() ConfigVersion {
	if len(s.configs) == 0 {
		return ConfigVersion{}
	}
	return s.configs[len(s.configs)-1]
}

// addConfig makes v the next version.
func (s *State) addConfig(v ConfigVersion) []Part {
	v.Version = s.currentConfig().Version + 1
	parts := []Part{{Kind: PartConfig, Version: v.Version}}
	s.configs = append(s.configs, v)
	s.steeringNews.publish()
	if len(s.configs) > maxConfigVersions {
		parts = append(parts, Part{Kind: PartConfig, Version: s.configs[0].Version})
		s.configs = append([]ConfigVersion(nil), s.configs[1:]...)
	}
	return parts
}

func (s *State) setGroup(op SetManagementGroup) (Result, Parts) {
	if s.group != "" && s.group != op.Name && !op.Force {
		return refuse(ErrStale)
	}
	s.group = op.Name
	return Result{}, partsOf(Part{Kind: PartMeta})
}
