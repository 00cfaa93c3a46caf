// Package etcdrig runs the real etcd-server of the machine for tests, and cuts its clients off.
//
// Start gives an etcd of one or three members on loopback ports and folders of the test's own, to be killed, paused, restarted and wiped
// one by one. A Proxy stands between one client and one member: what it is told to hold back goes nowhere, and nothing is closed, as when
// a firewall drops packets.
package etcdrig

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"scomconnector/test/freeport"
)

// Available reports whether this machine has an etcd-server, and fails the test where SCOMCONNECTOR_REAL says that nothing may be missing.
func Available(t testing.TB) bool {
	t.Helper()
	if os.Getenv("SCOMCONNECTOR_REAL") != "1" {
		return false
	}
	if _, err := exec.LookPath("etcd"); err != nil {
		t.Fatalf("SCOMCONNECTOR_REAL=1, and there is no etcd: %v", err)
	}
	return true
}

// Etcd is the members of one etcd.
type Etcd struct {
	t       testing.TB
	dir     string
	ctl     []string // what etcdctl needs to be let in
	Members []*Member
}

// Member is one process.
type Member struct {
	etcd *Etcd
	name string
	URL  string // for clients
	peer string
	info string // where it says how it is, without TLS
	args []string
	cmd  *exec.Cmd
}

// Start starts an etcd of n members; more are further arguments for each. It ends with the test.
func Start(t testing.TB, n int, more ...string) *Etcd {
	t.Helper()
	return (&Etcd{t: t, dir: t.TempDir()}).start(n, "http://", more)
}

// StartTLS is Start for one member with TLS that asks its clients for a certificate, both of the authority.
func StartTLS(t testing.TB, a *Authority) *Etcd {
	t.Helper()
	cert, key := a.Issue("etcd")
	e := &Etcd{t: t, dir: t.TempDir(), ctl: []string{"--cacert", a.CAFile, "--cert", cert, "--key", key}}
	return e.start(1, "https://", []string{"--cert-file", cert, "--key-file", key, "--client-cert-auth", "--trusted-ca-file", a.CAFile})
}

func (e *Etcd) start(n int, scheme string, more []string) *Etcd {
	t := e.t
	t.Helper()
	var all []string
	for i := range n {
		m := &Member{etcd: e, name: fmt.Sprint("m", i), URL: scheme + freeport.Take(t), peer: "http://" + freeport.Take(t), info: "http://" + freeport.Take(t)}
		all = append(all, m.name+"="+m.peer)
		e.Members = append(e.Members, m)
	}
	for _, m := range e.Members {
		m.args = append([]string{
			"--name", m.name, "--data-dir", m.folder(), "--listen-client-urls", m.URL, "--advertise-client-urls", m.URL,
			"--listen-peer-urls", m.peer, "--initial-advertise-peer-urls", m.peer, "--initial-cluster", strings.Join(all, ","), "--listen-metrics-urls", m.info,
			"--logger", "zap", "--log-level", "error",
		}, more...)
		m.Start()
	}
	t.Cleanup(func() {
		for _, m := range e.Members {
			m.Kill()
		}
	})
	e.Ready()
	return e
}

// URLs are the members' addresses for clients.
func (e *Etcd) URLs() (out []string) {
	for _, m := range e.Members {
		out = append(out, m.URL)
	}
	return out
}

func (m *Member) folder() string { return filepath.Join(m.etcd.dir, m.name) }

// Start starts the process on what its folder holds.
func (m *Member) Start() {
	m.etcd.t.Helper()
	m.cmd = exec.CommandContext(context.Background(), "etcd", m.args...) // ended by Kill
	log, err := os.OpenFile(filepath.Join(m.etcd.dir, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.etcd.t.Fatal(err)
	}
	defer log.Close() // the process has its own
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		m.etcd.t.Fatal(err)
	}
}

// Kill ends the process at once; it may be called twice.
func (m *Member) Kill() {
	if m.cmd == nil {
		return
	}
	m.cmd.Process.Kill() //nolint:errcheck // it may have ended
	m.cmd.Wait()         //nolint:errcheck // it was killed
	m.cmd = nil
}

