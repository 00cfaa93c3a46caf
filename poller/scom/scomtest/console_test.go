package scomtest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
)

// person is a client by plain net/http, which knows no more than the documentation.
type person struct {
	t      testing.TB
	base   string
	http   *http.Client
	cookie []*http.Cookie
	token  string
}

// serve starts a console on the loopback and returns somebody who talks to it.
func serve(t testing.TB, c *scomtest.Console) *person {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Serve(l)
	tr := &http.Transport{}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		c.Close()
	})
	return &person{t: t, base: "http://" + l.Addr().String() + "/OperationsManager/", http: &http.Client{
		Transport:     tr,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// do sends a request; a nil body is a GET. It returns the status, the body and the header.
func (p *person) do(path string, body any) (int, string, http.Header) {
	p.t.Helper()
	status, b, h, err := p.try(path, body)
	if err != nil {
		p.t.Fatalf("%s: %v", path, err)
	}
	return status, b, h
}

func (p *person) try(path string, body any) (int, string, http.Header, error) {
	method, reader := http.MethodGet, io.Reader(nil)
	if body != nil {
		b, ok := body.([]byte)
		if !ok {
			b, _ = json.Marshal(body)
		}
		method, reader = http.MethodPost, bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, p.base+path, reader)
	if err != nil {
		return 0, "", nil, err
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	for _, c := range p.cookie {
		req.AddCookie(c)
	}
	if p.token != "" {
		req.Header.Set("SCOM-CSRF-TOKEN", p.token)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if path == "authenticate" && resp.StatusCode == http.StatusOK {
		p.cookie, p.token = resp.Cookies(), ""
		for _, c := range p.cookie {
			if c.Name == "SCOM-CSRF-TOKEN" {
				p.token, _ = url.PathUnescape(c.Value)
			}
		}
	}
	return resp.StatusCode, string(b), resp.Header, err
}

func (p *person) logOn(text string) int {
	p.t.Helper()
	status, _, _ := p.do("authenticate", base64.StdEncoding.EncodeToString([]byte(text)))
	return status
}

const goodLogOn = `(Network):CONTOSO\svc-moogsoft:simulated`

// table is an answer to data/alert.
type table struct {
	TableColumns []struct {
		Field  string `json:"field"`
		Hidden bool   `json:"hidden"`
	} `json:"tableColumns"`
	Rows []map[string]any `json:"rows"`
}

func (p *person) alerts(criteria string, columns ...string) table {
	p.t.Helper()
	status, body, _ := p.do("data/alert", map[string]any{"classId": nil, "objectIds": map[string]int{}, "criteria": criteria, "displayColumns": columns})
	var tab table
	if err := json.Unmarshal([]byte(body), &tab); err != nil || status != 200 {
		p.t.Fatalf("data/alert: %d %v %.300s", status, err, body)
	}
	return tab
}

func (t table) ids() []string {
	var ids []string
	for _, r := range t.Rows {
		id, _ := r["id"].(string)
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func quiet(o scomtest.Options) scomtest.Options {
	o.DuplicateEvery = -1
	return o
}

func TestLogOnTakesAllSpellings(t *testing.T) {
	cases := []struct {
		text string
		want int
	}{
		{goodLogOn, 200},
		{`Network:CONTOSO\svc-moogsoft:simulated`, 200},
		{`AuthenticationMode:contoso\SVC-moogsoft:simulated`, 200},
		{`whatever:CONTOSO\svc-moogsoft:simulated`, 200},
		{`(Network):CONTOSO\colons:a:b:c`, 200},
		{`(Network):CONTOSO\svc-moogsoft:wrong`, 401},
		{`(Network):CONTOSO\svc-moogsoft:Simulated`, 401},
		{`(Network):CONTOSO\nobody:simulated`, 401},
		{`Windows`, 401}, // nobody in front has checked the account
		{`simulated`, 401},
	}
	g := scomtest.New(scomtest.Options{Accounts: []scomtest.Account{scomtest.DefaultAccount, {User: `CONTOSO\colons`, Password: "a:b:c"}}})
	c := g.Console(scomtest.ConsoleOptions{})
	p := serve(t, c)
	for _, tc := range cases {
		if got := p.logOn(tc.text); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.text, got, tc.want)
		}
	}
	n := c.Counters()
	if n.Logons != 5 || n.BadLogons != 5 || g.BadLogons(`contoso\SVC-MOOGSOFT`) != 2 {
		t.Errorf("got %d good and %d bad log-ons, %d of the account", n.Logons, n.BadLogons, g.BadLogons(`contoso\SVC-MOOGSOFT`))
	}
	for _, body := range []string{`"not base 64"`, `V2luZG93cw==`, `["V2luZG93cw=="]`, ``} {
		if status, answer, _ := p.do("authenticate", []byte(body)); status != 400 || !strings.Contains(answer, `"errorMessage"`) {
			t.Errorf("body %q: got %d %s, want 400 with an errorMessage", body, status, answer)
		}
	}
}

func TestLogOnAnswersAsDocumented(t *testing.T) {
	p := serve(t, scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{}))
	status, body, _ := p.do("authenticate", base64.StdEncoding.EncodeToString([]byte(goodLogOn)))
	var got struct {
		Name, ExpiryTime, Role string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	expiry, err := time.Parse(time.RFC3339, got.ExpiryTime)
	if got.Name != `contoso\svc-moogsoft` || got.Role != "Operator" || err != nil || time.Until(expiry) < 23*time.Hour {
		t.Errorf("got %s", body)
	}
	if status, body, _ := p.do("authenticationMode", nil); status != 200 || body != `"Network"` {
		t.Errorf("authenticationMode: %d %s", status, body)
	}
}

func TestFrontLogsOnForWindows(t *testing.T) {
	c := scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{Mode: "Windows", FrontHeader: "X-User"})
	p := serve(t, c)
	if got := p.logOn("Windows"); got != 401 {
		t.Errorf("without the front: got %d, want 401", got)
	}
	req, _ := http.NewRequest(http.MethodPost, p.base+"authenticate", strings.NewReader(`"V2luZG93cw=="`))
	req.Header.Set("X-User", `CONTOSO\svc-moogsoft`)
	resp, err := p.http.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("by the front: %v %v", resp, err)
	}
	resp.Body.Close()
	if _, mode, _ := p.do("authenticationMode", nil); mode != `"Windows"` {
		t.Errorf("mode: got %s", mode)
	}
}

func TestLoginFormMayBeDemanded(t *testing.T) {
	p := serve(t, scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{LoginForm: "AuthenticationMode"}))
	if got := p.logOn(goodLogOn); got != 401 {
		t.Errorf("got %d, want 401", got)
	}
	if got := p.logOn(`AuthenticationMode:CONTOSO\svc-moogsoft:simulated`); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
}

func TestAccountLocks(t *testing.T) {
	g := scomtest.New(scomtest.Options{LockAfter: 3})
	a, b := serve(t, g.Console(scomtest.ConsoleOptions{})), serve(t, g.Console(scomtest.ConsoleOptions{BadLogonStatus: 403}))
	bad := `(Network):CONTOSO\svc-moogsoft:x`
	if got := []int{a.logOn(bad), b.logOn(bad), a.logOn(goodLogOn), a.logOn(bad), a.logOn(bad), b.logOn(bad), a.logOn(goodLogOn)}; !slices.Equal(got, []int{401, 403, 200, 401, 401, 403, 401}) {
		t.Errorf("got %v: a good log-on resets the count, and three bad ones at any console lock", got)
	}
}

func TestSessions(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	g := scomtest.New(scomtest.Options{Now: func() time.Time { return now }, SessionLife: time.Hour})
	c := g.Console(scomtest.ConsoleOptions{})
	p, other := serve(t, c), serve(t, g.Console(scomtest.ConsoleOptions{}))
	read := func(p *person) int {
		status, _, _ := p.do("resources/alertSeverity", nil)
		return status
	}
	if got := read(p); got != 401 {
		t.Errorf("without a session: got %d, want 401", got)
	}
	p.logOn(goodLogOn)
	if got := read(p); got != 200 {
		t.Errorf("with a session: got %d, want 200", got)
	}
	other.cookie, other.token = p.cookie, p.token
	if got := read(other); got != 440 {
		t.Errorf("another console's session: got %d, want 440", got)
	}
	token := p.token
	p.token = strings.ReplaceAll(token, "+", " ") // what QueryUnescape makes of it
	if got := read(p); got != 403 || token == p.token {
		t.Errorf("a token unescaped as a query: got %d, want 403", got)
	}
	p.token = ""
	if got := read(p); got != 403 {
		t.Errorf("without a token: got %d, want 403", got)
	}
	p.token = token
	c.Set(scomtest.Faults{SessionGone: true})
	if got := []int{read(p), read(p)}; !slices.Equal(got, []int{440, 440}) {
		t.Errorf("session gone: got %v", got)
	}
	p.logOn(goodLogOn)
	if got := read(p); got != 200 {
		t.Errorf("logged on again: got %d, want 200", got)
	}
	now = now.Add(time.Hour)
	if got := read(p); got != 440 {
		t.Errorf("expired: got %d, want 440", got)
	}
	p.logOn(goodLogOn)
	if status, _, _ := p.do("signout", nil); status != 200 || read(p) != 440 {
		t.Errorf("signed out: got %d, then a session that still works", status)
	}
	p.logOn(goodLogOn)
	c.DropSessions()
	if got := read(p); got != 440 {
		t.Errorf("sessions dropped: got %d, want 440", got)
	}
}

func TestReleasesDiffer(t *testing.T) {
	cases := []struct {
		version                        string
		token, newer, refuses, boolean bool
	}{
		{"1801", false, false, false, true},
		{"1807", false, false, false, false},
		{"2019", false, false, true, false},
		{"2019UR1", true, false, true, false},
		{"2022", true, true, true, false},
		{"2025", true, true, true, false},
	}
	for _, tc := range cases {
		t.Run(tc.version, func(t *testing.T) {
			g := scomtest.New(scomtest.Options{Version: tc.version})
			id := g.Raise(scomtest.Alert{Name: "unhealthy", IsMonitorAlert: true, Unhealthy: true})
			p := serve(t, g.Console(scomtest.ConsoleOptions{}))
			p.logOn(goodLogOn)
			if got := p.token != ""; got != tc.token {
				t.Errorf("CSRF token: got %v, want %v", got, tc.token)
			}
			for _, path := range []string{"data/ManagementGroup", "data/alertDetails/" + id, "data/alertHistory/" + id} {
				if status, _, _ := p.do(path, nil); (status == 200) != tc.newer || status != 200 && status != 404 {
					t.Errorf("%s: got %d", path, status)
				}
			}
			if status, _, _ := p.do("data/alertInformation/"+id, nil); status != 200 {
				t.Errorf("alertInformation: got %d", status)
			}
			_, body, _ := p.do("data/alertResolutionStates", map[string]any{"alertIds": []string{id}, "resolutionState": 255})
			if got := strings.Contains(body, `"isFailure":true`) && strings.Contains(body, "still unhealthy"); got != tc.refuses {
				t.Errorf("closing an unhealthy monitor's alert: got %s", body)
			}
			if got := body == "true"; got != tc.boolean {
				t.Errorf("the answer: got %s", body)
			}
			if a, _ := g.Get(id); (a.ResolutionState == scomtest.Closed) == tc.refuses {
				t.Errorf("the state afterwards is %d", a.ResolutionState)
			}
		})
	}
}

func TestRowsLookAsInTheSamples(t *testing.T) {
	now := time.Date(2022, 5, 17, 3, 29, 36, 734e6, time.UTC)
	g := scomtest.New(quiet(scomtest.Options{Now: func() time.Time { return now }}))
	g.Raise(scomtest.Alert{ID: "D3144AC9-4316-45CE-94B9-F50936219E24", Name: "It \"is\" bad\x01\xff", Severity: scomtest.Error, Priority: 2, ResolutionState: 0, RepeatCount: 7, IsMonitorAlert: true})
	now = now.Add(49*time.Hour + 1500*time.Microsecond)
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	tab := p.alerts("", "id", "Severity", "priority", "resolutionstate", "repeatcount", "ismonitoralert", "name", "age", "timeadded", "lastmodified", "lastmodifiedutc", "monitoringclassid", "owner")
	want := map[string]any{
		"id": "d3144ac9-4316-45ce-94b9-f50936219e24", "severity": "Error", "priority": 2.0, "resolutionstate": "0", "repeatcount": 7.0,
		"ismonitoralert": true, "name": "It \"is\" bad\x01\ufffd", "age": "2 days, 1 hours", "ageinmilliseconds": 176400002.5,
		"timeadded": "2022-05-17T03:29:36.7330000Z", "lastmodified": "2022-05-17T03:29:36.7330000Z", "lastmodifiedutc": "2022-05-17T03:29:36.7330000Z",
	}
	if len(tab.Rows) != 1 {
		t.Fatalf("got %d rows", len(tab.Rows))
	}
	got := tab.Rows[0]
	if owner := got["owner"]; owner != nil && owner != "" {
		t.Errorf("owner: got %v, want nothing", owner)
	}
	delete(got, "owner")
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: got %v, want %v", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v: unknown columns are left out", got)
	}
	var fields []string
	for _, c := range tab.TableColumns {
		fields = append(fields, c.Field)
		if c.Hidden != (c.Field == "id" || c.Field == "ageinmilliseconds") {
			t.Errorf("%s: hidden is %v", c.Field, c.Hidden)
		}
	}
	asked := []string{"id", "severity", "priority", "resolutionstate", "repeatcount", "ismonitoralert", "name", "age", "timeadded", "lastmodified", "lastmodifiedutc", "owner"}
	if slices.Equal(fields, asked) || len(fields) != 13 || !slices.Contains(fields, "ageinmilliseconds") {
		t.Errorf("tableColumns: got %v, want another order than asked, with ageinmilliseconds", fields)
	}
}

