package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// at says one line at each level, the last of a node that ends among them.
func at(j *Journal) {
	for _, log := range []hclog.Logger{j.Logger(), j.Logger().Named("part")} {
		round += "x"
		log.Trace("trace")
		log.Debug("debug")
		log.Info("info", "round", round)
		log.Warn("warn", "round", round)
		log.Error("error", "round", round)
		log.Error("end", "reason", "x", "fatal", true)
	}
}

// round makes each line a new one.
var round string

func open(t *testing.T, cfg Config, console io.Writer) *Journal {
	t.Helper()
	j, err := Open(cfg, console)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func TestLevelsAreThoseOfTheOriginal(t *testing.T) {
	var out bytes.Buffer
	j := open(t, Config{}, &out)
	if got := j.Level(); got != "INFO" {
		t.Errorf("without a level it is %s, want INFO", got)
	}
	for i, c := range []struct{ word, want string }{
		{"OFF", ""}, {"FATAL", "end"}, {"ERROR", "error end"}, {"WARN", "warn error end"},
		{"INFO", "info warn error end"}, {"DEBUG", "debug info warn error end"}, {"ALL", "trace debug info warn error end"},
		{"fatal ", "end"}, {"Error", "error end"},
	} {
		out.Reset()
		if err := j.SetLevel(c.word); err != nil {
			t.Errorf("%s: %v", c.word, err)
		}
		if want := strings.ToUpper(strings.TrimSpace(c.word)); j.Level() != want {
			t.Errorf("%d: the level is %s, want %s", i, j.Level(), want)
		}
		at(j)
		var got []string
		for line := range strings.Lines(out.String()) {
			_, said, _ := strings.Cut(line, "] ")
			said = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(said), "scomconnector"), ".part"))
			word, _, _ := strings.Cut(strings.TrimPrefix(said, ": "), ":")
			got = append(got, strings.TrimSpace(word))
		}
		want := strings.Fields(c.want)
		want = append(want, want...) // a part's logger follows
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: got %q, want %q", c.word, got, want)
		}
	}
	err := j.SetLevel("loud")
	if err == nil || !strings.Contains(err.Error(), "OFF, FATAL, ERROR, WARN, INFO, DEBUG, ALL") || j.Level() != "ERROR" {
		t.Errorf("an unknown word: %v, and the level is %s", err, j.Level())
	}
}

// Who turns the log off does not hide what he does next.
func TestTheAuditIsNeverSilent(t *testing.T) {
	var out bytes.Buffer
	j := open(t, Config{Level: "OFF"}, &out)
	at(j)
	j.Audit().Info("operator write", "who", "alice")
	if got := out.String(); !strings.Contains(got, "scomconnector.audit: operator write: who=alice") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q, want the audit's line only", got)
	}
}

func TestTheFormIsTextOrJSON(t *testing.T) {
	var out bytes.Buffer
	j := open(t, Config{Format: "json"}, &out)
	j.Logger().Warn("two\nlines", "k", "v\n")
	j.Audit().Info("x")
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil || m["@timestamp"] == nil || m["@level"] == nil {
			t.Errorf("%q is no line of JSON: %v", line, err)
		}
	}
}

// The file is put aside when it is full, as many as are wanted are kept, and nobody else can read any of them.
func TestTheFileIsRotated(t *testing.T) {
	file := filepath.Join(t.TempDir(), "logs", "node.log")
	var console bytes.Buffer
	j := open(t, Config{Level: "DEBUG", File: file, MaxSizeMB: 1, MaxBackups: 2}, &console)
	line := strings.Repeat("x", 1000)
	for range 4500 { // over 4 MB
		j.Logger().Info(line)
	}
	// Removing old files is lumberjack's own goroutine's work, which nothing tells the end of.
	var names []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		names = nil
		all, err := os.ReadDir(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			names = append(names, e.Name())
		}
		if len(names) == 3 {
			break
		}
		runtime.Gosched()
	}
	if len(names) != 3 {
		t.Fatalf("the folder holds %q, want the log and two that were put aside", names)
	}
	for _, name := range names {
		info, err := os.Stat(filepath.Join(filepath.Dir(file), name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 1<<20 {
			t.Errorf("%s has %d bytes, want at most 1 MB", name, info.Size())
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v, want that others cannot read it", name, info.Mode())
		}
	}
	if console.Len() != 0 {
		t.Errorf("the console got %d bytes, want none", console.Len())
	}
}

// As on Windows, where nobody can put aside a file that somebody reads; here the name for it would be too long.
func TestAFileThatCannotBePutAsideLosesNoLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), strings.Repeat("n", 240)+".log")
	j := open(t, Config{Level: "DEBUG", File: file, MaxSizeMB: 1, MaxBackups: 2}, &bytes.Buffer{})
	const lines = 2000
	for i := range lines {
		j.Logger().Info(fmt.Sprintf("line %d %s", i, strings.Repeat("x", 1000)))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), "\n"); got != lines || !strings.Contains(string(text), fmt.Sprintf("line %d ", lines-1)) {
		t.Errorf("the file holds %d lines, want %d", got, lines)
	}
}

// What rotates is the same again once the reader is gone.
func TestAFileThatWasReadIsRotatedAfterwards(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.log")
	j := open(t, Config{Level: "DEBUG", File: file, MaxSizeMB: 1, MaxBackups: 9}, &bytes.Buffer{})
	reader, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1000)
	for range 1500 {
		j.Logger().Info(line)
	}
	reader.Close()
	j.Logger().Info(line)
	all, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(all) != 2 {
		t.Fatalf("the folder holds %v, %v; want the log and one that was put aside", all, err)
	}
	lines := 0
	for _, e := range all {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(file), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(text), "\n")
	}
	if lines != 1501 {
		t.Errorf("%d lines are left of 1501", lines)
	}
}

func TestAFileThatCannotBeWrittenIsToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(Config{File: dir}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "Log.File") {
		t.Errorf("a folder in place of the file: %v", err)
	}
}

// windows is an event log that remembers.
type windows struct {
	mu   sync.Mutex
	got  []string
	fail error
}

func (w *windows) add(kind, text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, kind+" "+text)
	return w.fail
}
func (w *windows) Info(_ uint32, s string) error    { return w.add("info", s) }
func (w *windows) Warning(_ uint32, s string) error { return w.add("warning", s) }
func (w *windows) Error(_ uint32, s string) error   { return w.add("error", s) }
func (w *windows) Close() error                     { return nil }

// The event log has the lines of the kinds it knows, short enough, and its failure keeps nothing from the log itself.
func TestEventsHaveTheirKinds(t *testing.T) {
	w := &windows{fail: errors.New("full")}
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: both{&out, events{w}}, DisableTime: true})
	log.Trace("t")
	log.Debug("d")
	log.Info("i")
	log.Warn("w\x00x")
	log.Error(strings.Repeat("ü", maxEvent))
	if n := strings.Count(out.String(), "\n"); n != 5 {
		t.Errorf("the log has %d lines, want all 5", n)
	}
	if len(w.got) != 3 || w.got[0] != "info [INFO]  i" || w.got[1] != "warning [WARN]  w x" || !strings.HasPrefix(w.got[2], "error [ERROR] ü") {
		t.Errorf("events are %.60q", w.got)
	}
	if n := len(w.got[2]); n > maxEvent+20 {
		t.Errorf("an event has %d bytes", n)
	}
}
