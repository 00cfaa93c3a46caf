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

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const ms0 = alert.Millis(1_767_323_045_000) // t0

func tok(term uint64) Token { return Token{Epoch: Epoch{Number: 1, Node: "primary"}, Term: term} }

// testID spreads like SCOM's random GUIDs, the same for each n.
func testID(n int) alert.ID {
	var id alert.ID
	x := uint64(n)*0x9E3779B97F4A7C15 + 1
	for i := range id {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		id[i] = byte(x >> 24)
	}
	return id
}

// started is a state in term 1.
func started(t testing.TB) *State {
	t.Helper()
	s := New()
	mustApply(t, s, 1, TermStart{Node: "primary", ClusterID: "c1", Reason: "first start", At: t0})
	return s
}

func apply(t testing.TB, s *State, term uint64, op Op) (Result, Parts) {
	t.Helper()
	b, err := Encode(Command{Token: tok(term), Op: op})
	if err != nil {
		t.Fatalf("encode %T: %v", op, err)
	}
	res, parts, err := s.Apply(term, 0, b)
	if err != nil {
		t.Fatalf("apply %T: %v", op, err)
	}
	return res, parts
}

func mustApply(t testing.TB, s *State, term uint64, op Op) Parts {
	t.Helper()
	res, parts := apply(t, s, term, op)
	if res.Err != nil {
		t.Fatalf("apply %T: refused: %v", op, res.Err)
	}
	return parts
}

// mustRefuse checks the refusal, and that it changed nothing that a snapshot would show.
func mustRefuse(t testing.TB, s *State, term uint64, op Op, want error) {
	t.Helper()
	before := snapshotBytes(t, s)
	res, parts := apply(t, s, term, op)
	if !errors.Is(res.Err, want) {
		t.Errorf("apply %T: got %v, want refusal %v", op, res.Err, want)
	}
	if len(parts) > 0 {
		t.Errorf("apply %T: refused, and yet changed %v", op, parts)
	}
	if !bytes.Equal(before, snapshotBytes(t, s)) {
		t.Errorf("apply %T: refused, and yet the snapshot is another one", op)
	}
}

func snapshotBytes(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := s.Snapshot().WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("write snapshot: %d bytes and %v, want %d and no error", n, err, b.Len())
	}
	return b.Bytes()
}

func pipe(t testing.TB, s *State, name string) PipelineInfo {
	t.Helper()
	p, ok := s.Pipeline(name)
	if !ok {
		t.Fatalf("no pipeline %q", name)
	}
	return p
}

func TestACommandCountsOnlyInItsOwnTerm(t *testing.T) {
	s := New()
	mustRefuse(t, s, 0, Commit{Pipeline: "p", Cursor: 1}, ErrTermOver) // no term ever began
	mustApply(t, s, 5, TermStart{Node: "a", ClusterID: "c1", At: t0})
	mustRefuse(t, s, 5, TermStart{Node: "b", At: t0}, ErrTermOver)
	mustRefuse(t, s, 4, TermStart{Node: "b", At: t0}, ErrTermOver)
	mustApply(t, s, 5, Commit{Pipeline: "p", Cursor: ms0})
	mustApply(t, s, 6, TermStart{Node: "b", ClusterID: "c2", Reason: "a was lost", At: t0})
	for _, op := range []Op{
		Commit{Pipeline: "p", Cursor: ms0 + 1}, SetConfig{Text: []byte("{}"), At: t0}, SetManagementGroup{Name: "MG"},
		Rewind{Pipeline: "p", To: 1, At: t0}, Unpark{Pipeline: "p"}, SetPipelines{At: t0},
		SetMaintenance{Node: "a", On: true, At: t0}, SetMaintenance{Node: "a", At: t0}, AdoptPipeline{Node: "a", Pipeline: "p", Raised: []string{"full"}},
		AdoptSettings{Node: "a", Text: []byte("{}"), At: t0}, AdoptNote{Node: "a", Text: "x", At: t0},
		NoteLogon{Account: "a", Event: LogonRefused, At: t0},
	} {
		mustRefuse(t, s, 5, op, ErrTermOver)
		mustRefuse(t, s, 7, op, ErrTermOver)
	}
	if got, want := s.Leader(), "b"; got != want || s.Token() != tok(6) {
		t.Errorf("leader %q in %v, want %q in %v", got, s.Token(), want, tok(6))
	}
	if got, want := s.ClusterID(), "c1"; got != want {
		t.Errorf("cluster id %q, want %q: only the first term names the cluster", got, want)
	}
}

