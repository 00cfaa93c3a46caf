package poller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
	"scomconnector/test/logbuf"
)

const ourAccount = `CONTOSO\svc-moogsoft`

// fakeTarget is a fakeSCOM that can be written to, with what may go wrong.
type fakeTarget struct {
	*fakeSCOM
	perWrite time.Duration
	// fate decides about a write; nil: all succeed.
	fate     func(ids []alert.ID, state uint8) fate
	object   map[alert.ID][]alert.Objection // the next answers for an alert, in turn; the last one stays
	vague    bool                           // objections do not name the alert
	noReset  bool
	noFields bool
	noMarks  bool
	lookFate func(alert.ID) error
	// fieldFate decides about a change of fields; nil: all succeed.
	fieldFate func(alert.ID) fate

	wmu      sync.Mutex            // guards what follows
	comments map[alert.ID][]string // of the histories
	effects  map[string][]int      // by alert and mark: the states that writes with it have set
	states   map[alert.ID][]int    // set by us, in order
	writes   int                   // SetState calls
	largest  int                   // most alerts of one
	looked   map[alert.ID]int      // histories read
	resets   map[alert.ID]int
	fields   map[alert.ID]map[string]string
	fielded  map[string]int // changes of fields, by alert and the values written
}

type fate int

const (
	goesWell    fate = iota
	answerLost       // done, but nobody knows
	requestLost      // not done, and nobody knows
	noWay            // not sent
	badRequest       // refused as a whole
)

func newTarget() *fakeTarget {
	return &fakeTarget{fakeSCOM: newSCOM(), object: map[alert.ID][]alert.Objection{}, comments: map[alert.ID][]string{}, effects: map[string][]int{},
		states: map[alert.ID][]int{}, looked: map[alert.ID]int{}, resets: map[alert.ID]int{}, fields: map[alert.ID]map[string]string{}, fielded: map[string]int{}}
}

func (f *fakeTarget) Account() string { return ourAccount }

var markPattern = regexp.MustCompile(`\[sc:([^\]]+)\]`)

func (f *fakeTarget) SetState(ctx context.Context, ids []alert.ID, state uint8, comment string) (alert.Written, error) {
	var fortune fate
	if f.fate != nil {
		fortune = f.fate(ids, state)
	}
	fault := func(class alert.FaultClass, unknown bool) (alert.Written, error) {
		return alert.Written{}, &alert.Fault{Class: class, Console: "scom1", All: true, Unknown: unknown, Err: errors.New("switched off")}
	}
	if !sleep(ctx, f.perWrite) {
		return alert.Written{}, ctx.Err()
	}
	switch fortune {
	case noWay:
		return fault(alert.FaultTransport, false)
	case requestLost:
		return fault(alert.FaultTimeout, true)
	case badRequest:
		return fault(alert.FaultCriteria, false)
	}
	f.wmu.Lock()
	defer f.wmu.Unlock()
	f.writes++
	f.largest = max(f.largest, len(ids))
	w := alert.Written{Objections: map[alert.ID]alert.Objection{}}
	for _, id := range ids {
		a, ok := f.newest(id)
		if list := f.object[id]; len(list) > 0 {
			w.Objections[id] = list[0]
			if len(list) > 1 {
				f.object[id] = list[1:]
			}
			continue
		}
		if !ok {
			w.Objections[id] = alert.Objection{Kind: alert.ObjectionNoAlert, Text: "was not found"}
			continue
		}
		a.ResolutionState, a.LastModifiedBy, a.LastModified = state, ourAccount, f.now()
		f.put(a, 0)
		f.comments[id] = append(f.comments[id], comment)
		f.states[id] = append(f.states[id], int(state))
		for _, m := range markPattern.FindAllStringSubmatch(comment, -1) {
			key := id.String() + " " + m[1]
			f.effects[key] = append(f.effects[key], int(state))
		}
	}
	if f.vague && len(w.Objections) > 0 {
		w = alert.Written{Vague: &alert.Objection{Text: "no"}}
	}
	if fortune == answerLost {
		return fault(alert.FaultTimeout, true)
	}
	return w, nil
}

