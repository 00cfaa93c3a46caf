package clustertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// Cluster is a running cluster under test.
type Cluster struct {
	t       testing.TB
	shape   Shape
	backend Backend
	nodes   map[string]*running
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
	c := &Cluster{t: t, shape: shape, backend: b, nodes: map[string]*running{}}
	c.watch.t = t
	t.Cleanup(func() {
		for _, m := range shape {
			c.backend.Heal(m.NodeID)
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
	c.backend.Crashed(nodeID)
	if err := r.Close(); err != nil {
		c.t.Logf("close %s: %v", nodeID, err)
	}
	<-r.done
	r.stop()
}

// Stop ends the node as an operator does, and returns Run's error.
func (c *Cluster) Stop(nodeID string) error {
	r := c.nodes[nodeID]
	delete(c.nodes, nodeID)
	r.stop()
	<-r.done
	if err := r.Close(); err != nil {
		c.t.Logf("close %s: %v", nodeID, err)
	}
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

// Leads returns every lead so far, in the order in which they began.
func (c *Cluster) Leads() []Lead {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	var list []Lead
	for _, l := range c.watch.leads {
		list = append(list, *l)
	}
	return list
}

// Lead is one call of lead.
type Lead struct {
	Node  string
	Token state.Token
	Term  cluster.Term
	Began time.Time
	Ended time.Time // when its context ended; zero: not yet
}

// watch holds the promises of Run: one lead at a time in the whole cluster, with a greater token
// than all before, but for the same node going on in its own term.
type watch struct {
	t     testing.TB
	mu    sync.Mutex // guards all below
	leads []*Lead
	work  func(ctx context.Context, nodeID string, term cluster.Term) error
}

// Work has every later lead call f, in place of waiting for its context.
func (c *Cluster) Work(f func(ctx context.Context, nodeID string, term cluster.Term) error) {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	c.watch.work = f
}

func (w *watch) lead(ctx context.Context, nodeID string, term cluster.Term) error {
	l := &Lead{Node: nodeID, Token: term.Token, Term: term, Began: time.Now()}
	w.mu.Lock()
	for _, o := range w.leads {
		if o.Ended.IsZero() {
			w.t.Errorf("%s leads term %v while %s still leads term %v", nodeID, term.Token, o.Node, o.Token)
		}
		if diff := o.Token.Compare(term.Token); diff > 0 || diff == 0 && o.Node != nodeID {
			w.t.Errorf("%s leads term %v after %s led term %v", nodeID, term.Token, o.Node, o.Token)
		}
	}
	w.leads = append(w.leads, l)
	work := w.work
	w.mu.Unlock()

	ended := make(chan struct{})
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		l.Ended = time.Now()
		w.mu.Unlock()
		close(ended)
	})
	var err error
	if work != nil {
		err = work(ctx, nodeID, term)
	}
	if err == nil {
		<-ended
	} else {
		w.mu.Lock()
		l.Ended = time.Now()
		w.mu.Unlock()
	}
	return err
}
