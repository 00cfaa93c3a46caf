package raftnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// idleCaller is how long a caller may say nothing: members ask three times a second.
const idleCaller = 10 * time.Second

// greeting is what this node says about itself now.
func (n *Node) greeting() greeting {
	id := n.ident()
	g := greeting{
		Protocol: protocol, NodeID: n.cfg.NodeID, Incarnation: id.Incarnation, Start: id.Start,
		Version: n.cfg.Version, Empty: true, Members: n.members,
	}
	if i := n.inst.Load(); i != nil {
		g.Ready = true
		g.Applied = i.raft.AppliedIndex()
		g.Empty = i.raft.LastIndex() == 0
	}
	if !g.Empty {
		g.ClusterID, g.Epoch = id.ClusterID, id.Epoch
	}
	return g
}

// judge says why a caller goes no further, in words for the operator of the other node; empty: it may.
func (n *Node) judge(kind byte, theirs greeting) string {
	switch {
	case theirs.Protocol != protocol:
		return fmt.Sprintf("it speaks version %d of the protocol between nodes, the caller version %d: bring both to the same release", protocol, theirs.Protocol)
	case theirs.NodeID == n.cfg.NodeID:
		return fmt.Sprintf("it is itself called %q: two nodes must not share a NodeID", n.cfg.NodeID)
	case !n.isMember(theirs.NodeID):
		return fmt.Sprintf("its Members does not list %q: add it there", theirs.NodeID)
	}
	n.suspect(theirs)
	if kind == kindCall {
		return ""
	}
	own := n.greeting()
	switch {
	case kind != kindRaft:
		return fmt.Sprintf("it knows no connections of kind %q", kind)
	case n.foreign(theirs):
		return "it belongs to another cluster, " + own.ClusterID
	case own.Epoch != (state.Epoch{}) && theirs.Epoch != (state.Epoch{}) && own.Epoch != theirs.Epoch:
		return fmt.Sprintf("it is in epoch %d of %s", own.Epoch.Number, own.Epoch.Node)
	case !own.Ready:
		return "it has not been taken into a cluster yet"
	}
	return ""
}

func (n *Node) isMember(nodeID string) bool {
	for _, m := range n.known() {
		if m.NodeID == nodeID {
			return true
		}
	}
	return false
}

// take gets each connection that was greeted.
func (n *Node) take(kind byte, theirs greeting, conn net.Conn) {
	if kind == kindCall {
		n.serveCaller(theirs, conn)
		return
	}
	if i := n.inst.Load(); i != nil {
		i.stream.deliver(conn)
		return
	}
	conn.Close()
}

// serveCaller answers requests one after the other until the caller ends.
func (n *Node) serveCaller(theirs greeting, conn net.Conn) {
	defer conn.Close()
	for {
		conn.SetDeadline(time.Now().Add(idleCaller)) //nolint:errcheck // a connection that is gone fails at the next read
		var r request
		if err := readFrame(conn, &r); err != nil {
			return
		}
		resp := n.answer(theirs, r)
		resp.Greeting = n.greeting()
		conn.SetDeadline(time.Now().Add(idleCaller)) //nolint:errcheck // as above
		if err := writeFrame(conn, nil, resp); err != nil {
			return
		}
	}
}

func (n *Node) answer(theirs greeting, r request) response {
	if r.Op == opStatus {
		return response{}
	}
	if n.foreign(theirs) {
		return response{Fault: "it belongs to another cluster"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(max(r.Timeout, 0), maxCall))
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-n.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	switch r.Op {
	case opJoin:
		return n.answerJoin(ctx, r)
	case opSucceed:
		n.succeed(theirs.NodeID, r.Reason)
		return response{}
	case opAsk:
		return n.answerAsk(ctx, theirs, r)
	case opPropose:
		return n.answerPropose(ctx, r)
	case opTransfer:
		t := n.term.Load()
		if t == nil {
			return response{Fault: faultNotLeader}
		}
		return faulty(t.transfer(ctx, r.Target, r.Reason))
	}
	return response{Fault: fmt.Sprintf("it knows no request %q", r.Op)}
}

func faulty(err error) response {
	switch {
	case err == nil:
		return response{}
	case errors.Is(err, errNoTerm), errors.Is(err, cluster.ErrTermOver):
		return response{Fault: faultNotLeader}
	case errors.Is(err, cluster.ErrUnknownOutcome):
		return response{Fault: faultUnknown}
	}
	return response{Fault: err.Error()}
}

func (n *Node) answerJoin(ctx context.Context, r request) response {
	if n.inst.Load() != nil {
		return response{} // said twice
	}
	o := joinOrder{clusterID: r.ClusterID, epoch: r.Epoch, reply: make(chan error, 1)}
	select {
	case n.joined <- o:
		return faulty(<-o.reply)
	case <-ctx.Done():
		return faulty(ctx.Err())
	}
}

// answerPropose stamps a forwarded command with this node's own term.
func (n *Node) answerPropose(ctx context.Context, r request) response {
	t := n.term.Load()
	if t == nil {
		return response{Fault: faultNotLeader}
	}
	c, err := state.Decode(r.Command)
	if err != nil {
		return faulty(err)
	}
	if _, ok := c.Op.(state.TermStart); ok {
		return response{Fault: "a term is begun by its leader alone"}
	}
	res, err := t.propose(ctx, c.Op)
	if err != nil {
		return faulty(err)
	}
	return response{Refused: wireRefusal(res.Err), Version: res.Version}
}
