package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller"
	"scomconnector/poller/alert"
)

// newWriteback is what carries out close requests for one term, and the channel that wakes it.
func (n *node) newWriteback(term cluster.Term, f *feed) (*poller.Writeback, chan<- struct{}) {
	changed := make(chan struct{}, 1)
	return poller.NewWriteback(poller.WritebackConfig{
		LowerBackoff: f.cfg.LowerTimeoutBound, UpperBackoff: f.cfg.UpperTimeoutBound,
		ResetMonitors: f.cfg.CloseUnhealthyMonitor == "reset",
	}, poller.WritebackDeps{
		Target: f.scom, Outbox: outbox{term, n.state(), changed}, Log: n.log.Named("closes"), Metrics: n.writing,
	}), changed
}

// gather is how long requests that come together are waited for, so that one call to SCOM carries them all.
const gather = 20 * time.Millisecond

// announce wakes the writeback when the outbox has changed.
func (n *node) announce(ctx context.Context, changed chan<- struct{}) {
	for {
		next := n.state().OutboxChanged()
		select {
		case changed <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gather):
		}
	}
}

// outbox is the replicated outbox under one term's token. It is a poller.Outbox.
type outbox struct {
	term    cluster.Term
	state   *state.State
	changed <-chan struct{}
}

// Waiting implements poller.Outbox.
func (o outbox) Waiting(limit int) []poller.Close { return closesOf(o.state.Outbox(limit)) }

// Changed implements poller.Outbox.
func (o outbox) Changed() <-chan struct{} { return o.changed }

func closesOf(waiting []state.Request) []poller.Close {
	out := make([]poller.Close, 0, len(waiting))
	for _, r := range waiting {
		c := poller.Close{ID: r.ID, Alert: r.Alert, State: r.State, Keep: r.Keep, Comment: r.Comment, At: r.At, Doubtful: r.Doubtful, Seen: r.Seen}
		for _, f := range r.Fields {
			c.Fields = append(c.Fields, alert.Field{Name: f.Name, Value: f.Value})
		}
		out = append(out, c)
	}
	return out
}

var outcomes = map[poller.Outcome]state.Outcome{poller.Done: state.Done, poller.Already: state.Already, poller.Refused: state.Refused}

// Begin implements poller.Outbox.
func (o outbox) Begin(ctx context.Context, begun []poller.Begun) error {
	var op state.Begin
	for _, b := range begun {
		op.Begun = append(op.Begun, state.Begun{ID: b.ID, Seen: b.Seen})
	}
	return o.propose(ctx, op, "record which close requests are begun")
}

// Settle implements poller.Outbox.
func (o outbox) Settle(ctx context.Context, settled []poller.Settlement) error {
	op := state.Settle{At: time.Now().UTC()}
	for _, s := range settled {
		op.Settled = append(op.Settled, state.Settlement{ID: s.ID, Outcome: outcomes[s.Outcome], Reason: s.Reason})
	}
	for _, piece := range state.SplitSettle(op) {
		if err := o.propose(ctx, piece, "record how close requests ended"); err != nil {
			return err
		}
	}
	return nil
}

// propose has op committed under the term's token.
func (o outbox) propose(ctx context.Context, op state.Op, what string) error {
	res, err := o.term.Propose(ctx, op)
	if err == nil {
		err = res.Err
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrTermOver):
		return poller.ErrTermOver
	case errors.Is(err, cluster.ErrUnknownOutcome):
		return poller.ErrUnknownOutcome
	case errors.Is(err, state.ErrParkedFull):
		return poller.ErrParkedFull
	}
	return fmt.Errorf("%s: %w", what, err)
}
