package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// tenure is how long a term may last: until the lease could be given away, less a margin, counted on this machine's monotonic clock from
// before the last renewal that succeeded was sent. Then its context ends, whatever etcd says or does not say.
type tenure struct {
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex // guards what follows
	deadline time.Time
	timer    *time.Timer
	ttl      time.Duration
}

var errLeaseOver = errors.New("the lease was not renewed in time")

func newTenure(ctx context.Context, sent time.Time, ttl time.Duration) *tenure {
	t := &tenure{}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	t.timer = time.AfterFunc(time.Hour, func() { t.expire() })
	t.renewed(sent, ttl)
	return t
}

// renewed moves the deadline; it never moves back.
func (t *tenure) renewed(sent time.Time, ttl time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := sent.Add(ttl - margin(ttl)); d.After(t.deadline) {
		t.deadline, t.ttl = d, ttl
	}
	t.timer.Reset(time.Until(t.deadline))
}

func (t *tenure) expire() {
	t.mu.Lock()
	left := time.Until(t.deadline)
	if left > 0 {
		t.timer.Reset(left)
	}
	t.mu.Unlock()
	if left <= 0 {
		t.cancel(errLeaseOver)
	}
}

// left is how long the term may go on unless it is renewed; 0: it is over.
func (t *tenure) left() time.Duration {
	if t.ctx.Err() != nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, time.Until(t.deadline))
}

// until is how long others cannot lead, as far as the last renewal goes.
func (t *tenure) until() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.deadline
}

func (t *tenure) end(why error) {
	t.cancel(why)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer.Stop()
}

// renew keeps the lease until the term ends. A lease lives on after its key was deleted by hand, so both are asked for: only a renewal
// after which the key was still there counts.
func (n *Node) renew(t *term) {
	every := t.tenure.ttl / 3
	for wait := every; pause(t.tenure.ctx, wait); {
		sent := time.Now()
		ctx, cancel := context.WithTimeout(t.tenure.ctx, max(t.tenure.left(), time.Millisecond))
		ttl, err := n.kv.KeepAlive(ctx, t.lease)
		if err == nil {
			var out outcome
			if out, err = n.kv.Txn(ctx, []cond{created(keyLeader, t.created)}, nil, nil); err == nil && !out.OK {
				err = errNotOurs
			}
		}
		cancel()
		switch {
		case err == nil:
			t.tenure.renewed(sent, ttl)
			wait = every
		case errors.Is(err, errNoLease), errors.Is(err, errNotOurs):
			t.tenure.end(fmt.Errorf("etcd: %w", err))
			return
		default:
			n.log.Debug("the lease was not renewed yet", "left", t.tenure.left().Round(time.Millisecond), "error", err)
			wait = retryEtcd
		}
	}
}

var errNotOurs = errors.New("the leader's key is not this term's any more")

// watchClocks ends the term when this machine stood still: its monotonic clock, by which the lease is counted, may have stood still
// too, and then only the wall clock shows it.
func (n *Node) watchClocks(t *term) {
	limit := margin(t.tenure.ttl) / 2
	mono, wall := time.Now(), n.cfg.Wall()
	for pause(t.tenure.ctx, limit/4) {
		now, there := time.Now(), n.cfg.Wall()
		passed, shown := now.Sub(mono), there.Sub(wall)
		mono, wall = now, there
		if (shown - passed).Abs() > limit {
			n.log.Warn("the clock jumped, or this machine stood still", "by", (shown - passed).Round(time.Millisecond))
			t.tenure.end(errors.New("a term is not carried over a pause of the machine"))
			return
		}
	}
}