func TestACommandIsRefusedWhereTheLogOrderedItInAnotherTerm(t *testing.T) {
	s := started(t)
	b, err := Encode(Command{Token: tok(1), Op: Commit{Pipeline: "p", Cursor: ms0}})
	if err != nil {
		t.Fatal(err)
	}
	for term, want := range map[uint64]error{2: ErrTermOver, 1: nil, 0: nil} {
		if res, _, err := s.Apply(term, 9, b); err != nil || !errors.Is(res.Err, want) {
			t.Errorf("log term %d: got %v and %v, want %v", term, res.Err, err, want)
		}
	}
}

func TestAHigherEpochBeginsATermOfALowerNumber(t *testing.T) {
	s := started(t)
	mustApply(t, s, 7, TermStart{Node: "a", At: t0})
	token := Token{Epoch: Epoch{Number: 2, Node: "b"}, Term: 3}
	b, err := Encode(Command{Token: token, Op: TermStart{Node: "b", At: t0}})
	if err != nil {
		t.Fatal(err)
	}
	if res, _, err := s.Apply(3, 0, b); err != nil || res.Err != nil || s.Token() != token {
		t.Errorf("got %v, %v and token %v, want token %v", res.Err, err, s.Token(), token)
	}
}

func TestLeaderChangesKeepTheLastHundredNewestFirst(t *testing.T) {
	s := New()
	for term := uint64(1); term <= 130; term++ {
		mustApply(t, s, term, TermStart{Node: fmt.Sprint("n", term%2), Cause: "lost", Reason: strings.Repeat("ü", 1000), At: t0})
	}
	c := s.Changes()
	if len(c) != 100 || c[0].Token.Term != 130 || c[99].Token.Term != 31 {
		t.Errorf("got %d changes from %v to %v, want 100 from 130 to 31", len(c), c[0].Token, c[len(c)-1].Token)
	}
	if got := c[0]; len(got.Reason) != 512 || got.Cause != "lost" {
		t.Errorf("the reason has %d bytes and the cause is %q, want it cut to 512, and \"lost\"", len(got.Reason), got.Cause)
	}
}

func TestTheCursorNeverRegressesButByARewind(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, Commit{Pipeline: "p", Cursor: 0})
	for _, step := range []struct{ commit, want alert.Millis }{{ms0, ms0}, {ms0 - 1, ms0}, {0, ms0}, {ms0 + 5, ms0 + 5}} {
		mustApply(t, s, 1, Commit{Pipeline: "p", Cursor: step.commit})
		if got := pipe(t, s, "p").Cursor; got != step.want {
			t.Errorf("after a commit of %v: cursor %v, want %v", step.commit, got, step.want)
		}
	}
	mustApply(t, s, 1, Rewind{Pipeline: "p", To: ms0 + 100, At: t0})
	if got := pipe(t, s, "p").Cursor; got != ms0+5 {
		t.Errorf("a rewind to the future moved the cursor to %v", got)
	}
	mustApply(t, s, 1, Rewind{Pipeline: "p", To: ms0 - 1000, At: t0})
	if got := pipe(t, s, "p").Cursor; got != ms0-1000 {
		t.Errorf("after the rewind: cursor %v, want %v", got, ms0-1000)
	}
	mustRefuse(t, s, 1, Rewind{Pipeline: "nobody", To: 1, At: t0}, ErrUnknown)
}

