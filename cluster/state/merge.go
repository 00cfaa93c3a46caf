package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Merge is what node, which yields the epoch of its state, hands over to the cluster that went on in a higher one: its
// settings, notes for people, for each pipeline the self-alerts that are out and the parked entries, and the close requests that wait
// or are parked. Each op fits into a command under any token. The order is always the same, and what may be refused for want of room
// stands last.
//
// All parked entries are handed over, not only those since the two sides went apart: that moment cannot be known for
// certain from one side, and an entry too many costs a person a look, one too few an alert. One that somebody has
// removed on the other side meanwhile is there again.
func Merge(node string, yielded *State, at time.Time) []Op {
	if yielded.Token().IsZero() {
		return nil
	}
	m := merger{node: node, epoch: yielded.Token().Epoch, state: yielded, at: at}
	m.fork, m.forked = m.ownSince()
	m.settings()
	m.noteTerms()
	m.noteRollback()
	m.noteRewinds()
	m.noteMaintenance()
	m.logons()
	pipes := yielded.Pipelines()
	for _, p := range pipes {
		if len(p.Raised) > 0 {
			m.add(AdoptPipeline{Node: node, Epoch: m.epoch, Pipeline: p.Name, Raised: p.Raised})
		}
	}
	m.outbox() // before what is parked: it is to be done, and there is always room for it but for a million
	for _, p := range pipes {
		m.parked(p.Name)
	}
	m.refused()
	return m.ops
}

// merger collects the ops of one Merge.
type merger struct {
	node   string
	epoch  Epoch
	state  *State
	at     time.Time
	fork   Change // the beginning of the yielded epoch, or the oldest known
	forked bool   // fork has something before it, so that this side went apart there at the earliest
	ops    []Op
}

func (m *merger) add(op Op) { m.ops = append(m.ops, op) }

func (m *merger) note(text string) {
	m.add(AdoptNote{Node: m.node, Epoch: m.epoch, Text: clipTo(text, maxNoteText), At: m.at})
}

// ownSince finds the first term of the yielded epoch. Terms of the epoch before it, if any are kept, were common to both
// sides; without any, the two went apart somewhere within this epoch.
func (m *merger) ownSince() (first Change, forked bool) {
	for _, c := range m.state.Changes() { // newest first
		if c.Token.Epoch != m.epoch {
			return first, true
		}
		first = c
	}
	return first, false
}

// own reports whether what was done at that time was done on this side alone, as far as this side can know.
func (m *merger) own(at time.Time) bool { return !m.forked || !at.Before(m.fork.At) }

func (m *merger) settings() {
	c := m.state.Config()
	if c.Version == 0 {
		return
	}
	op := AdoptSettings{Node: m.node, Epoch: m.epoch, Text: c.Text, Author: c.Author, At: c.At}
	for _, v := range slices.Backward(m.state.ConfigHistory()) {
		op.Known = append(op.Known, ConfigSum{Version: v.Version, Sum: v.Sum()})
	}
	m.add(op)
}

// noteTerms says who led in the yielded epoch, and how far it came.
func (m *merger) noteTerms() {
	var leaders []string
	var last Change
	for _, c := range slices.Backward(m.state.Changes()) {
		if c.Token.Epoch == m.epoch {
			last = c
			if !slices.Contains(leaders, c.Node) {
				leaders = append(leaders, c.Node)
			}
		}
	}
	what, since := "led apart from this cluster", m.fork
	if !m.forked {
		what, since = "led before this cluster went on without it, last", last
	}
	text := fmt.Sprintf("Epoch %d of %s was given up. In it %s %s from %s",
		m.epoch.Number, m.epoch.Node, strings.Join(leaders, " and "), what, stamp(since.At))
	if since.Reason != "" {
		text += " (" + since.Reason + ")"
	}
	m.note(text + "." + m.cursors(maxNoteText-len(text)-64))
}

// cursors says up to where each pipeline had delivered, of as many as room bytes hold.
func (m *merger) cursors(room int) string {
	var moved []string
	size, left := 0, 0
	for _, p := range m.state.Pipelines() {
		if p.Cursor == 0 {
			continue
		}
		s := fmt.Sprintf("%s up to %s", p.Name, p.Cursor)
		if size += len(s) + len(", "); size > room {
			left++
			continue
		}
		moved = append(moved, s)
	}
	switch {
	case len(moved)+left == 0:
		return " Nothing had been delivered."
	case left > 0:
		moved = append(moved, fmt.Sprintf("and %d more", left))
	}
	return " Delivered were: " + strings.Join(moved, ", ") + "."
}

