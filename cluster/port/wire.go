package port

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// The first byte of a connection says what follows the greeting.
const (
	KindRaft = 'R' // raft's own stream
	KindCall = 'C' // our requests and answers, one after the other
)

const (
	// Protocol is the version of the greeting.
	Protocol = 1
	// maxFrame bounds what a stranger can make us hold: the largest command, in base64, fits many times.
	maxFrame = 1 << 20
	// HandshakeTimeout bounds dialling, TLS and greeting together.
	HandshakeTimeout = 2 * time.Second
)

// Greeting opens each connection, both ways, and answers a status call.
type Greeting struct {
	Protocol    int
	ClusterID   string // empty: belongs to none yet
	NodeID      string
	Incarnation string // of the data folder
	Start       uint64 // +1 at each start of the process
	Epoch       state.Epoch
	Version     string
	Empty       bool   // the store holds no configuration of a cluster
	Ready       bool   // takes raft connections
	Members     string // hash of Members
	Applied     uint64 // log index
	LastIndex   uint64 // of the log on disk
	Process     string // random, of the process: tells two on copies of one folder apart
	Serial      uint64 `json:",omitempty"` // of this greeting within the process: a later one says what is newer; 0: it does not count
	Leader      string // whom it takes for the leader of a term; empty: nobody
	Forcing     bool   // it is about to begin an epoch by force
	Knows       byte   // the newest command that it can apply
	Space       string `json:",omitempty"` // that its disk is nearly full; empty: there is room
	// Slow is that its machine is too slow for the cluster's timing.
	Slow  cluster.Slowness `json:",omitzero"`
	Place string           `json:",omitempty"` // random name of the folder that it sees as ClaimDir
	// PairTakeover, of one of a pair, and Timing are what its node.json says: one that differs here and there breaks what either promises.
	// Empty: an older node, which does not say.
	PairTakeover string `json:",omitempty"`
	Timing       string `json:",omitempty"`
	// Coordination is what the members agree by; empty is raft.
	Coordination string `json:",omitempty"`
}

// reply is the answerer's half of the handshake.
type reply struct {
	Greeting Greeting
	Refusal  string // why the connection goes no further; empty: it does
}

// refusals are the errors that cross the wire and come out as themselves.
var refusals = []error{state.ErrTermOver, state.ErrStale, state.ErrParkedFull, state.ErrOutboxFull, state.ErrFull, state.ErrMaintenance, state.ErrUnknown, state.ErrRewound}

// wireRefusal is a refusal of the state machine as it crosses the wire.
func wireRefusal(err error) string {
	if err == nil {
		return ""
	}
	for _, r := range refusals {
		if errors.Is(err, r) {
			return r.Error()
		}
	}
	return err.Error()
}

// RefusalFromWire is its inverse.
func RefusalFromWire(s string) error {
	if s == "" {
		return nil
	}
	for _, r := range refusals {
		if r.Error() == s {
			return r
		}
	}
	return errors.New(s)
}

// WriteFrame writes v, after prefix, in one Write, so that it is one packet and no half frame is left by a caller
// that ends in between.
func WriteFrame(w io.Writer, prefix []byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return fmt.Errorf("a frame of %d bytes is above the limit of %d", len(body), maxFrame)
	}
	buf := make([]byte, 0, len(prefix)+4+len(body))
	buf = append(buf, prefix...)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(body)))
	_, err = w.Write(append(buf, body...))
	return err
}

// ReadFrame reads what WriteFrame wrote.
func ReadFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("a frame of %d bytes is above the limit of %d", n, maxFrame)
	}
	// The body is read as it comes: a length alone makes nobody allocate a megabyte.
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(body) != int(n) {
		return io.ErrUnexpectedEOF
	}
	return json.Unmarshal(body, v)
}
