package raftnode

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// soloConfig is a single node on real files.
func soloConfig(dir string) Config {
	return Config{
		NodeID: "primary", Role: cluster.Primary, DataDir: dir, Timing: "fast", Version: "test",
		Members: []cluster.Member{{NodeID: "primary", Role: cluster.Primary, ClusterAddress: "127.0.0.1:8086"}},
	}
}

// solo runs f while a single node leads on the folder.
func solo(t testing.TB, dir string, f func(n *Node, term cluster.Term)) {
	t.Helper()
	n, err := Open(soloConfig(dir), hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	done, leading := make(chan error, 1), make(chan cluster.Term, 1)
	go func() {
		done <- n.Run(t.Context(), func(ctx context.Context, term cluster.Term) error {
			leading <- term
			<-ctx.Done()
			return nil
		})
	}()
	select {
	case term := <-leading:
		f(n, term)
	case err := <-done:
		t.Fatalf("run: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("no term within 30 s")
	}
	if err := n.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	<-done
}

func commitN(t testing.TB, term cluster.Term, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if res, err := term.Propose(t.Context(), entryOf(i)); err != nil || res.Err != nil {
			t.Fatalf("propose entry %d: %v, %v", i, err, res.Err)
		}
	}
}

func entryOf(i int) state.Op {
	return state.Commit{Pipeline: "p", Sent: []alert.Version{{ID: alert.ID{byte(i >> 8), byte(i)}, LastModified: alert.Millis(i + 1)}}}
}

func count(n *Node) int {
	info, _ := n.View().State.Pipeline("p")
	return info.Remembered
}

// sample is a folder with a snapshot, entries before and after it, and nothing running.
func sample(t testing.TB) (dir string, entries int) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	solo(t, dir, func(n *Node, term cluster.Term) {
		commitN(t, term, 0, 200)
		if err := n.inst.Load().raft.Snapshot().Error(); err != nil {
			t.Fatalf("snapshot: %v", err)
		}
		commitN(t, term, 200, 230)
	})
	return dir, 230
}

func hashes(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		got[filepath.ToSlash(strings.TrimPrefix(path, dir))] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// refusedUnchanged opens the folder and reports the refusal; a refused start must change nothing.
func openDamaged(t testing.TB, dir string) error {
	t.Helper()
	before := hashes(t, dir)
	n, err := Open(soloConfig(dir), hclog.NewNullLogger(), prometheus.NewRegistry())
	if err == nil {
		n.Close()
		return nil
	}
	if after := hashes(t, dir); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("the refused start changed the folder: %v became %v; refused for: %v", before, after, err)
	}
	if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "restore") || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("the refusal does not say what to do: %v", err)
	}
	return err
}

// wholeOrRefused: a damaged folder starts with everything, or not at all.
func wholeOrRefused(t testing.TB, dir string, want int, what string) (refused bool) {
	t.Helper()
	if openDamaged(t, dir) != nil {
		return true
	}
	solo(t, dir, func(n *Node, _ cluster.Term) {
		if got := count(n); got != want {
			t.Errorf("%s: started with %d of %d entries", what, got, want)
		}
	})
	return false
}

func TestDamagedFolderStartsWholeOrNotAtAll(t *testing.T) {
	dir, entries := sample(t)
	db := filepath.Join("raft", "raft.db")
	snaps, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*"))
	if err != nil || len(snaps) != 1 {
		t.Fatalf("snapshots: %v, %v", snaps, err)
	}
	snap := strings.TrimPrefix(snaps[0], dir)
	info, err := os.Stat(filepath.Join(dir, db))
	if err != nil {
		t.Fatal(err)
	}
	truncate := func(path string, size int64) func(string) error {
		return func(d string) error { return os.Truncate(filepath.Join(d, path), size) }
	}
	remove := func(path string) func(string) error {
		return func(d string) error { return os.RemoveAll(filepath.Join(d, path)) }
	}
	garbage := func(path string) func(string) error {
		return func(d string) error {
			return os.WriteFile(filepath.Join(d, path), []byte(strings.Repeat("garbage", 5000)), 0o600)
		}
	}
	cases := map[string]func(string) error{
		"raft.db empty":         truncate(db, 0),
		"raft.db one byte":      truncate(db, 1),
		"raft.db garbage":       garbage(db),
		"raft.db gone":          remove(db),
		"raft folder gone":      remove("raft"),
		"snapshots gone":        remove(filepath.Join("raft", "snapshots")),
		"snapshot gone":         remove(snap),
		"meta.json gone":        remove(filepath.Join(snap, "meta.json")),
		"meta.json garbage":     garbage(filepath.Join(snap, "meta.json")),
		"meta.json empty":       truncate(filepath.Join(snap, "meta.json"), 0),
		"state.bin gone":        remove(filepath.Join(snap, "state.bin")),
		"state.bin cut":         truncate(filepath.Join(snap, "state.bin"), 20),
		"state.bin garbage":     garbage(filepath.Join(snap, "state.bin")),
		"identity.json gone":    remove("identity.json"),
		"identity.json empty":   truncate("identity.json", 0),
		"identity.json cut":     truncate("identity.json", 30),
		"identity.json foreign": garbage("identity.json"),
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			d := copyDir(t, dir)
			if err := damage(d); err != nil {
				t.Fatal(err)
			}
			if openDamaged(t, d) == nil {
				t.Error("the node started")
			}
		})
	}
	for size := int64(0); size < info.Size(); size += 4096 {
		d := copyDir(t, dir)
		if err := os.Truncate(filepath.Join(d, db), size+size/4096%4096); err != nil {
			t.Fatal(err)
		}
		wholeOrRefused(t, d, entries, fmt.Sprintf("raft.db cut at %d", size))
	}
}

