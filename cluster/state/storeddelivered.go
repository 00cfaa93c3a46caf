package state

import (
	"encoding/binary"
	"fmt"
	"slices"

	"scomconnector/poller/alert"
)

// Shards is in how many pieces a delivered map is stored.
const Shards = 256

// Delta is what a Commit has recorded and forgotten, as it is stored. Deltas may be put in again, in their order, over a base that has
// them already: the newest version of each alert stays, and what was forgotten is forgotten again.
func Delta(c Commit) []byte {
	return appendVersions(appendVersions(appendMillis(nil, c.Forget), c.Sent), c.Handled)
}

// InstallDelta puts a Delta into the pipeline's delivered map. Totals are the pipeline's own part's business.
func (s *State) InstallDelta(pipeline string, content []byte) error {
	r := &reader{b: content}
	forget := r.millis()
	lists := slices.Concat(r.versions(), r.versions())
	if err := r.end(); err != nil {
		return fmt.Errorf("what was delivered to %s: %w", pipeline, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pipes[pipeline]
	if p == nil {
		p = newPipeline()
		s.pipes[pipeline] = p
	}
	for _, v := range lists {
		p.delivered.put(v)
	}
	p.delivered.forget(forget)
	return nil
}

// Shard is one piece of the pipeline's delivered map as it is stored; nil if it is empty.
func (s *State) Shard(pipeline string, shard uint8) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.pipes[pipeline]
	if p == nil || len(p.delivered.shards[shard]) == 0 {
		return nil
	}
	list := p.delivered.shards[shard]
	b := binary.AppendUvarint(make([]byte, 0, 8+20*len(list)), uint64(len(list)))
	var prev alert.Millis
	for _, e := range list {
		v := e.version()
		b = appendVersion(b, v, prev)
		prev = v.LastModified
	}
	return b
}

// InstallShard adds what Shard wrote to the pipeline's delivered map.
func (s *State) InstallShard(pipeline string, content []byte) error {
	r := &reader{b: content}
	list := r.versions()
	if err := r.end(); err != nil {
		return fmt.Errorf("what was delivered to %s: %w", pipeline, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pipes[pipeline]
	if p == nil {
		return fmt.Errorf("what was delivered to %s: %w", pipeline, errRecord)
	}
	for _, v := range list {
		p.delivered.put(v)
	}
	return nil
}

// Drop forgets the pipeline and all that belongs to it, before it is put in anew.
func (s *State) Drop(pipeline string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pipes, pipeline)
}

// Clone is a copy that shares nothing. It is made of the stored parts, so that the orders they keep are the same.
func (s *State) Clone() (*State, error) {
	c := New()
	for _, p := range s.StoredParts() {
		if err := c.Install(s.Stored(p)); err != nil {
			return nil, err
		}
	}
	for _, info := range s.Pipelines() {
		for shard := range Shards {
			if b := s.Shard(info.Name, uint8(shard)); b != nil {
				if err := c.InstallShard(info.Name, b); err != nil {
					return nil, err
				}
			}
		}
	}
	return c, nil
}

// Replace makes the state what other is; other must not be used any more.
func (s *State) Replace(other *State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range other.pipes { // whoever works from the old position must hear of it, and of nothing else
		if q := s.pipes[name]; q != nil && q.rewinds != p.rewinds {
			s.rewound()
		}
	}
	s.data = other.data
	s.outboxMoved()
	s.steeringNews.publish()
}
