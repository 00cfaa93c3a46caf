package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"scomconnector/cluster"
)

// handNotice is how long the page speaks of keys that were changed by hand.
const handNotice = 2 * time.Minute

// learned is called after each news of the watch: a term whose key is gone, or another's, is over.
func (n *Node) learned() {
	t := n.term.Load()
	if t == nil {
		return
	}
	if k := n.replica.keys(); k.revision >= t.created && (k.leader == nil || k.leader.Create != t.created) {
		why := errNotOurs
		if t.resigning.Load() {
			why = errResigned
		}
		t.tenure.end(why)
	}
}

// View is what this node knows now, perhaps stale.
func (n *Node) View() cluster.View {
	s := n.replica.state
	v := cluster.View{NodeID: n.cfg.NodeID, State: s, Token: s.Token()}
	v.Leader, _ = n.leader()
	v.Stall = n.stall()
	if t := n.term.Load(); t != nil {
		v.Leading = t.leading.Load() && t.tenure.left() > 0
	}
	k := n.replica.keys()
	stillLeads := k.leader == nil && n.mayLeadStill(k.vacated)
	n.replica.mu.Lock()
	alarms := []string{n.replica.damaged}
	n.replica.mu.Unlock()
	silent, held := n.silent(), decodeValue[leaderValue](k.leader)
	gone := k.leader != nil && n.restartedSince(held, k.leaderAt)
	if gone { // the key is of a process that works no more
		v.Leader = ""
	}
	n.mu.Lock()
	v.Start, v.CleanStart = n.identity.Start, n.cleanStart
	switch {
	case n.trouble != "":
		v.Waiting, v.Do = n.trouble, n.doing
	case !k.synced:
		v.Waiting, v.Do = "reading what stands in etcd", "nothing yet: it has just begun"
	case n.usesOurName(decodeValue[leaderValue](k.leader)):
		v.Waiting, v.Do = "the lease of a process of this node that led has not ended", fmt.Sprintf("nothing: it ends within %v", decodeValue[leaderValue](k.leader).ttl(n.cfg.TTL))
	case gone:
		v.Waiting, v.Do = "the process of "+held.Node+" that led is gone, and its lease has not ended", fmt.Sprintf("nothing: a node leads within %v", held.ttl(n.cfg.TTL))
	case stillLeads:
		v.Waiting, v.Do = "the leader's key is gone before its time, and its leader may go on until its lease has ended", fmt.Sprintf("nothing: another node leads after %v at most", k.vacated.by.ttl(n.cfg.TTL))
	case v.Leader == "" && !n.contact.IsZero() && time.Since(n.contact) >= n.cfg.TTL:
		v.Waiting, v.Do = silent, mendEtcd
	case v.Leader == "":
		v.Waiting, v.Do = "nobody holds the leader's lease in etcd", "nothing yet: a node takes it within seconds; if that lasts, look whether the Primary or the Secondary runs and is not in maintenance"
	}
	if n.lasting {
		alarms = append(alarms, n.trouble)
	}
	if n.wrong != "" && n.trouble == "" && time.Since(n.wrongAt) < handNotice {
		v.Notice = n.wrong
	}
	n.mu.Unlock()
	if l := decodeValue[leaderValue](k.leader); n.usesOurName(l) && n.inContact() && time.Since(k.leaderAt) > 2*max(n.cfg.TTL, l.ttl(0)) {
		alarms = append(alarms, fmt.Sprintf("another process called %s leads: stop the one that was cloned", l.Node))
	}
	var told []string
	for _, a := range alarms {
		if a != "" {
			told = append(told, a)
		}
	}
	v.Alarm = strings.Join(told, "; ")
	v.Outlook.Refusal = "etcd decides who leads: nobody can take over by force; while it has no majority, mend it"
	for _, m := range n.cfg.Members {
		v.Members = append(v.Members, n.memberView(m))
	}
	return v
}

// restartedSince reports whether the member that holds the leadership has shown, after that was seen, that it is another process now.
func (n *Node) restartedSince(held leaderValue, at time.Time) bool {
	p := n.peers[held.Node]
	if p == nil || !p.fresh() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.After(at) && p.last.Process != "" && p.last.Process != held.Process
}

func (n *Node) memberView(m cluster.Member) cluster.MemberView {
	mv := cluster.MemberView{Member: m, Suffrage: "none"}
	if m.NodeID == n.cfg.NodeID {
		g := n.greeting()
		mv.LastContact, mv.Version, mv.Epoch, mv.Start, mv.Applied = time.Now().UTC(), g.Version, g.Epoch, g.Start, g.Applied
		if g.Ready {
			mv.Suffrage = "candidate"
		}
		return mv
	}
	p := n.peers[m.NodeID]
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.last
	mv.Version, mv.Epoch, mv.Start, mv.Applied, mv.Fault = g.Version, g.Epoch, g.Start, g.Applied, p.fault
	if !p.seen.IsZero() {
		mv.LastContact = p.seen.UTC()
	}
	if g.Ready {
		mv.Suffrage = "candidate"
	}
	return mv
}

// Health is what the watchdogs know.
func (n *Node) Health() cluster.Health {
	h := cluster.Health{StoreWrite: time.Duration(n.took.Load()), ElectionLost: n.lost.Load(), Endpoints: n.kv.Endpoints()}
	n.replica.mu.Lock()
	if at := n.replica.applied; !at.IsZero() {
		h.LastCommit = at.UTC()
	}
	h.CommitIndex, h.Applied = uint64(n.replica.newest), uint64(n.replica.newest)
	n.replica.mu.Unlock()
	h.Lease.TTL = n.cfg.TTL
	if t := n.term.Load(); t != nil {
		h.LeaderSince = t.since
		h.Lease.Left = t.tenure.left()
	}
	if n.inContact() {
		h.Voters++
	}
	for _, p := range n.peers {
		if p.fresh() && p.ready() {
			h.Voters++
		}
	}
	return h
}

// TakeOver is always refused; see cluster.Members.
func (n *Node) TakeOver(context.Context, string, bool) error {
	if leader, ok := n.leader(); ok {
		return fmt.Errorf("%w: %s", cluster.ErrLeaderAlive, leader)
	}
	return errors.New(n.View().Outlook.Refusal)
}

// Remove has nothing to do: the members are those of node.json; see cluster.Members.
func (n *Node) Remove(_ context.Context, nodeID string) error {
	if _, named := n.cfg.member(nodeID); named {
		return fmt.Errorf("%s is still in Members of %s: take it out of every node.json, and restart one node at a time", nodeID, n.cfg.NodeID)
	}
	return fmt.Errorf("%s is no member: with an etcd the members are those of node.json, and there is nothing to remove", nodeID)
}