// Else the slow commit of a batch that was read up to the old cursor would pass over all that is to be delivered again.
func TestACommitMadeBeforeARewindChangesNothing(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, Commit{Pipeline: "p", Start: true, Cursor: ms0})
	late := Commit{Pipeline: "p", Cursor: ms0 + 50, Sent: []alert.Version{{ID: testID(1), LastModified: ms0 + 40}}, Parked: []Parked{parkedEntry(1, 5)}, Raised: []string{"k"}}
	mustApply(t, s, 1, Rewind{Pipeline: "p", To: ms0 - 1000, At: t0})
	mustRefuse(t, s, 1, late, ErrRewound)
	if got := pipe(t, s, "p").Rewinds; got != 1 {
		t.Errorf("rewound %d times, want once", got)
	}
	late.Rewinds = 1
	mustApply(t, s, 1, late) // the cursor has passed the old one again
	mustApply(t, s, 1, Rewind{Pipeline: "p", To: ms0 - 1000, At: t0})
	mustRefuse(t, s, 1, late, ErrRewound)
	late.Rewinds = 3
	mustRefuse(t, s, 1, late, ErrRewound)
	mustRefuse(t, s, 1, Commit{Pipeline: "new", Rewinds: 1}, ErrRewound)
	mustApply(t, s, 1, Commit{Pipeline: "new"})
	restored := New()
	if err := restored.Restore(bytes.NewReader(snapshotBytes(t, s))); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, restored, 1, late, ErrRewound)
}

func TestARewindForgetsWhatWasDeliveredFromThereOn(t *testing.T) {
	s := started(t)
	old, edge, young := alert.Version{ID: testID(1), LastModified: ms0}, alert.Version{ID: testID(2), LastModified: ms0 + 10}, alert.Version{ID: testID(3), LastModified: ms0 + 20, State: 255}
	mustApply(t, s, 1, Commit{Pipeline: "p", Start: true, Floor: ms0 + 15, Cursor: ms0 + 30, Sent: []alert.Version{old, edge, young}})
	mustApply(t, s, 1, Rewind{Pipeline: "p", To: ms0 + 10, Author: "ann", At: t0})
	if _, ok := s.Sent("p", old.ID); !ok {
		t.Error("a version from before the new cursor was forgotten")
	}
	for _, v := range []alert.Version{edge, young} {
		if got, ok := s.Sent("p", v.ID); ok {
			t.Errorf("%v is still remembered, it would not be sent again", got)
		}
	}
	p := pipe(t, s, "p")
	if p.Floor != ms0+10 || !p.Started || p.Accepted != 3 || p.Remembered != 1 {
		t.Errorf("got %+v, want a lowered floor, still started, 3 accepted, 1 remembered", p)
	}
}

func TestAnOlderVersionNeverReplacesANewerOne(t *testing.T) {
	id := testID(1)
	for _, c := range []struct {
		what string
		v    alert.Version
		want bool
	}{
		{"older", alert.Version{ID: id, LastModified: ms0 - 1, State: 255}, false},
		{"the same", alert.Version{ID: id, LastModified: ms0, State: 1}, false},
		{"another state at the same time", alert.Version{ID: id, LastModified: ms0, State: 255}, true},
		{"newer", alert.Version{ID: id, LastModified: ms0 + 1, State: 0}, true},
	} {
		s := started(t)
		now := alert.Version{ID: id, LastModified: ms0, State: 1}
		mustApply(t, s, 1, Commit{Pipeline: "p", Sent: []alert.Version{now}})
		mustApply(t, s, 1, Commit{Pipeline: "p", Sent: []alert.Version{c.v}})
		want, accepted := now, uint64(1)
		if c.want {
			want, accepted = c.v, 2
		}
		if got, ok := s.Sent("p", id); !ok || got != want {
			t.Errorf("%s: remembered %v, want %v", c.what, got, want)
		}
		if got := s.Totals().Accepted; got != accepted {
			t.Errorf("%s: %d accepted, want %d", c.what, got, accepted)
		}
	}
}

