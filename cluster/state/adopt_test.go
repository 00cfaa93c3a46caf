package state

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

func adopted(entries ...Parked) AdoptPipeline {
	return AdoptPipeline{Node: "primary", Epoch: epoch2, Pipeline: "p", Parked: entries}
}

// mustChangeNothing applies an op that has been applied before.
func mustChangeNothing(t *testing.T, s *State, op Op) {
	t.Helper()
	before := snapshotBytes(t, s)
	if parts := mustApply(t, s, 1, op); len(parts) > 0 || !bytes.Equal(before, snapshotBytes(t, s)) {
		t.Errorf("%T: repeated, it changed %v", op, parts)
	}
}

func TestAnAdoptedPipelineIsNotStarted(t *testing.T) {
	s := started(t)
	op := adopted(parkedEntry(1, 5), parkedEntry(2, 5), parkedEntry(2, 9))
	op.Raised = []string{"lam-outage", "full"}
	mustApply(t, s, 1, op)
	p := pipe(t, s, "p")
	if p.Started || p.Cursor != 0 || p.ParkedNow != 2 || p.ParkedEver != 2 || !slices.Equal(p.Raised, []string{"full", "lam-outage"}) {
		t.Errorf("got %+v, want two parked entries and two self-alerts at no position", p)
	}
	mustChangeNothing(t, s, op)
}

func TestWhatIsParkedHereStaysAsItIs(t *testing.T) {
	s := started(t)
	here := parkedEntry(1, 5)
	mustApply(t, s, 1, Commit{Pipeline: "p", Start: true, Cursor: ms0, Parked: []Parked{here}, Raised: []string{"full"}})
	there := here
	there.Answer, there.Payload = "another", nil
	mustApply(t, s, 1, adopted(there, parkedEntry(2, 5)))
	list := s.ParkedList("p")
	if len(list) != 2 || list[1].Answer != here.Answer || !bytes.Equal(list[1].Payload, here.Payload) {
		t.Errorf("got %+v, want this cluster's own entry beside the adopted one", list)
	}
	if p := pipe(t, s, "p"); p.Cursor != ms0 || !p.Started || p.ParkedEver != 2 || !slices.Equal(p.Raised, []string{"full"}) {
		t.Errorf("got %+v, want everything else as it was", p)
	}
}

func TestFullParkedEntriesRefuseTheWholeAdoption(t *testing.T) {
	big := parkedEntry(0, 60_000)
	for name, c := range map[string]struct{ entries, payload int }{
		"by number": {MaxParked, 1}, "by bytes": {MaxParkedBytes / big.size(), 60_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(t)
			for i := range c.entries {
				mustApply(t, s, 1, Commit{Pipeline: "p", Parked: []Parked{parkedEntry(i, c.payload)}})
			}
			more := adopted(parkedEntry(c.entries, c.payload))
			more.Raised = []string{"full"}
			mustRefuse(t, s, 1, more, ErrParkedFull)
			mustChangeNothing(t, s, adopted(parkedEntry(0, c.payload))) // parked already
			mustApply(t, s, 1, Unpark{Pipeline: "p", Keys: []alert.ID{testID(0)}})
			mustApply(t, s, 1, more)
		})
	}
}

func TestAdoptedSelfAlertsAreLimited(t *testing.T) {
	s := started(t)
	var kinds []string
	for i := range maxKinds - 1 {
		kinds = append(kinds, fmt.Sprint("kind-", i))
	}
	op := adopted()
	op.Raised = kinds
	mustApply(t, s, 1, op)
	op.Raised = []string{"a", "b"}
	mustRefuse(t, s, 1, op, ErrFull)
	op.Raised = []string{"a", "kind-0"}
	mustApply(t, s, 1, op)
}

// settings is a state that has had these texts, one after the other.
func settings(t *testing.T, texts ...string) *State {
	t.Helper()
	s := started(t)
	for i, text := range texts {
		mustApply(t, s, 1, SetConfig{Expect: uint64(i), Text: []byte(text), Author: "here", At: t0})
	}
	return s
}

// adoption is what a node hands over that has had these texts.
func adoption(t *testing.T, texts ...string) AdoptSettings {
	t.Helper()
	op := AdoptSettings{Node: "primary", Epoch: epoch2, Text: []byte(texts[len(texts)-1]), Author: "there", At: t0.Add(time.Hour)}
	for i, text := range texts {
		op.Known = append(op.Known, ConfigSum{Version: uint64(i + 1), Sum: sumOf(text)})
	}
	return op
}

