package raftnode

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// joinOrder is the leader's word that this empty node is in its configuration.
type joinOrder struct {
	clusterID string
	epoch     state.Epoch
	arrival   uint64
	reply     chan error // one slot
}

// form gives an empty node its cluster, if it may: the Primary may bootstrap one, all others wait to be taken in.
// Until then raft does not run, so the node grants nobody a vote.
func (n *Node) form() error {
	ready, waiting, err := n.mayBootstrap()
	if err == nil && ready {
		err = n.bootstrap()
	}
	if err != nil {
		return fmt.Errorf("form the cluster: %w", err)
	}
	if !ready {
		n.setWaiting(waiting)
	}
	return nil
}

// mayBootstrap decides whether this empty node forms a cluster of itself, and if not, what it waits
// for. A member that has state forbids it, however this node came to be empty.
func (n *Node) mayBootstrap() (ready bool, waiting string, err error) {
	var untried, unreached, differing, established []string
	for _, m := range n.cfg.Members {
		p := n.peers[m.NodeID]
		if p == nil {
			continue
		}
		k := p.now()
		switch {
		case !k.tried:
			untried = append(untried, m.NodeID)
		case k.seen.IsZero():
			unreached = append(unreached, m.NodeID)
		case !k.Empty:
			established = append(established, m.NodeID)
		case k.Members != n.members:
			differing = append(differing, m.NodeID)
		}
	}
	if len(established) > 0 {
		return false, "waiting to be taken in by the leader; in contact with " + strings.Join(established, ", "), nil
	}
	if n.cfg.Role != cluster.Primary {
		return false, "waiting for " + n.primary() + " to form the cluster" + unreachedText(unreached), nil
	}
	if len(untried) > 0 {
		return false, "looking for " + strings.Join(untried, ", "), nil
	}
	if len(differing) > 0 {
		return false, "Members is not the same here and on " + strings.Join(differing, ", ") + ": make the files agree and restart", nil
	}
	if len(unreached) == 0 {
		return true, "", nil
	}
	marked, err := n.folder.marked()
	if err != nil {
		return false, "", err
	}
	return marked, "waiting for the first start of " + strings.Join(unreached, ", "), nil
}

func unreachedText(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return "; out of contact: " + strings.Join(ids, ", ")
}

func (n *Node) primary() string {
	i := slices.IndexFunc(n.cfg.Members, func(m cluster.Member) bool { return m.Role == cluster.Primary })
	return n.cfg.Members[i].NodeID
}

var errNotEmpty = errors.New("the data folder holds the rest of another cluster; move it away and start again")

// bootstrap forms a cluster of this node alone; the others are taken in by it as its leader. The
// cluster id is kept before anything else, and the mark is deleted after all is on disk: a kill in
// between repeats it or finds it done.
func (n *Node) bootstrap() error {
	if empty, err := n.storeEmpty(); err != nil || !empty {
		return errors.Join(err, errNotEmpty)
	}
	if err := n.setCluster(randomID(), state.Epoch{}); err != nil {
		return err
	}
	conf := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(n.cfg.NodeID), Address: raft.ServerAddress(n.cfg.ClusterAddress)}}}
	err := guarded(func() error {
		i := n.newInstance()
		defer i.transport.Close() //nolint:errcheck // only its address is used
		return raft.BootstrapCluster(n.raftConfig(i), n.store, n.store, n.snaps, i.transport, conf)
	})
	if errors.Is(err, raft.ErrCantBootstrap) {
		return errNotEmpty
	}
	if err != nil {
		return err
	}
	if err := n.dropMark(); err != nil {
		return err
	}
	n.formed.Store(true)
	n.log.Info("this node forms a new cluster", "cluster", n.ident().ClusterID)
	return n.startRaft()
}

// join starts raft on the empty store; the leader then sends all there is.
func (n *Node) join(o joinOrder) error {
	// A copy of an empty folder may have been taken in before: what was remembered of that one is not about this one.
	if err := n.changeIdentity(func(id *identity) { id.Incarnation, id.Arrival = randomID(), o.arrival }); err != nil {
		return err
	}
	if err := n.setCluster(o.clusterID, o.epoch); err != nil {
		return err
	}
	if err := n.dropMark(); err != nil {
		return err
	}
	n.log.Info("this node was taken into the cluster", "cluster", o.clusterID)
	return n.startRaft()
}

func (n *Node) setCluster(clusterID string, epoch state.Epoch) error {
	return n.changeIdentity(func(id *identity) { id.ClusterID, id.Epoch = clusterID, epoch })
}

// dropMark deletes the one-time bootstrap mark, used or not: state is there now.
func (n *Node) dropMark() error {
	marked, err := n.folder.marked()
	if err != nil || !marked {
		return err
	}
	return n.folder.unmark()
}

func (n *Node) setWaiting(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s != "" && s != n.waiting {
		n.log.Info("this node takes no part in the cluster yet", "state", s)
	}
	n.waiting = s
}

// setHolding says why a node that was elected does not lead yet.
func (n *Node) setHolding(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s != "" && s != n.holding {
		n.log.Warn("this node could lead, and does not yet", "reason", s)
	}
	n.holding = s
}
