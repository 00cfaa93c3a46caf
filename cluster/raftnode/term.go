package raftnode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

const (
	// retryTerm is the pause before a TermStart that was refused for the moment is tried again.
	retryTerm = 50 * time.Millisecond
	// leadAgain is the pause after lead has returned by itself, before it is called again, and before
	// leadership is given away by a lead that was as short: a fault that ends it at once on every node
	// must not have them throw the leadership at each other.
	leadAgain = 2 * time.Second
	// slowLead is how long lead may go on after its context has ended before the log says so.
	slowLead = 10 * time.Second
	// handoverTimeout bounds a handover with all its steps.
	handoverTimeout = 5 * time.Second
)

// term is one uninterrupted leadership of this node.
type term struct {
	node  *Node
	inst  *instance
	ctx   context.Context // ends with the leadership; a term is nothing but that span of time
	token state.Token
	since time.Time
	began uint64 // index of the TermStart
	stuck stuckTransfer
	// orders asks the term's own goroutine to hand over: it alone starts and stops lead.
	orders  chan order
	leading atomic.Bool   // lead runs
	onward  chan struct{} // one slot: go on as the next term, in the epoch that was decided on
	// parting: the follower's vote is being taken away, so that none is given meanwhile, see goOnAlone.
	parting atomic.Bool
}

// again has the term end in good order and this node go on in the next one without an election.
func (t *term) again() { signal(t.onward) }

type order struct {
	ctx    context.Context // of the caller
	target string          // empty: nobody; lead is only stopped, for this node's own next term
	why    cluster.Reason
	reply  chan error // one slot
}

// Run leads whenever this node is elected; see cluster.Coordinator. It is called once.
func (n *Node) Run(ctx context.Context, lead func(context.Context, cluster.Term) error) error {
	n.mu.Lock()
	if n.ran != nil {
		panic("raftnode: Run was called twice")
	}
	ran := make(chan struct{})
	n.ran = ran
	n.mu.Unlock()
	defer close(ran)
	for {
		select {
		case <-ctx.Done():
			n.planned.Store(true)
			return n.failedNow()
		case <-n.failed:
			return n.failure
		case <-n.stopped:
			return errClosed
		case <-n.led.changed:
		}
		n.serveTerms(ctx, lead)
	}
}

// serveTerms serves the terms of one leadership of raft's: mostly one, and a further one for each epoch that is begun in it.
func (n *Node) serveTerms(ctx context.Context, lead func(context.Context, cluster.Term) error) {
	n.office <- struct{}{}
	defer func() { <-n.office }()
	for ctx.Err() == nil && n.failedNow() == nil {
		tctx, inst := n.led.now()
		if tctx == nil {
			return
		}
		n.serveTerm(ctx, tctx, inst, lead)
	}
}

func (n *Node) failedNow() error {
	select {
	case <-n.failed:
		return n.failure
	default:
		return nil
	}
}

// serveTerm returns once the term is over, or Run's context has ended and leadership was given away
// if that was possible; lead has returned then.
func (n *Node) serveTerm(ctx, tctx context.Context, inst *instance, lead func(context.Context, cluster.Term) error) {
	t, err := n.beginTerm(ctx, tctx, inst)
	if err != nil {
		n.termLost(ctx, tctx, err)
		return
	}
	n.log.Info("this node leads", "term", cluster.Turn(t.token.String()))
	n.term.Store(t)
	over, cancel := context.WithCancel(tctx)
	var aside sync.WaitGroup
	aside.Go(func() { n.reconcile(over, t) })
	aside.Go(func() { n.watchCommits(over, t) })
	aside.Go(func() { n.guardPair(over, t) })
	if len(n.peers) > 0 { // who is alone has nobody to lose, and nobody leads in its place
		aside.Go(func() { n.watchLease(over, t) })
		aside.Go(func() { n.watchClocks(over, true) })
	}
	n.runLead(ctx, t, lead)
	n.term.Store(nil)
	cancel()
	aside.Wait()
	n.mu.Lock()
	n.leftOffice = time.Now()
	n.mu.Unlock()
	n.log.Info("this node leads no more", "term", cluster.Turn(t.token.String()), "after", since(t.since))
}

// termLost waits for raft's word that leadership was lost, which may come after the error that says so
// in fewer words. A leadership that stays without a term would never end: then the process must.
func (n *Node) termLost(ctx, tctx context.Context, err error) {
	n.log.Debug("a term did not begin", "error", err)
	timer := time.NewTimer(2 * n.cfg.WriteDeadline)
	defer timer.Stop()
	select {
	case <-tctx.Done():
	case <-ctx.Done():
	case <-timer.C:
		n.fail(fmt.Errorf("begin a term: %w", err))
	}
}

