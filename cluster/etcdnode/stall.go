package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"scomconnector/cluster"
)

const (
	// refusalHolds is how long a refused write stands for the next ones, where no other is tried.
	refusalHolds = 5 * time.Second
	// stalledPause is the pause before leadership is contested again in an etcd that takes no writes.
	stalledPause = time.Second
)

// noting is an etcd whose refusals of writes are remembered: a leader keeps its lease without any, and commits nothing.
type noting struct {
	kv
	n *Node
}

func (k noting) Txn(ctx context.Context, when []cond, then, orElse []op) (outcome, error) {
	out, err := k.kv.Txn(ctx, when, then, orElse)
	for _, o := range then {
		if o.kind == opPut { // a full etcd still deletes
			k.n.noteWrite(err)
			break
		}
	}
	return out, err
}

func (k noting) Grant(ctx context.Context, ttl time.Duration) (int64, time.Duration, error) {
	id, granted, err := k.kv.Grant(ctx, ttl)
	if err != nil { // who may have a lease may not write for that
		k.n.noteWrite(err)
	}
	return id, granted, err
}

// writeRefusals is what is known of them; the zero value: writes are taken.
type writeRefusals struct {
	last  cluster.Stall // by the last answer to a write
	at    time.Time     // of that refusal
	wrote time.Time     // when a write was taken last
	full  time.Time     // since when an endpoint shows the alarm; zero: none does
}

// noteWrite keeps what a write was answered; other errors than refusals say nothing.
func (n *Node) noteWrite(err error) {
	s := stallOf(err, n.cfg)
	n.mu.Lock()
	defer n.mu.Unlock()
	now, r := time.Now(), &n.refusals
	switch {
	case err == nil:
		*r = writeRefusals{wrote: now}
	case s.Text == "":
	default:
		s.Since = now.UTC()
		if r.last.Text == s.Text && now.Sub(r.at) < refusalHolds {
			s.Since = r.last.Since
		}
		r.last, r.at = s, now
	}
}

// stall is why nothing can be written now, whoever leads. Who does not write sees a full etcd by its alarm, which is looked at now and
// then: a write that was taken since says more.
func (n *Node) stall() cluster.Stall {
	full := false
	for _, e := range n.kv.Endpoints() {
		full = full || e.Full()
	}
	n.replica.mu.Lock()
	applied := n.replica.applied // this node's own commit, or another's
	n.replica.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	now, r := time.Now(), &n.refusals
	if !applied.Before(r.at) {
		if applied.After(r.wrote) {
			r.wrote = applied
		}
		r.last = cluster.Stall{}
	}
	switch {
	case !full:
		r.full = time.Time{}
	case r.full.IsZero():
		r.full = now
	}
	if r.last.Text != "" && now.Sub(r.at) < refusalHolds {
		return r.last
	}
	if full && now.Sub(r.wrote) > healthEvery+attemptTime {
		s := stallOf(rpctypes.ErrNoSpace, n.cfg)
		s.Since = r.full.UTC()
		return s
	}
	return cluster.Stall{}
}

// stallOf is for an answer that each write will get; the zero value: another may be taken.
func stallOf(err error, cfg Config) cluster.Stall {
	switch {
	case err == nil:
	case errors.Is(err, rpctypes.ErrNoSpace):
		return cluster.Stall{Text: "etcd takes no writes: its database is full", Do: cluster.FreeEtcd}
	case errors.Is(err, rpctypes.ErrPermissionDenied) && cfg.User == "":
		return cluster.Stall{Text: "etcd takes no writes without a user", Do: fmt.Sprintf("set Etcd.User and Etcd.Password, for a user with the right to read and write all keys that begin with %s", cfg.Prefix)}
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return cluster.Stall{
			Text: fmt.Sprintf("etcd takes no writes of user %q to the keys that begin with %s", cfg.User, cfg.Prefix),
			Do:   fmt.Sprintf("give a role of that user the right: `etcdctl role grant-permission ROLE --prefix=true readwrite %s`; or correct Etcd.User or Etcd.Prefix", cfg.Prefix),
		}
	}
	return cluster.Stall{}
}
