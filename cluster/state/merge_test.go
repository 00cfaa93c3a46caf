package state

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

// inEpoch applies ops under a token of epoch2's term, the first of which begins it.
func inEpoch(t *testing.T, s *State, e Epoch, ops ...Op) {
	t.Helper()
	for _, op := range ops {
		b, err := Encode(Command{Token: Token{Epoch: e, Term: 9}, Op: op})
		if err != nil {
			t.Fatal(err)
		}
		if res, _, err := s.Apply(9, 0, b); err != nil || res.Err != nil {
			t.Fatalf("apply %T: %v, %v", op, err, res.Err)
		}
	}
}

// aside is a node that went on alone after term 1, with something of everything done there.
func aside(t *testing.T) *State {
	t.Helper()
	s := started(t)
	mustApply(t, s, 1, SetConfig{Text: []byte("a"), Author: "ann", At: t0})
	mustApply(t, s, 1, SetMaintenance{Node: "secondary", On: true, Author: "ann", At: t0})
	mustApply(t, s, 1, Commit{Pipeline: "q", Start: true, Cursor: ms0, Parked: []Parked{parkedEntry(1, 10)}})
	alone := t0.Add(time.Hour)
	inEpoch(t, s, epoch2,
		TermStart{Node: "primary", Cause: "alone", Reason: "secondary was lost", At: alone},
		SetConfig{Expect: 1, Text: []byte("b"), Author: "bob", At: alone},
		SetMaintenance{Node: "witness", On: true, Author: "bob", At: alone.Add(time.Minute)},
		Commit{Pipeline: "p", Parked: []Parked{parkedEntry(3, 10), parkedEntry(2, 10)}, Raised: []string{"full", "lam-outage"}},
		Commit{Pipeline: "q", Cursor: ms0 + 1000},
		accept(fullRequest(1)), accept(request(2)), accept(request(3)), accept(fullRequest(4)), accept(request(5)),
		Settle{At: alone, Settled: []Settlement{{requestID(2), Refused, "not allowed"}, {requestID(3), Done, ""}, {requestID(4), Refused, "no"}}})
	return s
}

// keep applies ops on the side that went on, whose state must not refuse any.
func keep(t *testing.T, s *State, ops []Op) {
	t.Helper()
	for _, op := range ops {
		mustApply(t, s, 1, op)
	}
}

func TestMergeHandsOverWhatOnlyTheYieldingNodeHas(t *testing.T) {
	ops := Merge("primary", aside(t), t0.Add(2*time.Hour))
	s := started(t)
	mustApply(t, s, 1, SetConfig{Text: []byte("a"), Author: "ann", At: t0})
	keep(t, s, ops)
	if got := s.Config(); string(got.Text) != "b" || got.Author != "bob" {
		t.Errorf("settings %q by %s, want those of the yielding node", got.Text, got.Author)
	}
	if p, q := pipe(t, s, "p"), pipe(t, s, "q"); p.ParkedNow != 2 || q.ParkedNow != 1 || !slices.Equal(p.Raised, []string{"full", "lam-outage"}) || p.Started || q.Cursor != 0 {
		t.Errorf("got %+v and %+v, want parked entries and self-alerts, and no position", p, q)
	}
	first := with(fullRequest(1), func(q *Request) { q.Doubtful = true })
	second := with(request(5), func(q *Request) { q.Doubtful = true })
	if got := s.Outbox(9); !reflect.DeepEqual(got, []Request{first, second}) {
		t.Errorf("waiting are %+v, want %+v and %+v", got, first, second)
	}
	there := aside(t).ParkedRequests()
	if got := s.ParkedRequests(); !reflect.DeepEqual(got, there) || len(got) != 2 {
		t.Errorf("parked requests %+v, want %+v", got, there)
	}
	if s.InMaintenance("witness") {
		t.Error("a maintenance flag was carried over; it must only be told of")
	}
	var notes []string
	for _, n := range s.Notes() {
		notes = append(notes, n.Text)
		if n.Node != "primary" || n.Epoch != epoch2 || !n.At.Equal(t0.Add(2*time.Hour)) {
			t.Errorf("got %+v, want who yielded what and when", n)
		}
	}
	want := []string{
		"witness was put into maintenance there by bob at 2026-01-02T04:05:05Z; set it again if it is still wanted.",
		"Epoch 2 of primary was given up. In it primary led apart from this cluster from 2026-01-02T04:04:05Z (secondary was lost)." +
			" Delivered were: q up to 2026-01-02T03:04:06.000Z.",
	}
	if !slices.Equal(notes, want) {
		t.Errorf("notes\n%s\nwant\n%s", strings.Join(notes, "\n"), strings.Join(want, "\n"))
	}
}

