package state

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"scomconnector/poller/alert"
)

// outbox is what was asked of SCOM: what waits, what SCOM has refused for good, and what has come to its end. Nothing in its lists
// is changed once a snapshot may have it: chunks are replaced, or grow behind what the snapshot sees.
type outbox struct {
	chunks [][]*pending // what waits, by seq; none is empty
	byID   map[string]*pending
	newest map[alert.ID]*pending // of each alert
	bytes  int                   // Invariant: the sum of size over what waits

	parked      map[string]*ParkedRequest // values are never changed once stored
	parkedBytes int                       // Invariant: the sum of size() over parked
	keys        map[string]string         // Idempotency-Key -> ID of what waits and what is parked; each Key once

	settled []*SettledRequest // oldest first, each ID once; values are never changed once stored
	ended   map[string]*SettledRequest
}

// pending is a request that waits. A snapshot reads what stands above the links.
type pending struct {
	Request
	seq  uint64 // places it in the order, together with its ID: a backend may order several at once
	size int

	older, younger *pending // of the same alert
}

// SettledRequest is a request that has come to its end, without its comment and fields.
type SettledRequest struct {
	Request Request
	Outcome Outcome
	Reason  string
	At      time.Time

	seq uint64 // places it among the settled ones, for who stores each by itself
}

// chunkLen is small, since a chunk is copied for each request that leaves it.
const chunkLen = 64

func newOutbox() outbox {
	return outbox{
		byID: map[string]*pending{}, newest: map[alert.ID]*pending{},
		parked: map[string]*ParkedRequest{}, keys: map[string]string{}, ended: map[string]*SettledRequest{},
	}
}

// size is what a request counts against the outbox's limit.
func (q *Request) size() int { return len(appendRequest(nil, q)) }

// asksSame reports whether p and q want the same of their alert.
func (q *Request) asksSame(p *Request) bool {
	return q.Alert == p.Alert && q.Keep == p.Keep && (q.Keep || q.State == p.State) && q.Comment == p.Comment && slices.Equal(q.Fields, p.Fields)
}

// same is the ID of the request that q is: by its own, or by its Key.
func (o *outbox) same(q *Request) (string, bool) {
	if o.byID[q.ID] != nil || o.parked[q.ID] != nil || o.ended[q.ID] != nil {
		return q.ID, true
	}
	if q.Key == "" {
		return "", false
	}
	if id, known := o.keys[q.Key]; known {
		return id, true
	}
	for _, e := range slices.Backward(o.settled) {
		if e.Request.Key == q.Key && q.At.Sub(e.At) < KeepSettled {
			return e.Request.ID, true
		}
	}
	return "", false
}

// fits reports whether n more requests of size bytes together stay within the limits.
func (o *outbox) fits(n, size, maxEntries, maxBytes int) bool {
	return len(o.byID)+n <= maxEntries && o.bytes+size <= maxBytes
}

// add puts q behind all others.
func (o *outbox) add(q Request) {
	seq := uint64(1)
	if n := len(o.chunks); n > 0 {
		c := o.chunks[n-1]
		seq = c[len(c)-1].seq + 1
	}
	o.put(&pending{Request: q, seq: seq, size: q.size()})
}

func comparePending(p, q *pending) int {
	return cmp.Or(cmp.Compare(p.seq, q.seq), strings.Compare(p.ID, q.ID))
}

// put appends p, which is the last in the order.
func (o *outbox) put(p *pending) {
	if n := len(o.chunks); n > 0 && len(o.chunks[n-1]) < chunkLen {
		o.chunks[n-1] = append(o.chunks[n-1], p)
	} else {
		o.chunks = append(o.chunks, []*pending{p})
	}
	if p.older = o.newest[p.Alert]; p.older != nil {
		p.older.younger = p
	}
	o.newest[p.Alert] = p
	o.byID[p.ID] = p
	o.bytes += p.size
	if p.Key != "" {
		o.keys[p.Key] = p.ID
	}
}

// chunkOf is where p stands in chunks.
func (o *outbox) chunkOf(p *pending) int {
	i, _ := slices.BinarySearchFunc(o.chunks, p, func(c []*pending, p *pending) int {
		if comparePending(c[len(c)-1], p) < 0 {
			return -1
		}
		return 1 // the first chunk that does not end before it is the one
	})
	return i
}

