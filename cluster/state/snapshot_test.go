package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

// furnished is a state with something of everything, n versions among it.
func furnished(t testing.TB, n int) *State {
	t.Helper()
	s := started(t)
	mustApply(t, s, 1, SetConfig{Text: []byte(`{"a":1}`), Author: "ann", At: t0})
	mustApply(t, s, 1, SetConfig{Expect: 1, Text: []byte(`{"a":2}`), Author: "bob", At: t0})
	mustApply(t, s, 1, SetManagementGroup{Name: "CONTOSO-MG"})
	mustApply(t, s, 1, SetMaintenance{Node: "witness", On: true, Author: "ann", At: t0})
	mustApply(t, s, 1, SetMaintenance{Node: "primary", On: true, Sticky: true, Start: 300, Author: "bob", At: t0})
	mustApply(t, s, 1, AdoptNote{Node: "secondary", Epoch: epoch2, Text: "it led alone", At: t0})
	mustApply(t, s, 1, AdoptNote{Node: "secondary", Epoch: epoch2, Text: "another", At: t0.Add(time.Second)})
	furnishLogons(t, s)
	c := Commit{Pipeline: "alerts/default", Start: true, Cursor: ms0 + 1000, Floor: ms0 - 9, Raised: []string{"full", "lam-outage"},
		Parked: []Parked{parkedEntry(1, 20), parkedEntry(2, 0)}}
	for i := range n {
		c.Sent = append(c.Sent, alert.Version{ID: testID(i), LastModified: ms0 - alert.Millis(i%86_400_000), State: uint8(i % 2 * 255)})
	}
	pieces, err := SplitCommit(tok(1), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		mustApply(t, s, 1, p)
	}
	furnishOutbox(t, s, n)
	mustApply(t, s, 1, Commit{Pipeline: "zz", Cursor: ms0})
	mustApply(t, s, 1, SetPipelines{Names: []string{"alerts/default"}, At: t0})
	return s
}

func furnishLogons(t testing.TB, s *State) {
	t.Helper()
	mustApply(t, s, 1, NoteLogon{Account: `CONTOSO\svc`, Secret: 7, Event: LogonBegun, At: t0})
	mustApply(t, s, 1, NoteLogon{Account: `CONTOSO\svc`, Secret: 9, Event: LogonRefused, At: t0, Until: t0.Add(5 * time.Minute), Reason: "401", Console: "scom1", Node: "primary"})
}

func TestASnapshotRestoresEverything(t *testing.T) {
	for _, n := range []int{0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk} {
		s := furnished(t, n)
		want := snapshotBytes(t, s)
		got := New()
		mustApply(t, got, 9, TermStart{Node: "other", At: t0}) // all of it is replaced
		if err := got.Restore(bytes.NewReader(want)); err != nil {
			t.Fatalf("%d versions: %v", n, err)
		}
		if !bytes.Equal(want, snapshotBytes(t, got)) {
			t.Errorf("%d versions: the restored state writes another snapshot", n)
		}
		read := func(s *State) string {
			return fmt.Sprint(s.Pipelines(), s.Changes(), s.ConfigHistory(), s.ParkedList("alerts/default"), s.Totals(), s.Leader(), s.ClusterID(), s.Maintenance(), s.Notes(),
				s.Outbox(MaxOutbox), s.ParkedRequests(), s.SettledList(MaxSettled), fmt.Sprint(s.OutboxInfo()))
		}
		if read(got) != read(s) {
			t.Errorf("%d versions: the restored state reads otherwise", n)
		}
	}
}

func TestADamagedSnapshotReplacesNothing(t *testing.T) {
	good := snapshotBytes(t, furnished(t, 50))
	s := started(t)
	before := snapshotBytes(t, s)
	check := func(what string, b []byte) {
		t.Helper()
		if err := s.Restore(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: restored", what)
		}
		if !bytes.Equal(before, snapshotBytes(t, s)) {
			t.Fatalf("%s: the state was changed", what)
		}
	}
	for i := range good {
		check(fmt.Sprint("cut at ", i), good[:i])
		for _, mask := range []byte{1, 0x80} {
			b := bytes.Clone(good)
			b[i] ^= mask
			check(fmt.Sprintf("byte %d xor %#x", i, mask), b)
		}
	}
	check("one byte more", append(bytes.Clone(good), 0))
	check("twice", append(bytes.Clone(good), good...))
}

func TestASnapshotOfANewerProgramSaysSo(t *testing.T) {
	b := snapshotBytes(t, furnished(t, 1))
	b[len(snapshotMagic)]++
	if err := New().Restore(bytes.NewReader(b)); !errors.Is(err, ErrUnknownCommand) {
		t.Errorf("got %v, want %v", err, ErrUnknownCommand)
	}
}

