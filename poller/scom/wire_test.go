package scom

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

func TestCriteriaLeavesNoGapBetweenSlices(t *testing.T) {
	at := func(ms int) alert.Millis {
		return alert.MillisOf(time.Date(2026, 1, 2, 3, 4, 5, ms*1e6, time.UTC))
	}
	id := alert.ID{0xd3, 0x14}
	for _, c := range []struct {
		what string
		q    alert.Query
		form string
		want string
	}{
		{"everything", alert.Query{}, "iso", `(ResolutionState >= '0')`},
		{"from", alert.Query{From: at(733)}, "iso", `(LastModified >= '2026-01-02T03:04:05Z')`},
		{"from, spaced", alert.Query{From: at(733)}, "space", `(LastModified >= '2026-01-02 03:04:05')`},
		{"slice", alert.Query{From: at(0), To: at(1)}, "iso", `(LastModified >= '2026-01-02T03:04:05Z') AND (LastModified < '2026-01-02T03:04:06Z')`},
		{"slice of whole seconds", alert.Query{From: at(0), To: at(2000)}, "iso", `(LastModified >= '2026-01-02T03:04:05Z') AND (LastModified < '2026-01-02T03:04:07Z')`},
		{"open", alert.Query{Open: true}, "iso", `(ResolutionState <> '255')`},
		{"open and changed", alert.Query{Open: true, From: at(0)}, "iso", `(ResolutionState <> '255') AND (LastModified >= '2026-01-02T03:04:05Z')`},
		{"open or changed", alert.Query{Open: true, OpenOr: true, From: at(999), To: at(999)}, "iso",
			`(ResolutionState <> '255') OR ((LastModified >= '2026-01-02T03:04:05Z') AND (LastModified < '2026-01-02T03:04:06Z'))`},
		{"open or any", alert.Query{Open: true, OpenOr: true}, "iso", `(ResolutionState >= '0')`},
		{"ids exclude all else", alert.Query{IDs: []alert.ID{id, {}}, Open: true, From: at(0)}, "iso",
			`Id IN ('d3140000-0000-0000-0000-000000000000','00000000-0000-0000-0000-000000000000')`},
	} {
		if got, err := criteria(c.q, c.form); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.what, got, err, c.want)
		}
	}
	if _, err := criteria(alert.Query{IDs: make([]alert.ID, alert.MaxQueryIDs+1)}, "iso"); err == nil {
		t.Error("too many ids: got no error")
	}
}

func TestLogOnBodySpellsTheAccount(t *testing.T) {
	for _, c := range []struct {
		console Console
		want    string
	}{
		{Console{Domain: "CONTOSO", User: "svc", Password: `p:a"ss\ü`}, `(Network):CONTOSO\svc:p:a"ss\ü`},
		{Console{User: "svc@contoso.com", Password: "x"}, `(Network):svc@contoso.com:x`},
		{Console{Domain: "D", User: "u", Password: "x", LoginForm: "AuthenticationMode"}, `AuthenticationMode:D\u:x`},
	} {
		body := string(logOnBody(&c.console))
		got, err := base64.StdEncoding.DecodeString(strings.Trim(body, `"`))
		if err != nil || string(got) != c.want || body[0] != '"' {
			t.Errorf("got %s (%v), want a JSON string of %s", body, err, c.want)
		}
	}
}