func TestAMergeRepeatedChangesNothing(t *testing.T) {
	s := settings(t, "a", "c") // changed here, too
	keep(t, s, Merge("primary", aside(t), t0))
	if got := s.Config(); string(got.Text) != "c" || got.Version != 4 || string(s.ConfigHistory()[1].Text) != "b" {
		t.Errorf("in use is version %d, %q, want this cluster's own as version 4 after the other's", got.Version, got.Text)
	}
	before := snapshotBytes(t, s)
	for cut := range len(Merge("primary", aside(t), t0)) { // interrupted anywhere
		keep(t, s, Merge("primary", aside(t), t0.Add(time.Hour))[:cut])
	}
	keep(t, s, Merge("primary", aside(t), t0.Add(time.Hour)))
	if !bytes.Equal(before, snapshotBytes(t, s)) {
		t.Error("the state is another one after the repetition")
	}
}

func TestMergeIsTheSameEachTime(t *testing.T) {
	first := Merge("primary", aside(t), t0)
	restored := New()
	if err := restored.Restore(bytes.NewReader(snapshotBytes(t, aside(t)))); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if again := Merge("primary", restored, t0); !reflect.DeepEqual(first, again) {
			t.Fatalf("got %+v, then %+v", first, again)
		}
	}
	// What may be refused for want of room must not hold up the rest.
	room := slices.IndexFunc(first, func(op Op) bool { p, ok := op.(AdoptPipeline); return ok && len(p.Parked) > 0 })
	for _, op := range first[room:] {
		p, entries := op.(AdoptPipeline)
		b, requests := op.(AdoptOutbox)
		if !entries && !requests || len(p.Raised)+len(b.Requests) > 0 {
			t.Errorf("%T stands behind parked entries", op)
		}
	}
}

func TestMergeOfAnEmptyNodeHandsOverNothing(t *testing.T) {
	if ops := Merge("primary", New(), t0); len(ops) > 0 {
		t.Errorf("got %+v", ops)
	}
}

// Nothing says when the two sides of the first epoch went apart, so everything counts as done on this side alone.
func TestMergeOfTheFirstEpochLeavesNothingOut(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, SetMaintenance{Node: "witness", On: true, At: t0.Add(-time.Hour)})
	mustApply(t, s, 2, TermStart{Node: "secondary", At: t0.Add(time.Hour)})
	var notes []string
	for _, op := range Merge("primary", s, t0) {
		notes = append(notes, op.(AdoptNote).Text)
	}
	want := []string{
		"Epoch 1 of primary was given up. In it primary and secondary led before this cluster went on without it, last from 2026-01-02T04:04:05Z. Nothing had been delivered.",
		"witness was put into maintenance there by somebody at 2026-01-02T02:04:05Z; set it again if it is still wanted.",
	}
	if !slices.Equal(notes, want) {
		t.Errorf("notes\n%s\nwant\n%s", strings.Join(notes, "\n"), strings.Join(want, "\n"))
	}
}

func TestMergeTellsOfSettingsThatWereRolledBack(t *testing.T) {
	s := settings(t, "a", "b")
	alone := t0.Add(time.Hour)
	inEpoch(t, s, epoch2, TermStart{Node: "primary", At: alone}, SetConfig{Expect: 2, Text: []byte("a"), Author: "bob", At: alone})
	winner := settings(t, "a", "b")
	keep(t, winner, Merge("primary", s, t0))
	want := "The settings were put back to those of version 1 there, by bob at 2026-01-02T04:04:05Z; if that is still wanted, roll back to that version here."
	if got := winner.Notes()[0].Text; got != want || string(winner.Config().Text) != "b" {
		t.Errorf("in use %q, note %q, want b and %q", winner.Config().Text, got, want)
	}
	before := settings(t, "a", "b", "a") // rolled back while the two were one
	inEpoch(t, before, epoch2, TermStart{Node: "primary", At: alone})
	if ops := Merge("primary", before, t0); len(ops) != 2 {
		t.Errorf("got %+v, want the settings and who led", ops)
	}
}

