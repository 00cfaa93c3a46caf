package etcdnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

const (
	// primaryFirst is how long a Secondary leaves it to the Primary to begin a cluster, and restoreAfter is how long a node leaves it to
	// the last leader, whose copy is the newest, to write back what etcd has lost. Who only believes that it was the last one gives the
	// others askedFor to say otherwise.
	primaryFirst = 10 * time.Second
	restoreAfter = 10 * time.Second
	askedFor     = 2 * time.Second
	// startLast is what to do until then.
	startLast = "start the node that led last, if it does not run"
	// waitForIt is what to do where it goes on by itself.
	waitForIt = "nothing, it takes some seconds"
	// importTTL is the lease of a migration: nobody waits for it, and a disk that is busy may take a while.
	importTTL = 15 * time.Second
	// plantTime is how long a node that runs may take to write everything.
	plantTime = time.Minute
)

// strangers reports whether none of those members is one of this node's: two pairs may both call their nodes primary and secondary.
func (n *Node) strangers(lines []string) bool {
	own := n.cfg.memberLines()
	return !slices.ContainsFunc(lines, func(l string) bool { return slices.Contains(own, l) })
}

// ownCopy reports whether this process has a copy of the cluster's state.
func (n *Node) ownCopy() bool { return n.replica.state.ClusterID() != "" }

// join keeps that this node belongs to the cluster.
func (n *Node) join(clusterID string, rev int64) error {
	return n.remember(func(id *identity) { id.ClusterID, id.Revision = clusterID, max(id.Revision, rev) })
}

// found is for a prefix that holds no cluster. It begins one, or writes back what etcd has lost; the error says what else there is to do.
func (n *Node) found(ctx context.Context, rev int64) error {
	n.mu.Lock()
	n.contact = time.Now()
	since := n.lacksSince()
	id := n.identity
	n.mu.Unlock()
	switch {
	case n.ownCopy():
		if !n.mayWriteBack() {
			return n.waitToWriteBack("etcd has lost its keys")
		}
		n.log.Error("etcd has lost its keys, as after a new data folder or a deletion; writing back what this node has", "revision", rev)
		return n.plantAgain(ctx, nil, 0)
	case id.ClusterID != "":
		return &trouble{lasting: true, text: fmt.Sprintf("the keys that begin with %s are gone, and this node belongs to cluster %s, whose state they were: "+
			"start the other node first if it still runs, restore etcd from a backup, or stop all nodes and delete %s on each to begin anew", n.cfg.Prefix, id.ClusterID, identityPath(n.cfg.DataDir))}
	case n.cfg.Role != cluster.Primary && time.Since(since) < primaryFirst:
		return &trouble{text: "waiting for the Primary to begin the cluster", do: "start the Primary"}
	}
	fresh := state.New()
	ctx, cancel := context.WithTimeout(ctx, plantTime)
	defer cancel()
	if err := n.plant(ctx, planting{state: fresh, clusterID: randomID(), epoch: state.Epoch{Number: 1, Node: n.cfg.NodeID}}); err != nil {
		return err
	}
	n.log.Info("a new cluster was begun in etcd", "prefix", n.cfg.Prefix)
	return errReload
}

// goneBack is for an etcd that counts from an earlier revision than before: it was restored from a backup, or set up anew. Who has a copy
// writes it back, unless another node has done so already, which its epoch shows.
func (n *Node) goneBack(ctx context.Context, rev int64, clusterID string, seen *replica) error {
	epoch, k := decodeValue[epochValue](seen.epoch), n.replica.keys()
	token := n.replica.state.Token()
	if !n.ownCopy() || epoch.Number > token.Epoch.Number || n.goesOn(seen, k, token) {
		n.log.Warn("etcd counts anew: it was restored from a backup, or set up anew", "revision", rev, "seen", n.seenRevision())
		n.mu.Lock()
		n.seen, n.older, n.emptySince = 0, false, time.Time{}
		n.mu.Unlock()
		return n.remember(func(id *identity) { id.ClusterID, id.Revision = clusterID, rev })
	}
	n.mu.Lock()
	n.older = true
	n.lacksSince()
	n.mu.Unlock()
	if t := n.term.Load(); t != nil { // the leader's key may be in the backup, with its lease, and the term go on
		t.tenure.end(errOtherHistory)
		return &trouble{text: "etcd has gone back to an older state; this node ends its term, to write back what is newer", do: waitForIt}
	}
	own := int64(0)
	switch by := decodeValue[leaderValue](seen.leader); {
	case !n.mayWriteBack():
		return n.waitToWriteBack("etcd has gone back to an older state")
	case seen.leader != nil && by.Process == n.process:
		own = seen.leader.Create
	case seen.leader != nil:
		return &trouble{text: "etcd has gone back to an older state, and to the lease that " + by.Node + " held then; waiting for its end, to write back what is newer", do: waitForIt}
	}
	n.log.Error("etcd has gone back to an older state, as after a restore from a backup; writing back what this node has", "revision", rev, "seen", n.seenRevision())
	return n.plantAgain(ctx, seen.cluster, own)
}

