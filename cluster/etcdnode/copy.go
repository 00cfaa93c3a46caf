package etcdnode

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"scomconnector/cluster/state"
)

// replica is this node's copy of what etcd holds. The state in it is live: others read it at any time. It is filled by a read of all
// keys and kept by the watch; a leader puts in its own transactions as soon as etcd has answered, and the watch passes over them.
type replica struct {
	state *state.State

	mu sync.Mutex // guards all below, and writing to state
	// revision: all changes up to it are in. 0: nothing was read yet.
	revision int64
	synced   bool  // the watch runs
	newest   int64 // revision of the newest change of a part
	cluster  *keyValue
	epoch    *keyValue
	leader   *keyValue
	leaderAt time.Time // since when it is that one
	handover *keyValue
	commit   *keyValue
	stores   map[string]string         // pipeline -> store
	deltas   map[string]map[uint64]int // store -> seq -> bytes
	orphans  map[string]bool           // stores that no pipeline has
	own      map[int64]bool            // revisions of own transactions that are in, and that the watch has not shown yet
	vacated  vacancy                   // of the leader's key
	drafts   map[*draft]struct{}       // of terms: they are told of requests
	changed  chan struct{}             // closed and replaced at each news of the keys that are not parts
	damaged  string                    // what does not fit together, for people; empty: nothing
	applied  time.Time                 // when a commit was last put in
	touched  func(parts []string)      // told of parts that were changed by hand; must not block
}

// vacancy says since when the leader's key is not there.
type vacancy struct {
	at       time.Time
	resigned bool // it was given away by the leader itself
	by       leaderValue
	lease    int64 // of the key that went; 0: it was not seen here, or not the last one
}

func newReplica() *replica {
	return &replica{
		state: state.New(), stores: map[string]string{}, deltas: map[string]map[uint64]int{}, orphans: map[string]bool{},
		own: map[int64]bool{}, drafts: map[*draft]struct{}{}, changed: make(chan struct{}), touched: func([]string) {},
	}
}

// keys is what is known of the keys that are not parts.
type keys struct {
	revision, newest                         int64
	synced                                   bool
	cluster, epoch, leader, handover, commit *keyValue
	leaderAt                                 time.Time
	vacated                                  vacancy
	changed                                  <-chan struct{}
}

func (r *replica) keys() keys {
	r.mu.Lock()
	defer r.mu.Unlock()
	return keys{r.revision, r.newest, r.synced, r.cluster, r.epoch, r.leader, r.handover, r.commit, r.leaderAt, r.vacated, r.changed}
}

func (r *replica) tell() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// lost says that the watch has ended: what is known may be old.
func (r *replica) lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = false
	r.tell()
}

// loaded replaces everything by what was read at the revision.
func (r *replica) loaded(revision int64, items []keyValue) error {
	fresh := newReplica()
	if err := fresh.fill(items); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	vacated := r.foundVacant(fresh)
	r.noteLeader(r.leader, fresh.leader)
	r.state.Replace(fresh.state)
	r.revision, r.synced = revision, true
	r.cluster, r.epoch, r.leader, r.handover, r.commit = fresh.cluster, fresh.epoch, fresh.leader, fresh.handover, fresh.commit
	r.stores, r.deltas, r.orphans, r.damaged = fresh.stores, fresh.deltas, fresh.orphans, fresh.damaged
	r.own, r.newest = map[int64]bool{}, 0
	for _, it := range items {
		if it.Key == keyCommit || strings.HasPrefix(it.Key, dirOutbox) {
			r.newest = max(r.newest, it.Mod)
		}
	}
	r.vacated = vacated
	r.tell()
	return nil
}

// foundVacant is what a reading of everything tells of the leader's key. Between it and what was known before terms may have come and
// gone. r.mu is held.
func (r *replica) foundVacant(fresh *replica) vacancy {
	last := fresh.state.Token()
	known := last == r.state.Token()
	switch {
	case fresh.leader != nil:
		return vacancy{}
	case r.leader == nil && !r.vacated.at.IsZero() && known:
		return r.vacated
	}
	v := vacancy{at: time.Now(), resigned: fresh.givenAway()}
	if had := r.leader; had != nil && (known || uint64(had.Create) == last.Term) {
		v.by, v.lease = decodeValue[leaderValue](had), had.Lease
	}
	return v
}

