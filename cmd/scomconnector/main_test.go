package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"scomconnector/test/freeport"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// TestMain lets the tests start this program as a process of its own: their binary is the program.
func TestMain(m *testing.M) {
	if os.Getenv("SCOMCONNECTOR_TEST_AS_PROGRAM") == "1" {
		main()
	}
	os.Exit(m.Run())
}

// patience is for machines that are busy; no command of a transcript waits for anything.
const patience = 60 * time.Second

// A transcript is what an operator types and sees. Before the first command it may name files to be there:
//
//	-- node.json --
//	{ ... }
//
// Then follow commands, each behind "$ ", with their output: standard error's lines begin with "2> ", and an
// exit code other than 0 stands in brackets at the end. A "< FILE" gives the command something to read. {taken} is an address that somebody listens on, {free}
// and {free2} are ones that nobody does; {node}/SCENE is a node as lead_test.go makes them up; {original} is the sample of the
// original connector's manual.
func TestTranscripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { replay(t, path) })
	}
}

func replay(t *testing.T, path string) {
	if runtime.GOOS == "windows" {
		if os.Getenv("SCOMCONNECTOR_REAL") == "1" {
			t.Fatal("SCOMCONNECTOR_REAL=1, and the system's messages are not those of the transcripts")
		}
		t.Skip("needs a system whose messages are those of the transcripts")
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newStand(t)
	if filepath.Base(path) == "doctor.txt" {
		s.more = clinic(t)
	}
	var got strings.Builder
	head, rest, _ := strings.Cut("\n"+string(want), "\n$ ")
	got.WriteString(strings.TrimPrefix(head, "\n"))
	s.unpack(head)
	for block := range strings.SplitSeq("\n$ "+rest, "\n$ ") {
		line, _, _ := strings.Cut(block, "\n")
		if line == "" {
			continue
		}
		fmt.Fprintf(&got, "\n$ %s\n%s", line, s.run(line))
	}
	text := strings.TrimPrefix(got.String(), "\n")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text != string(want) {
		t.Errorf("%s differs (-update writes it anew); got\n%s", path, text)
	}
}

// stand is the machine that a transcript plays on.
type stand struct {
	t                  *testing.T
	dir                string
	taken, free, free2 string
	node               string // URL of the scenes of lead_test.go
	more               []simulator
}

func newStand(t *testing.T) *stand {
	t.Helper()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() })
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{t: t, dir: dir, taken: busy.Addr().String(), free: freeport.Take(t), free2: freeport.Take(t)}
	s.node = scenes(t, "http://"+s.free)
	return s
}

// unpack writes the files of a transcript's head. The lines before the first file are its title.
func (s *stand) unpack(head string) {
	name, text := "", ""
	flush := func() {
		if name != "" {
			s.put(name, text)
		}
		text = ""
	}
	for line := range strings.Lines(head) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok {
			flush()
			name = strings.TrimSuffix(n, " --")
			continue
		}
		text += line
	}
	flush()
}

