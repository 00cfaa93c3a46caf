package scom

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the test's zones, wherever it runs

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
)

// A column that is not UTC is refused, whatever the zone and the age of the alerts, and another console is used.
func TestLocalTimesAreRefused(t *testing.T) {
	for _, c := range []struct {
		zone, now, says string
	}{
		{"Europe/Berlin", "2000-01-15", "1:00 h ahead"},
		{"Europe/Berlin", "2000-07-15", "2:00 h ahead"},
		{"Europe/London", "2000-07-15", "1:00 h ahead"},
		{"America/New_York", "2000-01-15", "5:00 h behind"},
		{"America/New_York", "2000-07-15", "4:00 h behind"},
		{"America/St_Johns", "2000-01-15", "3:30 h behind"},
		{"Asia/Kolkata", "2000-01-15", "5:30 h ahead"},
		{"Asia/Kathmandu", "2000-01-15", "5:45 h ahead"},
		{"Australia/Lord_Howe", "2000-07-15", "10:30 h ahead"},
		{"Pacific/Kiritimati", "2000-01-15", "14:00 h ahead"},
		{"Pacific/Pago_Pago", "2000-01-15", "11:00 h behind"},
	} {
		for _, age := range []time.Duration{time.Minute, 20 * time.Hour, 90 * 24 * time.Hour} {
			t.Run(fmt.Sprint(c.zone, " ", c.now, " ", age), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sleepUntil(t, c.now)
					w := newWorld(t, scomtest.Options{Shape: scomtest.Shape{NoUTC: true, LocalZone: c.zone}}, single, nil)
					says := "its times are not UTC but " + c.says
					if age > 24*time.Hour { // the offset is that of the day on which the alert was modified
						says = "its times are not UTC but "
					}
					w.group.Raise(scomtest.Alert{Name: "a", LastModified: time.Now().Add(-age)})
					f := w.mustFail(alert.FaultTransport)
					if !strings.Contains(f.Error(), says) {
						t.Errorf("got %v, want one that says %q", f, says)
					}
					if got := w.client.Status()[0]; got.State != StateFailing || got.Features.Times != TimesUnsure {
						t.Errorf("status: %+v", got)
					}
				})
			})
		}
	}
}

func sleepUntil(t *testing.T, day string) {
	t.Helper()
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(at))
}

// In a zone that is UTC in winter the test passes; the first alert of summer shows it.
func TestLocalTimesShowWhenSummerTimeBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(t, "2000-03-25")
		w := newWorld(t, scomtest.Options{Shape: scomtest.Shape{NoUTC: true, LocalZone: "Europe/London"}}, single, nil)
		w.group.Raise(scomtest.Alert{Name: "winter"})
		w.mustPoll()
		if got := w.client.Status()[0].Features.Times; got != TimesTested {
			t.Errorf("in winter: %s", got)
		}
		time.Sleep(25*time.Hour + 30*time.Minute) // summer time is half an hour old
		w.mustPoll()
		w.group.Raise(scomtest.Alert{Name: "summer"})
		if f := w.mustFail(alert.FaultTransport); !strings.Contains(f.Error(), "its times are not UTC but 1:00 h ahead of it") {
			t.Errorf("got %v", f)
		}
	})
}

// UTC under a name that does not say so is good, also while the test's alert changes, and when the first alert comes only between
// two polls. A broken row proves nothing and holds nothing up.
func TestUTCWithoutTheNameIsProvenAndUsed(t *testing.T) {
	for _, list := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{Shape: scomtest.Shape{NoUTC: true, Dates: scomtest.DatesNoZone}}, []scomtest.ConsoleOptions{{NoColumnList: !list}}, nil)
			w.mustPoll() // nothing is there
			if got := w.client.Status()[0].Features; got.Times != TimesUnsure {
				t.Errorf("without any alert: %+v", got)
			}
			broken := 0
			w.group.Raise(scomtest.Alert{Name: "broken", Broken: scomtest.BadDate})
			if _, err := w.client.Poll(t.Context(), alert.Query{}, func(r alert.Row) error { broken++; return nil }); err != nil || broken == 0 {
				t.Errorf("with a broken row only: %v, %d rows", err, broken)
			}
			id := w.group.Raise(scomtest.Alert{Name: "first"})
			seen := map[string]bool{}
			if _, err := w.client.Poll(t.Context(), alert.Query{}, func(r alert.Row) error { seen[r.ID.String()] = true; return nil }); err != nil || !seen[id] {
				t.Errorf("with the first alert: %v, rows %v", err, seen)
			}
			want := map[bool]Has{true: No, false: Unknown}[list]
			if got := w.client.Status()[0].Features; got.Times != TimesTested || got.UTCColumns != want {
				t.Errorf("proven: %+v", got)
			}
			before := w.consoles[0].Counters().Requests["data/alert"]
			if _, err := w.client.Poll(t.Context(), alert.Query{}, func(alert.Row) error { return nil }); err != nil {
				t.Error(err)
			}
			if got := w.consoles[0].Counters().Requests["data/alert"] - before; got != 1 {
				t.Errorf("a poll after the proof costs %d requests, want 1", got)
			}
		})
	}
}

