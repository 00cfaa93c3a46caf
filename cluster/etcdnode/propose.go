package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

// retryPropose is the pause before what found no leader, or no answer, is tried again.
const retryPropose = 20 * time.Millisecond

// Propose has op committed, from any node; see cluster.Coordinator.
func (n *Node) Propose(ctx context.Context, op state.Op) (state.Result, error) {
	data, err := state.Encode(state.Command{Op: op})
	if err != nil {
		return state.Result{}, fmt.Errorf("propose: %w", err)
	}
	if a, ok := op.(state.Accept); ok {
		return n.accept(ctx, a)
	}
	for {
		if s := n.stall(); s.Text != "" {
			return state.Result{}, s
		}
		res, err := n.tryPropose(ctx, op, data)
		if !errors.Is(err, cluster.ErrTermOver) && !errors.Is(res.Err, cluster.ErrTermOver) {
			return res, err
		}
		if err := n.pauseOrEnd(ctx); err != nil {
			return state.Result{}, fmt.Errorf("%w: %w", cluster.ErrNoLeader, err)
		}
	}
}

// pauseOrEnd waits before the next try; the error says why there is none.
func (n *Node) pauseOrEnd(ctx context.Context) error {
	select {
	case <-n.failed:
		return n.failure
	case <-n.stopped:
		return errClosed
	default:
	}
	if !pause(ctx, retryPropose) {
		return ctx.Err()
	}
	return nil
}

// tryPropose tries once, here or at the leader. ErrTermOver, as error or as refusal, says that nothing was changed.
func (n *Node) tryPropose(ctx context.Context, op state.Op, data []byte) (state.Result, error) {
	if t := n.term.Load(); t != nil {
		return t.propose(ctx, op)
	}
	leader, ok := n.leader()
	if !ok || leader == n.cfg.NodeID {
		return state.Result{}, cluster.ErrTermOver
	}
	resp, err := n.ask(ctx, leader, request{Op: opPropose, Command: data})
	switch {
	case errors.Is(err, port.ErrNotSent):
		return state.Result{}, cluster.ErrTermOver
	case err != nil:
		return state.Result{}, fmt.Errorf("%w: forward to %s: %w", cluster.ErrUnknownOutcome, leader, err)
	}
	// What the leader has committed is in etcd, and will be here in a moment.
	return resp.outcome().Result(leader)
}

// accept takes in a close request without asking a leader: it is a key of its own. Two nodes may take in the same at the same time, and
// then it is done twice, of which the second changes nothing: SCOM's state is read first.
func (n *Node) accept(ctx context.Context, q state.Accept) (state.Result, error) {
	part := state.StoredRequest(q.Request)
	id := q.Request.ID
	under := false // a transaction was sent whose outcome is not known
	for {
		if known, ok, full := n.replica.state.Known(q); ok {
			return state.Result{ID: known}, nil
		} else if full && !under {
			return state.Result{Err: state.ErrOutboxFull}, nil
		}
		if k := n.replica.keys(); k.synced && k.cluster != nil && n.inContact() { // else it would only have an unknown outcome
			settled, refused := state.Part{Kind: state.PartSettled, Request: id}.String(), state.Part{Kind: state.PartParkedRequest, Request: id}.String()
			key := part.Part.String()
			out, err := n.kv.Txn(ctx, []cond{modified(keyCluster, k.cluster.Mod), created(key, 0), created(settled, 0), created(refused, 0)},
				[]op{put(key, part.Content)}, []op{get(keyCluster)})
			switch {
			case err == nil && (out.OK || modOf(out.Found[0]) == k.cluster.Mod): // the latter: an earlier try was carried out
				if out.OK {
					n.awaitSeen(ctx, out.Revision)
				}
				return state.Result{ID: id}, nil
			case err != nil:
				under = under || stallOf(err, n.cfg).Text == ""
			}
		}
		if s := n.stall(); s.Text != "" && !under {
			return state.Result{}, s
		}
		if err := n.pauseOrEnd(ctx); err != nil {
			if under {
				return state.Result{}, fmt.Errorf("%w: %w", cluster.ErrUnknownOutcome, err)
			}
			return state.Result{}, fmt.Errorf("%w: %w", cluster.ErrNoLeader, err)
		}
	}
}

