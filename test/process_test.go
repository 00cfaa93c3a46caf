package test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
	"scomconnector/test/freeport"
)

// binary builds the real program once for all tests of a run.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "scomconnector-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "scomconnector")
	out, err := exec.Command("go", "build", "-o", path, "scomconnector/cmd/scomconnector").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// real reports whether nothing may be skipped: CI installs what the tests of real components need.
func real() bool { return os.Getenv("SCOMCONNECTOR_REAL") == "1" }

// need skips the test where a real component is missing, or fails it where none may be.
func need(t testing.TB, have bool, what string) {
	t.Helper()
	if have {
		return
	}
	if real() {
		t.Fatalf("SCOMCONNECTOR_REAL=1, and there is no %s", what)
	}
	t.Skipf("needs %s", what)
}

// needDocker has a switch of its own: not every machine that has the other components can run an engine. With it set, whatever the engine
// refuses fails the test.
func needDocker(t testing.TB) {
	t.Helper()
	if os.Getenv("SCOMCONNECTOR_DOCKER") != "1" {
		t.Skip("needs a Docker engine: set SCOMCONNECTOR_DOCKER=1")
	}
}

// plant is simulators on loopback, and processes of the real binary around them.
type plant struct {
	t       testing.TB
	dir     string
	group   *scomtest.Group
	console *scomtest.Console
	lam     *publishertest.LAM
	more    string // further keys of the cluster's settings
	node    string // further keys of each node.json
	procs   []*process
	// stopFlow ends a steady flow of alerts where one was begun; it may be called twice.
	stopFlow func()
}

// process is one node as an operating system sees it.
type process struct {
	plant *plant
	id    string
	dir   string
	url   string
	runs  string // another program than the one that is tested
	cmd   *exec.Cmd
	done  chan struct{}
	err   error // valid once done is closed
	log   *os.File
	// On a machine of its own: what runs there, and how it is reached from where the test is. nil: this machine.
	inside func(func() error) error
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	here   func(ctx context.Context, network, addr string) (net.Conn, error) // from that machine itself
	deaf   bool                                                              // paused, or cut off: to ask it would only take time
}

type plantOptions struct {
	nodes int
	node  string // further keys of each node.json; Timing is fast without them
	scom  scomtest.Options
	lam   publishertest.Options
	front func(http.Handler) http.Handler // between the node and the LAM
	more  string
}

func newPlant(t testing.TB, o plantOptions) *plant {
	t.Helper()
	p := &plant{t: t, dir: t.TempDir(), group: scomtest.New(o.scom), lam: publishertest.New(o.lam), more: o.more, node: o.node}
	p.console = p.group.Console(scomtest.ConsoleOptions{})
	scom, lam := listen(t), listen(t)
	p.console.Serve(scom)
	t.Cleanup(p.console.Close)
	t.Cleanup(p.lam.Close)
	if o.front == nil {
		p.lam.Serve(lam)
	} else {
		server := &http.Server{Handler: o.front(p.lam), ReadHeaderTimeout: time.Minute}
		go server.Serve(lam)
		t.Cleanup(func() { server.Close() })
	}
	p.write(onLoopback(t, max(o.nodes, 1)), scom.Addr().String(), lam.Addr().String())
	t.Cleanup(p.end)
	return p
}

// place is where a node is found.
type place struct{ listen, api, cluster string }

