package poller

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
	"scomconnector/test/logbuf"
)

func id(n int) alert.ID {
	var i alert.ID
	binary.BigEndian.PutUint64(i[8:], uint64(n)+1)
	return i
}

// fakeSCOM is a table of alerts that changes with the (fake) clock. It shows one row per alert: the newest
// version that has been committed by now.
type fakeSCOM struct {
	mu      sync.Mutex
	alerts  map[alert.ID][]*change
	skew    time.Duration // of the console's and the database's clock against ours
	ahead   time.Duration // of the console's clock against the database's
	noDate  bool
	perPoll time.Duration // how long an answer takes
	perRow  time.Duration
	twice   bool                      // every third row is shown twice
	broken  []alert.Row               // shown in every answer to a delta question
	fault   func(q alert.Query) error // asked first; an error cuts the answer after cut rows
	cut     int                       // rows shown before fault's error
	polls   []alert.Query             // completely read ones, in order
	asked   int                       // all polls
	shown   []alert.Version           // versions of completely read answers in this term
	pollsAt []time.Time
}

type change struct {
	a       alert.Alert
	visible time.Time // our clock
}

func newSCOM() *fakeSCOM { return &fakeSCOM{alerts: make(map[alert.ID][]*change)} }

func (s *fakeSCOM) now() time.Time { return time.Now().UTC().Add(s.skew) }

// set changes an alert now; it becomes visible after late.
func (s *fakeSCOM) set(n int, state uint8, late time.Duration) alert.Version {
	return s.setAt(n, state, s.now(), late)
}

func (s *fakeSCOM) setAt(n int, state uint8, at time.Time, late time.Duration) alert.Version {
	return s.put(alert.Alert{ID: id(n), LastModified: at, ResolutionState: state, Name: "disk full"}, late)
}

func (s *fakeSCOM) put(a alert.Alert, late time.Duration) alert.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.LastModified = a.LastModified.Truncate(time.Millisecond)
	s.alerts[a.ID] = append(s.alerts[a.ID], &change{a: a, visible: time.Now().Add(late)})
	return a.Version()
}

func (s *fakeSCOM) groom(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.alerts, id(n))
}

// last is the newest visible version of each alert.
func (s *fakeSCOM) last() map[alert.ID]alert.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[alert.ID]alert.Version)
	for _, a := range s.visible(func(*alert.Alert) bool { return true }) {
		m[a.ID] = a.Version()
	}
	return m
}

func (s *fakeSCOM) visible(wanted func(*alert.Alert) bool) []*alert.Alert {
	now := time.Now()
	var all []*alert.Alert
	for _, cs := range s.alerts {
		var newest *alert.Alert
		for _, c := range cs {
			if !c.visible.After(now) && (newest == nil || !c.a.LastModified.Before(newest.LastModified)) {
				newest = &c.a
			}
		}
		if newest != nil && wanted(newest) {
			all = append(all, newest)
		}
	}
	return all
}

func matches(q alert.Query, asked map[alert.ID]bool, a *alert.Alert) bool {
	if len(q.IDs) > 0 {
		return asked[a.ID]
	}
	m := alert.MillisOf(a.LastModified)
	changed := m >= q.From/1000*1000 && (q.To == 0 || m < q.To)
	if q.Open && q.OpenOr {
		return changed || !a.Closed()
	}
	return changed && (!q.Open || !a.Closed())
}

func (s *fakeSCOM) Poll(ctx context.Context, q alert.Query, row func(alert.Row) error) (alert.Answer, error) {
	s.mu.Lock()
	s.asked++
	var fault error
	if s.fault != nil {
		fault = s.fault(q)
	}
	date := s.now().Add(s.ahead).Truncate(time.Second)
	asked := make(map[alert.ID]bool)
	for _, id := range q.IDs {
		asked[id] = true
	}
	rows := s.visible(func(a *alert.Alert) bool { return matches(q, asked, a) })
	broken := slices.Clone(s.broken)
	cut, twice, perPoll, perRow := s.cut, s.twice, s.perPoll, s.perRow
	s.mu.Unlock()

	began := time.Now()
	if !sleep(ctx, perPoll) {
		return alert.Answer{}, ctx.Err()
	}
	if fault != nil && cut == 0 {
		return alert.Answer{}, fault
	}
	n := 0
	show := func(r alert.Row) error {
		if fault != nil && n >= cut {
			return fault
		}
		n++
		if perRow > 0 && !sleep(ctx, perRow) {
			return ctx.Err()
		}
		return row(r)
	}
	var shown []alert.Version
	for _, a := range rows { // in the map's order: none
		shown = append(shown, a.Version())
		for range 1 + min(1, n%3)*boolInt(twice) {
			row := *a
			if err := show(alert.Row{Alert: &row, ID: a.ID}); err != nil {
				return alert.Answer{}, err
			}
		}
	}
	if !q.Open && len(q.IDs) == 0 {
		for _, r := range broken {
			if err := show(r); err != nil {
				return alert.Answer{}, err
			}
		}
	}
	if fault != nil {
		return alert.Answer{}, fault
	}
	if err := ctx.Err(); err != nil {
		return alert.Answer{}, err
	}
	s.mu.Lock()
	s.polls, s.pollsAt = append(s.polls, q), append(s.pollsAt, began)
	s.shown = append(s.shown, shown...)
	s.mu.Unlock()
	ans := alert.Answer{ServerDate: alert.MillisOf(date), Rows: n, Duration: time.Since(began), Console: "scom1"}
	if s.noDate {
		ans.ServerDate = 0
	}
	return ans, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *fakeSCOM) setFault(f func(q alert.Query) error) {
	s.mu.Lock()
	s.fault = f
	s.mu.Unlock()
}

