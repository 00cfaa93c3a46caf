package scom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"scomconnector/poller/alert"
)

const (
	testID   = "d3144ac9-4316-45ce-94b9-f50936219e24"
	testTime = "2026-01-02T03:04:05.7330000Z"
)

// readAll reads an answer and copies what must be copied.
func readAll(r io.Reader) (rows []alert.Row, err error) {
	n, err := newRowsReader().read(r, func(row alert.Row) error {
		if row.Alert != nil {
			a := *row.Alert
			row.Alert = &a
		}
		row.Raw = bytes.Clone(row.Raw)
		rows = append(rows, row)
		return nil
	})
	if n != len(rows) {
		return rows, fmt.Errorf("%d rows were counted, %d delivered", n, len(rows))
	}
	return rows, err
}

func one(t *testing.T, row string) alert.Row {
	t.Helper()
	rows, err := readAll(strings.NewReader(`{"rows":[` + row + `]}`))
	if err != nil || len(rows) != 1 {
		t.Fatalf("%s: got %d rows, %v", row, len(rows), err)
	}
	return rows[0]
}

func TestDecodeTakesEveryColumn(t *testing.T) {
	row := `{"id":"{D3144AC9-4316-45ce-94b9-f50936219e24}","lastmodifiedutc":"` + testTime + `","lastmodified":"2026-01-02T05:04:05.7330000Z",
		"resolutionstate":"255","severity":"Critical","priority":2,"repeatcount":"7","ismonitoralert":"True","monitoringobjectinmaintenancemode":1,
		"name":"N\"a\\me","description":"two\r\nlines \u00fc \ud83d\ude00","category":"c","owner":"o","ticketid":12,"resolvedby":"r","lastmodifiedby":"System",
		"monitoringobjectid":"i","monitoringobjectname":"on","monitoringobjectdisplayname":"od","monitoringobjectpath":"srv\\MSSQL","netbioscomputername":"nc",
		"netbiosdomainname":"nd","principalname":"p","sitename":"s","monitorname":"m","alertsource":"as","context":"<x/>","customfield1":"1","customfield10":"10",
		"timeadded":"2026-01-01T00:00:00Z","timeresolvedutc":"2026-01-03T00:00:00Z","timeresolved":null,
		"age":"3 days","ageinmilliseconds":530260033217.2775,"future":{"a":[1,"}"]}}`
	got := one(t, row)
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	id, _ := alert.ParseID(testID)
	want := alert.Alert{
		ID: id, LastModified: time.Date(2026, 1, 2, 3, 4, 5, 733_000_000, time.UTC), ResolutionState: 255, Severity: alert.Error, Priority: alert.High,
		RepeatCount: 7, IsMonitorAlert: true, InMaintenance: true, Name: `N"a\me`, Description: "two\r\nlines ü 😀", Category: "c", Owner: "o", TicketID: "12",
		ResolvedBy: "r", LastModifiedBy: "System", ObjectID: "i", ObjectName: "on", ObjectDisplayName: "od", ObjectPath: `srv\MSSQL`, NetbiosComputer: "nc",
		NetbiosDomain: "nd", PrincipalName: "p", SiteName: "s", MonitorName: "m", Source: "as", Context: "<x/>",
		TimeAdded: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), TimeResolved: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC),
	}
	want.CustomFields[0], want.CustomFields[9] = "1", "10"
	if !reflect.DeepEqual(*got.Alert, want) || got.ID != id {
		t.Errorf("got  %+v\nwant %+v", *got.Alert, want)
	}
}

