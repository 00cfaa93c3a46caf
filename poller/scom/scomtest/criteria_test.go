package scomtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var bothForms = (&Options{}).dates()

func criteriaSubject() *Alert {
	return &Alert{
		ID: "667736a8-d59a-407b-b142-80fd74ba4041", Name: "It's 100% full", Description: "disk [C:]\nfull", Severity: 2, Priority: 1,
		ResolutionState: 249, Owner: "", IsMonitorAlert: true, ObjectDisplayName: "WEB_01",
		LastModified: time.Date(2026, 1, 2, 3, 4, 5, 123e6, time.UTC), TimeAdded: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC),
	}
}

func TestCriteria(t *testing.T) {
	cases := []struct {
		text string
		want bool
	}{
		{`ResolutionState = '249'`, true},
		{`ResolutionState == 249`, true},
		{`(ResolutionState <> '255')`, true},
		{`ResolutionState != '249'`, false},
		{`ResolutionState >= 249 and ResolutionState <= '249'`, true},
		{`ResolutionState < '249' OR Severity > '1'`, true},
		{`Severity = 2 and ResolutionState = 0`, false},
		// AND binds closer than OR.
		{`Severity = 2 OR Severity = 1 AND Priority = 0`, true},
		{`(Severity = 2 OR Severity = 1) AND Priority = 0`, false},
		{`Severity = 1 AND Priority = 0 OR Name LIKE '%full'`, true},
		{`ResolutionState IN ('0','249')`, true},
		{`ResolutionState in (0, 254)`, false},
		{`Id = '667736A8-D59A-407B-B142-80FD74BA4041'`, true},
		{`Id = '{667736a8-d59a-407b-b142-80fd74ba4041}'`, true},
		{`Id IN ('00000000-0000-0000-0000-000000000000', '667736a8-d59a-407b-b142-80fd74ba4041')`, true},
		{`Id <> '667736a8-d59a-407b-b142-80fd74ba4041'`, false},
		{`Name = 'It''s 100% full'`, true},
		{`Name = 'it''s 100% FULL'`, true},
		{`Name > 'A' AND Name < 'J'`, true},
		{`Name LIKE 'It%'`, true},
		{`Name LIKE 'It'`, false},
		{`Name like '%100[%] f_ll'`, true},
		{`Name LIKE '[^I]%'`, false},
		{`Name CONTAINS '100%'`, true},
		{`Name CONTAINS 'empty'`, false},
		{`Name MATCHES '^It.s [0-9]+%'`, true},
		{`Description LIKE '%[[]C:]%'`, true},
		{`MonitoringObjectDisplayName LIKE 'WEB[_]0_'`, true},
		{`Owner IS NULL`, true},
		{`Owner is not null`, false},
		{`Name IS NOT NULL`, true},
		// A comparison with NULL is not true, whatever it is.
		{`Owner = 'jo'`, false},
		{`Owner <> 'jo'`, false},
		{`Owner LIKE '%'`, false},
		{`Owner IN ('')`, false},
		{`TimeResolved < '2030-01-01 00:00:00'`, false},
		{`TimeResolved IS NULL`, true},
		{`IsMonitorAlert = '1'`, true},
		{`IsMonitorAlert = true`, true},
		{`IsMonitorAlert = 'False'`, false},
		{`MonitoringObjectInMaintenanceMode = 0`, true},
		// The stamp is 03:04:05.123; the comparison is exact.
		{`LastModified >= '2026-01-02T03:04:05Z'`, true},
		{`LastModified > '2026-01-02 03:04:05'`, true},
		{`LastModified <= '2026-01-02 03:04:05'`, false},
		{`LastModified < '2026-01-02T03:04:06Z'`, true},
		{`LastModified = '2026-01-02T03:04:05Z'`, false},
		{`TimeAdded IN ('2026-01-02T03:00:00Z')`, true},
		{`(LastModified >= '2026-01-02T03:04:05Z') AND (LastModified < '2026-01-02T03:05:00Z') AND (ResolutionState <> '255')`, true},
		{`((((Severity='2'))))`, true},
		{"Severity\t=\r\n2", true},
		{`Severity<>1`, true},
	}
	for _, tc := range cases {
		c, err := parseCriteria(tc.text, bothForms)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		if got := c.match(criteriaSubject()); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.text, got, tc.want)
		}
	}
}

