package state

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run only this seed of the random histories")
	histories = flag.Int("histories", 8, "how many random histories to run")
)

// model is the delivered state written the obvious way: plain maps, everything looked at each time,
// nothing shared, nothing encoded.
type model struct {
	token Token
	pipes map[string]*modelPipe
	gone  Totals
	text  []string // of all versions, the first is version 1
	flags map[string]Maintenance
	notes []string // node and text, newest first
	// logons by account and secret; histories are short, so that nothing of them is forgotten.
	logons map[string]Logon
	group  string
	box    modelBox
}

type modelPipe struct {
	started       bool
	cursor, floor alert.Millis
	sent          map[alert.ID]alert.Version
	parked        map[alert.ID]string
	raised        map[string]bool
	totals        Totals
	rewinds       uint64
	removed       time.Time
}

func (m *model) apply(c Command) error {
	if _, ok := c.Op.(TermStart); ok {
		if c.Token.Compare(m.token) <= 0 {
			return ErrTermOver
		}
		if c.Token.Epoch != m.token.Epoch {
			for i := range m.box.waits {
				m.box.waits[i].Doubtful, m.box.waits[i].Seen = true, 0
			}
		}
		m.token = c.Token
		return nil
	}
	if c.Token != m.token || m.token.IsZero() {
		return ErrTermOver
	}
	switch op := c.Op.(type) {
	case Commit:
		rewinds := uint64(0)
		if p := m.pipes[op.Pipeline]; p != nil {
			rewinds = p.rewinds
		}
		if op.Rewinds != rewinds {
			return ErrRewound
		}
		m.pipe(op.Pipeline).commit(op)
	case SetConfig:
		if op.Expect != uint64(len(m.text)) {
			return ErrStale
		}
		m.text = append(m.text, string(op.Text))
	case SetManagementGroup:
		if m.group != "" && m.group != op.Name && !op.Force {
			return ErrStale
		}
		m.group = op.Name
	case Rewind:
		p := m.pipes[op.Pipeline]
		if p == nil {
			return ErrUnknown
		}
		p.rewinds++
		p.cursor, p.floor = min(p.cursor, op.To), min(p.floor, op.To)
		for id, v := range p.sent {
			if v.LastModified >= op.To {
				delete(p.sent, id)
			}
		}
	case Unpark:
		p := m.pipes[op.Pipeline]
		if p == nil || !slices.ContainsFunc(op.Keys, func(k alert.ID) bool { _, ok := p.parked[k]; return ok }) {
			return ErrUnknown
		}
		for _, k := range op.Keys {
			delete(p.parked, k)
		}
	case SetPipelines:
		m.setPipelines(op)
	case SetMaintenance:
		return m.setMaintenance(op)
	case NoteLogon:
		return m.noteLogon(op)
	default:
		m.adopt(op)
		return m.box.apply(op)
	}
	return nil
}

func (m *model) pipe(name string) *modelPipe {
	if m.pipes[name] == nil {
		m.pipes[name] = &modelPipe{sent: map[alert.ID]alert.Version{}, parked: map[alert.ID]string{}, raised: map[string]bool{}}
	}
	return m.pipes[name]
}

func (m *model) setMaintenance(op SetMaintenance) error {
	flag, on := m.flags[op.Node]
	if !op.On {
		if on && op.Start != 0 && op.Start != flag.Start {
			return ErrStale
		}
		delete(m.flags, op.Node)
		return nil
	}
	for name := range m.flags {
		if name != op.Node && slices.Contains(op.Unless, name) {
			return ErrMaintenance
		}
	}
	m.flags[op.Node] = Maintenance{Node: op.Node, Sticky: op.Sticky, Start: op.Start, Author: op.Author, At: op.At}
	return nil
}