// lacksSince is since when etcd is known to lack something. n.mu is held.
func (n *Node) lacksSince() time.Time {
	if n.emptySince.IsZero() {
		n.emptySince = time.Now()
		n.ledThen = n.term.Load() != nil || time.Now().Before(n.heldUntil)
	}
	return n.emptySince
}

// mayWriteBack reports whether this node's copy is the newest, and nobody leads by what etcd held before: another one may have led last, and
// not be known here. A node that led as etcd lost it knows; one that led last as far as it knows asks the others; any other waits until the
// lease of whoever led must be over.
func (n *Node) mayWriteBack() bool {
	k := n.replica.keys()
	n.mu.Lock()
	waited, led := time.Since(n.emptySince), n.ledThen
	n.mu.Unlock()
	if last := n.replica.state.Token(); n.replica.state.Leader() == n.cfg.NodeID {
		if led || waited >= askedFor && !slices.ContainsFunc(slices.Collect(maps.Values(n.peers)), func(p *sibling) bool { return !p.fresh() || p.token().Compare(last) > 0 }) {
			return true
		}
	}
	return waited >= max(restoreAfter, n.cfg.TTL, decodeValue[leaderValue](k.leader).ttl(0))
}

// waitToWriteBack says what is waited for until mayWriteBack.
func (n *Node) waitToWriteBack(what string) error {
	if n.replica.state.Leader() == n.cfg.NodeID {
		return &trouble{text: what + "; asking the other nodes for a newer copy before this one is written back", do: waitForIt}
	}
	return &trouble{text: what + "; waiting for the last leader to write back what is newer", do: startLast}
}

// goesOn reports whether the leader that this node knows goes on in the older etcd, having lost nothing that was committed: it has looked
// itself meanwhile.
func (n *Node) goesOn(seen *replica, k keys, token state.Token) bool {
	n.mu.Lock()
	since := n.emptySince
	n.mu.Unlock()
	return token.Term != 0 && seen.leader != nil && uint64(seen.leader.Create) == token.Term && decodeValue[leaderValue](seen.leader).Process != n.process &&
		modOf(seen.commit) >= modOf(k.commit) && !since.IsZero() && time.Since(since) > restoreAfter+n.cfg.TTL
}

// wentBack notes that etcd shows an older state than it did, which reading it again would not tell any more once this node writes there.
func (n *Node) wentBack() {
	n.mu.Lock()
	n.older = true
	n.mu.Unlock()
	n.readAgain()
}

// hasGoneBack reports whether etcd is known to hold an older state than it did.
func (n *Node) hasGoneBack() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.older
}

// plantAgain writes this node's copy to an etcd that has lost it, or has gone back to an older one: in a new epoch, since its revisions,
// by which terms are counted, begin anew. own is the create revision of a leader's key that this process has left there; 0: there is none.
func (n *Node) plantAgain(ctx context.Context, old *keyValue, own int64) error {
	ctx, cancel := context.WithTimeout(ctx, plantTime)
	defer cancel()
	token := n.highest()
	p := planting{
		state: n.replica.state, clusterID: n.replica.state.ClusterID(), old: modOf(old), own: own,
		epoch: state.Epoch{Number: token.Epoch.Number + 1, Node: n.cfg.NodeID},
	}
	if err := n.plant(ctx, p); err != nil {
		if errors.Is(err, errReload) {
			pause(ctx, retryEtcd)
		}
		return err
	}
	n.mu.Lock()
	n.seen, n.identity.Revision, n.older = 0, 0, false // of another history
	n.mu.Unlock()
	n.log.Info("what etcd had lost was written back", "epoch", p.epoch.Number)
	return errReload
}

// planting is a whole state to be written.
type planting struct {
	state     *state.State
	clusterID string
	epoch     state.Epoch
	old       int64              // the last revision of the cluster's key; 0: there is none
	own       int64              // the create revision of this process's own leader's key; 0: there is none
	told      func(done, of int) // told how many transactions are carried out; nil: nobody asks
	anew      bool               // nobody runs: requests that stand there were left by something else, and go
}

