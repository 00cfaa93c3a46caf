package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// quick makes back-offs short against the hours that pass in a bubble, long against its milliseconds.
const quick = `"LowerTimeoutBound": 2, "UpperTimeoutBound": 20, "HeartbeatSeconds": 0,`

// inBothModes runs a test against consoles in network mode, and again in Windows mode.
func inBothModes(t *testing.T, test func(t *testing.T, windows bool)) {
	t.Run("network", func(t *testing.T) { test(t, false) })
	t.Run("windows", func(t *testing.T) { test(t, true) })
}

// A fault of SCOM's web console holds alerts back for as long as it lasts; then all of them arrive,
// and the page has said why.
func TestConsoleFaultLosesNothing(t *testing.T) {
	inBothModes(t, consoleFaults)
}

func consoleFaults(t *testing.T, windows bool) {
	for name, c := range map[string]struct {
		faults scomtest.Faults
		lasts  time.Duration
		says   string // on the page meanwhile; empty: it must go on delivering
	}{
		"down":                   {scomtest.Faults{Down: true}, 20 * time.Minute, "NOT DELIVERING"},
		"hanging":                {scomtest.Faults{Hang: true}, 20 * time.Minute, "NOT DELIVERING"},
		"silent after the head":  {scomtest.Faults{HangBody: true}, 20 * time.Minute, "NOT DELIVERING"},
		"503":                    {scomtest.Faults{Status: 503}, 20 * time.Minute, "503"},
		"HTML":                   {scomtest.Faults{HTML: true}, 20 * time.Minute, "NOT DELIVERING"},
		"a log-in page":          {scomtest.Faults{RedirectToLogin: true}, 20 * time.Minute, "NOT DELIVERING"},
		"broken JSON":            {scomtest.Faults{BadJSON: true}, 20 * time.Minute, "NOT DELIVERING"},
		"cut in the middle":      {scomtest.Faults{CutAfter: 2000, Path: "data/alert"}, 20 * time.Minute, "NOT DELIVERING"},
		"ended cleanly too soon": {scomtest.Faults{CutAfter: 2000, CutCleanly: true, Path: "data/alert"}, 20 * time.Minute, "NOT DELIVERING"},
		"every third answer 502": {scomtest.Faults{Status: 502, Every: 3}, 20 * time.Minute, ""},
		"session gone":           {scomtest.Faults{SessionGone: true}, time.Minute, ""},
		"clock 10 min ahead":     {scomtest.Faults{ClockOffset: 10 * time.Minute}, 40 * time.Minute, ""},
		"clock 10 min behind":    {scomtest.Faults{ClockOffset: -10 * time.Minute}, 40 * time.Minute, ""},
		"no Date header":         {scomtest.Faults{NoDate: true}, 20 * time.Minute, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, site{settings: quick, windows: windows}, func(w *world) {
				ids := w.raise(30)
				w.awaitDelivered(30 * time.Second)
				w.consoles[0].Set(c.faults)
				w.pass(c.lasts / 2)
				for i, id := range ids {
					if i%3 == 0 {
						w.group.SetState(id, scomtest.Closed, "System")
					} else {
						w.group.Repeat(id)
					}
				}
				w.raise(30)
				w.pass(c.lasts / 2)
				if c.says == "" {
					w.awaitDelivered(3 * time.Minute)
				} else if v := w.status("primary").Verdict; !strings.Contains(v.Text, c.says) || v.Do == "" {
					t.Errorf("the page says %q, do %q; want it to contain %q and to say what to do", v.Text, v.Do, c.says)
				}
				w.consoles[0].Heal()
				w.awaitDelivered(2 * time.Minute)
				w.checkWell(0)
				w.checkNoBadLogOn()
			})
		})
	}
}

// checkWell demands that the page is green again, that no alert came twice, and that so many are parked.
func (w *world) checkWell(parked int) {
	w.t.Helper()
	w.await("the page is green", 2*time.Minute, func() bool {
		v := w.status("primary").Verdict
		return v.Level == "ok" || parked > 0 && strings.Contains(v.Text, "parked")
	})
	if n := w.status("primary").Parked.Count; n != parked {
		w.t.Errorf("%d entries are parked, want %d", n, parked)
	}
	if d := w.duplicates(); d > 0 {
		w.t.Errorf("%d events arrived twice, want none", d)
	}
}

