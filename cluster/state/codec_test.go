package state

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

// everyOp has each kind with each field set, and each kind at its least.
func everyOp() []Op {
	return []Op{
		TermStart{Node: "primary", ClusterID: "c1", Cause: "formed", Reason: "first start", At: t0.Add(123456789)},
		TermStart{Node: "n", At: time.Time{}},
		Commit{Pipeline: "alerts/default", Start: true, Cursor: ms0, Floor: ms0 - 5, Forget: ms0 - 60_000,
			Sent:    []alert.Version{{ID: testID(1), LastModified: ms0 - 3}, {ID: testID(2), LastModified: ms0 - 10, State: 255}},
			Handled: []alert.Version{{ID: testID(3), LastModified: ms0 - 4}},
			Parked:  []Parked{parkedEntry(1, 5), {At: t0}},
			Raised:  []string{"full"}, Cleared: []string{"scom-outage", "lam-outage"}},
		Commit{Pipeline: "p"},
		Commit{Pipeline: "p", Rewinds: 300, Cursor: ms0, Sent: []alert.Version{{ID: testID(1), LastModified: ms0 - 3}}},
		Commit{Pipeline: "p", Sent: []alert.Version{{LastModified: minMillis}, {LastModified: maxMillis, State: 7}, {LastModified: minMillis}}},
		SetConfig{Expect: 7, Text: []byte(`{"a":1}`), Author: "ann", At: t0},
		SetConfig{At: t0},
		SetManagementGroup{Name: "CONTOSO-MG", Force: true},
		SetManagementGroup{Name: "x"},
		Rewind{Pipeline: "p", To: ms0, Author: "bob", At: t0},
		Rewind{Pipeline: "p", At: t0},
		Unpark{Pipeline: "p", Keys: []alert.ID{testID(1), testID(2)}},
		Unpark{Pipeline: "p"},
		SetPipelines{Names: []string{"b", "a"}, Carry: map[string]string{"b": "x", "a": "y"}, At: t0},
		SetPipelines{At: t0},
		SetMaintenance{Node: "primary", On: true, Sticky: true, Start: 1 << 33, Unless: []string{"secondary", "witness"}, Author: "ann", At: t0},
		SetMaintenance{Node: "n", At: t0},
		AdoptPipeline{Node: "primary", Epoch: epoch2, Pipeline: "alerts/default", Parked: []Parked{parkedEntry(1, 5), {At: t0}}, Raised: []string{"full"}},
		AdoptPipeline{Node: "n", Pipeline: "p"},
		AdoptSettings{Node: "primary", Epoch: epoch2, Text: []byte(`{"a":1}`), Author: "ann", At: t0, Known: []ConfigSum{{1, 1<<64 - 1}, {1 << 40, 0}}},
		AdoptSettings{Node: "n", At: t0},
		AdoptNote{Node: "primary", Epoch: epoch2, Text: "it led", At: t0},
		AdoptNote{Node: "n", Text: "x", At: t0},
		Accept{Request: fullRequest(1), MaxEntries: 100_000, MaxBytes: 64 << 20},
		Accept{Request: Request{ID: "r", Alert: testID(1), Node: "n", At: t0}, MaxEntries: 1, MaxBytes: 1},
		Begin{Begun: []Begun{{ID: requestID(1), Seen: ms0}, {ID: "r"}}},
		Begin{},
		Settle{Settled: []Settlement{{ID: requestID(1), Outcome: Done}, {ID: requestID(2), Outcome: Refused, Reason: "not allowed"}}, At: t0},
		Settle{At: t0},
		Retry{IDs: []string{requestID(1), requestID(2)}, MaxEntries: MaxOutbox, MaxBytes: MaxOutboxBytes},
		Retry{MaxEntries: 1, MaxBytes: 1},
		Discard{IDs: []string{requestID(1)}},
		Discard{},
		AdoptOutbox{Node: "primary", Epoch: epoch2, Requests: []Request{fullRequest(1), request(2)},
			Parked: []ParkedRequest{{Request: fullRequest(3), Reason: "not allowed", At: t0.Add(time.Second)}, {Request: request(4), At: t0}}},
		AdoptOutbox{Node: "n"},
		NoteLogon{Account: `CONTOSO\svc`, Secret: 1<<16 - 1, Event: LogonRefused, At: t0, Until: t0.Add(time.Hour), Reason: "HTTP 401", Console: "scom1", Node: "primary"},
		NoteLogon{Account: "a", Event: LogonAccepted},
		NoteLogon{Account: "a", Secret: 7, Event: LogonUnjudged, At: t0, Node: "primary"},
	}
}

