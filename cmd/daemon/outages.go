package daemon

import (
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/poller"
)

// outageGap is how long an outage may be out of sight, over a change of leader or settings, to be the same when it is seen
// again: a new term's first question to a console that hangs may take a minute.
const outageGap = 2 * time.Minute

// outages remembers since when SCOM is not read and Moogsoft takes nothing: pipelines begin anew with each term and each
// version of the settings, and what they wait for does not.
type outages map[string]outage // by cause

type outage struct{ since, seen time.Time }

// hear takes what the leader has said, while another node leads: whatever it does not tell of has ended.
func (o outages) hear(r report) {
	if r.from == "" {
		return
	}
	clear(o)
	if r.Level != v1.OK && !r.Since.IsZero() {
		o[r.Cause] = outage{since: r.Since, seen: r.at}
	}
}

// date gives a finding of a pipeline the time since when it has lasted, as far as this node knows.
func (o outages) date(f *finding, now time.Time) {
	if f.since.IsZero() {
		return
	}
	if old, ok := o[f.cause]; ok && now.Sub(old.seen) < outageGap && old.since.Before(f.since) {
		f.since = old.since
	}
	o[f.cause] = outage{since: f.since, seen: now}
}

// heal forgets what a pipeline has shown to be over.
func (o outages) heal(p poller.Status) {
	if p.ConsolesDownSince.IsZero() && p.UnansweredSince.IsZero() && !p.LastPoll.IsZero() {
		delete(o, "scom "+p.Name)
	}
	if p.LAMAwaySince.IsZero() && !p.LastSent.IsZero() {
		delete(o, "lam "+p.Name)
	}
}

// overAgain are the matters that a pipeline has shown to be over; what it only has not met yet, in a new term or under new settings,
// is not.
func overAgain(in verdictInput) map[string]bool {
	over := map[string]bool{}
	read := len(in.pipes) > 0
	for _, p := range in.pipes {
		read = read && p.ConsolesDownSince.IsZero() && p.UnansweredSince.IsZero() && !p.LastPoll.IsZero()
		over["lam "+p.Name] = p.LAMAwaySince.IsZero() && !p.LastSent.IsZero()
	}
	over["scom"] = read
	return over
}

// lasting are the findings of the pipelines, each since it began, in whatever term that was.
func (n *node) lasting(v cluster.View, leader report, pipes []poller.Status) []finding {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.outages == nil {
		n.outages = outages{}
	}
	if !v.Leading {
		n.outages.hear(leader)
	}
	var out []finding
	for _, p := range pipes {
		n.outages.heal(p)
		for _, f := range pipelineFindings(p) {
			n.outages.date(&f, time.Now())
			out = append(out, f)
		}
	}
	return out
}