// givenAway reports whether it is certain that the last term is over: there was none, or its leader has said so as it went.
func (r *replica) givenAway() bool {
	last := r.state.Token()
	switch {
	case last == state.Token{}:
		return true
	case r.handover == nil:
		return false
	case last.Epoch.Number < decodeValue[epochValue](r.epoch).Number: // all keys were written anew since, and this one after them
		return true
	}
	return r.handover.Mod > int64(last.Term)
}

func modOf(k *keyValue) int64 {
	if k == nil {
		return 0
	}
	return k.Mod
}

func leaseOf(k *keyValue) int64 {
	if k == nil {
		return 0
	}
	return k.Lease
}

// fill makes the state of all keys: pipelines first, then what belongs to them.
func (r *replica) fill(items []keyValue) error {
	pipes := map[string]string{} // store -> pipeline
	counts := map[string]int{}
	for _, it := range items {
		if name, ok := strings.CutPrefix(it.Key, dirPipe); ok {
			v, err := decodePipe(it.Value)
			if err != nil {
				return fmt.Errorf("the key %s: %w", it.Key, err)
			}
			if err := r.state.Install(state.Stored{Part: state.Part{Kind: state.PartPipe, Pipeline: name}, Content: v.content}); err != nil {
				return err
			}
			pipes[v.store], counts[name], r.stores[name] = name, v.remembered, v.store
		}
	}
	// Close requests in the order that they have, which is not that of their keys: one before another that is in already costs a copy of all.
	var requests []keyValue
	for _, it := range items {
		if strings.HasPrefix(it.Key, dirOutbox) {
			requests = append(requests, it)
		} else if err := r.fillOne(it, pipes); err != nil {
			return err
		}
	}
	slices.SortFunc(requests, func(a, b keyValue) int { return cmp.Compare(a.Create, b.Create) })
	for _, it := range requests {
		if err := r.fillOne(it, pipes); err != nil {
			return err
		}
	}
	for _, it := range items {
		if strings.HasPrefix(it.Key, dirDelta) { // in their order, over the whole base
			store, seq, _ := splitStored(dirDelta, it.Key)
			if pipes[store] == "" {
				continue
			}
			if err := r.state.InstallDelta(pipes[store], it.Value); err != nil {
				return err
			}
			r.delta(store, seq, len(it.Value))
		}
	}
	for name, want := range counts {
		if p, _ := r.state.Pipeline(name); p.Remembered != want {
			r.damaged = fmt.Sprintf("the keys of pipeline %s remember %d sent alerts, and should remember %d: some were changed or deleted by hand; "+
				"restore etcd from a backup, or go on: alerts that are not remembered may be sent again", name, p.Remembered, want)
		}
	}
	return nil
}

func (r *replica) fillOne(it keyValue, pipes map[string]string) error {
	switch {
	case isOwn(it.Key):
		r.ownKey(it.Key, &it)
		return nil
	case strings.HasPrefix(it.Key, dirPipe):
		return nil
	case strings.HasPrefix(it.Key, dirBase), strings.HasPrefix(it.Key, dirDelta):
		dir := it.Key[:strings.IndexByte(it.Key, '/')+1]
		store, _, err := splitStored(dir, it.Key)
		if err != nil {
			return fmt.Errorf("the key %s: %w", it.Key, err)
		}
		if pipes[store] == "" {
			r.orphans[store] = true
			return nil
		}
		if dir == dirDelta {
			return nil
		}
		return r.state.InstallShard(pipes[store], it.Value)
	}
	st, err := r.stored(it, pipes)
	if err != nil || st.Part.Kind == state.PartMeta && st.Content == nil {
		return err
	}
	if st.Part.Kind == state.PartParked && st.Part.Pipeline == "" {
		return nil // an orphan's
	}
	return r.state.Install(st)
}

// stored is the key as a part; pipes names each store's pipeline.
func (r *replica) stored(it keyValue, pipes map[string]string) (state.Stored, error) {
	p, err := state.ParsePart(it.Key)
	if err != nil {
		return state.Stored{}, err
	}
	if p.Kind == state.PartParked {
		store := p.Pipeline
		if p.Pipeline = pipes[store]; p.Pipeline == "" {
			r.orphans[store] = true
		}
	}
	content := it.Value
	if content == nil {
		content = []byte{}
	}
	return state.Stored{Part: p, Content: content, Order: uint64(it.Create)}, nil
}

