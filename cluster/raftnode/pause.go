package raftnode

import (
	"context"
	"time"
)

// watchClocks notices that this process stood still. A machine that is suspended may stop the monotonic clock, by which
// leases are measured, but not the world: when the wall clock has gone further than the monotonic one, by more than the
// lease, another node may lead already, and the term is dropped. It is dropped as well when somebody sets the clock, which
// costs one election and cannot be told apart. A process that was merely stopped sees both clocks jump; raft itself gives up its
// leadership then, and the patience before a takeover starts anew.
func (n *Node) watchClocks(ctx context.Context) {
	every := max(n.timing.lease/5, leaseEvery)
	mono, wall := time.Now(), n.cfg.Wall()
	for n.beat(ctx, every) {
		now, there := time.Now(), n.cfg.Wall()
		passed, shown := now.Sub(mono), there.Sub(wall)
		mono, wall = now, there
		apart := (shown - passed).Abs()
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
