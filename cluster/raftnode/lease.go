package raftnode

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// leaseEvery is how often it is looked at: a fraction of the margin that is left for it.
const leaseEvery = 50 * time.Millisecond

// watchLease ends the term when no majority has answered for longer than the lease. raft looks for itself, but in the goroutine that
// also writes to the disk: a leader whose disk hangs when its link is cut would go on leading beside the next one.
func (n *Node) watchLease(ctx context.Context, t *term) {
	limit := n.timing.lease + n.leaseMargin()
	for n.beat(ctx, leaseEvery) {
		if n.majorityAnswers(t, limit) {
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

func (n *Node) majorityAnswers(t *term, within time.Duration) bool {
	voters, answering, now := 0, 0, time.Now()
	for _, s := range n.servers() {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		// Of itself it knows nothing, nor of one that its file does not name.
		p := n.peers[string(s.ID)]
		if p == nil || now.Sub(t.since) <= within || now.Sub(p.lastAck()) <= within {
			answering++
		}
	}
	return answering > voters/2
}
