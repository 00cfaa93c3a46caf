package settings

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var importTime = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func TestTheEarliestReadingOfTheOriginalsPositionCounts(t *testing.T) {
	for text, want := range map[string]string{
		`{"LastPollTime": "2026-03-09T10:00:00Z"}`:                                    "2026-03-09T10:00:00Z",
		`{"LastPollTime": "2026-03-09T10:00:00+02:00"}`:                               "2026-03-09T08:00:00Z",
		`{"LastPollTime": "\/Date(1773050400000+0200)\/"}`:                            "2026-03-09T10:00:00Z",
		`{"LastPollTime": 1773050400}`:                                                "2026-03-09T10:00:00Z",
		`{"LastPollTime": 1773050400000}`:                                             "2026-03-09T10:00:00Z",
		`{"LastPollTime": 639086472000000000}`:                                        "2026-03-09T10:00:00Z",
		`{"LastPollTime": "2026-03-09 20:00:00"}`:                                     "2026-03-09T06:00:00Z", // of the zone furthest ahead
		`{"LastPollTime": "03/05/2026 20:00:00"}`:                                     "2026-03-05T06:00:00Z", // May has not come yet
		`{"LastPollTime": "02/03/2026 20:00:00"}`:                                     "2026-02-03T06:00:00Z", // or the second of March: later
		`{"LastPollTime": "3/9/2026 8:00:00 PM"}`:                                     "2026-03-09T06:00:00Z",
		"\xef\xbb\xbf" + `"2026-03-09T10:00:00Z"`:                                     "2026-03-09T10:00:00Z",
		`[{"Event": "2026-03-09T10:00:00Z", "n": 4}, {"At": "2026-03-08T10:00:00Z"}]`: "2026-03-08T10:00:00Z",
	} {
		got, zoneless, err := PollTime([]byte(text), importTime)
		if err != nil || got.Format(time.RFC3339) != want || (zoneless != "") != strings.HasSuffix(want, "06:00:00Z") {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"LastPollTime": ""}`: "no time", `{"Port": 8085, "At": "0001-01-01T00:00:00"}`: "no time", `{"At": "2027-03-09T10:00:00Z"}`: "no time", `x`: "not JSON", ``: "no time",
	} {
		if _, _, err := PollTime([]byte(text), importTime); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want one with %q", text, err, want)
		}
	}
}

func FuzzPollTime(f *testing.F) {
	f.Add([]byte(`{"a": "03/05/2026 20:00:00", "b": 639086472000000000}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		at, _, err := PollTime(text, importTime)
		if err == nil && (at.After(importTime.Add(24*time.Hour)) || at.Before(importTime.AddDate(-5, 0, 0))) {
			t.Errorf("%v is no position", at)
		}
	})
}

// Nothing that changed after the original's position is passed over by a first start within a day.
func TestTheOriginalsPositionBecomesTheLookback(t *testing.T) {
	for _, c := range []struct {
		ago      time.Duration
		want     time.Duration
		mentions string
	}{
		{0, 24 * time.Hour, "the default of 24h reaches further back"},
		{time.Minute, 25 * time.Hour, "set to 25h"},
		{50*time.Hour + time.Minute, 75 * time.Hour, "set to 75h"},
		{144 * time.Hour, 168 * time.Hour, "set to 168h"},
		{1000 * time.Hour, 168 * time.Hour, "168h is the most"},
	} {
		out, report, err := ImportFrom([]byte(goodCluster), nil, importTime.Add(-c.ago), importTime)
		if err != nil {
			t.Fatal(err)
		}
		got, faults := ParseCluster("f", out, Options{})
		if len(faults) > 0 || got.InitialLookback != c.want {
			t.Errorf("%v ago: got %v, want %v; %v\n%s", c.ago, got.InitialLookback, c.want, faults, out)
		}
		if !slices.ContainsFunc(report, func(f Finding) bool { return f.Key == "InitialLookback" && strings.Contains(f.Text, c.mentions) }) {
			t.Errorf("%v ago: %v lacks %q", c.ago, report, c.mentions)
		}
	}
	// Who has answered knows better.
	out, _, err := ImportFrom([]byte(goodCluster), map[string]string{"InitialLookback": "48h"}, importTime.Add(-100*time.Hour), importTime)
	if got, _ := ParseCluster("f", out, Options{}); err != nil || got.InitialLookback != 48*time.Hour {
		t.Errorf("answered with 48h: got %v, %v", got.InitialLookback, err)
	}
}

