package daemon

import (
	"time"

	"github.com/hashicorp/go-hclog"

	v1 "scomconnector/api/v1"
)

const (
	// steady is how long a state of affairs must last before it is worth a line in the log: a console that fails every third
	// poll would otherwise fill it. The page shows it at once.
	steady = 3 * time.Second
	// restated is how soon the same state may be told in other words, such as with another number of parked entries.
	restated = time.Minute
	// maxSaid bounds the words that are remembered of one state.
	maxSaid = 100
)

// verdictLog prints the sentence that the page shows: when the state of affairs or its cause has changed for good, and, while they
// stay, words that have not been used for them yet. Two consoles that fail by turns are one outage, and told once each.
type verdictLog struct {
	log   hclog.Logger
	seen  string // level and cause as last seen, since when
	since time.Time
	last  string // as last told, when, and in which words
	told  time.Time
	said  map[string]bool
}

// note takes the verdict of each second, and reports whether it was told.
func (l *verdictLog) note(now time.Time, v v1.Verdict, cause string) bool {
	if is := string(v.Level) + " " + cause; is != l.seen {
		l.seen, l.since = is, now
	}
	sentence := v.Sentence()
	switch {
	case l.seen != l.last && now.Sub(l.since) >= steady:
		l.last, l.said = l.seen, map[string]bool{}
	case l.seen != l.last, l.said[sentence], now.Sub(l.told) < restated, len(l.said) >= maxSaid:
		return false
	}
	l.said[sentence], l.told = true, now
	write := l.log.Info
	switch v.Level {
	case v1.Stopped:
		write = l.log.Error
	case v1.Degraded:
		write = l.log.Warn
	}
	write(sentence)
	return true
}
