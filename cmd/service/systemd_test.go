package service

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s differs (-update writes it anew); got\n%s", name, got)
	}
}

// need skips where a real component is missing, and fails where none may be.
func need(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	switch {
	case err == nil:
	case os.Getenv("SCOMCONNECTOR_REAL") == "1":
		t.Fatalf("SCOMCONNECTOR_REAL=1, and there is no %s", tool)
	default:
		t.Skipf("needs %s", tool)
	}
	return path
}

// usual is what init and service install make of each other.
func usual() Spec {
	return Spec{
		Name: DefaultName, Program: "/home/me/unpacked/scomconnector", NodeFile: "/etc/scomconnector/node.json", Home: "/etc/scomconnector",
		DataDir: "/etc/scomconnector/data", Ports: []string{"8085", "8086"},
	}
}

// unusual has everything that may differ.
func unusual() Spec {
	return Spec{
		Name: "second", Account: "svc-moog", Program: "/opt/scomconnector/scomconnector", NodeFile: "/srv/second node/node.json", ConfigFile: "/srv/second node/100%.json",
		Home: "/srv/second node", DataDir: "/var/lib/second", Writable: []string{"/var/lib/second/logs", "/var/log/second"}, Shared: []string{"/mnt/claims"}, Ports: []string{"443", "8086"},
	}
}

func TestInstallingIsAScriptThatCanBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		spec  Spec
		known bool
	}{"usual": {usual(), false}, "unusual": {unusual(), true}} {
		p, err := linuxInstall(c.spec, c.known)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".sh", p.String())
		valid(t, p.String())
	}
	p, err := linuxUninstall("second")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "uninstall.sh", p.String())
	valid(t, p.String())
}

// valid asks a shell whether it could run the script.
func valid(t *testing.T, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return // its plans are no scripts
	}
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, script)
	}
}

// systemd itself reads the unit, and finds nothing that it does not know.
func TestSystemdTakesTheUnit(t *testing.T) {
	analyze := need(t, "systemd-analyze")
	for name, s := range map[string]Spec{"usual": usual(), "unusual": unusual()} {
		s.Program = "/bin/true" // it must be there
		s.Account = "root"      // and so must the user
		path := filepath.Join(t.TempDir(), name+".service")
		if err := os.WriteFile(path, []byte(Unit(s)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, name+".service") {
				t.Errorf("systemd says: %s", line)
			}
		}
		if err != nil {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
}

// The unit is as closed as systemd can make it for what we do: its own measure says so.
func TestTheUnitIsHardened(t *testing.T) {
	analyze := need(t, "systemd-analyze")
	s := usual()
	s.Program = "/bin/true"
	s.Account = "nobody"
	path := filepath.Join(t.TempDir(), "scomconnector.service")
	if err := os.WriteFile(path, []byte(Unit(s)), 0o644); err != nil {
		t.Fatal(err)
	}
	// The exposure is out of 100; programs that were never hardened have about 95.
	out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", "--no-pager", path).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A panic ends a Go program with exit code 2, and so does the SIGABRT of systemd's watchdog: no exit code may keep it from coming back.
func TestWhateverEndsTheNodeItIsRestarted(t *testing.T) {
	unit := Unit(usual())
	if !strings.Contains(unit, "\nRestart=always\n") || strings.Contains(unit, "\nRestartPreventExitStatus=") {
		t.Errorf("not always restarted:\n%s", unit)
	}
}

// ProtectSystem=strict makes all read-only but what the kernel mounts; of that, the unit's other settings leave folders that all share, as seen
// on a booted systemd (TestAServiceOnABootedSystemd).
func TestTheUnitWritesNoSharedMemory(t *testing.T) {
	if unit := Unit(usual()); !strings.Contains(unit, "\nInaccessiblePaths=-/dev/shm -/dev/mqueue -/run/lock\n") {
		t.Errorf("one of them is writable:\n%s", unit)
	}
}

func TestWhatCannotBeAServiceIsRefused(t *testing.T) {
	for want, change := range map[string]func(*Spec){
		"is no name for a service": func(s *Spec) { s.Name = "a/../b" },
		"1 to 80 letters":          func(s *Spec) { s.Name = "" },
		"shared with others":       func(s *Spec) { s.Home = "/etc/" },
		"/var/lib is shared":       func(s *Spec) { s.DataDir = "/var/lib" },
		"does not see what is in /home: put the node's folder elsewhere": func(s *Spec) { s.NodeFile = "/home/me/node.json" },
		"/var/log is shared":           func(s *Spec) { s.Writable = []string{"/var/log"} },
		"does not see what is in /tmp": func(s *Spec) { s.Writable = []string{"/tmp/log"} },
		"cannot stand in a unit":       func(s *Spec) { s.NodeFile = "/etc/scomconnector/a\nUser=root" },
	} {
		s := usual()
		change(&s)
		if _, err := linuxInstall(s, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want one with %q", err, want)
		}
	}
	for _, uninstall := range []func(string) (Plan, error){
		func(n string) (Plan, error) { return linuxUninstall(n) }, func(n string) (Plan, error) { return windowsUninstall(n) },
	} {
		if _, err := uninstall("; rm -rf /"); err == nil {
			t.Error("anything is taken for a name")
		}
	}
}

func TestWhatANodeSaidLastIsItsErrorWithTheCure(t *testing.T) {
	for journal, want := range map[string]string{
		"":                   "",
		"the log is in /x\n": "",
		"the log is in /x\nerror: open /x/key: permission denied\nhint: do it\n": "error: open /x/key: permission denied\nhint: do it",
		"error: a\nhint: of a\nthe log is in /x\nerror: b:\nc\n":                 "error: b:\nc",
		"an error: in the middle": "",
	} {
		if got := lastWords(journal); got != want {
			t.Errorf("%q: got %q, want %q", journal, got, want)
		}
	}
}

func TestShellQuoting(t *testing.T) {
	for in, want := range map[string]string{"": "''", "a-b_c.d/e:f=g@h%i": "a-b_c.d/e:f=g@h%i", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'", "a;b": "'a;b'"} {
		if got := shellQuoted(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}
