package test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// show is one run of `scomconnector demo`, read as a person reads it: standard output and error together.
type show struct {
	t     *testing.T
	cmd   *exec.Cmd
	tmp   string // its TMPDIR
	start time.Time
	done  chan struct{} // closed once it has ended and all was read
	err   error         // valid once done is closed

	mu   sync.Mutex // guards what follows
	text strings.Builder
	more chan struct{} // closed and replaced with each line
}

// begin starts the command; it ends with the test at the latest.
func begin(t *testing.T, name string, args ...string) *show {
	t.Helper()
	s := &show{t: t, tmp: t.TempDir(), start: time.Now(), done: make(chan struct{}), more: make(chan struct{})}
	s.cmd = exec.Command(name, args...)
	s.cmd.Env = append(os.Environ(), "TMPDIR="+s.tmp)
	both, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = in, in
	err = s.cmd.Start()
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	go s.read(both)
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.done
	})
	return s
}

func demo(t *testing.T, args ...string) *show {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return begin(t, bin, append([]string{"demo"}, args...)...)
}

func (s *show) read(r io.ReadCloser) {
	defer close(s.done)
	defer r.Close()
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		s.mu.Lock()
		s.text.WriteString(line)
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			s.err = s.cmd.Wait()
			return
		}
	}
}

func (s *show) output() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.more
}

// await waits until the output matches, and returns the first match.
func (s *show) await(what string, limit time.Duration, re *regexp.Regexp) []string {
	s.t.Helper()
	late := time.After(limit)
	for {
		text, more := s.output()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-more:
		case <-s.done:
			if text, _ = s.output(); !re.MatchString(text) {
				s.t.Fatalf("it ended without %s: %v\n%s", what, s.err, text)
			}
		case <-late:
			s.t.Fatalf("no %s within %v:\n%s", what, limit, text)
		}
	}
}

// url is the first address in the output.
var firstURL = regexp.MustCompile(`(https?://\S+)\s`)

// interrupt is one Ctrl-C: it ends within five seconds, with exit code 0, and leaves nothing behind.
func (s *show) interrupt() {
	s.t.Helper()
	start := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		s.t.Fatal(err)
	}
	s.ended(5 * time.Second)
	s.t.Logf("ended %v after SIGINT", time.Since(start).Round(time.Millisecond))
}

func (s *show) ended(limit time.Duration) {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(limit):
		s.t.Fatalf("still running after %v", limit)
	}
	if s.err != nil {
		text, _ := s.output()
		s.t.Errorf("it ended with %v, want exit code 0:\n%s", s.err, text)
	}
	left, err := filepath.Glob(filepath.Join(s.tmp, "scomconnector-*"))
	if err != nil || len(left) > 0 {
		s.t.Errorf("left behind: %v %v", left, err)
	}
}

// leadsAt asks the address as a load balancer would.
func leadsAt(t *testing.T, url string) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url + "/leader")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET %s/leader answers %d, want 200", url, resp.StatusCode)
	}
}

// alertLine is what the demo prints of an event that reached the LAM.
var alertLine = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  (clear|indeterminate|warning|minor|major|critical) +\S+ +\S`)

func skipWithoutSignals(t *testing.T) {
	t.Helper()
	need(t, runtime.GOOS != "windows", "system with signals, to end the demo as Ctrl-C does")
}

func TestDemoShowsTheLeadersPageFirstAndEndsCleanly(t *testing.T) {
	skipWithoutSignals(t)
	s := demo(t)
	url := s.await("address", 10*time.Second, firstURL)[1]
	t.Logf("first address %s after %v", url, time.Since(s.start).Round(time.Millisecond))
	leadsAt(t, url)
	code, page := fetch(t, url+"/")
	if code != http.StatusOK || !strings.Contains(page, "Total Alerts Processed") || !strings.Contains(page, "primary") {
		t.Errorf("the first address answers %d and is not the Primary's status page:\n%s", code, page)
	}
	s.await("alert", 30*time.Second, alertLine)
	s.interrupt()
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Ctrl-C in the first second, while nothing leads yet, is an end in good order, too.
func TestDemoEndsCleanlyBeforeItHasBegun(t *testing.T) {
	skipWithoutSignals(t)
	s := demo(t)
	s.await("first line", 10*time.Second, regexp.MustCompile("starting"))
	s.interrupt()
}

// With the usual port taken it takes a free one. The port is taken here, or by whoever has it.
func TestTwoDemosAtOnce(t *testing.T) {
	skipWithoutSignals(t)
	const usual = "127.0.0.1:8085"
	if ln, err := net.Listen("tcp", usual); err == nil {
		defer ln.Close()
	} else if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatal(err)
	}
	one, two := demo(t), demo(t)
	a := one.await("address", 20*time.Second, firstURL)[1]
	b := two.await("address", 20*time.Second, firstURL)[1]
	if a == b || strings.HasSuffix(a, ":8085") || strings.HasSuffix(b, ":8085") {
		t.Errorf("two demos beside a taken port are at %s and %s", a, b)
	}
	for _, s := range []*show{one, two} {
		s.await("alert", 30*time.Second, alertLine)
	}
	leadsAt(t, a)
	leadsAt(t, b)
	one.interrupt()
	leadsAt(t, b) // the other goes on
	two.interrupt()
}

func TestDemoDrainsAStorm(t *testing.T) {
	skipWithoutSignals(t)
	s := demo(t, "--storm", "2000")
	m := s.await("end of the storm", 60*time.Second, regexp.MustCompile(`2000 of 2000 delivered[^\n]*\n  done: (\d+) alerts/s, (\d+) of them twice`))
	if m[2] != "0" {
		t.Errorf("%s alerts came twice, want none", m[2])
	}
	s.interrupt()
}

// The command that the README shows works from the sources.
func TestGoRunDemo(t *testing.T) {
	gotool, err := exec.LookPath("go")
	if err != nil {
		need(t, false, "the go command")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, gotool, "run", "./cmd/scomconnector", "demo", "--for", "3s")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !firstURL.Match(out) || !strings.HasSuffix(string(out), "stopping\n") {
		t.Errorf("it printed\n%s", out)
	}
}
