package raftnode

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
)

// Remove drops a member that no node.json names any more, from any node; see cluster.Members.
func (n *Node) Remove(ctx context.Context, nodeID string) error {
	for {
		err := n.tryRemove(ctx, nodeID)
		if !errors.Is(err, errNoTerm) {
			return err
		}
		if !pause(ctx, retryPropose) {
			return fmt.Errorf("%w: %w", cluster.ErrNoLeader, ctx.Err())
		}
	}
}

func (n *Node) tryRemove(ctx context.Context, nodeID string) error {
	if t := n.term.Load(); t != nil {
		return n.removeHere(ctx, t, nodeID)
	}
	leader, ok := n.leader()
	if !ok || leader.NodeID == n.cfg.NodeID {
		return errNoTerm
	}
	resp, err := n.ask(ctx, leader, request{Op: opRemove, Target: nodeID})
	switch {
	case errors.Is(err, port.ErrNotSent), resp.Fault == port.FaultNotLeader:
		return errNoTerm
	case err != nil:
		return fmt.Errorf("%w: ask %s to remove %s: %w", cluster.ErrUnknownOutcome, leader.NodeID, nodeID, err)
	case resp.Fault != "":
		return errors.New(resp.Fault)
	}
	return nil
}

func (n *Node) removeHere(ctx context.Context, t *term, nodeID string) error {
	if _, named := n.cfg.member(nodeID); named {
		return fmt.Errorf("%s is still in Members of the leader, %s", nodeID, n.cfg.NodeID)
	}
	if suffrage(n.servers(), nodeID) == "none" {
		return fmt.Errorf("%s is no member: `scomconnector members` lists them", nodeID)
	}
	n.log.Info("dropping a member", "member", nodeID)
	err := n.settle(ctx, t.inst.raft.RemoveServer(raft.ServerID(nodeID), 0, changeTimeout))
	switch {
	case errors.Is(err, raft.ErrNotLeader): // nothing has happened: the next leader is asked
		return errNoTerm
	case err != nil:
		return fmt.Errorf("remove %s: %w", nodeID, err)
	}
	return nil
}
