package raftnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// This file is for carrying the state of a cluster that does not run to another backend, and from one.

// Copy is the state as a stopped node's folder holds it.
type Copy struct {
	State *state.State
	Epoch state.Epoch // the highest that the folder knows
	// Doubts are the reasons, for people, for which another node may have a newer copy.
	Doubts []string
}

// Export reads the folder of a node that is stopped, and keeps it from starting while use runs. It changes nothing there.
func Export(cfg Config, log hclog.Logger, use func(Copy) error) error {
	n, id, err := openStopped(cfg, log)
	if err != nil {
		return err
	}
	c, err := n.export(id)
	if err == nil {
		err = use(c)
	}
	return errors.Join(err, n.closeFolder())
}

func (n *Node) export(id identity) (Copy, error) {
	empty, err := n.storeEmpty()
	switch {
	case err != nil:
		return Copy{}, err
	case empty:
		return Copy{}, fmt.Errorf("the data folder %s holds no state: this node never belonged to a cluster", n.cfg.DataDir)
	case id.Arrival > 0:
		return Copy{}, fmt.Errorf("the data folder %s holds only the beginning of what the cluster has: use another node's", n.cfg.DataDir)
	case id.Forced.pending():
		return Copy{}, errors.New("this node was stopped while it took over: start it until it leads, and stop it again")
	}
	st, err := n.stored()
	if err != nil {
		return Copy{}, fmt.Errorf("read the data folder %s: %w", n.cfg.DataDir, err)
	}
	if st.ClusterID() == "" {
		return Copy{}, fmt.Errorf("the data folder %s holds no state: nobody has ever led", n.cfg.DataDir)
	}
	c := Copy{State: st, Epoch: st.Token().Epoch}
	if compareEpochs(id.Epoch, c.Epoch) > 0 {
		c.Epoch = id.Epoch
	}
	if len(n.cfg.Members) == 1 {
		return c, nil
	}
	if leader := st.Leader(); leader != n.cfg.NodeID {
		c.Doubts = append(c.Doubts, fmt.Sprintf("as far as this node knows, %s led last and not %s: %s may have what is missing here", leader, n.cfg.NodeID, leader))
	}
	if !id.Clean {
		c.Doubts = append(c.Doubts, n.cfg.NodeID+" was not stopped in good order: another node may have led after it")
	}
	return c, nil
}

// Import makes a folder that holds nothing that of a cluster of this node alone, the Primary: it leads from its first start on, in the
// epoch that is given, and takes the others in. What was begun and not finished counts for nothing, and may be repeated.
func Import(cfg Config, log hclog.Logger, st *state.State, epoch state.Epoch) error {
	if cfg.Role != cluster.Primary {
		return fmt.Errorf("%s is not the Primary: only that one begins a cluster, and takes the others in", cfg.NodeID)
	}
	n, id, err := openStopped(cfg, log)
	if err != nil {
		return err
	}
	return errors.Join(n.importState(id, st, epoch), n.closeFolder())
}

func (n *Node) importState(id identity, st *state.State, epoch state.Epoch) error {
	if empty, err := n.storeEmpty(); err != nil {
		return err
	} else if !empty || id.ClusterID != "" {
		return fmt.Errorf("the data folder %s holds the state of a cluster already, and nothing is written over it: move its identity.json and its folder raft away", n.cfg.DataDir)
	}
	doing := id
	doing.Wiping = true // whoever finds what is half written empties it
	if err := n.folder.save(doing); err != nil {
		return err
	}
	if err := guarded(func() error { return n.writeSnapshot(st) }); err != nil {
		return fmt.Errorf("write the state into %s: %w", n.cfg.DataDir, err)
	}
	id.ClusterID, id.Epoch, id.Clean = st.ClusterID(), st.Token().Epoch, true
	id.Forced = forced{Epoch: epoch, Why: cluster.Reason{Cause: cluster.CauseFormed, Text: "the state was brought from an etcd"}}
	return n.folder.save(id)
}

// writeSnapshot has the store begin with this state, as committed by a raft of this node alone.
func (n *Node) writeSnapshot(st *state.State) error {
	if err := n.store.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		return err
	}
	i := n.newInstance()
	defer i.transport.Close() //nolint:errcheck // only its address is used
	conf := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(n.cfg.NodeID), Address: raft.ServerAddress(n.cfg.ClusterAddress)}}}
	sink, err := n.snaps.Create(raft.SnapshotVersionMax, 1, 1, conf, 1, i.transport)
	if err != nil {
		return err
	}
	return fsmSnapshot{st.Snapshot()}.Persist(sink)
}

// openStopped opens and locks the folder of a node that does not run.
func openStopped(cfg Config, log hclog.Logger) (*Node, identity, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, identity{}, err
	}
	n := newNode(cfg, log, func() {})
	id, err := n.openFolder()
	if err == nil {
		err = n.openStore(prometheus.NewRegistry())
	}
	if err != nil {
		return nil, id, errors.Join(err, n.closeFolder())
	}
	return n, id, nil
}

// HasState reports whether the folder was ever used by a node of this backend; it makes none.
func HasState(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, "identity.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