// all is what waits, in its order.
func (o *outbox) all() []*pending {
	list := make([]*pending, 0, len(o.byID))
	for _, c := range o.chunks {
		list = append(list, c...)
	}
	return list
}

// doubt puts a doubtful copy in p's place.
func (o *outbox) doubt(p *pending, seen alert.Millis) {
	q := *p
	q.Doubtful, q.Seen = true, seen
	i := o.chunkOf(p)
	o.chunks[i] = slices.Clone(o.chunks[i])
	o.chunks[i][slices.Index(o.chunks[i], p)] = &q
	if q.older != nil {
		q.older.younger = &q
	}
	if q.younger != nil {
		q.younger.older = &q
	} else {
		o.newest[q.Alert] = &q
	}
	o.byID[q.ID] = &q
}

// remove takes p out of what waits.
func (o *outbox) remove(p *pending) {
	i := o.chunkOf(p)
	if c := o.chunks[i]; len(c) == 1 {
		o.chunks = slices.Delete(o.chunks, i, i+1)
	} else {
		o.chunks[i] = slices.DeleteFunc(slices.Clone(c), func(q *pending) bool { return q == p })
	}
	switch {
	case p.younger != nil:
		p.younger.older = p.older
	case p.older != nil:
		o.newest[p.Alert] = p.older
	default:
		delete(o.newest, p.Alert)
	}
	if p.older != nil {
		p.older.younger = p.younger
	}
	delete(o.byID, p.ID)
	o.bytes -= p.size
	delete(o.keys, p.Key)
}

// size is what an entry counts against MaxParkedBytes.
func (p *ParkedRequest) size() int { return p.Request.size() + len(p.Reason) }

// park keeps p for a person. What SCOM has refused is not doubtful any more.
func (o *outbox) park(p ParkedRequest) {
	p.Request.Doubtful, p.Request.Seen = false, 0
	o.parked[p.Request.ID] = &p
	o.parkedBytes += p.size()
	if p.Request.Key != "" {
		o.keys[p.Request.Key] = p.Request.ID
	}
}

func (o *outbox) unpark(p *ParkedRequest) {
	delete(o.parked, p.Request.ID)
	o.parkedBytes -= p.size()
	delete(o.keys, p.Request.Key)
}

// end remembers how a request ended.
func (o *outbox) end(q Request, x Outcome, reason string, at time.Time) {
	q.Comment, q.Fields, q.Doubtful, q.Seen = "", nil, false, 0
	e := &SettledRequest{Request: q, Outcome: x, Reason: reason, At: at, seq: 1}
	if n := len(o.settled); n > 0 {
		e.seq = o.settled[n-1].seq + 1
	}
	o.settled = append(o.settled, e)
	o.ended[q.ID] = e
}

// forgetSettled drops what is too old at that time, and the oldest beyond MaxSettled. It looks at the time of this one command and
// not at the latest ever seen: after a node with a wrong clock has led, nothing would be remembered for as long as its clock was ahead.
func (o *outbox) forgetSettled(now time.Time) []Part {
	excess := len(o.settled) - MaxSettled
	tooOld := func(e *SettledRequest) bool { return now.Sub(e.At) >= KeepSettled }
	if excess <= 0 && !slices.ContainsFunc(o.settled, tooOld) {
		return nil
	}
	var parts []Part
	kept := make([]*SettledRequest, 0, MaxSettled+chunkLen)
	for i, e := range o.settled {
		if i >= excess && !tooOld(e) {
			kept = append(kept, e)
			continue
		}
		delete(o.ended, e.Request.ID)
		parts = append(parts, Part{Kind: PartSettled, Request: e.Request.ID})
	}
	o.settled = kept
	return parts
}

// reopen forgets how a request ended, since it has not.
func (o *outbox) reopen(id string) []Part {
	e, known := o.ended[id]
	if !known {
		return nil
	}
	delete(o.ended, id)
	o.settled = slices.DeleteFunc(slices.Clone(o.settled), func(x *SettledRequest) bool { return x == e })
	return []Part{{Kind: PartSettled, Request: id}}
}
