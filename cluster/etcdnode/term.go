package etcdnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

const (
	// secondaryWaits is how long a Secondary leaves a vacated leadership to a Primary that is there.
	secondaryWaits = 300 * time.Millisecond
	// handoverFor is how long a leadership that was handed over is left to the node it was handed to.
	handoverFor = 3 * time.Second
	// handoverTimeout bounds a handover with all its steps.
	handoverTimeout = 5 * time.Second
	// leadAgain is the pause after lead has returned by itself.
	leadAgain = 2 * time.Second
	// slowLead is how long lead may go on after its context has ended before the log says so.
	slowLead = 10 * time.Second
	// lookAround is how often a node that waits looks whether what it waits for has changed by time alone.
	lookAround = 100 * time.Millisecond
)

// term is one uninterrupted leadership of this node.
type term struct {
	node    *Node
	tenure  *tenure
	lease   int64
	created int64     // of the leader's key: the term's number
	epoch   *keyValue // the key, as it was in that moment
	token   state.Token
	since   time.Time
	draft   *draft
	count   uint64            // transactions of this term; of the writer, as the next two
	folding *fold             // nil: none is under way
	deltas  map[string]uint64 // number of each store's last delta
	queue   chan *proposal
	written chan struct{} // closed when the writer has ended
	orders  chan order
	leading atomic.Bool
	// resigning: the key is being deleted by this node itself.
	resigning atomic.Bool

	mu     sync.Mutex // guards what follows
	mends  []string   // keys that were changed by hand
	mended chan struct{}
}

type order struct {
	ctx    context.Context // of the caller
	target string
	why    cluster.Reason
	reply  chan error // one slot
}

func (o *order) answer(err error) {
	if o != nil {
		o.reply <- err
	}
}

func (t *term) end(why string) { t.tenure.end(errors.New(why)) }

// Run leads whenever this node can; see cluster.Coordinator. It is called once.
func (n *Node) Run(ctx context.Context, lead func(context.Context, cluster.Term) error) error {
	n.mu.Lock()
	if n.ran != nil {
		panic("etcdnode: Run was called twice")
	}
	ran := make(chan struct{})
	n.ran = ran
	n.mu.Unlock()
	defer close(ran)
	for {
		n.dropLeftKey(ctx)
		wait, changed := n.mayContest()
		if wait == 0 {
			n.contest(ctx, lead)
		}
		var timer <-chan time.Time
		if wait == 0 {
			wait = lookAround
			if n.stall().Text != "" {
				wait = stalledPause
			}
		}
		timer = time.After(wait)
		select {
		case <-ctx.Done():
			n.planned.Store(true)
			return n.failedNow()
		case <-n.failed:
			return n.failure
		case <-n.stopped:
			return errClosed
		case <-changed:
		case <-timer:
		}
	}
}

// dropLeftKey deletes a leader's key that this very process has left: its term ended while etcd was out of reach, and an etcd that comes
// back gives all leases their whole time again. Only Run's goroutine knows that no lead goes on.
func (n *Node) dropLeftKey(ctx context.Context) {
	k := n.replica.keys()
	if !k.synced || k.leader == nil || decodeValue[leaderValue](k.leader).Process != n.process || !n.inContact() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	if err := n.dropKey(ctx, k.leader.Create); err != nil {
		n.log.Debug("the key of a term that is over is left to its lease", "error", err)
	}
}

// dropKey deletes the leader's key if it was created at that revision, with the mark that its term is over.
func (n *Node) dropKey(ctx context.Context, revision int64) error {
	_, err := n.kv.Txn(ctx, []cond{created(keyLeader, revision)}, []op{remove(keyLeader), put(keyHandover, encodeJSON(handoverValue{From: n.cfg.NodeID}))}, nil)
	return err
}

func (n *Node) failedNow() error {
	select {
	case <-n.failed:
		return n.failure
	default:
		return nil
	}
}

