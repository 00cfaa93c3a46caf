package state

import (
	"bytes"
	"encoding/binary"
	"slices"

	"scomconnector/poller/alert"
)

// delivered remembers the newest version sent of each alert: 256 shards of entries sorted by id,
// 24 bytes each and without pointers. Sorted slices beat maps here: half the memory, nothing for
// the garbage collector to follow, a shard is copied by one memmove, and they are in their
// order when a snapshot is written. A shard of a map at its limit has 2,000 entries.
//
// The zero value is empty.
type delivered struct {
	shards [256][]entry
	// shared shards belong to a snapshot, too: they are copied before they are changed.
	shared [256]bool
	n      int // entries
	// closed lists, by the 10 s in which they were last modified, the ids of closed versions, so
	// that forgetting costs what it forgets. An id whose version has changed since may still be
	// listed: what is there decides. Which ids are stale has no effect on the state.
	closed map[int64][]alert.ID
	order  []int64 // the keys of closed, sorted
}

// entry is one version: last modified and resolution state share a word.
type entry struct {
	id     alert.ID
	packed int64 // Millis << 8 | state
}

func newEntry(v alert.Version) entry {
	return entry{id: v.ID, packed: int64(v.LastModified)<<8 | int64(v.State)}
}

func (e entry) lastModified() alert.Millis { return alert.Millis(e.packed >> 8) }
func (e entry) isClosed() bool             { return uint8(e.packed) == alert.StateClosed }
func (e entry) version() alert.Version {
	return alert.Version{ID: e.id, LastModified: e.lastModified(), State: uint8(e.packed)}
}

// forgettable reports whether e is closed and older than bound.
func (e entry) forgettable(bound alert.Millis) bool { return e.isClosed() && e.lastModified() < bound }

// shardOf mixes all bytes: the GUIDs that SCOM draws are random, but those that SQL Server makes
// one after the other differ only in a few bytes.
func shardOf(id alert.ID) uint8 {
	hi, lo := binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])
	h := (hi ^ lo>>29 ^ lo<<35) * 0x9E3779B97F4A7C15
	return uint8((h ^ h>>32) * 0xD6E8FEB86659FD93 >> 56)
}

func compareIDs(a, b alert.ID) int { return bytes.Compare(a[:], b[:]) }

// find is where id is in its shard, or would have to be.
func find(shard []entry, id alert.ID) (int, bool) {
	want := binary.BigEndian.Uint64(id[:8])
	lo, hi := 0, len(shard)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		have := binary.BigEndian.Uint64(shard[mid].id[:8])
		if have < want || (have == want && bytes.Compare(shard[mid].id[8:], id[8:]) < 0) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(shard) && shard[lo].id == id
}

func (d *delivered) get(id alert.ID) (alert.Version, bool) {
	shard := d.shards[shardOf(id)]
	i, ok := find(shard, id)
	if !ok {
		return alert.Version{}, false
	}
	return shard[i].version(), true
}

// put records v unless the version that is there is v itself or newer; it reports whether it did.
func (d *delivered) put(v alert.Version) bool {
	s := shardOf(v.ID)
	i, known := find(d.shards[s], v.ID)
	if known && !v.Supersedes(d.shards[s][i].version()) {
		return false
	}
	shard := d.writable(s)
	if known {
		shard[i] = newEntry(v)
	} else {
		d.shards[s] = slices.Insert(roomy(shard), i, newEntry(v))
		d.n++
	}
	if v.State == alert.StateClosed {
		d.listClosed(v)
	}
	return true
}

// writable is the shard, copied if a snapshot has it, too.
func (d *delivered) writable(s uint8) []entry {
	if d.shared[s] {
		d.shards[s] = append(make([]entry, 0, withRoom(len(d.shards[s]))), d.shards[s]...)
		d.shared[s] = false
	}
	return d.shards[s]
}

// roomy grows a full shard by an eighth: append would double it, and most shards stay as they are.
func roomy(shard []entry) []entry {
	if len(shard) < cap(shard) {
		return shard
	}
	return append(make([]entry, 0, withRoom(len(shard))), shard...)
}

func withRoom(n int) int { return n + n/8 + 8 }

func bucketOf(m alert.Millis) int64 {
	b := int64(m) / bucketMillis
	if m < 0 && int64(m)%bucketMillis != 0 {
		b-- // round down, as for positive times
	}
	return b
}