func (m *model) noteLogon(op NoteLogon) error {
	key := op.Account + fmt.Sprint(op.Secret)
	l, known := m.logons[key]
	if !known {
		l = Logon{Account: op.Account, Secret: op.Secret, At: op.At}
	}
	switch op.Event {
	case LogonAccepted:
		delete(m.logons, key)
		return nil
	case LogonUnjudged:
		if l.Open == 0 {
			return nil
		}
		if l.Open--; l.Open == 0 && l.Refused == 0 {
			delete(m.logons, key)
			return nil
		}
		if op.At.Before(l.Until) {
			l.Until = op.At
		}
	case LogonBegun:
		if l.Until.After(op.At) {
			return ErrStale
		}
		if l.Open++; l.Open > 1 {
			l.Until = op.Until
		}
	case LogonRefused:
		if l.Refused > 0 && !op.At.After(l.At) {
			return nil
		}
		l.Refused++
		l.Open, l.At, l.Until, l.Reason, l.Console, l.Node = 0, op.At, op.Until, op.Reason, op.Console, op.Node
	}
	m.logons[key] = l
	return nil
}

func (m *model) adopt(op Op) {
	switch op := op.(type) {
	case AdoptPipeline:
		p := m.pipe(op.Pipeline)
		for _, e := range op.Parked {
			if _, known := p.parked[e.Key]; !known {
				p.parked[e.Key] = e.Answer
				p.totals.Parked++
			}
		}
		for _, k := range op.Raised {
			p.raised[k] = true
		}
	case AdoptSettings:
		if slices.Contains(m.text[max(0, len(m.text)-20):], string(op.Text)) {
			return
		}
		mine, changed := "", false
		if n := len(m.text); n > 0 {
			mine = m.text[n-1]
			changed = true
			for _, k := range op.Known {
				if k.Version == uint64(n) && k.Sum == sumOf(mine) {
					changed = false
				}
			}
		}
		m.text = append(m.text, string(op.Text))
		if changed {
			m.text = append(m.text, mine)
		}
	case AdoptNote:
		if n := op.Node + ": " + op.Text; !slices.Contains(m.notes, n) {
			m.notes = append([]string{n}, m.notes[:min(len(m.notes), 49)]...)
		}
	}
}

func (p *modelPipe) commit(c Commit) {
	for _, v := range c.Sent {
		old, known := p.sent[v.ID]
		if known && (v.LastModified < old.LastModified || v == old) {
			continue
		}
		p.sent[v.ID] = v
		p.totals.Accepted++
	}
	for _, v := range c.Handled {
		if old, known := p.sent[v.ID]; !known || v.LastModified > old.LastModified || v.LastModified == old.LastModified && v.State != old.State {
			p.sent[v.ID] = v
		}
	}
	for id, v := range p.sent {
		// Whole tens of seconds only.
		if v.State == 255 && v.LastModified < c.Forget-c.Forget%10_000 {
			delete(p.sent, id)
		}
	}
	for _, e := range c.Parked {
		if _, known := p.parked[e.Key]; !known {
			p.totals.Parked++
		}
		p.parked[e.Key] = e.Answer
	}
	for _, k := range c.Raised {
		p.raised[k] = true
	}
	for _, k := range c.Cleared {
		delete(p.raised, k)
	}
	if c.Start && !p.started {
		p.started, p.floor = true, c.Floor
	}
	if c.Cursor > p.cursor {
		p.cursor = c.Cursor
	}
}

