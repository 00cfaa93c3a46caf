package daemon

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	v1 "scomconnector/api/v1"
)

const (
	// steady is how long a state of affairs must last before it is worth a line in the log. The page shows it at once.
	steady = 3 * time.Second
	// calmAfter is how long a state must have lasted for its end to be told at once, however restless it was before.
	calmAfter = 5 * time.Minute
	// restated is how soon the same matter may be told a third time, twice that the next one, and so on up to seldom: what
	// flaps must not fill the log.
	restated = time.Minute
	seldom   = 30 * time.Minute
	// maxSaid bounds the words that are remembered of one matter.
	maxSaid = 100
)

// affairs are the state of affairs as a status has found it last.
type affairs struct {
	leading  bool
	leader   string
	calm     finding // what is so where nothing is wrong
	findings []finding
	over     map[string]bool // of the pipelines' matters: that it has been shown to be over
}

// verdictLog writes what an operator reads after a night: one line when something begins to be wrong, which is the sentence of the
// page; one when its cause changes; and one when it is over, with how long it took and how often it was tried. That something fails
// again is no line, and of what flaps every few seconds there is a line now and then with a count. What the leader finds stands in
// the leader's log; the other nodes tell whom they follow and what is wrong with themselves.
type verdictLog struct {
	log     hclog.Logger
	matters map[string]*matter
	leading bool
	calm    matter
}

// matter is one thing that is wrong, or was.
type matter struct {
	finding                // as last seen
	seen     bool          // by this call of note
	is       bool          // now
	on       bool          // as last told
	began    time.Time     // when it began
	changed  time.Time     // when is became what it is
	before   time.Duration // how long it had been the other way before
	words    string        // the finding without its figures, since reworded
	reworded time.Time
	said     map[string]time.Time // in which words, when
	last     string               // of these
	times    int                  // it began, since the last line
	lines    int                  // in a row, without calm between
	told     time.Time            // the last line
}

// note takes the state of affairs of each second, and writes what there is to say of it.
func (l *verdictLog) note(now time.Time, p affairs) {
	if l.matters == nil {
		l.matters = map[string]*matter{}
	}
	if l.leading && !p.leading {
		l.calm.words = ""
	}
	if !p.leading && p.leader != "" {
		l.forget()
	}
	l.leading = p.leading
	for _, m := range l.matters {
		m.seen = false
	}
	mine := own(p)
	for _, f := range mine {
		l.see(now, f)
	}
	for _, key := range l.order() {
		m := l.matters[key]
		if !m.seen && !p.leading && m.area != areaNode {
			continue // nobody leads, and this node may do so again
		}
		if !m.seen {
			m.turn(now, false)
		}
		over, known := p.over[key]
		l.tell(now, m, p, !known || over || now.Sub(m.changed) >= outageGap)
		if !m.is && !m.on && m.times == 0 && now.Sub(m.told) >= seldom {
			delete(l.matters, key)
		}
	}
	l.noteCalm(now, p, len(mine))
}

// turn notes whether it is so now.
func (m *matter) turn(now time.Time, is bool) {
	if m.is != is {
		m.is, m.before, m.changed = is, now.Sub(m.changed), now
	}
}

// own are the findings that belong into this node's log, the worst first, one of each matter.
func own(p affairs) []finding {
	var all []finding
	stopped := map[area]bool{}
	for _, f := range p.findings {
		if f.heard || !p.leading && f.area != areaNode {
			continue
		}
		f.matter = cmp.Or(f.matter, f.cause)
		all = append(all, f)
		stopped[f.area] = stopped[f.area] || f.level == v1.Stopped
	}
	slices.SortStableFunc(all, func(a, b finding) int { return rank(b.level) - rank(a.level) })
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(f finding) bool {
		same := seen[f.matter] || f.level != v1.Stopped && f.area != areaOther && f.area != areaNode && stopped[f.area]
		seen[f.matter] = true
		return same
	})
}

// forget drops what the next leader will tell, if it is still so.
func (l *verdictLog) forget() {
	for key, m := range l.matters {
		if m.area != areaNode {
			delete(l.matters, key)
		}
	}
}

// order is that of the lines of one second: what is over first, then the worst.
func (l *verdictLog) order() []string {
	var keys []string
	for key := range l.matters {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		x, y := l.matters[a], l.matters[b]
		if x.seen != y.seen {
			if y.seen {
				return -1
			}
			return 1
		}
		return cmp.Or(rank(y.level)-rank(x.level), cmp.Compare(a, b))
	})
	return keys
}

// see takes a finding of this second in.
func (l *verdictLog) see(now time.Time, f finding) {
	m := l.matters[f.matter]
	if m == nil {
		m = &matter{said: map[string]time.Time{}}
		l.matters[f.matter] = m
	}
	if !m.is && !m.on {
		m.began = now
		m.times++
	}
	m.turn(now, true)
	if !f.since.IsZero() && (f.since.Before(m.began) || !m.on) {
		m.began = f.since
	}
	if words := string(f.level) + withoutFigures(f.text); words != m.words {
		m.words, m.reworded = words, now
	}
	m.finding, m.seen = f, true
}

