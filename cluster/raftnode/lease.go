package raftnode

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// soonest is the shortest sleep before something is looked at again whose time has come.
const soonest = 10 * time.Millisecond

// watchLease ends the term when no majority has answered for longer than the lease. raft looks for itself, but in the goroutine that
// also writes to the disk: a leader whose disk hangs when its link is cut would go on leading beside the next one. It looks when the
// answers that it knows of will be too old, and no later than at the next beat, for another majority.
func (n *Node) watchLease(ctx context.Context, t *term) {
	limit := n.timing.lease + n.leaseMargin()
	for n.beatBefore(ctx, lookingEvery, n.majorityAnswered(t).Add(limit)) {
		if time.Since(n.majorityAnswered(t)) <= limit {
			continue
		}
		n.log.Warn("this node stops leading: no majority has answered, and raft has not noticed", "for", limit)
		n.led.end()
		n.rebuildSoon("raft did not notice that its lease was over")
		return
	}
}

// leaseMargin is half the time between the end of the lease and the first moment at which another node may lead: raft itself is to be
// given its chance.
func (n *Node) leaseMargin() time.Duration {
	if n.pair != nil {
		return claimAfter / 2
	}
	return (n.timing.heartbeat - n.timing.lease) / 2
}

// majorityAnswered is since when no majority has answered: what the last ones that make it up answered was sent then, or the term began.
func (n *Node) majorityAnswered(t *term) time.Time {
	var answered []time.Time
	now := time.Now()
	for _, s := range n.servers() {
		if s.Suffrage != raft.Voter {
			continue
		}
		p := n.peers[string(s.ID)]
		if p == nil { // of itself it knows nothing, nor of one that its file does not name
			answered = append(answered, now)
			continue
		}
		answered = append(answered, later(p.lastAck(), t.since))
	}
	if len(answered) == 0 {
		return t.since
	}
	slices.SortFunc(answered, func(a, b time.Time) int { return b.Compare(a) })
	return answered[len(answered)/2]
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