type failingWriter struct{ left int }

var errDisk = errors.New("disk full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errDisk
	}
	return len(b), nil
}

func (w *failingWriter) Read([]byte) (int, error) { return 0, errDisk }

func TestASnapshotWithListsOutOfBoundsIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*data)
		want  error
	}{
		"flags out of order": {func(d *data) { d.flags[0], d.flags[1] = d.flags[1], d.flags[0] }, errOrder},
		"a flag twice":       {func(d *data) { d.flags[1] = d.flags[0] }, errOrder},
		"too many flags":     {func(d *data) { d.flags = make([]Maintenance, maxMaintenance+1) }, errLimit},
		"too many notes":     {func(d *data) { d.notes = make([]Note, maxNotes+1) }, errLimit},
		"requests out of order": {func(d *data) {
			c := d.outbox.chunks[0]
			c[0], c[1] = c[1], c[0]
		}, errOrder},
		"a request that waits and is parked":  {func(d *data) { d.outbox.chunks[0][0].ID = "q" }, errOrder},
		"a Key twice":                         {func(d *data) { d.outbox.chunks[0][0].Key = d.outbox.parked["q"].Request.Key }, errOrder},
		"a request that waits and is settled": {func(d *data) { d.outbox.settled[0].Request.ID = d.outbox.chunks[0][0].ID }, errOrder},
		"settled twice":                       {func(d *data) { d.outbox.settled[0] = d.outbox.settled[1] }, errOrder},
		"too many settled":                    {func(d *data) { d.outbox.settled = slices.Repeat(d.outbox.settled, MaxSettled) }, errLimit},
		"parked requests of too many bytes":   {func(d *data) { d.outbox.parked["q"].Reason = strings.Repeat("x", 100_000); d.fillParked(170) }, errLimit},
	} {
		s := furnished(t, 1)
		c.spoil(&s.data)
		if err := New().Restore(bytes.NewReader(snapshotBytes(t, s))); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestFaultsOfTheStoreAreReported(t *testing.T) {
	s := furnished(t, 100)
	size := len(snapshotBytes(t, s))
	for left := range size {
		if _, err := s.Snapshot().WriteTo(&failingWriter{left}); !errors.Is(err, errDisk) {
			t.Fatalf("after %d bytes: got %v, want %v", left, err, errDisk)
		}
	}
	if err := s.Restore(&failingWriter{}); !errors.Is(err, errDisk) {
		t.Errorf("got %v, want %v", err, errDisk)
	}
}

func TestASnapshotStaysAsItWasTaken(t *testing.T) {
	s := furnished(t, 5000)
	for i := range 500 {
		mustApply(t, s, 1, accept(request(50_000+i)))
	}
	want := snapshotBytes(t, s)
	snap := s.Snapshot()
	var sent []alert.Version
	for i := range 3000 {
		sent = append(sent, alert.Version{ID: testID(i * 3), LastModified: ms0 + 500_000, State: 255})
	}
	mustApply(t, s, 1, Commit{Pipeline: "alerts/default", Sent: sent, Forget: ms0 - 3, Cleared: []string{"full"}, Parked: []Parked{parkedEntry(1, 99)}})
	mustApply(t, s, 1, Unpark{Pipeline: "alerts/default", Keys: []alert.ID{testID(2)}})
	mustApply(t, s, 1, Rewind{Pipeline: "alerts/default", To: ms0 - 100, At: t0})
	mustApply(t, s, 1, SetPipelines{At: t0.AddDate(0, 0, 8)})
	mustApply(t, s, 1, SetMaintenance{Node: "primary", On: true, Author: "eve", At: t0})
	mustApply(t, s, 1, SetMaintenance{Node: "witness", At: t0})
	mustApply(t, s, 1, AdoptNote{Node: "n", Text: "later", At: t0})
	mustApply(t, s, 1, accept(request(100_001)))
	waiting := s.Outbox(MaxOutbox)
	for i := 0; i < len(waiting); i += 3 {
		mustApply(t, s, 1, settle(t0, Refused, waiting[i].ID))
	}
	mustApply(t, s, 1, Discard{IDs: []string{"q"}})
	mustApply(t, s, 1, Retry{IDs: []string{waiting[0].ID}, MaxEntries: MaxOutbox, MaxBytes: MaxOutboxBytes})
	mustApply(t, s, 1, settle(t0.Add(KeepSettled+time.Hour), Done, waiting[0].ID))
	var got bytes.Buffer
	if _, err := snap.WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("what was applied later shows in the snapshot")
	}
}

