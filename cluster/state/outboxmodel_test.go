package state

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

// modelBox is the outbox written the obvious way: lists that are looked through each time.
type modelBox struct {
	waits   []Request
	parked  map[string]ParkedRequest
	settled []SettledRequest // oldest first
	id      string           // Result.ID of the last op
}

func (m *modelBox) apply(op Op) error {
	switch op := op.(type) {
	case Accept:
		return m.accept(op)
	case Settle:
		for _, x := range op.Settled {
			m.settle(x, op.At)
		}
	case Begin:
		for _, b := range op.Begun {
			for i := range m.waits {
				if m.waits[i].ID == b.ID {
					m.waits[i].Doubtful, m.waits[i].Seen = true, b.Seen
				}
			}
		}
	case Retry:
		return m.retry(op)
	case Discard:
		n := len(m.parked)
		for _, id := range op.IDs {
			delete(m.parked, id)
		}
		if len(m.parked) == n {
			return ErrUnknown
		}
	case AdoptOutbox:
		for _, q := range op.Requests {
			if _, known := m.find(q); !known {
				q.Doubtful = true // and what was seen there is not known here
				m.waits = append(m.waits, q)
			}
		}
		for _, p := range op.Parked {
			if _, known := m.find(p.Request); !known {
				p.Request.Doubtful = false
				m.park(p)
			}
		}
	}
	return nil
}

func (m *modelBox) accept(op Accept) error {
	q := op.Request
	if id, known := m.find(q); known {
		m.id = id
		return nil
	}
	for _, w := range slices.Backward(m.waits) {
		if w.Alert != q.Alert {
			continue
		}
		if w.State == q.State && w.Keep == q.Keep && w.Comment == q.Comment && reflect.DeepEqual(w.Fields, q.Fields) {
			m.id = w.ID
			return nil
		}
		break
	}
	if len(m.waits) >= op.MaxEntries || m.bytes()+len(appendRequest(nil, &q)) > op.MaxBytes {
		return ErrOutboxFull
	}
	m.waits = append(m.waits, q)
	m.id = q.ID
	return nil
}

func (m *modelBox) bytes() int {
	n := 0
	for i := range m.waits {
		n += len(appendRequest(nil, &m.waits[i]))
	}
	return n
}

// find is the request that q is.
func (m *modelBox) find(q Request) (string, bool) {
	type known struct {
		Request
		ended time.Time
	}
	var all []known
	for _, w := range m.waits {
		all = append(all, known{Request: w})
	}
	for _, p := range m.parked {
		all = append(all, known{Request: p.Request})
	}
	for _, e := range slices.Backward(m.settled) {
		all = append(all, known{e.Request, e.At})
	}
	for _, k := range all {
		if k.ID == q.ID {
			return k.ID, true
		}
	}
	for _, k := range all {
		if q.Key != "" && k.Key == q.Key && (k.ended.IsZero() || q.At.Before(k.ended.Add(24*time.Hour))) {
			return k.ID, true
		}
	}
	return "", false
}

func (m *modelBox) park(p ParkedRequest) {
	if m.parked == nil {
		m.parked = map[string]ParkedRequest{}
	}
	m.parked[p.Request.ID] = p
}

func (m *modelBox) settle(x Settlement, at time.Time) {
	i := slices.IndexFunc(m.waits, func(q Request) bool { return q.ID == x.ID })
	if i < 0 {
		return
	}
	q := m.waits[i]
	m.waits = slices.Delete(slices.Clone(m.waits), i, i+1)
	q.Doubtful, q.Seen = false, 0
	if x.Outcome == Refused {
		m.park(ParkedRequest{q, x.Reason, at})
	}
	q.Comment, q.Fields = "", nil
	m.settled = append(m.settled, SettledRequest{Request: q, Outcome: x.Outcome, Reason: x.Reason, At: at})
	m.settled = slices.DeleteFunc(m.settled, func(e SettledRequest) bool { return !at.Before(e.At.Add(24 * time.Hour)) })
}

func (m *modelBox) retry(op Retry) error {
	var back []Request
	bytes := m.bytes()
	for _, id := range op.IDs {
		p, parked := m.parked[id]
		if parked && !slices.ContainsFunc(back, func(q Request) bool { return q.ID == id }) {
			back = append(back, p.Request)
			bytes += len(appendRequest(nil, &p.Request))
		}
	}
	if len(back) == 0 {
		return ErrUnknown
	}
	if len(m.waits)+len(back) > op.MaxEntries || bytes > op.MaxBytes {
		return ErrOutboxFull
	}
	for _, q := range back {
		delete(m.parked, q.ID)
		m.waits = append(m.waits, q)
		m.settled = slices.DeleteFunc(m.settled, func(e SettledRequest) bool { return e.Request.ID == q.ID })
	}
	return nil
}

