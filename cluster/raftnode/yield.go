package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

const (
	// soleVoterWait is how long a sole voter that has just started asks its siblings for their epoch before it leads.
	soleVoterWait = 10 * time.Second
	// yieldRetry is the pause before the handing over of what this node alone has is tried again.
	yieldRetry = time.Second
	// winnerPatience is how long the winner may be out of contact meanwhile.
	winnerPatience = 15 * time.Second
)

// higherEpoch is a member of this cluster that shows the committed beginning of a higher epoch.
func (n *Node) higherEpoch() (*peer, bool) {
	id := n.ident()
	if id.Forced.pending() {
		return nil, false // first this node's own is begun, then the two are compared
	}
	for _, p := range n.peers {
		k := p.now()
		if k.fresh() && !k.Empty && k.ClusterID == id.ClusterID && compareEpochs(k.Epoch, id.Epoch) > 0 {
			return p, true
		}
	}
	return nil, false
}

// yield gives up this node's epoch for a higher one: it stops leading, puts its state aside, hands over what the other side
// does not have, and starts from nothing as a member of the winner's. It is the keeper's, and is repeated as a whole if it is
// interrupted: what is handed over twice changes nothing.
func (n *Node) yield(ctx context.Context, winner *peer) error {
	own, theirs := n.ident().Epoch, winner.now().Epoch
	n.log.Warn("another node has gone on in a higher epoch: this one stops, puts its state aside and joins it",
		"member", winner.NodeID, "epoch", theirs.Number, "own", own.Number)
	n.setWaiting(fmt.Sprintf("handing over to %s, which has gone on in epoch %d", winner.NodeID, theirs.Number))
	if err := n.pauseRaft(); err != nil {
		return err
	}
	held, err := n.stored()
	if err != nil {
		return err
	}
	if n.ident().Arrival == 0 { // who was only being taken in has nothing
		spare, err := n.archiveState()
		if err != nil {
			return err
		}
		if held.Leader() != theirs.Node || !n.reachedBy(ctx, theirs.Node, held.Token().Epoch) {
			spare, err = "", n.bequeath(ctx, held)
		}
		if errors.Is(err, errWinnerGone) {
			n.log.Warn("the node of the higher epoch is out of contact again: this one goes on as before, and hands over once it is back", "member", winner.NodeID)
			return n.startRaft()
		}
		if err == nil && spare != "" {
			err = n.changeIdentity(func(id *identity) { id.Spare = spare })
		}
		if err != nil {
			return err
		}
	}
	if err := n.wipe(); err != nil {
		return err
	}
	n.log.Info("this node has yielded and waits to be taken in", "member", winner.NodeID)
	return nil
}

// reachedBy reports whether the node that has begun the winner's epoch, and was the last leader that this node knew, went on with all
// that is here: then it lacks nothing. It does where its folder is an older copy, or may do for all that it says. raft must not run.
func (n *Node) reachedBy(ctx context.Context, nodeID string, from state.Epoch) bool {
	p := n.peers[nodeID]
	last, err := n.lastStored()
	if p == nil || err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, handoverTimeout)
	defer cancel()
	resp, err := n.ask(ctx, p.Member, request{Op: opReached, Epoch: from, Last: last})
	return err == nil && resp.Fault == ""
}

