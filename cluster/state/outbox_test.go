package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

func requestID(n int) string { return fmt.Sprintf("%016x", uint64(n)*0x9E3779B97F4A7C15) }

// request asks for the close of an alert of its own.
func request(n int) Request {
	return Request{ID: requestID(n), Alert: testID(n), State: 255, Comment: "closed by Moogsoft", From: "10.0.0.7", Node: "primary", At: t0.Add(time.Duration(n) * time.Millisecond)}
}

func fullRequest(n int) Request {
	return with(request(n), func(q *Request) {
		q.Key, q.Keep, q.Doubtful = fmt.Sprint("key ", n), true, true
		q.Fields = []Field{{"CustomField1", ""}, {"TicketId", "INC1"}}
	})
}

func with(q Request, change func(*Request)) Request {
	change(&q)
	return q
}

func accept(q Request) Accept {
	return Accept{Request: q, MaxEntries: MaxOutbox, MaxBytes: MaxOutboxBytes}
}

func settle(at time.Time, x Outcome, ids ...string) Settle {
	op := Settle{At: at}
	for _, id := range ids {
		op.Settled = append(op.Settled, Settlement{ID: id, Outcome: x, Reason: "because"})
	}
	return op
}

func retry(ids ...string) Retry {
	return Retry{IDs: ids, MaxEntries: MaxOutbox, MaxBytes: MaxOutboxBytes}
}

// furnishOutbox leaves n and a few requests waiting, with gaps between them, two parked and two settled.
func furnishOutbox(t testing.TB, s *State, n int) {
	t.Helper()
	for i := range n/3 + 4 {
		mustApply(t, s, 1, accept(request(i)))
	}
	mustApply(t, s, 1, accept(with(fullRequest(0), func(q *Request) { q.ID, q.Key = "q", "parked key" })))
	mustApply(t, s, 1, accept(with(fullRequest(1), func(q *Request) { q.ID, q.Key = "w", "waiting key" })))
	mustApply(t, s, 1, settle(t0, Refused, "q"))
	mustApply(t, s, 1, settle(t0, Done, requestID(1)))
	mustApply(t, s, 1, AdoptOutbox{Node: "n", Parked: []ParkedRequest{{Request: with(request(2), func(q *Request) { q.ID = "a" }), Reason: "no", At: t0}}})
}

// fillParked parks n copies of a large request.
func (d *data) fillParked(n int) {
	for i := range n {
		p := *d.outbox.parked["q"]
		p.Request.ID, p.Request.Key = fmt.Sprint("r", i), ""
		d.outbox.parked[p.Request.ID] = &p
	}
}

// mustName applies an Accept and checks under which ID it is done.
func mustName(t *testing.T, s *State, q Request, want string) {
	t.Helper()
	before := s.OutboxVersion()
	res, parts := apply(t, s, 1, accept(q))
	if res.Err != nil || res.ID != want {
		t.Errorf("accept %s: got %q, %v, want %q", q.ID, res.ID, res.Err, want)
	}
	added := want == q.ID && len(parts) > 0
	if changed := s.OutboxVersion() != before; changed != added || (want != q.ID && len(parts) > 0) {
		t.Errorf("accept %s: done as %s, version changed: %v, parts %v", q.ID, res.ID, changed, parts)
	}
}

// waiting are the IDs in their order.
func waiting(s *State) string {
	var ids []string
	for _, q := range s.Outbox(MaxOutbox) {
		ids = append(ids, q.ID)
	}
	return strings.Join(ids, " ")
}

func mustWait(t *testing.T, s *State, want ...string) {
	t.Helper()
	if got := waiting(s); got != strings.Join(want, " ") {
		t.Errorf("waiting are %s, want %s", got, want)
	}
}

// named is a request of this ID for the alert n.
func named(id string, n int) Request { return with(request(n), func(q *Request) { q.ID = id }) }

func keyed(id string, n int, key string) Request {
	return with(named(id, n), func(q *Request) { q.Key = key })
}

