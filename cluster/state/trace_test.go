package state

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scomconnector/poller/alert"
)

var update = flag.Bool("update", false, "rewrite testdata")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite with -update):\n%s", path, diff(string(want), got))
	}
}

// diff shows the first line that differs.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\n got  %s\n want %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// TestCommandsKeepTheirBytes holds the encoding fixed: it stands in logs on disk.
func TestCommandsKeepTheirBytes(t *testing.T) {
	var out strings.Builder
	for _, op := range everyOp() {
		b, err := Encode(Command{Token: tok(3), Op: op})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s\n", strings.TrimPrefix(fmt.Sprintf("%T", op), "state."), hex.EncodeToString(b))
	}
	golden(t, "commands.txt", out.String())
}

// TestSnapshotsKeepTheirBytes holds that encoding fixed, too, and that the one on file can be read.
func TestSnapshotsKeepTheirBytes(t *testing.T) {
	golden(t, "snapshot.txt", hex.Dump(snapshotBytes(t, furnished(t, 4))))
}

// snapshot-1.txt was written before pipelines counted their rewinds, and before refused log-ons were kept.
func TestAnOlderSnapshotIsRestored(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "snapshot-1.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var old []byte
	for line := range strings.Lines(string(text)) {
		digits, _, _ := strings.Cut(line[len("00000000"):], "|")
		b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, b...)
	}
	s := New()
	if err := s.Restore(bytes.NewReader(old)); err != nil {
		t.Fatal(err)
	}
	furnishLogons(t, s) // which it has no place for
	if !bytes.Equal(snapshotBytes(t, s), snapshotBytes(t, furnished(t, 4))) {
		t.Error("it is another state than the one that was written")
	}
}

