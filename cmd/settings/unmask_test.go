package settings

import (
	"strings"
	"testing"
)

const inUse = `{ // ours
	"ScomServers": [
		{"ScomAddressHost": "scom1", "Domain": "D", "UserId": "u", "Password": "plain:one", "ProxyUrl": "plain:http://me:pw@proxy"},
		{"ScomAddressHost": "scom2", "Domain": "D", "UserId": "u", "Password": "plain:two"},
	],
	"MoogServers": [
		{"MoogUrl": "https://moog/", "Username": "m", "Password": "plain:three", "MoogProxyIP": "p", "MoogProxyPort": 1, "ProxyUsername": "x", "ProxyPassword": "plain:four"},
		{"MoogUrl": "https://moog2/", "Password": "env:PW"},
	],
	"AuthTokenCode": "plain:token", // "Password": "plain:old"
}
`

// What a person has not touched keeps its secret; what goes elsewhere now does not take one along.
func TestUnmaskedKeepsSecretsWhereTheyBelong(t *testing.T) {
	masked := string(Masked([]byte(inUse)))
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(masked) }
	kept := func(pairs ...string) string { // the text in use, edited; its comment stays hidden
		return strings.NewReplacer(append(pairs, `"plain:old"`, `"plain:(hidden)"`)...).Replace(inUse)
	}
	const scom1 = `"ScomAddressHost": "scom1"`
	for _, c := range []struct{ name, text, want string }{
		{"nothing", masked, inUse},
		{"only blanks around", "\n" + masked + "\n", inUse},
		{"another key", edit("// ours", `"Filter": "",`), kept("// ours", `"Filter": "",`)},
		{"a reference", edit("env:PW", "env:OTHER"), kept("env:PW", "env:OTHER")},
		{"a server moves up", edit(scom1, `"ScomAddressHost": "scom0"`, `"scom2"`, `"scom1"`),
			kept(scom1, `"ScomAddressHost": "scom0"`, `"scom2"`, `"scom1"`, "plain:one", "plain:(hidden)", "plain:two", "plain:one", "plain:http://me:pw@proxy", "plain:(hidden)")},
		{"another user", edit(`"UserId": "u", "Password": "plain:(hidden)", "ProxyUrl"`, `"UserId": "v", "Password": "plain:(hidden)", "ProxyUrl"`),
			kept(`"UserId": "u", "Password": "plain:one", "ProxyUrl"`, `"UserId": "v", "Password": "plain:(hidden)", "ProxyUrl"`)},
		{"another proxy", edit(`"MoogProxyPort": 1`, `"MoogProxyPort": 2`), kept(`"MoogProxyPort": 1`, `"MoogProxyPort": 2`, "plain:four", "plain:(hidden)")},
		{"a new password", edit(`"AuthTokenCode": "plain:(hidden)"`, `"AuthTokenCode": "plain:new"`), kept("plain:token", "plain:new")},
		{"no JSON", masked[:40], masked[:40]},
		{"another shape", `{"ScomServers": "plain:(hidden)", "MoogServers": [1], "AuthTokenCode": []}`, `{"ScomServers": "plain:(hidden)", "MoogServers": [1], "AuthTokenCode": []}`},
	} {
		if got := string(Unmasked([]byte(c.text), []byte(inUse))); strings.TrimSpace(got) != strings.TrimSpace(c.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// Of two servers that look the same, nobody can say whose password is meant.
func TestUnmaskedDoesNotGuess(t *testing.T) {
	const twins = `{"ScomServers": [{"UserId": "u", "Password": "plain:one"}, {"UserId": "u", "Password": "plain:two"}]}`
	text := strings.Replace(string(Masked([]byte(twins))), `{"ScomServers"`, `{"Filter": "", "ScomServers"`, 1)
	if got := string(Unmasked([]byte(text), []byte(twins))); got != text {
		t.Errorf("got %s, want it as it was", got)
	}
	same := strings.ReplaceAll(twins, "two", "one")
	if got := string(Unmasked([]byte(text), []byte(same))); strings.Contains(got, hidden) {
		t.Errorf("got %s, want the password that both have", got)
	}
}

// A hidden secret that stays is a fault with its line, not a password to try.
func TestHiddenSecretsAreRefused(t *testing.T) {
	text := Masked([]byte(inUse))
	_, faults := ParseCluster("f", text, Options{})
	var lines []string
	for _, f := range faults {
		lines = append(lines, f.String())
		if !strings.Contains(f.Message, "is what is shown in place of a secret") || f.Line == 0 || f.Accepted == "" {
			t.Errorf("got %s", f)
		}
	}
	if len(lines) != 6 {
		t.Errorf("got %d faults, want 6:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}

func TestExamineNamesWhatIsMissingOnThisMachine(t *testing.T) {
	text := `{"ScomServers": [{"ScomAddressHost": "scom1", "UserId": "u",
		"Password": "env:SC_TEST_NOT_SET"}],
	"MoogServers": [{"MoogUrl": "https://moog/",
		"MoogPublicKey": "absent.crt"}]}`
	c, faults := ParseCluster("f", []byte(text), Options{Dir: t.TempDir()})
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	got := c.Examine("f")
	if len(got) != 2 || got[0].Line != 2 || got[0].Key != "ScomServers[0].Password" || got[1].Line != 4 || got[1].Key != "MoogServers[0].MoogPublicKey" {
		t.Errorf("got\n%v\nwant the password on line 2 and the certificate on line 4", got)
	}
}

func FuzzUnmasked(f *testing.F) {
	f.Add(string(Masked([]byte(inUse))))
	f.Add(`{"AuthTokenCode": "plain:(hidden)", "ScomServers": [{"Password": null}, 1, []]}`)
	f.Fuzz(func(t *testing.T, text string) {
		out := Unmasked([]byte(text), []byte(inUse))
		if strings.Contains(text, hidden) {
			return // secrets may have come in
		}
		if string(out) != text && string(out) != inUse {
			t.Errorf("a text without hidden secrets was changed:\n%s\nto\n%s", text, out)
		}
	})
}