func TestRequestsWaitInTheOrderInWhichTheyCame(t *testing.T) {
	s := started(t)
	const n = 500
	var want []string
	for i := range n {
		mustName(t, s, request(i), requestID(i))
		want = append(want, requestID(i))
	}
	mustWait(t, s, want...)
	for i := 0; i < n; i += 2 { // single ones, so that every chunk is thinned
		mustApply(t, s, 1, settle(t0, Done, requestID(i*7%n)))
		want = slices.DeleteFunc(want, func(id string) bool { return id == requestID(i*7%n) })
	}
	mustWait(t, s, want...)
	mustName(t, s, request(n), requestID(n))
	mustWait(t, s, append(want, requestID(n))...)
	if got := s.Outbox(3); len(got) != 3 || got[0].ID != want[0] || got[2].ID != want[2] {
		t.Errorf("got %+v, want the first three", got)
	}
	if got := s.Outbox(-1); len(got) != 0 {
		t.Errorf("got %d requests of at most -1", len(got))
	}
	bytes := 0
	for _, q := range s.Outbox(MaxOutbox) {
		bytes += q.size()
	}
	if pending, size, oldest := s.OutboxInfo(); pending != len(want)+1 || size != bytes || !oldest.Equal(s.Outbox(1)[0].At) {
		t.Errorf("got %d requests of %d bytes since %v, want %d of %d", pending, size, oldest, len(want)+1, bytes)
	}
	for _, id := range append(want, requestID(n)) {
		mustApply(t, s, 1, settle(t0, Done, id))
	}
	if pending, size, oldest := s.OutboxInfo(); pending != 0 || size != 0 || !oldest.IsZero() || waiting(s) != "" {
		t.Errorf("got %d requests of %d bytes since %v in an empty outbox", pending, size, oldest)
	}
}

func TestAProposalMayBeRepeated(t *testing.T) {
	s := started(t)
	q := request(1)
	mustName(t, s, q, q.ID)
	mustChangeNothing(t, s, accept(q))
	mustApply(t, s, 1, settle(t0, Refused, q.ID))
	mustChangeNothing(t, s, accept(q)) // its first outcome was not known, and SCOM was quicker
	mustApply(t, s, 1, Discard{IDs: []string{q.ID}})
	mustChangeNothing(t, s, accept(q))
	if res, _ := apply(t, s, 1, accept(q)); res.ID != q.ID {
		t.Errorf("got %q, want its own ID", res.ID)
	}
}

func TestWhatIsAskedTwiceIsDoneOnce(t *testing.T) {
	s := started(t)
	full := with(fullRequest(1), func(q *Request) { q.Key, q.Keep = "", false })
	mustName(t, s, full, full.ID)
	mustName(t, s, with(full, func(q *Request) {
		q.ID, q.From, q.Node, q.At, q.Doubtful = "b", "elsewhere", "secondary", t0.Add(time.Hour), false
	}), full.ID)
	for name, change := range map[string]func(*Request){
		"alert":   func(q *Request) { q.Alert = testID(99) },
		"state":   func(q *Request) { q.State = 254 },
		"keep":    func(q *Request) { q.Keep = true },
		"comment": func(q *Request) { q.Comment = "" },
		"fields":  func(q *Request) { q.Fields = q.Fields[:1] },
		"field":   func(q *Request) { q.Fields = []Field{{"CustomField1", ""}, {"TicketId", "INC2"}} },
	} {
		s := started(t)
		mustName(t, s, full, full.ID)
		mustName(t, s, with(full, func(q *Request) { q.ID = name; change(q) }), name)
	}
	keep := with(request(2), func(q *Request) { q.Keep, q.State = true, 0 })
	mustName(t, s, keep, keep.ID)
	mustName(t, s, with(keep, func(q *Request) { q.ID, q.State = "k", 7 }), keep.ID) // a state that is not asked for does not count
}

