package raftnode

import (
	"context"
	"sync"
	"time"
)

const (
	// restingEvery is how often a node looks whose place nobody else can have taken meanwhile.
	restingEvery = 500 * time.Millisecond
	// lookingEvery is how often one looks that has others: whatever is done as often is done at the same moments (beat).
	lookingEvery = restingEvery / 2
)

// clocks compares the two clocks of a machine. Safe for several goroutines; each change is told to one of them.
type clocks struct {
	wall func() time.Time

	mu          sync.Mutex
	mono, shown time.Time // at the last look
}

func newClocks(wall func() time.Time) *clocks {
	return &clocks{wall: wall, mono: time.Now(), shown: wall()}
}

// apart is how much further the wall clock has gone than the monotonic one since the last look.
func (c *clocks) apart() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	mono, shown := c.mono, c.shown
	c.mono, c.shown = time.Now(), c.wall()
	return c.shown.Sub(shown) - c.mono.Sub(mono)
}

// watchClocks notices that this process stood still. A machine that is suspended may stop the monotonic clock, by which
// leases are measured, but not the world: when the wall clock has gone further than the monotonic one, by more than the
// lease, another node may lead already, and the term is dropped. It is dropped as well when somebody sets the clock, which
// costs one election and cannot be told apart. A process that was merely stopped sees both clocks jump; raft itself gives up its
// leadership then, and the patience before a takeover starts anew.
//
// It looks more often while another node could lead instead; leading says which of the two it is for. A leader's heartbeats look as well.
func (n *Node) watchClocks(ctx context.Context, leading bool) {
	every := restingEvery
	if leading {
		every = lookingEvery
	}
	last := time.Now()
	for n.beat(ctx, every) {
		now := time.Now()
		passed := now.Sub(last)
		last = now
		if !leading && n.term.Load() != nil && len(n.peers) > 0 {
			continue // the term looks for itself
		}
		n.slow.stood(passed-every, now)
		n.slow.tell(now)
		if !n.lookAtClocks() && passed-every > n.timing.lease {
			n.stoodStill(now)
			n.log.Warn("this process stood still", "for", passed.Round(time.Millisecond))
		}
	}
}

// lookAtClocks drops the term if this machine stood still, as the clocks have it since the last look.
func (n *Node) lookAtClocks() (jumped bool) {
	apart := n.clocks.apart()
	if apart.Abs() <= n.timing.lease {
		return false
	}
	n.stoodStill(time.Now())
	n.log.Warn("the clock jumped, or this machine stood still", "by", apart.Round(time.Millisecond))
	if ctx, _ := n.led.now(); ctx != nil {
		n.led.end()
		n.rebuildSoon("a term is not carried over a pause of the machine")
	}
	return true
}

func (n *Node) stoodStill(at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = at
}
