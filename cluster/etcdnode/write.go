package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// proposal is one command on its way, or the order to resign.
type proposal struct {
	ctx    context.Context // of the caller
	op     state.Op
	data   []byte
	resign *handoverValue
	reply  chan answer // one slot; answered once the writer has taken it
	res    state.Result
}

type answer struct {
	res state.Result
	err error
}

func newProposal(ctx context.Context, token state.Token, op state.Op) (*proposal, error) {
	data, err := state.Encode(state.Command{Token: token, Op: op})
	if err != nil {
		return nil, fmt.Errorf("propose: %w", err)
	}
	return &proposal{ctx: ctx, op: op, data: data, reply: make(chan answer, 1)}, nil
}

// maxGroup bounds how many commands go into one transaction: each has at most 64 KiB.
const maxGroup = 8

// writer is the one goroutine that changes the state in etcd during the term. Commands that wait are written together; in between it
// folds deltas and puts back what was changed by hand.
func (t *term) writer() {
	defer close(t.written)
	for t.tenure.ctx.Err() == nil {
		var p *proposal
		if t.folding == nil {
			select {
			case p = <-t.queue:
			case <-t.mended:
				t.putBack()
				continue
			case <-t.tenure.ctx.Done():
				return
			}
		} else {
			select {
			case p = <-t.queue:
			default:
			}
		}
		if p != nil {
			t.take(p)
		}
		if t.folding == nil {
			t.folding = t.dueFold()
		}
		if t.folding != nil && t.tenure.ctx.Err() == nil {
			t.foldStep()
		}
	}
}

// take writes p, together with others that wait, as far as they may be written together.
func (t *term) take(p *proposal) {
	var group []*proposal
	for p != nil {
		if p.resign != nil || alone(p.op) {
			if len(group) > 0 {
				t.write(group, nil)
			}
			if p.resign != nil {
				p.reply <- answer{err: t.writeResignation(*p.resign)}
				return
			}
			t.write([]*proposal{p}, nil)
			return
		}
		group = append(group, p)
		p = nil
		if len(group) < maxGroup {
			select {
			case p = <-t.queue:
			default:
			}
		}
	}
	t.write(group, nil)
}

// alone: ops that may write a whole pipeline anew, or many parts.
func alone(op state.Op) bool {
	switch op.(type) {
	case state.Commit, state.Accept, state.SetConfig, state.SetMaintenance, state.SetManagementGroup:
		return false
	}
	return true
}

// write applies the commands to the draft and writes what they have changed, with extra beside the first's.
func (t *term) write(ps []*proposal, extra []op) {
	var err error
	if t.tenure.ctx.Err() != nil {
		err = cluster.ErrTermOver
	} else if err = t.draft.catchUp(); err == nil {
		err = t.writeAll(ps, extra)
	}
	for _, p := range ps {
		p.reply <- answer{p.res, err}
	}
	if err != nil && !errors.Is(err, cluster.ErrTermOver) && t.tenure.ctx.Err() == nil {
		t.node.log.Error("the term ends: what was to be committed could not be written", "error", err)
		t.tenure.end(err) // the draft is ahead of etcd now
	}
}

func (t *term) writeAll(ps []*proposal, extra []op) error {
	w := writing{term: t, ops: extra}
	for _, p := range ps {
		res, parts, err := t.draft.state.Apply(0, 0, p.data)
		if err != nil {
			return err
		}
		p.res = res
		w.add(p.op, parts)
	}
	return w.write()
}

// writing is what a group of commands has changed.
type writing struct {
	term   *term
	ops    []op
	parts  []state.Part
	deltas []delta
	whole  []string // pipelines whose delivered map is to be written anew
}

type delta struct {
	pipeline string
	content  []byte
	seq      uint64 // in its store
}

func (w *writing) add(op state.Op, parts state.Parts) {
	for _, p := range parts {
		switch p.Kind {
		case state.PartDelta:
			w.deltas = append(w.deltas, delta{pipeline: p.Pipeline, content: state.Delta(op.(state.Commit))})
		case state.PartBase:
			w.whole = append(w.whole, p.Pipeline)
		default:
			if !slices.Contains(w.parts, p) {
				w.parts = append(w.parts, p)
			}
		}
	}
}

