package poller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"scomconnector/poller/alert"
)

// Resent is what became of a parked event that was sent again.
type Resent struct {
	// Outcome is Delivered or Overtaken: in both cases the entry has left the shelf. StillRefused: it stays, with the new answer.
	Outcome ResendOutcome
	LAM     string // of StillRefused: who refuses it, and with what
	Status  int
	Answer  string
}

// ResendOutcome is how it ended.
type ResendOutcome uint8

// The outcomes.
const (
	Delivered    ResendOutcome = iota + 1
	Overtaken                  // a newer version of the alert was delivered meanwhile: nothing was sent
	StillRefused               // a LAM refuses it again
)

// Errors of Resend: no LAM has answered that it has taken it, and the entry, if there is one, is as it was. Any other says that the
// pipeline is over: the next one may be asked.
var (
	ErrNotParked = errors.New("it is not parked")
	ErrNoEvent   = errors.New("there is no whole event in it that could be sent")
	ErrAway      = errors.New("the destination takes nothing at present")
)

// resend is a parked event on its way to the sender and back.
type resend struct {
	key  alert.ID
	done chan resendResult // one slot
}

type resendResult struct {
	resent Resent
	err    error
}

// Resend sends a parked event again, between two batches. Versions of one alert stay in their order: a newer one that was delivered
// makes it pointless, and one that is still to come follows. It blocks until a LAM has answered, ctx ends, or the pipeline has ended
// (ErrTermOver). A crash between a LAM's answer and the record of it leaves the entry parked.
func (p *Pipeline) Resend(ctx context.Context, key alert.ID) (Resent, error) {
	if s := p.Status(); !s.LAMAwaySince.IsZero() {
		return Resent{}, fmt.Errorf("%w: %s", ErrAway, s.LastError)
	}
	r := resend{key: key, done: make(chan resendResult, 1)}
	select {
	case p.resends <- r:
	case <-p.over:
		return Resent{}, ErrTermOver
	case <-ctx.Done():
		return Resent{}, fmt.Errorf("%w: it has not finished the batch under way", ErrAway)
	}
	select {
	case x := <-r.done:
		return x.resent, x.err
	case <-ctx.Done():
		return Resent{}, ctx.Err()
	}
}

// resend answers r, always; the error is the end of the pipeline.
func (s *sender) resend(ctx context.Context, r resend) error {
	resent, err := s.sendAgain(ctx, r.key)
	r.done <- resendResult{resent, err}
	if err != nil && (over(err) || errors.Is(err, errEnded)) {
		return err
	}
	return nil
}

func (s *sender) sendAgain(ctx context.Context, key alert.ID) (Resent, error) {
	e, parked := s.p.ledger.Entry(key)
	switch sent, known := s.p.ledger.Sent(e.Version.ID); {
	case !parked:
		return Resent{}, ErrNotParked
	case known && sent.Supersedes(e.Version):
		return Resent{Outcome: Overtaken}, s.unpark(ctx, key)
	case e.LAM == "" || !json.Valid(e.Payload):
		return Resent{}, ErrNoEvent
	}
	d := s.p.sink.Publish(ctx, []alert.Event{{Version: e.Version, Body: e.Payload}})
	switch {
	case len(d.Refusals) > 0:
		s.returned(false)
		return s.refusedAgain(ctx, e, d.Refusals[0])
	case len(d.Verdicts) != 1 || d.Verdicts[0] != alert.Accepted:
		if ctx.Err() != nil {
			return Resent{}, errEnded
		}
		if d.Err != nil {
			return Resent{}, fmt.Errorf("%w: %w", ErrAway, d.Err)
		}
		return Resent{}, ErrAway
	}
	s.taken++
	s.count.sent.Inc()
	s.returned(true)
	s.log.Info("a parked event was sent again, and is accepted", "alert", e.Version.ID.String())
	return Resent{Outcome: Delivered}, s.unpark(ctx, key)
}

// refusedAgain keeps the new answer with the entry. Where that cannot be recorded the old one says as much.
func (s *sender) refusedAgain(ctx context.Context, e Parked, why alert.Refusal) (Resent, error) {
	e.At, e.LAM, e.Status, e.Answer = time.Now().UTC(), why.LAM, why.Status, why.Answer
	err := s.commitOnce(ctx, Commit{Parked: []Parked{e}})
	if err != nil && !over(err) {
		s.log.Warn("the new answer to a parked event cannot be recorded", "alert", e.Version.ID.String(), "error", err)
		err = nil
	}
	return Resent{Outcome: StillRefused, LAM: why.LAM, Status: why.Status, Answer: why.Answer}, err
}

// unpark takes an entry off the shelf. Its event is out, or not needed, so this is repeated as commit is.
func (s *sender) unpark(ctx context.Context, key alert.ID) error {
	return s.until(ctx, func(ctx context.Context) error { return s.p.ledger.Unpark(ctx, key) })
}