// TestNothingHasThreeFaces: a column without a value is null, empty or left out.
func TestNothingHasThreeFaces(t *testing.T) {
	g := scomtest.New(scomtest.Options{})
	g.Populate(300, time.Hour)
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	faces := map[string]int{}
	for _, r := range p.alerts("", "id", "owner").Rows {
		switch v, ok := r["owner"]; {
		case !ok:
			faces["missing"]++
		case v == nil:
			faces["null"]++
		case v == "":
			faces["empty"]++
		}
	}
	if len(faces) != 3 {
		t.Errorf("got %v, want all three", faces)
	}
}

func TestRowsHaveNoOrderAndRepeat(t *testing.T) {
	read := func(seed uint64) []string {
		g := scomtest.New(scomtest.Options{Seed: seed})
		for i := range 200 {
			g.Raise(scomtest.Alert{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i)})
		}
		p := serve(t, g.Console(scomtest.ConsoleOptions{}))
		p.logOn(goodLogOn)
		var ids []string
		for _, r := range p.alerts("", "id").Rows {
			ids = append(ids, r["id"].(string))
		}
		return ids
	}
	first, again, other := read(1), read(1), read(2)
	if !slices.Equal(first, again) {
		t.Error("the same seed gave another order")
	}
	if slices.Equal(first, other) || slices.IsSorted(first) {
		t.Error("the order does not depend on the seed, or is none")
	}
	slices.Sort(first)
	if n := len(slices.Compact(slices.Clone(first))); n != 200 || len(first) != 204 {
		t.Errorf("got %d rows of %d alerts, want 204 of 200", len(first), n)
	}
}

