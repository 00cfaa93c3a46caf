package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"scomconnector/cluster/state"
)

// A node says that its file differs from what is in use, and stops saying so once the file has been applied.
func TestAFileThatDiffersIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "SCOMConnectorConfig.json")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	n := &node{opts: Options{ClusterFile: path, ClusterText: []byte("one\n")}}
	version := func(v uint64, text string) state.ConfigVersion {
		return state.ConfigVersion{Version: v, Text: []byte(text)}
	}
	check := func(when string, c state.ConfigVersion, want bool) {
		t.Helper()
		if got := n.differs(c); got != want {
			t.Errorf("%s: differs is %v, want %v", when, got, want)
		}
	}
	check("no settings yet", version(0, ""), false)
	check("its own file seeded them", version(1, "one"), false)
	put("two")
	check("edited, not applied", version(1, "one"), false) // said at the next start
	check("applied", version(2, "two"), false)
	check("somebody else applied another", version(3, "three"), true)
	check("and it stays so", version(3, "three"), true)
	put("three\n")
	check("what is in use was taken over into the file", version(3, "three"), false)
	put("four")
	check("applied again", version(4, "four"), false)
	check("somebody else applied another again", version(5, "five"), true)
	put("two")
	check("the file was put back", version(6, "two"), false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("the file is gone: what it was counts", version(7, "two"), false)
	n = &node{opts: Options{ClusterFile: path}}
	put("one")
	check("a node without a file", version(2, "two"), false)
	check("and later", version(3, "three"), false)
}
