package etcdnode

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"scomconnector/cluster/datadir"
	"scomconnector/cluster/state"
)

// identity is what this node keeps in its DataDir: who it is, and the newest of what it has seen in etcd, by which it notices that etcd
// has lost its data or gone back to older ones.
type identity struct {
	NodeID      string
	Incarnation string // random, made with the folder
	Start       uint64 // +1 at each start of the process
	Clean       bool   // the process before ended as planned
	ClusterID   string
	Revision    int64       // highest seen; kept now and then
	Token       state.Token // highest seen
}

func identityPath(dir string) string { return filepath.Join(dir, "etcd.json") }

func randomID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}

// loadIdentity reads the identity from the folder, and makes a new one where there is none.
func loadIdentity(dir, nodeID string) (identity, error) {
	data, err := os.ReadFile(identityPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return identity{NodeID: nodeID, Incarnation: randomID()}, nil
	}
	var id identity
	if err == nil {
		err = json.Unmarshal(data, &id)
	}
	if err != nil {
		return id, fmt.Errorf("read %s: %w; without that file this node starts as a new one", identityPath(dir), err)
	}
	if id.NodeID != nodeID {
		return id, &datadir.Foreign{Dir: dir, Owner: id.NodeID, NodeID: nodeID}
	}
	return id, nil
}

// Owner reads whose data the folder holds. It changes nothing and takes no lock: the node may be running.
func Owner(dir string) (datadir.Owner, error) {
	data, err := os.ReadFile(identityPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return datadir.Owner{}, nil
	}
	if err != nil {
		return datadir.Owner{}, err
	}
	var id identity
	if err := json.Unmarshal(data, &id); err != nil {
		return datadir.Owner{}, fmt.Errorf("%s is damaged: %w", identityPath(dir), err)
	}
	return datadir.Owner{NodeID: id.NodeID, ClusterID: id.ClusterID}, nil
}

// save replaces the file at once.
func (id identity) save(dir string) error {
	if err := datadir.Replace(identityPath(dir), encodeJSON(id)); err != nil {
		return datadir.Unusable(dir, err)
	}
	return nil
}

func (n *Node) ident() identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.identity
}

// remember changes the identity, on disk too.
func (n *Node) remember(f func(*identity)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := n.identity
	f(&id)
	if id == n.identity {
		return nil
	}
	if err := id.save(n.cfg.DataDir); err != nil {
		return err
	}
	n.identity = id
	return nil
}

// heights are how far this node knows etcd to have come. In one history they only grow.
type heights struct {
	revision int64
	commit   int64 // of the commit's key
}

// known is taken before a reading that is to be held against it: a leader goes on writing meanwhile.
func (n *Node) known() heights { return heights{n.seenRevision(), modOf(n.replica.keys().commit)} }

// above reports whether what was read later is of an earlier time: etcd was restored from a backup, or set up anew. The revision alone does
// not tell for long, since others may write to that etcd. Where somebody has deleted the commit's key it tells nothing.
func (h heights) above(rev int64, seen *replica) bool {
	return rev < h.revision || seen.commit != nil && seen.commit.Mod < h.commit
}

// seenRevision is the highest revision that this node knows etcd to have had.
func (n *Node) seenRevision() int64 {
	heard := n.replica.keys().revision
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(heard, n.seen, n.identity.Revision)
}
