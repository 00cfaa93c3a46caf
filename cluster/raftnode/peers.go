package raftnode

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
)

const (
	// statusEvery is how often a member is asked how it is. Three times a second makes a new member
	// a voter within two seconds; one that belongs to the cluster is asked each restingEvery.
	statusEvery   = 300 * time.Millisecond
	statusTimeout = time.Second
	// freshFor is how long an answer counts as contact.
	freshFor = 1500 * time.Millisecond
)

// peer is what this node knows of another member.
type peer struct {
	cluster.Member
	log hclog.Logger

	meeting chan struct{} // one slot, guards heard: taken while that is taken in, which may wait for the disk, and before the node's saving
	heard   greeting      // the newest of all, an older copy's too

	mu         sync.Mutex // guards all below
	last       greeting
	seen       time.Time // of last; zero: never in this process's lifetime
	tried      bool      // one attempt has ended, however
	fault      string    // of the newest attempt; empty: it worked
	said       string    // the fault that was logged last
	saidAt     time.Time
	doubted    time.Time // when raft last failed to reach it
	acked      time.Time // when what it last answered was sent by raft
	back       returns   // of its vote, in a strict pair
	rival      greeting  // of another process that uses its name
	rivalAt    time.Time
	rivalSince time.Time
	beside     string   // process that answered when the rival called
	oldCopy    greeting // of an older copy of its folder
	oldAt      time.Time
	doubtAt    time.Time     // since when its answers are an older copy's; zero: they are not
	held       uint64        // highest log index it has had applied, for its present incarnation
	changed    chan struct{} // closed and replaced at each news
}

// known is a copy of it.
type known struct {
	greeting
	seen  time.Time
	tried bool
	fault string
}

func (k known) fresh() bool { return !k.seen.IsZero() && time.Since(k.seen) < freshFor }

func newPeer(m cluster.Member, log hclog.Logger) *peer {
	return &peer{Member: m, log: log.With("member", m.NodeID), meeting: make(chan struct{}, 1), changed: make(chan struct{})}
}

func (p *peer) now() known {
	p.mu.Lock()
	defer p.mu.Unlock()
	return known{p.last, p.seen, p.tried, p.fault}
}

// note records an answer. Only the change from away to there is worth a line; what it means is told by whoever reads the view.
func (p *peer) note(g greeting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen.IsZero() || p.fault != "" {
		p.log.Debug("member is in contact", "version", g.Version, "empty", g.Empty)
	}
	if p.last.Incarnation != g.Incarnation {
		p.held = 0
	}
	p.held = max(p.held, g.Applied)
	p.last, p.seen, p.tried, p.fault = g, time.Now(), true, ""
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *peer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Ports make each text new; what lies beneath says whether it is another fault.
	if what := deepest(err).Error(); p.fault == "" || what != p.said && time.Since(p.saidAt) > repeatAfter {
		p.log.Debug("member is out of contact", "error", err)
		p.said, p.saidAt = what, time.Now()
	}
	p.tried, p.fault = true, err.Error()
	close(p.changed)
	p.changed = make(chan struct{})
}

func deepest(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// ack records an answer to what was sent then.
func (p *peer) ack(sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sent.After(p.acked) {
		p.acked = sent
	}
}

// lastAck is when what it last answered was sent by raft; zero: never in this process's lifetime.
func (p *peer) lastAck() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

func (p *peer) demotedNow(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.back.demote(time.Now(), index)
}

func (p *peer) promotedNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.back.promoted = time.Now()
}

func (p *peer) mayReturn(applied uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return applied >= p.back.index && p.back.may(time.Now())
}

// doubt has await wait for the next answer.
func (p *peer) doubt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubted = time.Now()
}

// await returns once the member has said that it takes raft connections, after any doubt.
func (p *peer) await(done <-chan struct{}) {
	for {
		p.mu.Lock()
		ok, changed := p.fault == "" && p.last.Ready && p.seen.After(p.doubted), p.changed
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-done:
			return
		}
	}
}

// watch asks the member for its status until ctx ends, over one connection while it lasts.
func (n *Node) watch(ctx context.Context, p *peer) {
	for ctx.Err() == nil {
		err := n.watchOnce(ctx, p)
		if ctx.Err() == nil {
			p.fail(err)
		}
		pause(ctx, statusEvery)
	}
}

func (n *Node) watchOnce(ctx context.Context, p *peer) error {
	conn, theirs, err := n.port.Call(ctx, port.KindCall, p.Member)
	if theirs.NodeID != "" {
		n.meet(theirs)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		every := statusEvery
		if n.settled(p) {
			every = restingEvery
		}
		if !n.beat(ctx, every) {
			return ctx.Err()
		}
		r, err := port.Exchange[response](ctx, conn, request{Op: opStatus}, statusTimeout)
		if err != nil {
			return err
		}
		n.meet(r.Greeting)
	}
}

// settled: the member has nothing to wait for from this node.
func (n *Node) settled(p *peer) bool {
	k := p.now()
	return k.fault == "" && k.Ready && !k.Empty && k.Epoch == n.ident().Epoch && suffrage(n.servers(), p.NodeID) == "voter"
}

// ask sends one request over a connection of its own: a pooled one may have died unnoticed, and a
// proposal sent into it has an unknown outcome for no need.
func (n *Node) ask(ctx context.Context, m cluster.Member, r request) (response, error) {
	conn, theirs, err := n.port.Call(ctx, port.KindCall, m)
	if theirs.NodeID != "" {
		n.meet(theirs)
	}
	if err != nil {
		return response{}, errors.Join(port.ErrNotSent, err)
	}
	defer conn.Close()
	if theirs.ClusterID != "" && n.foreign(theirs) {
		return response{}, errors.Join(port.ErrNotSent, errForeign)
	}
	r.Timeout = port.Patience(ctx)
	resp, err := port.Exchange[response](ctx, conn, r, r.Timeout)
	if resp.Greeting.NodeID != "" {
		n.meet(resp.Greeting)
	}
	return resp, err
}

// beat waits until the next multiple of every since the node was opened; false: ctx has ended. What a node at rest costs is mostly its
// waking up, so what it does for itself it does at the same moments.
func (n *Node) beat(ctx context.Context, every time.Duration) bool {
	return pause(ctx, n.nextBeat(every))
}

// beatBefore is beat that waits no longer than to just after the deadline.
func (n *Node) beatBefore(ctx context.Context, every time.Duration, deadline time.Time) bool {
	return pause(ctx, min(n.nextBeat(every), max(time.Until(deadline)+time.Millisecond, soonest)))
}

func (n *Node) nextBeat(every time.Duration) time.Duration { return every - time.Since(n.opened)%every }

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