func (s *fakeSCOM) newest(id alert.ID) (alert.Alert, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cs := s.alerts[id]
	if len(cs) == 0 {
		return alert.Alert{}, false
	}
	return cs[len(cs)-1].a, true
}

func (f *fakeTarget) SetFields(_ context.Context, id alert.ID, fields []alert.Field) (alert.Written, error) {
	if f.noFields {
		return alert.Written{}, alert.ErrUnsupported
	}
	fortune := goesWell
	f.get(func() {
		if f.fieldFate != nil {
			fortune = f.fieldFate(id)
		}
	})
	lost := &alert.Fault{Class: alert.FaultTimeout, Console: "scom1", All: true, Unknown: fortune != noWay, Err: errors.New("switched off")}
	if fortune == noWay || fortune == requestLost {
		return alert.Written{}, lost
	}
	f.wmu.Lock()
	defer f.wmu.Unlock()
	a, ok := f.newest(id)
	if !ok {
		return alert.Written{Objections: map[alert.ID]alert.Objection{id: {Kind: alert.ObjectionNoAlert, Text: "was not found"}}}, nil
	}
	before := a
	for _, x := range fields {
		setField(&a, x)
	}
	if a == before {
		return alert.Written{Unchanged: true}, nil
	}
	a.LastModifiedBy, a.LastModified = ourAccount, f.now()
	f.put(a, 0)
	if f.fields[id] == nil {
		f.fields[id] = map[string]string{}
	}
	for _, x := range fields {
		f.fields[id][x.Name] = x.Value
	}
	f.fielded[fmt.Sprint(id, " ", fields)]++
	if fortune == answerLost {
		return alert.Written{}, lost
	}
	return alert.Written{}, nil
}

func (f *fakeTarget) ResetMonitor(_ context.Context, id alert.ID) (alert.Written, error) {
	if f.noReset {
		return alert.Written{}, alert.ErrUnsupported
	}
	f.wmu.Lock()
	defer f.wmu.Unlock()
	f.resets[id]++
	return alert.Written{}, nil
}

func (f *fakeTarget) Marked(_ context.Context, id alert.ID, marks []string) ([]string, error) {
	if f.noMarks {
		return nil, alert.ErrUnsupported
	}
	if f.lookFate != nil {
		if err := f.lookFate(id); err != nil {
			return nil, err
		}
	}
	f.wmu.Lock()
	defer f.wmu.Unlock()
	f.looked[id]++
	var found []string
	for _, m := range marks {
		if slices.ContainsFunc(f.comments[id], func(c string) bool { return strings.Contains(c, "[sc:"+m+"]") }) {
			found = append(found, m)
		}
	}
	return found, nil
}

func (f *fakeTarget) get(read func()) {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	read()
}

// fakeOutbox is a replicated outbox that outlives terms.
type fakeOutbox struct {
	mu      sync.Mutex // guards all
	waiting []Close
	settled map[string]Settlement
	twice   []string // settled although they were
	fail    func([]Settlement) error
	balk    func([]Begun) error // fails a Begin
	begun   int                 // Begin calls that succeeded
	changed chan struct{}
	n       int
}

func newOutbox() *fakeOutbox {
	return &fakeOutbox{settled: map[string]Settlement{}, changed: make(chan struct{}, 1)}
}

func (o *fakeOutbox) Waiting(limit int) []Close {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.waiting[:min(limit, len(o.waiting))])
}

func (o *fakeOutbox) Changed() <-chan struct{} { return o.changed }

func (o *fakeOutbox) Begin(ctx context.Context, list []Begun) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.balk != nil {
		if err := o.balk(list); err != nil {
			return err
		}
	}
	o.begun++
	for _, b := range list {
		for i := range o.waiting {
			if o.waiting[i].ID == b.ID {
				o.waiting[i].Doubtful, o.waiting[i].Seen = true, b.Seen
			}
		}
	}
	return nil
}

