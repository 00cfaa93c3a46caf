package raftnode

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
)

// View is what this node knows now, perhaps stale.
func (n *Node) View() cluster.View {
	v := cluster.View{NodeID: n.cfg.NodeID, State: n.fsm.state, Token: n.fsm.state.Token()}
	if m, ok := n.leader(); ok {
		v.Leader = m.NodeID
	}
	if t := n.term.Load(); t != nil {
		v.Leading = t.leading.Load() && t.ctx.Err() == nil
	}
	n.mu.Lock()
	v.Waiting = cmp.Or(n.waiting, n.holding)
	v.Start, v.CleanStart = n.identity.Start, n.cleanStart
	v.Archives = slices.Clone(n.archives)
	alarms := slices.Concat(slices.Sorted(maps.Values(n.alarms)), slices.Sorted(maps.Values(n.unlike)))
	n.mu.Unlock()
	for _, p := range n.peers {
		if p.twin() {
			alarms = append(alarms, p.NodeID+": two processes of that name are about: stop the one that was cloned")
		}
	}
	v.Outlook = n.outlook()
	servers := n.servers()
	for _, m := range n.known() {
		mv := n.memberView(m, suffrage(servers, m.NodeID))
		if mv.Space != "" {
			alarms = append(alarms, m.NodeID+": "+mv.Space+"; when it is full that node stops")
		}
		v.Members = append(v.Members, mv)
	}
	alarms = append(alarms, n.shareAlarms()...)
	v.Alarm = strings.Join(alarms, "; ")
	return v
}

func (n *Node) memberView(m cluster.Member, suffrage string) cluster.MemberView {
	mv := cluster.MemberView{Member: m, Suffrage: suffrage}
	if m.NodeID == n.cfg.NodeID {
		mv.LastContact, mv.Version, mv.Space, mv.Slow = time.Now().UTC(), n.cfg.Version, n.noSpace(), n.slow.now(time.Now())
		id := n.ident()
		mv.Epoch, mv.Start = id.Epoch, id.Start
		if i := n.inst.Load(); i != nil {
			mv.Applied = i.raft.AppliedIndex()
		}
		return mv
	}
	if p := n.peers[m.NodeID]; p != nil {
		k := p.now()
		mv.LastContact, mv.Applied, mv.Version = k.seen.UTC(), k.Applied, k.Version
		mv.Fault, mv.Epoch, mv.Start = k.fault, k.Epoch, k.Start
		if k.fresh() {
			mv.Space, mv.Slow = k.Space, k.Slow
		}
		if k.seen.IsZero() {
			mv.LastContact = time.Time{}
		}
	}
	return mv
}

// Health is what the watchdogs know.
func (n *Node) Health() cluster.Health {
	h := cluster.Health{StoreWrite: time.Duration(n.store.lastWrite.Load()), ElectionLost: n.led.losses(), Slow: n.slow.now(time.Now())}
	if err := n.store.trouble(); err != nil {
		h.StoreFault = err.Error()
	}
	if at := n.fsm.applied.Load(); at != 0 {
		h.LastCommit = time.Unix(0, at).UTC()
	}
	if t := n.term.Load(); t != nil {
		h.LeaderSince = t.since
	}
	if i := n.inst.Load(); i != nil {
		h.CommitIndex, h.Applied = i.raft.CommitIndex(), i.raft.AppliedIndex()
	}
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter {
			h.Voters++
		}
	}
	return h
}