func TestFlippedBitsStartWholeOrNotAtAll(t *testing.T) {
	dir, entries := sample(t)
	var files []string
	for name := range hashes(t, dir) {
		if name != "/lock" {
			files = append(files, name)
		}
	}
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	work := copyDir(t, dir)
	refused, started := 0, 0
	for i := range 600 {
		name := files[rng.IntN(len(files))]
		path := filepath.Join(work, name)
		whole, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		broken := append([]byte(nil), whole...)
		at := rng.IntN(len(broken))
		broken[at] ^= 1 << rng.IntN(8)
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		d := &disk{dir: work, log: hclog.NewNullLogger()}
		if err := d.verify(); err != nil {
			refused++
			openIsRefused(t, work, i)
		} else {
			started++
			// Starting takes a second, and what was verified must hold what was written.
			if got := replay(t, work); got != entries {
				t.Errorf("seed %d, bit %d of byte %d of %s: %d of %d entries are left", seed, i, at, name, got, entries)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d refused, %d unharmed", refused, started)
	if refused == 0 || started == 0 {
		t.Error("the bits did not fall on both kinds of bytes")
	}
}

// openIsRefused looks at every tenth refusal through the front door.
func openIsRefused(t *testing.T, dir string, i int) {
	t.Helper()
	if i%10 == 0 && openDamaged(t, dir) == nil {
		t.Error("a folder that was found damaged was opened")
	}
}

// replay applies snapshot and log as raft would, and counts what is there.
func replay(t testing.TB, dir string) int {
	t.Helper()
	d := &disk{dir: dir, log: hclog.NewNullLogger()}
	s := state.New()
	snaps, err := d.verifySnapshots()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		f.Seek(headerBytes, 0)
		err = s.Restore(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := openBolt(d.boltPath(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	st := &store{logs: b, stable: b, onFault: func(error) {}}
	last, err := st.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := snaps.newest + 1; i <= last; i++ {
		var l raft.Log
		if err := st.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if _, _, err := s.Apply(l.Term, l.Index, l.Data); err != nil {
			t.Fatal(err)
		}
	}
	info, _ := s.Pipeline("p")
	return info.Remembered
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	dir, _ := sample(t)
	t.Run("in use", func(t *testing.T) {
		solo(t, dir, func(*Node, cluster.Term) {
			_, err := Open(soloConfig(dir), hclog.NewNullLogger(), prometheus.NewRegistry())
			wantErr(t, err, "already running")
		})
	})
	t.Run("another node's folder", func(t *testing.T) {
		c := soloConfig(dir)
		c.NodeID, c.Members[0].NodeID = "other", "other"
		_, err := Open(c, hclog.NewNullLogger(), prometheus.NewRegistry())
		wantErr(t, err, `belongs to node "primary"`)
	})
	t.Run("one of several", func(t *testing.T) {
		d := copyDir(t, dir)
		if err := os.Truncate(filepath.Join(d, "raft", "raft.db"), 5000); err != nil {
			t.Fatal(err)
		}
		c := soloConfig(d)
		c.Timing = "lan"
		c.Members = append(c.Members, cluster.Member{NodeID: "secondary", Role: cluster.Secondary, ClusterAddress: "127.0.0.1:8087"})
		_, err := Open(c, hclog.NewNullLogger(), prometheus.NewRegistry())
		wantErr(t, err, filepath.Join(d, "raft", "raft.db"))
		wantErr(t, err, "move the folder "+d+" away and start: the node rejoins")
	})
	t.Run("not writable", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			if os.Getenv("SCOMCONNECTOR_REAL") == "1" {
				t.Fatal("SCOMCONNECTOR_REAL=1, and who may write to a folder is not in its mode here")
			}
			t.Skip("needs a system where a folder's mode says who may write to it")
		}
		if os.Geteuid() == 0 {
			d := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(d, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(soloConfig(filepath.Join(d, "data")), hclog.NewNullLogger(), prometheus.NewRegistry())
			wantErr(t, err, "use the data folder")
			return
		}
		d := t.TempDir()
		if err := os.Chmod(d, 0o500); err != nil {
			t.Fatal(err)
		}
		_, err := Open(soloConfig(filepath.Join(d, "data")), hclog.NewNullLogger(), prometheus.NewRegistry())
		wantErr(t, err, "cannot be written to")
	})
}

func wantErr(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("got error %v, want one with %q", err, part)
	}
}

func TestFolderIsForItsOwnerAndCountsStarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for want := uint64(1); want <= 3; want++ {
		solo(t, dir, func(n *Node, _ cluster.Term) {
			if got := n.greeting().Start; got != want {
				t.Errorf("start number: got %d, want %d", got, want)
			}
		})
	}
	info, err := os.Stat(dir)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 { // it has no such bits
		t.Errorf("mode of the folder: got %v, %v, want 0700", info.Mode(), err)
	}
}

func FuzzCheckBolt(f *testing.F) {
	dir, _ := sample(f)
	whole, err := os.ReadFile(filepath.Join(dir, "raft", "raft.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), uint64(1))
	f.Add(uint32(4096*3+8), uint64(0xFFFF))
	f.Fuzz(func(t *testing.T, at uint32, x uint64) {
		broken := append([]byte(nil), whole...)
		for i := range 8 {
			broken[(int(at)+i)%len(broken)] ^= byte(x >> (8 * i))
		}
		checkBolt(strings.NewReader(string(broken)), int64(len(broken))) // must return
	})
}
