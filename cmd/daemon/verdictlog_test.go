package daemon

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	v1 "scomconnector/api/v1"
)

// diary is a verdictLog whose seconds pass by hand.
type diary struct {
	verdictLog
	out  bytes.Buffer
	now  time.Time
	calm finding
	role affairs
}

func newDiary(leading bool) *diary {
	d := &diary{now: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), calm: finding{cause: delivered, text: "Delivering."}, role: affairs{leading: leading, leader: "a"}}
	d.log = hclog.New(&hclog.LoggerOptions{Output: &d.out, DisableTime: true})
	d.pass(10)
	d.out.Reset()
	return d
}

// pass lets seconds pass in which so much is found, and returns what is written.
func (d *diary) pass(seconds int, found ...finding) string {
	d.out.Reset()
	for range seconds {
		d.now = d.now.Add(time.Second)
		p := d.role
		p.calm, p.findings, p.over = d.calm, found, map[string]bool{"lam x": len(found) == 0, "scom": len(found) == 0}
		d.note(d.now, p)
	}
	return d.out.String()
}

func lamAway(words string, tries int) finding {
	return finding{level: v1.Stopped, cause: "lam x", area: areaLAM, text: "LAM one " + words, do: "mend it", over: "LAM one takes events again", tries: tries}
}

func spareFails(words string) finding {
	return finding{level: v1.Degraded, cause: "lam two", area: areaLAM, text: "Delivering, but LAM two " + words, do: "mend it", over: "LAM two can be used again"}
}

// An outage is a line at its begin, one where its cause changes, and one at its end; a failure that is the same makes none.
func TestAnOutageIsALineAtEachChange(t *testing.T) {
	d := newDiary(true)
	for i, c := range []struct{ got, want string }{
		{d.pass(600, lamAway("answers 503", 5)), "[ERROR] NOT DELIVERING since 03:00 UTC: LAM one answers 503. Do: mend it\n"},
		{d.pass(7200, lamAway("answers 503", 50)), ""},
		{d.pass(600, lamAway("answers 401", 60)), "[ERROR] NOT DELIVERING since 03:00 UTC: LAM one answers 401. Do: mend it\n"},
		{d.pass(600, lamAway("answers 401", 70), spareFails("answers 503")), ""}, // it is a part of it
		{d.pass(600), "[INFO]  DELIVERING AGAIN: LAM one takes events again after 2h30m0s and 70 tries in vain; nothing was lost.\n"},
		{d.pass(600, spareFails("answers 503")), "[WARN]  Delivering, but LAM two answers 503. Do: mend it\n"},
		{d.pass(600), "[INFO]  LAM two can be used again after 10m0s.\n"},
		{d.pass(7200), ""},
	} {
		got := strings.Replace(c.got, "since "+time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC).Local().Format("15:04")+" (03:00 UTC)", "since 03:00 UTC", 1)
		got = strings.Replace(got, "since 2026-01-02 03:00 UTC", "since 03:00 UTC", 1) // it is long ago for the clock of this test
		if got != c.want {
			t.Errorf("step %d: got\n%swant\n%s", i, got, c.want)
		}
	}
}

// What flaps is told now and then, with how often; once it has calmed down the next change is told at once again.
func TestWhatFlapsIsCounted(t *testing.T) {
	for name, c := range map[string]struct{ down, up int }{"for a moment": {2, 4}, "for a while": {20, 20}, "for minutes": {100, 200}} {
		d := newDiary(true)
		var lines []string
		for began := d.now; d.now.Sub(began) < 6*time.Hour; {
			said := d.pass(c.down, lamAway("answers 503", 1)) // in which nothing is told twice
			said += d.pass(c.up)
			lines = append(lines, strings.Split(strings.TrimSpace(said), "\n")...)
		}
		n, last := 0, ""
		for _, line := range lines {
			if line != "" {
				n, last = n+1, line
			}
		}
		if n < 10 || n > 24 || !strings.Contains(last, "times=") {
			t.Errorf("%s: %d lines in six hours, want some 15, the last with a count: %s", name, n, last)
		}
		d.pass(3600)
		if got := d.pass(10, lamAway("answers 503", 1)); strings.Count(got, "\n") != 1 {
			t.Errorf("%s: an hour later it is told as %q", name, got)
		}
		if got := d.pass(10); strings.Count(got, "\n") != 1 || !strings.Contains(got, "DELIVERING AGAIN") {
			t.Errorf("%s: then its end is told as %q", name, got)
		}
	}
}