// epoch2 is the one that nodes yield in tests.
var epoch2 = Epoch{Number: 2, Node: "primary"}

func TestKindsAreKnownUpToTheHighest(t *testing.T) {
	highest := byte(0)
	for _, op := range everyOp() {
		b, err := Encode(Command{Token: tok(1), Op: op})
		if err != nil || b[1] != KindOf(op) {
			t.Errorf("%T: encoded as kind %d with %v, want %d", op, b[1], err, KindOf(op))
		}
		highest = max(highest, KindOf(op))
	}
	if highest != MaxKind {
		t.Errorf("the highest kind is %d, MaxKind says %d", highest, MaxKind)
	}
}

func TestEveryCommandReadsBackAsItWas(t *testing.T) {
	for _, op := range everyOp() {
		c := Command{Token: tok(1 << 40), Op: op}
		b, err := EncodeTo([]byte("before"), c)
		if err != nil {
			t.Errorf("encode %+v: %v", op, err)
			continue
		}
		got, err := Decode(bytes.TrimPrefix(b, []byte("before")))
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, c)
		}
	}
}

func TestADecodedCommandOwnsItsBytes(t *testing.T) {
	b, err := Encode(Command{Token: tok(1), Op: SetConfig{Text: []byte("text"), At: t0}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if got := string(c.Op.(SetConfig).Text); got != "text" {
		t.Errorf("got %q: the log's buffer shows through", got)
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	long := strings.Repeat("x", 256)
	far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	var kinds []string
	for range maxKinds + 1 {
		kinds = append(kinds, "k")
	}
	for _, c := range []struct {
		op   Op
		want string
	}{
		{nil, "<nil> is not a command"},
		{&Unpark{Pipeline: "p"}, "*state.Unpark is not a command"},
		{TermStart{At: t0}, "node: a name must have 1 to 255 bytes"},
		{TermStart{Node: "n", ClusterID: long, At: t0}, "cluster id: a name must"},
		{TermStart{Node: "n", Cause: long, At: t0}, "cause: a name must"},
		{TermStart{Node: "n", At: far}, "not within the years 0 to 9999"},
		{Commit{}, "pipeline: a name must"},
		{Commit{Pipeline: long}, "pipeline: a name must"},
		{Commit{Pipeline: "p", Cursor: maxMillis + 1}, "cursor: 253402300800000 ms is not"},
		{Commit{Pipeline: "p", Floor: minMillis - 1}, "floor"},
		{Commit{Pipeline: "p", Forget: minMillis - 1}, "forget"},
		{Commit{Pipeline: "p", Raised: []string{""}}, "the kind of a self-alert must have 1 to 64 bytes"},
		{Commit{Pipeline: "p", Cleared: []string{long}}, "the kind of a self-alert must have 1 to 64 bytes"},
		{Commit{Pipeline: "p", Raised: kinds}, "65 self-alerts at once"},
		{Commit{Pipeline: "p", Sent: []alert.Version{{ID: testID(1), LastModified: maxMillis + 1}}}, "alert " + testID(1).String()},
		{Commit{Pipeline: "p", Handled: []alert.Version{{ID: testID(1), LastModified: maxMillis + 1}}}, "alert " + testID(1).String()},
		{Commit{Pipeline: "p", Parked: []Parked{{At: far}}}, "parked alert"},
		{Commit{Pipeline: "p", Parked: []Parked{{Payload: make([]byte, MaxCommand)}}}, "are more than the 65536 a command may have"},
		{SetConfig{Text: make([]byte, MaxConfigText+1), At: t0}, "settings of 61441 bytes"},
		{SetManagementGroup{}, "management group: a name"},
		{Rewind{Pipeline: "p", To: maxMillis + 1, At: t0}, "position"},
		{Unpark{}, "pipeline: a name"},
		{SetPipelines{Names: []string{""}, At: t0}, "pipeline: a name"},
		{SetPipelines{Names: make([]string, MaxPipelines+1), At: t0}, "more than 64 pipelines"},
		{SetPipelines{Carry: map[string]string{"a": ""}, At: t0}, "previous name: a name"},
		{SetPipelines{}, "the time is missing"},
		{SetMaintenance{At: t0}, "node: a name"},
		{SetMaintenance{Node: "n", At: far}, "not within the years 0 to 9999"},
		{SetMaintenance{Node: "n", Unless: []string{""}, At: t0}, "other node: a name"},
		{SetMaintenance{Node: "n", Unless: make([]string, maxMaintenance+1), At: t0}, "33 other nodes are more than 32"},
		{AdoptPipeline{Pipeline: "p"}, "node: a name"},
		{AdoptPipeline{Node: "n", Epoch: Epoch{Node: long}, Pipeline: "p"}, "the epoch's node: a name"},
		{AdoptPipeline{Node: "n"}, "pipeline: a name"},
		{AdoptPipeline{Node: "n", Pipeline: "p", Raised: kinds}, "65 self-alerts at once"},
		{AdoptPipeline{Node: "n", Pipeline: "p", Parked: []Parked{{At: far}}}, "parked alert"},
		{AdoptPipeline{Node: "n", Pipeline: "p", Parked: []Parked{{At: t0, Payload: make([]byte, MaxCommand)}}}, "are more than the 65536 a command may have"},
		{AdoptSettings{At: t0}, "node: a name"},
		{AdoptSettings{Node: "n", At: far}, "not within"},
		{AdoptSettings{Node: "n", Text: make([]byte, MaxConfigText+1), At: t0}, "settings of 61441 bytes"},
		{AdoptSettings{Node: "n", Known: make([]ConfigSum, 21), At: t0}, "21 known versions of the settings are more than the 20"},
		{AdoptNote{Text: "x", At: t0}, "node: a name"},
		{AdoptNote{Node: "n", At: t0}, "the note says nothing"},
		{AdoptNote{Node: "n", Text: "x", At: far}, "not within"},
		{Accept{Request: request(1), MaxBytes: 1}, "1 to 1000000 requests"},
		{Accept{Request: request(1), MaxEntries: 1, MaxBytes: MaxOutboxBytes + 1}, "1 to 1073741824 bytes"},
		{Accept{Request: request(1), MaxEntries: -1, MaxBytes: 1}, "not to -1 and 1"},
		{accept(with(request(1), func(q *Request) { q.ID = "" })), "the ID of a request must have 1 to 64 bytes"},
		{accept(with(request(1), func(q *Request) { q.ID = long })), "the ID of a request must have 1 to 64 bytes"},
		{accept(with(request(1), func(q *Request) { q.Key = long })), "Idempotency-Key: a name"},
		{accept(with(request(1), func(q *Request) { q.Node = "" })), "node: a name"},
		{accept(with(request(1), func(q *Request) { q.At = far })), "not within"},
		{accept(with(request(1), func(q *Request) { q.Alert = alert.ID{} })), "names no alert"},
		{accept(with(request(1), func(q *Request) { q.Comment = strings.Repeat("x", MaxRequest) })), "more than the 16384 that one may have"},
		{accept(with(request(1), func(q *Request) { q.Fields = []Field{{"b", "1"}, {"a", "2"}} })), "field a: fields must stand by name, each once"},
		{accept(with(request(1), func(q *Request) { q.Fields = []Field{{"a", "1"}, {"a", "2"}} })), "field a: fields must stand by name, each once"},
		{accept(with(request(1), func(q *Request) { q.Fields = []Field{{"", "1"}} })), "field: a name"},
		{accept(with(request(1), func(q *Request) { q.Fields = make([]Field, maxFields+1) })), "33 fields are more than 32"},
		{Settle{Settled: []Settlement{{ID: "r"}}, At: t0}, "0 is no outcome"},
		{Settle{Settled: []Settlement{{ID: "r", Outcome: Refused + 1}}, At: t0}, "4 is no outcome"},
		{Settle{Settled: []Settlement{{Outcome: Done}}, At: t0}, "the ID of a request"},
		{Settle{At: far}, "not within"},
		{Retry{IDs: []string{"r"}}, "the outbox may be limited"},
		{Retry{IDs: []string{""}, MaxEntries: 1, MaxBytes: 1}, "the ID of a request"},
		{Discard{IDs: []string{long}}, "the ID of a request"},
		{AdoptOutbox{}, "node: a name"},
		{AdoptOutbox{Node: "n", Requests: []Request{{}}}, "the ID of a request"},
		{AdoptOutbox{Node: "n", Parked: []ParkedRequest{{At: t0}}}, "the ID of a request"},
		{AdoptOutbox{Node: "n", Parked: []ParkedRequest{{Request: request(1), At: far}}}, "not within"},
	} {
		b, err := Encode(Command{Token: tok(1), Op: c.op})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(b) > 0 {
			t.Errorf("%T: got %d bytes and %v, want an error with %q", c.op, len(b), err, c.want)
		}
	}
	if _, err := Encode(Command{Token: Token{Epoch: Epoch{Node: long}}, Op: Unpark{Pipeline: "p"}}); err == nil {
		t.Error("a token with a long node was encoded")
	}
}

func TestDecodeTellsNewerFromDamaged(t *testing.T) {
	good, err := Encode(Command{Token: tok(300), Op: Commit{Pipeline: "p", Sent: []alert.Version{{ID: testID(1), LastModified: ms0}}}})
	if err != nil {
		t.Fatal(err)
	}
	newer := map[string][]byte{
		"version": append([]byte{commandVersion + 1}, good[1:]...),
		"kind":    append([]byte{commandVersion, MaxKind + 1}, good[2:]...),
		"kind 0":  append([]byte{commandVersion, 0}, good[2:]...),
	}
	for name, b := range newer {
		s := started(t)
		if _, _, err := s.Apply(1, 7, b); !errors.Is(err, ErrUnknownCommand) || !strings.Contains(err.Error(), "log entry 7") {
			t.Errorf("unknown %s: got %v, want ErrUnknownCommand at log entry 7", name, err)
		}
	}
	damaged := map[string][]byte{
		"longer": append(bytes.Clone(good), 0), "too long": make([]byte, MaxCommand+1),
		// Term 300 is ac 02; ac 82 00 says the same in three bytes.
		"number not minimal": bytes.Replace(good, []byte{0xac, 2}, []byte{0xac, 0x82, 0}, 1),
	}
	for n := range good {
		damaged[fmt.Sprint("cut at ", n)] = good[:n]
	}
	for name, b := range damaged {
		if c, err := Decode(b); err == nil || errors.Is(err, ErrUnknownCommand) {
			t.Errorf("%s: got %+v and %v, want an error that does not say \"newer\"", name, c, err)
		}
	}
}

func TestDecodeAllocatesNoMoreThanItWasGiven(t *testing.T) {
	b := []byte{commandVersion, byte(kindCommit), 1, 1, 'n', 1, 1, 'p', 0, 0, 0, 0, 0, 0, 0}
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0x0f) // 4 billion versions
	if _, err := Decode(b); !errors.Is(err, errShort) {
		t.Errorf("got %v, want %v", err, errShort)
	}
}

func FuzzDecode(f *testing.F) {
	for _, op := range everyOp() {
		b, err := Encode(Command{Token: tok(3), Op: op})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(c)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decodes as %+v, which encodes as %x, %v", b, c, again, err)
		}
		s := New()
		if _, _, err := s.Apply(0, 1, b); err != nil {
			t.Errorf("%+v decodes, and does not apply: %v", c, err)
		}
	})
}

