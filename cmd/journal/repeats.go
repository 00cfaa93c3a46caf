package journal

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Limits of what is said again and again.
const (
	// manyTimes a line is written before it is only counted: who comes and goes three times is a matter of its own each time.
	manyTimes = 4
	// soonest is how long it is counted before one line tells how often it was, twice that the next time, and so on up to countFor:
	// what ends after a few times more is then not told half an hour late.
	soonest = time.Minute
	// instant is for how long the very same line, with nothing between, says nothing new.
	instant = time.Second
	// countFor is how long a line must not have come for it to be forgotten, too.
	countFor = 30 * time.Minute
	// maxCounted lines are told apart; what comes beyond is written.
	maxCounted = 1000
)

// repeats keeps a log readable where something flaps: a console that fails every third poll would write a line a second, and
// hide what matters. Lines that differ only in their figures are the same. The last of those kept back is written, with their
// number, so that nobody is left with an old one.
type repeats struct {
	tell func(r *repeat) // writes that line

	mu  sync.Mutex // guards what follows
	all map[string]*repeat
	end bool

	before   string // the line before this one, and when it came
	beforeAt time.Time
}

type repeat struct {
	level   hclog.Level
	last    string    // as text
	at      time.Time // of that
	written int
	kept    int           // back, since the last line
	wait    time.Duration // before these are told
	timer   *time.Timer
}

// line is what is told of those kept back. A single one is told as it was.
func (r *repeat) line() (msg string, args []any) {
	if r.kept == 1 {
		return r.last, []any{"said", r.at.UTC().Format(time.RFC3339)}
	}
	return "the same was said again and again", []any{"times", r.kept, "last", r.last}
}

// milestone marks a line of which each is written: whoever reads the end of a log must not find an old one there, such as that this
// node leads, without that it leads no more. For a line without such a value there is Milestones.
type milestone interface {
	Milestone()
}

func marked(args []any) bool {
	return slices.ContainsFunc(args, func(a any) bool { _, is := a.(milestone); return is })
}

// keepBack reports whether the line has been written often enough.
func (r *repeats) keepBack(level hclog.Level, msg string, args []any) bool {
	if marked(args) {
		return false
	}
	line := text(msg, args)
	key := withoutFigures(line)
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.all[key]
	if one == nil {
		if len(r.all) >= maxCounted || r.end {
			return false
		}
		one = &repeat{level: level, wait: soonest}
		one.timer = time.AfterFunc(countFor, func() { r.turn(key, one) })
		r.all[key] = one
	}
	now := time.Now()
	stutter := one.written > 0 && line == r.before && now.Sub(r.beforeAt) < instant
	r.before, r.beforeAt = line, now
	if one.written < manyTimes && !stutter {
		one.written++
		return false
	}
	if one.kept == 0 {
		one.timer.Reset(one.wait)
	}
	one.kept++
	one.last, one.at = line, now
	return true
}

// turn ends a time of counting: what has not come again is forgotten.
func (r *repeats) turn(key string, one *repeat) {
	r.mu.Lock()
	if r.end {
		r.mu.Unlock()
		return
	}
	told := *one
	if one.kept == 0 {
		delete(r.all, key)
	} else {
		one.kept = 0
		one.wait = min(2*one.wait, countFor)
		one.timer.Reset(countFor)
	}
	r.mu.Unlock()
	if told.kept > 0 {
		r.tell(&told)
	}
}

// close tells what was counted so far.
func (r *repeats) close() {
	r.mu.Lock()
	r.end = true
	all := r.all
	r.all = nil
	r.mu.Unlock()
	for _, one := range all {
		one.timer.Stop()
		if one.kept > 0 {
			r.tell(one)
		}
	}
}

// text is a line as it would be read.
func text(msg string, args []any) string {
	var b strings.Builder
	b.WriteString(msg)
	for i := 0; i+1 < len(args); i += 2 {
		fmt.Fprintf(&b, " %v=%v", args[i], args[i+1])
	}
	return b.String()
}

func withoutFigures(s string) string {
	return strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' {
			return -1
		}
		return c
	}, s)
}
