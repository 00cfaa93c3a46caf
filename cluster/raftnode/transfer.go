package raftnode

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
)

// caughtUp is how many entries a member may be behind and still be sent all it lacks at once.
const caughtUp = 64

// heir names the member to hand over to: a voter in contact that is caught up, no witness, the
// Primary rather than another. Without one it says why.
func (n *Node) heir(t *term) (nodeID, why string) {
	return n.heirBy(func(nodeID string) error { return n.fit(t, nodeID) })
}

// heirNow is heir for who will not look again.
func (n *Node) heirNow(ctx context.Context, t *term) (nodeID, why string) {
	return n.heirBy(func(nodeID string) error { return n.fitNow(ctx, t, nodeID) })
}

func (n *Node) heirBy(fit func(nodeID string) error) (nodeID, why string) {
	why = "there is no other member that may lead"
	for _, m := range n.cfg.Members {
		if m.NodeID == n.cfg.NodeID || m.Role == cluster.Witness {
			continue
		}
		if err := fit(m.NodeID); err != nil {
			why = err.Error()
			continue
		}
		if nodeID == "" || m.Role == cluster.Primary {
			nodeID = m.NodeID
		}
	}
	return nodeID, why
}

// fit says why the member may not be handed leadership. raft itself would try with any, and a
// transfer to one that lags, or has no vote, can leave the leader refusing all proposals for ever.
func (n *Node) fit(t *term, nodeID string) error {
	m, ok := n.cfg.member(nodeID)
	p := n.peers[nodeID]
	switch {
	case !ok:
		return fmt.Errorf("%s is no member: correct the name", nodeID)
	case p == nil:
		return fmt.Errorf("%s is this node", nodeID)
	case m.Role == cluster.Witness:
		return fmt.Errorf("%s is a witness, which never leads", nodeID)
	case n.fsm.state.InMaintenance(nodeID):
		return fmt.Errorf("%s is in maintenance: end that first", nodeID)
	}
	k := p.now()
	if !k.fresh() || k.fault != "" { // a pair has taken its vote away, too
		return fmt.Errorf("%s is out of contact: start it, or mend the network", nodeID)
	}
	if suffrage(n.servers(), nodeID) != "voter" {
		return fmt.Errorf("%s has no vote yet: wait until it has caught up", nodeID)
	}
	// Of a wiped voter raft does not know yet that it lacks everything.
	if k.Empty || !k.Ready {
		return fmt.Errorf("%s has lost its data: wait until it has caught up", nodeID)
	}
	if applied := t.inst.raft.AppliedIndex(); k.Applied+caughtUp < applied {
		return fmt.Errorf("%s has applied entry %d of %d: %w", nodeID, k.Applied, applied, errBehind)
	}
	return nil
}

var errBehind = errors.New("wait until it has caught up")

// fitNow is fit, but asks a member that seems to be behind, for a moment: what is known of it is half a second old, in which hundreds of
// entries are written, and it is being sent what it lacks.
func (n *Node) fitNow(ctx context.Context, t *term, nodeID string) error {
	err := n.fit(t, nodeID)
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	for errors.Is(err, errBehind) {
		m, _ := n.cfg.member(nodeID)
		if _, unasked := n.ask(ctx, m, request{Op: opStatus}); unasked != nil {
			break
		}
		if err = n.fit(t, nodeID); errors.Is(err, errBehind) && !pause(ctx, retryTerm) {
			break
		}
	}
	return err
}

// handOver makes target the leader. lead has returned. On success the term is over.
func (n *Node) handOver(ctx context.Context, t *term, target string, why cluster.Reason) error {
	err := n.tryHandOver(ctx, t, target, why)
	if n.cfg.OnHandover != nil {
		n.cfg.OnHandover(why.Cause, err)
	}
	return err
}