func faultAll(class alert.FaultClass) func(alert.Query) error {
	return func(alert.Query) error {
		return &alert.Fault{Class: class, Console: "scom1", All: true, Err: errors.New("switched off")}
	}
}

// fakeLAM takes events, and remembers.
type fakeLAM struct {
	mu       sync.Mutex
	away     bool
	back     chan struct{} // of what it answers while away
	every    int           // every n-th request is answered 502
	slow     time.Duration // an answer takes so long
	refuse   func(e alert.Event) bool
	refuseDo string // the cure it knows
	mark     uint64 // accepted requests
	requests int
	got      []taken
	own      []string            // "kind severity"
	onTaken  func([]alert.Event) // after the acceptance, before the answer arrives
}

type taken struct {
	v  alert.Version
	at time.Time
}

func (l *fakeLAM) Publish(ctx context.Context, batch []alert.Event) alert.Delivery {
	l.mu.Lock()
	slow := l.slow
	l.mu.Unlock()
	slept := sleep(ctx, slow)
	l.mu.Lock()
	defer l.mu.Unlock()
	d := alert.Delivery{Verdicts: make([]alert.Verdict, len(batch))}
	if !slept {
		d.Err = &alert.Away{LAM: "lam1", Err: ctx.Err()}
		return d
	}
	l.requests++
	if l.away || l.every > 0 && l.requests%l.every == 0 {
		d.Err = &alert.Away{LAM: "lam1", Back: l.back, Err: errors.New("502 bad gateway")}
		return d
	}
	var taken []alert.Event
	for i, e := range batch {
		if l.refuse != nil && l.refuse(e) {
			d.Verdicts[i] = alert.Refused
			d.Refusals = append(d.Refusals, alert.Refusal{Index: i, LAM: "lam1", Status: 400, Answer: "no", Mark: l.mark, Do: l.refuseDo})
			continue
		}
		d.Verdicts[i] = alert.Accepted
		taken = append(taken, e)
	}
	if len(taken) > 0 {
		l.mark++
		l.keep(taken)
	}
	return d
}

// session is one term's way to the LAM. Its calls must not overlap.
type session struct {
	*fakeLAM
	inside atomic.Bool
}

func (s *session) Publish(ctx context.Context, batch []alert.Event) alert.Delivery {
	if !s.inside.CompareAndSwap(false, true) {
		panic("calls of Publish overlap")
	}
	defer s.inside.Store(false)
	return s.fakeLAM.Publish(ctx, batch)
}

func (l *fakeLAM) keep(events []alert.Event) {
	for _, e := range events {
		if e.Kind != "" {
			l.own = append(l.own, string(e.Body))
			continue
		}
		if got, want := string(e.Body), body(e.Version); got != want {
			panic("event of " + want + " has the body " + got)
		}
		l.got = append(l.got, taken{e.Version, time.Now()})
	}
	if l.onTaken != nil {
		l.onTaken(events)
	}
}

func (l *fakeLAM) Proven(r alert.Refusal) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mark > r.Mark
}

func (l *fakeLAM) set(f func(l *fakeLAM)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

func (l *fakeLAM) taken() []taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (l *fakeLAM) owns() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.own)
}

func body(v alert.Version) string {
	return fmt.Sprintf(`"%x %d %d"`, v.ID[8:], v.LastModified, v.State)
}

