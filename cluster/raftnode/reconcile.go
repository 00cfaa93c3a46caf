package raftnode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// changeTimeout bounds how long one change of membership waits for the one before it.
const changeTimeout = 2 * time.Second

// reconcile brings the members of the leader's file into the cluster, while the term lasts: first
// without a vote, with one once they have caught up, since a voter that lacks everything still counts
// for what a majority is. A member that was wiped has forgotten its votes, so its vote is taken away
// before it may come back.
func (n *Node) reconcile(ctx context.Context, t *term) {
	said := map[string]string{}
	for len(n.peers) > 0 && n.beat(ctx, lookingEvery) {
		for _, m := range n.cfg.Members {
			p := n.peers[m.NodeID]
			if p == nil {
				continue
			}
			err := n.reconcileMember(ctx, t, p)
			if ctx.Err() != nil {
				return
			}
			what := ""
			if err != nil {
				what = strings.ReplaceAll(err.Error(), "\n", "; ") // errors.Join has a line for each
			}
			if what != said[m.NodeID] && what != "" {
				n.log.Warn("a member cannot be taken in yet", "member", m.NodeID, "reason", what)
			}
			said[m.NodeID] = what
		}
	}
}

func (n *Node) reconcileMember(ctx context.Context, t *term, p *peer) error {
	k := p.now()
	if g, ok := p.older(); ok {
		return n.replaceOlder(ctx, t, p, g)
	}
	if !k.fresh() || k.fault != "" {
		return nil // peers.go says who is away
	}
	if !k.Empty && k.Epoch != t.token.Epoch {
		return nil // one of the two yields first
	}
	id, address := raft.ServerID(p.NodeID), raft.ServerAddress(p.ClusterAddress)
	has, at := suffrage(n.servers(), p.NodeID), addressOf(n.servers(), p.NodeID)
	r := t.inst.raft
	switch {
	case has == "voter" && !k.Empty && at == address:
		return nil
	case n.foreign(k.greeting):
		return errForeign
	case has == "none":
		n.log.Info("taking in a member", "member", p.NodeID)
		return n.changed(ctx, r.AddNonvoter(id, address, 0, changeTimeout), "add")
	case has == "voter" && !k.Empty && !t.parting.Load():
		n.log.Info("a member has another address", "member", p.NodeID, "address", address, "before", at)
		return n.changed(ctx, r.AddVoter(id, address, 0, changeTimeout), "move")
	}
	// What was heard may be older than what was done since: ask again before acting on it.
	resp, err := n.ask(ctx, p.Member, request{Op: opStatus})
	if err != nil {
		return fmt.Errorf("ask it how far it is: %w", deepest(err))
	}
	g := resp.Greeting
	switch {
	case g.Empty && has == "voter":
		n.log.Warn("a member came back without its data: it has no vote until it has caught up", "member", p.NodeID)
		return n.changed(ctx, r.DemoteVoter(id, 0, changeTimeout), "demote")
	case g.Empty && !g.Ready:
		return n.tellJoin(ctx, t, p)
	case !g.Empty && has == "nonvoter" && !t.parting.Load() && n.caughtUp(t, p, g):
		n.log.Info("a member has caught up and votes now", "member", p.NodeID)
		p.promotedNow()
		return n.changed(ctx, r.AddVoter(id, address, 0, changeTimeout), "promote")
	}
	return nil
}

// caughtUp: it has all but the last few entries, and those since its vote was taken: a disk that takes nothing more is near
// the end of an idle log, too.
func (n *Node) caughtUp(t *term, p *peer, g greeting) bool {
	r := t.inst.raft
	return g.Applied+caughtUp >= r.LastIndex() && g.Applied >= t.began && p.mayReturn(g.Applied)
}

