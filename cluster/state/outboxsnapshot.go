package state

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
)

// outboxSnapshot shares chunks and lists with the outbox, which changes neither; see there.
type outboxSnapshot struct {
	n       int
	chunks  [][]*pending
	parked  []*ParkedRequest
	settled []*SettledRequest
}

func (o *outbox) snapshot() outboxSnapshot {
	return outboxSnapshot{
		n: len(o.byID), chunks: slices.Clone(o.chunks), settled: o.settled,
		parked: slices.SortedFunc(maps.Values(o.parked), func(a, b *ParkedRequest) int { return strings.Compare(a.Request.ID, b.Request.ID) }),
	}
}

func (s *outboxSnapshot) write(o *recordWriter) {
	prev := uint64(0)
	for _, c := range s.chunks {
		for _, p := range c {
			b := appendRequest(binary.AppendUvarint(o.body(), p.seq-prev), &p.Request)
			o.record(recordRequest, appendMillis(b, p.Seen))
			prev = p.seq
		}
	}
	for _, p := range s.parked {
		o.record(recordRefused, appendParkedRequest(o.body(), p))
	}
	for _, e := range s.settled {
		o.record(recordSettled, appendSettled(o.body(), e))
	}
}

func (in *recordReader) outbox(o *outbox, requests, refused, settled int) error {
	var newest *pending
	for range requests {
		p, err := in.request(o, newest)
		if err != nil {
			return err
		}
		newest = p
	}
	last := ""
	for range refused {
		r, err := in.record(recordRefused)
		if err != nil {
			return err
		}
		p := r.parkedRequest()
		if err := r.end(); err != nil {
			return err
		}
		if p.Request.ID <= last || p.Request.Doubtful || o.taken(&p.Request) {
			return errOrder
		}
		o.park(p)
		last = p.Request.ID
	}
	if o.bytes > MaxOutboxBytes || o.parkedBytes > MaxParkedBytes {
		return errLimit
	}
	for range settled {
		if err := in.settled(o); err != nil {
			return err
		}
	}
	return nil
}

// taken reports whether q's ID or Key stands among what waits and is parked.
func (o *outbox) taken(q *Request) bool {
	_, twice := o.keys[q.Key] // the empty one never stands there
	return twice || o.byID[q.ID] != nil || o.parked[q.ID] != nil
}

// request reads the request after before, nil for the first.
func (in *recordReader) request(o *outbox, before *pending) (*pending, error) {
	r, err := in.record(recordRequest)
	if err != nil {
		return nil, err
	}
	p := &pending{seq: r.uvarint()}
	if before != nil {
		p.seq += before.seq
	}
	p.Request = r.request()
	if in.version > 1 {
		p.Seen = r.millis()
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if p.seq == 0 || before != nil && comparePending(before, p) >= 0 || o.taken(&p.Request) || p.Seen != 0 && !p.Doubtful {
		return nil, errOrder
	}
	p.size = p.Request.size()
	o.put(p)
	return p, nil
}

func (in *recordReader) settled(o *outbox) error {
	r, err := in.record(recordSettled)
	if err != nil {
		return err
	}
	e := r.settled()
	if err := r.end(); err != nil {
		return err
	}
	if o.byID[e.Request.ID] != nil || o.ended[e.Request.ID] != nil {
		return errOrder
	}
	o.end(e.Request, e.Outcome, e.Reason, e.At)
	return nil
}