// Parked and held-back versions are handled, but no LAM has accepted them.
func TestWhatIsHandledIsRememberedAndNotCounted(t *testing.T) {
	s := started(t)
	version := func(n, at int) alert.Version {
		return alert.Version{ID: testID(n), LastModified: ms0 + alert.Millis(at)}
	}
	whole := Commit{Pipeline: "p", Cursor: ms0}
	for i := range 35 {
		whole.Sent = append(whole.Sent, version(i, i))
	}
	for i := range 3 { // their payloads fill pieces of their own
		e := parkedEntry(100+i, 60_000)
		whole.Parked = append(whole.Parked, e)
		whole.Handled = append(whole.Handled, e.Version)
	}
	whole.Handled = append(whole.Handled, version(0, 1000)) // a mere repeat of one that was sent beside it
	pieces, err := SplitCommit(tok(1), whole)
	if err != nil || len(pieces) < 3 {
		t.Fatalf("%d pieces and %v, want the parked entries in pieces of their own", len(pieces), err)
	}
	for range 2 { // also when proposed again
		for _, p := range pieces {
			mustApply(t, s, 1, p)
		}
	}
	if got, want := s.Totals(), (Totals{Accepted: 35, Parked: 3}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	if got := pipe(t, s, "p"); got.Remembered != 38 || got.Accepted != 35 {
		t.Errorf("got %+v, want 38 remembered, of which 35 were accepted", got)
	}
	for _, v := range whole.Handled {
		if got, ok := s.Sent("p", v.ID); !ok || got != v {
			t.Errorf("remembered %v, want %v", got, v)
		}
	}
}

func TestForgetDropsOldClosedVersionsAndNeverOpenOnes(t *testing.T) {
	s := started(t)
	var sent []alert.Version
	for i := range 2000 {
		sent = append(sent, alert.Version{ID: testID(i), LastModified: ms0 + alert.Millis(i*100), State: uint8(255 * (1 - i%2))})
	}
	mustApply(t, s, 1, Commit{Pipeline: "p", Sent: sent})
	// A version closed long ago and opened again since is open, whatever is listed of it.
	again := alert.Version{ID: sent[2].ID, LastModified: ms0 + 150_000}
	mustApply(t, s, 1, Commit{Pipeline: "p", Sent: []alert.Version{again}})

	// Among them is a closed version modified exactly where a bound lies: it stays.
	for _, before := range []alert.Millis{ms0 + 5_000, ms0 + 12_345, ms0 + 100_000} { // few, few, many at once
		mustApply(t, s, 1, Commit{Pipeline: "p", Forget: before})
		bound := before / 10_000 * 10_000
		for _, v := range sent {
			_, got := s.Sent("p", v.ID)
			want := v.State == 0 || v.LastModified >= bound || v.ID == again.ID
			if got != want {
				t.Fatalf("forget before %v: %v remembered: %v, want %v", before, v, got, want)
			}
		}
	}
	if got, want := len(s.Open("p")), 1001; got != want {
		t.Errorf("%d open, want %d", got, want)
	}
}

func TestAFullDeliveredMapRefusesTheWholeCommit(t *testing.T) {
	s := started(t)
	const step = 3000
	version := func(i int) alert.Version {
		return alert.Version{ID: testID(i), LastModified: ms0 + alert.Millis(i), State: uint8(255 * (i % 2))}
	}
	fill := make([]alert.Version, 0, step)
	for i := range MaxRemembered {
		if fill = append(fill, version(i)); len(fill) == step || i == MaxRemembered-1 {
			mustApply(t, s, 1, Commit{Pipeline: "p", Sent: fill})
			fill = fill[:0]
		}
	}
	if got := s.Room("p"); got != 0 {
		t.Fatalf("room for %d, want 0", got)
	}
	one := Commit{Pipeline: "p", Cursor: ms0 + 900_000, Sent: []alert.Version{version(MaxRemembered)}}
	mustRefuse(t, s, 1, one, ErrFull)
	mustRefuse(t, s, 1, Commit{Pipeline: "p", Handled: one.Sent}, ErrFull)

	known := version(0)
	known.LastModified += 1_000_000
	mustApply(t, s, 1, Commit{Pipeline: "p", Sent: []alert.Version{known, known}}) // a known id needs no room
	one.Forget = ms0 + 20_000
	mustApply(t, s, 1, one) // it makes its own room
	if _, ok := s.Sent("p", one.Sent[0].ID); !ok || s.Room("p") <= 0 {
		t.Errorf("the commit that forgets was not recorded, or nothing forgotten: room for %d", s.Room("p"))
	}
	if got := s.Room("another"); got != MaxRemembered {
		t.Errorf("another pipeline has room for %d, want %d", got, MaxRemembered)
	}
}

func parkedEntry(n, payload int) Parked {
	return Parked{Key: testID(n), Version: alert.Version{ID: testID(n), LastModified: ms0 + alert.Millis(n)}, At: t0.Add(time.Duration(n) * time.Second),
		Reason: "refused", LAM: "lam1", Status: 400, Answer: "no", Payload: bytes.Repeat([]byte{byte(n)}, payload)}
}

func TestParkedEntriesCountOnceAndGoByKey(t *testing.T) {
	s := started(t)
	e := parkedEntry(1, 10)
	mustApply(t, s, 1, Commit{Pipeline: "p", Parked: []Parked{e, parkedEntry(2, 10)}})
	e.Answer = "still no"
	mustApply(t, s, 1, Commit{Pipeline: "p", Parked: []Parked{e, e}})
	list := s.ParkedList("p")
	if len(list) != 2 || list[0].Key != testID(2) || list[1].Answer != "still no" || string(list[1].Payload) != string(e.Payload) {
		t.Errorf("got %+v, want the newest first and the replaced answer", list)
	}
	mustRefuse(t, s, 1, Unpark{Pipeline: "p", Keys: []alert.ID{testID(9)}}, ErrUnknown)
	mustRefuse(t, s, 1, Unpark{Pipeline: "nobody", Keys: []alert.ID{e.Key}}, ErrUnknown)
	mustApply(t, s, 1, Unpark{Pipeline: "p", Keys: []alert.ID{e.Key, testID(9)}})
	if s.HasParked("p", e.Key) || !s.HasParked("p", testID(2)) {
		t.Error("the wrong entry was removed")
	}
	if got := s.Totals().Parked; got != 2 {
		t.Errorf("%d ever parked, want 2", got)
	}
}

func TestFullParkedEntriesRefuseTheWholeCommit(t *testing.T) {
	big := parkedEntry(0, 60_000)
	for name, c := range map[string]struct{ entries, payload int }{
		"by number": {MaxParked, 1}, "by bytes": {MaxParkedBytes / big.size(), 60_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(t)
			for i := range c.entries {
				mustApply(t, s, 1, Commit{Pipeline: "p", Parked: []Parked{parkedEntry(i, c.payload)}})
			}
			v := alert.Version{ID: testID(7), LastModified: ms0}
			more := Commit{Pipeline: "p", Cursor: ms0, Sent: []alert.Version{v}, Parked: []Parked{parkedEntry(c.entries, c.payload)}}
			mustRefuse(t, s, 1, more, ErrParkedFull)
			mustApply(t, s, 1, Commit{Pipeline: "p", Parked: []Parked{parkedEntry(0, c.payload)}}) // known
			mustApply(t, s, 1, Commit{Pipeline: "q", Parked: more.Parked})                         // another's
			mustApply(t, s, 1, Unpark{Pipeline: "p", Keys: []alert.ID{testID(0)}})
			mustApply(t, s, 1, more)
		})
	}
}