// plant writes everything in several transactions, under the leader's key, and the cluster's key last: what was begun and not finished
// counts for nothing. Requests that other nodes have left there meanwhile stay.
func (n *Node) plant(ctx context.Context, p planting) error {
	renewed := time.Now()
	want := n.cfg.TTL
	if p.anew {
		want = max(want, importTTL)
	}
	lease, ttl, err := n.kv.Grant(ctx, want)
	if err != nil {
		return err
	}
	defer n.revoke(lease)
	me := leaderValue{Node: n.cfg.NodeID, Process: n.process, TTL: int(ttl / time.Second)}
	out, err := n.kv.Txn(ctx, []cond{created(keyLeader, p.own), modified(keyCluster, p.old)},
		[]op{{kind: opPut, key: keyLeader, value: encodeJSON(me), lease: lease}}, nil)
	if err != nil {
		return err
	}
	if !out.OK {
		return errReload // another one is at it, or has done it
	}
	guard := []cond{created(keyLeader, cmp.Or(p.own, out.Revision)), modified(keyCluster, p.old)}
	steps := p.steps()
	for i, ops := range steps {
		if p.told != nil {
			p.told(i, len(steps))
		}
		if time.Since(renewed) > ttl/4 {
			renewed = time.Now()
			if _, err := n.kv.KeepAlive(ctx, lease); err != nil {
				return err
			}
		}
		out, err := n.kv.Txn(ctx, guard, ops, nil)
		for began := time.Now(); err != nil && time.Since(began) < ttl/2 && pause(ctx, retryPropose); { // a second time changes nothing
			n.kv.KeepAlive(ctx, lease) //nolint:errcheck // the guard tells
			out, err = n.kv.Txn(ctx, guard, ops, nil)
		}
		if err != nil {
			return err
		}
		if !out.OK {
			return errReload
		}
	}
	last := []op{
		put(keyEpoch, encodeJSON(epochValue{p.epoch.Number, p.epoch.Node})),
		put(keyCluster, encodeJSON(clusterValue{ID: p.clusterID, Format: format, Members: n.cfg.memberLines()})),
		put(keyCommit, encodeJSON(mark{Term: guard[0].revision})),
		remove(keyHandover), remove(keyLeader),
	}
	if p.anew { // whoever comes need not wait for a leader that may be left
		last[3] = put(keyHandover, encodeJSON(handoverValue{}))
	}
	out, err = n.kv.Txn(ctx, guard, last, nil)
	if err != nil { // it may have been carried out all the same
		var found outcome
		if found, err = n.kv.Txn(ctx, nil, []op{get(keyCluster)}, nil); err == nil {
			out.OK = found.Found[0] != nil && string(found.Found[0].Value) == string(last[1].value)
		}
	}
	if err == nil && !out.OK {
		err = errReload
	}
	return err
}

// steps are the transactions that write everything but the last one.
func (p planting) steps() [][]op {
	first := []op{remove(keyCommit)}
	for _, dir := range []string{dirBase, dirDelta, dirParked, dirPipe, "config/", "parked-request/", "settled/"} {
		first = append(first, op{kind: opDeleteAll, key: dir})
	}
	if p.anew {
		first = append(first, op{kind: opDeleteAll, key: dirOutbox})
	}
	var parts []state.Stored
	for _, part := range p.state.StoredParts() {
		parts = append(parts, p.state.Stored(part))
	}
	slices.SortStableFunc(parts, func(a, b state.Stored) int { return cmp.Compare(a.Order, b.Order) }) // only requests that wait have one
	var ops []op
	for _, st := range parts {
		part := st.Part
		if part.Kind == state.PartPipe {
			info, _ := p.state.Pipeline(part.Pipeline)
			st.Content = pipeValue{store: part.Pipeline, remembered: info.Remembered, content: st.Content}.encode()
		}
		ops = append(ops, put(partKey(part, part.Pipeline), st.Content))
	}
	for _, info := range p.state.Pipelines() {
		for shard := range state.Shards {
			if b := p.state.Shard(info.Name, uint8(shard)); b != nil {
				ops = append(ops, put(shardKey(info.Name, shard), b))
			}
		}
	}
	return append([][]op{first}, inSteps(ops)...)
}

// Limits of one transaction; etcd's own are 128 operations and 1.5 MiB.
const (
	maxOps      = 100
	maxTxnBytes = 1 << 20
)

// inSteps cuts ops into transactions. Requests that wait stand each in its own, in their order: it is by the revision that they keep it.
func inSteps(ops []op) [][]op {
	var steps [][]op
	var step []op
	size := 0
	flush := func() {
		if len(step) > 0 {
			steps = append(steps, step)
		}
		step, size = nil, 0
	}
	for _, o := range ops {
		if len(step) >= maxOps || size+len(o.value) > maxTxnBytes || strings.HasPrefix(o.key, dirOutbox) {
			flush()
		}
		step = append(step, o)
		size += len(o.value) + len(o.key)
	}
	flush()
	return steps
}

// highest is the greatest token that this node, or a member in contact, has seen.
func (n *Node) highest() state.Token {
	top := n.ident().Token
	if t := n.replica.state.Token(); t.Compare(top) > 0 {
		top = t
	}
	for _, p := range n.peers {
		if t := p.token(); t.Compare(top) > 0 {
			top = t
		}
	}
	return top
}

func (n *Node) revoke(lease int64) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTime)
	defer cancel()
	if err := n.kv.Revoke(ctx, lease); err != nil {
		n.log.Debug("a lease was left to end by itself", "error", err)
	}
}
