package clustertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"scomconnector/cluster"
)

// Cluster is a running cluster under test.
type Cluster struct {
	t       testing.TB
	shape   Shape
	backend Backend
	nodes   map[string]*running
	paused  map[string]bool
	real    bool // time is not simulated
	watch   watch
}

// running is one process.
type running struct {
	Node
	stop func()        // ends Run's context
	done chan struct{} // Run has returned
	err  error         // of Run; set before done is closed
}

// New is a cluster of raftnode nodes in memory; Start starts them. When the test ends all are closed.
func New(t testing.TB, shape Shape) (*Cluster, *Memory) {
	b := NewMemory(shape)
	return NewOver(t, shape, b), b
}

// NewOver is a cluster over any backend.
func NewOver(t testing.TB, shape Shape, b Backend) *Cluster {
	c := &Cluster{t: t, shape: shape, backend: b, nodes: map[string]*running{}, paused: map[string]bool{}}
	c.watch = watch{t: t, asleep: map[string]bool{}, nap: map[string]int{}}
	t.Cleanup(func() {
		for _, m := range shape {
			c.backend.Heal(m.NodeID)
			c.Resume(m.NodeID)
		}
		for _, m := range shape {
			if c.nodes[m.NodeID] != nil {
				c.Crash(m.NodeID)
			}
		}
	})
	return c
}

// Start starts the named nodes, all if none is named.
func (c *Cluster) Start(nodeIDs ...string) {
	c.t.Helper()
	if len(nodeIDs) == 0 {
		for _, m := range c.shape {
			nodeIDs = append(nodeIDs, m.NodeID)
		}
	}
	for _, id := range nodeIDs {
		n, err := c.backend.Open(id)
		if err != nil {
			c.t.Fatalf("start %s: %v", id, err)
		}
		ctx, stop := context.WithCancel(context.Background())
		r := &running{Node: n, stop: stop, done: make(chan struct{})}
		c.nodes[id] = r
		go func() {
			r.err = n.Run(ctx, func(ctx context.Context, term cluster.Term) error { return c.watch.lead(ctx, id, term) })
			close(r.done)
		}()
	}
}

// Node is the running node of that name, nil if it does not run.
func (c *Cluster) Node(nodeID string) Node {
	if r := c.nodes[nodeID]; r != nil {
		return r.Node
	}
	return nil
}

// Crash ends the node as kill -9 does.
func (c *Cluster) Crash(nodeID string) {
	c.t.Helper()
	r := c.nodes[nodeID]
	delete(c.nodes, nodeID)
	c.watch.dead(nodeID)
	c.backend.Crashed(nodeID)
	c.awake(nodeID)
	if err := r.Close(); err != nil {
		c.t.Logf("close %s: %v", nodeID, err)
	}
	<-r.done
	r.stop()
}

// Stop ends the node as an operator does, and returns Run's error.
func (c *Cluster) Stop(nodeID string) error {
	c.Resume(nodeID)
	r := c.nodes[nodeID]
	delete(c.nodes, nodeID)
	r.stop()
	<-r.done
	if err := r.Close(); err != nil {
		c.t.Logf("close %s: %v", nodeID, err)
	}
	c.backend.Crashed(nodeID) // its process has ended, whatever of it still hung
	return r.err
}

// Gone waits until the node's Run has returned by itself, and returns its error. The node is closed.
func (c *Cluster) Gone(nodeID string, within time.Duration) error {
	c.t.Helper()
	r := c.nodes[nodeID]
	select {
	case <-r.done:
	case <-time.After(within):
		c.t.Fatalf("%s still runs after %v", nodeID, within)
	}
	delete(c.nodes, nodeID)
	c.backend.Crashed(nodeID)
	c.awake(nodeID)
	r.Close() //nolint:errcheck // its Run has said what is wrong
	r.stop()
	return r.err
}

// Ended reports whether the node's Run has returned by itself.
func (c *Cluster) Ended(nodeID string) bool {
	r := c.nodes[nodeID]
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Isolate cuts the node off; false: the backend cannot.
func (c *Cluster) Isolate(nodeID string) bool { return c.backend.Isolate(nodeID) }

// Heal joins it again.
func (c *Cluster) Heal(nodeID string) { c.backend.Heal(nodeID) }

// Pause has the node's process stand still until Resume; false: the backend cannot. What its lead does meanwhile does not count.
func (c *Cluster) Pause(nodeID string) bool {
	p, ok := c.backend.(Pauser)
	if ok && !c.paused[nodeID] {
		c.paused[nodeID] = true
		c.watch.sleep(nodeID)
		p.Pause(nodeID)
	}
	return ok
}

// Resume ends Pause. A lead that has lost its term meanwhile must notice at once.
func (c *Cluster) Resume(nodeID string) {
	if c.awake(nodeID) {
		c.watch.wake(nodeID)
	}
}

// awake has the backend go on with the node; false: it did not stand still.
func (c *Cluster) awake(nodeID string) bool {
	if !c.paused[nodeID] {
		return false
	}
	delete(c.paused, nodeID)
	c.backend.(Pauser).Resume(nodeID)
	return true
}

// TakeOver has the node lead by force, as an operator does.
func (c *Cluster) TakeOver(ctx context.Context, nodeID, by string, force bool) error {
	m, ok := c.Node(nodeID).(cluster.Members)
	if !ok {
		return fmt.Errorf("%s runs a backend without takeovers", nodeID)
	}
	return m.TakeOver(ctx, by, force)
}

// AllowOverlap says whether leads of different epochs may overlap from now on, as after a takeover by force while the old leader
// lives. A token has one owner all the same, and no node leads twice at once.
func (c *Cluster) AllowOverlap(may bool) { c.watch.allow(may) }

// Leader waits until one of the running nodes leads, other than those excepted, and names it.
func (c *Cluster) Leader(within time.Duration, except ...string) string {
	c.t.Helper()
	var leader string
	c.Eventually(within, fmt.Sprintf("a leader other than %v", except), func() bool {
		leader = c.leading(except...)
		return leader != ""
	})
	return leader
}

func (c *Cluster) leading(except ...string) string {
next:
	for id, r := range c.nodes {
		for _, e := range except {
			if id == e {
				continue next
			}
		}
		if r.View().Leading {
			return id
		}
	}
	return ""
}

// Eventually waits until cond holds.
func (c *Cluster) Eventually(within time.Duration, what string, cond func() bool) {
	c.t.Helper()
	eventually(c.t, within, what, cond)
}

// Voters waits until all running nodes see that many voters.
func (c *Cluster) Voters(n int, within time.Duration) {
	c.t.Helper()
	c.Eventually(within, fmt.Sprintf("%d voters everywhere", n), func() bool {
		for _, r := range c.nodes {
			if r.Health().Voters != n {
				return false
			}
		}
		return true
	})
}