func TestSelfAlertsAreASet(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, Commit{Pipeline: "p", Raised: []string{"scom-outage", "full", "full"}})
	mustApply(t, s, 1, Commit{Pipeline: "p", Raised: []string{"lam-outage"}, Cleared: []string{"full", "lam-outage"}})
	if got, want := pipe(t, s, "p").Raised, []string{"scom-outage"}; !slices.Equal(got, want) {
		t.Errorf("raised %v, want %v", got, want)
	}
	if !s.Raised("p", "scom-outage") || s.Raised("p", "full") || s.Raised("q", "scom-outage") {
		t.Error("Raised differs from the list")
	}
	var many []string
	for i := range maxKinds {
		many = append(many, fmt.Sprint("kind-", i))
	}
	mustRefuse(t, s, 1, Commit{Pipeline: "p", Raised: many}, ErrFull)
}

func TestSettingsFollowTheVersionThatTheirAuthorSaw(t *testing.T) {
	s := started(t)
	mustRefuse(t, s, 1, SetConfig{Expect: 1, Text: []byte("{}"), At: t0}, ErrStale)
	for v := range uint64(25) {
		res, _ := apply(t, s, 1, SetConfig{Expect: v, Text: fmt.Append(nil, v), Author: "ann", At: t0})
		if res.Err != nil || res.Version != v+1 {
			t.Fatalf("got version %d and %v, want %d", res.Version, res.Err, v+1)
		}
	}
	mustRefuse(t, s, 1, SetConfig{Expect: 24, Text: []byte("{}"), At: t0}, ErrStale)
	res, _ := apply(t, s, 1, SetConfig{Expect: 3, Text: []byte("{}"), At: t0})
	if res.Version != 25 {
		t.Errorf("the refusal names version %d, want the current one, 25", res.Version)
	}
	h := s.ConfigHistory()
	if len(h) != 20 || h[0].Version != 25 || h[19].Version != 6 || string(h[0].Text) != "24" {
		t.Errorf("got %d versions from %d, want 20 from 25", len(h), h[0].Version)
	}
	s.Config().Text[0] = 'x'
	if got := s.Config(); string(got.Text) != "24" || got.Author != "ann" || !got.At.Equal(t0) {
		t.Errorf("got %+v, want what was set: a reader's copy is its own", got)
	}
}