func TestCriteriaRefused(t *testing.T) {
	cases := []struct{ text, want string }{
		{`resolutionstate = '0'`, `the property "resolutionstate" at position 0 is not known`},
		{`lastModified > '2026-01-02 03:04:05'`, "is not known"},
		{`State = 0`, "is not known"},
		{`'Name' = 'x'`, "a property name is expected"},
		{`LastModified > 2026-01-02T03:04:05Z`, "must stand in single quotes"},
		{`LastModified > 2026-01-02 03:04:05`, "must stand in single quotes"},
		{`LastModified > '01/02/2026 03:04:05'`, "is not a date"},
		{`LastModified > '2026-01-02T03:04:05.123Z'`, "is not a date"},
		{`LastModified > '2026-01-02 03:04:05.123'`, "is not a date"},
		{`LastModified > '2026-01-02T03:04:05'`, "is not a date"},
		{`LastModified > '2026-01-02T03:04:05+01:00'`, "is not a date"},
		{`LastModified > '2026-02-30T03:04:05Z'`, "is not a date"},
		{`LastModified LIKE '2026%'`, `the operator "LIKE" at position 13 does not fit LastModified`},
		{`LastModified > '2026-01-02T03:04:05Z`, "is not closed"},
		{`Name = x`, "must stand in single quotes"},
		{`Name = "x"`, "unexpected character"},
		{`Name LIKE`, "a value is expected"},
		{`Name MATCHES '('`, "the pattern is not valid"},
		{`Name ~ 'x'`, "unexpected character"},
		{`Name ! 'x'`, "unexpected character"},
		{`Name => 'x'`, "a value is expected"},
		{`Severity = 'high'`, "is not a number"},
		{`Severity = 'Error'`, "is not a number"},
		{`Severity LIKE '2'`, "does not fit"},
		{`IsMonitorAlert = 'yes'`, "neither true nor false"},
		{`IsMonitorAlert > 0`, "does not fit"},
		{`Id = 'x'`, "is not a GUID"},
		{`Id > '667736a8-d59a-407b-b142-80fd74ba4041'`, "does not fit"},
		{`Id IN '667736a8-d59a-407b-b142-80fd74ba4041'`, "a bracket is expected after IN"},
		{`Id IN ()`, "a value is expected"},
		{`Severity IN (1 2)`, "a comma or a closing bracket"},
		{`Severity IN (1,`, "a value is expected"},
		{`Owner IS 'x'`, "NULL is expected"},
		{`Owner = NULL`, "must stand in single quotes"},
		{`NOT Severity = 1`, "is not known"},
		{`Severity NOT IN (1)`, "does not fit"},
		{`Severity = 1 AND`, "a property name is expected"},
		{`(Severity = 1`, "a closing bracket is missing"},
		{`Severity = 1)`, `unexpected ")"`},
		{`Severity = 1 Priority = 1`, `unexpected "Priority"`},
		{`Severity = 1; DROP TABLE Alert`, "unexpected character"},
		{`Severity`, "does not fit"},
		{`()`, "a property name is expected"},
		{strings.Repeat("(", 300) + "Severity=1" + strings.Repeat(")", 300), "more than 200 brackets"},
	}
	for _, tc := range cases {
		if _, err := parseCriteria(tc.text, bothForms); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.80s: got %v, want %q", tc.text, err, tc.want)
		}
	}
	if _, err := parseCriteria(`LastModified > '2026-01-02T03:04:05.123Z'`, dateRules{fractions: true, iso: true, space: time.UTC}); err != nil {
		t.Errorf("fractions allowed: %v", err)
	}
}

