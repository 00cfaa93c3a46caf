package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scomconnector/publisher/publishertest"
)

// built is the program as a release of that version.
func built(t testing.TB, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scomconnector-"+version)
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", path, "scomconnector/cmd/scomconnector").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// A new version is rolled through a cluster under flow, in the order that upgrade-check says: nothing is lost, nothing comes
// twice, and Moogsoft does not notice.
func TestARollingUpgradeIsNotNoticed(t *testing.T) {
	long(t)
	for shape, nodes := range map[string]int{"pair": 2, "pair with a witness": 3} {
		t.Run(shape, func(t *testing.T) {
			p := newPlant(t, plantOptions{nodes: nodes, node: `"Timing": "lan",`, more: haste})
			v1, v2 := built(t, "v1.0.0"), built(t, "v2.0.0")
			for _, pr := range p.procs {
				pr.runs = v1
			}
			p.works()
			since := time.Now()
			var order []string
			for next := p.upgradeCheck(v2); next != ""; next = p.upgradeCheck(v2) {
				if len(order) == nodes {
					t.Fatalf("after %v it says %s", order, next)
				}
				order = append(order, next)
				p.replace(next, v2)
			}
			t.Logf("upgraded %v", order)
			if len(order) != nodes || order[nodes-1] != "n1" {
				t.Errorf("upgraded %v, want all, and n1, which led, last", order)
			}
			p.flowsBy(p.assembled())
			p.checkGap(since, gapLimit)
			p.settled(0)
		})
	}
}

// replace stops a node in good order and starts another program in its place.
func (p *plant) replace(id, program string) {
	p.t.Helper()
	for _, pr := range p.procs {
		if pr.id == id {
			if err := pr.stop(); err != nil {
				p.t.Errorf("stop %s: %v", id, err)
			}
			pr.runs = program
			pr.start()
		}
	}
}

// upgradeCheck asks, as an operator does, until it is time: which node is to be stopped next? Empty: none is left.
func (p *plant) upgradeCheck(program string) (next string) {
	p.t.Helper()
	var said string
	defer func() {
		if p.t.Failed() {
			p.t.Log(said)
		}
	}()
	await(p.t, "upgrade-check names a node", 60*time.Second, func() bool {
		for _, pr := range p.procs { // any node will do, if it answers
			out, err := exec.Command(program, "upgrade-check", "--json", "--url", pr.url).Output()
			said = fmt.Sprintf("%s %v", out, err)
			var u struct{ Next string }
			if err == nil && json.Unmarshal(out, &u) == nil {
				next = u.Next
				return true
			}
		}
		return false
	})
	return next
}

// The commands of this machine's node need neither its address nor its token, with a certificate that no authority knows, too.
func TestCommandsFindThisMachinesNode(t *testing.T) {
	p := newPlant(t, plantOptions{nodes: 1, node: `"Auth": {"OperatorTokenFile": "token", "ReadTokenFile": "read"}, "Tls": {"CertFile": "api.crt", "KeyFile": "api.key"},`})
	dir := p.procs[0].dir
	for _, name := range []string{"api", "other"} {
		cert, err := publishertest.SelfSigned(publishertest.Leaf{Hosts: []string{"scomc1.contoso.com"}})
		if err != nil {
			t.Fatal(err)
		}
		p.put(filepath.Join(dir, name+".crt"), string(cert.CertPEM))
		p.put(filepath.Join(dir, name+".key"), string(cert.KeyPEM))
	}
	p.put(filepath.Join(dir, "token"), "s3cret\n")
	p.put(filepath.Join(dir, "read"), "r3ad\n")
	p.procs[0].start()
	node := filepath.Join(dir, "node.json")
	await(t, "the node has settings", 30*time.Second, func() bool {
		code, _ := scomconnector(t, nil, "config", "show", "--node", node)
		return code == 0
	})
	text, err := os.ReadFile(filepath.Join(dir, "SCOMConnectorConfig.json"))
	if err != nil {
		t.Fatal(err)
	}
	p.put(filepath.Join(dir, "new.json"), strings.Replace(string(text), `"ConnectorName": "test"`, `"ConnectorName": "other"`, 1))
	for _, args := range [][]string{{"status"}, {"members"}, {"maintenance"}, {"outbox"}, {"parked", "list"}, {"config", "apply", filepath.Join(dir, "new.json"), "--yes"}} {
		if code, out := scomconnector(t, nil, append(args, "--node", node)...); code != 0 {
			t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
	}
	// Another certificate: somebody else listens there, and gets no token.
	text, err = os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	stranger := filepath.Join(dir, "stranger.json")
	p.put(stranger, strings.Replace(string(text), "api.crt", "other.crt", 1))
	if code, out := scomconnector(t, nil, "status", "--node", stranger); code != 1 || !strings.Contains(out, "another certificate") {
		t.Errorf("a node with another certificate is believed: exit code %d\n%s", code, out)
	}
}