func TestDecodeTreatsTypesAsInterchangeable(t *testing.T) {
	base := `"id":"` + testID + `","lastmodified":"` + testTime + `"`
	for _, c := range []struct {
		fields string
		check  func(a *alert.Alert) bool
	}{
		{``, func(a *alert.Alert) bool { return a.ResolutionState == 0 && a.Severity == alert.SeverityUnknown }},
		{`,"resolutionstate":null,"severity":null,"priority":null,"name":null`, func(a *alert.Alert) bool { return a.Priority == alert.Normal && a.Name == "" }},
		{`,"resolutionstate":254.0`, func(a *alert.Alert) bool { return a.ResolutionState == 254 }},
		{`,"resolutionstate":" 249 "`, func(a *alert.Alert) bool { return a.ResolutionState == 249 }},
		{`,"resolutionstate":"Closed"`, func(a *alert.Alert) bool { return a.Closed() }},
		{`,"resolutionstate":""`, func(a *alert.Alert) bool { return a.ResolutionState == 0 }},
		{`,"severity":0`, func(a *alert.Alert) bool { return a.Severity == alert.Information }},
		{`,"severity":"1"`, func(a *alert.Alert) bool { return a.Severity == alert.Warning }},
		{`,"severity":"ERROR"`, func(a *alert.Alert) bool { return a.Severity == alert.Error }},
		{`,"severity":"MatchMonitorHealth"`, func(a *alert.Alert) bool { return a.Severity == alert.SeverityUnknown }},
		{`,"priority":"0"`, func(a *alert.Alert) bool { return a.Priority == alert.Low }},
		{`,"priority":"Normal"`, func(a *alert.Alert) bool { return a.Priority == alert.Normal }},
		{`,"priority":"high"`, func(a *alert.Alert) bool { return a.Priority == alert.High }},
		{`,"repeatcount":3.0`, func(a *alert.Alert) bool { return a.RepeatCount == 3 }},
		{`,"repeatcount":"many"`, func(a *alert.Alert) bool { return a.RepeatCount == 0 }},
		{`,"ismonitoralert":"1"`, func(a *alert.Alert) bool { return a.IsMonitorAlert }},
		{`,"ismonitoralert":"False"`, func(a *alert.Alert) bool { return !a.IsMonitorAlert }},
		{`,"name":17.5,"owner":true`, func(a *alert.Alert) bool { return a.Name == "17.5" && a.Owner == "true" }},
		{`,"NAME":"n","SeVerity":2`, func(a *alert.Alert) bool { return a.Name == "n" && a.Severity == alert.Error }},
		{`,"n\u0061me":"n"`, func(a *alert.Alert) bool { return a.Name == "n" }},
		{`,"timeadded":"soon"`, func(a *alert.Alert) bool { return a.TimeAdded.IsZero() }},
		{`,"timeadded":"0001-01-01T00:00:00"`, func(a *alert.Alert) bool { return a.TimeAdded.IsZero() }},
		{`,"lastmodifiedutc":null`, func(a *alert.Alert) bool { return a.LastModified.Second() == 5 }},
		{`,"lastmodifiedutc":"2026-01-02T03:04:06Z"`, func(a *alert.Alert) bool { return a.LastModified.Second() == 6 }},
		{`,"lastmodifiedutc":"\/Date(1652758176733)\/","timeaddedutc":"\/Date(1652758176000)\/"`, func(a *alert.Alert) bool {
			return a.LastModified.UnixMilli() == 1652758176733 && a.TimeAdded.Unix() == 1652758176
		}},
		{`,"name":"bad ` + "\xff" + ` byte"`, func(a *alert.Alert) bool { return a.Name == "bad \uFFFD byte" }},
		{`,"name":"lone \ud800 half"`, func(a *alert.Alert) bool { return utf8.ValidString(a.Name) }},
	} {
		got := one(t, `{`+base+c.fields+`}`)
		if got.Err != nil {
			t.Errorf("%s: %v", c.fields, got.Err)
		} else if !c.check(got.Alert) {
			t.Errorf("%s: got %+v", c.fields, *got.Alert)
		}
	}
}

