package raftnode

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// identity is what a data folder says about itself.
type identity struct {
	NodeID      string
	Incarnation string // random, made with the folder: tells a wiped node from a restarted one
	Start       uint64 // +1 at each start of the process: tells a restored copy from the original
	// ClusterID and Epoch are kept here as well as in the state, since a restarted node must refuse
	// a foreign cluster before it has replayed its log. ClusterID is set before the node's first
	// contact with raft and never changes.
	ClusterID string
	Epoch     state.Epoch
	// Clean: the process before ended as planned.
	Clean bool
	// Forced is an epoch that this node has decided to begin, until its first term is committed. It is kept
	// before anything else is done, and what is left of it is done at the next start.
	Forced forced
	// Claiming is the epoch that this node last set out to claim, and ClaimID what its claim says: both are kept before the claim is
	// made, so that one which was won is not forgotten. A copy of this folder from before does not know them, and cannot use the
	// claim once more.
	Claiming uint64
	ClaimID  string
	// Arrival is the log index up to which this folder must be filled before it counts: what the leader had committed when it took
	// this node in. Until then it holds only a beginning of the log, with members as they once were. 0: it was reached.
	Arrival uint64
	// Wiping: the store is being replaced by an empty one; a start finishes it.
	Wiping bool
	// Seen is what this node last knew of the other members' data folders.
	Seen map[string]sighting
	// Forks are the epochs that this folder has begun, newest last, for who asks whether it lacks anything: see yield.
	Forks []fork `json:",omitempty"`
	// Spare is the archive that is dropped once this node was taken in: until then it is the only copy that this node has.
	Spare string `json:",omitempty"`
}

// fork is where a folder's log ended when an epoch was begun on it.
type fork struct {
	Epoch, Before state.Epoch
	Last          uint64
}

// maxForks bounds Forks. A node that was away for more epochs than that hands over more than it must.
const maxForks = 32

// forks adds one. What was decided on for that epoch before was not begun.
func (id *identity) forks(f fork) {
	id.Forks = append(slices.DeleteFunc(slices.Clone(id.Forks), func(o fork) bool { return o.Epoch == f.Epoch }), f)
	id.Forks = id.Forks[max(0, len(id.Forks)-maxForks):]
}

// reached reports whether this folder went on from the given epoch, by itself and with no less than the log up to last.
func (id identity) reached(epoch state.Epoch, last uint64) bool {
	at := id.Epoch
	for _, f := range slices.Backward(id.Forks) {
		switch {
		case f.Epoch != at:
			continue
		case f.Last < last:
			return false
		case f.Before == epoch:
			return true
		}
		at = f.Before
	}
	return false
}

// forced is an epoch begun by force.
type forced struct {
	Epoch   state.Epoch
	Why     cluster.Reason
	Recover bool // raft's configuration is to be replaced by this node alone
}

func (f forced) pending() bool { return f.Epoch != state.Epoch{} }

// clone has its own map.
func (id identity) clone() identity {
	id.Seen = maps.Clone(id.Seen)
	return id
}

// wiped is the identity of the folder once it is empty. What is known of others stays, and the start number never goes back: a flag of
// maintenance carries it, and would be taken for one that was set in this process, or in an earlier one.
func (id identity) wiped() identity {
	fresh := newIdentity(id.NodeID)
	fresh.Seen, fresh.Start, fresh.Spare = id.Seen, id.Start, id.Spare
	return fresh
}

func newIdentity(nodeID string) identity { return identity{NodeID: nodeID, Incarnation: randomID()} }

func randomID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}

type identityFile struct {
	Identity json.RawMessage
	Sum      uint32 // of Identity's bytes
}

func (id identity) encode() ([]byte, error) {
	body, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	return json.Marshal(identityFile{body, crc32.Checksum(body, castagnoli)})
}

func decodeIdentity(data []byte) (identity, error) {
	var f identityFile
	if err := json.Unmarshal(data, &f); err != nil {
		return identity{}, fmt.Errorf("it cannot be read: %w", err)
	}
	if crc32.Checksum(f.Identity, castagnoli) != f.Sum {
		return identity{}, errors.New("its checksum is wrong")
	}
	var id identity
	if err := json.Unmarshal(f.Identity, &id); err != nil {
		return identity{}, fmt.Errorf("it cannot be read: %w", err)
	}
	return id, nil
}
