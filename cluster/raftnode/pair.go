package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// pairTiming is what a strict pair needs beside the timing of its elections. Two voters must both agree, so the
// leader that loses its follower has to go on without it before its own lease ends; afterwards it cannot.
// Measured: demoted 0.75 to 0.88 s after the follower was lost, with a lease of 1 s.
type pairTiming struct {
	rpc     time.Duration // bounds one message: a black hole must be noticed several times within the lease
	silence time.Duration // the follower has answered nothing for that long
	stall   time.Duration // the follower answers, but nothing was committed for that long
	share   time.Duration // bounds one access to the claims; with silence and a write it stays below the lease
}

var pairTimings = map[string]struct {
	timing
	pairTiming
}{
	"lan": {
		timing{time.Second, time.Second, time.Second, 250 * time.Millisecond},
		pairTiming{rpc: 250 * time.Millisecond, silence: 400 * time.Millisecond, stall: time.Second, share: 200 * time.Millisecond},
	},
	"relaxed": {
		timing{2 * time.Second, 2 * time.Second, 2 * time.Second, 400 * time.Millisecond},
		pairTiming{rpc: 400 * time.Millisecond, silence: 800 * time.Millisecond, stall: 2 * time.Second, share: 500 * time.Millisecond},
	},
}

// strictPair: two members, both of which must agree. A witness as the second one is no better than another node.
func (c Config) strictPair() bool { return len(c.Members) == 2 }

func (c Config) pair() *pairTiming {
	if !c.strictPair() {
		return nil
	}
	p := pairTimings[c.Timing].pairTiming
	return &p
}

// claims is the arbiter of a pair that has one.
func (c Config) claims() Claims {
	switch {
	case !c.strictPair() || c.PairTakeover != takeoverClaim:
		return nil
	case c.Claims != nil:
		return c.Claims
	}
	return FileClaims(c.ClaimDir)
}

func (c Config) timing() timing {
	if c.strictPair() {
		return pairTimings[c.Timing].timing
	}
	return timings[c.Timing].forRole(c.Role)
}

const (
	// stalledEvery is how often the leader of a pair looks at what its follower has not confirmed.
	stalledEvery = 50 * time.Millisecond
	// againAfter is the first pause before a follower that was taken back and lost again within steadyFor is taken
	// back once more; it doubles up to againLimit. A disk that is slow, not broken, would else be demoted every second.
	againAfter = 2 * time.Second
	againLimit = time.Minute
	steadyFor  = time.Minute
)

// returns is when a demoted follower may vote again. Only the leader's own goroutines of one term use it.
type returns struct {
	demoted, promoted time.Time
	pause             time.Duration
	index             uint64 // of the demotion in the log
}

func (r *returns) demote(now time.Time, index uint64) {
	switch {
	case r.demoted.IsZero() || now.Sub(r.promoted) > steadyFor:
		r.pause = 0
	default:
		r.pause = min(max(againAfter, 2*r.pause), againLimit)
	}
	r.demoted, r.index = now, index
}

func (r *returns) may(now time.Time) bool { return r.demoted.IsZero() || now.Sub(r.demoted) >= r.pause }

// guardPair has the leader of a strict pair go on without a follower that is lost, before its lease ends. With
// claims it asks these first: the follower may have given up this leader, too.
func (n *Node) guardPair(ctx context.Context, t *term) {
	if n.pair == nil {
		return
	}
	var p *peer
	for _, p = range n.peers { // there is one
	}
	progress := progress{at: time.Now(), rests: true}
	for n.nextGuard(ctx, t, p, progress) {
		if suffrage(n.servers(), p.NodeID) != "voter" || n.third() != "" {
			progress.at = time.Now()
			continue
		}
		lost := n.lostFollower(t, p, &progress)
		if lost == "" {
			continue
		}
		if err := n.goOnAlone(ctx, t, p, lost); err != nil {
			if errors.Is(err, errClaimLost) {
				return
			}
			n.log.Debug("the follower cannot be demoted yet", "error", err)
		}
	}
}

