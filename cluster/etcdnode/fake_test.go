package etcdnode

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"scomconnector/cluster"
)

// fake is an etcd in memory, with what goes wrong with one. Its clients are cut off one by one.
type fake struct {
	mu       sync.Mutex
	keys     map[string]keyValue
	log      []event // all changes, oldest first
	revision int64
	compact  int64 // changes up to it are not kept
	leases   map[int64]*fakeLease
	next     int64
	changed  chan struct{} // closed and replaced at each change of anything
	down     bool          // no majority: calls hang
	cut      map[string]bool
	lose     int // so many next writes are carried out, and their answer is lost
	txns     int
	slow     time.Duration // each call takes so long
	refuse   error         // what each call is answered
	refused  int           // how many were
	locked   error         // what each write is answered
}

type fakeLease struct {
	ttl   time.Duration
	until time.Time
	timer *time.Timer
}

func newFake() *fake {
	return &fake{keys: map[string]keyValue{}, revision: 1, leases: map[int64]*fakeLease{}, next: 100, changed: make(chan struct{}), cut: map[string]bool{}}
}

func (f *fake) client(node string) *fakeClient { return &fakeClient{f, node} }

// change changes something under the lock, and tells who waits.
func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) setCut(node string, on bool) { f.change(func() { f.cut[node] = on }) }

// setDown takes the majority away, or gives it back: then all leases have their whole time again.
func (f *fake) setDown(on bool) {
	f.change(func() {
		f.down = on
		for _, l := range f.leases {
			l.until = time.Now().Add(l.ttl)
			l.timer.Reset(l.ttl)
		}
	})
}

// wipe is a new data folder: nothing is there, and revisions begin anew.
func (f *fake) wipe() {
	f.change(func() {
		f.keys, f.log, f.revision, f.compact = map[string]keyValue{}, nil, 1, 0
		for _, l := range f.leases {
			l.timer.Stop()
		}
		f.leases = map[int64]*fakeLease{}
	})
}

// backup is what a later restore puts back: leases are part of it, and each has its whole time again.
func (f *fake) backup() func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys, log, rev, compacted := maps.Clone(f.keys), slices.Clone(f.log), f.revision, f.compact
	leases := map[int64]time.Duration{}
	for id, l := range f.leases {
		leases[id] = l.ttl
	}
	return func() {
		f.wipe()
		f.change(func() {
			f.keys, f.log, f.revision, f.compact = maps.Clone(keys), slices.Clone(log), rev, compacted
			for id, ttl := range leases {
				f.leases[id] = &fakeLease{ttl: ttl, until: time.Now().Add(ttl), timer: time.AfterFunc(ttl, func() { f.expire(id, false) })}
			}
		})
	}
}

// count is how many transactions there were.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.txns
}

// drop drops the history.
func (f *fake) drop() {
	f.change(func() { f.compact, f.log = f.revision, nil })
}

// hand changes keys as etcdctl does.
func (f *fake) hand(ops ...op) {
	f.change(func() { f.apply(ops) })
}

func (f *fake) revokeLeaders() {
	f.mu.Lock()
	lease := f.keys[keyLeader].Lease
	f.mu.Unlock()
	f.expire(lease, true)
}

func (f *fake) expire(id int64, force bool) {
	f.change(func() {
		l := f.leases[id]
		if l == nil {
			return
		}
		if left := time.Until(l.until); (left > 0 || f.down) && !force {
			l.timer.Reset(max(left, lookAround))
			return
		}
		l.timer.Stop()
		delete(f.leases, id)
		for _, k := range slices.Sorted(maps.Keys(f.keys)) {
			if f.keys[k].Lease == id {
				f.apply([]op{remove(k)})
			}
		}
	})
}

// apply carries ops out as one revision, if they change anything. f.mu is held.
func (f *fake) apply(ops []op) {
	rev, before := f.revision+1, len(f.log)
	del := func(key string) {
		if _, ok := f.keys[key]; ok {
			delete(f.keys, key)
			f.log = append(f.log, event{keyValue: keyValue{Key: key, Mod: rev}, Deleted: true})
		}
	}
	for _, o := range ops {
		switch o.kind {
		case opPut:
			kv := keyValue{Key: o.key, Value: slices.Clone(o.value), Create: rev, Mod: rev, Lease: o.lease}
			if old, ok := f.keys[o.key]; ok {
				kv.Create = old.Create
			}
			f.keys[o.key] = kv
			f.log = append(f.log, event{keyValue: kv})
		case opDelete:
			del(o.key)
		case opDeleteAll, opDeleteUpTo:
			for _, k := range slices.Sorted(maps.Keys(f.keys)) {
				if o.kind == opDeleteAll && strings.HasPrefix(k, o.key) || o.kind == opDeleteUpTo && k >= o.key && k < o.to {
					del(k)
				}
			}
		}
	}
	if len(f.log) > before {
		f.revision = rev
	}
}

type fakeClient struct {
	*fake
	node string
}

var errNoAnswer = errors.New("no answer")

