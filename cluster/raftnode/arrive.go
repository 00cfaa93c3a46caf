package raftnode

import "time"

// never is the patience of a raft that must not stand for election.
const never = 24 * time.Hour

// arrive lets this node stand for election once it holds all that the cluster had when it was taken in. It is the keeper's.
//
// A log that is only beginning to come holds the members as they were at its first entries, and this node may have been the only
// one then. When the leader was lost in that moment such a node elected itself, on a history of which most was missing, and what had
// been acknowledged since was gone. raft itself knows no member that has a vote in its log and must not use it, so it is given a
// patience without end until then.
func (n *Node) arrive() error {
	i := n.inst.Load()
	switch {
	case !i.partial.Load():
		return n.dropSpare()
	case i.raft.LastIndex() < n.ident().Arrival:
		return nil
	}
	if err := n.changeIdentity(func(id *identity) { id.Arrival = 0 }); err != nil {
		return err
	}
	patience := i.raft.ReloadableConfig()
	patience.HeartbeatTimeout, patience.ElectionTimeout = n.timing.heartbeat, n.timing.election
	if err := i.raft.ReloadConfig(patience); err != nil {
		return err
	}
	i.partial.Store(false)
	return nil
}

// partial: this node holds only a beginning of what the cluster has.
func (n *Node) partial() bool {
	i := n.inst.Load()
	return i != nil && i.partial.Load()
}

// lastVoice is the latest moment at which this instance, which has ended, may have confirmed something to another node or voted for it.
func (i *instance) lastVoice() time.Time {
	if at := i.raft.LastContact(); at.After(i.started) {
		return at
	}
	return i.started // an earlier one may have done so just before
}