// The form of dates that is refused is replaced by the other one, if that is read as it is meant.
func TestTheOtherFormOfDatesIsTriedAndProven(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, configured, understood string
		zone                         *time.Location
		form, says                   string // used then, or why not
	}{
		{"iso is understood", "iso", "iso", nil, "iso", ""},
		{"space instead of iso", "iso", "space", nil, "space", ""},
		{"iso instead of space", "space", "iso", nil, "iso", ""},
		{"space as configured", "space", "space", nil, "space", ""},
		{"space is local", "space", "", berlin, "space", "it reads dates in queries not as UTC but 1:00 h ahead"},
		{"only space, and local", "iso", "space", berlin, "space", "it reads dates in queries not as UTC but 1:00 h ahead"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{DateForms: c.understood, SpaceZone: c.zone}, single, func(cfg *Config) { cfg.DateForm = c.configured })
				w.group.Raise(scomtest.Alert{Name: "a"})
				q := alert.Query{From: alert.MillisOf(time.Now().Add(-time.Hour))}
				if c.says != "" {
					_, _, err := w.poll(q)
					if err == nil || !strings.Contains(err.Error(), c.says) {
						t.Errorf("got %v, want one that says %q", err, c.says)
					}
					return
				}
				for range 2 {
					if rows, _, err := w.poll(q); err != nil || len(rows) != 1 {
						t.Fatalf("poll: %v, %d rows", err, len(rows))
					}
				}
				if got := w.client.Status()[0].Features.DateForm; got != c.form {
					t.Errorf("the form in use is %s, want %s", got, c.form)
				}
			})
		})
	}
}

// A console whose times are no good is no reason to stand still.
func TestAConsoleOfLocalTimesIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{Shape: scomtest.Shape{NoUTC: true, LocalZone: "Asia/Kolkata"}}, single, func(c *Config) {
			other := c.Consoles[0]
			other.Name, other.URL, other.Priority = "c2", "http://c2:80/OperationsManager", 2
			c.Consoles = append(c.Consoles, other)
		})
		good := scomtest.New(scomtest.Options{})
		w.serve("c2", good.Console(scomtest.ConsoleOptions{}))
		w.group.Raise(scomtest.Alert{Name: "a"})
		good.Raise(scomtest.Alert{Name: "a"})
		if f := w.mustFail(alert.FaultTransport); f.All {
			t.Errorf("got %+v, want the other console to be tried at once", f)
		}
		if rows, answer := w.mustPoll(); answer.Console != "c2" || len(rows) != 1 {
			t.Errorf("%s answered, %d rows", answer.Console, len(rows))
		}
	})
}

// What a console has is found out at each log-on, changes nothing, and is shown.
func TestFeaturesOfEveryVersion(t *testing.T) {
	for _, c := range []struct {
		opt     scomtest.Options
		console scomtest.ConsoleOptions
		want    Features
		version string
	}{
		{scomtest.Options{Version: "1801"}, scomtest.ConsoleOptions{}, old(No), "1801, 1807 or 2019 before UR1"},
		{scomtest.Options{Version: "1807"}, scomtest.ConsoleOptions{}, old(No), "1801, 1807 or 2019 before UR1"},
		{scomtest.Options{Version: "2019"}, scomtest.ConsoleOptions{}, old(No), "1801, 1807 or 2019 before UR1"},
		{scomtest.Options{Version: "2019UR1"}, scomtest.ConsoleOptions{}, old(Yes), "2019 UR1 or later, before 2022"},
		{scomtest.Options{Version: "2019UR1", NewResources: true}, scomtest.ConsoleOptions{}, newer, "2022 or later, or a late 2019"},
		{scomtest.Options{Version: "2022"}, scomtest.ConsoleOptions{}, newer, "2022 or later, or a late 2019"},
		{scomtest.Options{Version: "2025"}, scomtest.ConsoleOptions{}, newer, "2022 or later, or a late 2019"},
		{scomtest.Options{Version: "2025", Shape: scomtest.Shape{NoUTC: true}}, scomtest.ConsoleOptions{}, with(newer, func(f *Features) { f.UTCColumns, f.Times = No, TimesTested }), "2022 or later, or a late 2019"},
		{scomtest.Options{Version: "2022"}, scomtest.ConsoleOptions{NoColumnList: true}, with(newer, func(f *Features) {
			f.AlertColumns, f.UTCColumns, f.Times = No, Unknown, TimesTested
		}), "2022 or later, or a late 2019"},
	} {
		t.Run(fmt.Sprintf("%s %v %v %v", c.opt.Version, c.opt.NewResources, c.opt.Shape.NoUTC, c.console.NoColumnList), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.opt, []scomtest.ConsoleOptions{c.console}, nil)
				if got := w.client.Status()[0].Features; got != (Features{}) || got.Version() != "unknown" {
					t.Errorf("before the log-on: %+v", got)
				}
				id := w.group.Raise(scomtest.Alert{Name: "a"})
				versions := len(w.group.Versions())
				w.mustPoll()
				got := w.client.Status()[0].Features
				if got.Version() != c.version {
					t.Errorf("version %q, want %q", got.Version(), c.version)
				}
				if got.LogOn.IsZero() {
					t.Error("no time of the log-on")
				}
				if got.LogOn = (time.Time{}); got != c.want {
					t.Errorf("got  %+v\nwant %+v", got, c.want)
				}
				if n := len(w.group.Versions()); n != versions || len(w.group.History(id)) != 1 {
					t.Errorf("%d versions, history %v: something was changed", n, w.group.History(id))
				}
			})
		})
	}
}

func old(csrf Has) Features {
	return Features{Role: "Operator", CSRF: csrf, AlertColumns: Yes, ManagementGroup: No, AlertDetails: No, ResetMonitor: No, UTCColumns: Yes, DateForm: "iso", Times: TimesNamed}
}

var newer = Features{Role: "Operator", CSRF: Yes, AlertColumns: Yes, ManagementGroup: Yes, AlertDetails: Yes, ResetMonitor: Yes, UTCColumns: Yes, DateForm: "iso", Times: TimesNamed}

func with(f Features, change func(*Features)) Features {
	change(&f)
	return f
}