// beginTerm commits the TermStart. raft's leadership alone says neither that this node has applied
// all that was committed, nor which term that is: the barrier and the committed entry do.
func (n *Node) beginTerm(ctx, tctx context.Context, inst *instance) (*term, error) {
	both, cancel := context.WithCancel(tctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	if !n.awaitSiblings(both) {
		<-both.Done() // the keeper yields, which ends this leadership
		return nil, both.Err()
	}
	var stuck stuckTransfer // of a leadership before this one
	for {
		err := n.settle(both, inst.raft.Barrier(time.Second))
		if err == nil {
			var t *term
			// Who led before is known only now: a follower applies the last entries late.
			if t, err = n.startTerm(both, tctx, inst, n.fsm.state.Leader()); err == nil {
				return t, nil
			}
		}
		if !errors.Is(err, raft.ErrEnqueueTimeout) && !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			return nil, err
		}
		if stuck.note(err, n.timing.election) {
			n.unstick()
		}
		if !pause(both, retryTerm) {
			return nil, both.Err()
		}
	}
}

func (n *Node) startTerm(ctx, tctx context.Context, inst *instance, before string) (*term, error) {
	token := state.Token{Epoch: n.fsm.state.Token().Epoch, Term: inst.raft.CurrentTerm()}
	if token.Epoch == (state.Epoch{}) {
		token.Epoch = state.Epoch{Number: 1, Node: n.cfg.NodeID}
	}
	now := time.Now().UTC()
	why := n.reason(before)
	if f := n.ident().Forced; f.pending() && compareEpochs(f.Epoch, token.Epoch) > 0 {
		token.Epoch, why = f.Epoch, f.Why
	}
	start := state.TermStart{Node: n.cfg.NodeID, ClusterID: n.ident().ClusterID, Cause: string(why.Cause), Reason: why.Text, At: now}
	data, err := state.Encode(state.Command{Token: token, Op: start})
	if err != nil {
		return nil, err
	}
	f := inst.raft.Apply(data, time.Second)
	if err := n.settle(ctx, f); err != nil {
		return nil, err
	}
	a := f.Response().(applied)
	if a.err != nil {
		return nil, a.err
	}
	if a.result.Err != nil {
		return nil, fmt.Errorf("the start of term %s was refused: %w", token, a.result.Err)
	}
	n.formed.Store(false)
	return &term{node: n, inst: inst, ctx: tctx, token: token, since: now, began: f.Index(), orders: make(chan order), onward: make(chan struct{}, 1)}, nil
}

// reason says why the leader changed: what the last leader said when it handed over, else what this node makes of it.
func (n *Node) reason(before string) cluster.Reason {
	n.mu.Lock()
	said, left := n.heirTo, n.leftOffice
	n.mu.Unlock()
	p := n.peers[before]
	switch {
	case said.from == before && before != "" && time.Since(said.at) < handoverTimeout:
		return said.why
	case before == "":
		return cluster.Reason{Cause: cluster.CauseFormed, Text: "the cluster was formed"}
	case before == n.cfg.NodeID && left.IsZero():
		return cluster.Reason{Cause: cluster.CauseElected, Text: n.cfg.NodeID + " was started again, and elected again"}
	case before == n.cfg.NodeID:
		return cluster.Reason{Cause: cluster.CauseElected, Text: fmt.Sprintf("%s was elected again, %v after it had stood still or lost most of the others", n.cfg.NodeID, since(left))}
	case p != nil && p.now().fresh() && p.now().fault == "":
		return cluster.Reason{Cause: cluster.CauseLost, Text: before + " was restarted or lost its leadership"}
	}
	return cluster.Reason{Cause: cluster.CauseLost, Text: before + " was lost"}
}

// succession is a leader's word that this node is to lead next.
type succession struct {
	from string
	why  cluster.Reason
	at   time.Time
}

func (n *Node) succeed(from string, why cluster.Reason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heirTo = succession{from, why, time.Now()}
}