func TestAlertRequestIsWhatTheDocumentationShows(t *testing.T) {
	got, err := alertRequest("(ResolutionState <> '255')", []string{"id", "name"})
	const want = `{"classId":null,"objectIds":{},"criteria":"(ResolutionState <> '255')","displayColumns":["id","name"]}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

func TestChooseColumnsAsksOnlyForWhatIsOffered(t *testing.T) {
	got := chooseColumns([]string{"Age", "name", "LastModified", "LastModifiedUtc", "timeadded", "resolutionstate", "severity", "sitename", "newfangled"})
	want := []string{"id", "lastmodifiedutc", "resolutionstate", "severity", "name", "sitename", "timeadded"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, offered := range [][]string{nil, {"severity"}} {
		got := chooseColumns(offered)
		for _, must := range []string{"id", "lastmodified", "lastmodifiedutc", "resolutionstate", "severity"} {
			if !slices.Contains(got, must) {
				t.Errorf("offered %v: %s is not asked for: %v", offered, must, got)
			}
		}
		if slices.Contains(got, "age") {
			t.Error("age is asked for: it brings a column that changes with every answer")
		}
	}
	for name, col := range columnNames {
		plain := strings.TrimSuffix(name, "utc")
		if !slices.Contains(chooseColumns(nil), name) && !slices.Contains(chooseColumns(nil), plain) {
			t.Errorf("column %s (%d) is understood but never asked for", name, col)
		}
	}
}

func TestVerdictsOnAnswers(t *testing.T) {
	for _, c := range []struct {
		status                     int
		message                    string
		expired, refused, criteria bool
	}{
		{440, "", true, false, false},
		{401, "", true, true, false},
		{403, "", true, true, false},
		{400, "The criteria could not be parsed", false, true, true},
		{500, "Invalid Criteria expression", false, false, true},
		{500, "Your session has expired", true, false, false},
		{500, "The user name or password is incorrect.", false, true, false},
		{500, "The Data Access service is not running", false, false, false},
		{503, "", false, false, false},
		{404, "", false, false, false},
		{400, "", false, false, false},
	} {
		if got := expired(c.status, c.message); got != c.expired {
			t.Errorf("%d %s: expired %v, want %v", c.status, c.message, got, c.expired)
		}
		if got := logOnRefused(c.status, c.message); got != c.refused {
			t.Errorf("%d %s: log-on refused %v, want %v", c.status, c.message, got, c.refused)
		}
		if got := criteriaRefused(c.status, c.message); got != c.criteria {
			t.Errorf("%d %s: criteria refused %v, want %v", c.status, c.message, got, c.criteria)
		}
	}
}

func TestParseTime(t *testing.T) {
	at := time.Date(2022, 5, 17, 3, 29, 36, 733_000_000, time.UTC)
	for s, want := range map[string]time.Time{
		"2022-05-17T03:29:36.7330000Z":       at,
		"2022-05-17T03:29:36.733Z":           at,
		"2022-05-17T03: 29: 36.7330000Z":     at,
		" 2022-05-17 03:29:36.733 ":          at,
		"2022-05-17T03:29:36.7330000":        at,
		"2022-05-17t03:29:36.733z":           at,
		"2022-05-17T05:29:36.7330000+02:00":  at,
		"2022-05-16T21:59:36.7330000-0530":   at,
		"/Date(1652758176733)/":              at,
		"/Date(1652758176733+0200)/":         at,
		"2022-05-17T03:29:36Z":               at.Truncate(time.Second),
		"2022-05-17T03:29:36.7339999999999Z": at.Add(999_999),
		"2024-02-29T00:00:00Z":               time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
	} {
		got, ok := parseTime([]byte(s))
		if !ok || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%q: got %v, %v, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{
		"", " ", "Z", "yesterday", "5/17/2022 3:29:36 AM", "17.05.2022 03:29:36", "2022-13-01T00:00:00Z", "2022-02-30T00:00:00Z",
		"2022-05-17", "2022-05-17T24:00:00Z", "2022-05-17T03:60:00Z", "2022-05-17T03:29:36.Z", "2022-05-17T03:29:36ZZ",
		"2022-05-1703:29:36Z", "2022-05-17T03:29:36+99:00", "0000-00-00T00:00:00Z", "/Date()/", "/Date(x)/", "/Date(-62135596800000)/", "/Date(1e9)/", "1652758176733",
	} {
		if got, ok := parseTime([]byte(s)); ok {
			t.Errorf("%q: got %v, want it refused", s, got)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2022-05-17T03:29:36.7330000Z", "2022-05-17 03: 29:36", "/Date(1652758176733+0200)/", "2022-05-17T03:29:36+0530"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseTime([]byte(s))
		if !ok {
			return
		}
		if got.Location() != time.UTC {
			t.Errorf("%q: got %v, not UTC", s, got)
		}
		again, ok := parseTime([]byte(got.Format("2006-01-02T15:04:05.000000000Z")))
		if got.Year() >= 1 && got.Year() <= 9999 && (!ok || !again.Equal(got)) {
			t.Errorf("%q: got %v, which reads back as %v, %v", s, got, again, ok)
		}
		if want, err := time.Parse(time.RFC3339Nano, s); err == nil && !got.Equal(want) {
			t.Errorf("%q: got %v, time.Parse reads %v", s, got, want)
		}
	})
}
