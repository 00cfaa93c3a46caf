package settings

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const sealedPassword = "hunter2 of SCOM: ü"

// machine is a folder with a key file, and the public half of the key.
func machine(t *testing.T) (dir, public string) {
	t.Helper()
	dir = t.TempDir()
	text, public, err := NewSecretKey(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, SecretKeyName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, public
}

func sealFor(t *testing.T, publics ...string) string {
	t.Helper()
	var sealed string
	for _, p := range publics {
		r, err := Recipient(p)
		if err != nil {
			t.Fatal(err)
		}
		if sealed, err = Seal(sealedPassword, r); err != nil {
			t.Fatal(err)
		}
	}
	return sealed
}

func TestASealedSecretOpensWhereItsKeyIs(t *testing.T) {
	dir, public := machine(t)
	other, otherPublic := machine(t)
	a, errA := Recipient(public)
	b, errB := Recipient(otherPublic)
	both, err := Seal(sealedPassword, a, b)
	if err := errors.Join(errA, errB, err); err != nil {
		t.Fatal(err)
	}
	for _, on := range []string{dir, other} {
		s, err := ParseSecret(both, on)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Resolve(); got != sealedPassword || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, sealedPassword)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", s, s, s, s.String()); strings.Contains(shown, "hunter2") {
			t.Errorf("printed: %s", shown)
		}
	}
	if strings.Contains(both, "hunter2") || both == sealFor(t, public) {
		t.Error("the secret is not sealed")
	}
}

// What cannot be opened says which file is meant and what to do; neither the key nor the secret is ever in it.
func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	dir, public := machine(t)
	stranger, _ := machine(t)
	sealed := sealFor(t, public)
	keyFile := func(text string) string {
		d := t.TempDir()
		if err := os.WriteFile(filepath.Join(d, SecretKeyName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return d
	}
	flipped := []byte(sealed) // the last letters are the sealed text's own
	flipped[len(flipped)-5] ^= 3
	for _, c := range []struct{ name, dir, ref, want string }{
		{"no key", t.TempDir(), sealed, "there is no key file"},
		{"another key", stranger, sealed, "it was sealed for another key than that in " + filepath.Join(stranger, SecretKeyName)},
		{"no keys in the file", keyFile("# nothing\n"), sealed, "holds no key"},
		{"something else", keyFile("AGE-SECRET-KEY-1QQQ hunter2\n"), sealed, "holds something else than keys"},
		{"changed", dir, string(flipped), "is not a whole sealed secret"},
		{"cut", dir, sealed[:len(sealed)-8], "is not a whole sealed secret"},
		{"not sealed", dir, "sealed:hunter2", "is not a whole sealed secret"},
		{"nothing", dir, "sealed:", "names nothing after the colon"},
	} {
		s, err := ParseSecret(c.ref, c.dir)
		var got string
		if err == nil {
			got, err = s.Resolve()
		}
		if got != "" || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, %v, want %s", c.name, got, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "SECRET-KEY-1Q")) {
			t.Errorf("%s: the error shows a secret: %v", c.name, err)
		}
	}
}

// check names key and line of what cannot be opened, and warns of a key that others can read or that is saved with what it opens.
func TestCheckKnowsSealedSecrets(t *testing.T) {
	dir, public := machine(t)
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nodeFile := func(data string) string {
		return fmt.Sprintf(`{"NodeID": "n1", "Role": "Primary", "ListenAddress": "127.0.0.1:18085", "ClusterAddress": "127.0.0.1:18086", "DataDir": %q,
			"Members": [{"NodeID": "n1", "Role": "Primary", "ClusterAddress": "127.0.0.1:18086"}]}`, data)
	}
	put("node.json", nodeFile("data"))
	put(ClusterFileName, "{\n\"ScomServers\": [{\"ScomAddressHost\": \"s\", \"UserId\": \"u\",\n\"Password\": \""+sealFor(t, public)+"\"}],\n\"MoogServers\": [{\"MoogUrl\": \"https://m/e\"}]}")
	check := func() string {
		report := Check(filepath.Join(dir, "node.json"), "")
		var out bytes.Buffer
		report.Print(&out)
		return out.String()
	}
	if out := check(); strings.Contains(out, "Password") {
		t.Errorf("check finds something in a good sealed secret:\n%s", out)
	}
	put("node.json", nodeFile("."))
	if out := check(); !strings.Contains(out, "warning: ") || !strings.Contains(out, "lies in DataDir") {
		t.Errorf("check says nothing of a key in DataDir:\n%s", out)
	}
	key := filepath.Join(dir, SecretKeyName)
	if runtime.GOOS != "windows" {
		if err := os.Chmod(key, 0o644); err != nil {
			t.Fatal(err)
		}
		if out := check(); !strings.Contains(out, "other accounts of this machine can read "+key) {
			t.Errorf("check says nothing of a key that everybody can read:\n%s", out)
		}
	}
	os.Remove(key)
	want := "error: " + filepath.Join(dir, ClusterFileName) + ":3: ScomServers[0].Password: open the sealed secret: there is no key file " + key
	if out := check(); !strings.Contains(out, want) {
		t.Errorf("got\n%s\nwant %s", out, want)
	}
}

// What somebody took for an order to seal is hidden as any bare password is.
func TestWhatOnlyLooksSealedIsHidden(t *testing.T) {
	_, public := machine(t)
	sealed := sealFor(t, public)
	got := string(Masked([]byte(`{"AuthTokenCode": "sealed:hunter2", "ScomServers": [{"Password": "` + sealed + `"}]}`)))
	if strings.Contains(got, "hunter2") || !strings.Contains(got, sealed) {
		t.Errorf("shown: %s", got)
	}
}

// A password that stands where none may is neither shown nor quoted in the fault about it.
func TestAMisplacedPasswordIsNotShown(t *testing.T) {
	text := []byte(`{"AlertPollCycleTime": "plain:hunter2", "Filter": "plain:hunter2",
		"MoogServers": [{"MoogUrl": "https://u:hunter2@moog/e", "MoogPort": "plain:hunter2", "IsSslEnabled": "http://:hunter2@x"}]}`)
	_, faults := ParseCluster("SCC.json", text, Options{})
	for _, shown := range []string{faults.Error(), string(Masked(text))} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("shown: %s", shown)
		}
	}
	if got := string(Masked([]byte(`{"ConnectorUrl": "https://moog.contoso.com:8085/a@b?c@d", "Filter": "name == '@'"}`))); !strings.Contains(got, "8085/a@b?c@d") || !strings.Contains(got, "name == '@'") {
		t.Errorf("what is no password is hidden: %s", got)
	}
}