// nextGuard waits for the moment at which the follower may be lost, or the next beat; false: ctx has ended.
func (n *Node) nextGuard(ctx context.Context, t *term, p *peer, last progress) bool {
	if !last.rests {
		return n.beat(ctx, stalledEvery)
	}
	return n.beatBefore(ctx, lookingEvery, later(p.lastAck(), t.since).Add(n.pair.silence))
}

// third is a voter of which this node's file knows nothing: a witness that was taken out of the files and is not removed yet. While there
// is one the majority is not for a pair to change. Once the follower's vote had been taken away, with the witness gone already, the
// leader needed the witness for each commit, and no election could be won, whoever came back.
func (n *Node) third() string {
	for _, s := range n.servers() {
		if _, named := n.cfg.member(string(s.ID)); s.Suffrage == raft.Voter && !named {
			return string(s.ID)
		}
	}
	return ""
}

// progress is when the commit index was last seen to follow the log.
type progress struct {
	commit uint64
	at     time.Time
	rests  bool // all was committed then: what is not any more is counted from when that is first seen
}

// lostFollower says how the follower was lost; empty: it was not.
func (n *Node) lostFollower(t *term, p *peer, last *progress) string {
	now := time.Now()
	if acked := p.lastAck(); now.Sub(later(acked, t.since)) > n.pair.silence {
		return fmt.Sprintf("it has not answered for %v", now.Sub(acked).Round(time.Millisecond))
	}
	r := t.inst.raft
	commit := r.CommitIndex()
	rests := commit == r.LastIndex()
	if commit != last.commit || rests || last.rests {
		*last = progress{commit, now, rests}
	}
	if now.Sub(last.at) > n.pair.stall {
		return fmt.Sprintf("it has confirmed nothing for %v, though it answers", now.Sub(last.at).Round(time.Millisecond))
	}
	return ""
}

// errClaimLost: the sibling goes on alone.
var errClaimLost = errors.New("the other node has claimed the next epoch")

// goOnAlone takes the follower's vote away. With claims the epoch is claimed before, and begun after. All that takes a while, in which
// the follower may come back and be given a vote anew: behind that one the epoch that was claimed could never begin.
func (n *Node) goOnAlone(ctx context.Context, t *term, p *peer, why string) (err error) {
	t.parting.Store(true)
	defer func() {
		if err != nil || n.claims == nil { // else the term ends
			t.parting.Store(false)
		}
	}()
	if suffrage(n.servers(), p.NodeID) != "voter" {
		return errors.New("it has lost its vote already")
	}
	next := state.Epoch{Number: n.fsm.state.Token().Epoch.Number + 1, Node: n.cfg.NodeID}
	if n.claims != nil {
		if err := n.claim(ctx, next.Number, n.pair.share); err != nil {
			n.log.Error("this node stops leading: it cannot go on alone without the claim, and the other node may have it", "member", p.NodeID, "lost", why, "error", err)
			n.led.end()
			n.rebuildSoon("the claim was not won")
			return errClaimLost
		}
	}
	f := t.inst.raft.DemoteVoter(raft.ServerID(p.NodeID), 0, n.pair.silence)
	if err := n.settle(ctx, f); err != nil {
		if n.claims != nil {
			n.recalled.Store(false) // should this leadership end with that, the claim must be used all the same
		}
		return err
	}
	p.demotedNow(f.Index())
	n.log.Warn("this node goes on alone: the other one has no vote until it has caught up", "member", p.NodeID, "lost", why)
	if n.claims == nil {
		return nil
	}
	err = n.changeIdentity(func(id *identity) {
		id.Forced = forced{Epoch: next, Why: cluster.Reason{Cause: cluster.CauseAlone, Text: p.NodeID + " was lost"}}
		id.forks(fork{Epoch: next, Before: t.token.Epoch, Last: f.Index()})
	})
	if err != nil {
		n.fail(err)
		return err
	}
	t.again()
	return nil
}
