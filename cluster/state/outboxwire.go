package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

func appendOutbox(dst []byte, op Op) []byte {
	switch op := op.(type) {
	case Accept:
		dst = binary.AppendUvarint(dst, uint64(op.MaxEntries))
		dst = binary.AppendUvarint(dst, uint64(op.MaxBytes))
		dst = appendRequest(dst, &op.Request)
	case Settle:
		dst = appendTime(dst, op.At)
		dst = binary.AppendUvarint(dst, uint64(len(op.Settled)))
		for i := range op.Settled {
			dst = appendSettlement(dst, &op.Settled[i])
		}
	case Begin:
		dst = binary.AppendUvarint(dst, uint64(len(op.Begun)))
		for _, b := range op.Begun {
			dst = appendMillis(appendString(dst, b.ID), b.Seen)
		}
	case Retry:
		dst = binary.AppendUvarint(dst, uint64(op.MaxEntries))
		dst = binary.AppendUvarint(dst, uint64(op.MaxBytes))
		dst = appendStrings(dst, op.IDs)
	case Discard:
		dst = appendStrings(dst, op.IDs)
	case AdoptOutbox:
		dst = appendYielded(dst, op.Node, op.Epoch)
		dst = binary.AppendUvarint(dst, uint64(len(op.Requests)))
		for i := range op.Requests {
			dst = appendRequest(dst, &op.Requests[i])
		}
		dst = binary.AppendUvarint(dst, uint64(len(op.Parked)))
		for i := range op.Parked {
			dst = appendParkedRequest(dst, &op.Parked[i])
		}
	}
	return dst
}

func appendSettlement(dst []byte, x *Settlement) []byte {
	dst = append(appendString(dst, x.ID), byte(x.Outcome))
	return appendString(dst, x.Reason)
}

// appendRequest leaves out Seen, which is the copy's own.
func appendRequest(dst []byte, q *Request) []byte {
	dst = appendAsked(dst, q)
	dst = appendBool(dst, q.Doubtful)
	dst = appendString(dst, q.Comment)
	dst = binary.AppendUvarint(dst, uint64(len(q.Fields)))
	for _, f := range q.Fields {
		dst = appendString(appendString(dst, f.Name), f.Value)
	}
	return dst
}

// appendAsked appends what is kept of a request once it is settled.
func appendAsked(dst []byte, q *Request) []byte {
	dst = appendString(dst, q.ID)
	dst = appendString(dst, q.Key)
	dst = append(dst, q.Alert[:]...)
	dst = append(dst, q.State)
	dst = appendBool(dst, q.Keep)
	dst = appendString(dst, q.From)
	dst = appendString(dst, q.Node)
	return appendTime(dst, q.At)
}

const (
	minRequestBytes       = 2 + 16 + 2 + 2 + 2 + 3
	minParkedRequestBytes = minRequestBytes + 3
	minSettlementBytes    = 3
	minBegunBytes         = 2
)

func appendParkedRequest(dst []byte, p *ParkedRequest) []byte {
	return appendTime(appendString(appendRequest(dst, &p.Request), p.Reason), p.At)
}

func appendSettled(dst []byte, e *SettledRequest) []byte {
	dst = append(appendAsked(dst, &e.Request), byte(e.Outcome))
	return appendTime(appendString(dst, e.Reason), e.At)
}

func (r *reader) outboxOp(k kind) Op {
	switch k {
	case kindAccept:
		op := Accept{MaxEntries: r.limit(), MaxBytes: r.limit()}
		op.Request = r.request()
		return op
	case kindSettle:
		op := Settle{At: r.time()}
		for range r.count(minSettlementBytes) {
			op.Settled = append(op.Settled, Settlement{ID: r.string(), Outcome: r.outcome(), Reason: r.string()})
		}
		return op
	case kindBegin:
		op := Begin{}
		for range r.count(minBegunBytes) {
			op.Begun = append(op.Begun, Begun{ID: r.string(), Seen: r.millis()})
		}
		return op
	case kindRetry:
		return Retry{MaxEntries: r.limit(), MaxBytes: r.limit(), IDs: r.strings()}
	case kindDiscard:
		return Discard{IDs: r.strings()}
	case kindAdoptOutbox:
		op := AdoptOutbox{Node: r.string(), Epoch: r.epoch()}
		for range r.count(minRequestBytes) {
			op.Requests = append(op.Requests, r.request())
		}
		for range r.count(minParkedRequestBytes) {
			op.Parked = append(op.Parked, r.parkedRequest())
		}
		return op
	}
	panic("state: kind checked by Decode")
}

func (r *reader) limit() int {
	n := r.uvarint()
	if n > MaxOutboxBytes {
		r.fail(errNumber)
		return 0
	}
	return int(n)
}