func (m *model) setPipelines(op SetPipelines) {
	var news []string
	for name := range op.Carry {
		news = append(news, name)
	}
	slices.Sort(news)
	for _, name := range news {
		previous := op.Carry[name]
		old, taken := m.pipes[previous], m.pipes[name]
		if old == nil || !slices.Contains(op.Names, name) || slices.Contains(op.Names, previous) {
			continue
		}
		if taken != nil && (!taken.blank() || old.blank()) {
			continue
		}
		if taken != nil {
			for key, answer := range taken.parked {
				if _, known := old.parked[key]; !known {
					old.parked[key] = answer
				}
			}
			maps.Copy(old.raised, taken.raised)
			old.totals.Parked += taken.totals.Parked
		}
		m.pipes[name] = old
		delete(m.pipes, previous)
	}
	for name, p := range m.pipes {
		switch {
		case slices.Contains(op.Names, name):
			p.removed = time.Time{}
		case p.removed.IsZero():
			p.removed = op.At
		case op.At.Sub(p.removed) >= 7*24*time.Hour:
			m.gone.Accepted += p.totals.Accepted
			m.gone.Parked += p.totals.Parked
			delete(m.pipes, name)
		}
	}
}

func (p *modelPipe) blank() bool {
	return !p.started && p.cursor == 0 && p.floor == 0 && len(p.sent) == 0 && p.totals.Accepted == 0
}

// history makes commands: of a few pipelines, alerts and parked keys, so that everything meets.
type history struct {
	*rand.Rand
	term  uint64
	epoch uint64
	now   alert.Millis
	day   int
	used  []ConfigSum // the versions that are kept, oldest first
	// rewinds is how often each pipeline was rewound.
	rewinds map[string]uint64
}

var historyPipes = []string{"a", "b", "c"}

func (h *history) pipe() string { return historyPipes[h.IntN(len(historyPipes))] }

func (h *history) command() Command {
	h.now += alert.Millis(h.IntN(5_000))
	at := t0.AddDate(0, 0, h.day)
	c := Command{Token: h.token(h.term)}
	if h.IntN(20) == 0 {
		c.Token = h.token(h.term - uint64(h.IntN(2)) + uint64(h.IntN(2)))
	}
	switch n := h.IntN(100); {
	case n < 5 || h.term == 0:
		h.term++
		if h.IntN(4) == 0 {
			h.epoch++
		}
		c.Token = h.token(h.term)
		c.Op = TermStart{Node: fmt.Sprint("n", h.IntN(3)), ClusterID: "c", Reason: "why", At: at}
	case n < 30:
		c.Op = h.commit(at)
	case n < 60:
		c.Op = h.outbox(at)
	case n < 68:
		c.Op = h.maintenance(at)
	case n < 80:
		c.Op = h.adopt(at)
	case n < 82:
		c.Op = h.logon()
	case n < 84:
		c.Op = SetConfig{Expect: h.version() + uint64(h.IntN(4)/3), Text: h.text(), Author: "ann", At: at}
	case n < 86:
		c.Op = SetManagementGroup{Name: fmt.Sprint("MG", h.IntN(2)), Force: h.IntN(2) == 0}
	case n < 90:
		c.Op = Rewind{Pipeline: h.pipe(), To: h.now - alert.Millis(h.IntN(60_000)), At: at}
	case n < 95:
		c.Op = Unpark{Pipeline: h.pipe(), Keys: []alert.ID{testID(h.IntN(10)), testID(h.IntN(10))}}
	default:
		h.day += h.IntN(5)
		op := SetPipelines{Names: historyPipes[:h.IntN(4)], At: t0.AddDate(0, 0, h.day)}
		if h.IntN(2) == 0 {
			op.Carry = map[string]string{h.pipe(): h.pipe(), h.pipe(): h.pipe()}
		}
		c.Op = op
	}
	return c
}

func (h *history) token(term uint64) Token {
	t := tok(term)
	t.Epoch.Number += h.epoch
	return t
}

// text is one of few, so that the same comes again, but more than are kept.
func (h *history) text() []byte { return fmt.Append(nil, h.IntN(60)) }

func (h *history) version() uint64 {
	if len(h.used) == 0 {
		return 0
	}
	return h.used[len(h.used)-1].Version
}

func (h *history) node() string { return fmt.Sprint("n", h.IntN(3)) }