// checkNoBadLogOn demands that nobody came a step nearer to a locked account, and that Windows mode was used where it was asked for.
func (w *world) checkNoBadLogOn() {
	w.t.Helper()
	if n := w.group.BadLogons(scomtest.DefaultAccount.User); n != 0 {
		w.t.Errorf("%d bad log-ons, want none", n)
	}
	for i, c := range w.consoles {
		if n := c.Counters(); w.auth == "windows" && n.Logons > 0 && n.Handshakes == 0 {
			w.t.Errorf("console %d: no connection was logged on", i+1)
		}
	}
}

// A lasting outage of SCOM is told in Moogsoft itself, and so is its end.
func TestSCOMOutageIsToldInMoogsoft(t *testing.T) { inBothModes(t, scomOutageIsTold) }

func scomOutageIsTold(t *testing.T, windows bool) {
	inWorld(t, site{windows: windows, settings: quick}, func(w *world) {
		w.raise(3)
		w.awaitDelivered(30 * time.Second)
		w.consoles[0].Set(scomtest.Faults{Down: true})
		w.pass(4 * time.Minute)
		if got := w.own("scom-outage"); len(got) != 0 {
			t.Errorf("self-alerts after 4 minutes: %v, want none before OutageAlertAfter (5 min)", got)
		}
		w.pass(3 * time.Minute)
		if got, want := fmt.Sprint(w.own("scom-outage")), "[5]"; got != want {
			t.Errorf("self-alerts after 7 minutes: severities %s, want %s", got, want)
		}
		w.consoles[0].Heal()
		w.pass(2 * time.Minute)
		if got, want := fmt.Sprint(w.own("scom-outage")), "[5 0]"; got != want {
			t.Errorf("self-alerts after recovery: severities %s, want %s", got, want)
		}
	})
}

// A SCOM that takes connections and answers nothing is told on the page once a poll has timed out, by the
// leader after that, too, and since when it hangs.
func TestTheVerdictTellsOfASCOMThatHangs(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.raise(3)
		w.awaitDelivered(30 * time.Second)
		hung := time.Now()
		w.consoles[0].Set(scomtest.Faults{Hang: true})
		w.pass(80 * time.Second) // of which a slow question may take 60
		if v := w.status("primary").Verdict; v.Level == "ok" || strings.Contains(v.Text, "Delivering") || v.Do == "" {
			t.Errorf("80 s into it the page says %s %q, do %q", v.Level, v.Text, v.Do)
		}
		w.pass(70 * time.Second)
		v := w.status("primary").Verdict
		if v.Level != "stopped" || v.Since.Before(hung) || v.Since.After(hung.Add(80*time.Second)) {
			t.Errorf("150 s into it the page says %s %q since %v; it hangs since %v", v.Level, v.Text, v.Since, hung)
		}
		if got := w.own("scom-outage"); len(got) != 0 {
			t.Errorf("self-alerts before OutageAlertAfter: %v", got)
		}
		w.stop("primary")
		w.pass(80 * time.Second)
		if next := w.status("secondary").Verdict; next.Level == "ok" || next.Since.Sub(v.Since).Abs() > time.Second {
			t.Errorf("80 s into its term the next leader says %s %q since %v; the last one said since %v", next.Level, next.Text, next.Since, v.Since)
		}
		w.start("primary")
		w.consoles[0].Heal()
		w.raise(2)
		w.awaitDelivered(5 * time.Minute)
		w.pass(10 * time.Second)
		if v := w.status(w.leader()).Verdict; v.Level != "ok" {
			t.Errorf("afterwards the page says %s %q", v.Level, v.Text)
		}
	})
}

// A wrong password costs one bad log-on, then minutes of quiet: an account must not be locked.
func TestWrongPasswordCostsOneLogOn(t *testing.T) { inBothModes(t, wrongPasswordCostsOneLogOn) }