// bequeath has the winner's side commit what this node alone has, however long that takes. Its error is ctx's or the node's.
func (n *Node) bequeath(ctx context.Context, held *state.State) error {
	said, reached := "", time.Now()
	for _, op := range state.Merge(n.cfg.NodeID, held, time.Now().UTC()) {
		data, err := state.Encode(state.Command{Op: op})
		if err != nil {
			return fmt.Errorf("hand over to the node that went on: %w", err)
		}
		for {
			err := n.bequeathOne(ctx, data)
			if err == nil {
				break
			}
			if _, there := n.higherEpoch(); there {
				reached = time.Now()
			} else if time.Since(reached) > winnerPatience {
				return errWinnerGone
			}
			if err.Error() != said {
				said = err.Error()
				n.setWaiting("handing over what only this node has: " + said)
				n.log.Warn("what only this node has cannot be handed over yet; it stays here until it can", "reason", err)
			}
			if !pause(ctx, yieldRetry) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// errWinnerGone: who was to take it over is out of contact.
var errWinnerGone = errors.New("the node of the higher epoch is out of contact")

// errNobodyTakes: no member of a higher epoch could commit it.
var errNobodyTakes = errors.New("no node of the higher epoch leads at the moment")

// bequeathOne asks each member of a higher epoch, of which one leads.
func (n *Node) bequeathOne(ctx context.Context, data []byte) error {
	last, own := errNobodyTakes, n.ident().Epoch
	for _, p := range n.peers {
		if k := p.now(); !k.fresh() || compareEpochs(k.Epoch, own) <= 0 {
			continue
		}
		try, cancel := context.WithTimeout(ctx, handoverTimeout)
		resp, err := n.ask(try, p.Member, request{Op: opPropose, Command: data})
		cancel()
		switch {
		case err != nil:
			last = deepest(err)
		case resp.Fault != "" && resp.Fault != port.FaultNotLeader:
			last = errors.New(resp.Fault)
		case resp.Fault == "" && resp.Refused != "":
			last = port.RefusalFromWire(resp.Refused)
		case resp.Fault == "":
			return nil
		}
	}
	return last
}

// wipe makes this node an empty one with a new incarnation. raft must not run.
func (n *Node) wipe() error {
	n.saving <- struct{}{}
	defer func() { <-n.saving }()
	id := n.ident().clone().wiped()
	var snaps raft.SnapshotStore
	err := n.store.replace(func() (logs raft.LogStore, stable raft.StableStore, err error) {
		if err = n.store.within("wipe", func() error { return n.folder.wipe(id) }); err == nil {
			logs, stable, snaps, err = n.folder.open()
		}
		return logs, stable, err
	})
	if err != nil {
		return fmt.Errorf("start from nothing: %w", err)
	}
	n.mu.Lock()
	n.identity = id
	n.watching = takeoverWatch{}
	n.kept.Store(0) // with the incarnation, see describe
	n.mu.Unlock()
	n.snaps = sealedSnapshots{snaps, n.store}
	n.fsm.reset()
	return nil
}

// soleVoter: nobody else is asked before this node leads.
func (n *Node) soleVoter() bool {
	voters := 0
	for _, s := range n.servers() {
		if suffrage(n.servers(), string(s.ID)) == "voter" {
			voters++
		}
	}
	return voters == 1 && suffrage(n.servers(), n.cfg.NodeID) == "voter"
}

// awaitSiblings has a sole voter ask the others for their epoch before it leads, since one of them may have gone on without it
// while this process did not run or its machine stood still. Who is out of reach for ten seconds since then is not waited for.
// false: this node must not lead.
func (n *Node) awaitSiblings(ctx context.Context) bool {
	if n.formed.Load() || !n.soleVoter() || n.ident().Forced.pending() {
		return true
	}
	defer n.setHolding("")
	for {
		silent, leads := "", ""
		for _, p := range n.peers {
			switch k := p.now(); {
			case !k.fresh():
				silent = p.NodeID
			case k.Leader != "" && k.Leader != n.cfg.NodeID && !n.foreign(k.greeting) && k.Epoch == n.ident().Epoch:
				leads = k.Leader // the data folder of this node is an older copy
			}
		}
		if _, lost := n.higherEpoch(); lost {
			return false
		}
		if leads == "" && (silent == "" || time.Since(n.awake()) >= soleVoterWait) {
			break
		}
		if leads != "" {
			n.setHolding(leads + " leads already, which this node's data does not know of: waiting to be taken in by it")
		} else {
			n.setHolding("asking " + silent + " whether it has gone on without this node")
		}
		if !pause(ctx, retryTerm) {
			return false
		}
	}
	return n.claimAllows(ctx)
}

// awake is since when this process has run without standing still.
func (n *Node) awake() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused.After(n.opened) {
		return n.paused
	}
	return n.opened
}