func TestOnlyTheNewestRequestOfAnAlertIsTheSame(t *testing.T) {
	s := started(t)
	open := func(id string) Request { return with(named(id, 1), func(q *Request) { q.State = 0 }) }
	mustName(t, s, named("close", 1), "close")
	mustName(t, s, open("open"), "open")
	mustName(t, s, named("close again", 1), "close again")
	mustName(t, s, named("close once more", 1), "close again")
	mustWait(t, s, "close", "open", "close again")
	mustApply(t, s, 1, settle(t0, Done, "open"))
	mustName(t, s, named("x", 1), "close again")
	mustApply(t, s, 1, settle(t0, Done, "close again"))
	mustName(t, s, named("y", 1), "close") // now the newest that waits
	mustApply(t, s, 1, settle(t0, Done, "close"))
	mustName(t, s, named("z", 1), "z") // settled, and posted again: a new one
}

func TestAKeyIsKnownWhereverItsRequestStands(t *testing.T) {
	s := started(t)
	mustName(t, s, keyed("a", 1, "k"), "a")
	mustName(t, s, keyed("b", 2, "k"), "a") // waiting
	mustName(t, s, named("c", 2), "c")      // no key is not the same key
	mustName(t, s, named("d", 3), "d")
	mustApply(t, s, 1, settle(t0, Refused, "a"))
	mustName(t, s, keyed("b", 2, "k"), "a") // parked
	late := with(keyed("b", 2, "k"), func(q *Request) { q.At = t0.Add(1000 * time.Hour) })
	mustName(t, s, late, "a") // parked, as long as that lasts
	mustApply(t, s, 1, retry("a"))
	mustName(t, s, keyed("b", 2, "k"), "a") // waiting again
	mustApply(t, s, 1, settle(t0, Done, "a"))
	mustName(t, s, with(keyed("b", 2, "k"), func(q *Request) { q.At = t0.Add(KeepSettled - 1) }), "a") // settled
	mustName(t, s, with(keyed("b", 9, "k"), func(q *Request) { q.At = t0.Add(KeepSettled) }), "b")
	mustName(t, s, keyed("e", 8, "k"), "b")
}

func TestADiscardedRequestsKeyIsForgottenWithIt(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, AdoptOutbox{Node: "n", Parked: []ParkedRequest{{Request: keyed("a", 1, "k"), At: t0}}})
	mustName(t, s, keyed("b", 1, "k"), "a")
	mustApply(t, s, 1, Discard{IDs: []string{"a"}})
	mustName(t, s, keyed("b", 1, "k"), "b")
}

func TestAFullOutboxAcceptsNothing(t *testing.T) {
	s := started(t)
	for i := range 3 {
		mustName(t, s, request(i), requestID(i))
	}
	_, size, _ := s.OutboxInfo()
	next := request(3)
	mustRefuse(t, s, 1, Accept{Request: next, MaxEntries: 3, MaxBytes: MaxOutboxBytes}, ErrOutboxFull)
	mustRefuse(t, s, 1, Accept{Request: next, MaxEntries: 4, MaxBytes: size + next.size() - 1}, ErrOutboxFull)
	// What is there already needs no room.
	if res, _ := apply(t, s, 1, Accept{Request: named("x", 1), MaxEntries: 1, MaxBytes: 1}); res.Err != nil || res.ID != requestID(1) {
		t.Errorf("got %+v, want the request that is there", res)
	}
	mustApply(t, s, 1, Accept{Request: next, MaxEntries: 4, MaxBytes: size + next.size()})
	mustApply(t, s, 1, settle(t0, Refused, next.ID))
	mustApply(t, s, 1, accept(request(4)))
	mustRefuse(t, s, 1, Retry{IDs: []string{next.ID}, MaxEntries: 4, MaxBytes: MaxOutboxBytes}, ErrOutboxFull)
	mustRefuse(t, s, 1, Retry{IDs: []string{next.ID}, MaxEntries: 5, MaxBytes: size + next.size()}, ErrOutboxFull)
	mustApply(t, s, 1, Retry{IDs: []string{next.ID}, MaxEntries: 5, MaxBytes: size + 2*next.size()})
}

