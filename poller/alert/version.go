package alert

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// ID is a SCOM alert's GUID, in the byte order in which it is written.
type ID [16]byte

// ParseID reads a GUID: braces and case are ignored, dashes are optional.
func ParseID(s string) (ID, error) {
	var id ID
	t := strings.TrimSpace(s)
	if len(t) > 1 && t[0] == '{' && t[len(t)-1] == '}' {
		t = t[1 : len(t)-1]
	}
	var digits [32]byte
	switch len(t) {
	case 36:
		if t[8] != '-' || t[13] != '-' || t[18] != '-' || t[23] != '-' {
			return ID{}, fmt.Errorf("%q is not a GUID", clip(s))
		}
		n := copy(digits[:], t[0:8])
		n += copy(digits[n:], t[9:13])
		n += copy(digits[n:], t[14:18])
		n += copy(digits[n:], t[19:23])
		copy(digits[n:], t[24:36])
	case 32:
		copy(digits[:], t)
	default:
		return ID{}, fmt.Errorf("%q is not a GUID", clip(s))
	}
	if _, err := hex.Decode(id[:], digits[:]); err != nil {
		return ID{}, fmt.Errorf("%q is not a GUID", clip(s))
	}
	return id, nil
}

// clip keeps an error message readable when a stranger sends a novel.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

// String prints the GUID in lower case with dashes, as SCOM does.
func (id ID) String() string { return string(id.Append(nil)) }

// Append appends what String returns.
func (id ID) Append(dst []byte) []byte {
	for i, n := range [...]int{4, 2, 2, 2, 6} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, id[:n])
		copy(id[:], id[n:]) // id is a copy: the receiver is a value
	}
	return dst
}

// IsZero reports whether the id was never set.
func (id ID) IsZero() bool { return id == ID{} }

// Millis is a time of SCOM's clock in milliseconds since 1970, UTC. It is exact for
// SCOM's database times, whose resolution is 3.33 ms.
type Millis int64

// MillisOf is t in whole milliseconds, rounded down.
func MillisOf(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time is m as a time in UTC; the zero Millis is the zero time.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// Add is m moved by d, in whole milliseconds.
func (m Millis) Add(d time.Duration) Millis { return m + Millis(d.Milliseconds()) }

// Sub is the time from n to m.
func (m Millis) Sub(n Millis) time.Duration { return time.Duration(m-n) * time.Millisecond }

func (m Millis) String() string {
	if m == 0 {
		return "never"
	}
	return m.Time().Format("2006-01-02T15:04:05.000Z")
}

// Version names one state of one alert. SCOM keeps only the newest.
type Version struct {
	ID           ID
	LastModified Millis
	State        uint8 // resolution state
}

// Supersedes reports whether v must still go out where old was the last version sent:
// everything but an older row, or the same row seen again.
func (v Version) Supersedes(old Version) bool {
	if v.LastModified != old.LastModified {
		return v.LastModified > old.LastModified
	}
	return v.State != old.State
}