func TestQueryForms(t *testing.T) {
	object := "d95c4085-20bb-6c5a-0151-7c86f9b14c2f"
	g := scomtest.New(quiet(scomtest.Options{Groups: map[string][]string{"web": {object}}}))
	in := g.Raise(scomtest.Alert{ObjectID: object})
	out := g.Raise(scomtest.Alert{})
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	cases := []struct {
		body   string
		want   []string
		status int
	}{
		{`{"criteria":null,"displayColumns":["id"]}`, []string{in, out}, 200},
		{`{"displayColumns":["id"]}`, []string{in, out}, 200},
		{`[{"classId":"","objectIds":{},"criteria":"","displayColumns":["id"]}]`, []string{in, out}, 200},
		{`{"objectIds":{"` + strings.ToUpper(object) + `":0},"displayColumns":["id"]}`, []string{in}, 200},
		{`{"groupId":"web","displayColumns":["id"]}`, []string{in}, 200},
		{`{"groupId":"nowhere","displayColumns":["id"]}`, nil, 400},
		{`{"objectIds":{"x":0},"displayColumns":["id"]}`, nil, 400},
		{`{"criteria":"Nonsense = '1'","displayColumns":["id"]}`, nil, 400},
		{`[]`, nil, 400},
		{`{`, nil, 400},
	}
	for _, tc := range cases {
		status, body, _ := p.do("data/alert", []byte(tc.body))
		if status != tc.status {
			t.Errorf("%s: got %d %s, want %d", tc.body, status, body, tc.status)
			continue
		}
		if status != 200 {
			if !strings.Contains(body, `{"errorMessage":"`) {
				t.Errorf("%s: got %s, want an errorMessage", tc.body, body)
			}
			continue
		}
		var tab table
		json.Unmarshal([]byte(body), &tab)
		slices.Sort(tc.want)
		if got := tab.ids(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.body, got, tc.want)
		}
	}
}

