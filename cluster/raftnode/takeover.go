package raftnode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

var _ cluster.Members = (*Node)(nil)

const (
	// claimAfter is added to the lease before a follower claims: the leader must have had its chance, and its last
	// publishing its end.
	claimAfter = time.Second
	// takeoverEvery is the pause between two attempts to take over by itself.
	takeoverEvery = time.Second
	// recallEvery is the pause between two looks at what became of a claim.
	recallEvery = 5 * time.Second
	// visitTime is what Config.MayTakeOver mostly takes.
	visitTime = 3 * time.Second
	// mayTimeout bounds Config.MayTakeOver.
	mayTimeout = 5 * time.Second
	// oldCopy is how old this node's copy may be before a takeover needs force.
	oldCopy = 10 * time.Minute
	// leadTimeout bounds how long a node that is its own only voter takes to lead.
	leadTimeout = 15 * time.Second
)

// takeoverWatch is what the keeper has seen of leaders, guarded by Node.mu.
type takeoverWatch struct {
	// followed is when this node was last a voter in contact with a leader, or led itself, in this process's lifetime.
	followed time.Time
	// heard is when there was last a leader of any kind.
	heard   time.Time
	triedAt time.Time
	refused string // why the last attempt by itself was not made; logged when it changes
	// won is the epoch whose claim is this node's: it must be begun, whoever is back by then.
	won uint64
}

// considerTakeover is the keeper's look at whether this node must go on alone by itself.
func (n *Node) considerTakeover(ctx context.Context) {
	n.recallClaim(ctx) //nolint:errcheck // it is tried again
	w := n.noteLeader()
	if n.cfg.Role == cluster.Witness || !n.cfg.strictPair() || n.cfg.PairTakeover == takeoverOperator || n.ident().Forced.pending() {
		return
	}
	now := time.Now()
	if w.won == 0 && (w.leaderNow || !n.mayTakeOverAlone(w) || now.Before(n.takeoverAt(w).Add(-n.askAhead())) || now.Sub(w.triedAt) < takeoverEvery) {
		return
	}
	n.mu.Lock()
	n.watching.triedAt = now
	n.mu.Unlock()
	if err := n.tryTakeover(ctx, w); err != nil && ctx.Err() == nil {
		n.mu.Lock()
		again := n.watching.refused == err.Error()
		n.watching.refused = err.Error()
		n.mu.Unlock()
		if !again {
			n.log.Warn("this node does not take over", "reason", err)
		}
	}
}

// seen is a copy of the watch with what is so at this moment.
type seen struct {
	takeoverWatch
	leaderNow bool
	paused    time.Time
}

