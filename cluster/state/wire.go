package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"scomconnector/poller/alert"
)

// The errors of damaged bytes. Nobody branches on them; they tell a person what is wrong.
var (
	errShort    = errors.New("it ends too early")
	errTrailing = errors.New("bytes follow its end")
	errNumber   = errors.New("a number is not in its one encoding or out of range")
	errOrder    = errors.New("a list is not in its order")
	errLimit    = errors.New("a limit is exceeded")
)

func appendString[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendStrings(dst []byte, ss []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ss)))
	for _, s := range ss {
		dst = appendString(dst, s)
	}
	return dst
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendTime(dst []byte, t time.Time) []byte {
	dst = binary.AppendVarint(dst, t.Unix())
	return binary.AppendUvarint(dst, uint64(t.Nanosecond()))
}

func appendMillis(dst []byte, m alert.Millis) []byte { return binary.AppendVarint(dst, int64(m)) }

func appendToken(dst []byte, t Token) []byte {
	return binary.AppendUvarint(appendEpoch(dst, t.Epoch), t.Term)
}

func appendEpoch(dst []byte, e Epoch) []byte {
	return appendString(binary.AppendUvarint(dst, e.Number), e.Node)
}

// appendVersion appends about 19 bytes: versions of one command were modified close to each other,
// so the time stands as the difference to prev.
func appendVersion(dst []byte, v alert.Version, prev alert.Millis) []byte {
	dst = append(dst, v.ID[:]...)
	dst = appendMillis(dst, v.LastModified-prev)
	return append(dst, v.State)
}

const minVersionBytes = 16 + 1 + 1

func appendParked(dst []byte, p *Parked) []byte {
	dst = append(dst, p.Key[:]...)
	dst = appendVersion(dst, p.Version, 0)
	dst = appendTime(dst, p.At)
	dst = appendString(dst, p.Reason)
	dst = appendString(dst, p.LAM)
	dst = binary.AppendVarint(dst, int64(p.Status))
	dst = appendString(dst, p.Answer)
	return appendString(dst, p.Payload)
}

const minParkedBytes = 16 + minVersionBytes + 2 + 5

// reader takes values off the front of b. After the first fault it returns zero values, so that
// callers check err once, at the end. It never allocates more than b has bytes left.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// end reports the first fault, or that something follows.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(errTrailing)
	}
	return r.err
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bool() bool {
	c := r.byte()
	if c > 1 {
		r.fail(errNumber)
	}
	return c == 1
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if !r.took(size) {
		return 0
	}
	return n
}

func (r *reader) varint() int64 {
	n, size := binary.Varint(r.b)
	if !r.took(size) {
		return 0
	}
	return n
}

// took consumes a number of size bytes unless it was cut, too big, or longer than it had to be.
func (r *reader) took(size int) bool {
	if size == 0 {
		r.fail(errShort)
		return false
	}
	if size < 0 || (size > 1 && r.b[size-1] == 0) {
		r.fail(errNumber)
		return false
	}
	r.b = r.b[size:]
	return true
}

// count reads the length of a list whose elements take at least min bytes each.
func (r *reader) count(min int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/min) {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

func (r *reader) raw(n int) []byte {
	if n > len(r.b) {
		r.fail(errShort)
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// bytes copies, since the log may reuse its buffer; nil for none.
func (r *reader) bytes() []byte {
	b := r.raw(r.count(1))
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}

func (r *reader) string() string { return string(r.raw(r.count(1))) }

func (r *reader) strings() []string {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	ss := make([]string, 0, min(n, maxKinds)) // a string is 16 times its least encoding
	for range n {
		ss = append(ss, r.string())
	}
	return ss
}

func (r *reader) id() alert.ID {
	var id alert.ID
	copy(id[:], r.raw(len(id)))
	return id
}

func (r *reader) millis() alert.Millis {
	m := alert.Millis(r.varint())
	if m < minMillis || m > maxMillis {
		r.fail(errNumber)
		return 0
	}
	return m
}

func (r *reader) time() time.Time {
	sec, nsec := r.varint(), r.uvarint()
	if nsec >= 1e9 || sec < int64(minMillis/1000) || sec > int64(maxMillis/1000) {
		r.fail(errNumber)
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

func (r *reader) token() Token {
	return Token{Epoch: r.epoch(), Term: r.uvarint()}
}

func (r *reader) epoch() Epoch { return Epoch{Number: r.uvarint(), Node: r.string()} }

func (r *reader) uint64() uint64 {
	b := r.raw(8)
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (r *reader) version(prev alert.Millis) alert.Version {
	v := alert.Version{ID: r.id()}
	// A sum of a bounded time and any difference cannot wrap round into the bounds.
	v.LastModified = prev + alert.Millis(r.varint())
	v.State = r.byte()
	if v.LastModified < minMillis || v.LastModified > maxMillis {
		r.fail(errNumber)
	}
	return v
}

func (r *reader) parked() Parked {
	p := Parked{Key: r.id()}
	p.Version = r.version(0)
	p.At = r.time()
	p.Reason = r.string()
	p.LAM = r.string()
	p.Status = int(r.varint())
	p.Answer = r.string()
	p.Payload = r.bytes()
	return p
}