// mayContest is how long to wait before contesting the leader's key, 0: now. It is to be asked again when changed is closed.
func (n *Node) mayContest() (wait time.Duration, changed <-chan struct{}) {
	k := n.replica.keys()
	const idle = time.Second
	if !k.synced || k.cluster == nil || k.leader != nil {
		return idle, k.changed
	}
	if !n.inContact() { // which no key tells
		return lookAround, k.changed
	}
	since := time.Since(k.vacated.at)
	h := decodeValue[handoverValue](k.handover)
	switch {
	case k.vacated.resigned && h.To == n.cfg.NodeID:
		return 0, k.changed
	case k.vacated.resigned && h.To != "" && since < handoverFor:
		return min(lookAround, handoverFor-since), k.changed
	case n.replica.state.InMaintenance(n.cfg.NodeID) && n.anotherCould():
		return lookAround, k.changed
	case n.mayLeadStill(k.vacated):
		return lookAround, k.changed
	case n.cfg.Role != cluster.Primary && since < n.leftToPrimary():
		return min(lookAround, n.leftToPrimary()-since), k.changed
	}
	return 0, k.changed
}

// leftToPrimary is how long a Secondary leaves it to the Primary: a new cluster is to be the Primary's.
func (n *Node) leftToPrimary() time.Duration {
	if n.replica.state.Leader() == "" {
		return primaryFirst / 2
	}
	return secondaryWaits
}

// contest tries to become the leader, and serves the term.
func (n *Node) contest(ctx context.Context, lead func(context.Context, cluster.Term) error) {
	t, err := n.acquire(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errNotOurs) {
			n.log.Debug("leadership was not won", "error", err)
		}
		return
	}
	err = n.begin(ctx, t)
	if err != nil {
		n.log.Debug("a term did not begin", "error", err)
		n.release(t)
		return
	}
	n.log.Info("this node leads", "term", cluster.Turn(t.token.String()))
	n.term.Store(t)
	select {
	case <-n.stopped: // Close may have looked for a term right before
		t.end("the node was closed")
	default:
	}
	var aside sync.WaitGroup
	aside.Go(func() { n.renew(t) })
	aside.Go(func() { n.watchClocks(t) })
	aside.Go(func() { // lead need not wait for a disk that takes its time
		if err := n.remember(func(id *identity) { id.Token, id.Revision = t.token, max(id.Revision, t.created) }); err != nil {
			n.log.Error("the term ends: what is to be remembered of it cannot be written", "error", err)
			t.end(err.Error())
		}
	})
	go t.writer() // t.written says when it has ended
	n.runLead(ctx, t, lead)
	n.term.Store(nil)
	held := time.Time{}
	if t.tenure.ctx.Err() != nil && !errors.Is(context.Cause(t.tenure.ctx), errResigned) {
		n.lost.Add(1)
		held = t.tenure.until()
	}
	n.mu.Lock()
	n.heldUntil = held
	n.mu.Unlock()
	t.tenure.end(errResigned)
	<-t.written
	aside.Wait()
	n.replica.giveBack(t.draft)
	n.release(t)
	n.log.Info("this node leads no more", "term", cluster.Turn(t.token.String()), "after", time.Since(t.since).Round(time.Millisecond), "reason", context.Cause(t.tenure.ctx))
}