func TestTheManagementGroupChangesOnlyByForce(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, SetManagementGroup{Name: "MG1"})
	mustApply(t, s, 1, SetManagementGroup{Name: "MG1"})
	mustRefuse(t, s, 1, SetManagementGroup{Name: "MG2"}, ErrStale)
	mustApply(t, s, 1, SetManagementGroup{Name: "MG2", Force: true})
	if got := s.ManagementGroup(); got != "MG2" {
		t.Errorf("got %q, want MG2", got)
	}
}

func TestARemovedPipelineIsKeptForSevenDays(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, Commit{Pipeline: "a", Cursor: ms0, Sent: []alert.Version{{ID: testID(1), LastModified: ms0}}, Parked: []Parked{parkedEntry(1, 1)}})
	mustApply(t, s, 1, Commit{Pipeline: "b", Cursor: ms0})
	want := func(day int, names []string, left ...string) {
		t.Helper()
		mustApply(t, s, 1, SetPipelines{Names: names, At: t0.AddDate(0, 0, day)})
		var got []string
		for _, p := range s.Pipelines() {
			got = append(got, p.Name)
		}
		if !slices.Equal(got, left) {
			t.Errorf("day %d: pipelines %v, want %v", day, got, left)
		}
	}
	want(0, []string{"b", "new"}, "a", "b") // it creates nothing
	if at := pipe(t, s, "a").RemovedAt; !at.Equal(t0) {
		t.Errorf("removed at %v, want %v", at, t0)
	}
	want(6, []string{"b"}, "a", "b")
	want(7, []string{"a", "b"}, "a", "b") // back where it stood
	if p := pipe(t, s, "a"); !p.RemovedAt.IsZero() || p.Cursor != ms0 || p.Remembered != 1 {
		t.Errorf("got %+v, want it as it was", p)
	}
	want(8, []string{"b"}, "a", "b")
	want(14, []string{"b"}, "a", "b")
	want(15, []string{"b"}, "b")
	if got, want := s.Totals(), (Totals{Accepted: 1, Parked: 1}); got != want {
		t.Errorf("totals %+v, want %+v: they outlive the pipeline", got, want)
	}
}

func TestARenamedPipelineKeepsItsState(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, Commit{Pipeline: "old", Cursor: ms0, Parked: []Parked{parkedEntry(1, 1)}, Raised: []string{"full"}})
	carry := SetPipelines{Names: []string{"new"}, Carry: map[string]string{"new": "old"}, At: t0}
	mustApply(t, s, 1, carry)
	before := snapshotBytes(t, s)
	mustApply(t, s, 1, carry) // the settings go on naming the previous name
	if !bytes.Equal(before, snapshotBytes(t, s)) {
		t.Error("carrying twice is not the same as once")
	}
	p := pipe(t, s, "new")
	if _, there := s.Pipeline("old"); there || p.Cursor != ms0 || p.ParkedNow != 1 || !slices.Equal(p.Raised, []string{"full"}) {
		t.Errorf("got %+v, old there: %v; want all of it under the new name", p, there)
	}

	mustApply(t, s, 1, Commit{Pipeline: "kept", Cursor: ms0 + 1})
	mustApply(t, s, 1, SetPipelines{Names: []string{"new", "kept", "x"}, Carry: map[string]string{"x": "kept", "new": "kept"}, At: t0})
	if pipe(t, s, "kept").Cursor != ms0+1 || pipe(t, s, "new").Cursor != ms0 {
		t.Error("a pipeline that is still wanted, or one that exists, was moved")
	}
	if _, there := s.Pipeline("x"); there {
		t.Error("x was made out of a pipeline that is still wanted")
	}
}

