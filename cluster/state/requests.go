package state

// This file applies the ops of close requests; see op.go for what they promise. Each is applied as a whole or not at all.

// changed is the result of an op that has changed the outbox.
func (s *State) changed(res Result, parts []Part) (Result, Parts) {
	s.outboxMoved()
	return res, partsOf(parts...)
}

func (s *State) accept(op *Accept) (Result, Parts) {
	o, q := &s.outbox, &op.Request
	if id, known := o.same(q); known {
		return Result{ID: id}, nil
	}
	if last := o.newest[q.Alert]; last != nil && last.asksSame(q) {
		return Result{ID: last.ID}, nil
	}
	if !o.fits(1, q.size(), op.MaxEntries, op.MaxBytes) {
		return refuse(ErrOutboxFull)
	}
	o.add(*q)
	return s.changed(Result{ID: q.ID}, []Part{{Kind: PartOutbox, Request: q.ID}})
}

func (s *State) begin(op Begin) (Result, Parts) {
	var parts []Part
	for _, b := range op.Begun {
		p, waits := s.outbox.byID[b.ID]
		if !waits || p.Doubtful && p.Seen == b.Seen {
			continue
		}
		s.outbox.doubt(p, b.Seen)
		parts = append(parts, Part{Kind: PartOutbox, Request: b.ID})
	}
	if len(parts) == 0 {
		return Result{}, nil
	}
	return s.changed(Result{}, parts)
}

// doubtAll makes everything that waits doubtful: a leader of the epoch before may have begun it, and have noted that only in a copy which
// nobody here has.
func (s *State) doubtAll() []Part {
	var parts []Part
	for _, p := range s.outbox.all() {
		if !p.Doubtful || p.Seen != 0 {
			s.outbox.doubt(p, 0)
			parts = append(parts, Part{Kind: PartOutbox, Request: p.ID})
		}
	}
	if len(parts) > 0 {
		s.outboxMoved()
	}
	return parts
}

func (s *State) settle(op *Settle) (Result, Parts) {
	o := &s.outbox
	if !o.fitsRefused(op) {
		return refuse(ErrParkedFull)
	}
	var parts []Part
	for i := range op.Settled {
		x := &op.Settled[i]
		p, waits := o.byID[x.ID]
		if !waits {
			continue
		}
		reason := clipTo(x.Reason, maxReason)
		o.remove(p)
		o.end(p.Request, x.Outcome, reason, op.At)
		parts = append(parts, Part{Kind: PartOutbox, Request: x.ID}, Part{Kind: PartSettled, Request: x.ID})
		if x.Outcome == Refused {
			o.park(ParkedRequest{Request: p.Request, Reason: reason, At: op.At})
			parts = append(parts, Part{Kind: PartParkedRequest, Request: x.ID})
		}
	}
	if len(parts) == 0 {
		return Result{}, nil
	}
	return s.changed(Result{}, append(parts, o.forgetSettled(op.At)...))
}

// fitsRefused reports whether there is room to park what op says SCOM refuses. Of a request named twice the first counts.
func (o *outbox) fitsRefused(op *Settle) bool {
	n, bytes := len(o.parked), o.parkedBytes
	seen := make(map[string]bool, len(op.Settled))
	for i := range op.Settled {
		x := &op.Settled[i]
		p, waits := o.byID[x.ID]
		if !waits || seen[x.ID] {
			continue
		}
		seen[x.ID] = true
		if x.Outcome == Refused {
			n++
			bytes += p.size + len(clipTo(x.Reason, maxReason))
		}
	}
	return n <= MaxParked && bytes <= MaxParkedBytes
}

func (s *State) retry(op *Retry) (Result, Parts) {
	o := &s.outbox
	list := o.parkedOf(op.IDs)
	if len(list) == 0 {
		return refuse(ErrUnknown)
	}
	size := 0
	for _, p := range list {
		size += p.Request.size()
	}
	if !o.fits(len(list), size, op.MaxEntries, op.MaxBytes) {
		return refuse(ErrOutboxFull)
	}
	var parts []Part
	for _, p := range list {
		id := p.Request.ID
		o.unpark(p)
		o.add(p.Request)
		parts = append(parts, Part{Kind: PartOutbox, Request: id}, Part{Kind: PartParkedRequest, Request: id})
		parts = append(parts, o.reopen(id)...)
	}
	return s.changed(Result{}, parts)
}

func (s *State) discard(op Discard) (Result, Parts) {
	list := s.outbox.parkedOf(op.IDs)
	if len(list) == 0 {
		return refuse(ErrUnknown)
	}
	var parts []Part
	for _, p := range list {
		s.outbox.unpark(p)
		parts = append(parts, Part{Kind: PartParkedRequest, Request: p.Request.ID})
	}
	return s.changed(Result{}, parts)
}

// parkedOf are those of ids that are parked, each once, in the order of ids.
func (o *outbox) parkedOf(ids []string) []*ParkedRequest {
	var list []*ParkedRequest
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if p, parked := o.parked[id]; parked && !seen[id] {
			seen[id] = true
			list = append(list, p)
		}
	}
	return list
}

// adoptOutbox is repeated when a handover was interrupted. A request with the Key of one that is here was posted to both sides, and
// is one. One that merely asks the same as another is taken: whoever watches its ID wants to see it end.
func (s *State) adoptOutbox(op *AdoptOutbox) (Result, Parts) {
	o := &s.outbox
	requests, parked := o.unknown(op)
	size, parkedSize := 0, 0
	for i := range requests {
		size += requests[i].size()
	}
	for i := range parked {
		parkedSize += parked[i].size()
	}
	switch {
	case len(requests) > 0 && !o.fits(len(requests), size, MaxOutbox, MaxOutboxBytes):
		return refuse(ErrOutboxFull)
	case len(parked) > 0 && (len(o.parked)+len(parked) > MaxParked || o.parkedBytes+parkedSize > MaxParkedBytes):
		return refuse(ErrParkedFull)
	case len(requests)+len(parked) == 0:
		return Result{}, nil
	}
	var parts []Part
	for _, q := range requests {
		q.Doubtful = true
		o.add(q)
		parts = append(parts, Part{Kind: PartOutbox, Request: q.ID})
	}
	for _, p := range parked {
		o.park(p)
		parts = append(parts, Part{Kind: PartParkedRequest, Request: p.Request.ID})
	}
	return s.changed(Result{}, parts)
}

// unknown is what op names and is not here, each ID and Key once.
func (o *outbox) unknown(op *AdoptOutbox) (requests []Request, parked []ParkedRequest) {
	ids, keys := map[string]bool{}, map[string]bool{}
	fresh := func(q *Request) bool {
		if _, known := o.same(q); known || ids[q.ID] || (q.Key != "" && keys[q.Key]) {
			return false
		}
		ids[q.ID], keys[q.Key] = true, true
		return true
	}
	for i := range op.Requests {
		if fresh(&op.Requests[i]) {
			requests = append(requests, op.Requests[i])
		}
	}
	for i := range op.Parked {
		if fresh(&op.Parked[i].Request) {
			p := op.Parked[i]
			p.Reason = clipTo(p.Reason, maxReason)
			parked = append(parked, p)
		}
	}
	return requests, parked
}