// write writes everything; the pipelines' positions stand in the last transaction, together with the newest deltas: a crash in between
// leaves them behind what was recorded, never before it.
func (w *writing) write() error {
	t := w.term
	if len(w.parts)+len(w.deltas)+len(w.whole)+len(w.ops) == 0 {
		return nil // refused, or nothing new
	}
	stores := maps.Clone(t.draft.stores)
	var gone []string // stores
	for _, name := range w.whole {
		if old := stores[name]; old != "" {
			gone = append(gone, old)
			delete(stores, name)
		}
		if _, known := t.draft.state.Pipeline(name); known {
			t.count++
			stores[name] = storeName(name, t.created, t.count)
		}
	}
	for _, name := range w.whole {
		if stores[name] != "" {
			if err := t.writeWhole(name, stores[name]); err != nil {
				return err
			}
		}
	}
	first, last, installs := w.split(stores, gone)
	for _, step := range inSteps(first) {
		if err := t.txn(step, nothing); err != nil {
			return err
		}
	}
	return t.txn(last, func(fresh bool) error {
		t.draft.stores = stores
		for i := range installs {
			if st := &installs[i]; st.Part.Kind == state.PartOutbox && st.Content != nil {
				// One that was there before keeps its place.
				if st.Order = t.node.replica.state.Stored(st.Part).Order; st.Order == 0 {
					st.Order = uint64(t.draft.commit.Mod)
				}
			}
		}
		if err := t.draft.state.Install(requests(installs)...); err != nil || !fresh {
			return err
		}
		return t.install(installs, w.deltas, w.whole)
	})
}

// split is what is written: all but the last transaction's, the last one's, and the parts as they are put into the node's own copy.
func (w *writing) split(stores map[string]string, gone []string) (first, last []op, installs []state.Stored) {
	t := w.term
	last = append(last, w.ops...)
	for _, p := range w.parts {
		st := t.draft.state.Stored(p)
		installs = append(installs, st)
		if slices.Contains(w.whole, p.Pipeline) && p.Kind == state.PartParked {
			continue // with the whole
		}
		o := put(partKey(p, stores[p.Pipeline]), st.Content)
		switch {
		case p.Kind == state.PartPipe && st.Content != nil:
			if stores[p.Pipeline] == "" {
				stores[p.Pipeline] = p.Pipeline
			}
			info, _ := t.draft.state.Pipeline(p.Pipeline)
			o.value = pipeValue{store: stores[p.Pipeline], remembered: info.Remembered, content: st.Content}.encode()
		case st.Content == nil:
			o = remove(o.key)
			if p.Kind == state.PartParked && stores[p.Pipeline] == "" {
				continue // goes with its pipeline
			}
		}
		last = append(last, o)
	}
	for i := range w.deltas {
		d := &w.deltas[i]
		store := stores[d.pipeline]
		t.deltas[store]++
		d.seq = t.deltas[store]
		last = append(last, put(deltaKey(store, d.seq), d.content))
	}
	for _, store := range gone {
		last = append(last, dropStore(store)...)
	}
	// A Commit with many parked entries, or a settlement with many requests: what is recorded twice does no harm, so it comes first.
	if n := len(last) - maxOps; n > 0 {
		slices.SortStableFunc(last, func(a, b op) int { return weight(a) - weight(b) })
		first, last = last[:n], last[n:]
	}
	return first, last, installs
}

// weight puts last what makes the rest count.
func weight(o op) int {
	if o.kind == opPut && (len(o.key) > len(dirPipe) && (o.key[:len(dirPipe)] == dirPipe || o.key[:len(dirDelta)] == dirDelta)) {
		return 1
	}
	return 0
}

// writeWhole writes the delivered map and the parked entries of a pipeline to a new store, which counts only once the pipeline names it.
func (t *term) writeWhole(name, store string) error {
	var ops []op
	for shard := range state.Shards {
		if b := t.draft.state.Shard(name, uint8(shard)); b != nil {
			ops = append(ops, put(shardKey(store, shard), b))
		}
	}
	for _, e := range t.draft.state.ParkedList(name) {
		part := state.Part{Kind: state.PartParked, Pipeline: name, Key: e.Key}
		ops = append(ops, put(partKey(part, store), t.draft.state.Stored(part).Content))
	}
	for _, step := range inSteps(ops) {
		if err := t.txn(step, nothing); err != nil {
			return err
		}
	}
	return nil
}