// However soon an outage follows the one before: who reads that nothing is delivered reads it, too, when something is again.
func TestTheEndOfAnOutageThatWasToldIsTold(t *testing.T) {
	d := newDiary(true)
	for i := range 12 {
		got := d.pass(10, lamAway("answers 503", 1)) + d.pass(5)
		if begun, ended := strings.Contains(got, "NOT DELIVERING"), strings.Contains(got, "DELIVERING AGAIN"); begun != ended {
			t.Errorf("outage %d: %q", i, got)
		}
		if i == 0 && got == "" {
			t.Error("nothing is told")
		}
	}
}

// The next leader does not speak of itself as of another one, and says that it delivers.
func TestWhoLeadsAfterATimeWithoutALeaderSaysSo(t *testing.T) {
	none := finding{level: v1.Stopped, cause: noLeaderCause, area: areaNode, text: "etcd does not answer", do: "start it"}
	d := newDiary(true)
	d.role.leading, d.role.leader = false, ""
	d.pass(60, none)
	d.role.leading, d.role.leader = true, "a"
	got := d.pass(10)
	if !strings.Contains(got, "This node leads; it knew of no leader for 1m0s.") || !strings.Contains(got, "Delivering.") {
		t.Errorf("got %q", got)
	}
}

// Of what is told once, several outages side by side are told one by one, and delivery goes on when the last is over.
func TestDeliveryGoesOnWhenTheLastOutageIsOver(t *testing.T) {
	d := newDiary(true)
	scom := finding{level: v1.Stopped, cause: "scom x", matter: "scom", area: areaSCOM, text: "SCOM console c answers 503", over: "SCOM is read again"}
	other := scom
	other.cause = "scom y" // of another pipeline: the same story
	member := finding{level: v1.Degraded, cause: "member b", text: "Delivering, but b is not in contact.", over: "b is there again"}
	if got := d.pass(600, lamAway("answers 503", 0), scom, other, member); strings.Count(got, "\n") != 3 || strings.Count(got, "SCOM console") != 1 || !strings.Contains(got, "[WARN]  B is not in contact.") {
		t.Errorf("begin: got\n%s", got)
	}
	d.role.over = nil
	got := ""
	for range 600 {
		d.now = d.now.Add(time.Second)
		p := d.role
		p.calm, p.findings, p.over = d.calm, []finding{scom, member}, map[string]bool{"lam x": true}
		d.out.Reset()
		d.note(d.now, p)
		got += d.out.String()
	}
	if want := "[INFO]  LAM one takes events again after 10m0s; nothing is delivered yet, for another cause.\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := d.pass(600); !strings.Contains(got, "DELIVERING AGAIN: SCOM is read again after 20m0s; nothing was lost.") || !strings.Contains(got, "b is there again") || strings.Count(got, "\n") != 2 {
		t.Errorf("end: got\n%s", got)
	}
}

// What a new term has not met yet is not over.
func TestAnOutageOutlivesANewTerm(t *testing.T) {
	d := newDiary(true)
	d.pass(60, lamAway("answers 503", 1))
	p := d.role
	p.calm, p.over = d.calm, map[string]bool{"lam x": false}
	d.out.Reset()
	for range 60 {
		d.now = d.now.Add(time.Second)
		d.note(d.now, p)
	}
	if got := d.out.String() + d.pass(60, lamAway("answers 503", 1)); got != "" {
		t.Errorf("got\n%s", got)
	}
	if got := d.pass(60); strings.Count(got, "DELIVERING AGAIN") != 1 {
		t.Errorf("got\n%s", got)
	}
}

// A node that loses leadership and leads again, with nobody in between, tells the end of what it has told the begin of, and no begin twice.
func TestAnOutageIsTheSameAfterAnElection(t *testing.T) {
	d := newDiary(true)
	d.pass(60, lamAway("answers 503", 5))
	d.role = affairs{}
	d.calm = finding{cause: "standing by ", text: "Starting."}
	if got := d.pass(200); strings.Contains(got, "LAM one") { // longer than what is out of sight is remembered
		t.Errorf("while nobody leads: got\n%s", got)
	}
	d.role = affairs{leading: true, leader: "a"}
	d.calm = finding{cause: delivered, text: "Delivering."}
	if got := d.pass(60, lamAway("answers 503", 9)); got != "" {
		t.Errorf("leading again: got\n%s", got)
	}
	if got := d.pass(60); strings.Count(got, "DELIVERING AGAIN") != 1 {
		t.Errorf("in the end: got\n%s", got)
	}
}