func TestShapes(t *testing.T) {
	now := time.Date(2022, 5, 17, 3, 29, 36, 730e6, time.UTC)
	row := func(s scomtest.Shape, columns ...string) string {
		g := scomtest.New(quiet(scomtest.Options{Shape: s, Now: func() time.Time { return now }}))
		g.Raise(scomtest.Alert{ID: "d3144ac9-4316-45ce-94b9-f50936219e24", Severity: scomtest.Error, Priority: 1, IsMonitorAlert: true})
		p := serve(t, g.Console(scomtest.ConsoleOptions{}))
		p.logOn(goodLogOn)
		_, body, _ := p.do("data/alert", map[string]any{"displayColumns": columns})
		return body
	}
	cases := []struct {
		name   string
		shape  scomtest.Shape
		column string
		want   string
	}{
		{"plain", scomtest.Shape{}, "priority", `"rows":[{"priority":1}]}`},
		{"needed", scomtest.Shape{OnlyNeeded: true}, "priority", `{"tableColumns":[],"rows":[{}]}`},
		{"needed keeps", scomtest.Shape{OnlyNeeded: true}, "lastmodified", `[{"lastmodified":"2022-05-17T03:29:36.7300000Z"}]`},
		{"numbers", scomtest.Shape{NumbersAsStrings: true}, "priority", `[{"priority":"1"}]`},
		{"bools", scomtest.Shape{BooleansAsText: true}, "ismonitoralert", `[{"ismonitoralert":"True"}]`},
		{"severity", scomtest.Shape{NumericSeverity: true}, "severity", `[{"severity":2}]`},
		{"critical", scomtest.Shape{Critical: true}, "severity", `[{"severity":"Critical"}]`},
		{"priority", scomtest.Shape{PriorityAsText: true}, "priority", `[{"priority":"Normal"}]`},
		{"state", scomtest.Shape{NumericState: true}, "resolutionstate", `[{"resolutionstate":0}]`},
		{"keys", scomtest.Shape{UpperCaseKeys: true}, "severity", `"ROWS":[{"SEVERITY":"Error"}]`},
		{"rows first", scomtest.Shape{RowsFirst: true}, "priority", `{"rows":[{"priority":1}],"tableColumns":[`},
		{"wrapped", scomtest.Shape{Wrapped: true}, "priority", `"rows":[{"priority":1}]}]`},
		{"short", scomtest.Shape{Dates: scomtest.DatesShort}, "lastmodified", `"2022-05-17T03:29:36.73Z"`},
		{"spaced", scomtest.Shape{Dates: scomtest.DatesSpaced}, "lastmodified", `"2022-05-17T03: 29: 36.7300000Z"`},
		{"no zone", scomtest.Shape{Dates: scomtest.DatesNoZone}, "lastmodified", `"2022-05-17T03:29:36.7300000"`},
		{"microsoft", scomtest.Shape{Dates: scomtest.DatesMicrosoft}, "lastmodified", `"\/Date(1652758176730)\/"`},
		{"local", scomtest.Shape{LocalOffset: time.Hour}, "lastmodified", `"2022-05-17T04:29:36.7300000Z"`},
		{"utc", scomtest.Shape{LocalOffset: time.Hour}, "lastmodifiedutc", `"2022-05-17T03:29:36.7300000Z"`},
		{"languages", scomtest.Shape{Languages: 2}, "name", `,{"name":"[language 1] "}`},
	}
	for _, tc := range cases {
		got := row(tc.shape, tc.column)
		if !strings.Contains(got, tc.want) || !json.Valid([]byte(got)) {
			t.Errorf("%s: got %s, want %s in it", tc.name, got, tc.want)
		}
	}
}