func (r *replica) ownKey(key string, v *keyValue) {
	switch key {
	case keyCluster:
		r.cluster = v
	case keyEpoch:
		r.epoch = v
	case keyLeader:
		r.leader = v
	case keyHandover:
		r.handover = v
	case keyCommit:
		r.commit = v
	}
}

func (r *replica) delta(store string, seq uint64, size int) {
	if r.deltas[store] == nil {
		r.deltas[store] = map[uint64]int{}
	}
	r.deltas[store][seq] = size
}

// heard puts in what the watch tells. reload: it cannot be done piecemeal.
func (r *replica) heard(events []event) (reload bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Mod == events[0].Mod {
			n++
		}
		if events[0].Mod > r.revision {
			if reload, err := r.hearRevision(events[:n]); reload || err != nil {
				return reload, err
			}
			r.revision = events[0].Mod
		}
		events = events[n:]
	}
	return false, nil
}

// hearRevision puts in one revision. r.mu is held.
func (r *replica) hearRevision(events []event) (reload bool, err error) {
	rev := events[0].Mod
	before := r.leader
	told := false
	byLeader := r.own[rev] || slices.ContainsFunc(events, func(e event) bool { return e.Key == keyCommit && !e.Deleted })
	for i := range events {
		e := &events[i]
		if !byLeader && (e.Key == keyCluster || e.Key == keyEpoch) {
			continue // by hand
		}
		if isOwn(e.Key) {
			told = true
			v := &e.keyValue
			if e.Deleted {
				v = nil
			}
			r.ownKey(e.Key, v)
		}
	}
	if told {
		r.noteLeader(before, r.leader)
		r.noteVacancy(before, rev)
		r.tell()
	}
	if r.own[rev] {
		delete(r.own, rev)
		return false, nil
	}
	if byLeader && slices.ContainsFunc(events, func(e event) bool { return e.Key == keyCluster && !e.Deleted }) {
		return true, nil // another node has written everything, in transactions before this one, which look like changes by hand
	}
	return r.hearParts(events, byLeader)
}

// hearParts puts in the parts that another node has changed. r.mu is held.
func (r *replica) hearParts(events []event, byLeader bool) (reload bool, err error) {
	var list []state.Stored
	var hand []string
	for i := range events {
		e := &events[i]
		if isOwn(e.Key) && (byLeader || e.Key != keyCluster && e.Key != keyEpoch) {
			continue
		}
		request := strings.HasPrefix(e.Key, dirOutbox) && !e.Deleted && e.Create == e.Mod
		if !byLeader && !request {
			hand = append(hand, e.Key)
			continue
		}
		again, err := r.hearPart(e, &list)
		if again || err != nil {
			return again, err
		}
	}
	if len(hand) > 0 {
		r.touched(hand)
	}
	if err := r.state.Install(list...); err != nil {
		return false, err
	}
	for d := range r.drafts {
		d.learn(list)
	}
	if byLeader || len(list) > 0 {
		r.newest = events[0].Mod
	}
	if byLeader {
		r.applied = time.Now()
	}
	return false, nil
}

// hearPart adds what the event changes to list, or puts it in itself. r.mu is held.
func (r *replica) hearPart(e *event, list *[]state.Stored) (reload bool, err error) {
	switch {
	case strings.HasPrefix(e.Key, dirBase):
		return false, nil // it is made of deltas that are in
	case strings.HasPrefix(e.Key, dirDelta):
		store, seq, err := splitStored(dirDelta, e.Key)
		if err != nil {
			return false, err
		}
		if e.Deleted {
			delete(r.deltas[store], seq)
			return false, nil
		}
		name := r.pipelineOf(store)
		if name == "" {
			return true, nil // its pipeline is new
		}
		r.delta(store, seq, len(e.Value))
		return false, r.state.InstallDelta(name, e.Value)
	case strings.HasPrefix(e.Key, dirPipe):
		return r.hearPipe(e, list)
	}
	p, err := state.ParsePart(e.Key)
	if err != nil && e.Deleted {
		return false, nil // it was none of ours, and the leader has removed it
	}
	if err != nil {
		return false, err
	}
	if p.Kind == state.PartParked {
		if p.Pipeline = r.pipelineOf(p.Pipeline); p.Pipeline == "" {
			return false, nil // a pipeline that is being written anew, or was dropped
		}
	}
	st := state.Stored{Part: p, Order: uint64(e.Create)}
	if !e.Deleted {
		if st.Content = e.Value; st.Content == nil {
			st.Content = []byte{}
		}
	}
	*list = append(*list, st)
	return false, nil
}