// outbox makes ops of few alerts, requests and keys, so that they meet.
func (h *history) outbox(at time.Time) Op {
	at = at.Add(time.Duration(h.IntN(30*60)) * time.Minute)
	entries, bytes := MaxOutbox, MaxOutboxBytes
	if h.IntN(5) == 0 {
		entries, bytes = 1+h.IntN(40), 1+h.IntN(4000)
	}
	switch n := h.IntN(10); {
	case n < 6:
		return Accept{Request: h.request(at), MaxEntries: entries, MaxBytes: bytes}
	case n < 7:
		op := Begin{}
		for range h.IntN(8) {
			op.Begun = append(op.Begun, Begun{h.requestID(), h.now / 4 * alert.Millis(h.IntN(3))})
		}
		return op
	case n < 8:
		op := Settle{At: at}
		for range h.IntN(12) {
			op.Settled = append(op.Settled, Settlement{h.requestID(), Outcome(1 + h.IntN(3)), fmt.Sprint("why ", h.IntN(3))})
		}
		return op
	case n < 9:
		ids := []string{h.requestID(), h.requestID(), h.requestID(), h.requestID()}
		if h.IntN(3) == 0 {
			return Discard{IDs: ids}
		}
		return Retry{IDs: ids, MaxEntries: entries, MaxBytes: bytes}
	}
	op := AdoptOutbox{Node: h.node(), Epoch: epoch2}
	for range h.IntN(3) {
		op.Requests = append(op.Requests, h.request(at))
		op.Parked = append(op.Parked, ParkedRequest{h.request(at), "refused there", at})
	}
	return op
}

func (h *history) requestID() string { return fmt.Sprint("r", h.IntN(80)) }

func (h *history) request(at time.Time) Request {
	q := Request{ID: h.requestID(), Alert: testID(h.IntN(8)), State: uint8(h.IntN(2) * 255), Comment: fmt.Sprint(h.IntN(3)), Node: h.node(), At: at}
	if h.IntN(3) == 0 {
		q.Key = fmt.Sprint("key ", h.IntN(30))
	}
	if h.IntN(4) == 0 {
		q.Keep, q.State, q.Fields = true, 0, []Field{{"TicketId", fmt.Sprint(h.IntN(2))}}
	}
	return q
}

func compareOutbox(t *testing.T, s *State, m *modelBox) {
	t.Helper()
	if got := s.Outbox(MaxOutbox); len(got) != len(m.waits) || (len(got) > 0 && !reflect.DeepEqual(got, m.waits)) {
		t.Errorf("waiting are %+v, the model has %+v", got, m.waits)
	}
	if n, bytes, _ := s.OutboxInfo(); n != len(m.waits) || bytes != m.bytes() {
		t.Errorf("%d requests of %d bytes wait, the model has %d of %d", n, bytes, len(m.waits), m.bytes())
	}
	parked := slices.Collect(maps.Values(m.parked))
	slices.SortFunc(parked, func(a, b ParkedRequest) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Request.ID, b.Request.ID))
	})
	if got := s.ParkedRequests(); len(got) != len(parked) || (len(got) > 0 && !reflect.DeepEqual(got, parked)) {
		t.Errorf("parked are %+v, the model has %+v", got, parked)
	}
	settled := slices.Clone(m.settled)
	slices.Reverse(settled)
	if got := s.SettledList(MaxSettled); len(got) != len(settled) || (len(got) > 0 && !reflect.DeepEqual(got, settled)) {
		t.Errorf("settled are %+v, the model has %+v", got, settled)
	}
	for i := range 80 {
		id := fmt.Sprint("r", i)
		_, waits := s.Request(id)
		_, ended := s.Settled(id)
		if waits != slices.ContainsFunc(m.waits, func(q Request) bool { return q.ID == id }) ||
			ended != slices.ContainsFunc(settled, func(e SettledRequest) bool { return e.Request.ID == id }) {
			t.Errorf("request %s waits: %v, settled: %v; the model says otherwise", id, waits, ended)
		}
	}
	checkLinks(t, &s.outbox)
}

// checkLinks holds what the outbox keeps beside its lists against them.
func checkLinks(t *testing.T, o *outbox) {
	t.Helper()
	newest, keys, bytes := map[alert.ID]*pending{}, map[string]string{}, 0
	for _, c := range o.chunks {
		if len(c) == 0 {
			t.Error("a chunk is empty")
		}
		for _, p := range c {
			if before := newest[p.Alert]; p.older != before || (before != nil && before.younger != p) {
				t.Errorf("%s is not linked to the request before it", p.ID)
			}
			newest[p.Alert] = p
			bytes += p.size
			if p.Key != "" {
				keys[p.Key] = p.ID
			}
		}
	}
	parkedBytes := 0
	for id, p := range o.parked {
		parkedBytes += p.size()
		if p.Request.Key != "" {
			keys[p.Request.Key] = id
		}
	}
	if !maps.Equal(newest, o.newest) || !maps.Equal(keys, o.keys) || bytes != o.bytes || parkedBytes != o.parkedBytes || len(o.ended) != len(o.settled) {
		t.Errorf("the indexes are not those of the lists: newest %v, keys %v, bytes %d, parked %d", o.newest, o.keys, o.bytes, o.parkedBytes)
	}
}
