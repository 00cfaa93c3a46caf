package etcdnode

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// The keys, below the prefix. All other keys are parts of the state, named as state.Part says; a pipeline's are below the name of its
// store: parked/<store>/<key>, base/<store>/<00..ff>, delta/<store>/<seq>.
const (
	keyCluster  = "cluster"  // whose this prefix is; a clusterValue
	keyEpoch    = "epoch"    // an epochValue
	keyLeader   = "leader"   // a leaderValue, with the leader's lease
	keyHandover = "handover" // a handoverValue
	// keyCommit is written by each transaction that changes a part, but for close requests from any node: it tells such changes from
	// those made by hand, and a leader whether a transaction of unknown outcome was carried out.
	keyCommit = "commit"
	dirBase   = "base/"
	dirDelta  = "delta/"
	dirParked = "parked/"
	dirPipe   = "pipe/"
	dirOutbox = "outbox/"
)

// format is the version of the layout.
const format = 1

type clusterValue struct {
	ID      string   `json:"id"`
	Format  int      `json:"format"`
	Members []string `json:"members"` // NodeID and ClusterAddress of each
}

type epochValue struct {
	Number uint64 `json:"number"`
	Node   string `json:"node"`
}

type leaderValue struct {
	Node    string `json:"node"`
	Process string `json:"process"` // random, of the process
	TTL     int    `json:"ttl"`     // seconds that etcd gave its lease; 0: not known
}

// ttl is how long the leader's lease lasts without a renewal: its settings need not be this node's.
func (l leaderValue) ttl(usual time.Duration) time.Duration {
	if l.TTL > 0 {
		return time.Duration(l.TTL) * time.Second
	}
	return usual
}

// handoverValue lets one node contest before all others. It is written as the leader's key is deleted by the leader itself.
type handoverValue struct {
	From  string        `json:"from"`
	To    string        `json:"to"` // empty: anybody
	Cause cluster.Cause `json:"cause"`
	Text  string        `json:"text"`
	Until time.Time     `json:"until"` // for people; nodes count from when they learn of it
}

// mark is the value of keyCommit.
type mark struct {
	Term  int64  `json:"term"` // of the leader that wrote it
	Count uint64 `json:"count"`
}

func encodeJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("etcdnode: %v", err)) // plain structs
	}
	return b
}

// pipeValue is a pipeline's key: where its other keys are, how many versions they hold together, and the part.
type pipeValue struct {
	store      string
	remembered int
	content    []byte
}

func (v pipeValue) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(len(v.store)))
	b = append(b, v.store...)
	b = binary.AppendUvarint(b, uint64(v.remembered))
	return append(b, v.content...)
}

var errDamaged = errors.New("it is damaged")

func decodePipe(b []byte) (pipeValue, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return pipeValue{}, errDamaged
	}
	b = b[size:]
	v := pipeValue{store: string(b[:n])}
	b = b[n:]
	count, size := binary.Uvarint(b)
	if size <= 0 || count > state.MaxRemembered {
		return pipeValue{}, errDamaged
	}
	v.remembered, v.content = int(count), b[size:]
	return v, nil
}

// storeName is the store of a pipeline that is written anew, at that count of the leader's transactions. Stores are never used twice.
func storeName(pipeline string, term int64, count uint64) string {
	return fmt.Sprintf("%s~%x.%x", pipeline, term, count)
}

func shardKey(store string, shard int) string { return fmt.Sprintf("%s%s/%02x", dirBase, store, shard) }
func deltaKey(store string, seq uint64) string {
	return fmt.Sprintf("%s%s/%016x", dirDelta, store, seq)
}

// splitStored is the inverse of shardKey and deltaKey.
func splitStored(dir, key string) (store string, n uint64, err error) {
	rest, ok := strings.CutPrefix(key, dir)
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 0 {
		return "", 0, errDamaged
	}
	n, err = strconv.ParseUint(rest[i+1:], 16, 64)
	return rest[:i], n, err
}

// storesOf are the ranges of all keys of a store.
func dropStore(store string) []op {
	return []op{
		{kind: opDeleteAll, key: dirBase + store + "/"},
		{kind: opDeleteAll, key: dirDelta + store + "/"},
		{kind: opDeleteAll, key: dirParked + store + "/"},
	}
}

// partKey is where a part is kept; store is its pipeline's.
func partKey(p state.Part, store string) string {
	if p.Kind == state.PartParked {
		p.Pipeline = store
	}
	return p.String()
}

// isOwn reports whether the key is none of a part.
func isOwn(key string) bool {
	switch key {
	case keyCluster, keyEpoch, keyLeader, keyHandover, keyCommit:
		return true
	}
	return false
}