func (h *history) maintenance(at time.Time) Op {
	op := SetMaintenance{Node: h.node(), On: h.IntN(2) == 0, Sticky: h.IntN(2) == 0, Start: uint64(h.IntN(3)), Author: "ann", At: at}
	for range h.IntN(3) {
		op.Unless = append(op.Unless, h.node())
	}
	return op
}

func (h *history) logon() Op {
	at := t0.Add(time.Duration(h.now-ms0) * time.Millisecond)
	return NoteLogon{Account: h.node(), Secret: uint16(h.IntN(3)), Event: LogonEvent(1 + h.IntN(4)), At: at, Until: at.Add(time.Duration(h.IntN(60)) * time.Second),
		Reason: "401", Console: "scom1", Node: h.node()}
}

func (h *history) adopt(at time.Time) Op {
	switch h.IntN(3) {
	case 0:
		c := h.commit(at)
		return AdoptPipeline{Node: h.node(), Epoch: epoch2, Pipeline: c.Pipeline, Parked: c.Parked, Raised: c.Raised}
	case 1:
		op := AdoptSettings{Node: h.node(), Epoch: epoch2, Text: h.text(), Author: "bob", At: at}
		if len(h.used) > 0 { // all of them are common, or all but the last
			op.Known = slices.Clone(h.used[:len(h.used)-h.IntN(2)])
		}
		return op
	}
	return AdoptNote{Node: h.node(), Epoch: epoch2, Text: fmt.Sprint("note ", h.IntN(40)), At: at}
}

func (h *history) commit(at time.Time) Commit {
	c := Commit{Pipeline: h.pipe(), Start: h.IntN(10) == 0, Floor: h.now - 100_000}
	c.Rewinds = h.rewinds[c.Pipeline]
	if h.IntN(10) == 0 { // made before or after that
		c.Rewinds += uint64(h.IntN(3)) - min(1, c.Rewinds)
	}
	if h.IntN(4) > 0 {
		c.Cursor = h.now - alert.Millis(h.IntN(20_000))
	}
	if h.IntN(3) == 0 {
		c.Forget = h.now - alert.Millis(h.IntN(60_000))
	}
	// Either many new ones, so that forgetting goes one by one, or few that change and change again.
	ids := 30
	if h.IntN(2) == 0 {
		ids = 5_000
	}
	for range h.IntN(40) {
		v := alert.Version{ID: testID(h.IntN(ids)), LastModified: h.now - alert.Millis(h.IntN(40)*500)}
		if h.IntN(2) == 0 {
			v.State = 255
		}
		if h.IntN(5) == 0 {
			c.Handled = append(c.Handled, v)
		} else {
			c.Sent = append(c.Sent, v)
		}
	}
	if h.IntN(4) == 0 {
		c.Parked = []Parked{{Key: testID(h.IntN(10)), At: at, Answer: fmt.Sprint(h.now)}}
	}
	if h.IntN(4) == 0 {
		c.Raised = []string{fmt.Sprint("k", h.IntN(4))}
		c.Cleared = []string{fmt.Sprint("k", h.IntN(4))}
	}
	return c
}

func TestRandomHistoriesAgreeWithTheModel(t *testing.T) {
	seeds := []uint64{*seedFlag}
	if *seedFlag == 0 {
		seeds = seeds[:0]
		for range *histories {
			seeds = append(seeds, rand.Uint64())
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { checkHistory(t, seed, 300) })
	}
}

