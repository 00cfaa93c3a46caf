package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller/scom/scomtest"
)

// The whole job, alerts out and closes and fields back in, with each version of SCOM, as whole and as bare as it may be; and the
// status says what that console has.
func TestTheWholeJobWithEveryVersion(t *testing.T) {
	bare := scomtest.Shape{NoUTC: true, Dates: scomtest.DatesNoZone}
	for _, c := range []struct {
		scom    scomtest.Options
		console scomtest.ConsoleOptions
		fields  bool   // owner and ticket can be written
		shows   string // csrf, alertColumns, ManagementGroup, alertDetails, resetMonitorByAlertId, UTC columns, date form
		version string
	}{
		{scomtest.Options{Version: "1801"}, scomtest.ConsoleOptions{}, false, "no yes no no no yes iso", "1801, 1807 or 2019 before UR1"},
		{scomtest.Options{Version: "1801", Shape: bare, DateForms: "space"}, scomtest.ConsoleOptions{NoColumnList: true}, false, "no no no no no unknown space", "1801, 1807 or 2019 before UR1"},
		{scomtest.Options{Version: "1807"}, scomtest.ConsoleOptions{}, false, "no yes no no no yes iso", "1801, 1807 or 2019 before UR1"},
		{scomtest.Options{Version: "2019"}, scomtest.ConsoleOptions{}, false, "no yes no no no yes iso", "1801, 1807 or 2019 before UR1"},
		{scomtest.Options{Version: "2019", NewResources: true}, scomtest.ConsoleOptions{}, true, "no yes yes yes yes yes iso", "1801, 1807 or 2019 before UR1"},
		{scomtest.Options{Version: "2019UR1"}, scomtest.ConsoleOptions{}, false, "yes yes no no no yes iso", "2019 UR1 or later, before 2022"},
		{scomtest.Options{Version: "2022"}, scomtest.ConsoleOptions{}, true, "yes yes yes yes yes yes iso", "2022 or later, or a late 2019"},
		{scomtest.Options{Version: "2022", Shape: bare}, scomtest.ConsoleOptions{}, true, "yes yes yes yes yes no iso", "2022 or later, or a late 2019"},
		{scomtest.Options{Version: "2025"}, scomtest.ConsoleOptions{}, true, "yes yes yes yes yes yes iso", "2022 or later, or a late 2019"},
	} {
		t.Run(fmt.Sprintf("%s %s", c.scom.Version, c.shows), func(t *testing.T) {
			inWorld(t, site{scom: c.scom, console: c.console, settings: quick + `"SendOwnChanges": true,`}, func(w *world) {
				ids := w.raise(20)
				w.awaitDelivered(30 * time.Second)
				if p := w.ask("primary", ids[0], ""); !p.accepted() {
					t.Errorf("the close: %v", p)
				}
				p := w.post("primary", "/event_post/", fmt.Sprintf(`{"id": %q, "detail": "Update", "ticketId": "INC1", "owner": "jensen"}`, ids[1]))
				if !p.accepted() {
					t.Errorf("the fields: %v", p)
				}
				w.awaitSettled(time.Minute)
				if a, _ := w.group.Get(ids[0]); a.ResolutionState != scomtest.Closed {
					t.Errorf("the closed one is in state %d", a.ResolutionState)
				}
				if a, _ := w.group.Get(ids[1]); (a.TicketID == "INC1" && a.Owner == "jensen") != c.fields {
					t.Errorf("ticket %q, owner %q, want them written: %v", a.TicketID, a.Owner, c.fields)
				}
				w.awaitDelivered(30 * time.Second)
				s := w.status("primary")
				f := s.SCOM[0].Features
				if f == nil {
					t.Fatalf("the status shows nothing of %+v", s.SCOM[0])
				}
				shows := strings.Join([]string{f.CSRF, f.AlertColumns, f.ManagementGroup, f.AlertDetails, f.ResetMonitor, f.UTCColumns, f.DateForm}, " ")
				if shows != c.shows || f.Version != c.version || f.Role != "Operator" || !strings.HasPrefix(f.Times, "UTC") {
					t.Errorf("it shows %q of version %q, %+v", shows, f.Version, f)
				}
				if page := w.get("primary", "/"); !strings.Contains(page, "SCOM "+c.version+";") {
					t.Error("the page does not say what the console is")
				}
			})
		})
	}
}

// The second console of the list shows another management group. It is refused when it is needed, and page, log and status say
// so; the cluster keeps to the group it is bound to, also after a restart with the other console alone in reach.
func TestAConsoleOfAnotherGroupIsNeverUsed(t *testing.T) {
	inWorld(t, site{consoles: 2, settings: quick}, func(w *world) {
		other := scomtest.New(scomtest.Options{Name: "FABRIKAM-MG", Seed: 9})
		foreign := other.Raise(scomtest.Alert{Name: "of the other group", Severity: scomtest.Error})
		w.consoles[1].Close()
		second := other.Console(scomtest.ConsoleOptions{})
		ln, err := w.net.Listen("scom2:80")
		if err != nil {
			t.Fatal(err)
		}
		second.Serve(ln)
		defer second.Close()
		w.raise(5)
		w.awaitDelivered(30 * time.Second)
		says := "this console belongs to the management group FABRIKAM-MG, and what this connector delivers belongs to CONTOSO-MG"
		w.consoles[0].Set(scomtest.Faults{Down: true})
		w.await("the page says that nothing is delivered", time.Minute, func() bool { return w.status("primary").Verdict.Level == v1.Stopped })
		w.await("the other group is noticed", 5*time.Minute, func() bool { return strings.Contains(w.status("primary").SCOM[1].LastError, says) })
		w.consoles[0].Heal()
		w.raise(5)
		w.awaitDelivered(10 * time.Minute)
		brief := strings.TrimPrefix(says, "this console ")
		w.await("the log says so", 5*time.Minute, func() bool { return strings.Contains(w.log.String(), brief) })
		s := w.status("primary")
		if !strings.Contains(s.Verdict.Text, brief) || s.Verdict.Level != v1.Degraded || !strings.Contains(s.Verdict.Do, "take that console out of ScomServers") {
			t.Errorf("verdict: %+v", s.Verdict)
		}

		w.stop("primary")
		w.consoles[0].Set(scomtest.Faults{Down: true})
		w.start("primary")
		w.await("the other group is noticed by a new process", 5*time.Minute, func() bool { return strings.Contains(w.status("primary").SCOM[1].LastError, says) })
		if v := w.status("primary").Verdict; v.Level != v1.Stopped {
			t.Errorf("verdict: %+v", v)
		}
		w.consoles[0].Heal()
		w.raise(5)
		w.awaitDelivered(10 * time.Minute)
		if _, came := w.lams[0].Latest(foreign); came || second.Counters().Requests["data/alert"] != 0 {
			t.Errorf("the other group was polled %d times, its alert came: %v", second.Counters().Requests["data/alert"], came)
		}
	})
}