func TestPipelinesThatWereOnlyAdoptedGoIntoTheRenamedOne(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, Commit{Pipeline: "old", Start: true, Cursor: ms0, Parked: []Parked{parkedEntry(1, 9), parkedEntry(2, 9)}, Raised: []string{"full"}})
	mustApply(t, s, 1, AdoptPipeline{Node: "n", Pipeline: "new", Parked: []Parked{parkedEntry(2, 9), parkedEntry(3, 9)}, Raised: []string{"lam-outage"}})
	rename := SetPipelines{Names: []string{"new"}, Carry: map[string]string{"new": "old"}, At: t0}
	mustApply(t, s, 1, rename)
	p := pipe(t, s, "new")
	if !p.Started || p.Cursor != ms0 || p.ParkedNow != 3 || !slices.Equal(p.Raised, []string{"full", "lam-outage"}) || len(s.Pipelines()) != 1 {
		t.Errorf("got %+v of %d pipelines, want the position of the old one and what both had", p, len(s.Pipelines()))
	}
	if got := s.Totals().Parked; got != 4 {
		t.Errorf("%d ever parked, want 4", got)
	}
	before := snapshotBytes(t, s)
	mustApply(t, s, 1, rename)
	if !bytes.Equal(before, snapshotBytes(t, s)) {
		t.Error("carrying twice is not the same as once")
	}
}

func TestAPipelineWithoutAPositionIsNotCarriedIntoAnother(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, AdoptPipeline{Node: "n", Pipeline: "old", Raised: []string{"full"}})
	mustApply(t, s, 1, AdoptPipeline{Node: "n", Pipeline: "new"})
	mustApply(t, s, 1, SetPipelines{Names: []string{"new"}, Carry: map[string]string{"new": "old"}, At: t0})
	if old, kept := pipe(t, s, "old"), pipe(t, s, "new"); len(old.Raised) != 1 || len(kept.Raised) != 0 {
		t.Errorf("got %+v and %+v, want both as they were", old, kept)
	}
}

func TestAnAdoptedPipelineStaysByItselfWhereTheRenamedOneHasNoRoom(t *testing.T) {
	s := started(t)
	for i := range MaxParked {
		mustApply(t, s, 1, Commit{Pipeline: "old", Cursor: ms0, Parked: []Parked{parkedEntry(i, 1)}})
	}
	mustApply(t, s, 1, AdoptPipeline{Node: "n", Pipeline: "new", Parked: []Parked{parkedEntry(MaxParked, 1)}})
	mustApply(t, s, 1, SetPipelines{Names: []string{"new"}, Carry: map[string]string{"new": "old"}, At: t0})
	if old, adopted := pipe(t, s, "old"), pipe(t, s, "new"); old.ParkedNow != MaxParked || adopted.ParkedNow != 1 {
		t.Errorf("got %+v and %+v, want both as they were", old, adopted)
	}
}

func TestPipelinesAreLimited(t *testing.T) {
	s := started(t)
	for i := range MaxPipelines {
		mustApply(t, s, 1, Commit{Pipeline: fmt.Sprint("p", i), Cursor: ms0})
	}
	mustRefuse(t, s, 1, Commit{Pipeline: "one-more", Cursor: ms0}, ErrFull)
	mustRefuse(t, s, 1, AdoptPipeline{Node: "n", Pipeline: "one-more"}, ErrFull)
	mustApply(t, s, 1, Commit{Pipeline: "p0", Cursor: ms0 + 1})
}

