package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

const (
	// retryPropose is the pause before a proposal that found no leader is tried again.
	retryPropose = 20 * time.Millisecond
	// enqueueTimeout bounds how long raft's loop may be busy, before ctx is looked at again.
	enqueueTimeout = 500 * time.Millisecond
)

// Propose has op committed, from any node; see cluster.Coordinator.
func (n *Node) Propose(ctx context.Context, op state.Op) (state.Result, error) {
	// Encoded without a token, to be stamped by the leader at append.
	data, err := state.Encode(state.Command{Op: op})
	if err != nil {
		return state.Result{}, fmt.Errorf("propose: %w", err)
	}
	for {
		res, err := n.tryPropose(ctx, op, data)
		if !errors.Is(err, cluster.ErrTermOver) && !errors.Is(res.Err, cluster.ErrTermOver) {
			return res, err
		}
		select {
		case <-n.failed:
			return state.Result{}, fmt.Errorf("%w: %w", cluster.ErrNoLeader, n.failure)
		case <-n.stopped:
			return state.Result{}, fmt.Errorf("%w: %w", cluster.ErrNoLeader, errClosed)
		default:
		}
		if !pause(ctx, retryPropose) {
			return state.Result{}, fmt.Errorf("%w: %w", cluster.ErrNoLeader, ctx.Err())
		}
	}
}

// tryPropose tries once, here or at the leader. ErrTermOver, as error or as refusal, says that the
// command changed nothing and may be tried again.
func (n *Node) tryPropose(ctx context.Context, op state.Op, data []byte) (state.Result, error) {
	if t := n.term.Load(); t != nil {
		return t.propose(ctx, op)
	}
	leader, ok := n.leader()
	if !ok || leader.NodeID == n.cfg.NodeID {
		return state.Result{}, cluster.ErrTermOver
	}
	resp, err := n.ask(ctx, leader, request{Op: opPropose, Command: data})
	switch {
	case errors.Is(err, port.ErrNotSent):
		return state.Result{}, cluster.ErrTermOver
	case err != nil:
		return state.Result{}, fmt.Errorf("%w: forward to %s: %w", cluster.ErrUnknownOutcome, leader.NodeID, err)
	}
	return resp.outcome().Result(leader.NodeID)
}

// leader is the member that raft takes for the leader.
func (n *Node) leader() (cluster.Member, bool) {
	i := n.inst.Load()
	if i == nil {
		return cluster.Member{}, false
	}
	address, id := i.raft.LeaderWithID()
	if id == "" || i.partial.Load() && time.Since(i.raft.LastContact()) > 2*n.timing.heartbeat { // its raft never gives a leader up
		return cluster.Member{}, false
	}
	if m, ok := n.cfg.member(string(id)); ok {
		return m, true
	}
	return cluster.Member{NodeID: string(id), ClusterAddress: string(address)}, true
}

// allKnow refuses a command that a member could not apply: it would have to stop. Of one that this process has not heard from counts
// what an earlier one has.
func (n *Node) allKnow(op state.Op) error {
	seen := n.ident().Seen
	for _, p := range n.peers {
		k, s := p.now(), seen[p.NodeID]
		knows, version := k.Knows, k.Version
		if k.Protocol == 0 {
			knows, version = s.Knows, s.Version
		}
		if knows != 0 && knows < state.KindOf(op) && suffrage(n.servers(), p.NodeID) != "none" {
			return fmt.Errorf("%w: %s runs %s, which does not know this: upgrade it first", cluster.ErrOldMember, p.NodeID, version)
		}
	}
	return nil
}

// propose has op committed under this term's token.
func (t *term) propose(ctx context.Context, op state.Op) (state.Result, error) {
	data, err := state.Encode(state.Command{Token: t.token, Op: op})
	if err == nil {
		err = t.node.allKnow(op)
	}
	if err != nil {
		return state.Result{}, fmt.Errorf("propose: %w", err)
	}
	for {
		if t.ctx.Err() != nil {
			return state.Result{}, cluster.ErrTermOver
		}
		if ctx.Err() != nil {
			return state.Result{}, fmt.Errorf("propose: %w", ctx.Err())
		}
		f := t.inst.raft.Apply(data, enqueueTimeout)
		err := t.node.settle(ctx, f)
		t.noteProposal(err)
		switch {
		case err == nil:
			a := f.Response().(applied)
			if a.err != nil {
				return state.Result{}, fmt.Errorf("%w: %w", cluster.ErrUnknownOutcome, a.err)
			}
			return a.result, nil
		case errors.Is(err, raft.ErrNotLeader):
			return state.Result{}, cluster.ErrTermOver
		case errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
			// It was not appended: the loop was busy, or a handover is under way that may still fail.
			pause(ctx, retryPropose)
		default:
			return state.Result{}, fmt.Errorf("%w: %w", cluster.ErrUnknownOutcome, err)
		}
	}
}
