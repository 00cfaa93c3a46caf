package settings

import (
	"fmt"
	"strings"
	"testing"
)

func TestDiffGoesKeyByKey(t *testing.T) {
	const old = `{
	"ScomServers": [{"ScomAddressHost": "scom1", "UserId": "u", "Password": "plain:one"}, {"ScomAddressHost": "scom2", "UserId": "u", "Password": "env:P"}],
	"MoogServers": [{"MoogUrl": "https://a/"}, {"MoogUrl": "https://b/"}],
	"Mapping": {"class": "category", "type": "name"}, "Filter": "true", "AlertPollCycleTime": 45, "AuthTokenCode": "plain:t",
}`
	for _, c := range []struct {
		name string
		edit []string
		want string
	}{
		{"nothing", nil, ""},
		{"comments and layout", []string{"\n", "\n// x\n", "45", " 45 "}, ""},
		{"a value", []string{`"true"`, `"false"`}, `Filter: "true" -> "false"`},
		{"a key goes", []string{`"Filter": "true",`, ""}, `Filter: "true" -> `},
		{"null is not given", []string{`"Filter": "true"`, `"Filter": null`}, `Filter: "true" -> `},
		{"a key comes", []string{`"Filter"`, `"HeartbeatSeconds": 60, "Filter"`}, `HeartbeatSeconds:  -> 60`},
		{"inside an object", []string{`"class": "category"`, `"class": "name"`}, `Mapping.class: "category" -> "name"`},
		{"inside an element", []string{`"ScomAddressHost": "scom2", "UserId": "u"`, `"ScomAddressHost": "scom2", "UserId": "v"`}, `ScomServers[1].UserId: "u" -> "v"`},
		{"another address at the same place", []string{"https://b/", "https://c/"}, `MoogServers[1].MoogUrl: "https://b/" -> "https://c/"`},
		{"an element comes", []string{`{"MoogUrl": "https://b/"}`, `{"MoogUrl": "https://n/", "Password": "plain:x"}, {"MoogUrl": "https://b/"}`},
			`MoogServers[1]:  -> {"MoogUrl":"https://n/","Password":"plain:(hidden)"}`},
		{"an element goes", []string{`{"MoogUrl": "https://a/"}, `, ""}, `MoogServers[0]: {"MoogUrl":"https://a/"} -> `},
		{"order", []string{`{"MoogUrl": "https://a/"}, {"MoogUrl": "https://b/"}`, `{"MoogUrl": "https://b/"}, {"MoogUrl": "https://a/"}`},
			`MoogServers: in another order -> in the order of the new text`},
		{"another kind", []string{`{"class": "category", "type": "name"}`, "1"}, `Mapping: {"class":"category","type":"name"} -> 1`},
		{"a plain secret", []string{"plain:one", "plain:other"}, `ScomServers[0].Password: "plain:(hidden)" -> "plain:(hidden)" hidden`},
		{"a reference", []string{"plain:one", "file:pw"}, `ScomServers[0].Password: "plain:(hidden)" -> "file:pw"`},
		{"two", []string{"45", "30", "plain:t", "env:T"}, `AlertPollCycleTime: 45 -> 30; AuthTokenCode: "plain:(hidden)" -> "env:T"`},
	} {
		d, err := Diff([]byte(old), []byte(strings.NewReplacer(c.edit...).Replace(old)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, ch := range d.Changes {
			line := fmt.Sprintf("%s: %s -> %s", ch.Key, ch.Old, ch.New)
			if ch.Hidden {
				line += " hidden"
			}
			got = append(got, line)
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, s, c.want)
		}
	}
}

// What follows beyond the values is said in a sentence.
func TestDiffSaysWhatFollows(t *testing.T) {
	const one = `{"MoogServers": [{"MoogUrl": "https://a/"}]%s}`
	named := func(more string, lams ...string) []byte {
		return fmt.Appendf(nil, `{"MoogServers": [{"MoogUrl": "https://a/"%s}]%s}`, strings.Join(lams, `}, {"MoogUrl": "https://b/"`), more)
	}
	old := fmt.Appendf(nil, one, "")
	for _, c := range []struct {
		name      string
		old, text []byte
		want      string
	}{
		{"the same", old, named("", ""), ""},
		{"the first settings", nil, named(""), ""},
		{"renamed", old, named("", `, "Destination": "east"`),
			"destination east is new and starts with all open alerts and what changed in the last 24h; if it is an old one with another name, set PreviousName|" +
				"nothing is sent to destination default any more; its position is kept for 7 days"},
		{"renamed, said so", old, named("", `, "Destination": "east", "PreviousName": "default"`), "destination east goes on where default stood"},
		{"a second one", old, named(`, "FirstStart": "now"`, "", `, "Destination": "east"`), "destination east is new and starts with what changes from now on; if it is an old one with another name, set PreviousName"},
		{"a copy of one that stays", old, named("", "", `, "Destination": "east", "PreviousName": "default"`),
			"destination east is new and starts with all open alerts and what changed in the last 24h; if it is an old one with another name, set PreviousName"},
		{"management group", old, named(`, "ManagementGroup": "MG2"`, ""), "ManagementGroup is part of every signature: if it is another one than until now, what is open in Moogsoft is not closed by what comes now"},
	} {
		d, err := Diff(c.old, c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(d.Notes, "|"); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestDiffRefusesWhatIsNoJSON(t *testing.T) {
	if _, err := Diff([]byte("{}"), []byte(`{"a": `)); err == nil || !strings.Contains(err.Error(), ClusterFileName+":1") {
		t.Errorf("got %v, want the file and its line", err)
	}
}
