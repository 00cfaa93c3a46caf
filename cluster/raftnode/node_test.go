package raftnode

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
	}
	debug.SetGCPercent(400) // small heaps, thrown away one after the other: a third of the time was spent on them
	os.Exit(m.Run())
}

const childEnv = "SCOMCONNECTOR_RAFTNODE_CHILD"

// child commits for ever and prints the number of each entry once it is committed.
func child(dir string) {
	n, err := Open(soloConfig(dir), hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	err = n.Run(context.Background(), func(ctx context.Context, term cluster.Term) error {
		for i := count(n); ; i++ {
			if i%50 == 49 {
				n.inst.Load().raft.Snapshot() // its future is left alone: a kill may fall into it
			}
			res, err := term.Propose(ctx, entryOf(i))
			if err != nil || res.Err != nil {
				return errors.Join(err, res.Err)
			}
			fmt.Println(i)
		}
	})
	fmt.Println("error:", err)
	os.Exit(1)
}

func TestKillLosesNothingThatWasCommitted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	last := -1
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for seen := 0; lines.Scan(); seen++ {
			i, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("round %d: %s", round, lines.Text())
			}
			if i < last {
				t.Fatalf("round %d goes on at %d, %d was committed", round, i, last)
			}
			last = i
			if seen == 20+37*round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}
	solo(t, dir, func(n *Node, _ cluster.Term) {
		if got := count(n); got < last+1 {
			t.Errorf("%d entries are left, %d were committed", got, last+1)
		}
	})
}

func TestUnknownCommandStopsTheNodeBeforeItDiverges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	start := func() (*Node, chan error, chan cluster.Term) {
		n, err := Open(soloConfig(dir), hclog.NewNullLogger(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		done, leading := make(chan error, 1), make(chan cluster.Term, 1)
		go func() {
			done <- n.Run(t.Context(), func(ctx context.Context, term cluster.Term) error {
				leading <- term
				<-ctx.Done()
				return nil
			})
		}()
		return n, done, leading
	}
	n, done, leading := start()
	term := <-leading
	commitN(t, term, 0, 10)
	unknown, err := state.Encode(state.Command{Token: term.Token, Op: entryOf(11)})
	if err != nil {
		t.Fatal(err)
	}
	unknown[1] = 0xEE // the kind
	n.inst.Load().raft.Apply(unknown, time.Second)
	for range 2 {
		if err := <-done; !errors.Is(err, errNewer) || !strings.Contains(err.Error(), "upgrade this node") {
			t.Errorf("Run: got %v, want errNewer", err)
		}
		if err := n.inst.Load().raft.Snapshot().Error(); err == nil {
			t.Error("a snapshot was taken")
		}
		n.Close()
		n, done, _ = start() // it finds the same again
	}
	<-done
	n.Close()
}

func TestNodeOfMixedFoldersRefusesToServe(t *testing.T) {
	dir, other := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for _, d := range []string{dir, other} {
		solo(t, d, func(_ *Node, term cluster.Term) { commitN(t, term, 0, 3) })
	}
	if o, err := Owner(other); err != nil || o.NodeID != soloConfig(other).NodeID || o.ClusterID == "" {
		t.Errorf("whose folder it is: got %+v, %v", o, err)
	}
	data, err := os.ReadFile(filepath.Join(other, "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "identity.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := Open(soloConfig(dir), hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	err = n.Run(t.Context(), func(ctx context.Context, _ cluster.Term) error { <-ctx.Done(); return nil })
	wantErr(t, err, "two folders were mixed")
}

func TestStoreIsMeasuredFromTheStart(t *testing.T) {
	reg := prometheus.NewRegistry()
	n, err := Open(soloConfig(filepath.Join(t.TempDir(), "data")), hclog.NewNullLogger(), reg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if got, err := testutil.GatherAndCount(reg, "scomconnector_store_write_duration_seconds"); err != nil || got != 1 {
		t.Errorf("series: got %d, %v, want 1", got, err)
	}
}

func TestLogGrowthIsBoundedBySnapshots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	solo(t, dir, func(n *Node, term cluster.Term) {
		text := make([]byte, state.MaxConfigText)
		for i := range 300 { // 18 MB of log
			res, err := term.Propose(t.Context(), state.SetConfig{Expect: uint64(i), Text: text, At: time.Now()})
			if err != nil || res.Err != nil {
				t.Fatal(err, res.Err)
			}
		}
	})
	info, err := os.Stat(filepath.Join(dir, "raft", "raft.db"))
	if err != nil || info.Size() > 40<<20 {
		t.Errorf("size of the store: got %v, %v, want at most 40 MB", info.Size(), err)
	}
}

func TestEndedStartIsFinishedByTheNextOne(t *testing.T) {
	// What a kill leaves between the making of the store and that of the identity.
	dir := filepath.Join(t.TempDir(), "data")
	d, err := openDisk(dir, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := d.open(); err != nil {
		t.Fatal(err)
	}
	d.close()
	if err := os.WriteFile(filepath.Join(dir, "raft", "raft.db.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	solo(t, dir, func(_ *Node, term cluster.Term) { commitN(t, term, 0, 3) })
	// What it leaves while raft removes an old snapshot, or makes a new one.
	for _, name := range []string{"1-1-1", "9-9-9.tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, "raft", "snapshots", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	solo(t, dir, func(n *Node, _ cluster.Term) {
		if got := count(n); got != 3 {
			t.Errorf("entries: got %d, want 3", got)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var g greeting
		if err := port.ReadFrame(strings.NewReader(string(data)), &g); err == nil && len(data) < 4 {
			t.Error("a frame without a length was read")
		}
	})
}

func FuzzIdentity(f *testing.F) {
	whole, err := newIdentity("primary").encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := decodeIdentity(data)
		if err != nil {
			return
		}
		if _, err := json.Marshal(id); err != nil {
			t.Error(err)
		}
	})
}