func TestReadersAndSnapshotsRunBesideApply(t *testing.T) {
	s := furnished(t, 2000)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	background := func(f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	background(func() {
		var b bytes.Buffer
		if _, err := s.Snapshot().WriteTo(&b); err != nil {
			t.Error(err)
		}
		if err := New().Restore(&b); err != nil {
			t.Errorf("a snapshot taken beside Apply: %v", err)
		}
	})
	background(func() {
		s.Sent("alerts/default", testID(1))
		if room, open := s.Room("alerts/default"), len(s.Open("alerts/default")); room+open > MaxRemembered+2000 {
			t.Errorf("room for %d beside %d open", room, open)
		}
	})
	background(func() {
		for _, p := range s.Pipelines() {
			s.ParkedList(p.Name)
		}
		s.Config()
		s.Changes()
		s.Notes()
		if on, list := s.InMaintenance("primary"), s.Maintenance(); !on || list[0].Node != "primary" {
			t.Errorf("in maintenance: %v, list %v", on, list)
		}
		s.Totals()
	})
	background(func() {
		v := s.OutboxVersion()
		n, _, _ := s.OutboxInfo()
		if got := len(s.Outbox(MaxOutbox)); got != n && v == s.OutboxVersion() {
			t.Errorf("%d requests wait, and %d are listed", n, got)
		}
		s.ParkedRequests()
		s.SettledList(10)
		s.Request(requestID(0))
		s.Settled(requestID(0))
	})
	for i := range 60 {
		c := Commit{Pipeline: "alerts/default", Cursor: ms0 + alert.Millis(i*1000), Forget: ms0 + alert.Millis(i*1000) - 20_000, Parked: []Parked{parkedEntry(i, 9)}}
		for n := range 200 {
			c.Sent = append(c.Sent, alert.Version{ID: testID(i*50 + n), LastModified: ms0 + alert.Millis(i*1000+n), State: uint8(n % 2 * 255)})
		}
		mustApply(t, s, 1, c)
		mustApply(t, s, 1, SetMaintenance{Node: "secondary", On: i%2 == 0, At: t0})
		mustApply(t, s, 1, SetMaintenance{Node: "primary", On: true, Start: uint64(i), At: t0})
		mustApply(t, s, 1, AdoptNote{Node: "n", Text: fmt.Sprint("note ", i), At: t0})
		for n := range 20 {
			mustApply(t, s, 1, accept(request(10_000+i*20+n)))
			if n%3 > 0 {
				mustApply(t, s, 1, settle(t0, Outcome(n%3+1), requestID(10_000+i*20+n/2)))
			}
		}
		if list := s.ParkedRequests(); len(list) > 5 {
			mustApply(t, s, 1, Retry{IDs: []string{list[0].Request.ID}, MaxEntries: MaxOutbox, MaxBytes: MaxOutboxBytes})
			mustApply(t, s, 1, Discard{IDs: []string{list[1].Request.ID}})
		}
	}
	close(stop)
	wg.Wait()
}

func FuzzRestore(f *testing.F) {
	for _, n := range []int{0, 3, 40} {
		b := snapshotBytes(f, furnished(f, n))
		f.Add(b[:len(b)-6])
	}
	b := snapshotBytes(f, New())
	f.Add(b[:len(b)-6])
	f.Fuzz(func(t *testing.T, b []byte) {
		// The fuzzer cannot guess checksums: it gets the right one.
		sum := crc32.Checksum(b, castagnoli)
		b = binary.BigEndian.AppendUint32(append(bytes.Clone(b), 4, recordSum), sum)
		s := New()
		if err := s.Restore(bytes.NewReader(b)); err != nil {
			if !bytes.Equal(snapshotBytes(t, s), snapshotBytes(t, New())) {
				t.Errorf("refused with %v, and yet changed", err)
			}
			return
		}
		if got := snapshotBytes(t, s); !bytes.Equal(got, b) {
			t.Errorf("restored from\n%x, writes\n%x", b, got)
		}
	})
}

func TestSnapshotErrorsSayWhatIsWrong(t *testing.T) {
	good := snapshotBytes(t, furnished(t, 50))
	other := bytes.Clone(good)
	other[len(other)-1]++
	for want, b := range map[string][]byte{
		"restore snapshot: it ends too early":                 good[:100],
		"restore snapshot: its checksum is wrong":             other,
		"restore snapshot: it is no snapshot of this program": []byte(strings.Repeat("x", 50)),
		"restore snapshot: bytes follow its end":              append(bytes.Clone(good), 1),
	} {
		if err := New().Restore(bytes.NewReader(b)); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