func wrongPasswordCostsOneLogOn(t *testing.T, windows bool) {
	inWorld(t, site{windows: windows, consoles: 2, settings: quick}, func(w *world) {
		w.raise(3)
		w.awaitDelivered(30 * time.Second)
		before := w.group.BadLogons(scomtest.DefaultAccount.User)
		w.group.SetPassword(scomtest.DefaultAccount.User, "changed")
		for _, c := range w.consoles {
			c.DropSessions()
		}
		w.pass(4 * time.Minute)
		if got := w.group.BadLogons(scomtest.DefaultAccount.User) - before; got != 1 {
			t.Errorf("%d bad log-ons in 4 minutes on two consoles, want 1", got)
		}
		v := w.status("primary").Verdict
		if !strings.Contains(v.Text, "NOT DELIVERING") || !strings.Contains(v.Do, "Password") {
			t.Errorf("the page says %q, do %q; want it to point to the password", v.Text, v.Do)
		}
		w.raise(5)
		w.group.SetPassword(scomtest.DefaultAccount.User, scomtest.DefaultAccount.Password)
		w.awaitDelivered(40 * time.Minute)
		w.checkWell(0)
	})
}

// SCOM is away from the very first day, when not even its management group's name is known: that is
// an outage like any other.
func TestSCOMAwayFromTheFirstDayIsTold(t *testing.T) { inBothModes(t, scomAwayFromTheFirstDay) }

func scomAwayFromTheFirstDay(t *testing.T, windows bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, site{windows: windows, settings: `"LowerTimeoutBound": 2, "UpperTimeoutBound": 20,`})
		defer w.close()
		w.raise(3)
		w.consoles[0].Set(scomtest.Faults{Hang: true})
		w.start("primary")
		w.pass(7 * time.Minute)
		if v := w.status("primary").Verdict; !strings.Contains(v.Text, "NOT DELIVERING") {
			t.Errorf("the page says %q", v.Text)
		}
		if got, want := fmt.Sprint(w.own("scom-outage")), "[5]"; got != want {
			t.Errorf("self-alerts after 7 minutes: severities %s, want %s", got, want)
		}
		w.consoles[0].Heal()
		w.awaitDelivered(2 * time.Minute)
		w.pass(time.Minute)
		if got, want := fmt.Sprint(w.own("scom-outage")), "[5 0]"; got != want {
			t.Errorf("self-alerts after recovery: severities %s, want %s", got, want)
		}
		signatures := map[string]bool{}
		for _, e := range w.lams[0].Received() {
			if strings.HasSuffix(e.ExternalID, "::scom-outage") {
				signatures[e.ExternalID] = true
			}
		}
		if len(signatures) != 1 {
			t.Errorf("the alarm and its end have different signatures: %v", signatures)
		}
		w.checkWell(0)
	})
}

// A password's file that was corrected is used at once; the old password is not sent again.
func TestCorrectedPasswordFileIsUsedAtOnce(t *testing.T) { inBothModes(t, correctedPasswordFile) }

func correctedPasswordFile(t *testing.T, windows bool) {
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	inWorld(t, site{windows: windows, settings: quick, password: "file:" + file}, func(w *world) {
		w.raise(3)
		w.pass(time.Minute)
		if got := w.group.BadLogons(scomtest.DefaultAccount.User); got != 1 {
			t.Errorf("%d bad log-ons with a wrong password, want 1", got)
		}
		write(scomtest.DefaultAccount.Password)
		w.awaitDelivered(30 * time.Second)
		w.pass(15 * time.Minute)
		if got := w.group.BadLogons(scomtest.DefaultAccount.User); got != 1 {
			t.Errorf("%d bad log-ons after the correction, want no more than the first", got)
		}
		w.checkWell(0)
	})
}

// Rows that are committed up to 30 s after the time they carry are not missed.
func TestLateCommitsArrive(t *testing.T) { inBothModes(t, lateCommitsArrive) }

func lateCommitsArrive(t *testing.T, windows bool) {
	late := func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(30 * time.Second))) }
	inWorld(t, site{windows: windows, scom: scomtest.Options{LateCommit: late, Seed: 7}, settings: quick}, func(w *world) {
		for range 60 {
			w.raise(5)
			w.pass(2 * time.Second)
		}
		w.pass(30 * time.Second)
		w.awaitDelivered(time.Minute)
		w.checkWell(0)
	})
}

