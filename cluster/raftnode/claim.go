package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// Claim is who goes on alone in an epoch: the content of a claim's file.
type Claim struct {
	ClusterID string
	NodeID    string
	// Incarnation of the data folder that made it: a node that was wiped since does not own it.
	Incarnation string
	// ID is random: an older copy of that folder does not know it, and does not own the claim either.
	ID string
	At time.Time
}

// Claims is the arbiter of a pair: a place that both nodes reach where a claim is made once and for ever.
// There is no time to live, no clock, and nothing is ever deleted. Calls may overlap.
type Claims interface {
	// Claim makes the claim of the epoch's number if there is none, and returns whose it is then. An error leaves
	// open whether it was made: read the owner.
	Claim(ctx context.Context, epoch uint64, by Claim) (owner Claim, err error)
	// Owner is whose the claim is; found is false if nobody has made it.
	Owner(ctx context.Context, epoch uint64) (owner Claim, found bool, err error)
}

// ours reports whether this very data folder made the claim, and knows of it.
func (c Claim) ours(id identity) bool {
	return c.ClusterID == id.ClusterID && c.NodeID == id.NodeID && c.Incarnation == id.Incarnation && c.ID == id.ClaimID
}

// claim makes this node the one that goes on alone in the epoch, or says why it is not.
func (n *Node) claim(ctx context.Context, epoch uint64, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 2*within)
	defer cancel()
	first, done := context.WithTimeout(ctx, within)
	defer done()
	err := n.changeIdentity(func(id *identity) {
		if id.Claiming != epoch || id.ClaimID == "" {
			id.Claiming, id.ClaimID = epoch, randomID()
		}
	})
	if err != nil {
		n.fail(err)
		return err
	}
	n.recalled.Store(false)
	id := n.ident()
	by := Claim{ClusterID: id.ClusterID, NodeID: id.NodeID, Incarnation: id.Incarnation, ID: id.ClaimID, At: time.Now().UTC()}
	owner, err := n.claims.Claim(first, epoch, by)
	if err != nil { // it may have been made all the same
		var found bool
		var again error
		if owner, found, again = n.claims.Owner(ctx, epoch); again != nil {
			return fmt.Errorf("claim epoch %d: %w; read whose it is: %w", epoch, err, again)
		}
		if !found {
			return fmt.Errorf("claim epoch %d: %w", epoch, err)
		}
	}
	n.recalled.Store(true) // it is known now what came of it
	if err := owner.sameCluster(id.ClusterID); err != nil {
		return err
	}
	if !owner.ours(id) {
		return fmt.Errorf("%w: epoch %d is %s's since %s", errClaimLost, epoch, owner.NodeID, owner.At.Format(time.RFC3339))
	}
	return nil
}

// claimAndBegin goes on alone if the claim of the epoch after the one in this node's own log is its own: a node that was left
// behind can never win.
func (n *Node) claimAndBegin(ctx context.Context, w seen, why cluster.Reason) error {
	next, err := n.nextEpoch()
	if err != nil {
		return err
	}
	if w.won == 0 {
		if err := n.claim(ctx, next, time.Second); err != nil {
			return err
		}
		n.useClaim(next)
	} else if w.won != next {
		n.useClaim(0)
		return fmt.Errorf("the claim of epoch %d is of no use any more: the cluster has gone past it", w.won)
	}
	return n.begin(next, why)
}

// useClaim has the keeper begin the epoch whose claim is this node's; 0: there is none.
func (n *Node) useClaim(epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watching.won = epoch
}

// nextEpoch is the number after that of the epoch in this node's own log. What is applied of the log may be far behind it: after a
// start, or once raft was started anew, as far as the last snapshot.
func (n *Node) nextEpoch() (uint64, error) {
	epoch, err := n.storedEpoch()
	return epoch.Number + 1, err
}

func (n *Node) storedEpoch() (state.Epoch, error) {
	held, err := n.stored()
	if err != nil {
		return state.Epoch{}, err
	}
	if epoch := n.ident().Epoch; compareEpochs(epoch, held.Token().Epoch) > 0 {
		return epoch, nil
	}
	return held.Token().Epoch, nil
}