// fakeEncoder makes events whose body names the version.
type fakeEncoder struct {
	wants  func(a *alert.Alert) bool
	refuse func(a *alert.Alert) bool

	mu   sync.Mutex
	told []string // descriptions of own events
}

func (e *fakeEncoder) Wants(a *alert.Alert) bool { return e.wants == nil || e.wants(a) }

func (e *fakeEncoder) Append(dst []byte, a *alert.Alert) ([]byte, error) {
	if e.refuse != nil && e.refuse(a) {
		return append(dst, "half an ev"...), errors.New("too big")
	}
	return append(dst, body(a.Version())...), nil
}

func (e *fakeEncoder) AppendOwn(dst []byte, o alert.Own) ([]byte, error) {
	e.mu.Lock()
	e.told = append(e.told, o.Description)
	e.mu.Unlock()
	return fmt.Appendf(dst, "%s %d", o.Kind, o.Severity), nil
}

// fakeState is the replicated state of one pipeline; ledgers of terms come and go.
type fakeState struct {
	mu      sync.Mutex
	pos     Position
	sent    map[alert.ID]alert.Version
	parked  map[alert.ID]Parked
	raised  map[string]bool
	room    int // ids the map may hold
	term    int
	rewinds int
	commits []Commit
	maxPark int
	slow    time.Duration
	faults  int // the next so many commits fail with an error nobody knows
	largest int // payload of a parked entry that fits; zero: any does
	tried   int // commits of parked entries
	count   int // versions accepted, as the replicated state counts them
}

func newState() *fakeState {
	return &fakeState{
		sent: make(map[alert.ID]alert.Version), parked: make(map[alert.ID]Parked), raised: make(map[string]bool), room: 500_000, maxPark: 1000,
	}
}

// rewind puts the cursor back.
func (s *fakeState) rewind(to alert.Millis) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rewinds++
	s.pos.Cursor = min(s.pos.Cursor, to)
	maps.DeleteFunc(s.sent, func(_ alert.ID, v alert.Version) bool { return v.LastModified >= to })
}

// fakeLedger is the state under one term's token.
type fakeLedger struct {
	s       *fakeState
	term    int
	rewinds int
}

func (s *fakeState) ledger() *fakeLedger {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term++
	return &fakeLedger{s, s.term, s.rewinds}
}

// ledgerOf reads without beginning a term.
func (s *fakeState) ledgerOf() *fakeLedger { return &fakeLedger{s: s} }

func (l *fakeLedger) Position() Position {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.pos
}

func (l *fakeLedger) Sent(id alert.ID) (alert.Version, bool) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	v, ok := l.s.sent[id]
	return v, ok
}

func (l *fakeLedger) Open() []alert.Version {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	var open []alert.Version
	for _, v := range l.s.sent {
		if v.State != alert.StateClosed {
			open = append(open, v)
		}
	}
	return open
}

func (l *fakeLedger) Room() int {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.room - len(l.s.sent)
}

func (l *fakeLedger) Raised(kind string) bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.raised[kind]
}

func (l *fakeLedger) Parked(key alert.ID) bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	_, ok := l.s.parked[key]
	return ok
}

func (l *fakeLedger) Entry(key alert.ID) (Parked, bool) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	p, ok := l.s.parked[key]
	return p, ok
}

