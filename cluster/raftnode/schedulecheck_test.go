package raftnode_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// ack is a proposal that was acknowledged.
type ack struct {
	what  string
	has   func(*state.State) bool
	epoch state.Epoch // in which it was; zero: not known
	// alone: its leader was the only voter, so that it is nowhere else.
	alone bool
	// carried: a node that yields hands it over; of settings, the version in use.
	carried bool
	version uint64 // of settings
	at      time.Duration
}

// propose asks every node for something new.
func (s *schedule) propose() {
	for _, id := range s.ids {
		n := s.c.Node(id)
		if n == nil {
			continue
		}
		s.next++
		op, a := s.op(s.next, n)
		before := s.voters()
		s.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			res, err := n.Propose(ctx, op)
			if err == nil && res.Err == nil {
				a.version = res.Version
				s.acknowledge(a, before)
			}
			if err != nil && !errors.Is(err, cluster.ErrNoLeader) && !errors.Is(err, cluster.ErrUnknownOutcome) && ctx.Err() == nil {
				s.t.Errorf("propose through %s: an error of no kind: %v", n.View().NodeID, err)
			}
		})
	}
}

// op is the i-th proposal: a delivered alert, a parked entry or, seldom, new settings.
func (s *schedule) op(i int, n clustertest.Node) (state.Op, ack) {
	key := alert.ID{byte(i >> 8), byte(i)}
	switch s.rng.IntN(8) {
	case 0:
		entry := state.Parked{Key: key, At: time.Now().UTC(), Reason: "refused", Payload: []byte("x")}
		return state.Commit{Pipeline: "p", Parked: []state.Parked{entry}}, ack{
			what: fmt.Sprintf("parked entry %d", i), carried: true,
			has: func(st *state.State) bool { return st.HasParked("p", key) },
		}
	case 1:
		text, expect := fmt.Sprintf("settings %d", i), n.View().State.Config().Version
		s.newest = max(s.newest, expect)
		return state.SetConfig{Expect: expect, Text: []byte(text), At: time.Now().UTC()}, ack{
			what: text, carried: true,
			has: func(st *state.State) bool { return hasSettings(st, text) },
		}
	}
	v := alert.Version{ID: key, LastModified: alert.Millis(i)}
	return state.Commit{Pipeline: "p", Sent: []alert.Version{v}}, ack{
		what: fmt.Sprintf("entry %d", i),
		has: func(st *state.State) bool {
			_, ok := st.Sent("p", key)
			return ok
		},
	}
}

// hasSettings: the text is, or was and is kept no longer since there were too many after it.
func hasSettings(st *state.State, text string) bool {
	history := st.ConfigHistory()
	for _, v := range history {
		if string(v.Text) == text || v.Version > 20 {
			return true
		}
	}
	return false
}

// voters is how many each node takes for voters.
func (s *schedule) voters() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := map[string]int{}
	for id, n := range s.live {
		list[id] = n.Health().Voters
	}
	return list
}

// acknowledge keeps what was acknowledged, with the epoch of who has it by now. A command of two voters is on both.
func (s *schedule) acknowledge(a ack, before map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	holders := 0
	for id, n := range s.all {
		st := n.View().State
		if !a.has(st) {
			continue
		}
		holders++
		a.epoch = st.Token().Epoch
		a.alone = before[id] < 2 || n.Health().Voters < 2
	}
	a.alone = holders == 0 || a.alone && holders == 1
	a.at = s.now()
	s.acked = append(s.acked, a)
}

// work is the lead: it moves a cursor, from where the term before has left it.
func (s *schedule) work(ctx context.Context, nodeID string, term cluster.Term) error {
	var n clustertest.Node
	for n == nil {
		s.mu.Lock()
		n = s.live[nodeID]
		s.mu.Unlock()
		if !sleep(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
	epoch := term.Token.Epoch
	info, _ := n.View().State.Pipeline("w")
	at := uint64(info.Cursor)
	if moved := s.furthest(epoch, 0); at < moved {
		s.t.Errorf("%s begins term %v at cursor %d, and %d was acknowledged in this epoch", nodeID, term.Token, at, moved)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-term.Finish:
			return nil
		case <-time.After(500 * time.Millisecond):
		}
		if s.quiet.Load() {
			continue
		}
		at++
		res, err := term.Propose(ctx, state.Commit{Pipeline: "w", Cursor: alert.Millis(at)})
		if err == nil && res.Err == nil {
			s.furthest(epoch, at)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// furthest is the furthest cursor acknowledged in the epoch, at included.
func (s *schedule) furthest(epoch state.Epoch, at uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fmt.Sprint(epoch)
	s.moved[key] = max(s.moved[key], at)
	return s.moved[key]
}

// check holds what all nodes have in the end against what was acknowledged.
func (s *schedule) check() {
	for _, id := range s.ids {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := set(ctx, s.c.Node(id), "end, said "+id); err != nil {
			s.t.Errorf("propose through %s in the end: %v", id, err)
		}
	}
	s.agree()
	st := s.c.Node(s.ids[0]).View().State
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.Acked = len(s.acked)
	for _, a := range s.acked {
		switch {
		case a.has(st):
		case s.excused(a, st.Token().Epoch):
			s.tally.Excused++
		default:
			s.t.Errorf("%s was acknowledged at %v in epoch %v (alone: %v) and is lost", a.what, a.at, a.epoch, a.alone)
		}
	}
}

// excused: an epoch that was given up may take with it what its leader had accepted alone, or, where somebody took over by force from a
// majority, what that had; but never what a node that yields hands over.
func (s *schedule) excused(a ack, last state.Epoch) bool {
	switch {
	case a.epoch == last && a.epoch != state.Epoch{}, a.carried && a.version == 0:
		return false
	case a.carried:
		return a.version <= s.newest // there may have been later ones
	case len(s.ids) == 2:
		return a.alone
	}
	return s.forced
}