// 15,000 rows in one answer: duplicates among them, in no order.
func TestStormOf15000(t *testing.T) { inBothModes(t, stormOf15000) }

func stormOf15000(t *testing.T, windows bool) {
	inWorld(t, site{windows: windows, scom: scomtest.Options{DuplicateEvery: 10}, settings: quick}, func(w *world) {
		w.raise(10)
		w.awaitDelivered(30 * time.Second)
		w.raise(15_000)
		w.awaitDelivered(2 * time.Minute)
		w.checkWell(0)
		if got := w.status("primary").Totals.Processed; got != 15_010 {
			t.Errorf("total alerts processed: %d, want 15010", got)
		}
	})
}

// A server that knows no column but the three that matter, and every way of writing values.
func TestEveryShapeOfAnAnswer(t *testing.T) {
	for name, shape := range map[string]scomtest.Shape{
		"only the needed columns": {OnlyNeeded: true},
		"all is text":             {NumbersAsStrings: true, BooleansAsText: true, PriorityAsText: true, Critical: true},
		"all is numbers":          {NumericSeverity: true, NumericState: true},
		"upper case, rows first":  {UpperCaseKeys: true, RowsFirst: true},
		"wrapped, languages":      {Wrapped: true, Languages: 3},
	} {
		for _, version := range []string{"1801", "2019", "2019UR1", "2022", "2025"} {
			t.Run(name+"/"+version, func(t *testing.T) {
				inWorld(t, site{scom: scomtest.Options{Version: version, Shape: shape}, settings: quick}, func(w *world) {
					ids := w.raise(20)
					w.awaitDelivered(30 * time.Second)
					for _, id := range ids[:7] {
						w.group.SetState(id, scomtest.Closed, "System")
					}
					w.awaitDelivered(30 * time.Second)
					w.checkWell(0)
				})
			})
		}
	}
}

// One broken row is parked; the others of its page arrive.
func TestBrokenRowIsParkedAndOthersArrive(t *testing.T) { inBothModes(t, brokenRowIsParked) }

func brokenRowIsParked(t *testing.T, windows bool) {
	for _, b := range []scomtest.Breakage{scomtest.BadID, scomtest.NoID, scomtest.BadDate, scomtest.NoDate, scomtest.ObjectAsText, scomtest.NotAnObject} {
		t.Run(fmt.Sprint(b), func(t *testing.T) {
			inWorld(t, site{windows: windows, settings: quick}, func(w *world) {
				w.group.Raise(scomtest.Alert{Name: "broken", Severity: scomtest.Error, Broken: b})
				w.raise(9)
				w.await("nine alerts arrive", 30*time.Second, func() bool { return w.lams[0].IDs() >= 9 })
				w.pass(5 * time.Minute) // the broken row is read again and again
				if got := w.status("primary").Parked; got.Count != 1 || len(got.Newest) != 1 || got.Newest[0].Reason == "" {
					t.Errorf("parked: %+v, want the one row with a reason", got)
				}
			})
		})
	}
}

// The first console hangs while the second is fine: delivery goes on there, and returns to the first.
func TestSecondConsoleTakesOver(t *testing.T) { inBothModes(t, secondConsoleTakesOver) }

func secondConsoleTakesOver(t *testing.T, windows bool) {
	inWorld(t, site{windows: windows, consoles: 2, settings: quick}, func(w *world) {
		w.raise(5)
		w.awaitDelivered(30 * time.Second)
		w.consoles[0].Set(scomtest.Faults{Hang: true})
		w.raise(5)
		w.awaitDelivered(40 * time.Second)
		start := time.Now()
		w.raise(5)
		w.awaitDelivered(10 * time.Second)
		t.Logf("with the first console hanging an alert takes %v", time.Since(start))
		if s := w.status("primary"); !s.SCOM[1].InUse || s.Verdict.Level != "degraded" {
			t.Errorf("in use: %v, verdict %s; want the second console and degraded", s.SCOM[1].InUse, s.Verdict.Level)
		}
		w.consoles[0].Heal()
		w.await("the first console is used again", 10*time.Minute, func() bool { return w.status("primary").SCOM[0].InUse })
		w.raise(5)
		w.awaitDelivered(10 * time.Second)
		w.checkWell(0)
	})
}