// await returns with the lock held once the client can be answered.
func (c *fakeClient) await(ctx context.Context) error {
	if c.slow > 0 && !pause(ctx, c.slow) {
		return ctx.Err()
	}
	for {
		c.mu.Lock()
		if !c.down && !c.cut[c.node] {
			if c.refuse == nil {
				return nil
			}
			defer c.mu.Unlock()
			c.refused++
			return c.refuse
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *fakeClient) Txn(ctx context.Context, when []cond, then, orElse []op) (outcome, error) {
	if err := c.await(ctx); err != nil {
		return outcome{}, err
	}
	defer c.mu.Unlock()
	ok := true
	for _, w := range when {
		kv := c.keys[w.key]
		if w.create && kv.Create != w.revision || !w.create && kv.Mod != w.revision {
			ok = false
		}
	}
	ops := then
	if !ok {
		ops = orElse
	}
	if len(ops) > 128 {
		return outcome{}, errors.New("too many operations")
	}
	size := 0
	seen := map[string]bool{}
	for _, o := range ops {
		size += len(o.value)
		if o.kind == opPut && seen[o.key] {
			return outcome{}, errors.New("duplicate key given in txn request: " + o.key)
		}
		seen[o.key] = true
		if o.kind == opPut && c.locked != nil {
			return outcome{}, c.locked
		}
		if o.kind == opPut && o.lease != 0 && c.leases[o.lease] == nil {
			return outcome{}, errNoLease
		}
	}
	if size > 1536<<10 {
		return outcome{}, errors.New("request is too large")
	}
	c.txns++
	before := c.revision
	c.apply(ops)
	out := outcome{OK: ok, Revision: c.revision}
	for _, o := range ops {
		if o.kind == opGet {
			if kv, known := c.keys[o.key]; known {
				out.Found = append(out.Found, &kv)
			} else {
				out.Found = append(out.Found, nil)
			}
		}
	}
	if c.revision > before {
		close(c.changed)
		c.changed = make(chan struct{})
		if c.lose > 0 {
			c.lose--
			return outcome{}, errNoAnswer
		}
	}
	return out, nil
}

func (c *fakeClient) Page(ctx context.Context, prefix, after string, limit int, revision int64) (page, error) {
	if err := c.await(ctx); err != nil {
		return page{}, err
	}
	defer c.mu.Unlock()
	if revision != 0 && revision < c.revision {
		return page{}, errCompacted // it keeps no old versions: who reads in pages reads again
	}
	p := page{Revision: c.revision}
	for _, k := range slices.Sorted(maps.Keys(c.keys)) {
		if !strings.HasPrefix(k, prefix) || after != "" && k <= after {
			continue
		}
		if len(p.Items) == limit {
			p.More = true
			break
		}
		p.Items = append(p.Items, c.keys[k])
	}
	return p, nil
}

func (c *fakeClient) Watch(ctx context.Context, prefix string, from int64) <-chan news {
	out := make(chan news)
	go func() {
		defer close(out)
		for {
			if c.await(ctx) != nil {
				return
			}
			var n news
			if from <= c.compact {
				n.Err = errCompacted
			}
			for _, e := range c.log {
				if e.Mod >= from && strings.HasPrefix(e.Key, prefix) {
					n.Events = append(n.Events, e)
				}
			}
			from = max(from, c.revision+1)
			changed := c.changed
			c.mu.Unlock()
			if len(n.Events) > 0 || n.Err != nil {
				select {
				case out <- n:
				case <-ctx.Done():
					return
				}
			}
			if n.Err != nil {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (c *fakeClient) Grant(ctx context.Context, ttl time.Duration) (int64, time.Duration, error) {
	if err := c.await(ctx); err != nil {
		return 0, 0, err
	}
	defer c.mu.Unlock()
	if errors.Is(c.locked, rpctypes.ErrNoSpace) {
		return 0, 0, c.locked
	}
	c.next++
	id := c.next
	c.leases[id] = &fakeLease{ttl: ttl, until: time.Now().Add(ttl), timer: time.AfterFunc(ttl, func() { c.expire(id, false) })}
	return id, ttl, nil
}

func (c *fakeClient) KeepAlive(ctx context.Context, id int64) (time.Duration, error) {
	if err := c.await(ctx); err != nil {
		return 0, err
	}
	defer c.mu.Unlock()
	l := c.leases[id]
	if l == nil {
		return 0, errNoLease
	}
	l.until = time.Now().Add(l.ttl)
	return l.ttl, nil
}

func (c *fakeClient) Left(ctx context.Context, id int64) (time.Duration, error) {
	if err := c.await(ctx); err != nil {
		return 0, err
	}
	defer c.mu.Unlock()
	l := c.leases[id]
	if l == nil {
		return 0, errNoLease
	}
	return time.Until(l.until).Truncate(time.Second), nil
}

func (c *fakeClient) Revoke(ctx context.Context, id int64) error {
	if err := c.await(ctx); err != nil {
		return err
	}
	c.mu.Unlock()
	c.expire(id, true)
	return nil
}

func (c *fakeClient) Endpoints() []cluster.Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := cluster.Endpoint{URL: "http://fake"}
	if errors.Is(c.locked, rpctypes.ErrNoSpace) {
		e.Alarm = "memberID:1 alarm:NOSPACE"
	}
	if c.down || c.cut[c.node] {
		e.Fault = "it does not answer"
	}
	return []cluster.Endpoint{e}
}

func (c *fakeClient) Close() error { return nil }