func TestASettledRequestTellsHowItEnded(t *testing.T) {
	s := started(t)
	for i := range 3 {
		mustName(t, s, fullRequest(i), requestID(i))
	}
	if q, ok := s.Request(requestID(1)); !ok || q.Comment == "" || len(q.Fields) != 2 {
		t.Errorf("got %+v, %v, want the request as it was accepted", q, ok)
	}
	at := t0.Add(time.Hour)
	mustApply(t, s, 1, Settle{At: at, Settled: []Settlement{{requestID(0), Done, ""}, {requestID(1), Already, ""}, {"stranger", Refused, "x"},
		{requestID(2), Refused, strings.Repeat("ü", 1000)}, {requestID(0), Refused, "twice"}}})
	mustChangeNothing(t, s, settle(at, Refused, requestID(0), "stranger"))
	for i, want := range []Outcome{Done, Already, Refused} {
		e, ok := s.Settled(requestID(i))
		if q := e.Request; !ok || e.Outcome != want || !e.At.Equal(at) || q.Comment != "" || q.Fields != nil || q.Key != fmt.Sprint("key ", i) || q.From == "" {
			t.Errorf("request %d: got %+v, %v, want outcome %d, without comment and fields", i, e, ok, want)
		}
		if _, ok := s.Request(requestID(i)); ok {
			t.Errorf("request %d is settled, and waits", i)
		}
	}
	if e, _ := s.Settled(requestID(2)); e.Reason != strings.Repeat("ü", maxReason/2) {
		t.Errorf("%d bytes of SCOM's words are kept, want %d", len(e.Reason), maxReason)
	}
	list := s.SettledList(2)
	if len(list) != 2 || list[0].Request.ID != requestID(2) || list[1].Request.ID != requestID(1) {
		t.Errorf("got %+v, want the newest two, the newest first", list)
	}
	p := s.ParkedRequests()
	if len(p) != 1 || p[0].Request.ID != requestID(2) || p[0].Request.Comment == "" || len(p[0].Request.Fields) != 2 || p[0].Request.Doubtful || !p[0].At.Equal(at) {
		t.Errorf("parked are %+v, want the refused one whole", p)
	}
	if _, ok := s.Settled("stranger"); ok || len(s.SettledList(-1)) > 0 {
		t.Error("a request that never was has an end")
	}
}

func TestTheLastThousandSettledOfOneDayAreRemembered(t *testing.T) {
	s := started(t)
	end := func(i int, at time.Time) {
		mustApply(t, s, 1, accept(request(i)))
		mustApply(t, s, 1, settle(at, Done, requestID(i)))
	}
	for i := range MaxSettled + 5 {
		end(i, t0)
	}
	list := s.SettledList(MaxOutbox)
	if _, ok := s.Settled(requestID(4)); ok || len(list) != MaxSettled || list[0].Request.ID != requestID(MaxSettled+4) || list[MaxSettled-1].Request.ID != requestID(5) {
		t.Errorf("%d are remembered, the fifth among them: %v; want the last %d", len(list), ok, MaxSettled)
	}
	end(2000, t0.Add(KeepSettled-1))
	if got := len(s.SettledList(MaxOutbox)); got != MaxSettled {
		t.Errorf("%d are remembered within a day, want %d", got, MaxSettled)
	}
	end(2001, t0.Add(KeepSettled))
	if got := s.SettledList(MaxOutbox); len(got) != 2 || got[1].Request.ID != requestID(2000) {
		t.Errorf("got %d, want the two of the last day", len(got))
	}
	// A node whose clock is a year ahead leads for a moment: later ones are remembered all the same.
	end(2002, t0.AddDate(1, 0, 0))
	end(2003, t0.Add(KeepSettled))
	end(2004, t0.Add(KeepSettled))
	if got := s.SettledList(MaxOutbox); len(got) != 3 || got[0].Request.ID != requestID(2004) {
		t.Errorf("got %+v, want the three", got)
	}
}