func onLoopback(t testing.TB, nodes int) []place {
	var all []place
	for range nodes {
		api := freeport.Take(t)
		all = append(all, place{listen: api, api: api, cluster: freeport.Take(t)})
	}
	return all
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// write makes the nodes' folders with both files.
func (p *plant) write(places []place, scom, lam string) {
	p.t.Helper()
	roles := []string{"Primary", "Secondary", "Witness"}
	if p.node == "" {
		p.node = `"Timing": "fast",`
	}
	var members []string
	for i, at := range places {
		members = append(members, fmt.Sprintf(`{"NodeID": "n%d", "Role": %q, "ClusterAddress": %q, "Url": "http://%s"}`, i+1, roles[i], at.cluster, at.api))
	}
	for i, at := range places {
		pr := &process{plant: p, id: fmt.Sprintf("n%d", i+1), url: "http://" + at.api}
		pr.dir = filepath.Join(p.dir, pr.id)
		if err := os.MkdirAll(pr.dir, 0o700); err != nil {
			p.t.Fatal(err)
		}
		node := fmt.Sprintf(`{"NodeID": %q, "Role": %q, "ListenAddress": %q, "AdvertiseUrl": %q, "ClusterAddress": %q, "DataDir": "data", %s "Members": [%s]}`,
			pr.id, roles[i], at.listen, pr.url, at.cluster, p.node, strings.Join(members, ", "))
		cluster := fmt.Sprintf(`{
			"ScomServers": [{"ScomAddressHost": "sim", "Url": "http://%s/OperationsManager", "Domain": "CONTOSO", "UserId": "svc-moogsoft", "Password": "plain:simulated"}],
			"MoogServers": [{"MoogUrl": "http://%s/events/scom"}], %s "ConnectorName": "test"}`, scom, lam, p.more)
		p.put(filepath.Join(pr.dir, "node.json"), node)
		p.put(filepath.Join(pr.dir, "SCOMConnectorConfig.json"), cluster)
		p.procs = append(p.procs, pr)
	}
}

func (p *plant) put(path, text string) {
	p.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// end kills what still runs, and shows the logs of a failed test.
func (p *plant) end() {
	for _, pr := range p.procs {
		pr.kill()
		if p.t.Failed() {
			b, _ := os.ReadFile(filepath.Join(pr.dir, "log"))
			p.t.Logf("the last of %s's log:\n%s", pr.id, b[max(0, len(b)-6000):])
		}
	}
}

// start runs the real binary; args are those of `run` beyond the files.
func (pr *process) start() {
	t := pr.plant.t
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	pr.begin(exec.Command(cmp.Or(pr.runs, bin), "run", "--node", filepath.Join(pr.dir, "node.json")))
}

func (pr *process) begin(cmd *exec.Cmd) {
	t := pr.plant.t
	t.Helper()
	log, err := os.OpenFile(filepath.Join(pr.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	start := cmd.Start
	if pr.inside != nil {
		start = func() error { return pr.inside(cmd.Start) }
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	pr.cmd, pr.log, pr.done = cmd, log, make(chan struct{})
	go func(done chan struct{}) {
		pr.err = cmd.Wait()
		log.Close()
		close(done)
	}(pr.done)
}

// kill ends the process at once, as a power cut does to it, and waits until it is gone.
func (pr *process) kill() {
	if pr.cmd == nil {
		return
	}
	pr.cmd.Process.Kill()
	<-pr.done
	pr.cmd = nil
}

// stop ends the process in good order.
func (pr *process) stop() error {
	pr.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-pr.done:
		pr.cmd = nil
		return pr.err
	case <-time.After(12 * time.Second):
		pr.kill()
		return errors.New("still running 12 s after SIGTERM")
	}
}

// exit waits for the process to end by itself and returns what it has printed.
func (pr *process) exit(limit time.Duration) (code int, log string) {
	t := pr.plant.t
	t.Helper()
	select {
	case <-pr.done:
	case <-time.After(limit):
		pr.kill()
		t.Fatalf("%s was to end by itself within %v", pr.id, limit)
	}
	pr.cmd = nil
	b, _ := os.ReadFile(filepath.Join(pr.dir, "log"))
	var ee *exec.ExitError
	if errors.As(pr.err, &ee) {
		return ee.ExitCode(), string(b)
	}
	return 0, string(b)
}

// await polls a condition of real time; the limit is for machines that are busy, not a promise.
func await(t testing.TB, what string, limit time.Duration, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// leads asks /leader.
func (pr *process) leads() bool {
	if pr.cmd == nil || pr.deaf {
		return false
	}
	code, _, err := pr.get("/leader")
	return err == nil && code == http.StatusOK
}

func (pr *process) get(path string) (int, string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	if pr.dial != nil {
		client.Transport = &http.Transport{DialContext: pr.dial, DisableKeepAlives: true}
	}
	resp, err := client.Get(pr.url + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		return 0, "", err
	}
	return resp.StatusCode, b.String(), nil
}

func (pr *process) status() (v1.Status, error) {
	var s v1.Status
	_, body, err := pr.get("/api/v1/status")
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	return s, err
}

// missing lists what the LAM lacks of what SCOM shows now.
func (p *plant) missing() []string {
	var out []string
	for _, a := range p.group.Snapshot() {
		e, ok := p.lam.Latest(strings.ToLower(a.ID))
		if ok && e.ResolutionState == a.ResolutionState {
			if at, err := time.Parse(time.RFC3339Nano, e.LastModified); err == nil && at.UnixMilli() == a.LastModified.UnixMilli() {
				continue
			}
		}
		out = append(out, fmt.Sprintf("%s of %v, state %d (the LAM has %+v)", a.ID, a.LastModified, a.ResolutionState, e.LastModified))
	}
	return out
}

// awaitAll waits until nothing is missing.
func (p *plant) awaitAll(limit time.Duration) {
	p.t.Helper()
	var missing []string
	defer func() {
		if p.t.Failed() && len(missing) > 0 {
			p.t.Logf("%d missing, such as %s", len(missing), missing[0])
		}
	}()
	await(p.t, "everything that SCOM shows is at the LAM", limit, func() bool {
		missing = p.missing()
		return len(missing) == 0
	})
}

// alertOf is an alert of a name that needs nothing else.
func alertOf(name string) scomtest.Alert {
	return scomtest.Alert{Name: name, Severity: scomtest.Error, Priority: 1, PrincipalName: "srv.contoso.com"}
}