func (n *Node) tryHandOver(ctx context.Context, t *term, target string, why cluster.Reason) error {
	ctx, cancel := context.WithTimeout(ctx, handoverTimeout)
	defer cancel()
	if err := n.fitNow(ctx, t, target); err != nil {
		return err
	}
	m, _ := n.cfg.member(target)
	// What is known of it may be a second old. The last few entries are sent by raft itself.
	if _, err := n.ask(ctx, m, request{Op: opSucceed, Reason: why}); err != nil {
		return fmt.Errorf("hand over to %s: %w", target, err)
	}
	if err := n.fit(t, target); err != nil {
		return err
	}
	if err := n.abdicate(ctx, t, m); err != nil {
		// Who was told to stand for election does so without regard to this node's lease: it may lead already.
		if t.inst.transport.named.Load() {
			n.led.end()
			n.rebuildSoon("it is not known whether " + target + " leads already")
		}
		return fmt.Errorf("hand over to %s: %w", target, err)
	}
	n.log.Info("leadership was handed over", "to", target)
	return nil
}

func (n *Node) abdicate(ctx context.Context, t *term, heir cluster.Member) error {
	t.inst.transport.named.Store(false)
	f := t.inst.raft.LeadershipTransferToServer(raft.ServerID(heir.NodeID), raft.ServerAddress(heir.ClusterAddress))
	if err := n.settle(ctx, f); err != nil {
		return err
	}
	// raft's answer means that this node has left office, not yet that it was told so.
	select {
	case <-t.ctx.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Transfer hands leadership to the named node, from any node; see cluster.Coordinator.
func (n *Node) Transfer(ctx context.Context, nodeID string, why cluster.Reason) error {
	if _, ok := n.cfg.member(nodeID); !ok {
		return fmt.Errorf("%s is no member: correct the name", nodeID)
	}
	for {
		if n.leads(nodeID) {
			return nil
		}
		before := n.fsm.state.Token()
		err := n.orderTransfer(ctx, nodeID, why)
		if err == nil {
			return n.awaitTerm(ctx, nodeID, before.Term)
		}
		if !errors.Is(err, errNoTerm) {
			return err
		}
		if !pause(ctx, retryPropose) {
			return fmt.Errorf("%w: %w", cluster.ErrNoLeader, ctx.Err())
		}
	}
}

// errNoTerm: the node that was asked has no term that it could hand over.
var errNoTerm = errors.New("no term to hand over")

// orderTransfer has the leader hand over, here or elsewhere.
func (n *Node) orderTransfer(ctx context.Context, nodeID string, why cluster.Reason) error {
	if t := n.term.Load(); t != nil {
		return t.transfer(ctx, nodeID, why)
	}
	leader, ok := n.leader()
	if !ok || leader.NodeID == n.cfg.NodeID {
		return errNoTerm
	}
	resp, err := n.ask(ctx, leader, request{Op: opTransfer, Target: nodeID, Reason: why})
	switch {
	case errors.Is(err, port.ErrNotSent):
		return errNoTerm
	case err != nil:
		return fmt.Errorf("ask %s to hand over: %w", leader.NodeID, err)
	case resp.Fault == port.FaultNotLeader:
		return errNoTerm
	case resp.Fault != "":
		return errors.New(resp.Fault)
	}
	return nil
}

// transfer asks the term's goroutine to hand over.
func (t *term) transfer(ctx context.Context, nodeID string, why cluster.Reason) error {
	if nodeID == t.node.cfg.NodeID && t.node.mayLead() {
		return errNoTerm // it leads already, or is about to
	}
	// Said before lead is stopped for nothing.
	if err := t.node.fitNow(ctx, t, nodeID); err != nil {
		return err
	}
	o := order{ctx: ctx, target: nodeID, why: why, reply: make(chan error, 1)}
	select {
	case t.orders <- o:
	case <-t.ctx.Done():
		return errNoTerm
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-o.reply:
		if errors.Is(err, cluster.ErrTermOver) {
			return errNoTerm
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitTerm returns once a TermStart of the node, later than term, is committed here.
func (n *Node) awaitTerm(ctx context.Context, nodeID string, term uint64) error {
	for !n.leads(nodeID) || n.fsm.state.Token().Term <= term {
		if !pause(ctx, retryPropose) {
			return fmt.Errorf("wait for the first term of %s: %w", nodeID, ctx.Err())
		}
	}
	return nil
}

// leads reports whether the node leads, as far as is known here, its TermStart committed.
func (n *Node) leads(nodeID string) bool {
	if n.fsm.state.Leader() != nodeID {
		return false
	}
	if nodeID == n.cfg.NodeID {
		t := n.term.Load()
		return t != nil && t.leading.Load()
	}
	leader, ok := n.leader()
	return ok && leader.NodeID == nodeID
}