// The other nodes tell whom they follow and what is wrong with themselves; the rest stands in the leader's log.
func TestAFollowerTellsWhatItSees(t *testing.T) {
	d := newDiary(false)
	d.calm = finding{cause: "standing by a", text: "Standing by: a leads."}
	heard := lamAway("answers 503", 1)
	heard.heard = true
	none := finding{level: v1.Stopped, cause: noLeaderCause, area: areaNode, text: "a is out of contact", do: "start a"}
	full := finding{level: v1.Degraded, cause: "disk", area: areaNode, text: "The disk is nearly full.", do: "make room", over: "There is room on the disk again"}
	for i, c := range []struct {
		found []finding
		then  func()
		want  string
	}{
		{[]finding{heard, spareFails("answers 503")}, func() {}, "[INFO]  Standing by: a leads.\n"},
		{[]finding{heard, full}, func() {}, "[WARN]  The disk is nearly full. Do: make room\n"},
		{[]finding{heard}, func() { d.calm.cause, d.calm.text, d.role.leader = "standing by ", "Starting.", "" }, "[INFO]  There is room on the disk again after 10m0s.\n"},
		{[]finding{none}, func() { d.calm.cause, d.calm.text, d.role.leader = "standing by b", "Standing by: b leads.", "b" }, "[ERROR] NOT DELIVERING since {time}: a is out of contact. Do: start a\n"},
		{nil, func() { d.calm.cause, d.calm.text, d.role.leader = "standing by a", "Standing by: a leads.", "a" }, "[INFO]  b leads; this node knew of no leader for 10m0s.\n"},
		{nil, func() {}, "[INFO]  Standing by: a leads.\n"},
		{nil, func() {}, ""},
	} {
		got := d.pass(600, c.found...)
		if i, j := strings.Index(got, "since "), strings.Index(got, ": a is out"); i >= 0 && j > i {
			got = got[:i] + "since {time}" + got[j:]
		}
		if got != c.want {
			t.Errorf("step %d: got\n%swant\n%s", i, got, c.want)
		}
		c.then()
	}
}

// Who stops leading says nothing of what the next leader will tell.
func TestWhoLeadsNoMoreLeavesItToTheNextLeader(t *testing.T) {
	d := newDiary(true)
	d.pass(60, lamAway("answers 503", 1))
	d.role = affairs{leader: "b"}
	d.calm = finding{cause: "standing by b", text: "Standing by: b leads."}
	if got, want := d.pass(3600), "[INFO]  Standing by: b leads.\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	d.role, d.calm = affairs{leading: true, leader: "a"}, finding{cause: delivered, text: "Delivering."}
	if got := d.pass(60, lamAway("answers 503", 1)); strings.Count(got, "\n") != 1 || !strings.Contains(got, "NOT DELIVERING") {
		t.Errorf("leading again: got\n%s", got)
	}
}

func TestATimeIsSaidOnceWhereTheZoneIsUTC(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	now := time.Now()
	for zone, want := range map[*time.Location]string{
		time.UTC:                        fmt.Sprintf("NOT DELIVERING since %s UTC: x", now.UTC().Format("15:04")),
		time.FixedZone("CET", 3600):     fmt.Sprintf("NOT DELIVERING since %s CET (%s UTC): x", now.UTC().Add(time.Hour).Format("15:04"), now.UTC().Format("15:04")),
		time.FixedZone("Lagos+0", 0):    fmt.Sprintf("NOT DELIVERING since %s UTC: x", now.UTC().Format("15:04")),
		time.FixedZone("-03", -10_800):  fmt.Sprintf("NOT DELIVERING since %s UTC-03 (%s UTC): x", now.UTC().Add(-3*time.Hour).Format("15:04"), now.UTC().Format("15:04")),
		time.FixedZone("India", 19_800): fmt.Sprintf("NOT DELIVERING since %s India (%s UTC): x", now.UTC().Add(330*time.Minute).Format("15:04"), now.UTC().Format("15:04")),
	} {
		time.Local = zone
		if got := sentence(finding{level: v1.Stopped, text: "x"}, now); got != want {
			t.Errorf("%s: got %q, want %q", zone, got, want)
		}
	}
}
