package scom

import (
	"strconv"
	"strings"
	"time"
)

// parseTime reads a time as SCOM prints it: ISO with seven digits of fraction and a Z. It also
// takes fewer or more digits, none, a blank instead of the T, blanks anywhere between the parts
// (both are seen in the documentation), an offset, no zone at all (SDK times are UTC with their
// kind unset), and /Date(milliseconds)/.
//
// Cultural forms such as 5/6/2026 are refused: nothing tells the day from the month.
func parseTime(s []byte) (time.Time, bool) {
	p := scanner{s: s}
	p.blanks()
	if p.peek() == '/' {
		return parseTicks(string(s))
	}
	year, ok1 := p.number(4, '-')
	month, ok2 := p.number(2, '-')
	day, ok3 := p.number(2, 0)
	if !ok1 || !ok2 || !ok3 || !p.separator() {
		return time.Time{}, false
	}
	hour, ok1 := p.number(2, ':')
	minute, ok2 := p.number(2, ':')
	second, ok3 := p.number(2, 0)
	if !ok1 || !ok2 || !ok3 {
		return time.Time{}, false
	}
	nanos, ok1 := p.fraction()
	offset, ok2 := p.zone()
	if !ok1 || !ok2 || year < 1 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	if t.Day() != day { // the 30th of February
		return time.Time{}, false
	}
	return t.Add(-offset), true
}

// parseTicks reads /Date(1650000000000)/, .NET's old JSON form; an offset inside is only a hint
// on how to print it.
func parseTicks(s string) (time.Time, bool) {
	s, ok1 := strings.CutPrefix(strings.TrimSpace(s), "/Date(")
	s, ok2 := strings.CutSuffix(s, ")/")
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	if i := strings.LastIndexAny(s, "+-"); i > 0 {
		s = s[:i]
	}
	ms, err := strconv.ParseInt(s, 10, 64)
	const last = 253402300799999 // 9999-12-31T23:59:59.999Z, .NET's greatest
	if err != nil || ms < 0 || ms > last {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

// scanner walks over a time's text.
type scanner struct {
	s []byte
	i int
}

func (p *scanner) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *scanner) blanks() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

// number reads exactly n digits, and end behind them unless it is 0.
func (p *scanner) number(n int, end byte) (v int, ok bool) {
	p.blanks()
	if p.i+n > len(p.s) {
		return 0, false
	}
	for _, c := range p.s[p.i : p.i+n] {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	p.i += n
	if end == 0 {
		return v, true
	}
	p.blanks()
	if p.peek() != end {
		return 0, false
	}
	p.i++
	return v, true
}

// separator reads a T, or at least one blank, between date and time.
func (p *scanner) separator() bool {
	before := p.i
	p.blanks()
	if c := p.peek(); c == 'T' || c == 't' {
		p.i++
	}
	return p.i > before
}

// fraction reads the digits behind a point, if there are any; what is finer than a nanosecond is
// cut off.
func (p *scanner) fraction() (nanos int, ok bool) {
	p.blanks()
	if p.peek() != '.' {
		return 0, true
	}
	p.i++
	p.blanks()
	digits := 0
	for ; p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9'; p.i++ {
		if digits < 9 {
			nanos = nanos*10 + int(p.s[p.i]-'0')
		}
		digits++
	}
	for d := digits; d < 9; d++ {
		nanos *= 10
	}
	return nanos, digits > 0
}

// zone reads the rest: nothing, Z, +hh:mm or +hhmm.
func (p *scanner) zone() (offset time.Duration, ok bool) {
	p.blanks()
	sign := time.Duration(1)
	switch p.peek() {
	case 0:
		return 0, p.i == len(p.s)
	case 'Z', 'z':
		p.i++
		p.blanks()
		return 0, p.i == len(p.s)
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	p.i++
	hours, ok1 := p.number(2, 0)
	p.blanks()
	if p.peek() == ':' {
		p.i++
	}
	minutes, ok2 := p.number(2, 0)
	p.blanks()
	if !ok1 || !ok2 || p.i != len(p.s) || hours > 14 || minutes > 59 {
		return 0, false
	}
	return sign * (time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute), true
}
