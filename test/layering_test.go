package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floors says on which floor each package lives. An import may only go down; within one floor it is
// allowed only along the arrows below. A package that is missing here fails the test: it needs a home.
var floors = map[string]int{
	"poller/alert":          0,
	"cluster/state":         1,
	"poller/normalise":      1,
	"cluster":               2,
	"cluster/port":          2,
	"cluster/datadir":       2,
	"cluster/raftnode":      2,
	"cluster/etcdnode":      2,
	"poller":                2,
	"poller/scom":           2,
	"publisher":             2,
	"api/v1":                3,
	"api":                   3,
	"api/client":            3,
	"cmd/settings":          4,
	"cmd/settings/pki":      4,
	"cmd/settings/scaffold": 4,
	"cmd/journal":           4,
	"cmd/daemon":            4,
	"cmd/service":           4,
	"cmd/doctor":            4,
	"cmd/scomconnector":     5,
	"deploy/release":        5,
}

// sideways are the arrows allowed within a floor.
var sideways = map[string][]string{
	"cluster/port":          {"cluster"},
	"cluster/raftnode":      {"cluster", "cluster/port", "cluster/datadir"},
	"cluster/etcdnode":      {"cluster", "cluster/port", "cluster/datadir"},
	"api":                   {"api/v1"},
	"api/client":            {"api/v1"},
	"cmd/settings/scaffold": {"cmd/settings", "cmd/settings/pki"},
	"cmd/daemon":            {"cmd/settings"},
	"cmd/doctor":            {"cmd/daemon", "cmd/settings"},
}

// fakes may be imported by tests and by the demo, and import nothing of what they fake.
var fakes = []string{"poller/scom/scomtest", "publisher/publishertest", "cluster/clustertest", "test", "test/pipenet", "test/etcdrig", "test/freeport", "test/logbuf"}

// fakeMayImport are exceptions to "nothing of ours".
var fakeMayImport = map[string][]string{
	"cluster/clustertest": {"cluster", "cluster/state", "cluster/raftnode", "poller/alert", "test/pipenet"},
	"test/pipenet":        {},
	"test/etcdrig":        {"test/freeport"},
	"test/freeport":       {},
	"test/logbuf":         {},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "scomconnector/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestArrowsPointDown(t *testing.T) {
	all := packages(t)
	if len(all) < len(floors) {
		t.Errorf("go list shows %d packages, the floors name %d", len(all), len(floors))
	}
	for _, p := range all {
		from := strings.TrimPrefix(p.ImportPath, "scomconnector/")
		if slices.Contains(fakes, from) {
			checkFake(t, from, p.Imports)
			continue
		}
		floor, ok := floors[from]
		if !ok {
			t.Errorf("%s has no floor: add it to floors, or put the code where it belongs", from)
			continue
		}
		for _, imp := range p.Imports {
			checkArrow(t, from, floor, imp)
		}
	}
}

func checkArrow(t *testing.T, from string, floor int, imp string) {
	t.Helper()
	to, ours := strings.CutPrefix(imp, "scomconnector/")
	if !ours {
		if floor == 0 || from == "api/v1" {
			if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
				t.Errorf("%s imports %s: only the standard library is allowed there", from, imp)
			}
		}
		return
	}
	if slices.Contains(fakes, to) {
		if from != "cmd/scomconnector" {
			t.Errorf("%s imports the fake %s: only tests and the demo may", from, to)
		}
		return
	}
	switch target := floors[to]; {
	case target < floor:
	case target == floor && slices.Contains(sideways[from], to):
	case target == floor:
		t.Errorf("%s imports its sibling %s", from, to)
	default:
		t.Errorf("%s (floor %d) imports %s (floor %d): arrows point down", from, floor, to, target)
	}
}

func checkFake(t *testing.T, from string, imports []string) {
	t.Helper()
	if from == "test" {
		return
	}
	for _, imp := range imports {
		to, ours := strings.CutPrefix(imp, "scomconnector/")
		if ours && !slices.Contains(fakeMayImport[from], to) {
			t.Errorf("the fake %s imports %s: it must answer from the facts, not from our code", from, to)
		}
	}
}