func (d *delivered) listClosed(v alert.Version) {
	if d.closed == nil {
		d.closed = map[int64][]alert.ID{}
	}
	b := bucketOf(v.LastModified)
	ids, known := d.closed[b]
	if !known {
		i, _ := slices.BinarySearch(d.order, b)
		d.order = slices.Insert(d.order, i, b)
	}
	d.closed[b] = append(ids, v.ID)
}

// forget drops closed versions last modified before the 10 s in which before lies. Open ones stay,
// however old. It reports whether it dropped any.
func (d *delivered) forget(before alert.Millis) bool {
	due, _ := slices.BinarySearch(d.order, bucketOf(before))
	if due == 0 {
		return false
	}
	bound := forgetBound(before)
	had, listed := d.n, 0
	for _, b := range d.order[:due] {
		listed += len(d.closed[b])
	}
	if listed > d.n/16 {
		// One pass over everything is cheaper than moving the rest of a shard for each entry.
		d.removeIf(func(e entry) bool { return e.forgettable(bound) })
	} else {
		for _, b := range d.order[:due] {
			d.removeForgettable(d.closed[b], bound)
		}
	}
	for _, b := range d.order[:due] {
		delete(d.closed, b)
	}
	d.order = slices.Delete(d.order, 0, due)
	return d.n != had
}

func forgetBound(before alert.Millis) alert.Millis {
	return alert.Millis(bucketOf(before) * bucketMillis)
}

func (d *delivered) removeForgettable(ids []alert.ID, bound alert.Millis) {
	for _, id := range ids {
		s := shardOf(id)
		i, known := find(d.shards[s], id)
		if !known || !d.shards[s][i].forgettable(bound) {
			continue
		}
		d.shards[s] = slices.Delete(d.writable(s), i, i+1)
		d.n--
	}
}

// removeIf keeps shards as they are of which nothing goes, and gives back the memory of the others.
func (d *delivered) removeIf(drop func(entry) bool) {
	for s, shard := range d.shards {
		gone := 0
		for _, e := range shard {
			if drop(e) {
				gone++
			}
		}
		if gone == 0 {
			continue
		}
		left := make([]entry, 0, withRoom(len(shard)-gone))
		for _, e := range shard {
			if !drop(e) {
				left = append(left, e)
			}
		}
		d.shards[s], d.shared[s] = left, false
		d.n -= gone
	}
}

// rewind drops every version last modified at or after to, open or closed.
func (d *delivered) rewind(to alert.Millis) {
	d.removeIf(func(e entry) bool { return e.lastModified() >= to })
	d.relist()
}

// relist lists the closed versions anew from what is there.
func (d *delivered) relist() {
	d.closed, d.order = nil, nil
	for s := range d.shards {
		for _, e := range d.shards[s] {
			if e.isClosed() {
				d.listClosed(e.version())
			}
		}
	}
}

// fits reports whether at most MaxRemembered entries are there once sent and handled are recorded and
// what lies before before is forgotten.
func (d *delivered) fits(before alert.Millis, sent, handled []alert.Version) bool {
	if d.n+len(sent)+len(handled) <= MaxRemembered {
		return true
	}
	bound := forgetBound(before)
	after := make(map[alert.ID]entry, len(sent)+len(handled))
	for _, list := range [][]alert.Version{sent, handled} {
		for _, v := range list {
			old, known := d.get(v.ID)
			if e, twice := after[v.ID]; twice {
				old, known = e.version(), true
			}
			if !known || v.Supersedes(old) {
				after[v.ID] = newEntry(v)
			}
		}
	}
	n := 0
	for _, e := range after {
		if !e.forgettable(bound) {
			n++
		}
	}
	for s := range d.shards {
		for _, e := range d.shards[s] {
			if _, replaced := after[e.id]; !replaced && !e.forgettable(bound) {
				n++
			}
		}
	}
	return n <= MaxRemembered
}

// each calls f for each version, in the one order of shard and id.
func (d *delivered) each(f func(alert.Version)) {
	for s := range d.shards {
		for _, e := range d.shards[s] {
			f(e.version())
		}
	}
}

// share is a copy of the shards for a snapshot; what it refers to is not changed any more.
func (d *delivered) share() [256][]entry {
	for s := range d.shared {
		d.shared[s] = true
	}
	return d.shards
}
