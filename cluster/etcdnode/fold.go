package etcdnode

import (
	"maps"
	"slices"
	"strings"

	"scomconnector/cluster/state"
)

// Deltas are folded into the base when there are this many, or have this many bytes.
const (
	foldDeltas = 128
	foldBytes  = 1 << 20
	foldShards = 16 // in one transaction
)

// fold is the base of one store being written anew, piece by piece between the commands. What it writes holds the deltas of meanwhile,
// too, which may be put in again; those up to upTo are deleted at the end, and a fold that was broken off has done no harm.
type fold struct {
	pipeline, store string
	upTo            uint64
	next            int // shard
}

// dueFold is a fold that has become due.
func (t *term) dueFold() *fold {
	r := t.node.replica
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, store := range t.draft.stores {
		seqs := r.deltas[store]
		bytes := 0
		for _, size := range seqs {
			bytes += size
		}
		if len(seqs) >= foldDeltas || bytes >= foldBytes {
			return &fold{pipeline: name, store: store, upTo: slices.Max(slices.Collect(maps.Keys(seqs)))}
		}
	}
	return nil
}

func (t *term) foldStep() {
	f := t.folding
	if t.draft.stores[f.pipeline] != f.store {
		t.folding = nil // written anew meanwhile
		return
	}
	if f.next == state.Shards {
		t.folding = nil
		last := op{kind: opDeleteUpTo, key: deltaKey(f.store, 0), to: deltaKey(f.store, f.upTo+1)}
		t.check(t.txn([]op{last}, func(bool) error {
			maps.DeleteFunc(t.node.replica.deltas[f.store], func(seq uint64, _ int) bool { return seq <= f.upTo })
			return nil
		}))
		return
	}
	var ops []op
	size := 0
	for ; f.next < state.Shards && len(ops) < foldShards && size < maxTxnBytes; f.next++ {
		key := shardKey(f.store, f.next)
		if b := t.draft.state.Shard(f.pipeline, uint8(f.next)); b != nil {
			ops = append(ops, put(key, b))
			size += len(b)
		} else {
			ops = append(ops, remove(key))
		}
	}
	t.check(t.txn(ops, nothing))
}

// check ends the term where what was written is not known.
func (t *term) check(err error) {
	if err != nil && t.tenure.ctx.Err() == nil {
		t.tenure.end(err)
	}
}

// mend has the writer put back keys that were changed by hand.
func (t *term) mend(keys []string) {
	t.mu.Lock()
	t.mends = append(t.mends, keys...)
	t.mu.Unlock()
	select {
	case t.mended <- struct{}{}:
	default:
	}
}

// putBack writes what was changed by hand as this node has it.
func (t *term) putBack() {
	t.mu.Lock()
	keys := t.mends
	t.mends = nil
	t.mu.Unlock()
	w := writing{term: t}
	k := t.node.replica.keys()
	for _, key := range keys {
		dir, rest, _ := strings.Cut(key, "/")
		switch {
		case key == keyCluster && k.cluster != nil:
			w.ops = append(w.ops, put(key, k.cluster.Value))
		case key == keyEpoch && k.epoch != nil:
			w.ops = append(w.ops, put(key, k.epoch.Value))
		case dir+"/" == dirBase, dir+"/" == dirDelta, dir+"/" == dirParked:
			store, _, ok := cutLast(rest)
			if name := t.pipelineOf(store); ok && name != "" && !slices.Contains(w.whole, name) {
				w.whole = append(w.whole, name)
				w.parts = append(w.parts, state.Part{Kind: state.PartPipe, Pipeline: name})
			}
		default:
			if p, err := state.ParsePart(key); err == nil && !slices.Contains(w.parts, p) {
				w.parts = append(w.parts, p)
			} else if err != nil && !isOwn(key) {
				w.ops = append(w.ops, remove(key))
			}
		}
	}
	t.check(w.write())
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func (t *term) pipelineOf(store string) string {
	for name, s := range t.draft.stores {
		if s == store {
			return name
		}
	}
	return ""
}
