package state

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"scomconnector/poller/alert"
)

// Change is one beginning of a term.
type Change struct {
	At     time.Time
	Node   string
	Token  Token
	Cause  string // the kind of change: cluster.Cause
	Reason string // for people
}

// ConfigVersion is one version of the cluster-wide settings. Versions count from 1.
type ConfigVersion struct {
	Version uint64
	Text    []byte
	Author  string
	At      time.Time
}

// Totals count over the whole life of the cluster.
type Totals struct {
	Accepted uint64 // alert versions that a LAM has accepted
	Parked   uint64 // entries ever parked
}

// PipelineInfo is what the state knows of one pipeline, without its lists.
type PipelineInfo struct {
	Name       string
	Started    bool // the first read is complete
	Cursor     alert.Millis
	Floor      alert.Millis
	Rewinds    uint64 // how often it was rewound; see Commit
	Accepted   uint64 // versions that a LAM ever accepted
	ParkedEver uint64
	ParkedNow  int
	Remembered int       // ids in the delivered map
	Raised     []string  // self-alerts that are out, sorted
	RemovedAt  time.Time // zero while the settings want it
}

// Token is the current term's, zero before the first term.
func (s *State) Token() Token {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.token
}

// Leader is the node that began the current term; it may have lost it since. Empty before the first.
func (s *State) Leader() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.leader
}

// ClusterID is the cluster's name for itself, empty before the first term.
func (s *State) ClusterID() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.clusterID
}

// ManagementGroup is the name that was fixed, or empty.
func (s *State) ManagementGroup() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.group
}

// Changes lists the last 100 beginnings of terms, newest first.
func (s *State) Changes() []Change {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := slices.Clone(s.changes)
	slices.Reverse(out)
	return out
}

// Config is the current version of the settings; Version is 0 if there is none yet.
func (s *State) Config() ConfigVersion {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.currentConfig().clone()
}

// ConfigHistory lists the versions that are kept, newest first.
func (s *State) ConfigHistory() []ConfigVersion {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]ConfigVersion, 0, len(s.configs))
	for _, c := range slices.Backward(s.configs) {
		out = append(out, c.clone())
	}
	return out
}

func (c ConfigVersion) clone() ConfigVersion {
	c.Text = bytes.Clone(c.Text)
	return c
}

// Pipelines lists all pipelines by name, the removed ones that are still kept too.
func (s *State) Pipelines() []PipelineInfo {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]PipelineInfo, 0, len(s.pipes))
	for _, name := range slices.Sorted(maps.Keys(s.pipes)) {
		out = append(out, s.pipes[name].info(name))
	}
	return out
}

// Pipeline is one of Pipelines; ok is false for one that has never committed.
func (s *State) Pipeline(name string) (info PipelineInfo, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.pipes[name]
	if !ok {
		return PipelineInfo{Name: name}, false
	}
	return p.info(name), true
}

// DeliveredSince counts the alerts of which it is remembered that a version was sent that was last modified at or after to: a Rewind to
// then forgets them. It takes time in proportion to all that are remembered.
func (s *State) DeliveredSince(pipeline string, to alert.Millis) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	if p, ok := s.pipes[pipeline]; ok {
		p.delivered.each(func(v alert.Version) {
			if v.LastModified >= to {
				n++
			}
		})
	}
	return n
}

// RewindVersion grows with each rewind that this process applies, and whenever a snapshot replaces the state: who runs pipelines
// begins them anew then.
func (s *State) RewindVersion() uint64 { return s.rewindVersion.Load() }

// SteeringChanged is closed when there is another version of the settings, or RewindVersion grows, the next time. Whoever takes it first
// and then reads them misses no change.
func (s *State) SteeringChanged() <-chan struct{} { return s.steeringNews.wait() }

// rewound must be called after the change, with mu held.
func (s *State) rewound() {
	s.rewindVersion.Add(1)
	s.steeringNews.publish()
}

func (p *pipeline) info(name string) PipelineInfo {
	return PipelineInfo{
		Name: name, Started: p.started, Cursor: p.cursor, Floor: p.floor, Rewinds: p.rewinds,
		Accepted: p.accepted, ParkedEver: p.parkedEver, ParkedNow: len(p.parked),
		Remembered: p.delivered.n, Raised: slices.Clone(p.raised), RemovedAt: p.removedAt,
	}
}

// Sent is the newest version of id that the pipeline has delivered and still remembers.
func (s *State) Sent(pipeline string, id alert.ID) (alert.Version, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.pipes[pipeline]
	if !ok {
		return alert.Version{}, false
	}
	return p.delivered.get(id)
}

// Open lists what the pipeline has sent and not seen closed since, in no order that means anything.
func (s *State) Open(pipeline string) []alert.Version {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.pipes[pipeline]
	if !ok {
		return nil
	}
	var out []alert.Version
	p.delivered.each(func(v alert.Version) {
		if v.State != alert.StateClosed {
			out = append(out, v)
		}
	})
	return out
}

// Room is how many more ids fit into the pipeline's delivered map.
func (s *State) Room(pipeline string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.pipes[pipeline]
	if !ok {
		return MaxRemembered
	}
	return MaxRemembered - p.delivered.n
}

// Raised reports whether the self-alert of this kind is out and not cleared.
func (s *State) Raised(pipeline, kind string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.pipes[pipeline]
	return ok && slices.Contains(p.raised, kind)
}

// HasParked reports whether an entry of this key is parked.
func (s *State) HasParked(pipeline string, key alert.ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.pipes[pipeline]
	return ok && p.parked[key] != nil
}

// ParkedEntry is the one of this key. Payload is shared with the state, as in ParkedList.
func (s *State) ParkedEntry(pipeline string, key alert.ID) (Parked, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.pipes[pipeline]
	if !ok || p.parked[key] == nil {
		return Parked{}, false
	}
	return *p.parked[key], true
}

// ParkedList lists the pipeline's parked entries, newest first. Payload is shared with the state,
// since all of them may have 16 MiB: it must not be changed.
func (s *State) ParkedList(pipeline string) []Parked {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.pipes[pipeline]
	if !ok {
		return nil
	}
	out := make([]Parked, 0, len(p.parked))
	for _, e := range p.parked {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Parked) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(string(a.Key[:]), string(b.Key[:]))
	})
	return out
}

// Totals are those of all pipelines, dropped ones too.
func (s *State) Totals() Totals {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.retired
	for _, p := range s.pipes {
		t.Accepted += p.accepted
		t.Parked += p.parkedEver
	}
	return t
}