// acquire creates the leader's key with a lease of its own.
func (n *Node) acquire(ctx context.Context) (*term, error) {
	k := n.replica.keys()
	ctx, cancel := context.WithTimeout(ctx, n.cfg.TTL)
	defer cancel()
	sent := time.Now()
	lease, ttl, err := n.kv.Grant(ctx, n.cfg.TTL)
	if err != nil {
		return nil, err
	}
	me := leaderValue{Node: n.cfg.NodeID, Process: n.process, TTL: int(ttl / time.Second)}
	out, err := n.kv.Txn(ctx, []cond{created(keyLeader, 0), modified(keyCluster, modOf(k.cluster))},
		[]op{{kind: opPut, key: keyLeader, value: encodeJSON(me), lease: lease}, get(keyEpoch)}, []op{get(keyEpoch), get(keyCluster)})
	at := out.Revision
	if err != nil { // it may have been carried out all the same
		if out, err = n.kv.Txn(ctx, nil, []op{get(keyEpoch), get(keyLeader)}, nil); err == nil && (out.Found[1] == nil || out.Found[1].Lease != lease) {
			err = errNotOurs
		}
		if err == nil {
			out.OK, at = true, out.Found[1].Create
		}
	} else if !out.OK {
		err = errNotOurs
		if modOf(out.Found[1]) != modOf(k.cluster) {
			n.readAgain()
		}
	}
	if err == nil && at <= k.revision { // a new revision is higher than all that were seen
		n.readAgain()
		err = errOtherHistory
	}
	if err != nil {
		go n.revoke(lease) // bounded by itself
		return nil, err
	}
	return &term{
		node: n, tenure: newTenure(context.Background(), sent, ttl), lease: lease, created: at, epoch: out.Found[0], since: time.Now().UTC(),
		queue: make(chan *proposal), written: make(chan struct{}), orders: make(chan order), mended: make(chan struct{}, 1),
	}, nil
}

// release deletes the leader's key if it is still this term's, and the lease; a node that was closed does as a killed one would. In an etcd
// that has gone back nobody is to lead before what it lacks was written back, so the key stays there until then.
func (n *Node) release(t *term) {
	t.tenure.end(errResigned)
	select {
	case <-n.stopped:
		return
	default:
	}
	if n.hasGoneBack() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), attemptTime)
	defer cancel()
	if err := n.dropKey(ctx, t.created); err != nil {
		n.log.Debug("the leader's key is left to its lease", "error", err)
	}
	n.revoke(t.lease)
}