func TestTheOriginalsLogLevelsAreTakenOver(t *testing.T) {
	text, err := os.ReadFile("testdata/log4net.xml")
	if err != nil {
		t.Fatal(err)
	}
	log, found, err := LogSettings(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"Log": {"Level": "DEBUG", "MaxSizeMB": 10, "MaxBackups": 20, "EventLog": true}`; log.Text() != want {
		t.Errorf("got %s, want %s", log.Text(), want)
	}
	if _, faults := ParseNode("n", []byte("{"+log.Text()+"}"), ""); strings.Contains(faults.Error(), "Log") {
		t.Errorf("node.json refuses it: %v", faults)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.String())
	}
	want := []string{
		"RollingFileAppender: levelMax ERROR: what is worse is logged as well, which nobody should miss",
		`RollingFileAppender: file Logs\SCOMConnector.log: as a service the log is in DataDir/logs; Log.File in node.json names another`,
		"EventLogAppender: levelMin WARN: the event log gets what is INFO or worse",
		"Mail: an appender of type log4net.Appender.SmtpAppender has no counterpart",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for bad, want := range map[string]string{"": "no appender", "<a>": "not XML", "{}": "no appender", "<a/>": "no appender"} {
		if _, _, err := LogSettings([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want one with %q", bad, err, want)
		}
	}
}

// A level that stands beside the appenders is not left away without a word.
func TestALevelOfTheRootIsReported(t *testing.T) {
	const text = `<log4net><appender name="F" type="log4net.Appender.RollingFileAppender"/><root><level value="DEBUG"/></root><logger><level value="info"/></logger></log4net>`
	log, found, err := LogSettings([]byte(text))
	if err != nil || log.Level != "INFO" || len(found) != 1 || !strings.Contains(found[0].Text, "level DEBUG") {
		t.Errorf("got %+v, %v, %v; want INFO, and that DEBUG is not taken over", log, found, err)
	}
}

// The files are found where the original has them; one that cannot be understood is a finding, unless it was named.
func TestWhatStandsBesideTheOriginalsSettingsIsFound(t *testing.T) {
	root := t.TempDir()
	configs := filepath.Join(root, "Configs")
	put := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(configs, ClusterFileName)
	put(file, "{}")
	if p, err := ReadPast(file, "", "", importTime); err != nil || !p.Position.IsZero() || p.Log != nil || len(p.Findings) != 2 ||
		!strings.Contains(p.Findings[0].Text, "InitialLookback") || !strings.Contains(p.Findings[0].Text, "--poll-time") || !strings.Contains(p.Findings[1].Text, "--log-config") {
		t.Errorf("where nothing is: %+v, %v", p, err)
	}
	put(filepath.Join(configs, PollTimeFileName), `{"t": "2026-03-09T10:00:00Z"}`)
	put(filepath.Join(root, LogConfigFileName), `<appender name="F" type="log4net.Appender.RollingFileAppender"><levelMin value="WARN"/></appender>`)
	put(filepath.Join(configs, "MCMServiceConfig.json"), "{}")
	p, err := ReadPast(file, "", "", importTime)
	if err != nil || p.Position.IsZero() || p.Log == nil || p.Log.Level != "WARN" || len(p.Findings) != 2 {
		t.Errorf("as the original has them: %+v, %v", p, err)
	}
	put(filepath.Join(configs, PollTimeFileName), `{}`)
	p, err = ReadPast(file, "", "", importTime)
	if err != nil || len(p.Findings) != 3 || !p.Findings[0].Open {
		t.Errorf("a position that cannot be understood: %+v, %v", p, err)
	}
	if _, err := ReadPast(file, filepath.Join(configs, PollTimeFileName), "", importTime); err == nil {
		t.Error("a named file that cannot be understood is taken")
	}
	if _, err := ReadPast(file, "", filepath.Join(root, "absent"), importTime); err == nil {
		t.Error("a named file that is not there is taken")
	}
}
