package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

const (
	// careEvery is how often a node looks after what nobody asks for: fail-back, lack of work, its own maintenance.
	careEvery = time.Second
	// lastedFor is how long a fail-back must have held to be a good one.
	lastedFor = 10 * time.Minute
	// leastBackoff is the least delay after a fail-back that was undone or failed, mostCare the greatest one.
	leastBackoff = time.Minute
	mostBackoff  = 24 * time.Hour
	// stableFor is how long a node that came back without a clean stop must run before its maintenance ends: a crash
	// loop must not end it.
	stableFor = 5 * time.Minute
	// orderTime bounds what a node decides by itself: a handover or a command.
	orderTime = 10 * time.Second
)

// caretake does so until ctx ends.
func (n *node) caretake(ctx context.Context) {
	if n.opts.Node.Role == cluster.Witness {
		return
	}
	var back failback
	var work lack
	var space roomless
	tick := time.NewTicker(careEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v := n.coord.View()
		n.considerLeaving(ctx, v)
		if !v.Leading {
			back, work, space = failback{}, lack{}, roomless{}
			n.setReturn(pendingReturn{})
			continue
		}
		n.setReturn(n.considerFailback(ctx, v, &back))
		n.considerWork(ctx, v, &work)
		n.considerSpace(ctx, v, &space)
	}
}

// considerLeaving ends this node's own maintenance after a restart: at once after a clean stop, else after some minutes.
func (n *node) considerLeaving(ctx context.Context, v cluster.View) {
	flags := v.State.Maintenance()
	i := slices.IndexFunc(flags, func(m state.Maintenance) bool { return m.Node == v.NodeID })
	if i < 0 || flags[i].Sticky || flags[i].Start == v.Start || v.Leader == "" || !v.CleanStart && time.Since(n.started) < stableFor {
		return
	}
	n.changes().Info("the maintenance of this node ends, since it was restarted", "clean", v.CleanStart)
	n.propose(ctx, state.SetMaintenance{Node: v.NodeID, Start: flags[i].Start, Author: "restart of " + v.NodeID, At: time.Now().UTC()})
}

// pendingReturn is what people are told of a fail-back. The zero value: there is nothing to tell.
type pendingReturn struct {
	to   string
	at   time.Time // when it is due; zero: it is held back
	held string    // why
}

func (n *node) setReturn(r pendingReturn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.back = r
}

// failback is a leader's watch over the Primary, owned by the caretaker.
type failback struct {
	since   time.Time // when all conditions came to hold; zero: they do not
	start   uint64    // of the Primary's process at that time
	applied uint64    // what this node had applied at the last look
	failed  int       // handovers that were not made, in this term
	asked   time.Time // when the Primary was last asked about its work
	lacks   string    // what it said; empty: nothing that this node can do
}

// considerFailback hands over to the Primary once it has been well for long enough.
func (n *node) considerFailback(ctx context.Context, v cluster.View, f *failback) pendingReturn {
	to := n.primary()
	cfg, err := n.settingsOf(v.State.Config().Version)
	if to == v.NodeID || err != nil {
		return pendingReturn{}
	}
	if cfg.Failback == "manual" {
		return pendingReturn{to: to, held: "Failback is manual: scomconnector transfer --to " + to}
	}
	if held := n.notReady(ctx, to, f); held != "" {
		f.since = time.Time{}
		return pendingReturn{to: to, held: held}
	}
	if f.since.IsZero() {
		m, _ := member(v, to)
		f.since, f.start = time.Now(), m.Start
	}
	due := f.since.Add(backoff(cfg.FailbackDelay, undone(v.State.Changes(), to, time.Now())+f.failed))
	if time.Now().Before(due) {
		return pendingReturn{to: to, at: due}
	}
	if held := n.lacksFor(ctx, to); held != "" { // the last answer may be a while ago
		f.since = time.Time{}
		return pendingReturn{to: to, held: held}
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	why := cluster.Reason{Cause: cluster.CauseFailback, Text: fmt.Sprintf("%s has been well for %v", to, time.Since(f.since).Round(time.Second))}
	if err := n.handOver(ctx, to, why); err != nil {
		n.log.Warn("the fail-back did not succeed, the next try waits longer", "to", to, "error", err)
		f.failed++
		f.since = time.Time{}
		return pendingReturn{to: to, held: err.Error()}
	}
	return pendingReturn{}
}

// notReady says why the Primary must not be handed leadership yet; empty: it may.
func (n *node) notReady(ctx context.Context, to string, f *failback) string {
	if err := n.unfit(to); err != nil {
		return plain(err)
	}
	v := n.coord.View()
	self, _ := member(v, v.NodeID)
	m, _ := member(v, to)
	applied := f.applied
	f.applied = self.Applied
	switch {
	case m.Applied < applied:
		return fmt.Sprintf("%s has applied entry %d of %d", to, m.Applied, applied)
	case !f.since.IsZero() && m.Start != f.start:
		return to + " was restarted"
	case m.Space != "" && self.Space == "":
		return to + ": " + m.Space
	}
	if time.Since(f.asked) >= probeAgain {
		f.asked = time.Now()
		f.lacks = n.lacksFor(ctx, to)
	}
	return f.lacks
}

// lacksFor says what of this node's work the other one could not do; empty: it could do all.
func (n *node) lacksFor(ctx context.Context, id string) string {
	theirs, err := ask[ability](ctx, n, id, question{Ask: askWork})
	if err != nil {
		return err.Error()
	}
	lacks := theirs.lacks()
	switch {
	case theirs.Version != n.state().Config().Version:
		return id + " has not taken note of the settings in use yet"
	case lacks == "":
		return ""
	}
	// It may lack what this node lacks, too.
	if mine, outage := n.doing(ctx); outage && theirs.any() && theirs.covers(mine) {
		return ""
	}
	return lacks
}

// backoff is the delay of the next fail-back after so many bad ones.
func backoff(delay time.Duration, bad int) time.Duration {
	for range bad {
		if delay = max(2*delay, leastBackoff); delay >= mostBackoff {
			return mostBackoff
		}
	}
	return delay
}

// undone counts the fail-backs in a row that did not last, by the record of leader changes, newest first: undone because the
// Primary was lost again or could not do the work. One that lasted ends the row; one that ended as planned counts for nothing.
func undone(newestFirst []state.Change, primary string, now time.Time) int {
	bad := 0
	for i := len(newestFirst) - 1; i >= 0; i-- {
		c := newestFirst[i]
		if c.Node != primary || c.Cause != string(cluster.CauseFailback) {
			continue
		}
		end, cause := now, cluster.Cause("")
		for j := i - 1; j >= 0; j-- {
			if next := newestFirst[j]; next.Node != primary {
				end, cause = next.At, cluster.Cause(next.Cause)
				break
			}
		}
		switch {
		case end.Sub(c.At) >= lastedFor:
			bad = 0
		case cause == cluster.CauseWork, cause == cluster.CauseLost, cause == cluster.CauseTakeover:
			bad++
		}
	}
	return bad
}