func TestAVersionTakesNineteenBytes(t *testing.T) {
	const n = 3000
	c := Commit{Pipeline: "alerts/default", Cursor: ms0, Forget: ms0 - 60_000}
	for i := range n { // 500 a second, in no order, as a storm comes
		c.Sent = append(c.Sent, alert.Version{ID: testID(i), LastModified: ms0 + alert.Millis(i*7919%n*2)})
	}
	b, err := Encode(Command{Token: tok(1), Op: c})
	if err != nil {
		t.Fatal(err)
	}
	if got := float64(len(b)) / n; got > 19.5 {
		t.Errorf("%.1f bytes a version, want about 19", got)
	}
}

func TestSplitCommitMovesThePositionLast(t *testing.T) {
	whole := Commit{Pipeline: "p", Rewinds: 1, Start: true, Cursor: ms0 + 50_000, Floor: ms0, Forget: ms0 + 20_000, Raised: []string{"a"}, Cleared: []string{"b"}}
	for i := range 10_000 {
		whole.Sent = append(whole.Sent, alert.Version{ID: testID(i), LastModified: ms0 + alert.Millis(i*7919%50_000), State: uint8(255 * (i % 2))})
	}
	for i := range 500 {
		whole.Handled = append(whole.Handled, alert.Version{ID: testID(20_000 + i), LastModified: ms0 + alert.Millis(i*7919%50_000)})
	}
	for i := range 5 {
		whole.Parked = append(whole.Parked, parkedEntry(i, 20_000))
	}
	pieces, err := SplitCommit(tok(1), whole)
	if err != nil {
		t.Fatal(err)
	}
	if len(pieces) < 5 || len(pieces) > 6 {
		t.Errorf("%d pieces for 190 KB and 100 KB, want 5 or 6", len(pieces))
	}
	s, direct := started(t), started(t)
	for _, s := range []*State{s, direct} {
		mustApply(t, s, 1, Commit{Pipeline: "p"})
		mustApply(t, s, 1, Rewind{Pipeline: "p", To: ms0, At: t0})
	}
	for i, p := range pieces {
		mustApply(t, s, 1, p)
		if i == len(pieces)-1 {
			break
		}
		p.Sent, p.Handled, p.Parked = nil, nil, nil
		if !reflect.DeepEqual(p, Commit{Pipeline: "p", Rewinds: 1}) {
			t.Errorf("piece %d of %d carries %+v, want only versions and parked entries", i, len(pieces), p)
		}
		if info := pipe(t, s, "p"); info.Started || info.Cursor != 0 {
			t.Errorf("piece %d moved the position to %+v", i, info)
		}
	}
	direct.mu.Lock()
	direct.commit(&whole) // too long for a command, so by hand
	direct.mu.Unlock()
	if !bytes.Equal(snapshotBytes(t, s), snapshotBytes(t, direct)) {
		t.Error("the pieces do not make the same state as the whole")
	}
}

func TestSplitCommitLeavesAShortOneWhole(t *testing.T) {
	c := everyOp()[2].(Commit)
	pieces, err := SplitCommit(tok(1), c)
	if err != nil || len(pieces) != 1 || !reflect.DeepEqual(pieces[0], c) {
		t.Errorf("got %+v, %v, want the commit itself", pieces, err)
	}
}

func TestSplitCommitRefusesWhatNoCommandHolds(t *testing.T) {
	if p, err := SplitCommit(tok(1), Commit{Pipeline: "p", Parked: []Parked{parkedEntry(1, MaxCommand)}}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %d pieces and %v, want %v", len(p), err, ErrTooLarge)
	}
	if p, err := SplitCommit(tok(1), Commit{}); err == nil || errors.Is(err, ErrTooLarge) {
		t.Errorf("got %d pieces and %v for no pipeline, want another error", len(p), err)
	}
}
