package scom

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/test/logbuf"
	"scomconnector/test/pipenet"
)

// world is a management group with consoles c1, c2, ... on a network in memory, and a client.
type world struct {
	t        *testing.T
	net      *pipenet.Net
	group    *scomtest.Group
	consoles []*scomtest.Console
	client   *Client
	log      *logbuf.Buffer
}

// newWorld builds one; consoles has an entry for each console, and change may alter the client's
// settings. Call it inside a bubble; all of it ends with the test.
func newWorld(t *testing.T, opt scomtest.Options, consoles []scomtest.ConsoleOptions, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, net: pipenet.New(), group: scomtest.New(opt), log: &logbuf.Buffer{}}
	cfg := Defaults()
	cfg.Dial = w.net.Dialer("connector")
	for i, o := range consoles {
		host := fmt.Sprintf("c%d", i+1)
		w.serve(host, w.group.Console(o))
		cfg.Consoles = append(cfg.Consoles, Console{
			Name: host, URL: "http://" + host + ":80/OperationsManager", Priority: i + 1,
			Domain: "CONTOSO", User: "svc-moogsoft", Password: "simulated",
		})
	}
	if change != nil {
		change(&cfg)
	}
	client, err := New(cfg, hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Trace}))
	if err != nil {
		t.Fatal(err)
	}
	w.client = client
	t.Cleanup(w.client.Close) // before the consoles close
	return w
}

func (w *world) serve(host string, c *scomtest.Console) {
	w.t.Helper()
	l, err := w.net.Listen(host + ":80")
	if err != nil {
		w.t.Fatal(err)
	}
	c.Serve(l)
	w.consoles = append(w.consoles, c)
	w.t.Cleanup(c.Close)
}

// poll reads everything and returns the rows by id.
func (w *world) poll(q alert.Query) (map[string]alert.Alert, alert.Answer, error) {
	rows := map[string]alert.Alert{}
	answer, err := w.client.Poll(w.t.Context(), q, func(r alert.Row) error {
		if r.Err != nil {
			return r.Err
		}
		rows[r.ID.String()] = *r.Alert
		return nil
	})
	return rows, answer, err
}

func (w *world) mustPoll() (map[string]alert.Alert, alert.Answer) {
	w.t.Helper()
	rows, answer, err := w.poll(alert.Query{})
	if err != nil {
		w.t.Fatalf("poll: %v", err)
	}
	return rows, answer
}

// mustFail polls and returns the fault.
func (w *world) mustFail(class alert.FaultClass) *alert.Fault {
	w.t.Helper()
	_, _, err := w.poll(alert.Query{})
	f, ok := alert.FaultOf(err)
	if !ok || f.Class != class {
		w.t.Fatalf("poll: got %v, want a fault of class %v", err, class)
	}
	return f
}

func (w *world) inUse() string {
	for _, s := range w.client.Status() {
		if s.InUse {
			return s.Name
		}
	}
	return "none"
}

var single = []scomtest.ConsoleOptions{{}}

func TestPollReadsEveryVersionAndShapeOfSCOM(t *testing.T) {
	for _, version := range []string{"1801", "1807", "2019", "2019UR1", "2022", "2025"} {
		for name, shape := range map[string]scomtest.Shape{
			"documented":      {},
			"strings":         {NumbersAsStrings: true, BooleansAsText: true, Wrapped: true},
			"numbers":         {NumericSeverity: true, NumericState: true, RowsFirst: true, Dates: scomtest.DatesMicrosoft},
			"upper case":      {UpperCaseKeys: true, Critical: true, PriorityAsText: true, Dates: scomtest.DatesSpaced},
			"local time":      {LocalOffset: 2 * time.Hour, Dates: scomtest.DatesNoZone},
			"one column list": {},
		} {
			t.Run(version+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, scomtest.Options{Version: version, Shape: shape}, []scomtest.ConsoleOptions{{NoColumnList: name == "one column list", Gzip: version == "2022"}}, nil)
					w.group.Populate(60, time.Hour)
					compare(t, w)
				})
			})
		}
	}
}

func compare(t *testing.T, w *world) {
	rows, answer := w.mustPoll()
	if len(rows) != w.group.Len() || answer.Rows < len(rows) || answer.Console != "c1" || answer.Bytes == 0 {
		t.Fatalf("got %d rows of %d, answer %+v", len(rows), w.group.Len(), answer)
	}
	severities := map[alert.Severity]int{alert.Information: 0, alert.Warning: 1, alert.Error: 2}
	for id, got := range rows {
		want, ok := w.group.Get(id)
		if !ok {
			t.Fatalf("row %s is not in the database", id)
		}
		if got.Name != want.Name || got.Description != want.Description || severities[got.Severity] != want.Severity || got.Priority.Number() != want.Priority ||
			int(got.ResolutionState) != want.ResolutionState || got.RepeatCount != want.RepeatCount || got.IsMonitorAlert != want.IsMonitorAlert ||
			got.InMaintenance != want.InMaintenance || got.ObjectPath != want.ObjectPath || got.PrincipalName != want.PrincipalName || got.NetbiosComputer != want.NetbiosComputer ||
			got.CustomFields != want.CustomFields || got.ObjectID != want.ObjectID || got.LastModifiedBy != want.LastModifiedBy ||
			alert.MillisOf(got.LastModified) != alert.MillisOf(want.LastModified) || alert.MillisOf(got.TimeAdded) != alert.MillisOf(want.TimeAdded) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestPollLivesWithoutOptionalColumns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{Shape: scomtest.Shape{OnlyNeeded: true}}, single, nil)
		id := w.group.Raise(scomtest.Alert{Name: "n", Severity: scomtest.Error})
		rows, _ := w.mustPoll()
		if a, ok := rows[id]; !ok || a.Name != "" || a.LastModified.IsZero() {
			t.Errorf("got %+v", a)
		}
	})
}

