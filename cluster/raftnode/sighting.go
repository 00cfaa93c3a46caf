package raftnode

import (
	"fmt"
	"reflect"
	"slices"
	"time"
)

// sighting is what a node knows of another one's data folder: enough to notice an older copy of it, and two copies at once.
type sighting struct {
	Incarnation string
	Start       uint64 // the highest
	Process     string // of that start
	// Past are incarnations before this one, newest last: what comes back with one of them was put aside once.
	Past []string
	// Knows is the newest command that its program could apply, and Version that program's; 0 and empty: not known.
	Knows   byte   `json:",omitempty"`
	Version string `json:",omitempty"`
}

// maxPast bounds Past. A folder changes its incarnation when it is wiped or taken in.
const maxPast = 16

// after is the sighting of a greeting that is no older copy.
func (s sighting) after(g greeting) sighting {
	now := sighting{g.Incarnation, g.Start, g.Process, s.Past, g.Knows, g.Version}
	if s.Incarnation != "" && s.Incarnation != g.Incarnation {
		now.Past = append(slices.Clone(s.Past), s.Incarnation)
		now.Past = slices.DeleteFunc(now.Past, func(id string) bool { return id == g.Incarnation })
		now.Past = now.Past[max(0, len(now.Past)-maxPast):]
	}
	return now
}

// older says why the greeting comes from a copy of a data folder that has been put back; empty: it does not. held is the highest log
// index that this node has known the folder to hold.
func (s sighting) older(g greeting, held uint64) string {
	if g.Empty {
		return ""
	}
	switch {
	case slices.Contains(s.Past, g.Incarnation):
		return "it was wiped, or taken in anew, since that copy was made"
	case s.Incarnation == "" || g.Incarnation != s.Incarnation:
		return ""
	case g.Start < s.Start:
		return fmt.Sprintf("it is at its start number %d, and was at %d before", g.Start, s.Start)
	case g.Start == s.Start && g.Process != s.Process:
		return fmt.Sprintf("its start number %d was another process's before", g.Start)
	case g.LastIndex < held:
		return fmt.Sprintf("its log ends at entry %d, and it has had %d", g.LastIndex, held)
	}
	return ""
}

// rivalFor is how long the alarm about two nodes of one name stands after the last sign of the second one.
const rivalFor = time.Minute

// sight keeps what a member says of its data folder, and says why it is an older copy, if it is one. Only what this node was
// answered counts.
func (n *Node) sight(p *peer, g greeting) (older string) {
	s := n.ident().Seen[p.NodeID]
	if older = s.older(g, p.heldBy(g)); older != "" && !n.convinced(p, g) {
		return older
	}
	p.believe()
	if g.Incarnation == "" || reflect.DeepEqual(s, s.after(g)) {
		return ""
	}
	err := n.changeIdentity(func(id *identity) {
		if id.Seen == nil {
			id.Seen = map[string]sighting{}
		}
		id.Seen[p.NodeID] = id.Seen[p.NodeID].after(g)
	})
	if err != nil { // the disk tells others of its trouble; this is kept at the next change
		n.log.Debug("what is known of a member was not kept", "member", p.NodeID, "error", err)
	}
	return ""
}

// doubtFor is how long an older copy must have followed a leader, or led, before a node that is not the leader believes it.
const doubtFor = 10 * time.Second

// convinced ends a doubt that the leader does not share: not every node sees each start of every other one, and the leader, which puts
// older copies aside, has let this one be. It must have been with a leader for a while, and have all that this node has.
func (n *Node) convinced(p *peer, g greeting) bool {
	i := n.inst.Load()
	if since := p.doubtedSince(); since < doubtFor || g.Leader == "" || i == nil || g.Applied < i.raft.LastIndex() {
		return false
	}
	p.log.Info("a member that seemed to be an older copy has caught up with the others: it is believed again")
	return true
}

// doubtful says why a greeting must not be taken for the member's: it is an older copy, or a second process of that name.
func (n *Node) doubtful(g greeting) string {
	p := n.peers[g.NodeID]
	if p == nil {
		return ""
	}
	if rival := n.rival(g); rival != "" { // a clone's folder may look older, too
		return rival
	}
	if older := n.ident().Seen[g.NodeID].older(g, p.heldBy(g)); older != "" {
		return "its data folder is an older copy that was put back: " + older
	}
	return ""
}

// rival says, and notes, that another process of the greeting's name is in contact at this moment; empty: none is.
func (n *Node) rival(g greeting) string {
	if !n.rivals(g) {
		return ""
	}
	n.peers[g.NodeID].noteRival(g)
	return "another process called " + g.NodeID + " is in contact: was the machine or its data folder cloned?"
}

func (n *Node) rivals(g greeting) bool {
	p := n.peers[g.NodeID]
	if p == nil {
		return false
	}
	k := p.now()
	return k.fresh() && k.fault == "" && k.Process != "" && g.Process != k.Process
}

// heldBy is the highest log index that the folder of the greeting is known to have held; 0 for another folder.
func (p *peer) heldBy(g greeting) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.Incarnation != p.last.Incarnation {
		return 0
	}
	return p.held
}

// noteOlder records an answer from an older copy of the member's folder: it is out of contact until it was replaced.
func (p *peer) noteOlder(g greeting, why string) {
	p.mu.Lock()
	p.oldCopy, p.oldAt = g, time.Now()
	p.mu.Unlock()
	p.fail(fmt.Errorf("its data folder is an older copy that was put back: %s", why))
}

// doubtedSince is for how long its answers have been an older copy's, this one included.
func (p *peer) doubtedSince() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doubtAt.IsZero() {
		p.doubtAt = time.Now()
	}
	return time.Since(p.doubtAt)
}

// believe ends all doubts about it.
func (p *peer) believe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.doubtAt.IsZero() {
		p.doubtAt, p.held = time.Time{}, 0
	}
}

// older is the newest answer of an older copy, while it goes on answering.
func (p *peer) older() (greeting, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.oldCopy, !p.oldAt.IsZero() && time.Since(p.oldAt) < freshFor
}

func (p *peer) replaced() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oldAt = time.Time{}
}

func (p *peer) noteRival(g greeting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if g.Process != p.rival.Process || p.last.Process != p.beside || now.Sub(p.rivalAt) > rivalFor {
		p.rivalSince, p.beside = now, p.last.Process
	}
	p.rival, p.rivalAt = g, now
}

// twin reports whether two processes of this name are about: one goes on answering after the other one has called. One that answers for
// the first time after that has taken the place of both: the node was restarted twice.
func (p *peer) twin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.rivalAt.IsZero() && time.Since(p.rivalAt) < rivalFor && p.last.Process == p.beside && p.seen.After(p.rivalSince.Add(statusTimeout))
}