func (o *fakeOutbox) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *fakeOutbox) Settle(ctx context.Context, list []Settlement) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.fail != nil {
		if err := o.fail(list); err != nil {
			return err
		}
	}
	for _, s := range list {
		if _, ok := o.settled[s.ID]; ok {
			o.twice = append(o.twice, s.ID)
		}
		o.settled[s.ID] = s
	}
	o.waiting = slices.DeleteFunc(o.waiting, func(c Close) bool { _, gone := o.settled[c.ID]; return gone })
	return nil
}

// ask accepts a request and returns its id.
func (o *fakeOutbox) ask(c Close) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n++
	c.ID, c.At = fmt.Sprintf("%016x", o.n), time.Now()
	o.waiting = append(o.waiting, c)
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return c.ID
}

func (o *fakeOutbox) close(n int) string { return o.ask(Close{Alert: id(n), State: alert.StateClosed}) }

func (o *fakeOutbox) outcome(id string) Settlement {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.settled[id]
}

func (o *fakeOutbox) pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting)
}

// writeRig is a writeback in its world; it lives in a bubble.
type writeRig struct {
	t    *testing.T
	scom *fakeTarget
	out  *fakeOutbox
	cfg  WritebackConfig
	log  logbuf.Buffer
	w    *Writeback
	stop func() error
	done chan error
}

func newWriteRig(t *testing.T) *writeRig {
	return &writeRig{t: t, scom: newTarget(), out: newOutbox(), cfg: WritebackConfig{LowerBackoff: 10 * time.Second, UpperBackoff: time.Minute}}
}

// begin starts a term.
func (r *writeRig) begin() {
	ctx, cancel := context.WithCancel(r.t.Context())
	r.w = NewWriteback(r.cfg, WritebackDeps{Target: r.scom, Outbox: r.out, Rand: rand.Float64, Log: hclog.New(&hclog.LoggerOptions{Output: &r.log})})
	r.done = make(chan error, 1)
	w, done := r.w, r.done
	go func() { done <- w.Run(ctx) }()
	r.stop = func() error {
		cancel()
		return <-done
	}
	r.t.Cleanup(cancel)
	r.pass(0)
}

func (r *writeRig) pass(d time.Duration) { (&rig{}).pass(d) }

// end ends the term and checks what always holds.
func (r *writeRig) end() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Errorf("Run: %v, want nil when its context ends", err)
	}
	r.once()
}

// once checks the promise: at most one visible effect for each request, and none settled twice.
func (r *writeRig) once() {
	r.t.Helper()
	r.scom.get(func() {
		for _, mark := range slices.Sorted(maps.Keys(r.scom.effects)) {
			if n := len(r.scom.effects[mark]); n > 1 {
				r.t.Errorf("request %s has been written %d times", mark, n)
			}
		}
	})
	if len(r.out.twice) > 0 {
		r.t.Errorf("settled twice: %v", r.out.twice)
	}
}

func (r *writeRig) want(request string, outcome Outcome, words ...string) {
	r.t.Helper()
	got := r.out.outcome(request)
	if got.Outcome != outcome {
		r.t.Errorf("request %s: outcome %s, want %s (%s)", request, name(got.Outcome), name(outcome), got.Reason)
	}
	for _, w := range words {
		if !strings.Contains(got.Reason, w) {
			r.t.Errorf("request %s: reason %q, want %q in it", request, got.Reason, w)
		}
	}
}

func name(o Outcome) string { return cmp.Or(outcomeNames[o], "none") }

func (r *writeRig) wantStates(n int, want ...int) {
	r.t.Helper()
	r.scom.get(func() {
		if got := r.scom.states[id(n)]; !slices.Equal(got, want) {
			r.t.Errorf("alert %d: states written %v, want %v", n, got, want)
		}
	})
}