func TestPollSelectsByTimeStateAndID(t *testing.T) {
	for _, form := range []string{"iso", "space"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{}, single, func(c *Config) { c.DateForm = form })
			start := alert.MillisOf(time.Now())
			old := w.group.Raise(scomtest.Alert{Name: "old"})
			closed := w.group.Raise(scomtest.Alert{Name: "closed"})
			w.group.SetState(closed, scomtest.Closed, "System")
			time.Sleep(10*time.Minute + 733*time.Millisecond)
			fresh := w.group.Raise(scomtest.Alert{Name: "fresh"})
			id, err := alert.ParseID(closed)
			if err != nil {
				t.Fatal(err)
			}
			mid := start.Add(5 * time.Minute)
			for _, c := range []struct {
				what string
				q    alert.Query
				want []string
			}{
				{"all", alert.Query{}, []string{old, closed, fresh}},
				{"since", alert.Query{From: mid}, []string{fresh}},
				{"before", alert.Query{To: mid}, []string{old, closed}},
				{"the last instant", alert.Query{From: start.Add(10*time.Minute + 733*time.Millisecond)}, []string{fresh}},
				{"open", alert.Query{Open: true}, []string{old, fresh}},
				{"open before", alert.Query{Open: true, To: mid}, []string{old}},
				{"open or since", alert.Query{Open: true, OpenOr: true, From: mid}, []string{old, fresh}},
				{"ids", alert.Query{IDs: []alert.ID{id, {1}}}, []string{closed}},
			} {
				rows, _, err := w.poll(c.q)
				if err != nil || len(rows) != len(c.want) {
					t.Errorf("%s: got %d rows, %v, want %d", c.what, len(rows), err, len(c.want))
				}
				for _, id := range c.want {
					if _, ok := rows[id]; !ok {
						t.Errorf("%s: %s is missing", c.what, id)
					}
				}
			}
		})
	}
}

func TestBrokenRowsAreDeliveredAsSuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{DuplicateEvery: -1}, single, nil)
		w.group.Raise(scomtest.Alert{Name: "whole"})
		for _, b := range []scomtest.Breakage{scomtest.BadID, scomtest.NoID, scomtest.BadDate, scomtest.NoDate, scomtest.ObjectAsText, scomtest.NotAnObject} {
			w.group.Raise(scomtest.Alert{Name: "broken", Broken: b})
		}
		var whole, broken int
		answer, err := w.client.Poll(t.Context(), alert.Query{}, func(r alert.Row) error {
			if r.Err == nil {
				whole++
			} else if broken++; len(r.Raw) == 0 || r.Alert != nil {
				t.Errorf("%v: raw is %q, alert %v", r.Err, r.Raw, r.Alert)
			}
			return nil
		})
		if err != nil || whole != 1 || broken != 6 || answer.Rows != 7 {
			t.Errorf("got %d whole and %d broken rows of %d, %v", whole, broken, answer.Rows, err)
		}
	})
}

func TestServerDateIsTheConsolesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		for _, off := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute} {
			w.consoles[0].Set(scomtest.Faults{ClockOffset: off})
			_, answer := w.mustPoll()
			if want := alert.MillisOf(time.Now().Add(off).Truncate(time.Second)); answer.ServerDate != want {
				t.Errorf("offset %v: got %v, want %v", off, answer.ServerDate, want)
			}
		}
		w.consoles[0].Set(scomtest.Faults{NoDate: true})
		if _, answer := w.mustPoll(); answer.ServerDate != 0 {
			t.Errorf("without a Date: got %v", answer.ServerDate)
		}
	})
}

func TestCloseSignsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
		w.mustPoll()
		w.consoles[0].Set(scomtest.Faults{Hang: true})
		w.mustFail(alert.FaultTimeout)
		w.mustPoll()
		start := time.Now()
		w.client.Close()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if got := w.consoles[1].Sessions(); got != 0 {
			t.Errorf("%d sessions are left", got)
		}
		if _, _, err := w.poll(alert.Query{}); !errors.Is(err, ErrClosed) {
			t.Errorf("poll after Close: got %v", err)
		}
	})
}
