package clustertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// Lead is one call of lead.
type Lead struct {
	Node  string
	Token state.Token
	Term  cluster.Term
	Began time.Time
	Ended time.Time // when its context ended; zero: not yet
}

// noticeWithin is how long a lead that has lost its term while its process stood still may go on after that: until raft's
// next look at its lease, which is overdue.
const noticeWithin = 100 * time.Millisecond

// watch holds the promises of Run: one lead at a time in the whole cluster, with a greater token
// than all before, but for the same node going on in its own term.
type watch struct {
	t       testing.TB
	mu      sync.Mutex // guards all below
	leads   []*Lead
	overlap bool            // leads of different epochs may
	asleep  map[string]bool // nodes that stand still, or have just woken
	naps    int             // how often one has fallen asleep
	nap     map[string]int  // the node's last one
	work    func(ctx context.Context, nodeID string, term cluster.Term) error
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

// Work has every later lead call f, in place of waiting for its context.
func (c *Cluster) Work(f func(ctx context.Context, nodeID string, term cluster.Term) error) {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	c.watch.work = f
}

func (w *watch) lead(ctx context.Context, nodeID string, term cluster.Term) error {
	l := &Lead{Node: nodeID, Token: term.Token, Term: term, Began: time.Now()}
	w.mu.Lock()
	w.ordered(l)
	w.leads = append(w.leads, l)
	w.alone()
	work := w.work
	w.mu.Unlock()

	ended := make(chan struct{})
	context.AfterFunc(ctx, func() {
		w.end(l)
		close(ended)
	})
	var err error
	if work != nil {
		err = work(ctx, nodeID, term)
		w.end(l)
		return err
	}
	select {
	case <-ended:
	case <-term.Finish:
		w.end(l)
	}
	return nil
}

// ordered holds the new lead's token against all before it. w.mu is held.
func (w *watch) ordered(l *Lead) {
	for _, o := range w.leads {
		diff := o.Token.Compare(l.Token)
		switch {
		case diff == 0 && o.Node != l.Node:
			w.t.Errorf("%s leads term %v, which was %s's", l.Node, l.Token, o.Node)
		case o.Ended.IsZero() && o.Node == l.Node:
			w.t.Errorf("%s leads term %v while it still leads term %v", l.Node, l.Token, o.Token)
		case diff > 0 && !w.asleep[l.Node] && (o.Token.Epoch == l.Token.Epoch || !w.overlap):
			w.t.Errorf("%s leads term %v after %s led term %v", l.Node, l.Token, o.Node, o.Token)
		}
	}
}

// alone holds the leads that go on against each other. w.mu is held.
func (w *watch) alone() {
	var live []*Lead
	for _, l := range w.leads {
		if !l.Ended.IsZero() || w.asleep[l.Node] {
			continue
		}
		for _, o := range live {
			if !w.overlap || o.Token.Epoch == l.Token.Epoch {
				w.t.Errorf("%s leads term %v while %s still leads term %v", l.Node, l.Token, o.Node, o.Token)
			}
		}
		live = append(live, l)
	}
}

func (w *watch) end(l *Lead) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.Ended.IsZero() {
		l.Ended = time.Now()
	}
}

// dead ends the leads of a process that is killed: nothing of it is heard any more.
func (w *watch) dead(nodeID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.leads {
		if l.Node == nodeID && l.Ended.IsZero() {
			l.Ended = time.Now()
		}
	}
	delete(w.asleep, nodeID)
}

func (w *watch) allow(may bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.overlap = may
	w.alone()
}

func (w *watch) sleep(nodeID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.naps++
	w.asleep[nodeID], w.nap[nodeID] = true, w.naps
}

// wake has the node count again, noticeWithin from now, unless it sleeps again by then.
func (w *watch) wake(nodeID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	nap := w.nap[nodeID]
	time.AfterFunc(noticeWithin, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.nap[nodeID] == nap && w.asleep[nodeID] {
			delete(w.asleep, nodeID)
			w.alone()
		}
	})
}
