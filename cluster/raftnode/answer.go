package raftnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

// idleCaller is how long a caller may say nothing: members ask three times a second.
const idleCaller = 10 * time.Second

// greeting is what this node says about itself now. Several may be on their way at once, and arrive in any order: the serial says which
// is the newest.
func (n *Node) greeting() greeting {
	n.greet.Lock()
	defer n.greet.Unlock()
	n.greeted++
	for {
		g := n.describe(n.ident())
		if g.Incarnation == n.ident().Incarnation { // else the folder was wiped, or taken in, between two looks at it
			g.Serial = n.greeted
			return g
		}
	}
}

func (n *Node) describe(id identity) greeting {
	g := greeting{
		Protocol: port.Protocol, NodeID: n.cfg.NodeID, Incarnation: id.Incarnation, Start: id.Start,
		Version: n.cfg.Version, Empty: true, Members: n.members, Process: n.process, Knows: state.MaxKind, Forcing: id.Forced.pending(),
		Space: n.noSpace(), Slow: n.slow.now(time.Now()), Place: n.sharePlace(),
		Timing: n.cfg.Timing,
	}
	if n.pair != nil {
		g.PairTakeover = n.cfg.PairTakeover
	}
	if i := n.inst.Load(); i != nil {
		g.Ready = true
		g.Applied, g.LastIndex = i.raft.AppliedIndex(), i.raft.LastIndex()
		g.Empty = g.LastIndex == 0
		if m, ok := n.leader(); ok && n.fsm.state.Leader() == m.NodeID {
			g.Leader = m.NodeID
		}
	} else if kept := n.kept.Load(); kept > 0 {
		// raft is being replaced: what is known about the folder still is. A node that was killed while it was taken in has an
		// epoch and nothing else.
		g.Empty, g.Applied, g.LastIndex = false, kept, kept
	}
	if !g.Empty {
		g.ClusterID, g.Epoch = id.ClusterID, id.Epoch
	}
	return g
}

// judge says why a caller goes no further, in words for the operator of the other node; empty: it may.
func (n *Node) judge(kind byte, theirs greeting) string {
	switch {
	case theirs.Protocol != port.Protocol:
		return fmt.Sprintf("it speaks version %d of the protocol between nodes, the caller version %d: bring both to the same release", port.Protocol, theirs.Protocol)
	case theirs.NodeID == n.cfg.NodeID:
		return fmt.Sprintf("it is itself called %q: two nodes must not share a NodeID", n.cfg.NodeID)
	case theirs.Coordination != "":
		return fmt.Sprintf("its Coordination is raft, the caller's %s: set the same in every node.json", theirs.Coordination)
	case !n.isMember(theirs.NodeID):
		return fmt.Sprintf("its Members does not list %q: add it there", theirs.NodeID)
	}
	n.suspect(theirs)
	if kind == port.KindCall {
		refusal := n.rival(theirs)
		if refusal != "" { // it may have come while the other one was away
			n.port.CloseRaftFrom(theirs.Process)
		}
		return refusal
	}
	own := n.greeting()
	switch {
	case kind != port.KindRaft:
		return fmt.Sprintf("it knows no connections of kind %q", kind)
	case n.foreign(theirs):
		return "it belongs to another cluster, " + own.ClusterID
	case n.doubtful(theirs) != "":
		return n.doubtful(theirs)
	case own.Forcing || theirs.Forcing:
		return "one of the two is about to begin a new epoch"
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
	if kind == port.KindCall {
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
		if err := port.ReadFrame(conn, &r); err != nil {
			return
		}
		if n.rivals(theirs) { // it was greeted while the other one was away: it is told why when it calls anew
			return
		}
		resp := n.answer(theirs, r)
		resp.Greeting = n.greeting()
		conn.SetDeadline(time.Now().Add(idleCaller)) //nolint:errcheck // as above
		if err := port.WriteFrame(conn, nil, resp); err != nil {
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
	ctx, cancel := context.WithTimeout(context.Background(), min(max(r.Timeout, 0), port.MaxCall))
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
	case opRejoin:
		return n.answerRejoin(ctx, theirs, r)
	case opRemove:
		t := n.term.Load()
		if t == nil {
			return response{Fault: port.FaultNotLeader}
		}
		return faulty(n.removeHere(ctx, t, r.Target))
	case opSucceed:
		n.succeed(theirs.NodeID, r.Reason)
		return response{}
	case opReached:
		if !n.ident().reached(r.Epoch, r.Last) {
			return response{Fault: "it may lack some of that"}
		}
		return response{}
	case opAsk:
		return n.answerAsk(ctx, theirs, r)
	case opPropose:
		return n.answerPropose(ctx, r)
	case opTransfer:
		t := n.term.Load()
		if t == nil {
			return response{Fault: port.FaultNotLeader}
		}
		return faulty(t.transfer(ctx, r.Target, r.Reason))
	}
	return response{Fault: fmt.Sprintf("it knows no request %q", r.Op)}
}

func faulty(err error) response {
	if errors.Is(err, errNoTerm) {
		return response{Fault: port.FaultNotLeader}
	}
	return response{Fault: port.FaultOf(err)}
}

func (n *Node) answerJoin(ctx context.Context, r request) response {
	if n.inst.Load() != nil {
		return response{} // said twice
	}
	o := joinOrder{clusterID: r.ClusterID, epoch: r.Epoch, arrival: r.Arrival, reply: make(chan error, 1)}
	select {
	case n.joined <- o:
		return faulty(<-o.reply)
	case <-ctx.Done():
		return faulty(ctx.Err())
	}
}

// answerRejoin has this node start from nothing, since its data is an older copy: what it has forgotten are its votes.
func (n *Node) answerRejoin(ctx context.Context, theirs greeting, r request) response {
	if id := n.ident(); r.ClusterID != id.ClusterID || r.Body == nil || string(r.Body) != id.Incarnation || compareEpochs(r.Epoch, id.Epoch) < 0 {
		return response{Fault: "that is not about what it has now"}
	}
	return faulty(n.change(ctx, func() error {
		n.log.Warn("the data folder of this node is an older copy that was put back: putting it aside and starting from nothing", "member", theirs.NodeID)
		if err := n.pauseRaft(); err != nil {
			n.fail(err)
			return err
		}
		_, err := n.archiveState()
		if err == nil { // what an older copy knows of the others' folders is as old as the rest of it
			err = n.changeIdentity(func(id *identity) { id.Seen = nil })
		}
		if err == nil {
			err = n.wipe()
		}
		if err != nil {
			n.fail(err)
		}
		return err
	}))
}

// answerPropose stamps a forwarded command with this node's own term.
func (n *Node) answerPropose(ctx context.Context, r request) response {
	t := n.term.Load()
	if t == nil {
		return response{Fault: port.FaultNotLeader}
	}
	return answerOf(port.Carry(ctx, r.Command, t.propose))
}
