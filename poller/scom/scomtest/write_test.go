package scomtest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"scomconnector/poller/scom/scomtest"
)

func TestSetStates(t *testing.T) {
	g := scomtest.New(quiet(scomtest.Options{}))
	plain := g.Raise(scomtest.Alert{Name: "rule"})
	sick := g.Raise(scomtest.Alert{Name: "monitor", IsMonitorAlert: true, Unhealthy: true})
	well := g.Raise(scomtest.Alert{Name: "monitor", IsMonitorAlert: true})
	unknown := "00000000-0000-4000-8000-000000000000"
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	success := `{"failures":[{"alertId":null,"failureMessage":null,"exceptionType":null}],"isFailure":false}`
	cases := []struct {
		body   string
		status int
		want   string
	}{
		{`{"alertIds":["` + plain + `"],"resolutionState":249,"comment":"Acko"}`, 200, success},
		{`{"alertIds":["` + strings.ToUpper(plain) + `"],"resolutionState":"255","comment":"done [sc:1]"}`, 200, success},
		{`{"alertIds":["` + well + `"],"resolutionState":255}`, 200, success},
		{`{"alertIds":["` + sick + `"],"resolutionState":249}`, 200, success},
		{`{"alertIds":["` + sick + `"],"resolutionState":255}`, 200, "AlertMonitorUnhealthyException"},
		{`{"alertIds":["` + unknown + `","` + plain + `"],"resolutionState":0}`, 200, `"alertId":"` + unknown + `"`},
		{`{"alertIds":["` + plain + `"],"resolutionState":256}`, 400, "errorMessage"},
		{`{"alertIds":["` + plain + `"],"resolutionState":-1}`, 400, "errorMessage"},
		{`{"alertIds":["` + plain + `"]}`, 400, "errorMessage"},
		{`{"alertIds":[],"resolutionState":255}`, 400, "errorMessage"},
		{`nonsense`, 400, "errorMessage"},
	}
	for _, tc := range cases {
		status, body, _ := p.do("data/alertResolutionStates", []byte(tc.body))
		if status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s: got %d %s, want %d %s", tc.body, status, body, tc.status, tc.want)
		}
		if fails := strings.Contains(body, `"isFailure":true`); status == 200 && fails == (tc.want == success) {
			t.Errorf("%s: isFailure is %v", tc.body, fails)
		}
	}
	if a, _ := g.Get(plain); a.ResolutionState != 0 || a.LastModifiedBy != `CONTOSO\svc-moogsoft` || !a.TimeResolved.IsZero() {
		t.Errorf("reopened: got %+v", a)
	}
	if a, _ := g.Get(well); a.ResolutionState != 255 || a.ResolvedBy != `CONTOSO\svc-moogsoft` || a.TimeResolved.IsZero() {
		t.Errorf("closed: got %+v", a)
	}
	if a, _ := g.Get(sick); a.ResolutionState != 249 {
		t.Errorf("refused: state %d", a.ResolutionState)
	}
}

func TestHistoryCarriesComments(t *testing.T) {
	g := scomtest.New(scomtest.Options{})
	id := g.Raise(scomtest.Alert{})
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	p.do("data/alertResolutionStates", map[string]any{"alertIds": []string{id}, "resolutionState": 255, "comment": "closed by moobot [sc:42]"})
	var tab table
	_, body, _ := p.do("data/alertHistory/"+id, nil)
	if err := json.Unmarshal([]byte(body), &tab); err != nil || len(tab.Rows) != 2 || len(tab.TableColumns) != 4 {
		t.Fatalf("got %s", body)
	}
	if r := tab.Rows; r[0]["comments"] != "Alert Activated by the System." || r[1]["comments"] != "closed by moobot [sc:42]" || r[1]["modifiedby"] != `CONTOSO\svc-moogsoft` {
		t.Errorf("got %v", r)
	}
	if _, body, _ := p.do("data/alertInformation/"+id, nil); !strings.Contains(body, "[sc:42]") || !strings.Contains(body, `"alertHistoryResponses"`) {
		t.Errorf("alertInformation: got %s", body)
	}
	for _, path := range []string{"data/alertHistory/", "data/alertInformation/", "data/alertDetails/"} {
		if status, _, _ := p.do(path+"00000000-0000-4000-8000-000000000000", nil); status != 404 {
			t.Errorf("%s of an unknown alert: got %d, want 404", path, status)
		}
	}
}