// recallClaim: a claim that this node set out to make may be its own, though its process has ended since or the share did not answer
// in time. Nobody else can go on alone then, so that it must be used. One that is not there may still come: a share may be slow.
func (n *Node) recallClaim(ctx context.Context) error {
	id := n.ident()
	if n.claims == nil || n.recalled.Load() || id.Claiming <= id.Epoch.Number {
		return nil
	}
	if time.Since(n.recallAt) < recallEvery {
		return errRecallSoon
	}
	n.recallAt = time.Now()
	look, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	owner, found, err := n.claims.Owner(look, id.Claiming)
	if err != nil || !found {
		return err
	}
	n.recalled.Store(true)
	if owner.ours(id) {
		n.useClaim(id.Claiming)
	}
	return nil
}

// errRecallSoon: the share was looked at a moment ago.
var errRecallSoon = errors.New("the claims were read a moment ago")

// mayOwnClaimAfter: the claim of an epoch after the given one is this node's, or may be for all that is known. It is the keeper's. An
// operator's force can put both nodes into epochs of one number. The one that would yield must then use its claim: the other one waits
// for that, and nobody would lead.
func (n *Node) mayOwnClaimAfter(ctx context.Context, epoch state.Epoch) bool {
	if n.claims == nil || n.ident().Claiming <= epoch.Number {
		return false
	}
	if n.recallClaim(ctx) != nil {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.watching.won > epoch.Number
}

// awaitLeaseEnd waits, where claims promise that never two lead, until a leader to whom this node has confirmed anything, or whom it
// has elected, must have stopped. The claim may have been won long after it was asked for, and such a leader be in office by then.
func (n *Node) awaitLeaseEnd(ended *instance) error {
	if n.claims == nil {
		return nil
	}
	timer := time.NewTimer(time.Until(ended.lastVoice().Add(n.timing.lease + claimAfter)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-n.failed:
		return n.failure
	case <-n.stopped:
		return errClosed
	}
}

// maxClaims bounds how many claims of others an operator's force goes past.
const maxClaims = 16

// claimForOperator makes the claim that a takeover needs where claims decide, and returns its epoch. With force it goes past the
// claims of a node that never used them, and does without where the share is out of reach: somebody has looked, and says so.
func (n *Node) claimForOperator(ctx context.Context, epoch uint64, force bool) (uint64, error) {
	if n.claims == nil {
		return epoch, nil
	}
	for range maxClaims {
		err := n.claim(ctx, epoch, time.Second)
		switch {
		case err == nil:
			return epoch, nil
		case !force:
			return 0, fmt.Errorf("%w: %w; with force this node goes on all the same: make sure that the other one is off", cluster.ErrWarned, err)
		case !errors.Is(err, errClaimLost):
			n.log.Warn("taking over by force, although the claim could not be made", "epoch", epoch, "error", err)
			return epoch, nil
		}
		epoch++
	}
	return 0, fmt.Errorf("the claims of %d epochs are another node's: look into ClaimDir", maxClaims)
}

// claimAllows: with claims, a sole voter leads only if nobody else has claimed the epoch after its own.
func (n *Node) claimAllows(ctx context.Context) bool {
	if n.claims == nil {
		return true
	}
	for {
		var owner Claim
		var found bool
		next, err := n.nextEpoch()
		if err == nil {
			look, cancel := context.WithTimeout(ctx, time.Second)
			owner, found, err = n.claims.Owner(look, next)
			cancel()
		}
		switch {
		case err != nil:
			n.setHolding("this node does not lead before it has read the claims: " + err.Error())
		case found && owner.sameCluster(n.ident().ClusterID) != nil:
			n.setHolding("this node does not lead: " + owner.sameCluster(n.ident().ClusterID).Error())
		case found && owner.NodeID == n.cfg.NodeID && !owner.ours(n.ident()):
			n.setHolding("this node has gone on alone since its data was as it is now: its data folder is an older copy, or was wiped; put the newer one back, or wait for " + n.sibling())
		case found && !owner.ours(n.ident()):
			n.setHolding(owner.NodeID + " has claimed to go on alone: waiting for it")
		default:
			return true
		}
		if !pause(ctx, yieldRetry) {
			return false
		}
		if _, lost := n.higherEpoch(); lost {
			return false
		}
	}
}
