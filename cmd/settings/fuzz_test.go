package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever a stranger writes into a file: no panic, bounded messages, and nothing that is plain is shown.
func FuzzParseCluster(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "original.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(goodCluster))
	f.Add([]byte(manyServers))
	for _, b := range brokenClusters {
		f.Add([]byte(with(b.new)))
	}
	f.Add([]byte(`{"` + strings.Repeat("x.", 20000) + `": 1, "Mapping": {"` + strings.Repeat("y[", 5000) + `": 1}}`))
	f.Add([]byte(strings.Repeat("[", MaxFileBytes)))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, faults := ParseCluster("f", text, Options{Dir: "/d", GOOS: "linux"})
		checkMessages(t, text, faults, c.Warnings)
		if len(faults) == 0 {
			if len(c.ScomServers) == 0 || len(c.Destinations()) == 0 || c.MinPollCycleTime > c.AlertPollCycleTime || c.LowerTimeoutBound > c.UpperTimeoutBound {
				t.Errorf("taken as good: %+v", c)
			}
			if _, again := ParseCluster("f", Masked(text), Options{}); hasOtherThanSecrets(again) {
				t.Errorf("masking changes more than secrets: %v", again)
			}
		}
		if out, _, err := Import(text, nil); err == nil {
			if _, _, err := Import(out, nil); err != nil {
				t.Errorf("what Import made cannot be imported: %v\n%s", err, out)
			}
		}
	})
}

func hasOtherThanSecrets(faults Faults) bool {
	for _, f := range faults {
		if !strings.Contains(f.Accepted, acceptedSecret) {
			return true
		}
	}
	return false
}

func FuzzParseNode(f *testing.F) {
	f.Add([]byte(goodNode))
	for _, b := range brokenNodes {
		f.Add([]byte(b.new))
		f.Add([]byte(strings.Replace(goodNode, b.old, b.new, 1)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, faults := ParseNode("f", text, "/d")
		checkMessages(t, text, faults, n.Warnings)
		if len(faults) > 0 {
			return
		}
		self, ok := n.Self()
		if !ok || self.Role != n.Role || n.DataDir == "" || n.AdvertiseUrl == "" || len(n.Members) > 3 {
			t.Errorf("taken as good: %+v", n)
		}
	})
}

// maxMessage is what a person still reads as one line, generously.
const maxMessage = 1200

func checkMessages(t *testing.T, text []byte, faults Faults, warnings Warnings) {
	t.Helper()
	if len(faults) > maxFaults || len(warnings) > maxFaults {
		t.Errorf("%d faults and %d warnings", len(faults), len(warnings))
	}
	lines := 1 + strings.Count(string(text), "\n")
	for _, m := range append(append([]Fault{}, faults...), warnings...) {
		if m.Line < 0 || m.Line > lines {
			t.Errorf("line %d of %d: %s", m.Line, lines, m)
		}
		if all := m.String(); len(all) > maxMessage {
			t.Errorf("a message of %d bytes: %.200s", len(all), all)
		}
	}
}