func TestBrokenRows(t *testing.T) {
	id := "d3144ac9-4316-45ce-94b9-f50936219e24"
	cases := map[scomtest.Breakage]string{
		scomtest.BadID:        `"id":"not-a-guid"`,
		scomtest.BadDate:      `"lastmodified":"yesterday"`,
		scomtest.NoDate:       `"lastmodified":null`,
		scomtest.ObjectAsText: `"name":{"value":["unexpected"]}`,
		scomtest.NotAnObject:  `"rows":["row"]`,
		scomtest.NoID:         `"name":"broken"`,
	}
	for broken, want := range cases {
		g := scomtest.New(quiet(scomtest.Options{}))
		g.Raise(scomtest.Alert{ID: id, Name: "broken", Broken: broken})
		p := serve(t, g.Console(scomtest.ConsoleOptions{}))
		p.logOn(goodLogOn)
		_, body, _ := p.do("data/alert", map[string]any{"displayColumns": []string{"id", "lastmodified", "name"}})
		if !strings.Contains(body, want) || !json.Valid([]byte(body)) {
			t.Errorf("breakage %d: got %s, want %s", broken, body, want)
		}
		if broken == scomtest.NoID && strings.Contains(body, id) {
			t.Errorf("the id is there: %s", body)
		}
		g.Update(id, "x", func(a *scomtest.Alert) { a.Broken = scomtest.Whole })
		if tab := p.alerts("", "id"); !slices.Equal(tab.ids(), []string{id}) {
			t.Errorf("breakage %d mended: got %v", broken, tab.Rows)
		}
	}
}

