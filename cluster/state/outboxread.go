package state

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// What these return shares Fields with the state: they must not be changed.

// OutboxVersion grows with every change of what waits, is parked or was settled, and when a snapshot replaces the state. It is cheap,
// and counts in this process only. Whoever reads it first and the outbox then has not missed a change while it stays the same.
func (s *State) OutboxVersion() uint64 { return s.outboxVersion.Load() }

// OutboxChanged is closed when OutboxVersion grows the next time. Whoever takes it first and then reads the outbox misses no change.
func (s *State) OutboxChanged() <-chan struct{} { return s.outboxNews.wait() }

// outboxMoved must be called after the change, with mu held.
func (s *State) outboxMoved() {
	s.outboxVersion.Add(1)
	s.outboxNews.publish()
}

// Outbox lists at most limit requests that are not settled, in the order in which they came in.
func (s *State) Outbox(limit int) []Request {
	s.mu.RLock()
	defer s.mu.RUnlock()
	limit = max(0, min(limit, len(s.outbox.byID)))
	out := make([]Request, 0, limit)
	for _, c := range s.outbox.chunks {
		for _, p := range c {
			if len(out) == limit {
				return out
			}
			out = append(out, p.Request)
		}
	}
	return out
}

// OutboxInfo is how many requests wait, how many bytes they have, and when the first in the order was accepted; zero for none.
func (s *State) OutboxInfo() (pending, bytes int, oldest time.Time) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o := &s.outbox
	if len(o.chunks) > 0 {
		oldest = o.chunks[0][0].At
	}
	return len(o.byID), o.bytes, oldest
}

// Request is the one of this ID that is not settled.
func (s *State) Request(id string) (Request, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, waits := s.outbox.byID[id]
	if !waits {
		return Request{}, false
	}
	return p.Request, true
}

// Settled says how the request of this ID ended, if that was within KeepSettled and it is among the last MaxSettled. Refused is an
// end, too; one that is put back by Retry has not ended any more.
func (s *State) Settled(id string) (SettledRequest, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ended := s.outbox.ended[id]
	if !ended {
		return SettledRequest{}, false
	}
	return e.told(), true
}

// told is e without what is nobody else's business.
func (e *SettledRequest) told() SettledRequest {
	c := *e
	c.seq = 0
	return c
}

// SettledList lists at most limit of the requests that Settled knows, newest first.
func (s *State) SettledList(limit int) []SettledRequest {
	s.mu.RLock()
	defer s.mu.RUnlock()
	limit = max(0, min(limit, len(s.outbox.settled)))
	out := make([]SettledRequest, 0, limit)
	for _, e := range slices.Backward(s.outbox.settled) {
		if len(out) == limit {
			break
		}
		out = append(out, e.told())
	}
	return out
}

// ParkedRequests lists the requests that SCOM has refused for good, newest first.
func (s *State) ParkedRequests() []ParkedRequest {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]ParkedRequest, 0, len(s.outbox.parked))
	for p := range maps.Values(s.outbox.parked) {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b ParkedRequest) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(a.Request.ID, b.Request.ID)
	})
	return out
}