func TestSettingsOfBothSidesStayInTheHistory(t *testing.T) {
	for _, c := range []struct {
		what        string
		here, there []string
		want        string // the history, oldest first; the last is in use
	}{
		{"nobody changed them", []string{"a"}, []string{"a"}, "a"},
		{"changed here only", []string{"a", "b"}, []string{"a"}, "a b"},
		{"changed there only", []string{"a"}, []string{"a", "x"}, "a x"},
		{"changed there twice", []string{"a", "b"}, []string{"a", "b", "x", "y"}, "a b y"},
		{"changed on both sides", []string{"a", "b"}, []string{"a", "x"}, "a b x b"},
		{"changed alike", []string{"a", "b"}, []string{"a", "b"}, "a b"},
		{"changed alike, then there", []string{"a", "b"}, []string{"a", "b", "x"}, "a b x"},
		{"rolled back here, changed there", []string{"a", "b", "a"}, []string{"a", "b", "x"}, "a b a x a"},
		{"the same text as another version", []string{"a", "b"}, []string{"a", "x", "b", "y"}, "a b y b"},
		{"rolled back there", []string{"a", "b"}, []string{"a", "b", "a"}, "a b"},
		{"none here", nil, []string{"x"}, "x"},
	} {
		s, op := settings(t, c.here...), adoption(t, c.there...)
		res, _ := apply(t, s, 1, op)
		var got []string
		for _, v := range s.ConfigHistory() {
			got = append([]string{string(v.Text)}, got...)
		}
		if strings.Join(got, " ") != c.want || res.Err != nil {
			t.Errorf("%s: the history is %v (%v), want %s", c.what, got, res.Err, c.want)
		}
		if used := s.Config(); res.Version != used.Version || used.Version != uint64(len(got)) {
			t.Errorf("%s: the result names version %d, version %d of %d is in use", c.what, res.Version, used.Version, len(got))
		}
		mustChangeNothing(t, s, op)
		if res, _ := apply(t, s, 1, op); res.Version != s.Config().Version {
			t.Errorf("%s: repeated, the result names version %d, want %d", c.what, res.Version, s.Config().Version)
		}
	}
}

func TestAdoptedSettingsKeepTheirAuthorsAndTheLimit(t *testing.T) {
	var texts []string
	for i := range maxConfigVersions {
		texts = append(texts, fmt.Sprint("text ", i))
	}
	s := settings(t, texts...)
	mustApply(t, s, 1, adoption(t, "text 0", "x"))
	h := s.ConfigHistory()
	if len(h) != maxConfigVersions || h[0].Version != 22 || string(h[0].Text) != "text 19" || h[0].Author != "here" || !h[0].At.Equal(t0) {
		t.Errorf("got %d versions, in use %+v, want the last of 20 put back as version 22", len(h), h[0])
	}
	if string(h[1].Text) != "x" || h[1].Author != "there" || !h[1].At.Equal(t0.Add(time.Hour)) {
		t.Errorf("got %+v, want the adopted version by its author", h[1])
	}
}

func TestSumsTellTextsApart(t *testing.T) {
	a := ConfigVersion{Version: 1, Text: []byte("a"), Author: "ann", At: t0}
	same := ConfigVersion{Version: 2, Text: []byte("a")}
	if a.Sum() != same.Sum() || a.Sum() == sumOf("b") || sumOf("") == a.Sum() {
		t.Error("the sum must be of the text alone")
	}
	if got, want := sumOf("123456789"), uint64(0x995dc9bbdf1939fa); got != want { // it is compared between programs
		t.Errorf("sum %#x, want %#x", got, want)
	}
}

func TestTheLastFiftyNotesAreKeptOnce(t *testing.T) {
	s := started(t)
	for i := range 60 {
		note := AdoptNote{Node: "primary", Epoch: epoch2, Text: fmt.Sprint("note ", i), At: t0}
		mustApply(t, s, 1, note)
		note.At = t0.Add(time.Minute) // handed over once more
		mustChangeNothing(t, s, note)
	}
	n := s.Notes()
	if len(n) != 50 || n[0].Text != "note 59" || n[49].Text != "note 10" || !n[0].At.Equal(t0) || n[0].Node != "primary" || n[0].Epoch != epoch2 {
		t.Errorf("got %d notes from %+v, want 50 from note 59, as they were first handed over", len(n), n[0])
	}
	for _, op := range []AdoptNote{{Node: "secondary", Epoch: epoch2, Text: "note 59", At: t0}, {Node: "primary", Text: "note 59", At: t0}} {
		if parts := mustApply(t, s, 1, op); len(parts) == 0 {
			t.Errorf("%+v was taken for another node's or epoch's", op)
		}
	}
	long := AdoptNote{Node: "primary", Text: strings.Repeat("ü", 5000), At: t0}
	mustApply(t, s, 1, long)
	if got := len(s.Notes()[0].Text); got != maxNoteText {
		t.Errorf("a note of %d bytes is kept, want it cut to %d", got, maxNoteText)
	}
	mustChangeNothing(t, s, long)
}