// noteLeader keeps the watch up to date.
func (n *Node) noteLeader() seen {
	now, i := time.Now(), n.inst.Load()
	_, id := i.raft.LeaderWithID()
	leads, voter := n.term.Load() != nil, suffrage(n.servers(), n.cfg.NodeID) == "voter"
	heard := now
	if !leads {
		heard = i.raft.LastContact()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	w := &n.watching
	present := id != "" && (leads || string(id) != n.cfg.NodeID)
	if present && heard.After(w.heard) {
		w.heard = heard
		if voter {
			w.followed = heard
		}
		if w.won == 0 {
			w.refused = ""
		}
	}
	return seen{takeoverWatch: *w, leaderNow: present, paused: n.paused}
}

// mayTakeOverAlone: only who is a voter in its own log, and was in contact with the leader in this process's lifetime until
// the silence began, or led itself until its lease ended. A demoted node was left behind on purpose.
func (n *Node) mayTakeOverAlone(w seen) bool {
	return !n.partial() && !w.followed.IsZero() && w.followed.Equal(w.heard) && suffrage(n.servers(), n.cfg.NodeID) == "voter" &&
		n.third() == "" && !n.fsm.state.InMaintenance(n.cfg.NodeID)
}

// takeoverAt is when the patience ends. After a pause it starts anew, since a network may return later than the process.
func (n *Node) takeoverAt(w seen) time.Time {
	from := w.followed
	if w.paused.After(from) {
		from = w.paused
	}
	if n.cfg.PairTakeover == takeoverClaim {
		return from.Add(n.timing.lease + claimAfter)
	}
	return from.Add(n.cfg.TakeoverAfter)
}

// lostFor is the reason of a takeover that is begun now.
func (n *Node) lostFor(w seen) cluster.Reason {
	return cluster.Reason{Cause: cluster.CauseTakeover, Text: fmt.Sprintf("%s was lost for %v (%s)", n.sibling(), time.Since(w.followed).Round(time.Second), n.cfg.PairTakeover)}
}

// tryTakeover takes over by itself, or says why not. It is the keeper's.
func (n *Node) tryTakeover(ctx context.Context, w seen) error {
	next := n.highestEpoch() + 1
	if n.cfg.PairTakeover == takeoverClaim {
		return n.claimAndBegin(ctx, w, n.lostFor(w))
	}
	if p := n.peers[n.sibling()]; p != nil && p.now().fresh() {
		return fmt.Errorf("%s answers on its ClusterAddress", p.NodeID)
	}
	if n.cfg.MayTakeOver != nil {
		may, cancel := context.WithTimeout(ctx, mayTimeout)
		defer cancel()
		if err := n.cfg.MayTakeOver(may); err != nil {
			return err
		}
		// That took its time, or less than was given to it. The keeper has other things to do, too: it waits for no more than was left.
		if err := n.stillLost(w); err != nil {
			return err
		}
		if !pause(ctx, time.Until(n.takeoverAt(w))) {
			return ctx.Err()
		}
		if err := n.stillLost(w); err != nil {
			return err
		}
	}
	return n.begin(next, n.lostFor(w))
}

// stillLost says why the patience that began with what was seen counts no more.
func (n *Node) stillLost(since seen) error {
	switch now := n.noteLeader(); {
	case now.leaderNow || now.followed.After(since.followed):
		return errors.New("there is a leader again")
	case now.paused.After(since.paused):
		return errors.New("this process stood still meanwhile: TakeoverAfter begins anew")
	}
	return nil
}

// askAhead is how long before the end of its patience a node finds out whether it may take over: an address that is silent takes a
// few seconds to be given up.
func (n *Node) askAhead() time.Duration {
	if n.cfg.PairTakeover != takeoverAvailability || n.cfg.MayTakeOver == nil {
		return 0
	}
	return min(visitTime, n.cfg.TakeoverAfter/2)
}

// sibling is the other member of a pair; of three, those that this node needs.
func (n *Node) sibling() string {
	var ids []string
	for _, m := range n.cfg.Members {
		if m.NodeID != n.cfg.NodeID {
			ids = append(ids, m.NodeID)
		}
	}
	return strings.Join(ids, " and ")
}

// highestEpoch is the greatest epoch number that this node has heard of.
func (n *Node) highestEpoch() uint64 {
	highest := max(n.fsm.state.Token().Epoch.Number, n.ident().Epoch.Number)
	for _, p := range n.peers {
		highest = max(highest, p.now().Epoch.Number)
	}
	return highest
}

// begin makes this node the only voter of a new epoch. It is the keeper's. What is decided is kept before it is done, so that a kill
// in between is made good by the next start.
func (n *Node) begin(number uint64, why cluster.Reason) error {
	i := n.inst.Load()
	if i == nil || i.raft.LastIndex() == 0 {
		return errors.New("this node has nothing to go on with")
	}
	epoch := state.Epoch{Number: number, Node: n.cfg.NodeID}
	n.log.Warn("this node takes over: it goes on as the only voter, in a new epoch", "epoch", number, "reason", why.Text)
	err := n.without(func() error {
		if err := n.awaitLeaseEnd(i); err != nil {
			return err
		}
		before, err := n.storedEpoch()
		if err != nil {
			return err
		}
		last, err := n.lastStored()
		if err != nil {
			return err
		}
		err = n.changeIdentity(func(id *identity) {
			id.Forced, id.Arrival = forced{Epoch: epoch, Why: why, Recover: true}, 0
			id.forks(fork{Epoch: epoch, Before: before, Last: last})
		})
		if err != nil {
			return err
		}
		return n.recoverAlone()
	})
	if err != nil {
		return err
	}
	n.useClaim(0)
	return nil
}

// TakeOver makes this node lead by force; see cluster.Members.
func (n *Node) TakeOver(ctx context.Context, by string, force bool) error {
	if o := n.outlook(); !o.Possible {
		if n.leaderAlive() {
			return fmt.Errorf("%w: %s", cluster.ErrLeaderAlive, o.Refusal)
		}
		return errors.New(o.Refusal)
	} else if len(o.Warnings) > 0 && !force {
		return fmt.Errorf("%w: %s", cluster.ErrWarned, strings.Join(o.Warnings, "; "))
	}
	if err := n.askForLeader(ctx); err != nil {
		return err
	}
	before := n.fsm.state.Token()
	err := n.change(ctx, func() error {
		next, err := n.claimForOperator(ctx, n.highestEpoch()+1, force)
		if err != nil {
			return err
		}
		return n.begin(next, cluster.Reason{Cause: cluster.CauseTakeover, Text: "asked for by " + by})
	})
	if err != nil {
		return err
	}
	return n.awaitOwnTerm(ctx, before)
}

// awaitOwnTerm waits until this node leads a term after before. Its maintenance ends with that: nobody else could end it.
func (n *Node) awaitOwnTerm(ctx context.Context, before state.Token) error {
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	for {
		t := n.term.Load()
		if t != nil && t.token.Compare(before) > 0 {
			if !n.fsm.state.InMaintenance(n.cfg.NodeID) {
				if t.leading.Load() {
					return nil
				}
			} else if _, err := t.propose(ctx, state.SetMaintenance{Node: n.cfg.NodeID, Author: "takeover", At: time.Now().UTC()}); err != nil {
				return fmt.Errorf("end the maintenance of this node: %w", err)
			}
		}
		select {
		case <-n.failed:
			return n.failure
		default:
		}
		if !pause(ctx, retryPropose) {
			return fmt.Errorf("this node has taken over but does not lead yet: %w", ctx.Err())
		}
	}
}

// leaderAlive: there is a leader as far as this node knows.
func (n *Node) leaderAlive() bool {
	_, ok := n.leader()
	return ok || n.term.Load() != nil
}

// askForLeader asks each member that can be reached whether it knows a leader.
func (n *Node) askForLeader(ctx context.Context) error {
	for _, m := range n.cfg.Members {
		if n.peers[m.NodeID] == nil {
			continue
		}
		try, cancel := context.WithTimeout(ctx, port.HandshakeTimeout)
		resp, err := n.ask(try, m, request{Op: opStatus})
		cancel()
		if err == nil && resp.Greeting.Leader != "" {
			return fmt.Errorf("%w: %s says that %s leads", cluster.ErrLeaderAlive, m.NodeID, resp.Greeting.Leader)
		}
	}
	return nil
}

// outlook is whether this node could take over by force.
func (n *Node) outlook() cluster.Outlook {
	i := n.inst.Load()
	if i == nil || i.raft.LastIndex() == 0 { // taken in, and nothing has come yet
		return cluster.Outlook{Refusal: "this node belongs to no cluster yet: it has nothing to go on with"}
	}
	n.mu.Lock()
	w := seen{takeoverWatch: n.watching, paused: n.paused}
	n.mu.Unlock()
	o := cluster.Outlook{LastHeard: w.heard.UTC()}
	if w.heard.IsZero() {
		o.LastHeard = time.Time{}
	}
	if m, ok := n.leader(); ok {
		o.Refusal = m.NodeID + " leads: use transfer"
		return o
	}
	switch {
	case n.term.Load() != nil:
		o.Refusal = "this node leads already"
	case n.cfg.Role == cluster.Witness:
		o.Refusal = "a witness never leads: take over on the Primary or the Secondary"
	case len(n.peers) == 0:
		o.Refusal = "this cluster has one node, which leads by itself"
	case n.ident().Forced.pending():
		o.Refusal = "this node is taking over"
	default:
		o.Possible = true
	}
	if !o.Possible {
		return o
	}
	o.Warnings = n.takeoverWarnings(w)
	if n.cfg.strictPair() && n.cfg.PairTakeover != takeoverOperator && n.cfg.Role != cluster.Witness && n.mayTakeOverAlone(w) {
		o.At = n.takeoverAt(w).UTC()
	}
	return o
}

// takeoverWarnings are the reasons for which a takeover needs force.
func (n *Node) takeoverWarnings(w seen) (list []string) {
	switch {
	case w.heard.IsZero():
		list = append(list, "this node has not heard from a leader since it was started: its copy may be old")
	case time.Since(w.heard) > oldCopy && !w.followed.Equal(w.heard):
		list = append(list, fmt.Sprintf("this node's copy is %v old", time.Since(w.heard).Round(time.Second)))
	}
	if n.partial() {
		list = append(list, "this node was still being sent what the other one has, and holds only the beginning of it")
	}
	if suffrage(n.servers(), n.cfg.NodeID) != "voter" {
		list = append(list, "this node had no vote: the other one went on without it, and its copy may lack what was done since")
	}
	for _, m := range n.cfg.Members {
		if p := n.peers[m.NodeID]; p != nil && p.now().fresh() && !p.now().Empty {
			list = append(list, m.NodeID+" is in contact: wait for a leader to be elected")
		}
	}
	return list
}