// install puts into the node's own copy what was written. The replica is locked.
func (t *term) install(list []state.Stored, deltas []delta, whole []string) error {
	r := t.node.replica
	for _, name := range whole {
		delete(r.deltas, r.stores[name])
		r.state.Drop(name)
	}
	r.stores = maps.Clone(t.draft.stores)
	// Parked entries need their pipeline, which may be new.
	slices.SortStableFunc(list, func(a, b state.Stored) int { return int(a.Part.Kind) - int(b.Part.Kind) })
	if err := r.state.Install(list...); err != nil {
		return err
	}
	for _, d := range deltas {
		if err := r.state.InstallDelta(d.pipeline, d.content); err != nil {
			return err
		}
		r.delta(t.draft.stores[d.pipeline], d.seq, len(d.content))
	}
	for _, name := range whole {
		if err := t.installWhole(name); err != nil {
			return err
		}
	}
	return nil
}

func (t *term) installWhole(name string) error {
	r := t.node.replica
	if _, known := t.draft.state.Pipeline(name); !known {
		return nil
	}
	for shard := range state.Shards {
		if b := t.draft.state.Shard(name, uint8(shard)); b != nil {
			if err := r.state.InstallShard(name, b); err != nil {
				return err
			}
		}
	}
	for _, e := range t.draft.state.ParkedList(name) {
		if err := r.state.Install(t.draft.state.Stored(state.Part{Kind: state.PartParked, Pipeline: name, Key: e.Key})); err != nil {
			return err
		}
	}
	return nil
}

// requests are those of list that wait: only etcd knows their places.
func requests(list []state.Stored) (out []state.Stored) {
	for _, st := range list {
		if st.Part.Kind == state.PartOutbox {
			out = append(out, st)
		}
	}
	return out
}

// nothing is to be put in: it is in already, or counts only later.
func nothing(bool) error { return nil }

// txn carries out ops under the leader's key and after the last transaction of this kind, again and again until it is known what has
// become of it, or the term ends. install puts it into the node's own copy.
func (t *term) txn(ops []op, install func(fresh bool) error) error {
	n := t.node
	t.count++
	m := encodeJSON(mark{Term: t.created, Count: t.count})
	then := append(slices.Clone(ops), put(keyCommit, m))
	for {
		guard := []cond{created(keyLeader, t.created), modified(keyCommit, modOf(t.draft.commit))}
		sent := time.Now()
		out, err := n.kv.Txn(t.tenure.ctx, guard, then, []op{get(keyLeader), get(keyCommit)})
		n.writes.Observe(time.Since(sent).Seconds())
		n.took.Store(int64(time.Since(sent)))
		if err == nil && out.OK {
			return t.carriedOut(out.Revision, m, install)
		}
		if err != nil {
			n.log.Debug("a transaction has an unknown outcome: trying it again", "error", err)
			if !pause(t.tenure.ctx, retryPropose) {
				return fmt.Errorf("%w: %w", cluster.ErrUnknownOutcome, err)
			}
			continue
		}
		leader, commit := out.Found[0], out.Found[1]
		switch {
		case commit != nil && string(commit.Value) == string(m):
			return t.carriedOut(commit.Mod, m, install)
		case leader == nil || leader.Create != t.created:
			t.tenure.end(errNotOurs)
			return cluster.ErrTermOver
		}
		if commit != nil && commit.Mod < modOf(t.draft.commit) {
			n.wentBack()
			t.tenure.end(errOtherHistory)
			return cluster.ErrTermOver
		}
		n.noteHand([]string{keyCommit})
		t.draft.commit = commit
	}
}

func (t *term) carriedOut(rev int64, m []byte, install func(fresh bool) error) error {
	kv := &keyValue{Key: keyCommit, Value: m, Mod: rev}
	t.draft.commit = kv
	err := t.node.replica.landed(rev, kv, install)
	t.node.noteContact(rev)
	return err
}

// writeResignation deletes the leader's key. lead has returned.
func (t *term) writeResignation(h handoverValue) error {
	n := t.node
	value := encodeJSON(h)
	t.resigning.Store(true)
	// The watch may show that the key is gone before the answer is here, and then the term is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.tenure.ctx), handoverTimeout)
	defer cancel()
	for {
		out, err := n.kv.Txn(ctx, []cond{created(keyLeader, t.created)}, []op{remove(keyLeader), put(keyHandover, value)}, []op{get(keyHandover)})
		switch {
		case err != nil:
			if !pause(ctx, retryPropose) {
				return err
			}
			continue
		case out.OK, out.Found[0] != nil && string(out.Found[0].Value) == string(value):
			t.tenure.end(errResigned)
			return nil
		}
		t.tenure.end(errNotOurs)
		return cluster.ErrTermOver
	}
}