// Somebody has had alerts sent again there, which this side does not know of.
func TestMergeTellsOfRewinds(t *testing.T) {
	told := func(yielded *State) (rewinds []string) {
		s := started(t)
		keep(t, s, Merge("primary", yielded, t0))
		for _, n := range s.Notes() {
			if strings.Contains(n.Text, "rewind") {
				rewinds = append(rewinds, n.Text)
			}
		}
		return rewinds
	}
	y := aside(t)
	if got := told(y); len(got) > 0 {
		t.Errorf("without any: got %q", got)
	}
	inEpoch(t, y, epoch2, Rewind{Pipeline: "q", To: ms0 - 1000, Author: "bob", At: t0}, Rewind{Pipeline: "q", To: ms0 - 2000, Author: "bob", At: t0})
	if got := told(y); len(got) != 1 || !strings.Contains(got[0], "rewound there: q (2).") {
		t.Errorf("got %q, want one note that says which pipeline was rewound", got)
	}
}

func TestEachOpOfAMergeFitsUnderAnyToken(t *testing.T) {
	long := strings.Repeat("n", MaxName)
	s := New()
	inEpoch(t, s, Epoch{Number: 1 << 63, Node: long}, TermStart{Node: long, ClusterID: "c", Reason: strings.Repeat("r", 600), At: t0},
		SetConfig{Text: bytes.Repeat([]byte("x"), MaxConfigText), Author: strings.Repeat("a", 600), At: t0})
	for i := range 40 {
		e := parkedEntry(i, i*1500)
		inEpoch(t, s, s.Token().Epoch, Commit{Pipeline: long, Cursor: ms0, Parked: []Parked{e}})
	}
	for i := range maxMaintenance {
		inEpoch(t, s, s.Token().Epoch, SetMaintenance{Node: long[:250] + fmt.Sprint(i), On: true, Author: strings.Repeat("a", 600), At: t0})
	}
	for i := range MaxPipelines - 1 {
		inEpoch(t, s, s.Token().Epoch, Commit{Pipeline: long[:250] + fmt.Sprint(i), Cursor: ms0})
	}
	winner, parked, notes := New(), 0, 0
	winner.termStart(longestToken, TermStart{Node: "w", At: t0})
	for _, op := range Merge(long, s, t0) {
		b, err := Encode(Command{Token: longestToken, Op: op})
		if err != nil {
			t.Fatalf("%T: %v", op, err)
		}
		if res, _, err := winner.Apply(0, 0, b); err != nil || res.Err != nil {
			t.Fatalf("%T: %v, %v", op, err, res.Err)
		}
		switch op.(type) {
		case AdoptPipeline:
			parked++
		case AdoptNote:
			notes++
		}
	}
	if got, want := winner.ParkedList(long), s.ParkedList(long); !reflect.DeepEqual(got, want) || len(got) != 40 {
		t.Errorf("%d entries arrived, want all %d as they were", len(got), len(want))
	}
	if parked < 19 || parked > 35 { // 1.2 MB
		t.Errorf("%d ops for 40 entries of 30 KB on average, want about 24", parked)
	}
	if got := winner.Notes(); len(got) != notes || !strings.HasSuffix(got[len(got)-1].Text, " more.") {
		t.Errorf("%d of %d notes are kept, the first is %q; want all, and it says how many pipelines it leaves out", len(got), notes, got[len(got)-1].Text)
	}
}

func TestMergeFillsItsOpsAndLeavesRoomForTheWinnersToken(t *testing.T) {
	s, size := started(t), 0
	for i := range MaxParked {
		e := parkedEntry(i, 150)
		size += len(appendParked(nil, &e))
		mustApply(t, s, 1, Commit{Pipeline: "p", Parked: []Parked{e}})
	}
	n := 0
	for _, op := range Merge("primary", s, t0) {
		if _, err := Encode(Command{Token: longestToken, Op: op}); err != nil {
			t.Errorf("%T: %v", op, err)
		}
		if _, ok := op.(AdoptPipeline); ok {
			n++
		}
	}
	if want := size/(MaxCommand-1024) + 1; n != want {
		t.Errorf("%d ops for %d bytes, want %d", n, size, want)
	}
}

