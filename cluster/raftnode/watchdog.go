package raftnode

import (
	"context"
	"fmt"
	"time"

	"scomconnector/cluster"
)

// watchCommits proves, while the term lasts, that this leader can still commit. A leader whose disk
// hangs keeps its leadership, since heartbeats need no disk; and raft's VerifyLeader asks for no
// more than they do. Where nothing was committed for a while it commits a barrier; where that does
// not happen within twice the write deadline, it gives leadership away, or the process ends.
func (n *Node) watchCommits(ctx context.Context, t *term) {
	limit := 2 * n.cfg.WriteDeadline
	last, seen := time.Now(), t.inst.raft.CommitIndex()
	for pause(ctx, limit/4) {
		if at := t.inst.raft.CommitIndex(); at != seen {
			last, seen = time.Now(), at
			continue
		}
		tick, cancel := context.WithTimeout(ctx, limit/4)
		err := n.settle(tick, t.inst.raft.Barrier(limit/4))
		cancel()
		t.noteProposal(err)
		if err == nil {
			last, seen = time.Now(), t.inst.raft.CommitIndex()
			continue
		}
		if ctx.Err() != nil || time.Since(last) < limit {
			continue
		}
		n.log.Error("this leader has committed nothing for too long: giving leadership away", "for", since(last), "error", err)
		if target, _ := n.heir(t); target != "" {
			order, cancel := context.WithTimeout(ctx, handoverTimeout)
			err = t.transfer(order, target, cluster.Reason{Cause: cluster.CauseWork, Text: n.cfg.NodeID + " could not commit"})
			cancel()
			if err == nil || ctx.Err() != nil {
				return
			}
		}
		n.fail(fmt.Errorf("this leader has committed nothing for %v and could not hand over: %w", since(last), err))
		return
	}
}