// TestTrace is a small life of a cluster: what each command did, what it changed, and what can be
// read afterwards.
func TestTrace(t *testing.T) {
	open := alert.Version{ID: testID(1), LastModified: ms0}
	shut := alert.Version{ID: testID(1), LastModified: ms0 + 30_000, State: 255}
	other := alert.Version{ID: testID(2), LastModified: ms0 + 40_000}
	s := New()
	var out strings.Builder
	for _, step := range []struct {
		what string
		term uint64
		op   Op
	}{
		{"a commit before any term", 1, Commit{Pipeline: "alerts/default"}},
		{"the first term", 2, TermStart{Node: "primary", ClusterID: "c1", Cause: "formed", Reason: "first start", At: t0}},
		{"the file seeds the settings", 2, SetConfig{Text: []byte("{}"), Author: "SCOMConnectorConfig.json", At: t0}},
		{"the console named the group", 2, SetManagementGroup{Name: "CONTOSO-MG"}},
		{"the settings' pipelines", 2, SetPipelines{Names: []string{"alerts/default"}, At: t0}},
		{"one alert delivered, the first read goes on", 2, Commit{Pipeline: "alerts/default", Sent: []alert.Version{open}}},
		{"the first read is complete", 2, Commit{Pipeline: "alerts/default", Start: true, Cursor: ms0, Floor: ms0 - 5000}},
		{"the same alert read again", 2, Commit{Pipeline: "alerts/default", Cursor: ms0, Sent: []alert.Version{open}}},
		{"it was closed, another is new", 2, Commit{Pipeline: "alerts/default", Cursor: ms0 + 40_000, Sent: []alert.Version{shut, other}}},
		{"a row that nobody understands, and an outage", 2, Commit{Pipeline: "alerts/default", Parked: []Parked{parkedEntry(7, 3)}, Raised: []string{"scom-outage"}}},
		{"the closed one is forgotten", 2, Commit{Pipeline: "alerts/default", Cursor: ms0 + 120_000, Forget: ms0 + 60_000}},
		{"the other node leads", 5, TermStart{Node: "secondary", Cause: "lost", Reason: "primary was lost", At: t0}},
		{"the old leader commits", 2, Commit{Pipeline: "alerts/default", Cursor: ms0 + 130_000}},
		{"two people change the settings, the first", 5, SetConfig{Expect: 1, Text: []byte("{1}"), Author: "ann", At: t0}},
		{"the second", 5, SetConfig{Expect: 1, Text: []byte("{2}"), Author: "bob", At: t0}},
		{"another management group", 5, SetManagementGroup{Name: "FABRIKAM"}},
		{"a person deals with the row", 5, Unpark{Pipeline: "alerts/default", Keys: []alert.ID{testID(7)}}},
		{"a rewind", 5, Rewind{Pipeline: "alerts/default", To: ms0 - 10_000, Author: "ann", At: t0}},
		{"a commit from before it", 5, Commit{Pipeline: "alerts/default", Cursor: ms0 + 140_000}},
		{"the outage is over", 5, Commit{Pipeline: "alerts/default", Rewinds: 1, Cursor: ms0 + 150_000, Cleared: []string{"scom-outage"}}},
		{"the primary is to be patched", 5, SetMaintenance{Node: "primary", On: true, Start: 3, Unless: []string{"secondary"}, Author: "ann", At: t0}},
		{"the secondary, too, at the same time", 5, SetMaintenance{Node: "secondary", On: true, Start: 8, Unless: []string{"primary"}, Author: "bob", At: t0}},
		{"an end that belongs to an older start", 5, SetMaintenance{Node: "primary", Start: 2, At: t0}},
		{"the primary is back", 5, SetMaintenance{Node: "primary", Start: 3, At: t0}},
		{"a node yields: what was out there", 5, AdoptPipeline{Node: "primary", Epoch: epoch2, Pipeline: "alerts/default", Parked: []Parked{parkedEntry(8, 3)}, Raised: []string{"lam-outage"}}},
		{"the same again", 5, AdoptPipeline{Node: "primary", Epoch: epoch2, Pipeline: "alerts/default", Parked: []Parked{parkedEntry(8, 3)}, Raised: []string{"lam-outage"}}},
		{"its settings, which nobody has changed here since", 5, AdoptSettings{Node: "primary", Epoch: epoch2, Text: []byte("{3}"), Author: "eve", At: t0,
			Known: []ConfigSum{{1, sumOf("{}")}, {2, sumOf("{1}")}, {3, sumOf("{3}")}}}},
		{"another's, which know nothing of these", 5, AdoptSettings{Node: "primary", Epoch: epoch2, Text: []byte("{4}"), Author: "eve", At: t0, Known: []ConfigSum{{1, sumOf("{}")}, {2, sumOf("{4}")}}}},
		{"and what it did", 5, AdoptNote{Node: "primary", Epoch: epoch2, Text: "primary led alone", At: t0}},
		{"a moobot has an alert closed", 5, accept(named("a", 1))},
		{"and once more, at the other node", 5, accept(named("b", 1))},
		{"somebody has it opened again", 5, accept(with(named("c", 1), func(q *Request) { q.State, q.Comment = 0, "not yet" }))},
		{"and closed", 5, accept(keyed("d", 1, "key"))},
		{"another alert, with no room left", 5, Accept{Request: named("e", 2), MaxEntries: 3, MaxBytes: 1000}},
		{"the leader is about to write the close", 5, begin(ms0+30_000, "a")},
		{"SCOM has done two and refuses one", 5, Settle{At: t0, Settled: []Settlement{{"a", Done, ""}, {"c", Already, ""}, {"d", Refused, "The monitor is unhealthy"}}}},
		{"a node yields: what it has accepted, of which one is here", 5, AdoptOutbox{Node: "primary", Epoch: epoch2, Requests: []Request{named("a", 1), named("f", 3)},
			Parked: []ParkedRequest{{Request: named("g", 4), Reason: "no such alert", At: t0}}}},
		{"the refused one is tried again", 5, retry("d")},
		{"the other is dealt with", 5, Discard{IDs: []string{"g"}}},
		{"a day later everything is done", 5, settle(t0.Add(KeepSettled), Done, "f", "d")},
		{"the destination is renamed", 5, SetPipelines{Names: []string{"alerts/main"}, Carry: map[string]string{"alerts/main": "alerts/default"}, At: t0}},
		{"it is removed", 5, SetPipelines{At: t0}},
		{"a week later", 5, SetPipelines{At: t0.AddDate(0, 0, 7)}},
	} {
		res, parts := apply(t, s, step.term, step.op)
		fmt.Fprintf(&out, "# %s\n%d %T -> version %d, err %v, parts %v\n", step.what, step.term, step.op, res.Version, res.Err, parts)
		if res.ID != "" {
			fmt.Fprintf(&out, "  done as %s\n", res.ID)
		}
		trace(&out, s)
	}
	golden(t, "trace.txt", out.String())
	if got := snapshotBytes(t, s); bytes.Contains(got, []byte("alerts/")) {
		t.Error("the dropped pipeline still stands in the snapshot")
	}
}

func sumOf(text string) uint64 { return ConfigVersion{Text: []byte(text)}.Sum() }

func trace(out *strings.Builder, s *State) {
	fmt.Fprintf(out, "  token %v leader %q group %q config %d totals %+v\n", s.Token(), s.Leader(), s.ManagementGroup(), s.Config().Version, s.Totals())
	for _, m := range s.Maintenance() {
		fmt.Fprintf(out, "  %s in maintenance by %s, sticky %v, start %d\n", m.Node, m.Author, m.Sticky, m.Start)
	}
	for _, n := range s.Notes() {
		fmt.Fprintf(out, "  %s of epoch %d: %s\n", n.Node, n.Epoch.Number, n.Text)
	}
	for _, q := range s.Outbox(MaxOutbox) {
		fmt.Fprintf(out, "  request %s for %s state %d %q doubtful %v\n", q.ID, q.Alert, q.State, q.Comment, q.Doubtful)
	}
	for _, p := range s.ParkedRequests() {
		fmt.Fprintf(out, "  parked request %s: %s\n", p.Request.ID, p.Reason)
	}
	for _, e := range s.SettledList(MaxSettled) {
		fmt.Fprintf(out, "  settled %s outcome %d %q\n", e.Request.ID, e.Outcome, e.Reason)
	}
	for _, p := range s.Pipelines() {
		fmt.Fprintf(out, "  %s started %v cursor %v floor %v accepted %d parked %d/%d remembered %d raised %v removed %v\n", p.Name, p.Started, p.Cursor,
			p.Floor, p.Accepted, p.ParkedNow, p.ParkedEver, p.Remembered, p.Raised, !p.RemovedAt.IsZero())
	}
}