// checkHistory compares the state with the model after each command, and with a state that now and
// then goes through a snapshot, as a restarted node does.
func checkHistory(t *testing.T, seed uint64, commands int) {
	h := &history{Rand: rand.New(rand.NewPCG(seed, 1)), now: ms0}
	m := &model{pipes: map[string]*modelPipe{}, flags: map[string]Maintenance{}, logons: map[string]Logon{}}
	s, restarted := New(), New()
	for i := range commands {
		h.used = h.used[:0]
		for _, v := range slices.Backward(s.ConfigHistory()) {
			h.used = append(h.used, ConfigSum{Version: v.Version, Sum: v.Sum()})
		}
		h.rewinds = map[string]uint64{}
		for _, p := range s.Pipelines() {
			h.rewinds[p.Name] = p.Rewinds
		}
		c := h.command()
		b, err := Encode(c)
		if err != nil {
			t.Fatalf("command %d, %+v: %v", i, c, err)
		}
		before, cursors := snapshotBytes(t, s), s.Pipelines()
		version, rewindVersion := s.OutboxVersion(), s.RewindVersion()
		settings, steering := s.Config().Version, s.SteeringChanged()
		res, parts, err := s.Apply(0, uint64(i), b)
		if err != nil {
			t.Fatalf("command %d, %+v: %v", i, c, err)
		}
		if touched := slices.ContainsFunc(parts, func(p Part) bool { return p.Kind >= PartOutbox }); touched != (s.OutboxVersion() > version) {
			t.Fatalf("command %d, %+v: parts %v, and the outbox's version went from %d to %d", i, c, parts, version, s.OutboxVersion())
		}
		if _, rewound := c.Op.(Rewind); (rewound && res.Err == nil) != (s.RewindVersion() > rewindVersion) {
			t.Fatalf("command %d, %+v: %+v, and the count of rewinds went from %d to %d", i, c, res, rewindVersion, s.RewindVersion())
		}
		if steered := s.RewindVersion() > rewindVersion || s.Config().Version != settings; steered != isClosed(steering) {
			t.Fatalf("command %d, %+v: settings %d then %d, %d then %d rewinds, and that this was told is %v", i, c, settings, s.Config().Version, rewindVersion, s.RewindVersion(), isClosed(steering))
		}
		m.box.id = ""
		if want := m.apply(c); !errors.Is(res.Err, want) {
			t.Fatalf("command %d, %+v: got %v, the model says %v", i, c, res.Err, want)
		}
		if res.ID != m.box.id {
			t.Fatalf("command %d, %+v: done as %q, the model says %q", i, c, res.ID, m.box.id)
		}
		after := snapshotBytes(t, s)
		if res.Err != nil && (!bytes.Equal(before, after) || len(parts) > 0) {
			t.Fatalf("command %d, %+v: refused, and yet changed something", i, c)
		}
		if res.Err == nil && len(parts) == 0 && !bytes.Equal(before, after) {
			t.Fatalf("command %d, %+v: changed something, and names no part", i, c)
		}
		if !slices.IsSortedFunc(parts, Part.compare) || len(slices.Compact(slices.Clone(parts))) != len(parts) {
			t.Fatalf("command %d, %+v: parts %v are not a sorted set", i, c, parts)
		}
		checkCursors(t, c, cursors, s)
		compareModel(t, s, m)

		if h.IntN(10) == 0 {
			restored := New()
			if err := restored.Restore(bytes.NewReader(snapshotBytes(t, restarted))); err != nil {
				t.Fatalf("command %d: %v", i, err)
			}
			restarted = restored
		}
		again, againParts, err := restarted.Apply(0, uint64(i), b)
		if err != nil || again != res || !reflect.DeepEqual(againParts, parts) {
			t.Fatalf("command %d, %+v: after a restart %+v %v %v, without %+v %v", i, c, again, againParts, err, res, parts)
		}
		if !bytes.Equal(after, snapshotBytes(t, restarted)) {
			t.Fatalf("command %d, %+v: a node that restarted has another snapshot than one that did not", i, c)
		}
		if t.Failed() {
			t.Fatalf("after command %d, %+v", i, c)
		}
	}
}

// checkCursors holds each cursor against where it was.
func checkCursors(t *testing.T, c Command, before []PipelineInfo, s *State) {
	t.Helper()
	switch c.Op.(type) {
	case Rewind, SetPipelines:
		return
	}
	for _, was := range before {
		if is, ok := s.Pipeline(was.Name); !ok || is.Cursor < was.Cursor {
			t.Errorf("%T moved the cursor of %s from %v back to %v", c.Op, was.Name, was.Cursor, is.Cursor)
		}
	}
}