// seenWithin is how long this node may take to see what etcd has taken already.
const seenWithin = 2 * time.Second

// awaitSeen lets this node learn of the revision, so that whoever asks it next sees what it has answered.
func (n *Node) awaitSeen(ctx context.Context, rev int64) {
	ctx, cancel := context.WithTimeout(ctx, seenWithin)
	defer cancel()
	for n.replica.keys().revision < rev && pause(ctx, 2*time.Millisecond) {
	}
}

// leader is the node that has the leader's key, as far as this node knows.
func (n *Node) leader() (nodeID string, known bool) {
	k := n.replica.keys()
	if k.leader == nil || !n.inContact() {
		return "", false
	}
	l := decodeValue[leaderValue](k.leader)
	if n.usesOurName(l) {
		return "", false
	}
	return l.Node, true
}

// usesOurName reports whether another process has this node's name: mostly the one before, whose lease has not ended, or a backup of etcd.
func (n *Node) usesOurName(l leaderValue) bool {
	return l.Node == n.cfg.NodeID && l.Process != n.process
}

// inContact reports whether a majority of etcd has answered lately.
func (n *Node) inContact() bool { return n.heardWithin(n.cfg.TTL) }

func (n *Node) heardWithin(d time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.contact.IsZero() && time.Since(n.contact) < d
}

// allKnow refuses a command whose parts a member could not read: it would have to stop.
func (n *Node) allKnow(op state.Op) error {
	for _, p := range n.peers {
		if g, ok := p.greeted(); ok && g.Knows < state.KindOf(op) {
			return fmt.Errorf("%s runs version %s, which does not know this: upgrade it first", p.NodeID, g.Version)
		}
	}
	return nil
}

// propose has op committed under this term's token.
func (t *term) propose(ctx context.Context, op state.Op) (state.Result, error) {
	if err := t.node.allKnow(op); err != nil {
		return state.Result{}, fmt.Errorf("propose: %w", err)
	}
	var res state.Result
	for i, piece := range pieces(op) {
		r, err := t.proposeOne(ctx, piece)
		if err != nil {
			return r, err
		}
		// Of several pieces that name what may be gone already, one that finds something is enough.
		if i == 0 || r.Err == nil || errors.Is(res.Err, state.ErrUnknown) {
			if i == 0 || !errors.Is(r.Err, state.ErrUnknown) {
				res = r
			}
		}
	}
	return res, nil
}

func (t *term) proposeOne(ctx context.Context, op state.Op) (state.Result, error) {
	p, err := newProposal(ctx, t.token, op)
	if err != nil {
		return state.Result{}, err
	}
	select {
	case t.queue <- p:
	case <-t.tenure.ctx.Done():
		return state.Result{}, cluster.ErrTermOver
	case <-ctx.Done():
		return state.Result{}, fmt.Errorf("propose: %w", ctx.Err())
	}
	select {
	case a := <-p.reply:
		return a.res, a.err
	case <-ctx.Done():
		return state.Result{}, fmt.Errorf("%w: %w", cluster.ErrUnknownOutcome, ctx.Err())
	}
}

// mostNames is how many requests or entries one command may name, so that what it changes fits into one transaction.
const mostNames = 25

// pieces cuts an op that names many requests or entries; each does what it names, whatever becomes of the others.
func pieces(op state.Op) []state.Op {
	var out []state.Op
	switch op := op.(type) {
	case state.Settle:
		for list := range slices.Chunk(op.Settled, mostNames) {
			out = append(out, state.Settle{Settled: list, At: op.At})
		}
	case state.Begin:
		for list := range slices.Chunk(op.Begun, mostNames) {
			out = append(out, state.Begin{Begun: list})
		}
	case state.Unpark:
		for list := range slices.Chunk(op.Keys, mostNames) {
			out = append(out, state.Unpark{Pipeline: op.Pipeline, Keys: list})
		}
	case state.Retry:
		for list := range slices.Chunk(op.IDs, mostNames) {
			out = append(out, state.Retry{IDs: list, MaxEntries: op.MaxEntries, MaxBytes: op.MaxBytes})
		}
	case state.Discard:
		for list := range slices.Chunk(op.IDs, mostNames) {
			out = append(out, state.Discard{IDs: list})
		}
	}
	if len(out) == 0 {
		return []state.Op{op}
	}
	return out
}