func TestReadOnlyMayNotWrite(t *testing.T) {
	g := scomtest.New(scomtest.Options{Accounts: []scomtest.Account{{User: `CONTOSO\reader`, Password: "x", Role: "Read-Only Operator"}}})
	id := g.Raise(scomtest.Alert{})
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(`(Network):CONTOSO\reader:x`)
	for path, body := range map[string]any{
		"data/alertResolutionStates": map[string]any{"alertIds": []string{id}, "resolutionState": 255},
		"data/alertDetails":          map[string]any{"id": id, "resolutionState": "255"},
		"data/resetMonitorByAlertId": id,
	} {
		if status, _, _ := p.do(path, body); status != 403 {
			t.Errorf("%s: got %d, want 403", path, status)
		}
	}
	if a, _ := g.Get(id); a.ResolutionState != 0 {
		t.Errorf("changed all the same: %+v", a)
	}
}

func TestDetailsAreWrittenWhole(t *testing.T) {
	g := scomtest.New(scomtest.Options{})
	id := g.Raise(scomtest.Alert{Owner: "jo", TicketID: "INC1", CustomFields: [10]string{2: "three"}, Priority: 1, Severity: 1})
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	_, body, _ := p.do("data/alertDetails/"+id, nil)
	var d map[string]any
	if err := json.Unmarshal([]byte(body), &d); err != nil || d["priority"] != "Normal" || d["severity"] != "Warning" || d["resolutionState"] != "0" {
		t.Fatalf("got %s", body)
	}
	d["ticketId"] = "INC2"
	if status, body, _ := p.do("data/alertDetails", d); status != 200 || !strings.Contains(body, `"ticketId":"INC2"`) || !strings.Contains(body, `"failureMessage":null`) {
		t.Errorf("got %d %s", status, body)
	}
	if a, _ := g.Get(id); a.Owner != "jo" || a.TicketID != "INC2" || a.CustomFields[2] != "three" {
		t.Errorf("read, modified, written: got %+v", a)
	}
	p.do("data/alertDetails", map[string]any{"id": id, "resolutionState": "249"})
	if a, _ := g.Get(id); a.Owner != "" || a.TicketID != "" || a.ResolutionState != 249 {
		t.Errorf("half an object: got %+v, want the rest cleared", a)
	}
	g.Update(id, "x", func(a *scomtest.Alert) { a.IsMonitorAlert, a.Unhealthy = true, true })
	if _, body, _ := p.do("data/alertDetails", map[string]any{"id": id, "resolutionState": "255"}); !strings.Contains(body, "AlertMonitorUnhealthyException") {
		t.Errorf("closing an unhealthy monitor's alert: got %s", body)
	}
}

func TestResetMonitorAllowsTheClose(t *testing.T) {
	g := scomtest.New(scomtest.Options{})
	id := g.Raise(scomtest.Alert{IsMonitorAlert: true, Unhealthy: true})
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	shut := func() string {
		_, body, _ := p.do("data/alertResolutionStates", map[string]any{"alertIds": []string{id}, "resolutionState": 255})
		return body
	}
	if got := shut(); !strings.Contains(got, `"isFailure":true`) {
		t.Errorf("unhealthy: got %s", got)
	}
	if status, body, _ := p.do("data/resetMonitorByAlertId", id); status != 200 || body != "true" {
		t.Errorf("reset: got %d %s", status, body)
	}
	if got := shut(); !strings.Contains(got, `"isFailure":false`) {
		t.Errorf("reset: got %s", got)
	}

	g = scomtest.New(scomtest.Options{ResetOnClose: true})
	id = g.Raise(scomtest.Alert{IsMonitorAlert: true, Unhealthy: true})
	p = serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	if got := shut(); !strings.Contains(got, `"isFailure":false`) {
		t.Errorf("the administrator's setting: got %s", got)
	}
}

// TestCutAnswerHidesADoneWrite: the change is made, and who asked for it does not learn of it.
func TestCutAnswerHidesADoneWrite(t *testing.T) {
	g := scomtest.New(scomtest.Options{})
	id := g.Raise(scomtest.Alert{})
	c := g.Console(scomtest.ConsoleOptions{})
	p := serve(t, c)
	p.logOn(goodLogOn)
	c.Set(scomtest.Faults{Path: "alertResolutionStates", CutAfter: 1})
	if _, body, _, err := p.try("data/alertResolutionStates", map[string]any{"alertIds": []string{id}, "resolutionState": 255}); err == nil {
		t.Errorf("got a whole answer: %s", body)
	}
	if a, _ := g.Get(id); a.ResolutionState != scomtest.Closed {
		t.Errorf("the state is %d", a.ResolutionState)
	}
	if got := g.History(id); !slices.ContainsFunc(got, func(r scomtest.HistoryRow) bool { return r.ModifiedBy == `CONTOSO\svc-moogsoft` }) {
		t.Errorf("the history does not show it: %v", got)
	}
}
