package daemon

import (
	"context"
	"time"

	"scomconnector/cluster"
)

// roomless is a leader's watch over its disk, owned by the caretaker.
type roomless struct {
	next time.Time // not before
}

// considerSpace has a leader whose disk is nearly full hand over, while it still can, to one that has room and can do as much.
func (n *node) considerSpace(ctx context.Context, v cluster.View, r *roomless) {
	self, _ := member(v, v.NodeID)
	if self.Space == "" || time.Now().Before(r.next) {
		return
	}
	r.next = time.Now().Add(probeAgain)
	for _, to := range n.workers() {
		m, _ := member(v, to)
		if to == v.NodeID || m.Space != "" || n.unfit(to) != nil {
			continue
		}
		mine := n.ability(ctx)
		if theirs, err := ask[ability](ctx, n, to, question{Ask: askWork}); err != nil || !theirs.covers(mine) {
			n.log.Debug("no handover although the disk is nearly full", "to", to, "lacks", theirs.lacks(), "error", err)
			continue
		}
		n.changes().Warn("the disk of this node is nearly full: handing over to one that has room", "to", to)
		order, cancel := context.WithTimeout(ctx, orderTime)
		err := n.handOver(order, to, cluster.Reason{Cause: cluster.CauseWork, Text: v.NodeID + ": " + self.Space})
		cancel()
		if err != nil {
			n.log.Warn("the handover did not succeed", "to", to, "error", err)
			r.next = time.Now().Add(workAgain)
		}
		return
	}
}