func TestBrokenRowIsReportedAndTheOthersDelivered(t *testing.T) {
	good := `{"id":"` + testID + `","lastmodified":"` + testTime + `"}`
	for _, c := range []struct {
		row   string
		hasID bool
		says  string
	}{
		{`null`, false, "not a JSON object"},
		{`"text"`, false, "not a JSON object"},
		{`[]`, false, "not a JSON object"},
		{`{}`, false, "no id"},
		{`{"lastmodified":"` + testTime + `"}`, false, "no id"},
		{`{"id":null,"lastmodified":"` + testTime + `"}`, false, "no id"},
		{`{"id":"42","lastmodified":"` + testTime + `"}`, false, "not a GUID"},
		{`{"id":42,"lastmodified":"` + testTime + `"}`, false, "not a GUID"},
		{`{"id":"` + testID + `"}`, true, "no lastmodified"},
		{`{"lastmodified":"never","id":"` + testID + `"}`, true, `lastmodified "never"`},
		{`{"lastmodified":"0001-01-01T00:00:00","id":"` + testID + `"}`, true, "not a time"},
		{`{"name":{"a":"b"},"lastmodified":"` + testTime + `","id":"` + testID + `"}`, true, "column name holds"},
		{`{"resolutionstate":256,"lastmodified":"` + testTime + `","id":"` + testID + `"}`, true, "resolutionstate"},
		{`{"resolutionstate":"Odd","lastmodified":"` + testTime + `","id":"` + testID + `"}`, true, "resolutionstate"},
	} {
		rows, err := readAll(strings.NewReader(`{"rows":[` + good + `,` + c.row + ` , ` + good + `]}`))
		if err != nil || len(rows) != 3 {
			t.Fatalf("%s: got %d rows, %v", c.row, len(rows), err)
		}
		bad := rows[1]
		if rows[0].Err != nil || rows[2].Err != nil {
			t.Errorf("%s: its neighbours suffer: %v, %v", c.row, rows[0].Err, rows[2].Err)
		}
		if bad.Err == nil || bad.Alert != nil || !strings.Contains(bad.Err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error that says %q", c.row, bad.Err, c.says)
		}
		if string(bad.Raw) != c.row || bad.ID.IsZero() == c.hasID {
			t.Errorf("%s: raw is %s, id is %v", c.row, bad.Raw, bad.ID)
		}
	}
}

func TestAnswersInUnusualShapes(t *testing.T) {
	row := `{"id":"` + testID + `","lastmodified":"` + testTime + `"}`
	for _, c := range []struct {
		answer string
		rows   int
		says   string // "": a complete answer
	}{
		{`{"tableColumns":[{"field":"id"}],"rows":[` + row + `]}`, 1, ""},
		{`{"Rows":[` + row + `],"TABLECOLUMNS":[{"field":"id","type":null}]}`, 1, ""},
		{"\xEF\xBB\xBF\r\n [ {\"rows\" : [" + row + "," + row + "] } ] \r\n", 2, ""},
		{`{"rows":[]}`, 0, ""},
		{`{"rows":null,"tableColumns":[]}`, 0, ""},
		{`{"errorMessage":null,"rows":[` + row + `]}`, 1, ""},
		{``, 0, "empty"},
		{`  `, 0, "empty"},
		{`{}`, 0, "no rows"},
		{`[]`, 0, "not a JSON object"},
		{`"text"`, 0, "not a JSON object"},
		{`{"tableColumns":[]}`, 0, "no rows"},
		{`{"errorMessage":"The session has expired."}`, 0, "SCOM says: The session has expired."},
		{`{"errorMessage":"half of it","rows":[` + row + `]}`, 1, "half of it"},
		{`{"rows":{}}`, 0, "not a list"},
		{"\n<!DOCTYPE html><html></html>", 0, "HTML"},
		{`{"rows":[` + row, 1, "EOF"},
		{`{"rows":[` + row + `]`, 1, "EOF"},
		{`[{"rows":[` + row + `]}`, 1, "EOF"},
		{`{"rows":[` + row + `,` + row[:20], 1, "EOF"},
		{`{"rows":[` + row + ` ` + row + `]}`, 1, "invalid character"},
		{`{"rows":[` + row + `]}<html>`, 1, "invalid character"},
		{`{"rows":[` + row + `]}{}`, 1, "something follows"},
		{`[{"rows":[` + row + `]},{"rows":[]}]`, 1, "more than one answer"},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.answer), "byte by byte": iotest.OneByteReader(strings.NewReader(c.answer))} {
			rows, err := readAll(r)
			if len(rows) != c.rows {
				t.Errorf("%s, %s: got %d rows, want %d", c.answer, name, len(rows), c.rows)
			}
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, %s: got error %v, want one that says %q", c.answer, name, err, c.says)
			}
		}
	}
}