// replaceOlder deals with a member whose data folder is an older copy that was put back: it has forgotten votes and entries, so
// it has no vote and is told to start from nothing.
func (n *Node) replaceOlder(ctx context.Context, t *term, p *peer, g greeting) error {
	if suffrage(n.servers(), p.NodeID) == "voter" {
		n.log.Warn("a member came back with an older copy of its data: it has no vote until it has caught up", "member", p.NodeID)
		return n.changed(ctx, t.inst.raft.DemoteVoter(raft.ServerID(p.NodeID), 0, changeTimeout), "demote")
	}
	resp, err := n.ask(ctx, p.Member, request{Op: opRejoin, ClusterID: n.ident().ClusterID, Epoch: t.token.Epoch, Body: []byte(g.Incarnation)})
	if err != nil {
		return fmt.Errorf("tell it to start from nothing: %w", deepest(err))
	}
	if resp.Fault != "" {
		return fmt.Errorf("tell it to start from nothing: %s", resp.Fault)
	}
	p.replaced()
	return nil
}

// changed waits for a change of membership. Those that only came at a bad moment are tried again.
func (n *Node) changed(ctx context.Context, f raft.Future, what string) error {
	err := n.settle(ctx, f)
	for _, passing := range []error{raft.ErrEnqueueTimeout, raft.ErrNotLeader, raft.ErrLeadershipLost, raft.ErrLeadershipTransferInProgress} {
		if errors.Is(err, passing) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// tellJoin tells an empty member that it is in the configuration now, and may start raft. Until it has all that was committed by
// then, this configuration included, it must not act on what it has.
func (n *Node) tellJoin(ctx context.Context, t *term, p *peer) error {
	id, conf, committed := n.ident(), t.inst.raft.GetConfiguration().Index(), t.inst.raft.CommitIndex()
	if conf > committed {
		return nil
	}
	resp, err := n.ask(ctx, p.Member, request{Op: opJoin, ClusterID: id.ClusterID, Epoch: n.fsm.state.Token().Epoch, Arrival: committed})
	if err != nil {
		return fmt.Errorf("tell it to join: %w", err)
	}
	if resp.Fault != "" {
		return fmt.Errorf("tell it to join: %s", resp.Fault)
	}
	return nil
}

// suffrage is "voter", "nonvoter" or "none".
func suffrage(servers []raft.Server, nodeID string) string {
	for _, s := range servers {
		if string(s.ID) != nodeID {
			continue
		}
		if s.Suffrage == raft.Voter {
			return "voter"
		}
		return "nonvoter"
	}
	return "none"
}

func addressOf(servers []raft.Server, nodeID string) raft.ServerAddress {
	for _, s := range servers {
		if string(s.ID) == nodeID {
			return s.Address
		}
	}
	return ""
}

// errForeign: only a person can tell which of the two clusters is the right one.
var errForeign = errors.New("it belongs to another cluster: stop the node whose data is not wanted, move its data folder away, and start it again")

// foreign reports whether the greeting comes from a member of another cluster.
func (n *Node) foreign(g greeting) bool {
	own := n.greeting()
	return g.ClusterID != "" && own.ClusterID != "" && g.ClusterID != own.ClusterID
}

// meet records what a member answered. A call that came in is not recorded: that the member reaches
// this node does not say that this node reaches it.
func (n *Node) meet(g greeting) {
	if p := n.peers[g.NodeID]; p != nil && !n.meetPeer(p, g) {
		return
	}
	n.suspect(g)
}

// meetPeer reports whether the greeting is news: what two connections brought may be looked at in another order than it was said.
func (n *Node) meetPeer(p *peer, g greeting) bool {
	p.meeting <- struct{}{}
	defer func() { <-p.meeting }()
	if g.Process == p.heard.Process && g.Serial < p.heard.Serial {
		return false
	}
	p.heard = g
	if older := n.sight(p, g); older != "" {
		p.noteOlder(g, older)
	} else {
		p.note(g)
	}
	return true
}

// suspect raises or clears the alarms about foreign clusters and about other settings.
func (n *Node) suspect(g greeting) {
	n.compare(g)
	foreign, text := n.foreign(g), fmt.Sprintf("%s: %v", g.NodeID, errForeign)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case foreign && n.alarms[g.NodeID] != text:
		n.log.Error("a member belongs to another cluster: nothing is exchanged with it, and neither side is wiped", "member", g.NodeID, "cluster", g.ClusterID, "own", n.identity.ClusterID,
			"do", "stop the node whose data is not wanted, move its data folder away, and start it again")
		n.alarms[g.NodeID] = text
	case !foreign:
		delete(n.alarms, g.NodeID)
	}
}