func (l *fakeLedger) Unpark(ctx context.Context, key alert.ID) error {
	if !sleep(ctx, l.s.slow) {
		return ErrUnknownOutcome
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	switch {
	case l.s.term != l.term:
		return ErrTermOver
	case l.s.faults > 0:
		l.s.faults--
		return errors.New("disk is slow")
	}
	delete(l.s.parked, key)
	return nil
}

func (l *fakeLedger) Commit(ctx context.Context, c Commit) error {
	if !sleep(ctx, l.s.slow) {
		return ErrUnknownOutcome
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	s := l.s
	if len(c.Parked) > 0 {
		s.tried++
	}
	switch {
	case s.term != l.term:
		return ErrTermOver
	case s.rewinds != l.rewinds:
		return ErrRewound
	case s.faults > 0:
		s.faults--
		return fmt.Errorf("disk is slow, %d", s.faults)
	case len(s.parked)+len(c.Parked) > s.maxPark:
		return ErrParkedFull
	case s.largest > 0 && slices.ContainsFunc(c.Parked, func(p Parked) bool { return len(p.Payload) > s.largest }):
		return fmt.Errorf("commit: %w", ErrTooLarge)
	}
	if c.Start {
		s.pos.Started, s.pos.Floor = true, c.Floor
	}
	s.pos.Cursor = max(s.pos.Cursor, c.Cursor)
	for i, v := range slices.Concat(c.Sent, c.Handled) {
		if old, ok := s.sent[v.ID]; !ok || v.Supersedes(old) {
			s.sent[v.ID] = v
			if i < len(c.Sent) {
				s.count++
			}
		}
	}
	if len(s.sent) > s.room {
		panic("the delivered map overflows")
	}
	maps.DeleteFunc(s.sent, func(_ alert.ID, v alert.Version) bool {
		return v.State == alert.StateClosed && v.LastModified < c.Forget
	})
	for _, p := range c.Parked {
		s.parked[p.Key] = p
	}
	for _, k := range c.Raised {
		s.raised[k] = true
	}
	for _, k := range c.Cleared {
		delete(s.raised, k)
	}
	c.Sent, c.Handled = slices.Clone(c.Sent), slices.Clone(c.Handled)
	s.commits = append(s.commits, c)
	return nil
}

func (s *fakeState) get(f func(s *fakeState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// rig is a world with one pipeline. It lives in a synctest bubble.
type rig struct {
	t      *testing.T
	cfg    Config
	scom   *fakeSCOM
	lam    *fakeLAM
	enc    *fakeEncoder
	state  *fakeState
	log    logbuf.Buffer
	p      *Pipeline
	alarms func() []Alarm
	echo   func(*alert.Alert, alert.Version) bool
	stop   func() error // ends the term and returns what Run did
}

func newRig(t *testing.T, change func(*Config)) *rig {
	cfg := Defaults()
	cfg.Name = "default"
	if change != nil {
		change(&cfg)
	}
	return &rig{t: t, cfg: cfg, scom: newSCOM(), lam: &fakeLAM{}, enc: &fakeEncoder{}, state: newState()}
}

// begin starts a term.
func (r *rig) begin() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	r.p = New(r.cfg, Deps{Source: r.scom, Sink: &session{fakeLAM: r.lam}, Ledger: r.state.ledger(), Encoder: r.enc, Rand: rand.Float64, Echo: r.echo, Alarms: r.alarms, Log: hclog.New(&hclog.LoggerOptions{Output: &r.log})})
	done := make(chan error, 1)
	p := r.p
	go func() { done <- p.Run(ctx) }()
	r.stop = func() error {
		cancel()
		return <-done
	}
	r.t.Cleanup(cancel)
}

// end ends the term; a clean end is expected.
func (r *rig) end() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Errorf("Run: %v, want nil when its context ends", err)
	}
}

// pass lets time go by.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d) // in a bubble: the fake clock's
	synctest.Wait()
}

// delivered checks that the LAM has the newest visible version of every alert, as the last one of its id.
func (r *rig) delivered() {
	r.t.Helper()
	got := make(map[alert.ID]alert.Version)
	for _, x := range r.lam.taken() {
		got[x.v.ID] = x.v
	}
	missing := 0
	for id, v := range r.scom.last() {
		if got[id] != v {
			if missing++; missing <= 5 {
				r.t.Errorf("alert %s: the LAM has %v, SCOM shows %v", id, show(got[id]), show(v))
			}
		}
	}
	if missing > 5 {
		r.t.Errorf("and %d alerts more", missing-5)
	}
}

// all checks what must hold as long as no term ends: every version of a completely read answer has been
// taken, those of one alert in order, and none twice.
func (r *rig) all() {
	r.t.Helper()
	last := make(map[alert.ID]alert.Version)
	seen := make(map[alert.Version]bool)
	for _, x := range r.lam.taken() {
		if old, ok := last[x.v.ID]; ok && !x.v.Supersedes(old) {
			r.t.Errorf("alert %s: %s was taken after %s", x.v.ID, show(x.v), show(old))
		}
		last[x.v.ID], seen[x.v] = x.v, true
	}
	for _, v := range r.scom.shown {
		if !seen[v] {
			r.t.Errorf("alert %s: %s was shown in a completely read answer and never taken", v.ID, show(v))
		}
	}
}

func show(v alert.Version) string { return fmt.Sprintf("%s/%d", v.LastModified, v.State) }

// repeated counts deliveries beyond the first of each version.
func (r *rig) repeated() int {
	seen := make(map[alert.Version]bool)
	n := 0
	for _, x := range r.lam.taken() {
		if seen[x.v] {
			n++
		}
		seen[x.v] = true
	}
	return n
}

func (r *rig) wantOwn(want ...string) {
	r.t.Helper()
	if got := r.lam.owns(); !slices.Equal(got, want) {
		r.t.Errorf("own events: got %s, want %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