func (s *stand) put(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(s.fill(text)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stand) fill(text string) string {
	original, err := filepath.Abs("../settings/testdata/original.json")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range s.more {
		text = strings.ReplaceAll(text, m.name, m.address)
	}
	return strings.NewReplacer("{taken}", s.taken, "{free}", s.free, "{free2}", s.free2, "{node}", s.node, "{original}", original).Replace(text)
}

// run is one line of a transcript: the program, cat, or ls.
func (s *stand) run(line string) string {
	words := words(s.fill(line))
	var cmd *exec.Cmd
	switch words[0] {
	case "scomconnector":
		cmd = exec.Command(os.Args[0], words[1:]...)
	case "cat", "ls", "mkdir":
		cmd = exec.Command(words[0], words[1:]...)
	default:
		s.t.Fatalf("a transcript cannot run %q", words[0])
	}
	cmd.Dir, cmd.Env = s.dir, s.env()
	if n := len(cmd.Args); n > 2 && cmd.Args[n-2] == "<" {
		text, err := os.ReadFile(filepath.Join(s.dir, cmd.Args[n-1]))
		if err != nil {
			s.t.Fatal(err)
		}
		cmd.Stdin, cmd.Args = bytes.NewReader(text), cmd.Args[:n-2]
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	err := cmd.Run()
	if !timer.Stop() {
		s.t.Errorf("%s was still running after %v", line, patience)
	}
	text := out.String()
	for l := range strings.Lines(errs.String()) {
		text += "2> " + l
	}
	if code := cmd.ProcessState.ExitCode(); err != nil {
		text += fmt.Sprintf("[%d]\n", code)
	}
	return s.plain(text)
}

func (s *stand) env() []string {
	return append(os.Environ(), "SCOMCONNECTOR_TEST_AS_PROGRAM=1", "TZ=UTC", "LC_ALL=C", "GORACE=atexit_sleep_ms=0", "GOCOVERDIR="+s.t.TempDir())
}

// What differs from one run or machine to the next.
var (
	goOf  = regexp.MustCompile(`\(go[^,]+, \w+/\w+\)`)
	until = regexp.MustCompile(`until 20\d\d-\d\d-\d\d`) // the ends of certificates
	// Keys and what they seal are new each time.
	seal   = regexp.MustCompile(`sealed:[A-Za-z0-9_-]{100,}`)
	ageKey = regexp.MustCompile(`age1[a-z0-9]{58}`)
)

func (s *stand) plain(text string) string {
	original, _ := filepath.Abs("../settings/testdata/original.json")
	text = strings.NewReplacer(s.node, "{node}", s.taken, "{taken}", s.free, "{free}", s.free2, "{free2}", original, "{original}", s.dir, "{dir}").Replace(text)
	for _, m := range s.more {
		text = strings.ReplaceAll(text, m.address, m.name)
	}
	if len(s.more) > 0 {
		text = measured.ReplaceAllString(text, "{measured}")
	}
	text = until.ReplaceAllString(text, "until {date}")
	text = ageKey.ReplaceAllString(seal.ReplaceAllString(text, "sealed:{sealed}"), "age1{public}")
	return goOf.ReplaceAllString(text, "({go}, {platform})")
}

// words splits a command line as a shell does, with single quotes.
func words(line string) []string {
	var out []string
	var word strings.Builder
	quoted, begun := false, false
	for _, r := range line {
		switch {
		case r == '\'':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun || word.Len() > 0 {
				out = append(out, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
		}
	}
	if begun || word.Len() > 0 {
		out = append(out, word.String())
	}
	return out
}

// Every command is in the general help, explains each flag that its line names, shows an example, and has a
// transcript of its help.
func TestEveryCommandExplainsItself(t *testing.T) {
	var help bytes.Buffer
	if code := dispatch([]string{"--help"}, terminal{strings.NewReader(""), &help, &help}); code != exitOK {
		t.Errorf("--help exits %d, want %d", code, exitOK)
	}
	transcript, err := os.ReadFile("testdata/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		if !strings.Contains(help.String(), "  "+c.name+" ") {
			t.Errorf("--help does not name %s", c.name)
		}
		if !strings.Contains(c.help, "example: scomconnector "+c.name) {
			t.Errorf("%s --help shows no example", c.name)
		}
		for _, f := range regexp.MustCompile(`--[a-z-]+`).FindAllString(c.args, -1) {
			if !strings.Contains(c.help, "\n  "+f+" ") {
				t.Errorf("%s --help does not explain %s", c.name, f)
			}
		}
		if !strings.Contains(string(transcript), "\n$ scomconnector "+c.name+" --help\n") {
			t.Errorf("testdata/help.txt does not show %s --help", c.name)
		}
	}
}

// A second process on the folder of one that runs is turned away before it touches anything, and the first
// one ends in good order on SIGTERM.
func TestTheDataFolderBelongsToOneProcess(t *testing.T) {
	s := newStand(t)
	for i, api := range []string{s.free, freeport.Take(t)} {
		s.put(fmt.Sprintf("node%d.json", i+1), fmt.Sprintf(`{ "NodeID": "primary", "Role": "Primary", "ListenAddress": %q, "AdvertiseUrl": "http://%s",
			"ClusterAddress": "{free2}", "DataDir": "data", "Log": {"File": "log%d"},
			"Members": [{"NodeID": "primary", "Role": "Primary", "ClusterAddress": "{free2}", "Url": "http://%[2]s"}] }`, api, api, i+1))
	}
	first := exec.Command(os.Args[0], "run", "--node", "node1.json")
	first.Dir, first.Env = s.dir, s.env()
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Wait() }()
	t.Cleanup(func() { first.Process.Kill() })
	s.awaitAlive(ended)

	got := s.run("scomconnector run --node node2.json")
	want := "2> error: the data folder " + filepath.Join("{dir}", "data") + " is in use by another process: is scomconnector already running?\n" +
		"2> hint: scomconnector service stop stops the node that runs as a service; a second node needs a DataDir of its own\n[1]\n"
	if got != want {
		t.Errorf("a second process says\n%swant\n%s", got, want)
	}
	if runtime.GOOS == "windows" {
		if os.Getenv("SCOMCONNECTOR_REAL") == "1" {
			t.Fatal("SCOMCONNECTOR_REAL=1, and there is no SIGTERM to end the first process with")
		}
		t.Skip("needs SIGTERM to end the first process with; the second one was looked at")
	}
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the first ended with %v, want exit code 0", err)
		}
	case <-time.After(patience):
		t.Fatal("the first was still running after SIGTERM")
	}
}

// awaitAlive waits until a node answers at {free}.
func (s *stand) awaitAlive(ended <-chan error) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	client := http.Client{Timeout: time.Second}
	for {
		if resp, err := client.Get("http://" + s.free + "/healthz"); err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-tick.C:
		case err := <-ended:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log1"))
			s.t.Fatalf("the node ended: %v\n%s", err, log)
		case <-limit:
			s.t.Fatal("the node does not answer")
		}
	}
}
