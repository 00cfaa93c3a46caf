package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
)

// A token is exchanged while the node runs; what is no token leaves the one before in use, and is logged once, without its content.
func TestATokenIsReadAgainWhenItsFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "operator-token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	write("first-one\n")
	now, err := openToken("Auth.OperatorTokenFile", path, hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	want := func(token string) {
		t.Helper()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if got := now(); got != token {
					t.Errorf("got %q, want %q", got, token)
				}
			})
		}
		all.Wait()
	}
	want("first-one")
	write("the-second")
	want("the-second")
	write("\n")
	want("the-second")
	write("\xff\xfet\x00")
	want("the-second")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("the-second")
	write("\xef\xbb\xbfthird \r\n") // as Windows' editors write it
	want("third")
	text := log.String()
	if strings.Count(text, "has changed and is used") != 2 || strings.Count(text, "is empty") != 1 || strings.Count(text, "no such file") > 1 {
		t.Errorf("it logs\n%s", text)
	}
	for _, secret := range []string{"first-one", "the-second", "third"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if got, err := openToken("Auth.ReadTokenFile", "", hclog.NewNullLogger()); got != nil || err != nil {
		t.Errorf("no name: got a token, or %v", err)
	}
	if _, err := openToken("Auth.ReadTokenFile", path+".none", hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "Auth.ReadTokenFile") {
		t.Errorf("no file at the start: got %v", err)
	}
}

// What is the node's own fault stops /healthz; what others must mend stops /readyz alone.
func TestWhatANodeCannotDoByItself(t *testing.T) {
	f := newFakeCluster(t, 2, "secondary", "secondary").seeded("")
	n := nodeOf(f, nil)
	if got := n.failing(); len(got) > 0 {
		t.Errorf("a healthy node: %q", got)
	}
	n.coord = brokenStore{f}
	n.stopping.Store(true)
	want := []string{"this node is stopping", "the store has failed: input/output error"}
	if got := n.failing(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := n.unready(); len(got) < 2 || !slices.Equal(got[:2], want) {
		t.Errorf("and it is not ready for the same reasons: got %q", got)
	}
}

type brokenStore struct{ cluster.Coordinator }

func (brokenStore) Health() cluster.Health { return cluster.Health{StoreFault: "input/output error"} }
