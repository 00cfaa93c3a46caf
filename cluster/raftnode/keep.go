package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster/state"
)

// keepEvery is how often the keeper looks around.
const keepEvery = 100 * time.Millisecond

// change is something that only the keeper may do.
type change struct {
	do   func() error
	done chan error // one slot
}

// keep is the one goroutine that starts, stops and replaces raft once the node is open: it forms or joins a cluster, yields
// to a higher epoch, takes over, and carries out what others ask of it by change.
func (n *Node) keep(ctx context.Context) {
	daily := time.NewTicker(24 * time.Hour)
	defer daily.Stop()
	for ctx.Err() == nil && n.failedNow() == nil { // what was left half done is then not to be taken for an empty folder
		if err := n.look(ctx); err != nil {
			if ctx.Err() == nil {
				n.fail(err)
			}
			return
		}
		select {
		case o := <-n.joined:
			err := errors.New("it belongs to a cluster already")
			if n.inst.Load() == nil {
				if err = n.join(o); err != nil {
					n.fail(fmt.Errorf("join the cluster: %w", err))
				}
			}
			o.reply <- err
		case c := <-n.changes:
			c.done <- c.do()
		case why := <-n.rebuilds:
			n.rebuild(why) //nolint:errcheck // it has ended the node
		case <-time.After(n.nextBeat(n.lookEvery())):
		case now := <-daily.C:
			if err := n.pruneArchives(now); err != nil {
				n.log.Warn("old archives were not removed", "error", err)
			}
		case <-ctx.Done():
		}
	}
}

// lookEvery is keepEvery, or rarer once this node is in its cluster, and more so where there are no others who could bring news.
func (n *Node) lookEvery() time.Duration {
	switch {
	case n.inst.Load() == nil:
		return keepEvery
	case len(n.peers) > 0:
		return lookingEvery
	}
	return restingEvery
}

// look does what is due. Its error ends the node.
func (n *Node) look(ctx context.Context) error {
	if n.inst.Load() == nil {
		return n.form()
	}
	n.setWaiting("")
	if err := n.arrive(); err != nil {
		return err
	}
	if winner, ok := n.higherEpoch(); ok && !n.mayOwnClaimAfter(ctx, winner.now().Epoch) {
		return n.yield(ctx, winner)
	}
	n.considerTakeover(ctx)
	return nil
}

// change has the keeper do something, and returns its error.
func (n *Node) change(ctx context.Context, do func() error) error {
	c := change{do: do, done: make(chan error, 1)}
	select {
	case n.changes <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-n.failed:
		return n.failure
	case <-n.stopped:
		return errClosed
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.failed:
		return n.failure
	case <-n.stopped:
		return errClosed
	}
}

// rebuildSoon has the keeper rebuild; it never waits.
func (n *Node) rebuildSoon(why string) {
	select {
	case n.rebuilds <- why:
	default:
	}
}

// rebuild replaces the raft instance by a new one on the same store, which follows until it is elected. Only the keeper
// calls it; an error has ended the node.
func (n *Node) rebuild(why string) error {
	n.log.Warn("starting raft anew", "reason", why)
	return n.without(func() error { return nil })
}

// without ends raft, runs f with nobody using the store, and starts raft again unless the store is empty then.
func (n *Node) without(f func() error) error {
	err := n.pauseRaft()
	if err == nil {
		err = f()
	}
	if err == nil {
		var empty bool
		err = guarded(func() (err error) {
			empty, err = n.storeEmpty()
			return err
		})
		if err == nil && !empty {
			err = n.startRaft()
		}
	}
	if err != nil && !errors.Is(err, errClosed) {
		n.fail(err)
	}
	return err
}

// pauseRaft ends the term and raft, and waits until neither uses the store or the state any more.
func (n *Node) pauseRaft() error {
	n.led.end()
	select {
	case n.office <- struct{}{}: // the term has ended, its lead included
		<-n.office
	case <-n.stopped:
		return errClosed
	}
	if i := n.inst.Load(); i != nil {
		n.kept.Store(i.raft.LastIndex())
	}
	n.port.CloseRaft()
	if err := n.stopRaft(); err != nil {
		return fmt.Errorf("end raft: %w", err)
	}
	n.inst.Store(nil)
	return n.store.fault()
}

// recoverAlone makes this node the only voter of what it has. Everything in its log counts as committed then.
func (n *Node) recoverAlone() error {
	conf := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(n.cfg.NodeID), Address: raft.ServerAddress(n.cfg.ClusterAddress)}}}
	var broken error
	scratch := &fsm{state: state.New(), fail: func(err error) { broken = err }, begun: func() {}}
	err := guarded(func() error {
		i := n.newInstance()
		defer i.transport.Close() //nolint:errcheck // only its address is used
		return raft.RecoverCluster(n.raftConfig(i), scratch, n.store, n.store, n.snaps, i.transport, conf)
	})
	if err = errors.Join(err, broken); err != nil {
		return fmt.Errorf("make this node the only voter: %w", err)
	}
	return nil
}
