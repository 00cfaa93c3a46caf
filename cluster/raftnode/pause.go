package raftnode

import (
	"context"
	"time"
)

// restingEvery is how often a node looks whose place nobody else can have taken meanwhile.
const restingEvery = 500 * time.Millisecond

// watchClocks notices that this process stood still. A machine that is suspended may stop the monotonic clock, by which
// leases are measured, but not the world: when the wall clock has gone further than the monotonic one, by more than the
// lease, another node may lead already, and the term is dropped. It is dropped as well when somebody sets the clock, which
// costs one election and cannot be told apart. A process that was merely stopped sees both clocks jump; raft itself gives up its
// leadership then, and the patience before a takeover starts anew.
//
// It looks often while another node could lead instead, and rarely otherwise; leading says which of the two it is for.
func (n *Node) watchClocks(ctx context.Context, leading bool) {
	every := restingEvery
	if leading {
		every = max(n.timing.lease/5, leaseEvery)
	}
	mono, wall := time.Now(), n.cfg.Wall()
	for n.beat(ctx, every) {
		now, there := time.Now(), n.cfg.Wall()
		passed, shown := now.Sub(mono), there.Sub(wall)
		mono, wall = now, there
		if !leading && n.term.Load() != nil && len(n.peers) > 0 {
			continue // the term looks for itself
		}
		apart := (shown - passed).Abs()
		n.slow.stood(passed-every, now)
		n.slow.tell(now)
		if apart <= n.timing.lease && passed-every <= n.timing.lease {
			continue
		}
		n.mu.Lock()
		n.paused = now
		n.mu.Unlock()
		if apart <= n.timing.lease {
			n.log.Warn("this process stood still", "for", passed.Round(time.Millisecond))
			continue
		}
		n.log.Warn("the clock jumped, or this machine stood still", "by", (shown - passed).Round(time.Millisecond))
		if ctx, _ := n.led.now(); ctx != nil {
			n.led.end()
			n.rebuildSoon("a term is not carried over a pause of the machine")
		}
	}
}
