package daemon

import (
	"fmt"
	"slices"
	"strings"
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

type outage struct {
	since, seen time.Time
	finding     finding // as last seen
}

// hear takes what the leader has said, while another node leads: whatever it does not tell of has ended.
func (o outages) hear(r report) {
	if r.from == "" {
		return
	}
	clear(o)
	if r.Level != v1.OK && !r.Since.IsZero() {
		f := finding{level: r.Level, cause: r.Cause, since: r.Since, text: r.Text, do: r.Do}
		if strings.HasPrefix(r.Cause, scomCause) {
			f.matter, f.area, f.over = "scom", areaSCOM, scomOver
		}
		o[r.Cause] = outage{since: r.Since, seen: r.at, finding: f}
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
	o[f.cause] = outage{since: f.since, seen: now, finding: *f}
}

// heal forgets what a pipeline has shown to be over.
func (o outages) heal(p poller.Status) {
	if p.ConsolesDownSince.IsZero() && p.UnansweredSince.IsZero() && !p.LastPoll.IsZero() {
		delete(o, scomCause+p.Name)
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

const (
	scomCause = "scom " // and the pipeline's name
	scomOver  = "SCOM is read again"
)

// unread is what is so before a term's first answer, which may take a minute: what was so before, until it is shown to be over, and else
// that nothing was read yet. n.mu is held.
func (n *node) unread(p poller.Status, now time.Time) []finding {
	if !p.LastPoll.IsZero() || !p.LastSent.IsZero() || !p.ConsolesDownSince.IsZero() || !p.UnansweredSince.IsZero() || !p.LAMAwaySince.IsZero() || p.Blocked != "" {
		delete(n.asking, p.Name)
		return nil
	}
	if n.asking == nil {
		n.asking = map[string]time.Time{}
	}
	began, ok := n.asking[p.Name]
	if old, known := n.outages[scomCause+p.Name]; !ok && known && now.Sub(old.seen) < outageGap {
		old.finding.since = old.since
		return []finding{old.finding}
	}
	if !ok {
		n.asking[p.Name] = now
		return nil
	}
	f := finding{level: v1.Degraded, cause: scomCause + p.Name, matter: "scom", area: areaSCOM, since: began, over: scomOver,
		text: "SCOM has not answered yet since this node began to ask: it takes long.", do: "check the web console and its management server: they take too long"}
	switch asked := now.Sub(began); {
	case asked < settling:
		return nil
	case asked >= longUnread:
		f.level, f.text = v1.Stopped, "SCOM has not answered since this node began to ask"
	}
	return []finding{f}
}

// longUnread is how long that may be before it is an outage, as long as later questions may.
const longUnread = time.Minute

// lasting are the findings of the pipelines, each since it began, in whatever term that was.
func (n *node) lasting(v cluster.View, leader report, pipes []poller.Status) []finding {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.outages == nil {
		n.outages = outages{}
	}
	if !v.Leading {
		n.outages.hear(leader)
		n.asking = nil
	}
	var out []finding
	for _, p := range pipes {
		n.outages.heal(p)
		found := pipelineFindings(p)
		if v.Leading {
			found = append(found, n.unread(p, time.Now())...)
		}
		for _, f := range found {
			n.outages.date(&f, time.Now())
			out = append(out, f)
		}
	}
	if !v.Leading && v.Leader != "" && leader.from == "" {
		out = append(out, n.outages.before(v.Leader, time.Now())...)
	}
	return out
}

// before are the outages of the terms before, while the present leader has not said yet how it is doing.
func (o outages) before(leader string, now time.Time) []finding {
	var out []finding
	for cause, old := range o {
		if now.Sub(old.seen) < outageGap {
			out = append(out, finding{heard: true, level: v1.Degraded, cause: "before " + cause, since: old.since,
				text: fmt.Sprintf("%s leads, and has not said yet whether it delivers. Before: %s", leader, old.finding.text), do: old.finding.do})
		}
	}
	slices.SortFunc(out, func(a, b finding) int { return strings.Compare(a.cause, b.cause) })
	return out
}
