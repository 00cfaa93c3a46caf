package raftnode

import (
	"context"
	"errors"
	"fmt"

	"scomconnector/cluster"
)

var _ cluster.Peers = (*Node)(nil)

// Ask sends a request to the member's Config.Serve; see cluster.Peers.
func (n *Node) Ask(ctx context.Context, nodeID string, body []byte) ([]byte, error) {
	m, ok := n.cfg.member(nodeID)
	if !ok || nodeID == n.cfg.NodeID {
		return nil, fmt.Errorf("%s is no other member: correct the name", nodeID)
	}
	resp, err := n.ask(ctx, m, request{Op: opAsk, Body: body})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s does not answer: %w", nodeID, deepest(err))
	case resp.Fault != "":
		return nil, errors.New(resp.Fault)
	}
	return resp.Body, nil
}

func (n *Node) answerAsk(ctx context.Context, theirs greeting, r request) response {
	if n.cfg.Serve == nil {
		return response{Fault: n.cfg.NodeID + " answers no requests"}
	}
	body, err := n.cfg.Serve(ctx, theirs.NodeID, r.Body)
	if err != nil {
		return response{Fault: err.Error()}
	}
	return response{Body: body}
}