func TestColumnList(t *testing.T) {
	g := scomtest.New(scomtest.Options{})
	p := serve(t, g.Console(scomtest.ConsoleOptions{}))
	p.logOn(goodLogOn)
	_, body, _ := p.do("resources/alertColumns", nil)
	var list []struct{ Name, ID, Typename string }
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	documented := strings.Split("context monitoringobjectid monitoringobjectname age alertsource category connectorstatus timeadded timeaddedutc "+
		"customfield1 customfield2 customfield3 customfield4 customfield5 customfield6 customfield7 customfield8 customfield9 customfield10 description ismonitoralert "+
		"lastmodified lastmodifiedby lastmodifiedutc latency monitoringobjectinmaintenancemode monitorname name netbioscomputername netbiosdomainname owner "+
		"monitoringobjectpath principalname priority repeatcount resolutionstate resolvedby severity sitename monitoringobjectdisplayname statelastmodified "+
		"statelastmodifiedutc tfsworkitemid tfsworkitemowner ticketid timeresolutionstatelastmodified timeresolved timeresolvedutc classid", " ")
	if !slices.Equal(ids, documented) {
		t.Errorf("got %v, want %v", ids, documented)
	}
	for _, path := range []string{"resources/alertResolutionStates", "resources/alertSeverity", "RESOURCES/alertpriority"} {
		if status, body, _ := p.do(path, nil); status != 200 || !strings.Contains(body, `"selected":false`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	g.SetShape(scomtest.Shape{OnlyNeeded: true})
	if _, body, _ := p.do("resources/alertColumns", nil); strings.Contains(body, "description") || !strings.Contains(body, "lastmodified") {
		t.Errorf("only what is needed: got %s", body)
	}
	old := serve(t, g.Console(scomtest.ConsoleOptions{NoColumnList: true}))
	old.logOn(goodLogOn)
	if status, _, _ := old.do("resources/alertColumns", nil); status != 404 {
		t.Errorf("without the list: got %d, want 404", status)
	}
}

func TestGzip(t *testing.T) {
	g := scomtest.New(scomtest.Options{})
	g.Populate(100, time.Hour)
	p := serve(t, g.Console(scomtest.ConsoleOptions{Gzip: true}))
	p.http.Transport.(*http.Transport).DisableCompression = true
	p.logOn(goodLogOn)
	req, _ := http.NewRequest(http.MethodPost, p.base+"data/alert", strings.NewReader(`{"displayColumns":["id"]}`))
	for _, c := range p.cookie {
		req.AddCookie(c)
	}
	req.Header.Set("SCOM-CSRF-TOKEN", p.token)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := p.http.Do(req)
	if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v %v", resp, err)
	}
	defer resp.Body.Close()
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var tab table
	if err := json.NewDecoder(z).Decode(&tab); err != nil || len(tab.ids()) != 100 {
		t.Errorf("got %d alerts, %v", len(tab.ids()), err)
	}
	if tab := p.alerts("", "id"); len(tab.ids()) != 100 {
		t.Errorf("not asked to compress: got %d alerts", len(tab.ids()))
	}
}

func TestManagementGroup(t *testing.T) {
	g := scomtest.New(scomtest.Options{Name: "SCOMServer-MG"})
	a, b := serve(t, g.Console(scomtest.ConsoleOptions{})), serve(t, g.Console(scomtest.ConsoleOptions{}))
	a.logOn(goodLogOn)
	b.logOn(goodLogOn)
	_, one, _ := a.do("data/ManagementGroup", nil)
	_, two, _ := b.do("data/ManagementGroup", nil)
	if one != two || !strings.Contains(one, `"name":"SCOMServer-MG"`) || !strings.Contains(one, `"id":"`) {
		t.Errorf("got %s and %s", one, two)
	}
}