// A fault of the LAM holds the position; nothing is parked and nothing is lost.
func TestLAMFaultLosesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		faults publishertest.Faults
		lasts  time.Duration
		says   string
		twice  int // events that may arrive more than once
	}{
		"down for hours":         {publishertest.Faults{Down: true}, 2 * time.Hour, "NOT DELIVERING", 0},
		"hanging":                {publishertest.Faults{Hang: true}, 30 * time.Minute, "NOT DELIVERING", 0},
		"502 every third":        {publishertest.Faults{Every: 3}, 30 * time.Minute, "", 0},
		"503 with Retry-After":   {publishertest.Faults{Status: 503, RetryAfter: "30"}, 30 * time.Minute, "503", 0},
		"429":                    {publishertest.Faults{Status: 429}, 30 * time.Minute, "429", 0},
		"413 at 1 MB":            {publishertest.Faults{Limit: 1 << 20}, time.Minute, "", 0},
		"413 at 4 KB":            {publishertest.Faults{Limit: 4 << 10}, time.Minute, "", 0},
		"HTML log-in page":       {publishertest.Faults{HTMLLogin: true}, 30 * time.Minute, "web page", 0},
		"success:false":          {publishertest.Faults{SuccessFalse: true}, 30 * time.Minute, "NOT DELIVERING", 0},
		"404":                    {publishertest.Faults{Status: 404}, 30 * time.Minute, "404", 0},
		"taken but cut":          {publishertest.Faults{TakenThenCut: true}, 5 * time.Minute, "NOT DELIVERING", 1 << 30},
		"401 as for a bad token": {publishertest.Faults{Status: 401}, 30 * time.Minute, "401", 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, site{settings: quick + `"MaxPayloadSizeInMB": 10, "MaxBatchEvents": 5000,`}, func(w *world) {
				ids := w.raise(30)
				w.awaitDelivered(30 * time.Second)
				w.lams[0].Set(c.faults)
				w.pass(c.lasts / 2)
				for i, id := range ids {
					if i%3 == 0 {
						w.group.SetState(id, scomtest.Closed, "System")
					}
				}
				w.raise(1200)
				w.pass(c.lasts / 2)
				if c.says == "" {
					w.awaitDelivered(10 * time.Minute)
				} else if v := w.status("primary").Verdict; !strings.Contains(v.Text, c.says) || v.Do == "" {
					t.Errorf("the page says %q, do %q; want it to contain %q and to say what to do", v.Text, v.Do, c.says)
				}
				w.lams[0].Set(publishertest.Faults{})
				w.awaitDelivered(3 * time.Minute)
				if n := w.status("primary").Parked.Count; n != 0 {
					t.Errorf("%d entries are parked, want none: the events were good", n)
				}
				if d := w.duplicates(); d > c.twice {
					t.Errorf("%d events arrived twice, want at most %d", d, c.twice)
				}
			})
		})
	}
}

// 401 for the token: nothing is delivered to a LAM that refuses it, and the page names the key.
func TestWrongTokenIsNamed(t *testing.T) {
	inWorld(t, site{lam: publishertest.Options{Token: "right"}, settings: quick + `"AuthTokenRequired": true, "AuthTokenCode": "plain:wrong",`}, func(w *world) {
		w.raise(3)
		w.pass(time.Minute)
		v := w.status("primary").Verdict
		if !strings.Contains(v.Text, "401") || !strings.Contains(v.Do, "AuthTokenCode") {
			t.Errorf("the page says %q, do %q; want 401 and AuthTokenCode", v.Text, v.Do)
		}
		if strings.Contains(w.log.String()+w.get("primary", "/")+w.get("primary", "/api/v1/status"), "wrong") {
			t.Error("the token is shown")
		}
	})
}

