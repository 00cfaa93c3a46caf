package raftnode

import (
	"fmt"
	"strings"
)

const makeAlike = "set the same in node.json of each node, and restart those that were changed, one after the other"

// compare raises or clears the alarm about settings that must be the same on all nodes and are not: one file is easily forgotten. It stands
// while the member is away, since only then it matters. An older node does not say what it has.
func (n *Node) compare(g greeting) {
	var what []string
	if n.pair != nil && g.PairTakeover != "" && g.PairTakeover != n.cfg.PairTakeover {
		what = append(what, fmt.Sprintf("PairTakeover is %s here and %s on %s, so that both could lead if they lose each other", n.cfg.PairTakeover, g.PairTakeover, g.NodeID))
	}
	if g.Timing != "" && g.Timing != n.cfg.Timing {
		what = append(what, fmt.Sprintf("Timing is %s here and %s on %s, so that one may be elected before the other has stopped leading", n.cfg.Timing, g.Timing, g.NodeID))
	}
	text := strings.Join(what, "; ")
	if text != "" {
		text += ": " + makeAlike
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if text == n.unlike[g.NodeID] {
		return
	}
	if text == "" {
		delete(n.unlike, g.NodeID)
		n.log.Info("a member has the same settings again", "member", g.NodeID)
		return
	}
	n.unlike[g.NodeID] = text
	n.log.Error("a member has other settings, which must be the same on all nodes", "member", g.NodeID, "what", strings.Join(what, "; "), "do", makeAlike)
}
