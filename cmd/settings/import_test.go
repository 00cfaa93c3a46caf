package settings

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (-update writes it anew); got\n%s", name, got)
	}
}

func original(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "original.json"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestImportOfTheOriginalsSampleNamesWhatIsLeftToAnswer(t *testing.T) {
	out, report, err := Import(original(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	var open, secrets []string
	for _, f := range report {
		lines = append(lines, f.String())
		if f.Open {
			open = append(open, f.Key)
		}
		if f.Secret {
			secrets = append(secrets, f.Key)
		}
	}
	golden(t, "import.report", []byte(strings.Join(lines, "\n")+"\n"))
	golden(t, "import.json", out)
	if want := []string{"ScomServers[0].Password", "MoogServers[1]", "MoogServers[1].ProxyPassword"}; !slices.Equal(open, want) {
		t.Errorf("left to answer: %q, want %q", open, want)
	}
	if want := []string{"ScomServers[0].Password", "MoogServers[1].ProxyPassword"}; !slices.Equal(secrets, want) {
		t.Errorf("secrets: %q, want %q", secrets, want)
	}
	if !strings.Contains(strings.Join(lines, "\n"), "PollCriteriaDateFormat: this date format is kept but never used") {
		t.Error("the date format is not named")
	}
	if strings.Contains(string(out), "5wZmZrCfMPH2PJ5") || strings.Contains(string(out), "MIg1FG7XrUWys9N") {
		t.Error("the encrypted passwords are still there")
	}
}

func TestImportAnsweredIsGood(t *testing.T) {
	answers := map[string]string{
		"ScomServers[0].Password":      "env:SCOM",
		"MoogServers[1].ProxyPassword": "file:proxy",
		"MoogServers[1].MoogUrl":       "https://moog2/events/scom",
		"MoogServers[1].MoogProxyIP":   "10.0.0.9",
		"CriteriaDateForm":             "space",
		"ScomServers[0].CaFile":        "ca.pem",
	}
	out, report, err := Import(original(t), answers)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report {
		if f.Open {
			t.Errorf("still open: %s", f)
		}
	}
	c, faults := ParseCluster("imported", out, Options{Dir: "/etc/sc"})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if got := c.ScomServers[0]; got.Url != "https://WIN-9R4CQNMLGCS/OperationsManager" || got.Password.String() != "env:SCOM" || got.CaFile != filepath.Join("/etc/sc", "ca.pem") {
		t.Errorf("the console became %+v", got)
	}
	if got := c.MoogServers[1]; got.Address != "https://moog2/events/scom" || got.Proxy != "10.0.0.9:808" || got.ProxyPassword.String() != "file:"+filepath.Join("/etc/sc", "proxy") {
		t.Errorf("the second LAM became %+v", got)
	}
	if c.MaxPayloadBytes() != 10<<20 || c.CriteriaDateForm != "space" || c.Version != "4.3 (Advanced)" {
		t.Errorf("not taken over: %v, %v, %v", c.MaxPayloadSizeInMB, c.CriteriaDateForm, c.Version)
	}
}

// TestImportAnsweredByHand is the other way: the result is edited.
func TestImportAnsweredByHand(t *testing.T) {
	out, _, err := Import(original(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, faults := ParseCluster("imported", out, Options{}); len(faults) != 1 || faults[0].Key != "ScomServers[0].Password" {
		t.Errorf("unanswered: got %v, want the console's password alone", faults)
	}
	edited := strings.Replace(string(out), `"Password": ""`, `"Password": "env:SCOM"`, 1)
	c, faults := ParseCluster("imported", []byte(edited), Options{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if d := c.Destinations(); len(d) != 1 || len(d[0].LAMs) != 1 {
		t.Errorf("got %+v, want the one LAM that has an address", d)
	}
}

func TestImportOfOtherOriginals(t *testing.T) {
	const text = `// mine
{"ScomServers": [{"ScomAddressHost": "s", "UserId": "u", "Password": "plain:x"}], "MoogServers": [{"MoogIp": "m", "IsSslEnabled": true}],
"IsActiveEventPolling": true, "AmountOfTimeouts": 0, "Unheard": 1}`
	out, report, err := Import([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range report {
		got = append(got, f.String())
	}
	want := []string{
		"line 2: ScomServers[0].ScomAddressHost: now means the web console (SCOM 1801 or later), no longer ports 5723 and 5724: https://s/OperationsManager must answer there; set Url if it is elsewhere",
		"line 3: IsActiveEventPolling: was true and is set to false: SCOM's REST interface has no events, only alerts",
		"line 3: AmountOfTimeouts: 0 is too small (accepted: -1 for no limit, or 1 to 1000000)",
		"line 3: Unheard: unknown key, and none that is known is like it",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if !strings.HasPrefix(string(out), "// mine\n") || !strings.Contains(string(out), `"IsActiveEventPolling": false`) {
		t.Errorf("the result is\n%s", out)
	}
}

func TestImportRefusesWhatItCannotUse(t *testing.T) {
	for _, c := range []struct {
		text    string
		answers map[string]string
		want    string
	}{
		{`{"a": `, nil, "the imported file:1: is not JSON: the file ends too early: a bracket, a quotation mark or a comment is not closed"},
		{`[]`, nil, "the imported file: it must be one object: { ... }"},
		{``, nil, "the imported file: the file is empty"},
		{`{}`, map[string]string{"ScomServers[0].Password": "hunter2"}, "answer for ScomServers[0].Password: " + errBareSecret.Error() + " (accepted: " + acceptedSecret + ")"},
		{`{}`, map[string]string{"ScomServers[0].Url": "x"}, "answer for ScomServers[0].Url: the imported file has no ScomServers[0]"},
		{`{}`, map[string]string{"ScomServers[0]": "x"}, "answer for ScomServers[0]: the imported file has no such place"},
		{`{"MoogServers": []}`, map[string]string{"MoogServers": "x"}, "answer for MoogServers: it is no single value"},
	} {
		_, _, err := Import([]byte(c.text), c.answers)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s %v\ngot  %v\nwant %s", c.text, c.answers, err, c.want)
		}
	}
}

func TestAddServersKeepsTheRest(t *testing.T) {
	out, err := AddServers([]byte(goodCluster), []string{`{"ScomAddressHost": "s2", "UserId": "u", "Password": "env:X"}`}, []string{`{"MoogUrl": "https://m2/"}`})
	if err != nil {
		t.Fatal(err)
	}
	c, faults := ParseCluster("f", out, Options{})
	if len(faults) > 0 || len(c.ScomServers) != 2 || len(c.MoogServers) != 2 || c.MoogServers[1].Address != "https://m2/" {
		t.Errorf("got %v\n%s", faults, out)
	}
}
