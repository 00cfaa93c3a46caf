package port

import (
	"context"
	"errors"
	"fmt"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// Faults that a caller acts upon; any other one is plain words.
const (
	FaultNotLeader = "not the leader" // nothing was changed
	FaultUnknown   = "outcome unknown"
)

// FaultOf is an error as it crosses the wire; empty for none.
func FaultOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, cluster.ErrTermOver):
		return FaultNotLeader
	case errors.Is(err, cluster.ErrUnknownOutcome):
		return FaultUnknown
	}
	return err.Error()
}

// Outcome is what became of a proposal that another member has forwarded, as it crosses the wire.
type Outcome struct {
	Fault   string // empty: the state machine has decided
	Refused string // the state machine's refusal
	Version uint64 // of state.Result
	ID      string // of state.Result
}

// Carry has the leader propose what a member has forwarded. ctx ends when that member waits no longer: what has not been begun by then may
// be tried again.
func Carry(ctx context.Context, command []byte, propose func(context.Context, state.Op) (state.Result, error)) Outcome {
	c, err := state.Decode(command)
	if err != nil {
		return Outcome{Fault: err.Error()}
	}
	if _, ok := c.Op.(state.TermStart); ok {
		return Outcome{Fault: "a term is begun by its leader alone"}
	}
	res, err := propose(ctx, c.Op)
	switch {
	case err != nil && ctx.Err() != nil && !errors.Is(err, cluster.ErrUnknownOutcome):
		return Outcome{Fault: FaultNotLeader}
	case err != nil:
		return Outcome{Fault: FaultOf(err)}
	}
	return Outcome{Refused: wireRefusal(res.Err), Version: res.Version, ID: res.ID}
}

// Result is the outcome for the member that has forwarded it to leader: cluster.ErrTermOver where nothing was changed, and
// cluster.ErrUnknownOutcome.
func (o Outcome) Result(leader string) (state.Result, error) {
	switch o.Fault {
	case "":
		return state.Result{Err: RefusalFromWire(o.Refused), Version: o.Version, ID: o.ID}, nil
	case FaultNotLeader:
		return state.Result{}, cluster.ErrTermOver
	case FaultUnknown:
		return state.Result{}, fmt.Errorf("%w: %s cannot tell", cluster.ErrUnknownOutcome, leader)
	}
	return state.Result{}, fmt.Errorf("forward to %s: %s", leader, o.Fault)
}
