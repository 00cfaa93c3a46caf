package scom

import (
	"bufio"
	"bytes"
	"slices"
	"unicode/utf8"
)

// limits bound what is held of an answer, in bytes. They are fields and not constants only so that
// tests can try every cut with small answers.
type limits struct {
	// row bounds one row that is taken as it came, and any other single value of an answer: SCOM's
	// text columns are limited to 2,000 characters or less, only the context (XML) can be large.
	row int64
	// shortened bounds a row whose long texts were cut: all of SCOM's columns at their longest fit.
	shortened int64
	// text is what is kept of one text of a row that is larger than row.
	text int64
	// skipped bounds one text of which only the beginning is kept. It costs no memory; but a
	// server that never ends a text must not keep a poll alive forever.
	skipped int64
	// token bounds a single text outside the rows, and is of no interest there.
	token int64
	// raw is what is kept of a row that is too large even with its texts cut.
	raw int
}

var defaultLimits = limits{row: 1 << 20, shortened: 4 << 20, text: 64 << 10, skipped: 256 << 20, token: 16 << 20, raw: 64 << 10}

// shortMark ends a text that was cut.
const shortMark = " ... (shortened)"

// shortener hands on what it reads as it is. Only the one JSON value after begin is changed: its
// long texts are cut, and what nests inside its members is emptied (no column of SCOM's is nested).
// It holds at most one text up to its limit, so that a row of any size costs little memory. It
// does not judge the JSON: what it hands on is as broken as what it got.
type shortener struct {
	lim *limits
	in  *bufio.Reader
	// ahead was read from in before and comes first; before it comes out.
	ahead, out []byte
	buf        []byte // what out is a part of

	on      bool // the value has not ended
	depth   int  // how many objects and lists are open
	inText  bool
	escaped bool   // the byte before was a backslash that counts
	text    []byte // the beginning of the text in hand, as it stands between the quotes
	length  int64  // of the text in hand so far
}

// begin makes the next value, whose beginning may be in unread already, the one to change; prefix
// is handed out before it.
func (s *shortener) begin(prefix string, unread []byte) {
	s.ahead = slices.Concat(unread, s.out, s.ahead)
	s.out = []byte(prefix)
	s.on, s.depth, s.inText = true, 0, false
}

func (s *shortener) Read(p []byte) (int, error) {
	for s.on && len(s.out) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	if len(s.out) > 0 {
		n := copy(p, s.out)
		s.out = s.out[n:]
		return n, nil
	}
	if len(s.ahead) > 0 {
		n := copy(p, s.ahead)
		s.ahead = s.ahead[n:]
		return n, nil
	}
	return s.in.Read(p)
}

// fill makes out of what comes next; out may still be empty then.
func (s *shortener) fill() error {
	chunk := s.ahead
	if len(chunk) == 0 {
		if _, err := s.in.Peek(1); err != nil {
			return err
		}
		chunk, _ = s.in.Peek(s.in.Buffered())
	}
	const most = 64 << 10 // so that out stays small, however much is ahead
	chunk = chunk[:min(len(chunk), most)]
	s.out = s.buf[:0]
	n := 0
	var err error
	for n < len(chunk) && s.on && err == nil {
		if s.inText {
			var took int
			took, err = s.takeText(chunk[n:])
			n += took
			continue
		}
		s.take(chunk[n])
		n++
	}
	s.buf = s.out
	if len(s.ahead) > 0 {
		s.ahead = s.ahead[n:]
	} else {
		_, _ = s.in.Discard(n) // it is buffered
	}
	return err
}

// take takes one byte outside of texts.
func (s *shortener) take(c byte) {
	switch c {
	case '"':
		s.inText, s.escaped, s.text, s.length = true, false, s.text[:0], 0
		return
	case '}', ']':
		s.depth--
	}
	if s.shown() {
		s.out = append(s.out, c)
	}
	switch c {
	case '{', '[':
		s.depth++
	case ' ', '\t', '\r', '\n', ',':
	default:
		s.on = s.depth > 0 // also a number or the like in a row's place: nothing to cut
	}
}

// shown reports whether what stands at this depth is handed out.
func (s *shortener) shown() bool { return s.depth <= 1 }

// takeText takes what b holds of the text in hand, and returns how many bytes that was.
func (s *shortener) takeText(b []byte) (int, error) {
	end := s.textEnd(b)
	part := b
	if end >= 0 {
		part = b[:end]
	}
	if s.length += int64(len(part)); s.length > s.lim.skipped {
		return 0, errTooMuch
	}
	if room := int(s.lim.text) + maxUnit - len(s.text); s.shown() {
		s.text = append(s.text, part[:min(len(part), room)]...)
	}
	if end < 0 {
		return len(b), nil
	}
	s.inText, s.on = false, s.depth > 0
	if s.shown() {
		s.out = append(s.out, '"')
		if s.length > s.lim.text {
			s.out = append(append(s.out, s.text[:cutAt(s.text, int(s.lim.text))]...), shortMark...)
		} else {
			s.out = append(s.out, s.text...)
		}
		s.out = append(s.out, '"')
	}
	return end + 1, nil
}

// textEnd is where the text's closing quote stands in b, -1 if it is not there.
func (s *shortener) textEnd(b []byte) int {
	for i := 0; i < len(b); {
		if s.escaped {
			s.escaped = false
			i++
			continue
		}
		k := bytes.IndexAny(b[i:], `"\`)
		if k < 0 {
			return -1
		}
		if b[i+k] == '"' {
			return i + k
		}
		s.escaped = true
		i += k + 1
	}
	return -1
}

// maxUnit is the longest piece of a text that must not be torn: a character written as two escapes.
const maxUnit = len(`\ud83d\ude00`)

// cutAt is the greatest length up to most at which b, JSON text without its quotes, may be cut: not
// in the middle of a character or of an escape. b should be maxUnit longer than most.
func cutAt(b []byte, most int) int {
	p := 0
	for p < len(b) {
		n := unitLen(b[p:])
		if p+n > most {
			break
		}
		p += n
	}
	return p
}

func unitLen(b []byte) int {
	switch {
	case b[0] == '\\' && len(b) > 1 && b[1] == 'u':
		if len(b) >= maxUnit && b[2]|0x20 == 'd' && bytes.IndexByte([]byte("89abAB"), b[3]) >= 0 && b[6] == '\\' && b[7] == 'u' {
			return maxUnit
		}
		return len(`\u0000`)
	case b[0] == '\\':
		return 2
	}
	_, n := utf8.DecodeRune(b)
	return n
}