func TestManySettledAtOnceLeaveTheLastThousand(t *testing.T) {
	s := started(t)
	var ids []string
	for i := range 1500 {
		mustApply(t, s, 1, accept(request(i)))
		ids = append(ids, requestID(i))
	}
	parts := mustApply(t, s, 1, settle(t0, Already, ids...))
	if len(parts) != 3000 { // each left the outbox and was, or was to be, settled
		t.Errorf("%d parts, want 3000", len(parts))
	}
	if got := s.SettledList(MaxOutbox); len(got) != MaxSettled || got[0].Request.ID != ids[1499] || got[999].Request.ID != ids[500] {
		t.Errorf("%d are remembered, want the last %d", len(got), MaxSettled)
	}
}

func TestFullParkedRequestsRefuseTheWholeSettle(t *testing.T) {
	comment, words := strings.Repeat("x", MaxRequest-200), strings.Repeat("y", maxReason)
	// Those of the first second take a few bytes less than this one, together less than one of them.
	large := with(request(999), func(q *Request) { q.Comment = comment })
	for name, c := range map[string]struct {
		comment, reason string
		n               int
	}{"by number": {"", "no", MaxParked}, "by bytes": {comment, words, MaxParkedBytes / (large.size() + len(words))}} {
		t.Run(name, func(t *testing.T) {
			if c.n > MaxParked {
				t.Fatalf("%d fit by their bytes: that limit is never met", c.n)
			}
			s := started(t)
			refused := func(ids ...int) (list []Settlement) {
				for _, i := range ids {
					list = append(list, Settlement{requestID(i), Refused, c.reason})
				}
				return list
			}
			for i := range c.n + 2 {
				mustApply(t, s, 1, accept(with(request(i), func(q *Request) { q.Comment = c.comment })))
			}
			for i := range c.n - 1 {
				mustApply(t, s, 1, Settle{At: t0, Settled: refused(i)})
			}
			full := Settle{At: t0, Settled: append(refused(c.n-1, c.n+1), Settlement{requestID(c.n), Done, ""})}
			mustRefuse(t, s, 1, full, ErrParkedFull)
			full.Settled[1] = full.Settled[0] // named twice, it counts once
			mustApply(t, s, 1, full)
			mustRefuse(t, s, 1, Settle{At: t0, Settled: refused(c.n + 1)}, ErrParkedFull)
			y := with(named("y", 5), func(q *Request) { q.Comment = c.comment })
			more := AdoptOutbox{Node: "n", Requests: []Request{named("x", 5)}, Parked: []ParkedRequest{{Request: y, Reason: c.reason, At: t0}}}
			mustRefuse(t, s, 1, more, ErrParkedFull)
			mustApply(t, s, 1, Discard{IDs: []string{requestID(0)}})
			mustApply(t, s, 1, more)
		})
	}
}

func TestARetriedRequestWaitsBehindTheOthers(t *testing.T) {
	s := started(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		mustName(t, s, named(id, int(id[0])), id)
	}
	mustApply(t, s, 1, settle(t0, Refused, "a", "b"))
	mustRefuse(t, s, 1, retry("c", "x"), ErrUnknown)
	mustRefuse(t, s, 1, retry(), ErrUnknown)
	parts := mustApply(t, s, 1, retry("b", "x", "b", "c"))
	if got := fmt.Sprint(parts); got != "[outbox/b parked-request/b settled/b]" {
		t.Errorf("parts %s", got)
	}
	mustWait(t, s, "c", "d", "b")
	if _, ok := s.Settled("b"); ok {
		t.Error("what it was refused for before is told as its end")
	}
	if p := s.ParkedRequests(); len(p) != 1 || p[0].Request.ID != "a" {
		t.Errorf("parked are %+v, want only a", p)
	}
	mustApply(t, s, 1, settle(t0, Done, "b"))
	if e, ok := s.Settled("b"); !ok || e.Outcome != Done {
		t.Errorf("got %+v, want done", e)
	}
}