// runLead calls lead, again and again while the term lasts, and carries out handovers in between.
func (n *Node) runLead(ctx context.Context, t *term, lead func(context.Context, cluster.Term) error) {
	for t.ctx.Err() == nil {
		lctx, cancel := context.WithCancel(t.ctx)
		returned, began := make(chan error, 1), time.Now()
		may := n.mayLead()
		work := lead
		if !may {
			work = n.leadReluctantly
		}
		t.leading.Store(may)
		finish := make(chan struct{})
		go func() { returned <- work(lctx, cluster.Term{Token: t.token, Propose: t.propose, Finish: finish}) }()
		var o *order
		var early, onward bool
		var err error
		select {
		case <-t.ctx.Done():
		case <-ctx.Done():
		case got := <-t.orders:
			o = &got
		case err = <-returned:
			early = true
		case <-t.onward:
			onward = true
		case <-n.flagged(lctx, may):
		}
		byItself := early
		// What asks "do you lead?" hears no before lead has been told to stop.
		t.leading.Store(false)
		if t.ctx.Err() == nil { // of a term that was lost nothing can be finished
			close(finish)
			early = early || n.finished(t.ctx, returned)
		}
		cancel()
		if !early {
			n.awaitLead(returned)
		}
		switch {
		case t.ctx.Err() != nil:
			o.answer(cluster.ErrTermOver)
			return
		case ctx.Err() != nil:
			o.answer(cluster.ErrTermOver)
			n.leaveOffice(t)
			return
		case o != nil:
			o.answer(n.handOver(o.ctx, t, o.target, o.why))
		case onward:
			return
		case byItself && may == n.mayLead():
			n.leadEnded(ctx, t, err, time.Since(began))
		}
	}
}

// flagged is closed once this node may lead and did not, or the other way round, by a change of its maintenance.
func (n *Node) flagged(ctx context.Context, may bool) <-chan struct{} {
	changed := make(chan struct{})
	go func() { // ends with the lead
		for n.mayLead() == may {
			if !n.beat(ctx, n.lookEvery()) {
				return
			}
		}
		close(changed)
	}()
	return changed
}

// finished waits for lead to finish what it has begun.
func (n *Node) finished(ctx context.Context, returned <-chan error) bool {
	timer := time.NewTimer(cluster.FinishTime)
	defer timer.Stop()
	select {
	case err := <-returned:
		if err != nil {
			n.log.Debug("the work of the term has ended", "error", err)
		}
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (o *order) answer(err error) {
	if o != nil {
		o.reply <- err
	}
}

// awaitLead waits for lead however long it takes: a second one beside it would break the one promise
// that a term makes.
func (n *Node) awaitLead(returned <-chan error) {
	warn := time.AfterFunc(slowLead, func() {
		n.log.Error("the work of the last term does not end; no new term begins before it has", "since", slowLead)
	})
	defer warn.Stop()
	if err := <-returned; err != nil {
		n.log.Debug("the work of the term has ended", "error", err)
	}
}

// leadEnded deals with a lead that returned although this node still leads: another one takes over if
// one can, else this node goes on after a pause.
func (n *Node) leadEnded(ctx context.Context, t *term, err error, ran time.Duration) {
	n.log.Debug("the work of this term ended early", "error", err)
	wait, cancel := context.WithCancel(t.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	may := n.mayLead()
	if ran < leadAgain && may && !pause(wait, leadAgain) {
		return
	}
	target, why := n.heirNow(wait, t)
	if target == "" && may {
		n.log.Warn("the work of this term ended early and no other node can take over: starting it again", "error", err, "reason", why)
	}
	if target == "" {
		return
	}
	because := cluster.Reason{Cause: cluster.CauseWork, Text: n.cfg.NodeID + " could not do the work"}
	switch {
	case n.cfg.Role == cluster.Witness:
		because = cluster.Reason{Cause: cluster.CauseWitness, Text: n.cfg.NodeID + " is a witness"}
	case !may:
		because = cluster.Reason{Cause: cluster.CauseMaintenance, Text: n.cfg.NodeID + " is in maintenance"}
	}
	if err := n.handOver(wait, t, target, because); err != nil && t.ctx.Err() == nil {
		n.log.Warn("the work of this term ended early, and the handover did not succeed", "to", target, "error", err)
		pause(wait, leadAgain)
	}
}

// leaveOffice gives leadership away before this node stops.
func (n *Node) leaveOffice(t *term) {
	n.leaving.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), handoverTimeout)
	defer cancel()
	target, why := n.heirNow(ctx, t)
	if target == "" {
		if len(n.peers) > 0 {
			n.log.Warn("stopping without a handover", "reason", why)
		}
		return
	}
	err := n.handOver(ctx, t, target, cluster.Reason{Cause: cluster.CauseStop, Text: n.cfg.NodeID + " was stopped"})
	if err == nil {
		// Of two, the new leader's first commit needs this node.
		err = n.awaitTerm(ctx, target, t.token.Term)
	}
	if err != nil {
		n.log.Warn("stopping without a handover", "to", target, "error", err)
	}
}

// leadReluctantly is the lead of a witness and of a node in maintenance: it works on nothing, and returns when another can take over.
func (n *Node) leadReluctantly(ctx context.Context, lt cluster.Term) error {
	for {
		if t := n.term.Load(); t != nil {
			if target, _ := n.heir(t); target != "" {
				return nil
			}
		}
		select {
		case <-lt.Finish: // there is nothing to finish
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryTerm):
		}
	}
}
