package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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