func (r *replica) hearPipe(e *event, list *[]state.Stored) (reload bool, err error) {
	name := strings.TrimPrefix(e.Key, dirPipe)
	part := state.Part{Kind: state.PartPipe, Pipeline: name}
	if e.Deleted {
		delete(r.deltas, r.stores[name])
		delete(r.stores, name)
		*list = append(*list, state.Stored{Part: part})
		return false, nil
	}
	v, err := decodePipe(e.Value)
	if err != nil {
		return false, fmt.Errorf("the key %s: %w", e.Key, err)
	}
	if r.stores[name] == "" && v.store == name {
		r.stores[name] = name // new, and all of it is told
	}
	if r.stores[name] != v.store {
		return true, nil // written anew elsewhere
	}
	*list = append(*list, state.Stored{Part: part, Content: v.content})
	return false, nil
}

func (r *replica) pipelineOf(store string) string {
	for name, s := range r.stores {
		if s == store {
			return name
		}
	}
	return ""
}

func (r *replica) noteLeader(before, now *keyValue) {
	if now != nil && (before == nil || before.Create != now.Create || !bytes.Equal(before.Value, now.Value)) {
		r.leaderAt = time.Now()
	}
}

func (r *replica) noteVacancy(before *keyValue, rev int64) {
	switch {
	case r.leader != nil:
		r.vacated = vacancy{}
	case before != nil:
		r.vacated = vacancy{
			at: time.Now(), resigned: r.handover != nil && r.handover.Mod == rev, by: decodeValue[leaderValue](before), lease: leaseOf(before),
		}
	}
}

// landed has install put in this node's own transaction, which etcd has carried out at the revision; where the watch was faster it is
// not fresh, and in already.
func (r *replica) landed(rev int64, commit *keyValue, install func(fresh bool) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := rev > r.revision
	if fresh {
		r.own[rev] = true
		r.commit, r.newest = commit, rev
		r.applied = time.Now()
	}
	return install(fresh)
}

// borrow gives a draft of the state, which from then on is told of requests, and the number of each store's last delta.
func (r *replica) borrow() (*draft, map[string]uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.state.Clone()
	if err != nil {
		return nil, nil, err
	}
	last := map[string]uint64{}
	for store, seqs := range r.deltas {
		for seq := range seqs {
			last[store] = max(last[store], seq)
		}
	}
	d := &draft{state: c, stores: maps.Clone(r.stores), commit: r.commit}
	r.drafts[d] = struct{}{}
	return d, last, nil
}

func (r *replica) giveBack(d *draft) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.drafts, d)
}

// draft is the state as a leader makes it, a step ahead of what etcd holds: a command is applied to it first, which shows what is to be
// written. Nobody reads it but the goroutine that writes; when a transaction fails the term is over, and the draft is forgotten.
type draft struct {
	state  *state.State
	stores map[string]string // pipeline -> store
	commit *keyValue         // the last transaction's

	mu     sync.Mutex // guards what follows
	queued []state.Stored
}

func (d *draft) learn(list []state.Stored) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, st := range list {
		if st.Part.Kind == state.PartOutbox {
			d.queued = append(d.queued, st)
		}
	}
}

// catchUp puts in what other nodes have added.
func (d *draft) catchUp() error {
	d.mu.Lock()
	list := d.queued
	d.queued = nil
	d.mu.Unlock()
	return d.state.Install(list...)
}

func decodeValue[T any](k *keyValue) (v T) {
	if k != nil {
		json.Unmarshal(k.Value, &v) //nolint:errcheck // a value that is none reads as the zero value, which fits nobody
	}
	return v
}
