package clustertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"scomconnector/cluster/raftnode"
)

// Claims is an arbiter in memory, with a fault switch for each node's way to it.
type Claims struct {
	mu   sync.Mutex // guards all below
	made map[uint64]raftnode.Claim
	ways map[string]way
}

// way is what a node's accesses meet.
type way struct {
	unreachable bool
	mute        bool
	slow        time.Duration
}

func newClaims() *Claims { return &Claims{made: map[uint64]raftnode.Claim{}, ways: map[string]way{}} }

// Unreachable has the node's accesses hang until their deadline, and do nothing.
func (c *Claims) Unreachable(nodeID string, on bool) {
	c.change(nodeID, func(w *way) { w.unreachable = on })
}

// LoseAnswers has the node's claims be made, and their answers be lost. Reading is not affected.
func (c *Claims) LoseAnswers(nodeID string, on bool) { c.change(nodeID, func(w *way) { w.mute = on }) }

// Slow makes each access of the node take that long; what has missed its deadline is done all the same.
func (c *Claims) Slow(nodeID string, by time.Duration) {
	c.change(nodeID, func(w *way) { w.slow = by })
}

func (c *Claims) change(nodeID string, f func(*way)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.ways[nodeID]
	f(&w)
	c.ways[nodeID] = w
}

func (c *Claims) way(nodeID string) way {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ways[nodeID]
}

func (c *Claims) of(nodeID string) raftnode.Claims { return nodeClaims{c, nodeID} }

// nodeClaims is one node's way to the claims.
type nodeClaims struct {
	*Claims
	nodeID string
}

var errShare = errors.New("the share does not answer")

// Claim makes the claim if there is none.
func (c nodeClaims) Claim(ctx context.Context, epoch uint64, by raftnode.Claim) (raftnode.Claim, error) {
	w := c.way(c.nodeID)
	if err := w.reach(ctx, func() { c.make(epoch, by) }); err != nil {
		return raftnode.Claim{}, err
	}
	owner := c.make(epoch, by)
	if w.mute {
		<-ctx.Done()
		return raftnode.Claim{}, errShare
	}
	return owner, nil
}

// Owner reads the claim.
func (c nodeClaims) Owner(ctx context.Context, epoch uint64) (raftnode.Claim, bool, error) {
	if err := c.way(c.nodeID).reach(ctx, func() {}); err != nil {
		return raftnode.Claim{}, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	owner, found := c.made[epoch]
	return owner, found, nil
}

func (c *Claims) make(epoch uint64, by raftnode.Claim) raftnode.Claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, found := c.made[epoch]; !found {
		c.made[epoch] = by
	}
	return c.made[epoch]
}

// reach waits for the share. late happens when the share gets to an access whose caller has gone.
func (w way) reach(ctx context.Context, late func()) error {
	if w.unreachable {
		<-ctx.Done()
		return errShare
	}
	if w.slow == 0 {
		return ctx.Err()
	}
	start, timer := time.Now(), time.NewTimer(w.slow)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		time.AfterFunc(w.slow-time.Since(start), late)
		return errShare
	}
}