func TestPartsNameWhatChanged(t *testing.T) {
	s := New()
	v := alert.Version{ID: testID(1), LastModified: ms0}
	key := testID(5)
	for _, c := range []struct {
		op   Op
		want string
	}{
		{TermStart{Node: "a", At: t0}, "meta leaders"},
		{Commit{Pipeline: "p", Cursor: ms0}, "pipe/p"},
		{Commit{Pipeline: "p", Sent: []alert.Version{v}}, "pipe/p delta/p"},
		{Commit{Pipeline: "p", Sent: []alert.Version{v}}, "pipe/p"},
		{Commit{Pipeline: "p", Handled: []alert.Version{{ID: testID(2), LastModified: ms0}}}, "pipe/p delta/p"},
		{Commit{Pipeline: "p", Parked: []Parked{{Key: key, At: t0}, {Key: key, At: t0}}}, "pipe/p parked/p/" + key.String()},
		{SetConfig{Text: []byte("{}"), At: t0}, "config/1"},
		{SetManagementGroup{Name: "MG"}, "meta"},
		{Rewind{Pipeline: "p", To: 1, At: t0}, "pipe/p base/p"},
		{SetPipelines{Names: []string{"q"}, Carry: map[string]string{"q": "p"}, At: t0}, "pipe/p pipe/q base/p base/q parked/p/" + key.String() + " parked/q/" + key.String()},
		{Unpark{Pipeline: "q", Keys: []alert.ID{key}}, "parked/q/" + key.String()},
		{SetPipelines{At: t0}, "pipe/q"},
		{SetPipelines{At: t0.AddDate(0, 0, 7)}, "meta pipe/q base/q"},
		{SetMaintenance{Node: "a", On: true, At: t0}, "maintenance"},
		{SetMaintenance{Node: "a", At: t0}, "maintenance"},
		{SetMaintenance{Node: "a", At: t0}, ""},
		{AdoptPipeline{Node: "a", Pipeline: "p"}, "pipe/p"},
		{AdoptPipeline{Node: "a", Pipeline: "p"}, ""},
		{AdoptPipeline{Node: "a", Pipeline: "p", Raised: []string{"full"}, Parked: []Parked{{Key: key, At: t0}}}, "pipe/p parked/p/" + key.String()},
		{AdoptSettings{Node: "a", Text: []byte("{1}"), At: t0}, "config/2 config/3"},
		{AdoptSettings{Node: "a", Text: []byte("{1}"), At: t0}, ""},
		{AdoptNote{Node: "a", Text: "x", At: t0}, "notes"},
		{AdoptNote{Node: "a", Text: "x", At: t0}, ""},
		{NoteLogon{Account: "a", Event: LogonUnjudged, At: t0}, ""},
		{NoteLogon{Account: "a", Event: LogonBegun, At: t0}, "logons"},
		{NoteLogon{Account: "a", Event: LogonUnjudged, At: t0}, "logons"},
		{NoteLogon{Account: "a", Event: LogonUnjudged, At: t0}, ""},
		{NoteLogon{Account: "a", Event: LogonBegun, At: t0}, "logons"},
		{NoteLogon{Account: "a", Event: LogonRefused, At: t0, Until: t0.Add(time.Minute)}, "logons"},
		{NoteLogon{Account: "a", Event: LogonRefused, At: t0, Until: t0.Add(time.Minute)}, ""},
		{NoteLogon{Account: "A", Event: LogonAccepted, At: t0}, "logons"},
		{NoteLogon{Account: "a", Event: LogonAccepted, At: t0}, ""},
	} {
		var names []string
		for _, p := range mustApply(t, s, 1, c.op) {
			names = append(names, p.String())
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%T: changed %q, want %q", c.op, got, c.want)
		}
	}
}

func TestShardsAreEvenForSequentialIDs(t *testing.T) {
	for _, at := range []int{0, 3, 7, 8, 10, 15} { // where SQL Server and others count
		var count [256]int
		const n = 256 * 64
		for i := range n {
			id := testID(42)
			id[at] += byte(i)
			id[(at+15)%16] += byte(i >> 8)
			count[shardOf(id)]++
		}
		if most := slices.Max(count[:]); most > 64*3 {
			t.Errorf("counting at byte %d: a shard has %d of %d ids, want about 64", at, most, n)
		}
	}
}

func TestDeliveredSinceCountsWhatARewindForgets(t *testing.T) {
	var d delivered
	for i := range 10 {
		d.put(alert.Version{ID: alert.ID{byte(i)}, LastModified: alert.Millis(1000 * i)})
	}
	s := New()
	s.pipes["alerts/default"] = &pipeline{delivered: d}
	for to, want := range map[alert.Millis]int{0: 10, 1: 9, 5000: 5, 9000: 1, 9001: 0} {
		if got := s.DeliveredSince("alerts/default", to); got != want {
			t.Errorf("since %d: got %d, want %d", to, got, want)
		}
	}
	if got := s.DeliveredSince("alerts/old", 0); got != 0 {
		t.Errorf("of a pipeline that is not there: got %d, want 0", got)
	}
}
