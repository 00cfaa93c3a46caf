package raftnode

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
	kindRaft = 'R' // raft's own stream
	kindCall = 'C' // our requests and answers, one after the other
)

const (
	protocol = 1
	// maxFrame bounds what a stranger can make us hold: the largest command, in base64, fits many times.
	maxFrame = 1 << 20
	// handshakeTimeout bounds dialling, TLS and greeting together.
	handshakeTimeout = 2 * time.Second
)

// greeting opens each connection, both ways, and answers a status call.
type greeting struct {
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
	Leader      string // whom it takes for the leader of a term; empty: nobody
	Forcing     bool   // it is about to begin an epoch by force
	Knows       byte   // the newest command that it can apply
}

// reply is the answerer's half of the handshake.
type reply struct {
	Greeting greeting
	Refusal  string // why the connection goes no further; empty: it does
}

// request is one call. Op is one of the op constants.
type request struct {
	Op        string
	Command   []byte         // propose: an encoded command whose token is not set
	Target    string         // transfer: the node to lead
	Reason    cluster.Reason // transfer, succeed
	Body      []byte         // ask
	ClusterID string         // join
	Epoch     state.Epoch    // join
	Timeout   time.Duration  // how long the caller waits
}

const (
	opStatus   = "status"
	opJoin     = "join"
	opPropose  = "propose"
	opTransfer = "transfer"
	opSucceed  = "succeed" // the leader is about to hand over to the node that is asked
	opAsk      = "ask"     // for Config.Serve
	opRejoin   = "rejoin"  // the leader has taken the vote of the node that is asked: it is to start from nothing
	opRemove   = "remove"  // drop the member Target
)

// response answers a request.
type response struct {
	Greeting greeting
	Fault    string // one of the fault constants, or plain words; empty: done
	Refused  string // the state machine's refusal
	Version  uint64 // of state.Result
	ID       string // of state.Result
	Body     []byte // ask
}

// Faults that the caller acts upon.
const (
	faultNotLeader = "not the leader"
	faultUnknown   = "outcome unknown"
)

// refusals are the errors that cross the wire and come out as themselves.
var refusals = []error{state.ErrTermOver, state.ErrStale, state.ErrParkedFull, state.ErrOutboxFull, state.ErrFull, state.ErrMaintenance, state.ErrUnknown}

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

func refusalFromWire(s string) error {
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

// writeFrame writes v in one Write, so that it is one packet and no half frame is left by a caller
// that ends in between.
func writeFrame(w io.Writer, prefix []byte, v any) error {
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

func readFrame(r io.Reader, v any) error {
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
