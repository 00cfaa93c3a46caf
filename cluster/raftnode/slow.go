package raftnode

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
)

const (
	// slowTimes occasions within slowWithin are a machine that is too slow; one or two are a backup, a snapshot of the machine, an
	// upgrade. What follows the last one sooner than slowApart is the same occasion.
	slowTimes  = 3
	slowWithin = 10 * time.Minute
	slowApart  = 10 * time.Second
	// slowKept bounds what is remembered of each kind; with slowApart no more fit into slowWithin.
	slowKept = int(slowWithin/slowApart) + 1
)

// slowness is what this node has measured of its own machine: how often it stood still, or its disk took, longer than the node's timing
// bears. Then the nodes take each other for lost, and elect, although nobody is. Nothing is guessed from elections: links and machines
// that are lost make those, too. The zero value notes nothing.
type slowness struct {
	timing string
	// still is how long the process may stand still before another node, or raft itself, takes it for lost; disk how long a write may
	// take before an election, or a pair's commit, is given up. Zero: it does not matter, as for a single node.
	still, disk time.Duration
	log         hclog.Logger

	mu     sync.Mutex // guards what follows
	stands occasions
	writes occasions
	said   bool // logged, and not over since
}

// occasions are when something took too long, oldest first, at most slowKept.
type occasions []occasion

type occasion struct {
	from, last time.Time
	worst      time.Duration
}

func newSlowness(c Config, log hclog.Logger) *slowness {
	s, t, p := &slowness{timing: c.Timing, log: log}, c.timing(), c.pair()
	switch {
	case len(c.Members) < 2:
	case c.strictPair():
		s.still, s.disk = p.silence, p.stall
	default:
		s.still, s.disk = t.lease, t.election
	}
	return s
}

// stood notes that this process went on later than it should have.
func (s *slowness) stood(late time.Duration, now time.Time) {
	if s != nil && s.still > 0 && late >= s.still {
		s.note(&s.stands, late, now)
	}
}

// wrote notes how long a write to the store took, or has taken so far.
func (s *slowness) wrote(took time.Duration, now time.Time) {
	if s != nil && s.disk > 0 && took >= s.disk {
		s.note(&s.writes, took, now)
	}
}

func (s *slowness) note(of *occasions, took time.Duration, now time.Time) {
	s.mu.Lock()
	of.add(took, now)
	s.mu.Unlock()
	s.tell(now)
}

func (o *occasions) add(took time.Duration, now time.Time) {
	if n := len(*o); n > 0 && now.Sub((*o)[n-1].last) < slowApart {
		x := &(*o)[n-1]
		x.last, x.worst = now, max(x.worst, took)
		return
	}
	if len(*o) == slowKept {
		*o = append((*o)[:0], (*o)[1:]...)
	}
	*o = append(*o, occasion{now, now, took})
}

// within counts the occasions that have lasted until less than slowWithin ago, and the longest of them.
func (o occasions) within(now time.Time) (n int, worst time.Duration) {
	for _, x := range o {
		if now.Sub(x.last) < slowWithin {
			n++
			worst = max(worst, x.worst)
		}
	}
	return n, worst
}

// now is what is wrong with the machine, in an operator's words; empty: it is fast enough, or nothing is known.
func (s *slowness) now(at time.Time) cluster.Slowness {
	if s == nil {
		return cluster.Slowness{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var what, do []string
	if n, worst := s.stands.within(at); n >= slowTimes {
		what = append(what, fmt.Sprintf("it stood still %d times for %v or longer, at worst %v", n, s.still, worst.Round(10*time.Millisecond)))
		do = append(do, "give that machine more CPU time (a virtual one: a reservation, fewer neighbours, no snapshots by day)")
	}
	if n, worst := s.writes.within(at); n >= slowTimes {
		what = append(what, fmt.Sprintf("its disk took %v or longer for a write %d times, at worst %v", s.disk, n, worst.Round(10*time.Millisecond)))
		do = append(do, "put DataDir on a faster disk, or take load from this one")
	}
	if len(what) == 0 {
		return cluster.Slowness{}
	}
	if s.timing != "relaxed" {
		do = append(do, `or set Timing to "relaxed" in every node.json and restart one node at a time`)
	}
	return cluster.Slowness{
		Text: fmt.Sprintf("is too slow for Timing %s: within %d minutes %s. The nodes then take each other for lost", s.timing, int(slowWithin/time.Minute), strings.Join(what, ", and ")),
		Do:   strings.Join(do, "; "),
	}
}

// tell logs it once when it begins and once when it is over.
func (s *slowness) tell(now time.Time) {
	if s == nil || s.log == nil {
		return
	}
	is := s.now(now)
	s.mu.Lock()
	was := s.said
	s.said = is.Text != ""
	s.mu.Unlock()
	switch {
	case is.Text != "" && !was:
		s.log.Warn("this machine is too slow for the cluster's timing", "why", "it "+is.Text, "do", is.Do)
	case is.Text == "" && was:
		s.log.Info("this machine has been fast enough again", "for", slowWithin.String())
	}
}