// What a consumer keeps of a row must survive the rows that follow, although buffers are reused.
func TestKeptStringsStayAsTheyWere(t *testing.T) {
	const rows = 500
	var kept []alert.Alert
	r := newRowsReader()
	for range 2 {
		n, err := r.read(bytes.NewReader(benchAnswer(rows)), func(row alert.Row) error {
			kept = append(kept, *row.Alert)
			return row.Err
		})
		if err != nil || n != rows {
			t.Fatalf("got %d rows, %v", n, err)
		}
	}
	for i, a := range kept {
		if want := fmt.Sprintf("srv%05d.contoso.com", i%rows); a.PrincipalName != want || a.ObjectPath != want+`\MSSQLSERVER` || a.NetbiosDomain != "CONTOSO" {
			t.Fatalf("row %d became %+v", i, a)
		}
	}
}

func TestCallbackErrorEndsTheRead(t *testing.T) {
	stop := errors.New("stop")
	n, err := newRowsReader().read(bytes.NewReader(benchAnswer(10)), func(alert.Row) error { return stop })
	if own, ok := errors.AsType[callbackError](err); n != 1 || !ok || !errors.Is(own.err, stop) {
		t.Errorf("got %d rows, %v", n, err)
	}
}

// Whatever a stranger sends: no panic, and what is accepted as a row is what encoding/json reads.
func FuzzRow(f *testing.F) {
	f.Add(`{"id":"` + testID + `","lastmodified":"` + testTime + `","name":"a\\\"b","customfield2":"x\\"}`)
	f.Add(`{"x":{"y":["}",{"\"":"]"}]},"id":"` + testID + `","lastmodifiedutc":"` + testTime + `","name":"\u0041\\"}`)
	f.Add(`{ "id" : null , "name" : 1e5,"severity":-0.5,"resolutionstate":"255"}`)
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := readAll(strings.NewReader(`{"rows":[` + text + `]}`))
		var list []map[string]any
		if json.Unmarshal([]byte("["+text+"]"), &list) != nil || !utf8.ValidString(text) {
			return // duplicate names and the like: no panic is all that is asked
		}
		if err != nil {
			t.Fatalf("%s: valid JSON is refused: %v", text, err)
		}
		for i, row := range rows {
			if row.Err != nil {
				continue
			}
			names := map[string]int{}
			for k := range list[i] {
				names[strings.ToLower(k)]++
			}
			want, isText := list[i]["name"].(string)
			if isText && names["name"] == 1 && strings.Count(text, "name") == 1 && row.Alert.Name != want {
				t.Errorf("%s: name is %q, want %q", text, row.Alert.Name, want)
			}
			if row.Alert.LastModified.IsZero() || row.Alert.ID.IsZero() {
				t.Errorf("%s: accepted without id or time", text)
			}
		}
	})
}

// Whatever bytes come as an answer: no panic, and complete only if it is valid JSON.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"tableColumns":[],"rows":[{"id":"` + testID + `"}]}`))
	f.Add([]byte(`[{"Rows":[null,1,{"id":{}}],"errorMessage":""}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := readAll(bytes.NewReader(b))
		trimmed := bytes.TrimLeft(b, " \t\r\n\xEF\xBB\xBF")
		if err == nil && utf8.Valid(trimmed) && !json.Valid(trimmed) {
			t.Errorf("%q: complete with %d rows, but it is no JSON", b, len(rows))
		}
	})
}
