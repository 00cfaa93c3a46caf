package settings

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestASecretNeverPrintsItself(t *testing.T) {
	const text = "hunter2"
	type outer struct {
		Public Secret
		inner  Secret
	}
	s := mustSecret(t, "plain:"+text)
	o := outer{s, s}
	asJSON, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%v %+v %#v", o, o, o),
		fmt.Sprintf("%+v %#v", &o, &o), fmt.Sprintf("%v", []Secret{s}), fmt.Sprintf("%+v", Ref{"k", 1, s}), string(asJSON), s.String(), s.GoString(),
	} {
		if strings.Contains(shown, text) || strings.Contains(shown, fmt.Sprintf("%x", text)) {
			t.Errorf("printed: %s", shown)
		}
	}
	if got, err := s.Resolve(); got != text || err != nil {
		t.Errorf("Resolve: %q, %v", got, err)
	}
	if got, want := string(asJSON), `{"Public":"plain:(hidden)"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSecretsAreResolvedWhenUsed(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("unix", "pass word\n")
	file("windows", "\xef\xbb\xbfpass\r\n")
	file("bare", " pass ")
	file("empty", "\n")
	file("powershell", "\xff\xfep\x00w\x00\r\x00\n\x00")
	file("huge", strings.Repeat("x", maxSecretBytes+1))
	t.Setenv("SC_TEST_SECRET", "from:env")
	t.Setenv("SC_TEST_EMPTY", "")
	for ref, want := range map[string]string{
		"env:SC_TEST_SECRET": "from:env", "file:unix": "pass word", "file:windows": "pass", "file:bare": " pass ",
		"plain:a:b": "a:b", "plain:plain:x": "plain:x", "file:" + filepath.Join(dir, "unix"): "pass word", "": "",
	} {
		s, err := ParseSecret(ref, dir)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if got, err := s.Resolve(); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", ref, got, err, want)
		}
	}
	for ref, want := range map[string]string{
		"env:SC_TEST_ABSENT": "the environment variable SC_TEST_ABSENT is not set for this process",
		"env:SC_TEST_EMPTY":  "the environment variable SC_TEST_EMPTY is not set for this process",
		"file:empty":         "read the secret: " + filepath.Join(dir, "empty") + " is empty",
		"file:powershell":    "read the secret: " + filepath.Join(dir, "powershell") + " is UTF-16 text: save it as UTF-8",
		"file:huge":          "read the secret: " + filepath.Join(dir, "huge") + " is larger than 16384 bytes, which no password is",
		"file:absent":        "read the secret: open " + filepath.Join(dir, "absent") + ": " + syscall.ENOENT.Error() + ": write it into that file, as its only line",
	} {
		s, err := ParseSecret(ref, dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Resolve(); got != "" || err == nil || err.Error() != want {
			t.Errorf("%s: got %q, %v, want %s", ref, got, err, want)
		}
	}
	for _, bad := range []string{"hunter2", "5wZmZrCfMPH2PJ5/gQmFLg==", "ENV:X", "plain", "env:", "file:", "sealed:x", "vault:x"} {
		if _, err := ParseSecret(bad, dir); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%s: got %v, want an error that does not show it", bad, err)
		}
	}
}

func TestPathsOfWindowsStayAsTheyAre(t *testing.T) {
	for path, want := range map[string]string{
		`C:\server.crt`: `C:\server.crt`, `\\share\x`: `\\share\x`, `d:/x`: `d:/x`, `\x\y`: `\x\y`, "/abs": "/abs", "": "",
		"x/y": filepath.Join("/etc/sc", "x", "y"), "c:x": filepath.Join("/etc/sc", "c:x"),
	} {
		if got := resolvePath(path, "/etc/sc"); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestMaskedShowsReferencesOnly(t *testing.T) {
	const text = `{ // "Password": "plain:old secret",
	"ScomServers": [{"UserId": "u", "Password": "plain:se\"cret", "ProxyUrl": "http://me:secret@proxy"}], // keep
	"MoogServers": [{"MoogUrl": "https://moog/", "ProxyPassword": "file:pw", "Password": "env:PW", "ProxyUrl": "http://proxy"}],
	"AuthTokenCode": "bare secret", "Misplaced": {"Password": "secret"}, "Other": "plain:secret", /* plain:secret */
	"Etcd": {"Password": ["plain:secret"]},
}`
	const want = `{ // "Password": "plain:(hidden)",
	"ScomServers": [{"UserId": "u", "Password": "plain:(hidden)", "ProxyUrl": "(hidden)"}], // keep
	"MoogServers": [{"MoogUrl": "https://moog/", "ProxyPassword": "file:pw", "Password": "env:PW", "ProxyUrl": "http://proxy"}],
	"AuthTokenCode": "(hidden)", "Misplaced": {"Password": "(hidden)"}, "Other": "plain:(hidden)", /* plain:(hidden)*/
	"Etcd": {"Password": ["plain:(hidden)"]},
}
`
	if got := string(Masked([]byte(text))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := string(Masked([]byte(`{"Password": "plain:secret`))); strings.Contains(got, "secret") {
		t.Errorf("a broken text shows %s", got)
	}
	if again := Masked(Masked([]byte(text))); string(again) != want {
		t.Errorf("masking twice gives\n%s", again)
	}
}

// TestMessagesShowNoSecret puts a password into every place where a message might quote it.
func TestMessagesShowNoSecret(t *testing.T) {
	const secret = "hunter2"
	for _, text := range []string{
		`{"ScomServers": [{"Password": "hunter2"}]}`,
		`{"ScomServers": [{"Password": "CONTOSO\hunter2"}]}`,
		`{"ScomServers": [{"Password": hunter2}]}`,
		`{"ScomServers": [{"Password": "sealed:hunter2"}]}`,
		`{"ScomServers": [{"ProxyUrl": "http://u:hunter2@proxy"}]}`,
		`{"ScomServers": [{"Url": "http://u:hunter2@scom"}]}`,
		`{"ScomServers": [{"ScomAddressHost": "s", "Password": "plain:hunter2"}], "AuthTokenCode": "hunter2"}`,
		`{"MoogServers": [{"MoogUrl": "https://u:hunter2@moog/", "ProxyPassword": "hunter2"}]}`,
		`{"ConnectorUrl": "hunter2:x@y"}`,
		`{"AuthTokenCode": ["hunter2"]}`,
	} {
		c, faults := ParseCluster("f", []byte(text), Options{})
		if len(faults) == 0 {
			t.Errorf("%s has no fault", text)
		}
		if all := faults.Error() + strings.Join(c.Warnings.Strings(), ""); strings.Contains(all, secret) {
			t.Errorf("%s\nshows %s", text, all)
		}
	}
}