// TestCriteriaBounds: what a read may skip never holds a match.
func TestCriteriaBounds(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const a, b = "667736a8-d59a-407b-b142-80fd74ba4041", "00000000-0000-0000-0000-000000000000"
	cases := []struct {
		text string
		from time.Time
		ids  int // -1: any
	}{
		{`LastModified >= '2026-01-02T03:04:05Z'`, at, -1},
		{`LastModified > '2026-01-02T03:04:05Z' AND Severity = 1`, at, -1},
		{`LastModified = '2026-01-02T03:04:05Z'`, at, -1},
		{`LastModified <= '2026-01-02T03:04:05Z'`, time.Time{}, -1},
		{`LastModified <> '2026-01-02T03:04:05Z'`, time.Time{}, -1},
		{`LastModified != '2026-01-02T03:04:05Z'`, time.Time{}, -1},
		{`TimeAdded > '2026-01-02T03:04:05Z'`, time.Time{}, -1},
		{`LastModified >= '2026-01-02T03:04:05Z' OR ResolutionState <> '255'`, time.Time{}, -1},
		{`LastModified >= '2026-01-02T03:04:05Z' OR LastModified >= '2026-01-03T03:04:05Z'`, at, -1},
		{`LastModified >= '2026-01-01T03:04:05Z' AND LastModified >= '2026-01-02T03:04:05Z'`, at, -1},
		{`Id = '` + a + `'`, time.Time{}, 1},
		{`Id <> '` + a + `'`, time.Time{}, -1},
		{`Id IN ('` + a + `','` + b + `') AND Severity = 1`, time.Time{}, 2},
		{`Id = '` + a + `' OR Id = '` + b + `'`, time.Time{}, 2},
		{`Id = '` + a + `' OR Severity = 1`, time.Time{}, -1},
		{`MonitoringObjectId = '` + a + `'`, time.Time{}, -1},
	}
	for _, tc := range cases {
		c, err := parseCriteria(tc.text, bothForms)
		if err != nil {
			t.Fatal(err)
		}
		ids := len(c.ids)
		if c.ids == nil {
			ids = -1
		}
		if !c.from.Equal(tc.from) || ids != tc.ids {
			t.Errorf("%s: got %v and %d ids, want %v and %d", tc.text, c.from, ids, tc.from, tc.ids)
		}
	}
}

func FuzzCriteria(f *testing.F) {
	for _, s := range []string{
		`(ResolutionState = '0') AND LastModified >= '2026-01-02T03:04:05Z'`, `Id IN ('667736a8-d59a-407b-b142-80fd74ba4041')`,
		`Name LIKE '%[a-z]_''%' OR Owner IS NOT NULL`, `Name MATCHES 'a+' AND (Severity <> 1)`, `Name LIKE '[]'`, `Name LIKE '[^]'`, `Name LIKE '[z-a]'`,
	} {
		f.Add(s)
	}
	subject := criteriaSubject()
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCriteria(s, bothForms)
		if err != nil {
			return
		}
		matched := c.match(subject)
		if c.from.After(subject.LastModified) && matched {
			t.Errorf("%q matches what lies before its own bound", s)
		}
		// Brackets change nothing, and neither does asking twice.
		again, err := parseCriteria("("+s+") AND ("+s+")", bothForms)
		if err != nil {
			t.Fatalf("%q in brackets: %v", s, err)
		}
		if again.match(subject) != matched {
			t.Errorf("%q in brackets matches otherwise", s)
		}
	})
}

func FuzzAppendText(f *testing.F) {
	f.Add("plain")
	f.Add("\"\\\x00\x1f\u2028\xff\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendText(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := strings.ToValidUTF8(s, "\uFFFD"); len(got) < len(want) || strings.ReplaceAll(got, "\uFFFD", "") != strings.ReplaceAll(want, "\uFFFD", "") {
			t.Errorf("%q: got %q", s, got)
		}
	})
}

func TestSQLTime(t *testing.T) {
	for ms, want := range map[int]int{0: 0, 1: 0, 2: 0, 3: 3, 4: 3, 5: 3, 6: 3, 7: 7, 8: 7, 9: 7, 736: 733, 210: 210, 999: 997} {
		at := time.Date(2026, 1, 2, 3, 4, 5, ms*1e6+999, time.UTC)
		if got := sqlTime(at); got.Nanosecond() != want*1e6 {
			t.Errorf("%d ms: got %v", ms, got)
		}
		if next := sqlNext(sqlTime(at)); !next.After(sqlTime(at)) || next.Sub(sqlTime(at)) > 4*time.Millisecond || !sqlTime(next).Equal(next) {
			t.Errorf("%d ms: next is %v", ms, next)
		}
	}
}