// noteRollback tells of settings that were put back to an earlier text: the other side most likely keeps that text, and
// then adopting it changes nothing there.
func (m *merger) noteRollback() {
	all := m.state.ConfigHistory()
	if len(all) == 0 || !m.own(all[0].At) {
		return
	}
	for _, old := range all[1:] {
		if bytes.Equal(old.Text, all[0].Text) {
			m.note(fmt.Sprintf("The settings were put back to those of version %d there, by %s at %s; "+
				"if that is still wanted, roll back to that version here.", old.Version, author(all[0].Author), stamp(all[0].At)))
			return
		}
	}
}

// noteRewinds tells of pipelines that were rewound. When that was is not kept, so it may have been while the two were one.
func (m *merger) noteRewinds() {
	var rewound []string
	for _, p := range m.state.Pipelines() {
		if p.Rewinds > 0 {
			rewound = append(rewound, fmt.Sprintf("%s (%d)", p.Name, p.Rewinds))
		}
	}
	if len(rewound) > 0 {
		m.note("No rewind that was made there is carried over; rewind again here if it is still wanted. " +
			"How often each pipeline had ever been rewound there: " + strings.Join(rewound, ", ") + ".")
	}
}

func (m *merger) noteMaintenance() {
	for _, f := range m.state.Maintenance() {
		if m.own(f.At) {
			m.note(fmt.Sprintf("%s was put into maintenance there by %s at %s; set it again if it is still wanted.", f.Node, author(f.Author), stamp(f.At)))
		}
	}
}

func author(name string) string {
	if name == "" {
		return "somebody"
	}
	return name
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// parked hands over the pipeline's parked entries, the oldest first, as many in one op as fit.
func (m *merger) parked(pipeline string) {
	op := AdoptPipeline{Node: m.node, Epoch: m.epoch, Pipeline: pipeline}
	room := MaxCommand - len(appendOp(appendToken([]byte{commandVersion, byte(kindAdoptPipeline)}, longestToken), op)) - binary.MaxVarintLen16
	left := room
	var scratch []byte
	for _, e := range slices.Backward(m.state.ParkedList(pipeline)) {
		e = m.fitted(e, room)
		scratch = appendParked(scratch[:0], &e)
		if len(scratch) > left {
			m.add(op)
			op.Parked, left = nil, room
		}
		op.Parked = append(op.Parked, e)
		left -= len(scratch)
	}
	if len(op.Parked) > 0 {
		m.add(op)
	}
}

// outbox hands over all requests that wait, also those from before the two sides went apart: the other side knows those that it has,
// and of one that it has settled long ago SCOM shows the mark.
func (m *merger) outbox() {
	op := AdoptOutbox{Node: m.node, Epoch: m.epoch}
	room := m.outboxRoom(op)
	left := room
	for _, q := range m.state.Outbox(MaxOutbox) {
		q.Seen = 0
		if size := q.size(); size > left {
			m.add(op)
			op.Requests, left = nil, room
		}
		op.Requests = append(op.Requests, q)
		left -= q.size()
	}
	if len(op.Requests) > 0 {
		m.add(op)
	}
}

// refused hands over the parked requests, the oldest first.
func (m *merger) refused() {
	op := AdoptOutbox{Node: m.node, Epoch: m.epoch}
	room := m.outboxRoom(op)
	left := room
	var scratch []byte
	for _, p := range slices.Backward(m.state.ParkedRequests()) {
		scratch = appendParkedRequest(scratch[:0], &p)
		if len(scratch) > left {
			m.add(op)
			op.Parked, left = nil, room
		}
		op.Parked = append(op.Parked, p)
		left -= len(scratch)
	}
	if len(op.Parked) > 0 {
		m.add(op)
	}
}

// outboxRoom is what one op has for its list; a request, with SCOM's words, always fits.
func (m *merger) outboxRoom(empty AdoptOutbox) int {
	return MaxCommand - len(appendOp(appendToken([]byte{commandVersion, byte(kindAdoptOutbox)}, longestToken), empty)) - binary.MaxVarintLen16
}

// longestToken has the longest encoding: whoever leads the other side stamps the commands.
var longestToken = Token{Epoch: Epoch{Number: math.MaxUint64, Node: strings.Repeat("n", MaxName)}, Term: math.MaxUint64}

// fitted is e, made to fit: a Commit has more room for an entry than AdoptPipeline, which also names the node and its epoch.
func (m *merger) fitted(e Parked, room int) Parked {
	if len(appendParked(nil, &e)) <= room {
		return e
	}
	lost := " (its texts were cut to be carried over from " + m.node + ")"
	if len(e.Payload) > 0 {
		lost = fmt.Sprintf(" (its payload of %d bytes was too large to be carried over from %s)", len(e.Payload), m.node)
	}
	e.Payload = nil
	if len(appendParked(nil, &e))+len(lost)+binary.MaxVarintLen16 > room {
		e.Reason, e.LAM, e.Answer = clip(e.Reason), clip(e.LAM), clip(e.Answer)
	}
	e.Reason += lost
	return e
}