func compareModel(t *testing.T, s *State, m *model) {
	t.Helper()
	totals := m.gone
	if got, want := len(s.Pipelines()), len(m.pipes); got != want {
		t.Errorf("%d pipelines, the model has %d", got, want)
	}
	for name, want := range m.pipes {
		totals.Accepted += want.totals.Accepted
		totals.Parked += want.totals.Parked
		got, ok := s.Pipeline(name)
		if !ok || got.Started != want.started || got.Cursor != want.cursor || got.Floor != want.floor || got.Rewinds != want.rewinds ||
			got.Remembered != len(want.sent) || got.ParkedNow != len(want.parked) || len(got.Raised) != len(want.raised) ||
			got.Accepted != want.totals.Accepted || got.ParkedEver != want.totals.Parked || !got.RemovedAt.Equal(want.removed) {
			t.Errorf("pipeline %s: got %+v, the model has %+v", name, got, want)
		}
		open := 0
		for id, v := range want.sent {
			if is, ok := s.Sent(name, id); !ok || is != v {
				t.Errorf("pipeline %s: remembers %v (%v), the model %v", name, is, ok, v)
			}
			if v.State != 255 {
				open++
			}
		}
		if got := len(s.Open(name)); got != open {
			t.Errorf("pipeline %s: %d open, the model has %d", name, got, open)
		}
		for _, e := range s.ParkedList(name) {
			if want.parked[e.Key] != e.Answer {
				t.Errorf("pipeline %s: parked %+v, the model has %q", name, e, want.parked[e.Key])
			}
		}
		for _, k := range got.Raised {
			if !want.raised[k] || !s.Raised(name, k) {
				t.Errorf("pipeline %s: %s is raised, not in the model", name, k)
			}
		}
	}
	if got := s.Totals(); got != totals {
		t.Errorf("totals %+v, the model has %+v", got, totals)
	}
	if s.Token() != m.token || s.ManagementGroup() != m.group || s.Config().Version != uint64(len(m.text)) {
		t.Errorf("token %v, group %q, config %d; the model has %v, %q, %d", s.Token(), s.ManagementGroup(), s.Config().Version, m.token, m.group, len(m.text))
	}
	for _, v := range s.ConfigHistory() {
		if want := m.text[v.Version-1]; string(v.Text) != want {
			t.Errorf("version %d of the settings is %q, the model has %q", v.Version, v.Text, want)
		}
	}
	compareOffice(t, s, m)
	compareOutbox(t, s, &m.box)
}

// compareOffice holds flags and notes against the model's.
func compareOffice(t *testing.T, s *State, m *model) {
	t.Helper()
	var flags []Maintenance
	for _, name := range slices.Sorted(maps.Keys(m.flags)) {
		flags = append(flags, m.flags[name])
	}
	var logons []Logon
	for _, key := range slices.Sorted(maps.Keys(m.logons)) {
		logons = append(logons, m.logons[key])
	}
	if got := s.Logons(); !slices.Equal(got, logons) {
		t.Errorf("log-ons %+v, the model has %+v", got, logons)
	}
	if got := s.Maintenance(); !slices.Equal(got, flags) {
		t.Errorf("maintenance %+v, the model has %+v", got, flags)
	}
	for i := range 3 {
		name := fmt.Sprint("n", i)
		if _, want := m.flags[name]; s.InMaintenance(name) != want {
			t.Errorf("%s in maintenance: %v, the model says %v", name, !want, want)
		}
	}
	var notes []string
	for _, n := range s.Notes() {
		notes = append(notes, n.Node+": "+n.Text)
	}
	if !slices.Equal(notes, m.notes) {
		t.Errorf("notes %q, the model has %q", notes, m.notes)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
