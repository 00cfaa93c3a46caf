package publishertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// Event is one recorded event.
type Event struct {
	ExternalID      string
	LastModified    string // custom_info.scom.lastModified as it was written; in light mode to the millisecond
	ResolutionState int    // custom_info.scom.resolutionState; -1 without one
	Severity        int
	Request         int // the number of the request it came with, from 1
	At              time.Time
	Body            []byte // nil in light mode
}

// id is a GUID's bytes, or a hash of whatever else stands in external_id.
type id [16]byte

// version is what makes two events the same.
type version struct {
	id       id
	modified int64 // milliseconds, or a hash of what is no time
	state    int16
}

// row is one recorded event, small: a benchmark records millions.
type row struct {
	version
	severity int8
	again    bool
	request  int32
	at       int64
}

type store struct {
	light  bool
	rows   []row
	full   []Event // the same in full; empty in light mode
	seen   map[version]struct{}
	latest map[id]int32
	names  map[id]string // of ids that are no GUIDs
}

func (s *store) init() {
	s.rows, s.full = nil, nil
	s.seen, s.latest, s.names = map[version]struct{}{}, map[id]int32{}, map[id]string{}
}

// add records one event; it reports whether the same had been recorded before. Events without a time
// of SCOM's, such as heartbeats, repeat by design.
func (s *store) add(e *scanned, request int, now time.Time) (again bool) {
	v := version{id: s.identify(e.externalID), modified: millis(e.lastModified), state: int16(e.resolutionState)}
	if len(e.lastModified) > 0 {
		_, again = s.seen[v]
		s.seen[v] = struct{}{}
	}
	s.latest[v.id] = int32(len(s.rows))
	s.rows = append(s.rows, row{version: v, severity: int8(e.severity), again: again, request: int32(request), at: now.UnixNano()})
	if !s.light {
		s.full = append(s.full, Event{
			ExternalID: unquote(e.externalID), LastModified: unquote(e.lastModified), ResolutionState: e.resolutionState,
			Severity: e.severity, Request: request, At: now, Body: bytes.Clone(e.raw),
		})
	}
	return again
}

func (s *store) event(i int) Event {
	if !s.light {
		return s.full[i]
	}
	r := s.rows[i]
	name, ok := s.names[r.id]
	if !ok {
		x := hex.EncodeToString(r.id[:])
		name = x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
	}
	modified := ""
	if r.modified > noTime {
		modified = time.UnixMilli(r.modified).UTC().Format(layout)
	}
	return Event{
		ExternalID: name, LastModified: modified, ResolutionState: int(r.state),
		Severity: int(r.severity), Request: int(r.request), At: time.Unix(0, r.at),
	}
}

// identify is key, and remembers what cannot be computed back.
func (s *store) identify(external []byte) id {
	k, ok := guid(external)
	if ok {
		return k
	}
	k = hashed(external)
	if _, known := s.names[k]; !known {
		s.names[k] = unquote(external)
	}
	return k
}

func (s *store) key(external string) id {
	if k, ok := guid([]byte(external)); ok {
		return k
	}
	return hashed([]byte(external))
}

func hashed(b []byte) id {
	sum := sha256.Sum256(b)
	return id(sum[:16])
}

// guid reads the one form in which SCOM prints a GUID.
func guid(b []byte) (k id, ok bool) {
	if len(b) != 36 || b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return k, false
	}
	n := 0
	for i := 0; i < 36; {
		if b[i] == '-' {
			i++
			continue
		}
		hi, lo := nibble(b[i]), nibble(b[i+1])
		if hi > 15 || lo > 15 {
			return k, false
		}
		k[n] = hi<<4 | lo
		n++
		i += 2
	}
	return k, true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

const layout = "2006-01-02T15:04:05.000Z"

// noTime is far before any time of SCOM's.
const noTime = -1 << 44

// millis is a time in milliseconds; what is no time becomes a number of its own, below noTime.
func millis(b []byte) int64 {
	if t, err := time.Parse(time.RFC3339Nano, string(b)); err == nil {
		return t.UnixMilli()
	}
	h := hashed(b)
	return noTime - int64(binary.BigEndian.Uint64(h[:])>>2)
}
