package daemon

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller"
	"scomconnector/poller/alert"
)

// ledger is one pipeline's part of the replicated state under one term's token, for as long as the pipeline is not rewound.
type ledger struct {
	term     cluster.Term
	state    *state.State
	pipeline string
	rewinds  uint64 // when the ledger was made
}

func newLedger(term cluster.Term, st *state.State, pipeline string) *ledger {
	p, _ := st.Pipeline(pipeline)
	return &ledger{term: term, state: st, pipeline: pipeline, rewinds: p.Rewinds}
}

func (l *ledger) Position() poller.Position {
	p, _ := l.state.Pipeline(l.pipeline)
	return poller.Position{Started: p.Started, Cursor: p.Cursor, Floor: p.Floor}
}

func (l *ledger) Sent(id alert.ID) (alert.Version, bool) { return l.state.Sent(l.pipeline, id) }
func (l *ledger) Open() []alert.Version                  { return l.state.Open(l.pipeline) }
func (l *ledger) Room() int                              { return l.state.Room(l.pipeline) }
func (l *ledger) Parked(key alert.ID) bool               { return l.state.HasParked(l.pipeline, key) }

// Entry implements poller.Ledger.
func (l *ledger) Entry(key alert.ID) (poller.Parked, bool) {
	e, ok := l.state.ParkedEntry(l.pipeline, key)
	if !ok {
		return poller.Parked{}, false
	}
	payload, err := inflate(e.Payload)
	if err != nil {
		payload = nil // what is damaged cannot be sent, and is said so
	}
	return poller.Parked{
		Key: e.Key, Version: e.Version, At: e.At, Reason: e.Reason, LAM: e.LAM, Status: e.Status, Answer: e.Answer, Payload: payload,
	}, true
}

// Unpark implements poller.Ledger.
func (l *ledger) Unpark(ctx context.Context, key alert.ID) error {
	err := l.propose(ctx, state.Unpark{Pipeline: l.pipeline, Keys: []alert.ID{key}})
	if errors.Is(err, state.ErrUnknown) {
		return nil
	}
	return err
}

func (l *ledger) Raised(kind string) bool {
	p, _ := l.state.Pipeline(l.pipeline)
	for _, k := range p.Raised {
		if k == kind {
			return true
		}
	}
	return false
}

// Commit proposes c in as many commands as it takes; the cursor stands in the last one, so that a
// crash in between leaves it behind what was recorded, never before it.
func (l *ledger) Commit(ctx context.Context, c poller.Commit) error {
	op := state.Commit{
		Pipeline: l.pipeline, Start: c.Start, Cursor: c.Cursor, Floor: c.Floor, Forget: c.Forget,
		Sent: c.Sent, Handled: c.Handled, Raised: c.Raised, Cleared: c.Cleared, Rewinds: l.rewinds,
	}
	for _, p := range c.Parked {
		packed, err := deflate(p.Payload)
		if err != nil {
			return err
		}
		op.Parked = append(op.Parked, state.Parked{
			Key: p.Key, Version: p.Version, At: p.At, Reason: p.Reason, LAM: p.LAM, Status: p.Status,
			Answer: p.Answer, Payload: packed,
		})
	}
	pieces, err := state.SplitCommit(l.term.Token, op)
	if errors.Is(err, state.ErrTooLarge) {
		return fmt.Errorf("%w: %w", poller.ErrTooLarge, err)
	}
	if err != nil {
		return fmt.Errorf("commit of %s: %w", l.pipeline, err)
	}
	for _, piece := range pieces {
		if err := l.propose(ctx, piece); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) propose(ctx context.Context, op state.Op) error {
	res, err := l.term.Propose(ctx, op)
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
	case errors.Is(err, state.ErrRewound):
		return poller.ErrRewound
	case errors.Is(err, state.ErrParkedFull):
		return poller.ErrParkedFull
	}
	return fmt.Errorf("commit of %s: %w", l.pipeline, err)
}

// maxInflated bounds what a parked payload may grow to when it is shown: an event is capped at
// MaxPayloadSizeInMB, which is at most 100 MB, but what is kept of it is at most 64 KiB deflated.
const maxInflated = 16 << 20

func deflate(payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return nil, nil
	}
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(payload); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// inflate undoes deflate, for showing.
func inflate(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, nil
	}
	r := flate.NewReader(bytes.NewReader(packed))
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxInflated))
}
