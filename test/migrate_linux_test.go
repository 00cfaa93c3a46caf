package test

import (
	"bufio"

	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/cluster/raftnode"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
	"scomconnector/test/etcdrig"
)

// coordinate writes into each node.json who decides from now on.
func (p *plant) coordinate(from, to string) {
	p.t.Helper()
	for _, pr := range p.procs {
		p.edit(filepath.Join(pr.dir, "node.json"), fmt.Sprintf(`"Coordination": %q`, from), fmt.Sprintf(`"Coordination": %q`, to))
	}
}

// down stops both nodes of a pair in good order, the leader last.
func (p *plant) down() {
	p.t.Helper()
	leader := p.agreed()
	for _, pr := range p.procs {
		if pr != leader {
			if err := pr.stop(); err != nil {
				p.t.Errorf("stop %s: %v", pr.id, err)
			}
		}
	}
	if err := leader.stop(); err != nil {
		p.t.Errorf("stop %s: %v", leader.id, err)
	}
}

// counted is what migrate says of a pipeline.
var counted = regexp.MustCompile(`(?m)^  pipeline .*$`)

// A pair moves from its own log to an etcd and back while alerts go on: nothing is lost, and nothing comes twice.
func TestMigratesToAnEtcdAndBack(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, 1)
	p := newPlant(t, plantOptions{nodes: 2, more: haste, node: fmt.Sprintf(
		`"Coordination": "raft", "Timing": "lan", "Etcd": {"Endpoints": ["%s"], "TTLSeconds": 3},`, strings.Join(e.URLs(), `", "`))})
	primary := p.works()
	migrate := func(pr *process, to string, more ...string) (int, string) {
		return scomconnector(t, nil, append([]string{"migrate", "--to", to, "--node", filepath.Join(pr.dir, "node.json")}, more...)...)
	}
	if code, out := migrate(primary, "etcd", "--yes"); code == 0 || !strings.Contains(out, "stop all of them first") {
		t.Fatalf("while the nodes run: exit code %d\n%s", code, out)
	}
	last := p.procs[1]
	for _, pr := range []*process{primary, last} { // the Primary first: its copy is the older one then
		p.flowsBy(p.newLeader(nil))
		if err := pr.stop(); err != nil {
			t.Errorf("stop %s: %v", pr.id, err)
		}
	}
	if code, out := migrate(primary, "etcd", "--yes"); code == 0 || !strings.Contains(out, "n2 led last and not n1") {
		t.Fatalf("on the one that was stopped first: exit code %d\n%s", code, out)
	}
	if code, out := migrate(p.procs[1], "raft", "--yes"); code == 0 {
		t.Fatalf("to raft on the Secondary:\n%s", out)
	}
	if code, out := migrate(last, "etcd"); code == 0 || !strings.Contains(out, "nobody is there to agree") {
		t.Fatalf("without a word: exit code %d\n%s", code, out)
	}
	code, out := migrate(last, "etcd", "--yes")
	if code != 0 || !counted.MatchString(out) {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	t.Log(out)
	if code, out := migrate(last, "etcd", "--yes"); code == 0 || !strings.Contains(out, "hold a cluster already") {
		t.Fatalf("once more: exit code %d\n%s", code, out)
	}
	_, again := migrate(primary, "raft") // says what it would carry back
	if want, got := counted.FindString(out), counted.FindString(again); got != want {
		t.Errorf("what was carried over was %q, and reads back as %q", want, got)
	}

	p.coordinate("raft", "etcd")
	for _, pr := range p.procs {
		pr.start()
	}
	p.flowsBy(p.agreed())
	p.down()

	if code, out := migrate(primary, "raft", "--yes"); code == 0 || !strings.Contains(out, "move its identity.json") {
		t.Fatalf("over the old folder: exit code %d\n%s", code, out)
	}
	for _, pr := range p.procs {
		old := filepath.Join(pr.dir, "old")
		if err := os.Mkdir(old, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"identity.json", "raft"} {
			if err := os.Rename(filepath.Join(pr.dir, "data", name), filepath.Join(old, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if code, out = migrate(primary, "raft", "--yes"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	t.Log(out)
	p.coordinate("etcd", "raft")
	for _, pr := range p.procs {
		pr.start()
	}
	leader := p.agreed()
	if s, err := leader.status(); err != nil || s.Epoch < 3 {
		t.Errorf("the epoch is %v, %v; want 3 at least", s.Epoch, err)
	}
	p.flowsBy(leader)
	p.settled(0)
}

// carried is all that migrate says of what it read, but for where it goes.
var carried = regexp.MustCompile(`(?m)^  (pipeline|close requests|settings).*$`)

// A full state moves to an etcd with TLS and users, and back into an empty folder, each time after a run that was killed half-way.
func TestMigratesAFullStateAfterAKill(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	const requests = 5000
	ca := etcdrig.NewAuthority(t, "etcd ca")
	cert, key := ca.Issue("connector")
	e := etcdrig.StartTLS(t, ca)
	for _, args := range [][]string{
		{"user", "add", "root:root"}, {"user", "grant-role", "root", "root"},
		{"role", "add", "ours"}, {"role", "grant-permission", "ours", "--prefix=true", "readwrite", "/ours/"}, {"user", "add", "node:right"}, {"user", "grant-role", "node", "ours"},
		{"auth", "enable"},
	} {
		e.Ctl(args...)
	}
	p := newPlant(t, plantOptions{more: haste, node: fmt.Sprintf(`"Coordination": "raft", "Timing": "lan",
		"Etcd": {"Endpoints": ["%s"], "Prefix": "/ours/", "TTLSeconds": 3, "User": "node", "Password": "plain:right", "CaFile": %q, "CertFile": %q, "KeyFile": %q},`, e.URLs()[0], ca.CAFile, cert, key)})
	p.console.Close() // SCOM is away, so that the close requests wait
	pr := p.procs[0]
	p.fill(pr, requests)
	pr.start()
	await(t, "it leads", 30*time.Second, pr.leads)
	if err := pr.stop(); err != nil {
		t.Fatal(err)
	}
	args := func(to string) []string {
		return []string{"migrate", "--yes", "--to", to, "--node", filepath.Join(pr.dir, "node.json")}
	}

	killed := p.killedAt(args("etcd"), func() bool { return e.Revision() > requests/2 })
	if killed != "" {
		t.Fatalf("it ended before it was killed:\n%s", killed)
	}
	if code, out := scomconnector(t, nil, args("raft")...); code == 0 || !strings.Contains(out, "hold no cluster") {
		t.Fatalf("what is half written counts: exit code %d\n%s", code, out)
	}
	code, there := scomconnector(t, nil, args("etcd")...)
	if code != 0 || !strings.Contains(there, fmt.Sprintf("%d wait", requests)) || !strings.Contains(there, "1000 parked") {
		t.Fatalf("exit code %d\n%s", code, there)
	}
	t.Log(there)

	if err := os.Rename(filepath.Join(pr.dir, "data"), filepath.Join(pr.dir, "old")); err != nil {
		t.Fatal(err)
	}
	first := p.killedAt(args("raft"), func() bool {
		_, err := os.Stat(filepath.Join(pr.dir, "data", "raft", "raft.db"))
		return err == nil
	})
	if first == "" {
		code, first = scomconnector(t, nil, args("raft")...)
		if code != 0 {
			t.Fatalf("once more: exit code %d\n%s", code, first)
		}
	}
	t.Log(first)
	if want, got := carried.FindAllString(there, -1), carried.FindAllString(first, -1); fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("what was carried over was\n%q\nand comes back as\n%q", want, got)
	}
	pr.start()
	await(t, "it leads with all of it", 30*time.Second, func() bool {
		s, err := pr.status()
		return err == nil && pr.leads() && s.Outbox.Pending == requests && s.Totals.Parked >= 1000
	})
}

// killedAt runs the program and kills it once at is true; what it printed if it ended before that, by itself and well.
func (p *plant) killedAt(args []string, at func() bool) string {
	p.t.Helper()
	bin, err := binary()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.CommandContext(p.t.Context(), bin, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	printed := make(chan string, 1)
	go func() {
		var all []string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			all = append(all, lines.Text())
		}
		printed <- strings.Join(all, "\n")
	}()
	await(p.t, "there is something to kill", time.Minute, func() bool {
		select {
		case text := <-printed:
			printed <- text
			return true
		default:
			return at()
		}
	})
	cmd.Process.Kill() //nolint:errcheck // it may have ended
	text := <-printed
	if err := cmd.Wait(); err == nil {
		return text
	}
	return ""
}

// fill puts into the node's folder, which is empty, so many waiting close requests, as many parked alerts as there may be, and
// some of everything else.
func (p *plant) fill(pr *process, requests int) {
	p.t.Helper()
	text := p.read(filepath.Join(pr.dir, "SCOMConnectorConfig.json"))
	at := time.Now().Add(-time.Hour).UTC()
	epoch := state.Epoch{Number: 1, Node: pr.id}
	s := state.New()
	do := func(op state.Op) {
		p.t.Helper()
		b, err := state.Encode(state.Command{Token: state.Token{Epoch: epoch, Term: 2}, Op: op})
		if err != nil {
			p.t.Fatal(err)
		}
		if res, _, err := s.Apply(0, 0, b); err != nil || res.Err != nil {
			p.t.Fatalf("%T: %v, %v", op, err, res.Err)
		}
	}
	number := func(n int) (id alert.ID) {
		copy(id[:], fmt.Sprintf("%08x", n))
		return id
	}
	do(state.TermStart{Node: pr.id, ClusterID: "0123456789abcdef0123456789abcdef", Cause: "formed", Reason: "the cluster was formed", At: at})
	do(state.SetManagementGroup{Name: "MG1"})
	do(state.SetConfig{Text: text, Author: "anna", At: at})
	for i := range 100 {
		now := alert.MillisOf(at.Add(time.Duration(i) * time.Second))
		c := state.Commit{Pipeline: "alerts/default", Start: i == 0, Cursor: now, Floor: now - 1000}
		for k := range 200 {
			c.Sent = append(c.Sent, alert.Version{ID: number(i*1000 + k), LastModified: now})
		}
		for k := range 10 {
			v := alert.Version{ID: number(i*1000 + 500 + k), LastModified: now}
			c.Handled = append(c.Handled, v)
			c.Parked = append(c.Parked, state.Parked{Key: v.ID, Version: v, At: at, Reason: "refused", LAM: "lam", Status: 400, Answer: "no", Payload: make([]byte, 1000)})
		}
		do(c)
	}
	for i := range requests + 5 {
		do(state.Accept{Request: state.Request{ID: fmt.Sprintf("%016x", (i*7919+13)%99991), Alert: number(500_000 + i), State: 255, Comment: "closed", From: "moogsoft", Node: pr.id, At: at}, MaxEntries: 100_000, MaxBytes: 64 << 20})
	}
	for i := range 5 {
		do(state.Settle{At: at, Settled: []state.Settlement{{ID: fmt.Sprintf("%016x", (i*7919+13)%99991), Outcome: state.Refused, Reason: "no such alert"}}})
	}
	m := cluster.Member{NodeID: pr.id, Role: cluster.Primary, ClusterAddress: "127.0.0.1:8086"}
	cfg := raftnode.Config{NodeID: pr.id, Role: m.Role, Members: []cluster.Member{m}, DataDir: filepath.Join(pr.dir, "data"), Version: "test"}
	if err := raftnode.Import(cfg, hclog.NewNullLogger(), s, state.Epoch{Number: 2, Node: pr.id}); err != nil {
		p.t.Fatal(err)
	}
}