func TestADiscardedRequestIsGone(t *testing.T) {
	s := started(t)
	mustName(t, s, named("a", 1), "a")
	mustRefuse(t, s, 1, Discard{IDs: []string{"a"}}, ErrUnknown) // it waits
	mustApply(t, s, 1, settle(t0, Refused, "a"))
	if got := fmt.Sprint(mustApply(t, s, 1, Discard{IDs: []string{"x", "a", "a"}})); got != "[parked-request/a]" {
		t.Errorf("parts %s", got)
	}
	mustRefuse(t, s, 1, Discard{IDs: []string{"a"}}, ErrUnknown)
	mustRefuse(t, s, 1, retry("a"), ErrUnknown)
	if e, ok := s.Settled("a"); !ok || e.Outcome != Refused || len(s.ParkedRequests()) > 0 {
		t.Errorf("got %+v, want it to be known as refused, and not parked", e)
	}
}

func TestParkedRequestsAreListedNewestFirst(t *testing.T) {
	s := started(t)
	for i, id := range []string{"b", "c", "a"} {
		mustName(t, s, named(id, i+1), id)
		mustApply(t, s, 1, settle(t0.Add(time.Duration(min(i, 1))*time.Second), Refused, id))
	}
	var got []string
	for _, p := range s.ParkedRequests() {
		got = append(got, p.Request.ID)
	}
	if want := []string{"a", "c", "b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAnAdoptedRequestLeavesWhatIsHereAsItIs(t *testing.T) {
	s := started(t)
	for id, x := range map[string]Outcome{"waits": 0, "done": Done, "parked": Refused} {
		mustName(t, s, keyed(id, len(id), "key of "+id), id)
		if x != 0 {
			mustApply(t, s, 1, settle(t0, x, id))
		}
	}
	there := func(id, key string) Request {
		return with(keyed(id, 50, key), func(q *Request) { q.Comment = "there" })
	}
	parked := func(q Request) ParkedRequest { return ParkedRequest{Request: q, Reason: "there", At: t0} }
	op := AdoptOutbox{Node: "secondary", Epoch: epoch2,
		Requests: []Request{there("waits", ""), there("done", ""), there("parked", ""), there("1", "key of waits"), there("2", "key of done"), there("3", "key of parked"),
			there("new", "its key"), there("new", ""), there("4", "its key"), named("same", len("waits"))},
		Parked: []ParkedRequest{parked(there("waits", "")), parked(there("done", "")), parked(there("new", "")), parked(there("5", "its key")),
			parked(with(there("p", "p"), func(q *Request) { q.Doubtful = true })), {Request: there("parked", ""), Reason: "there", At: t0}},
	}
	parts := mustApply(t, s, 1, op)
	if got := fmt.Sprint(parts); got != "[outbox/new outbox/same parked-request/p]" {
		t.Errorf("parts %s", got)
	}
	mustWait(t, s, "waits", "new", "same")
	if q, _ := s.Request("new"); !q.Doubtful || q.Comment != "there" {
		t.Errorf("got %+v, want it as it was there, and doubtful", q)
	}
	if q, _ := s.Request("waits"); q.Doubtful || q.Comment == "there" {
		t.Errorf("got %+v, want this cluster's own", q)
	}
	list := s.ParkedRequests()
	if len(list) != 2 || list[0].Request.ID != "p" || list[0].Request.Doubtful || list[1].Reason != "because" {
		t.Errorf("parked are %+v, want this cluster's own and the one of p", list)
	}
	mustChangeNothing(t, s, op)
	mustApply(t, s, 1, settle(t0, Done, "new"))
	mustChangeNothing(t, s, op)
}

func TestTheOutboxVersionGrowsWithEachChange(t *testing.T) {
	s := started(t)
	last, changed := s.OutboxVersion(), s.OutboxChanged()
	told := func() bool {
		select {
		case <-changed:
			return true
		default:
			return false
		}
	}
	grown := func(what string) {
		t.Helper()
		if !told() {
			t.Errorf("%s: who waits was not told", what)
		}
		changed = s.OutboxChanged()
		if v := s.OutboxVersion(); v <= last {
			t.Errorf("%s: version %d after %d", what, v, last)
		}
		last = s.OutboxVersion()
	}
	for _, op := range []Op{accept(named("a", 1)), begin(ms0, "a"), settle(t0, Refused, "a"), retry("a"), settle(t0, Refused, "a"), Discard{IDs: []string{"a"}},
		AdoptOutbox{Node: "n", Requests: []Request{named("b", 1)}}} {
		mustApply(t, s, 1, op)
		grown(fmt.Sprintf("%T", op))
	}
	for _, op := range []Op{accept(named("b", 1)), settle(t0, Done, "a"), Commit{Pipeline: "p"}, AdoptOutbox{Node: "n", Requests: []Request{named("b", 1)}}} {
		mustApply(t, s, 1, op)
		if v := s.OutboxVersion(); v != last || told() {
			t.Errorf("%T changed nothing there, and the version is %d after %d", op, v, last)
		}
	}
	if err := s.Restore(bytes.NewReader(snapshotBytes(t, New()))); err != nil {
		t.Fatal(err)
	}
	grown("restore")
}

func begin(seen alert.Millis, ids ...string) Op {
	var op Begin
	for _, id := range ids {
		op.Begun = append(op.Begun, Begun{id, seen})
	}
	return op
}

// A leader that comes after knows which requests may have been written, and need not look for the others.
func TestOnlyWhatWasBegunIsDoubtful(t *testing.T) {
	s := started(t)
	for i, id := range []string{"a", "b", "c", "d"} {
		mustName(t, s, named(id, i), id)
	}
	before := s.Snapshot()
	if got := fmt.Sprint(mustApply(t, s, 1, begin(ms0, "c", "x", "b"))); got != "[outbox/b outbox/c]" {
		t.Errorf("parts %s", got)
	}
	mustChangeNothing(t, s, begin(ms0, "b"))
	mustApply(t, s, 1, begin(ms0+1, "b")) // a second try, of which the alert had changed meanwhile
	mustApply(t, s, 2, TermStart{Node: "secondary", At: t0})
	wantDoubts(t, s, "a:false:0 b:true:1 c:true:0 d:false:0")
	restored := New()
	if err := restored.Restore(bytes.NewReader(snapshotBytes(t, s))); err != nil {
		t.Fatal(err)
	}
	wantDoubts(t, restored, "a:false:0 b:true:1 c:true:0 d:false:0")
	var old bytes.Buffer
	if _, err := before.WriteTo(&old); err != nil || restored.Restore(&old) != nil {
		t.Fatal("the snapshot from before cannot be restored")
	}
	wantDoubts(t, restored, "a:false:0 b:false:0 c:false:0 d:false:0")
	mustApply(t, s, 2, settle(t0, Refused, "b"))
	mustApply(t, s, 2, retry("b"))
	wantDoubts(t, s, "a:false:0 c:true:0 d:false:0 b:false:0")
}

// The epoch before may have gone on elsewhere, with begun requests of which this copy knows nothing.
func TestANewEpochDoubtsEverything(t *testing.T) {
	s := started(t)
	for i := range 3 * chunkLen {
		id := fmt.Sprintf("%03d", i)
		mustName(t, s, with(named(id, i%7), func(q *Request) { q.State = uint8(i % 2) }), id) // seven is odd: none asks the same as the one before
	}
	mustApply(t, s, 1, begin(ms0, "001"))
	version := s.OutboxVersion()
	token := Token{Epoch: Epoch{Number: 2, Node: "secondary"}, Term: 2}
	b, err := Encode(Command{Token: token, Op: TermStart{Node: "secondary", At: t0}})
	if err != nil {
		t.Fatal(err)
	}
	if res, parts, err := s.Apply(2, 1, b); err != nil || res.Err != nil || len(parts) != 3*chunkLen+2 || s.OutboxVersion() == version {
		t.Errorf("got %+v, %d parts, %v", res, len(parts), err)
	}
	for _, q := range s.Outbox(MaxOutbox) {
		if !q.Doubtful || q.Seen != 0 {
			t.Fatalf("request %s: %+v, want it doubtful", q.ID, q)
		}
	}
	checkLinks(t, &s.outbox)
}

// wantDoubts compares what waits: id, doubtful, and what was seen after ms0.
func wantDoubts(t *testing.T, s *State, want string) {
	t.Helper()
	var got []string
	for _, q := range s.Outbox(MaxOutbox) {
		got = append(got, fmt.Sprintf("%s:%v:%d", q.ID, q.Doubtful, max(0, q.Seen-ms0)))
	}
	if strings.Join(got, " ") != want {
		t.Errorf("waiting are %s, want %s", strings.Join(got, " "), want)
	}
}

func TestASplitSettleFitsAndLeavesNothingOut(t *testing.T) {
	whole := Settle{At: t0}
	for i := range 5000 {
		whole.Settled = append(whole.Settled, Settlement{ID: requestID(i), Outcome: Done})
	}
	for i := range 100 {
		whole.Settled = append(whole.Settled, Settlement{ID: requestID(5000 + i), Outcome: Refused, Reason: strings.Repeat("x", 100_000)})
	}
	var got []Settlement
	pieces := SplitSettle(whole)
	for _, p := range pieces {
		if _, err := Encode(Command{Token: longestToken, Op: p}); err != nil || !p.At.Equal(t0) {
			t.Errorf("%d settlements at %v: %v", len(p.Settled), p.At, err)
		}
		got = append(got, p.Settled...)
	}
	if len(got) != 5100 || len(pieces) != 4 { // 95 KB and 104 KB
		t.Errorf("%d settlements in %d pieces, want 5100 in 4", len(got), len(pieces))
	}
	for i, x := range got {
		if want := whole.Settled[i]; x.ID != want.ID || x.Outcome != want.Outcome || x.Reason != clipTo(want.Reason, maxReason) {
			t.Fatalf("settlement %d is %.80v, want that of %s", i, x, want.ID)
		}
	}
	if p := SplitSettle(Settle{At: t0}); len(p) != 0 {
		t.Errorf("nothing became %d pieces", len(p))
	}
}

func TestAnAdoptionBeyondTheHardLimitIsRefused(t *testing.T) {
	s := started(t)
	op := AdoptOutbox{Node: "n", Requests: []Request{request(1)}}
	s.outbox.bytes = MaxOutboxBytes - op.Requests[0].size() + 1 // as if so many waited
	mustRefuse(t, s, 1, op, ErrOutboxFull)
	s.outbox.bytes--
	mustApply(t, s, 1, op)
}

func TestNumbersOfTheOutboxOutOfRangeAreDamage(t *testing.T) {
	for _, c := range []struct {
		op        Op
		good, bad []byte
	}{
		{accept(request(1)), []byte{0x80, 0x80, 0x80, 0x80, 4}, []byte{0x81, 0x80, 0x80, 0x80, 4}}, // one byte more than MaxOutboxBytes
		{settle(t0, Refused, "r"), []byte{1, 'r', 3}, []byte{1, 'r', 4}},
		{settle(t0, Done, "r"), []byte{1, 'r', 1}, []byte{1, 'r', 0}},
	} {
		b, err := Encode(Command{Token: tok(1), Op: c.op})
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Replace(b, c.good, c.bad, 1)
		if _, err := Decode(bad); bytes.Equal(b, bad) || !errors.Is(err, errNumber) {
			t.Errorf("%T: got %v, want %v", c.op, err, errNumber)
		}
	}
}