// tell writes what there is to say of one matter, if it is time. proven: what is not to be seen any more is over.
func (l *verdictLog) tell(now time.Time, m *matter, p affairs, proven bool) {
	lasts := now.Sub(m.changed) >= steady
	begins := m.is && lasts && now.Sub(m.reworded) >= steady && (!m.on || !m.saidLately(now))
	ends := !m.is && m.on && lasts && proven
	passed := !m.is && !m.on && m.times > 0 && lasts && proven // before it was told
	if passed && m.tries == 0 {
		m.times, passed = 0, false // nobody has tried anything in vain
	}
	if !begins && !ends && !passed {
		return
	}
	if !m.due(now) && (!ends || m.level != v1.Stopped) { // who reads that nothing is delivered reads it, too, when something is again
		return
	}
	switch {
	case begins:
		if !m.on {
			clear(m.said)
		}
		m.on, m.last, m.said[m.words] = true, m.words, now
		l.write(m.level, m.beginning(p), append(m.facts, again(m.times)...))
	case ends:
		m.on = false
		l.write(v1.OK, l.ending(m, p), again(m.times))
	case passed:
		l.write(v1.Degraded, strings.TrimRight(m.text, ".")+", but not for long: "+m.ended()+".", append(m.facts, again(m.times)...))
	}
	m.times, m.told = 0, now
}

func (m *matter) saidLately(now time.Time) bool {
	at, ok := m.said[m.words]
	return m.last == m.words || ok && now.Sub(at) < seldom || len(m.said) >= maxSaid
}

// due reports whether a line may be written about m now, and counts it.
func (m *matter) due(now time.Time) bool {
	if m.before >= calmAfter || m.is && m.on && now.Sub(m.told) >= calmAfter {
		m.lines = 0
	}
	if m.lines > 1 && now.Sub(m.told) < min(restated<<min(m.lines-2, 10), seldom) {
		return false
	}
	m.lines++
	m.before = 0
	return true
}

// beginning is the page's sentence. Where something else stops delivery, it is not said that there is some.
func (m *matter) beginning(p affairs) string {
	f := m.finding
	if rest, ok := strings.CutPrefix(f.text, "Delivering, but "); ok && stopped(p) {
		f.text = strings.ToUpper(rest[:1]) + rest[1:]
	}
	return v1.Verdict{Text: sentence(f, m.began), Do: f.do}.Sentence()
}

func stopped(p affairs) bool {
	return slices.ContainsFunc(own(p), func(f finding) bool { return f.level == v1.Stopped })
}

// ending is the line at the end of what was told.
func (l *verdictLog) ending(m *matter, p affairs) string {
	lasted := m.changed.Sub(m.began).Round(time.Second).String()
	if m.cause == noLeaderCause && p.leading {
		return fmt.Sprintf("This node leads; it knew of no leader for %s.", lasted)
	}
	if m.cause == noLeaderCause {
		l.calm.words = p.calm.cause // that says whom this node follows, too
		return fmt.Sprintf("%s leads; this node knew of no leader for %s.", cmp.Or(p.leader, "Somebody"), lasted)
	}
	text := m.ended() + " after " + lasted
	if m.tries > 0 {
		text += fmt.Sprintf(" and %d %s in vain", m.tries, plural(m.tries, "try", "tries"))
	}
	if m.level != v1.Stopped || !p.leading {
		return text + "."
	}
	if stopped(p) {
		return text + "; nothing is delivered yet, for another cause."
	}
	if p.calm.cause == delivered {
		l.calm.words = delivered
	}
	return "DELIVERING AGAIN: " + text + "; nothing was lost."
}

func (m *matter) ended() string {
	return cmp.Or(m.over, "over is: "+strings.TrimRight(m.text, "."))
}

// noteCalm tells what is so where nothing is wrong, such as whom this node follows.
func (l *verdictLog) noteCalm(now time.Time, p affairs, wrong int) {
	m := &l.calm
	if p.calm.cause != m.cause {
		m.before, m.changed = now.Sub(m.changed), now
	}
	m.finding = p.calm
	for _, other := range l.matters {
		if other.on && p.leading {
			return // its end comes first
		}
	}
	if wrong > 0 && (p.leading || p.leader == "") || m.words == m.cause || now.Sub(m.changed) < steady || !m.due(now) {
		return
	}
	m.words, m.told = m.cause, now
	l.write(v1.OK, m.text, nil)
}

func (l *verdictLog) write(level v1.Level, text string, facts []any) {
	write := l.log.Info
	switch level {
	case v1.Stopped:
		write = l.log.Error
	case v1.Degraded:
		write = l.log.Warn
	}
	if len(facts) > 0 {
		text = strings.TrimRight(text, ".")
	}
	write(text, facts...)
}

// again is how often something has begun since it was last told, where that is worth a word.
func again(times int) []any {
	if times < 2 {
		return nil
	}
	return []any{"times", times}
}

// figures are counts, times and ports, which differ while the matter is the same; an HTTP status is not one of them.
var figures = regexp.MustCompile(`[0-9]+`)

func withoutFigures(s string) string {
	return figures.ReplaceAllStringFunc(s, func(n string) string {
		if len(n) == 3 && n[0] >= '3' && n[0] <= '5' {
			return n
		}
		return ""
	})
}

// changes is the log for what changes a state: where it keeps back what was said before, of these lines it keeps back none.
func (n *node) changes() hclog.Logger {
	if l, keepsBack := n.log.(interface{ Milestones() hclog.Logger }); keepsBack {
		return l.Milestones()
	}
	return n.log
}