func (r *reader) outcome() Outcome {
	o := Outcome(r.byte())
	if r.err == nil && (o < Done || o > Refused) {
		r.fail(errNumber)
	}
	return o
}

func (r *reader) asked() Request {
	q := Request{ID: r.string(), Key: r.string(), Alert: r.id(), State: r.byte(), Keep: r.bool()}
	q.From, q.Node, q.At = r.string(), r.string(), r.time()
	return q
}

func (r *reader) request() Request {
	q := r.asked()
	q.Doubtful, q.Comment = r.bool(), r.string()
	for i := range r.count(2) {
		f := Field{Name: r.string(), Value: r.string()}
		if i > 0 && f.Name <= q.Fields[i-1].Name {
			r.fail(errOrder)
		}
		q.Fields = append(q.Fields, f)
	}
	return q
}

func (r *reader) parkedRequest() ParkedRequest {
	return ParkedRequest{Request: r.request(), Reason: r.string(), At: r.time()}
}

func (r *reader) settled() SettledRequest {
	return SettledRequest{Request: r.asked(), Outcome: r.outcome(), Reason: r.string(), At: r.time()}
}

func validateOutbox(op Op) error {
	switch op := op.(type) {
	case Accept:
		return errors.Join(checkRoom(op.MaxEntries, op.MaxBytes), checkRequest(&op.Request))
	case Settle:
		for i := range op.Settled {
			x := &op.Settled[i]
			if x.Outcome < Done || x.Outcome > Refused {
				return fmt.Errorf("request %s: %d is no outcome", x.ID, x.Outcome)
			}
			if err := checkRequestID(x.ID); err != nil {
				return err
			}
		}
		return checkTime(op.At)
	case Begin:
		for _, b := range op.Begun {
			if err := errors.Join(checkRequestID(b.ID), checkMillis("last modified", b.Seen)); err != nil {
				return fmt.Errorf("request %.64s: %w", b.ID, err)
			}
		}
		return nil
	case Retry:
		return errors.Join(checkRoom(op.MaxEntries, op.MaxBytes), checkRequestIDs(op.IDs))
	case Discard:
		return checkRequestIDs(op.IDs)
	case AdoptOutbox:
		return validateAdoptOutbox(&op)
	}
	return fmt.Errorf("%T is not a command", op)
}

func validateAdoptOutbox(op *AdoptOutbox) error {
	for i := range op.Requests {
		if err := checkRequest(&op.Requests[i]); err != nil {
			return err
		}
	}
	for i := range op.Parked {
		if err := errors.Join(checkRequest(&op.Parked[i].Request), checkTime(op.Parked[i].At)); err != nil {
			return err
		}
	}
	return checkYielded(op.Node, op.Epoch)
}

func checkRoom(entries, bytes int) error {
	if entries < 1 || entries > MaxOutbox || bytes < 1 || bytes > MaxOutboxBytes {
		return fmt.Errorf("the outbox may be limited to 1 to %d requests and 1 to %d bytes, not to %d and %d", MaxOutbox, MaxOutboxBytes, entries, bytes)
	}
	return nil
}

func checkRequest(q *Request) error {
	err := errors.Join(checkRequestID(q.ID), checkOptionalName("Idempotency-Key", q.Key), checkName("node", q.Node), checkTime(q.At), checkFields(q.Fields))
	if q.Seen != 0 {
		err = errors.Join(err, errors.New("only Begin says what was seen"))
	}
	if q.Alert.IsZero() {
		err = errors.Join(err, errors.New("it names no alert"))
	}
	if n := q.size(); n > MaxRequest {
		err = errors.Join(err, fmt.Errorf("its %d bytes are more than the %d that one may have", n, MaxRequest))
	}
	if err != nil {
		return fmt.Errorf("request %.64s: %w", q.ID, err)
	}
	return nil
}

func checkFields(fields []Field) error {
	if len(fields) > maxFields {
		return fmt.Errorf("%d fields are more than %d", len(fields), maxFields)
	}
	for i, f := range fields {
		if err := checkName("field", f.Name); err != nil {
			return err
		}
		if i > 0 && strings.Compare(f.Name, fields[i-1].Name) <= 0 {
			return fmt.Errorf("field %s: fields must stand by name, each once", f.Name)
		}
	}
	return nil
}

func checkRequestIDs(ids []string) error {
	for _, id := range ids {
		if err := checkRequestID(id); err != nil {
			return err
		}
	}
	return nil
}

func checkRequestID(id string) error {
	if id == "" || len(id) > maxRequestID {
		return fmt.Errorf("the ID of a request must have 1 to %d bytes", maxRequestID)
	}
	return nil
}
