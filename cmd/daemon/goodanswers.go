package daemon

import (
	"strings"
	"time"

	v1 "scomconnector/api/v1"
)

// goodAnswers remembers when each pipeline, console and LAM last did its part, for whichever leader: what does the work begins anew with
// each term and each version of the settings, and what has answered before that has not "never" answered.
type goodAnswers map[answerer]time.Time

type answerer struct {
	kind, name, place string
}

// place is an address as far as followers and leader show it alike: a LAM in use is shown without its query.
func place(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return strings.TrimRight(url, "/")
}

// carry takes what the status tells, its own or the leader's word, and puts what was known before where it tells nothing. What the
// status does not name any more is forgotten; a status without settings names nothing.
func (n *node) carry(s *v1.Status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(s.SCOM)+len(s.LAMs) == 0 {
		return
	}
	known := goodAnswers{}
	latest := func(who answerer, at *time.Time) {
		if before := n.answered[who]; before.After(*at) && !before.After(s.Time) { // else by a clock that is ahead of this one
			*at = before
		}
		if *at = at.UTC(); !at.IsZero() {
			known[who] = *at
		}
	}
	for i := range s.Pipelines {
		p := &s.Pipelines[i]
		latest(answerer{kind: "poll", name: p.Name}, &p.LastPoll)
		latest(answerer{kind: "send", name: p.Name}, &p.LastSent)
	}
	for i := range s.SCOM {
		latest(answerer{"console", s.SCOM[i].Name, place(s.SCOM[i].URL)}, &s.SCOM[i].LastOK)
	}
	for i := range s.LAMs {
		latest(answerer{"lam " + s.LAMs[i].Destination, s.LAMs[i].Name, place(s.LAMs[i].URL)}, &s.LAMs[i].LastOK)
	}
	n.answered = known
}