// Wipe empties the data folder; the process must not run.
func (m *Member) Wipe() {
	m.etcd.t.Helper()
	if err := os.RemoveAll(m.folder()); err != nil {
		m.etcd.t.Fatal(err)
	}
}

// Restore fills the data folder of an etcd of one member from a file that `etcdctl snapshot save` has made; the process must not run.
func (m *Member) Restore(snapshot string) {
	m.etcd.t.Helper()
	m.Wipe()
	cmd := exec.CommandContext(m.etcd.t.Context(), "etcdctl", "snapshot", "restore", snapshot, "--name", m.name, "--data-dir", m.folder(),
		"--initial-cluster", m.name+"="+m.peer, "--initial-advertise-peer-urls", m.peer)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.etcd.t.Fatalf("etcdctl snapshot restore: %v\n%s", err, out)
	}
}

// Ready waits until a majority answers through the first member that runs.
func (e *Etcd) Ready() {
	e.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		for _, m := range e.Members {
			if m.cmd != nil && m.healthy() {
				return
			}
		}
		if time.Now().After(end) {
			e.t.Fatal("the etcd does not become ready within a minute")
		}
	}
}

func (m *Member) healthy() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.info+"/health", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body) // what is missing makes it unhealthy
	return strings.Contains(string(body), `"true"`)
}

// Ctl runs etcdctl against the members that run, as an operator does.
func (e *Etcd) Ctl(args ...string) string {
	e.t.Helper()
	var urls []string
	for _, m := range e.Members {
		if m.cmd != nil {
			urls = append(urls, m.URL)
		}
	}
	cmd := exec.CommandContext(e.t.Context(), "etcdctl", append(append([]string{"--endpoints", strings.Join(urls, ",")}, e.ctl...), args...)...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.t.Fatalf("etcdctl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// Revision is how far the first member has come, as its metrics tell; 0 if it does not.
func (e *Etcd) Revision() int {
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.Members[0].info+"/metrics", nil)
	if err != nil {
		return 0
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body) // what is missing shows no revision
	_, after, _ := strings.Cut(string(body), "\netcd_debugging_mvcc_current_revision ")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseFloat(line, 64)
	if err != nil {
		return 0
	}
	return int(n)
}

// Proxy is the way of one client to one address.
type Proxy struct {
	URL string
	ln  net.Listener
	to  string

	mu      sync.Mutex // guards what follows
	held    bool
	closed  bool
	delay   time.Duration
	changed chan struct{} // closed and replaced when held changes
	conns   map[net.Conn]struct{}
	wg      sync.WaitGroup
}

// NewProxy listens for one client. It ends with the test.
func NewProxy(t testing.TB, url string) *Proxy {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{URL: "http://" + ln.Addr().String(), ln: ln, to: strings.TrimPrefix(url, "http://"), changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.serve)
	t.Cleanup(p.close)
	return p
}

// Hold has the proxy swallow everything, both ways, and close nothing; what it swallows is late, not lost, as with TCP.
func (p *Proxy) Hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = on
	close(p.changed)
	p.changed = make(chan struct{})
}

// Delay holds each piece back for d.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Cut closes all connections there are.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) close() {
	p.ln.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Hold(false)
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) serve() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.carry(c) })
	}
}

func (p *Proxy) carry(c net.Conn) {
	defer c.Close()
	s, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", p.to)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	p.conns[c], p.conns[s] = struct{}{}, struct{}{}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return
	}
	var wg sync.WaitGroup
	pump := func(to, from net.Conn) {
		defer to.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			p.await()
			if n > 0 {
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	wg.Go(func() { pump(s, c) })
	wg.Go(func() { pump(c, s) })
	wg.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, s)
	p.mu.Unlock()
}

// await waits while everything is held, and for the delay.
func (p *Proxy) await() {
	for {
		p.mu.Lock()
		held, delay, changed := p.held, p.delay, p.changed
		p.mu.Unlock()
		if !held {
			time.Sleep(delay)
			return
		}
		<-changed
	}
}
