package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

// errResigned: the term was given away by this node itself.
var errResigned = errors.New("it was handed over")

// heir names the member to hand over to: a candidate in contact, the Primary rather than another. Without one it says why.
func (n *Node) heir() (nodeID, why string) {
	why = "there is no other member that may lead"
	for _, m := range n.cfg.Members {
		if m.NodeID == n.cfg.NodeID {
			continue
		}
		if err := n.fit(m.NodeID); err != nil {
			why = err.Error()
			continue
		}
		if nodeID == "" || m.Role == cluster.Primary {
			nodeID = m.NodeID
		}
	}
	return nodeID, why
}

// fit says why the member may not be handed leadership.
func (n *Node) fit(nodeID string) error {
	p := n.peers[nodeID]
	if s := n.stall(); s.Text != "" { // also the handover is a write
		return s
	}
	switch {
	case nodeID == n.cfg.NodeID:
		return fmt.Errorf("%s is this node", nodeID)
	case p == nil:
		return fmt.Errorf("%s is no member: correct the name", nodeID)
	case n.replica.state.InMaintenance(nodeID):
		return fmt.Errorf("%s is in maintenance: end that first", nodeID)
	case !p.fresh():
		return fmt.Errorf("%s is out of contact: start it, or mend the network", nodeID)
	case !p.ready():
		return fmt.Errorf("%s does not reach etcd: mend the network between the two", nodeID)
	}
	return nil
}

// anotherCould reports whether a member in contact could lead in place of this one.
func (n *Node) anotherCould() bool {
	id, _ := n.heir()
	return id != ""
}

// handOver gives leadership to target. lead has returned. On success the term is over.
func (n *Node) handOver(ctx context.Context, t *term, target string, why cluster.Reason) error {
	ctx, cancel := context.WithTimeout(ctx, handoverTimeout)
	defer cancel()
	err := n.fit(target)
	if err == nil {
		err = t.resign(ctx, target, why)
	}
	if err == nil {
		n.log.Info("leadership was handed over", "to", target)
	} else {
		err = fmt.Errorf("hand over to %s: %w", target, err)
	}
	if n.cfg.OnHandover != nil {
		n.cfg.OnHandover(why.Cause, err)
	}
	return err
}

// resign deletes the leader's key behind everything that was proposed before.
func (t *term) resign(ctx context.Context, to string, why cluster.Reason) error {
	h := handoverValue{From: t.node.cfg.NodeID, To: to, Cause: why.Cause, Text: why.Text, Until: time.Now().UTC().Add(handoverFor)}
	p := &proposal{ctx: ctx, resign: &h, reply: make(chan answer, 1)}
	select {
	case t.queue <- p:
	case <-t.tenure.ctx.Done():
		return cluster.ErrTermOver
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case a := <-p.reply:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leadEnded deals with a lead that returned although this node still leads: another one takes over if one can, else this node goes on
// after a pause.
func (n *Node) leadEnded(ctx context.Context, t *term, err error, ran time.Duration) {
	n.log.Debug("the work of this term ended early", "error", err)
	wait, cancel := context.WithCancel(t.tenure.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	may := n.mayLead()
	if ran < leadAgain && may && !pause(wait, leadAgain) {
		return
	}
	target, why := n.heir()
	if target == "" {
		if may {
			n.log.Warn("the work of this term ended early and no other node can take over: starting it again", "error", err, "reason", why)
		}
		return
	}
	because := cluster.Reason{Cause: cluster.CauseWork, Text: n.cfg.NodeID + " could not do the work"}
	if !may {
		because = cluster.Reason{Cause: cluster.CauseMaintenance, Text: n.cfg.NodeID + " is in maintenance"}
	}
	if err := n.handOver(wait, t, target, because); err != nil && t.tenure.ctx.Err() == nil {
		n.log.Warn("the work of this term ended early, and the handover did not succeed", "to", target, "error", err)
		pause(wait, leadAgain)
	}
}

// leaveOffice gives leadership away before this node stops.
func (n *Node) leaveOffice(t *term) {
	ctx, cancel := context.WithTimeout(context.Background(), handoverTimeout)
	defer cancel()
	why := cluster.Reason{Cause: cluster.CauseStop, Text: n.cfg.NodeID + " was stopped"}
	target, _ := n.heir()
	var err error
	if target == "" { // whoever comes may lead at once
		err = t.resign(ctx, "", why)
	} else {
		err = n.handOver(ctx, t, target, why)
	}
	if err != nil {
		n.log.Warn("stopping without a handover", "to", target, "error", err)
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
		if s := n.stall(); s.Text != "" {
			return s
		}
		before := n.replica.state.Token()
		err := n.orderTransfer(ctx, nodeID, why)
		if err == nil {
			return n.awaitTerm(ctx, nodeID, before)
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
	if !ok || leader == n.cfg.NodeID {
		return errNoTerm
	}
	resp, err := n.ask(ctx, leader, request{Op: opTransfer, Target: nodeID, Reason: why})
	switch {
	case errors.Is(err, port.ErrNotSent):
		return errNoTerm
	case err != nil:
		return fmt.Errorf("ask %s to hand over: %w", leader, err)
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
	if err := t.node.fit(nodeID); err != nil { // said before lead is stopped for nothing
		return err
	}
	o := order{ctx: ctx, target: nodeID, why: why, reply: make(chan error, 1)}
	select {
	case t.orders <- o:
	case <-t.tenure.ctx.Done():
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

// awaitTerm returns once a TermStart of the node, later than before, is committed here.
func (n *Node) awaitTerm(ctx context.Context, nodeID string, before state.Token) error {
	for {
		changed := n.replica.keys().changed
		if n.leads(nodeID) && n.replica.state.Token().Compare(before) > 0 {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(lookOwn): // what this node itself does, no key tells
		case <-ctx.Done():
			return fmt.Errorf("wait for the first term of %s: %w", nodeID, ctx.Err())
		}
	}
}

// lookOwn is how often a node that waits for its own lead looks.
const lookOwn = 5 * time.Millisecond

// leads reports whether the node leads, as far as is known here, its TermStart committed.
func (n *Node) leads(nodeID string) bool {
	if n.replica.state.Leader() != nodeID {
		return false
	}
	if nodeID == n.cfg.NodeID {
		t := n.term.Load()
		return t != nil && t.leading.Load()
	}
	leader, ok := n.leader()
	return ok && leader == nodeID
}
