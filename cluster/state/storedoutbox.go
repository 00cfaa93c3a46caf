package state

import (
	"encoding/binary"
	"errors"
	"slices"
)

func requestName(p *Part, rest string) error {
	p.Request = rest
	if len(rest) > maxRequestID {
		return errLimit
	}
	return nil
}

func listOutbox(s *State) (out []Part) {
	for id := range s.outbox.byID {
		out = append(out, Part{Kind: PartOutbox, Request: id})
	}
	return out
}

func writeOutbox(s *State, p Part, b []byte) ([]byte, bool) {
	q, ok := s.outbox.byID[p.Request]
	if !ok {
		return nil, false
	}
	return appendWaiting(b, &q.Request), true
}

func appendWaiting(b []byte, q *Request) []byte { return appendMillis(appendRequest(b, q), q.Seen) }

// putOutbox places the request by order: a node may learn of an earlier one later.
func putOutbox(s *State, part Part, order uint64, r *reader) error {
	q := r.request()
	q.Seen = r.millis()
	if r.err != nil || q.ID != part.Request || q.Seen != 0 && !q.Doubtful {
		return errors.Join(r.err, errRecord)
	}
	removeOutbox(s, part)
	s.outbox.insert(&pending{Request: q, seq: order, size: q.size()})
	return nil
}

func removeOutbox(s *State, part Part) {
	if p, ok := s.outbox.byID[part.Request]; ok {
		s.outbox.remove(p)
	}
}

// insert is put for a request that is perhaps not the newest: those behind it are taken out and put again.
func (o *outbox) insert(p *pending) {
	var later []*pending
	for len(o.chunks) > 0 {
		c := o.chunks[len(o.chunks)-1]
		last := c[len(c)-1]
		if comparePending(last, p) < 0 {
			break
		}
		o.remove(last)
		last.older, last.younger = nil, nil
		later = append(later, last)
	}
	o.put(p)
	for _, q := range slices.Backward(later) {
		o.put(q)
	}
}

func listParkedRequests(s *State) (out []Part) {
	for id := range s.outbox.parked {
		out = append(out, Part{Kind: PartParkedRequest, Request: id})
	}
	return out
}

func writeParkedRequest(s *State, p Part, b []byte) ([]byte, bool) {
	e, ok := s.outbox.parked[p.Request]
	if !ok {
		return nil, false
	}
	return appendParkedRequest(b, e), true
}

func putParkedRequest(s *State, part Part, _ uint64, r *reader) error {
	p := r.parkedRequest()
	if r.err != nil || p.Request.ID != part.Request {
		return errors.Join(r.err, errRecord)
	}
	removeParkedRequest(s, part)
	s.outbox.park(p)
	return nil
}

func removeParkedRequest(s *State, part Part) {
	if p, ok := s.outbox.parked[part.Request]; ok {
		s.outbox.unpark(p)
	}
}

func listSettled(s *State) (out []Part) {
	for id := range s.outbox.ended {
		out = append(out, Part{Kind: PartSettled, Request: id})
	}
	return out
}

func writeSettled(s *State, p Part, b []byte) ([]byte, bool) {
	e, ok := s.outbox.ended[p.Request]
	if !ok {
		return nil, false
	}
	return appendSettled(binary.AppendUvarint(b, e.seq), e), true
}

// putSettled keeps the order in which requests were settled, which their parts must say themselves.
func putSettled(s *State, part Part, _ uint64, r *reader) error {
	seq := r.uvarint()
	e := r.settled()
	if r.err != nil || e.Request.ID != part.Request {
		return errors.Join(r.err, errRecord)
	}
	o := &s.outbox
	o.reopen(part.Request)
	e.seq = seq
	i := len(o.settled)
	for i > 0 && o.settled[i-1].seq > seq {
		i--
	}
	if i == len(o.settled) {
		o.settled = append(o.settled, &e)
	} else {
		o.settled = slices.Insert(slices.Clone(o.settled), i, &e)
	}
	o.ended[e.Request.ID] = &e
	return nil
}

// Known reports whether Accept would add nothing, since the request is there; id is what Accept would answer then. Else full
// reports whether Accept would be refused.
func (s *State) Known(op Accept) (id string, known, full bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, q := &s.outbox, &op.Request
	if id, known := o.same(q); known {
		return id, true, false
	}
	if last := o.newest[q.Alert]; last != nil && last.asksSame(q) {
		return last.ID, true, false
	}
	return "", false, !o.fits(1, q.size(), op.MaxEntries, op.MaxBytes)
}

// StoredRequest is the part that accepting the request adds.
func StoredRequest(q Request) Stored {
	return Stored{Part: Part{Kind: PartOutbox, Request: q.ID}, Content: appendWaiting(nil, &q)}
}
