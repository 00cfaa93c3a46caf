package normalise

import (
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// plain marks the bytes that stand for themselves within a JSON string.
var plain = func() (t [256]bool) {
	for b := 0x20; b < utf8.RuneSelf; b++ {
		t[b] = b != '"' && b != '\\'
	}
	return t
}()

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

// appendOrNull appends null for the empty string: who reads the event may ask "is there an owner".
func appendOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendString(dst, s)
}

// appendEscaped appends the inside of a JSON string. Bytes that are no UTF-8 become U+FFFD, since one of
// them would make a LAM refuse the whole batch. U+2028 and U+2029 are escaped because JavaScript, in which
// LAMbots are written, long took them for line ends.
func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if plain[b] {
			i++
			continue
		}
		if b < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			dst = appendControl(dst, b)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, s[start:i]...), "\uFFFD"...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, s[start:i]...), `\u202`...)
			dst = append(dst, hexDigits[r&0xF])
			start = i + size
		}
		i += size
	}
	return append(dst, s[start:]...)
}

func appendControl(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&0xF])
}

// escapedLen is how many bytes appendEscaped appends.
func escapedLen(s string) int {
	n := 0
	for len(s) > 0 {
		w, size := escapedRune(s)
		n += w
		s = s[size:]
	}
	return n
}

// escapedRune is how many bytes the first character of s has once escaped, and in s.
func escapedRune(s string) (escaped, size int) {
	b := s[0]
	if plain[b] {
		return 1, 1
	}
	if b < utf8.RuneSelf {
		var buf [6]byte
		return len(appendControl(buf[:0], b)), 1
	}
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && size == 1:
		return len("\uFFFD"), 1
	case r == '\u2028' || r == '\u2029':
		return len(`\u2028`), size
	}
	return size, size
}

func appendList(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// appendTime appends a UTC time as SCOM's database has it: milliseconds always, further digits only
// where there are any. A time that SCOM did not tell is null.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, "null"...)
	}
	t = t.UTC()
	dst = t.AppendFormat(append(dst, '"'), "2006-01-02T15:04:05.000")
	if rest := t.Nanosecond() % 1e6; rest != 0 {
		for div := 100_000; rest > 0; div /= 10 {
			dst = append(dst, '0'+byte(rest/div))
			rest %= div
		}
	}
	return append(dst, 'Z', '"')
}