func TestAnEntryThatFillsACommitIsMadeToFit(t *testing.T) {
	base := Parked{Key: testID(1), Version: alert.Version{ID: testID(1), LastModified: ms0}, At: t0, Reason: "refused", LAM: "lam1"}
	for name, grow := range map[string]func(*Parked, int){
		"payload": func(e *Parked, n int) { e.Payload = make([]byte, n) },
		"answer":  func(e *Parked, n int) { e.Answer = strings.Repeat("x", n) },
		"reason":  func(e *Parked, n int) { e.Reason = strings.Repeat("x", n) },
	} {
		s := started(t)
		for n := MaxCommand - 120; ; n++ { // the longest that a commit takes
			e := base
			grow(&e, n)
			if _, err := Encode(Command{Token: tok(1), Op: Commit{Pipeline: "p", Parked: []Parked{e}}}); err != nil {
				break
			}
			mustApply(t, s, 1, Commit{Pipeline: "p", Parked: []Parked{e}})
		}
		winner := started(t)
		keep(t, winner, Merge("primary", s, t0))
		list := winner.ParkedList("p")
		if len(list) != 1 {
			t.Fatalf("%s: %d entries arrived, want 1", name, len(list))
		}
		got := list[0]
		want := "carried over from primary)"
		if name == "payload" {
			want = fmt.Sprintf("refused (its payload of %d bytes was too large to be carried over from primary)", len(s.ParkedList("p")[0].Payload))
		}
		if !strings.HasSuffix(got.Reason, want) || len(got.Payload) > 0 || got.Key != base.Key || got.Version != base.Version {
			t.Errorf("%s: got %.200q with %d bytes of payload, want it to say %q", name, got.Reason, len(got.Payload), want)
		}
	}
}

func TestAMergeOfAFullOutboxFitsAndKeepsItsOrder(t *testing.T) {
	long := strings.Repeat("n", MaxName)
	s := New()
	inEpoch(t, s, Epoch{Number: 1 << 63, Node: long}, TermStart{Node: long, At: t0})
	const n = 2000
	size, refused := 0, 0
	for i := range n {
		q := with(fullRequest(i), func(q *Request) { q.Comment = strings.Repeat("c", i*7919%2500) })
		if i%500 == 0 { // the longest there may be
			q.Comment = strings.Repeat("c", MaxRequest-300)
		}
		inEpoch(t, s, s.Token().Epoch, accept(q))
		if size += q.size(); i%5 == 0 {
			inEpoch(t, s, s.Token().Epoch, Settle{At: t0, Settled: []Settlement{{q.ID, Refused, strings.Repeat("r", maxReason)}}})
			size += maxReason
			refused++
		}
	}
	winner, ops := New(), 0
	winner.termStart(longestToken, TermStart{Node: "w", At: t0})
	for _, op := range Merge(long, s, t0) {
		b, err := Encode(Command{Token: longestToken, Op: op})
		if err != nil {
			t.Fatalf("%T: %v", op, err)
		}
		if res, _, err := winner.Apply(0, 0, b); err != nil || res.Err != nil {
			t.Fatalf("%T: %v, %v", op, err, res.Err)
		}
		if _, ok := op.(AdoptOutbox); ok {
			ops++
		}
	}
	if got, want := winner.Outbox(n), s.Outbox(n); !reflect.DeepEqual(got, want) || len(got) != n-refused {
		t.Errorf("%d requests arrived, want all %d in their order", len(got), len(want))
	}
	if got, want := winner.ParkedRequests(), s.ParkedRequests(); !reflect.DeepEqual(got, want) || len(got) != refused {
		t.Errorf("%d parked requests arrived, want all %d", len(got), len(want))
	}
	if most := size/(MaxCommand-4<<10) + 3; ops > most { // each leaves at most one request's room, of mostly less than 3 KB
		t.Errorf("%d ops for %d bytes, want at most %d", ops, size, most)
	}
}