// begin commits the TermStart over all that was committed before.
func (n *Node) begin(ctx context.Context, t *term) error {
	both, cancel := context.WithCancel(t.tenure.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	if err := n.awaitRevision(both, t.created); err != nil {
		return err
	}
	k := n.replica.keys()
	if !same(t.epoch, k.epoch) {
		n.readAgain()
		return errOtherHistory
	}
	epoch := decodeValue[epochValue](k.epoch)
	t.token = state.Token{Epoch: state.Epoch{Number: epoch.Number, Node: epoch.Node}, Term: uint64(t.created)}
	var ops []op
	if top := n.highest(); t.token.Compare(top) <= 0 {
		// etcd counts from an earlier revision than it did before: it was restored, or set up anew.
		t.token.Epoch = state.Epoch{Number: top.Epoch.Number + 1, Node: n.cfg.NodeID}
		ops = append(ops, put(keyEpoch, encodeJSON(epochValue{t.token.Epoch.Number, n.cfg.NodeID})))
		n.log.Warn("a new epoch begins, since etcd counts anew", "epoch", t.token.Epoch.Number)
	}
	if c := decodeValue[clusterValue](k.cluster); fmt.Sprint(c.Members) != fmt.Sprint(n.cfg.memberLines()) {
		c.Members = n.cfg.memberLines()
		ops = append(ops, put(keyCluster, encodeJSON(c)))
	}
	var err error
	if t.draft, t.deltas, err = n.replica.borrow(); err != nil {
		return err
	}
	why := n.reason(n.replica.state.Leader(), k)
	start := state.TermStart{Node: n.cfg.NodeID, ClusterID: n.ident().ClusterID, Cause: string(why.Cause), Reason: why.Text, At: t.since}
	p, err := newProposal(both, t.token, start)
	if err == nil {
		t.write([]*proposal{p}, ops)
		a := <-p.reply
		err = errors.Join(a.err, a.res.Err)
	}
	if err != nil {
		n.replica.giveBack(t.draft)
	}
	return err
}

// errOtherHistory: etcd was set up anew, or restored, and has come as far as this node's copy of what it held before. Its epoch tells: each
// time that it counts anew another one begins.
var errOtherHistory = errors.New("etcd does not hold what this node has read there")

// same reports whether both are one state of a key in one history of an etcd.
func same(a, b *keyValue) bool {
	return modOf(a) == modOf(b) && (a == nil || b == nil || bytes.Equal(a.Value, b.Value))
}

func (n *Node) awaitRevision(ctx context.Context, rev int64) error {
	for {
		k := n.replica.keys()
		if k.revision >= rev && k.synced {
			return nil
		}
		select {
		case <-k.changed:
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reason says why the leader changed: what the last leader said when it handed over, else what this node makes of it.
func (n *Node) reason(before string, k keys) cluster.Reason {
	h := decodeValue[handoverValue](k.handover)
	p := n.peers[before]
	switch {
	case h.From == before && before != "" && h.Cause != "" && modOf(k.handover) > int64(n.replica.state.Token().Term):
		return cluster.Reason{Cause: h.Cause, Text: h.Text}
	case before == "":
		return cluster.Reason{Cause: cluster.CauseFormed, Text: "the cluster was formed"}
	case before == n.cfg.NodeID:
		return cluster.Reason{Cause: cluster.CauseElected, Text: n.cfg.NodeID + " leads again"}
	case p != nil && p.fresh():
		return cluster.Reason{Cause: cluster.CauseLost, Text: before + " was restarted or lost its lease"}
	}
	return cluster.Reason{Cause: cluster.CauseLost, Text: before + " was lost"}
}

// mayLead: a node in maintenance holds the leadership only where no other can, and works on nothing.
func (n *Node) mayLead() bool { return !n.replica.state.InMaintenance(n.cfg.NodeID) }

// runLead calls lead, again and again while the term lasts, and carries out handovers in between.
func (n *Node) runLead(ctx context.Context, t *term, lead func(context.Context, cluster.Term) error) {
	for t.tenure.ctx.Err() == nil {
		lctx, cancel := context.WithCancel(t.tenure.ctx)
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
		var early bool
		var err error
		select {
		case <-t.tenure.ctx.Done():
		case <-ctx.Done():
		case got := <-t.orders:
			o = &got
		case err = <-returned:
			early = true
		case <-n.flagged(lctx, may):
		}
		byItself := early
		t.leading.Store(false)
		if t.tenure.ctx.Err() == nil { // of a term that was lost nothing can be finished
			close(finish)
			early = early || finished(t.tenure.ctx, returned)
		}
		cancel()
		if !early {
			n.awaitLead(returned)
		}
		switch {
		case t.tenure.ctx.Err() != nil:
			o.answer(cluster.ErrTermOver)
			return
		case ctx.Err() != nil:
			o.answer(cluster.ErrTermOver)
			n.leaveOffice(t)
			return
		case o != nil:
			o.answer(n.handOver(o.ctx, t, o.target, o.why))
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
			if !pause(ctx, lookAround) {
				return
			}
		}
		close(changed)
	}()
	return changed
}

func finished(ctx context.Context, returned <-chan error) bool {
	timer := time.NewTimer(cluster.FinishTime)
	defer timer.Stop()
	select {
	case <-returned: //nolint:errcheck // a planned end needs no reason
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// awaitLead waits for lead however long it takes: a second one beside it would break the one promise that a term makes.
func (n *Node) awaitLead(returned <-chan error) {
	warn := time.AfterFunc(slowLead, func() {
		n.log.Error("the work of the last term does not end; no new term begins before it has", "since", slowLead)
	})
	defer warn.Stop()
	<-returned //nolint:errcheck // its term is over, whatever it says
}

// leadReluctantly works on nothing, and returns when another can take over.
func (n *Node) leadReluctantly(ctx context.Context, lt cluster.Term) error {
	for {
		if target, _ := n.heir(); target != "" {
			return nil
		}
		select {
		case <-lt.Finish:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookAround):
		}
	}
}
