package daemon

import (
	"cmp"
	"context"
	"slices"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
)

const (
	// reportEvery is how often a node that does not lead asks the leader how it is doing, and reportHolds how long the answer
	// is shown: what is older says nothing about now.
	reportEvery = 2 * time.Second
	reportHolds = 8 * time.Second
)

// report is what only the leader knows. The other nodes show it too: whoever is woken opens any page.
type report struct {
	Level     v1.Level      `json:"level"`
	Text      string        `json:"text"` // of the verdict, without the time
	Cause     string        `json:"cause"`
	Do        string        `json:"do"`
	Since     time.Time     `json:"since"`
	Pipelines []v1.Pipeline `json:"pipelines"`
	SCOM      []v1.Console  `json:"scom"`
	LAMs      []v1.LAM      `json:"lams"`
	Outbox    v1.OutboxList `json:"outbox"`
	Warnings  []string      `json:"warnings"`
	// Leader, Epoch and Term are whom that node held for the leader when it said so, and of which term it spoke; zero from an older version.
	Leader string `json:"leader"`
	Epoch  uint64 `json:"epoch"`
	Term   uint64 `json:"term"`

	from string    // the leader that said so
	at   time.Time // keeps its monotonic reading; zero: there is none
}

// reporting answers another member.
func (n *node) reporting() report {
	s := n.status()
	n.mu.Lock()
	found := n.lastVerdict
	n.mu.Unlock()
	return report{Level: s.Verdict.Level, Text: found.text, Cause: found.cause, Do: s.Verdict.Do, Since: s.Verdict.Since, Pipelines: s.Pipelines, SCOM: s.SCOM, LAMs: s.LAMs, Outbox: s.Outbox,
		Warnings: s.Warnings, Leader: s.Leader, Epoch: s.Epoch, Term: s.Term}
}

// watchLeader keeps the leader's report while this node does not lead. A leader of an older version gives none, and one that does not
// answer is the cluster's business: then the page says less.
func (n *node) watchLeader(ctx context.Context) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v := n.coord.View()
		leader, ok := member(v, v.Leader)
		if v.Leader == "" || v.Leader == v.NodeID || !ok || !present(leader) {
			continue
		}
		r, err := ask[report](ctx, n, v.Leader, question{Ask: askReport})
		if err != nil {
			continue
		}
		r.from, r.at = v.Leader, time.Now()
		n.mu.Lock()
		n.leaders = r
		n.mu.Unlock()
	}
}

// leadersReport is what the present leader said last, if that still holds; else it is empty. Out of contact, or before its
// present term, it has said nothing about now.
func (n *node) leadersReport(v cluster.View) report {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.leaders
	if v.Leading || r.from != v.Leader || r.from == "" || time.Since(r.at) >= reportHolds || r.outdated(v) {
		return report{}
	}
	if leader, ok := member(v, v.Leader); !ok || leader.Fault != "" || time.Since(leader.LastContact) >= 2*reportEvery {
		return report{}
	}
	return r
}

// outdated reports whether it is of a term before the present one, or of a node that did not know then that it leads.
func (r report) outdated(v cluster.View) bool {
	if r.Term == 0 {
		return false
	}
	return r.Leader != r.from || cmp.Or(cmp.Compare(r.Epoch, v.Token.Epoch.Number), cmp.Compare(r.Term, v.Token.Term)) < 0
}

// show puts into a status what the leader has said and this node cannot know.
func (r report) show(s *v1.Status) {
	if r.from == "" {
		return
	}
	s.SCOM, s.LAMs = slices.Clone(r.SCOM), slices.Clone(r.LAMs)
	for i := range s.Pipelines {
		for _, p := range r.Pipelines {
			if own := &s.Pipelines[i]; p.Name == own.Name {
				// What is replicated is newer here, and agrees with the totals; so must what the leader has counted.
				p.Flow = onward(p.Flow, p.Sent, own.Sent)
				p.Cursor, p.Sent, p.Parked, p.Remembered = own.Cursor, own.Sent, own.Parked, own.Remembered
				*own = p
			}
		}
	}
	s.Outbox.Error = r.Outbox.Error
	stands := map[string]string{}
	for _, e := range r.Outbox.Entries {
		stands[e.ID] = e.Stands
	}
	for i, e := range s.Outbox.Entries {
		if text := stands[e.ID]; text != "" {
			s.Outbox.Entries[i].Stands = text
		}
	}
}

// onward is a flow that was told when the replicated state had counted then as accepted, as it is now: what was accepted since has also
// been read and sent, and waits no more.
func onward(f v1.Flow, then, now uint64) v1.Flow {
	if f.Since.IsZero() { // from an older version, or nothing runs
		return f
	}
	if now < then { // this copy is behind
		f.Accepted.Count -= min(f.Accepted.Count, then-now)
		return f
	}
	more := now - then
	f.Accepted.Count += more
	f.Sent.Count, f.Read.Count = max(f.Sent.Count, f.Accepted.Count), max(f.Read.Count, f.Accepted.Count)
	f.Waiting -= int(min(more, uint64(f.Waiting)))
	return f
}

// others are the leader's warnings that this node has not.
func (r report) others(own []string) []string {
	for _, w := range r.Warnings {
		if !slices.Contains(own, w) {
			own = append(own, r.from+": "+w)
		}
	}
	return own
}

// finding is the leader's own verdict as one of this node's, if something is wrong.
func (r report) finding() []finding {
	if r.from == "" || r.Level == v1.OK {
		return nil
	}
	return []finding{{heard: true, level: r.Level, cause: "leader " + r.from + " " + r.Cause, since: r.Since, text: r.from + ", which leads, says: " + r.Text, do: r.Do}}
}
