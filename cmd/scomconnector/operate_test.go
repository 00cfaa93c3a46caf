package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// live is a running cluster, with the demo's files and simulators.
func live(t *testing.T) *stage {
	t.Helper()
	s, err := newStage(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, len(s.nodes))
	for _, n := range s.nodes {
		go func() { done <- n.run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range s.nodes {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		s.Close()
	})
	if err := s.awaitLeader(ctx, s.nodes[0].url); err != nil {
		t.Fatal(err)
	}
	return s
}

// typed runs one command as typed at a terminal, with the answer that is typed when it asks.
func typed(answer string, args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	code = dispatch(args, terminal{strings.NewReader(answer), &o, &e})
	return o.String(), e.String(), code
}

func TestChangingTheSettingsOfARunningCluster(t *testing.T) {
	s := live(t)
	url := s.nodes[1].url // a follower
	var text string
	eventually(t, "the follower has the settings", func() bool {
		var code int
		text, _, code = typed("", "config", "show", "--url", url)
		return code == 0
	})
	if strings.Contains(text, "simulated\",") || !strings.Contains(text, `"Password": "plain:(hidden)"`) {
		t.Errorf("config show prints\n%s\nwant the settings without the password", text)
	}
	file := filepath.Join(t.TempDir(), "new.json")
	write := func(edit ...string) {
		if err := os.WriteFile(file, []byte(strings.NewReplacer(edit...).Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		edit   []string
		answer string
		args   string
		code   int
		out    string // as a regular expression
		errs   string
	}{
		{"no change", nil, "", "diff FILE", 0, `^\S+new.json is the same as version 1, which is in use\n$`, `^$`},
		{"a comment", []string{`"ConnectorName"`, "// ours\n\"ConnectorName\""}, "", "diff FILE", 0, `differs from version 1 in comments and layout only\n$`, `^$`},
		{"what would change", []string{`"ConnectorName"`, `"Filter": "true", "ConnectorName"`}, "", "diff FILE", 0, `new.json, against version 1:\n  \+ Filter: "true"\n$`, `^$`},
		{"as JSON", []string{`"demo"`, `"demo2"`}, "", "diff --json FILE", 0, `(?s)^{\n  "version": 1,\n  "changes": \[\n.*"key": "ConnectorName",\n.*"notes": \[\]\n}\n$`, `^$`},
		{"no", []string{`"demo"`, `"demo2"`}, "n\n", "apply FILE", 1, `(?s)  ~ ConnectorName: "demo" -> "demo2"\n.*\[y/N\] Nothing was changed: version 1 is in use.\n$`, `^$`},
		{"faults", []string{`"demo"`, "\"demo\",\n\"Filtr\": 1, \"HeartbeatSeconds\": 3"}, "", "apply --yes FILE", 1, `^$`, `^error: the settings are not usable:\n\S+new.json:5: Filtr: unknown key.*Filter\n\S+new.json:5: HeartbeatSeconds: .*\nhint: mend what the lines name`},
		{"faults, only looked at", []string{`"demo"`, "\"demo\",\n\"Filtr\": 1"}, "", "diff FILE", 1, `^$`, `^error: config apply would refuse it:\n\S+new.json:5: Filtr: unknown key.*Filter\nhint: mend what the lines name; nothing was changed`},
		{"faults, as JSON", []string{`"demo"`, "\"demo\",\n\"Filtr\": 1"}, "", "diff --json FILE", 1, `^$`, `^error: config apply would refuse it:\n\S+new.json:5: Filtr: unknown key.*Filter\nhint: mend what the lines name; nothing was changed`},
		{"faults, before anybody is asked", []string{`"demo"`, "\"demo\",\n\"Filtr\": 1"}, "", "apply FILE", 1, `^$`, `^error: the settings are not usable:\n\S+new.json:5: Filtr: unknown key.*Filter\nhint: mend`},
		{"no JSON", []string{`"demo"`, ""}, "", "apply --yes FILE", 1, `^$`, `^error: \S+new.json:4: is not JSON.*\nhint: mend what the line names`},
		{"nobody to ask", []string{`"demo"`, `"demo2"`}, "", "apply --json FILE", 1, `^$`, `^error: nothing was changed: nobody is there to agree\nhint: --yes agrees beforehand\n$`},
		{"yes", []string{`"demo"`, `"demo2"`}, "y\n", "apply FILE", 0, `(?s)\[y/N\] Version 2 is in use; the leader takes it up within a second.\nTo undo it: scomconnector config rollback 1\n$`, `^$`},
		{"again", []string{`"demo"`, `"demo2"`}, "", "apply FILE --yes", 0, `Version 2 is in use, as before.\n$`, `^$`},
		{"versions", nil, "", "show --versions", 0, `(?s)^VERSION +IN USE SINCE +BY\n2 .*somebody on this machine.*\n1 .* file of primary\n$`, `^$`},
		{"an old one", nil, "", "show --version 1", 0, `"ConnectorName": "demo"`, `^version 1, by file of primary, `},
		{"no such one", nil, "", "show --version 7", 1, `^$`, `^error: version 7 of the settings: not found; versions 1 to 2 are kept\nhint: scomconnector config show --versions lists them, `},
		{"back", nil, "", "rollback --yes", 0, `(?s)^version 1, against version 2:\n  ~ ConnectorName: "demo2" -> "demo"\nVersion 3 is in use`, `^$`},
		{"back to a named one", nil, "", "rollback 2 --yes --json", 0, `^{\n  "version": 4,\n  "unchecked": \[\]\n}\n$`, `^$`},
		{"back to nothing", nil, "", "rollback 9 --yes", 1, `^$`, `^error: version 9 of the settings: not found; versions 1 to 4 are kept\nhint: scomconnector config show --versions`},
		{"no file", nil, "", "apply", 2, `^$`, `^error: config apply needs the file with the new settings\nhint: scomconnector config --help\n$`},
		{"two files", nil, "", "diff FILE other", 2, `^$`, `^error: unexpected argument "other"`},
		{"no version", nil, "", "rollback latest", 2, `^$`, `^error: "latest" is no version`},
		{"no verb", nil, "", "change", 2, `^$`, `^error: config has no "change": only show, diff FILE`},
	} {
		write(c.edit...)
		args := []string{"config"}
		for _, a := range strings.Fields(c.args) {
			args = append(args, strings.ReplaceAll(a, "FILE", file))
		}
		if c.code != 2 {
			args = append(args, "--url", url)
		}
		out, errs, code := typed(c.answer, args...)
		if code != c.code || !regexp.MustCompile(c.out).MatchString(out) || !regexp.MustCompile(c.errs).MatchString(errs) {
			t.Errorf("%s: %v: exit code %d, want %d; printed\n%s%s\nwant %s and %s", c.name, args, code, c.code, out, errs, c.out, c.errs)
		}
	}
	// The password that was only ever shown hidden is still the one that works.
	s.group.Raise(scomtest.Alert{Name: "after it all", Severity: scomtest.Error})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.lam.WaitFor(ctx, 1); err != nil {
		t.Errorf("after the roll-back nothing is delivered: %v", err)
	}
}

func TestLookingAtParkedEntries(t *testing.T) {
	s := live(t)
	url := s.nodes[2].url // the witness
	if out, errs, code := typed("", "parked", "list", "--url", url); out != "Nothing is parked.\n" || code != 0 {
		t.Errorf("an empty list: %q %q %d", out, errs, code)
	}
	s.lam.Set(publishertest.Faults{RefuseIf: func(e []byte) bool { return bytes.Contains(e, []byte("poison")) }})
	s.group.Raise(scomtest.Alert{Name: "poison", Severity: scomtest.Error})
	row := regexp.MustCompile(`(?m)^([0-9a-f-]{36})  alerts/default  .*Z  400   `)
	var list string
	eventually(t, "it is parked", func() bool {
		s.group.Raise(scomtest.Alert{Name: "fine", Severity: scomtest.Error})
		list, _, _ = typed("", "parked", "list", "--url", url)
		return row.MatchString(list)
	})
	key := row.FindStringSubmatch(list)[1]
	out, errs, code := typed("", "parked", "show", strings.ToUpper(key), "--url", url)
	if code != 0 || !strings.Contains(out, "HTTP status: 400\n") || !strings.Contains(out, "\n  \"type\": \"poison\",\n") {
		t.Errorf("parked show prints %d\n%s%s", code, out, errs)
	}
	if out, _, code := typed("", "parked", "remove", key, "--url", url); code != 1 || !strings.Contains(out, "Remove it?") {
		t.Errorf("remove without an answer: %d %s", code, out)
	}
	if out, errs, code := typed("yes\n", "parked", "remove", key, "--url", url); code != 0 || !strings.HasSuffix(out, "Removed "+key+" from alerts/default.\n") {
		t.Errorf("remove: %d %s%s", code, out, errs)
	}
	if _, errs, code := typed("", "parked", "show", key, "--url", url); code != 1 || !strings.Contains(errs, "hint: parked list shows the keys") {
		t.Errorf("show what is gone: %d %s", code, errs)
	}
	if _, errs, code := typed("", "parked", "remove"); code != 2 || !strings.Contains(errs, "needs the key") {
		t.Errorf("no key: %d %s", code, errs)
	}
}

// eventually waits for a condition of a real cluster.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-tick.C
	}
}

func TestStrangersTextCannotMoveTheCursor(t *testing.T) {
	if got, want := harmless("a\x1b[2Jb\n\tc\u009bd\x7f"), "a\uFFFD[2Jb\n\tc\uFFFDd\uFFFD"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
