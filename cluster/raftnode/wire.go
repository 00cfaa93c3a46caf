package raftnode

import (
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

// greeting opens each connection, both ways, and answers a status call.
type greeting = port.Greeting

// request is one call. Op is one of the op constants.
type request struct {
	Op        string
	Command   []byte         // propose: an encoded command whose token is not set
	Target    string         // transfer: the node to lead
	Reason    cluster.Reason // transfer, succeed
	Body      []byte         // ask
	ClusterID string         // join
	Epoch     state.Epoch    // join, reached
	Arrival   uint64         // join: see identity
	Last      uint64         `json:",omitempty"` // reached: log index
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
	opReached  = "reached" // whether the node that is asked went on from Epoch with the log up to Last; a fault: not for all it knows
)

// response answers a request.
type response struct {
	Greeting greeting
	Fault    string // one of port's, or plain words; empty: done
	Refused  string // the state machine's refusal
	Version  uint64 // of state.Result
	ID       string // of state.Result
	Body     []byte // ask
}

func (r response) outcome() port.Outcome {
	return port.Outcome{Fault: r.Fault, Refused: r.Refused, Version: r.Version, ID: r.ID}
}

func answerOf(o port.Outcome) response {
	return response{Fault: o.Fault, Refused: o.Refused, Version: o.Version, ID: o.ID}
}