// One event that the LAM cannot take is set aside and parked once the LAM has shown that it takes
// others; the rest of its batch arrives.
func TestOneBadEventIsParked(t *testing.T) {
	inWorld(t, site{settings: quick}, func(w *world) {
		w.lams[0].Set(publishertest.Faults{RefuseIf: func(e []byte) bool { return strings.Contains(string(e), "poison") }})
		w.group.Raise(scomtest.Alert{Name: "poison", Severity: scomtest.Error})
		w.raise(500)
		w.await("five hundred alerts arrive", time.Minute, func() bool { return w.lams[0].IDs() >= 500 })
		w.await("the bad one is parked", 10*time.Minute, func() bool { return w.status("primary").Parked.Count == 1 })
		got := w.status("primary").Parked.Newest[0]
		if got.Status != 400 || !strings.Contains(got.Answer, "mapped") || got.LAM == "" {
			t.Errorf("parked: %+v, want the LAM's name and its own words", got)
		}
		before := w.lams[0].Counts().Events
		w.raise(20)
		w.await("later ones arrive", time.Minute, func() bool { return w.lams[0].IDs() >= 520 })
		if d := w.duplicates(); d > 0 {
			t.Errorf("%d events arrived twice", d)
		}
		if after := w.lams[0].Counts().Events; after-before != 20 {
			t.Errorf("%d events for 20 alerts", after-before)
		}
	})
}

// The LAM is down for half a day: nothing but time is lost.
func TestHalfADayWithoutALAM(t *testing.T) {
	inWorld(t, site{settings: quick}, func(w *world) {
		w.raise(5)
		w.awaitDelivered(30 * time.Second)
		w.lams[0].Set(publishertest.Faults{Down: true})
		for range 12 {
			w.raise(4)
			w.pass(time.Hour)
		}
		w.lams[0].Set(publishertest.Faults{})
		w.awaitDelivered(10 * time.Minute)
		w.checkWell(0)
	})
}

// The second LAM of a destination takes over within the same batch, and the first is used again.
func TestSecondLAMTakesOver(t *testing.T) {
	inWorld(t, site{lams: 2, settings: quick}, func(w *world) {
		w.raise(5)
		w.awaitDelivered(30 * time.Second)
		w.lams[0].Set(publishertest.Faults{Down: true})
		w.raise(5)
		w.awaitDelivered(20 * time.Second)
		if s := w.status("primary"); !s.LAMs[1].InUse || s.Verdict.Level != "degraded" {
			t.Errorf("second LAM in use: %v, verdict %s; want true, degraded", s.LAMs[1].InUse, s.Verdict.Level)
		}
		w.lams[0].Set(publishertest.Faults{})
		w.await("the first LAM is used again", 15*time.Minute, func() bool {
			w.raise(1)
			w.pass(10 * time.Second)
			return w.status("primary").LAMs[0].InUse
		})
		w.awaitDelivered(20 * time.Second)
		w.checkWell(0)
	})
}

// After hours without SCOM or LAM a back-off has grown to minutes. Whoever is woken by the alert that was raised meanwhile must not wait for that.
func TestWhatWasAwayForHoursIsUsedAgainWithinSeconds(t *testing.T) {
	slow := `"LowerTimeoutBound": 3600, "UpperTimeoutBound": 7200,`
	t.Run("SCOM", func(t *testing.T) {
		inWorld(t, site{settings: slow}, func(w *world) {
			w.raise(1)
			w.awaitDelivered(time.Minute)
			w.consoles[0].Set(scomtest.Faults{Down: true})
			w.pass(3 * time.Hour)
			w.raise(1)
			w.consoles[0].Heal()
			w.awaitDelivered(10 * time.Second)
		})
	})
	t.Run("LAM", func(t *testing.T) {
		inWorld(t, site{settings: slow}, func(w *world) {
			w.raise(1)
			w.awaitDelivered(time.Minute)
			for _, id := range w.members {
				w.sever(id, "lam1")
			}
			w.raise(1)
			w.pass(3 * time.Hour)
			for _, id := range w.members {
				w.restore(id, "lam1")
			}
			w.awaitDelivered(20 * time.Second)
		})
	})
}
