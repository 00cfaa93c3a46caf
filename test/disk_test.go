package test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hashes of all files below dir, to see that a refused start changed nothing.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A data file cut short is refused with words that say what to do, and nothing is overwritten.
func TestTruncatedDataIsRefusedUntouched(t *testing.T) {
	p := newPlant(t, plantOptions{})
	node := p.procs[0]
	node.start()
	await(t, "the node leads", 30*time.Second, node.leads)
	p.group.Raise(alertOf("one"))
	p.awaitAll(30 * time.Second)
	node.kill()
	db := filepath.Join(node.dir, "data", "raft", "raft.db")
	if err := os.Truncate(db, 3*4096); err != nil { // two meta pages, and a page of what was there
		t.Fatal(err)
	}
	before := hashes(t, filepath.Join(node.dir, "data"))
	node.start()
	code, log := node.exit(20 * time.Second)
	if code != 1 || !strings.Contains(log, db) || !strings.Contains(log, "move") {
		t.Errorf("exit code %d, and the end of the log is\n%s\nwant 1, the file's name and what to do", code, lastLines(log, 5))
	}
	for path, sum := range hashes(t, filepath.Join(node.dir, "data")) {
		if before[path] != sum {
			t.Errorf("the refused start has changed %s", path)
		}
	}
}

// On one of several members the message names the folder to move away; after that the node gets
// everything back from the others.
func TestDamagedMemberRejoinsFromTheOthers(t *testing.T) {
	p := newPlant(t, plantOptions{nodes: 3})
	for _, n := range p.procs {
		n.start()
	}
	await(t, "the Primary leads", 30*time.Second, p.procs[0].leads)
	p.group.Raise(alertOf("one"))
	p.awaitAll(30 * time.Second)
	awaitVoters(t, p.procs[0], 3)
	second := p.procs[1]
	second.kill()
	data := filepath.Join(second.dir, "data")
	if err := os.Truncate(filepath.Join(data, "raft", "raft.db"), 5000); err != nil {
		t.Fatal(err)
	}
	second.start()
	code, log := second.exit(20 * time.Second)
	if code != 1 || !strings.Contains(log, data) || !strings.Contains(log, "move") {
		t.Errorf("exit code %d, and the end of the log is\n%s\nwant 1 and the folder to move away", code, lastLines(log, 5))
	}
	if err := os.Rename(data, data+".damaged"); err != nil {
		t.Fatal(err)
	}
	second.start()
	awaitVoters(t, p.procs[0], 3)
	await(t, "the Secondary knows everything again", 20*time.Second, func() bool {
		s, err := second.status()
		return err == nil && s.Totals.Processed == 1 && s.Config.Version == 1
	})
}

// awaitVoters waits until the leader has so many voters in contact.
func awaitVoters(t testing.TB, leader *process, n int) {
	t.Helper()
	await(t, fmt.Sprintf("%d voters", n), 30*time.Second, func() bool {
		s, err := leader.status()
		voters := 0
		for _, m := range s.Members {
			if m.Voter && time.Since(m.LastContact) < time.Second {
				voters++
			}
		}
		return err == nil && voters == n
	})
}

// A full disk: the running node ends with the reason, a start on it is refused, and once there is
// room everything goes on. Needs root for a small file system.
func TestFullDisk(t *testing.T) {
	need(t, os.Getuid() == 0, "root, to mount a small tmpfs")
	p := newPlant(t, plantOptions{more: `"LowerTimeoutBound": 0.1, "UpperTimeoutBound": 0.5, "MinPollCycleTime": 0.5,`})
	node := p.procs[0]
	data := filepath.Join(node.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", data).CombinedOutput()
	need(t, err == nil, "permission to mount a tmpfs: "+strings.TrimSpace(string(out)))
	t.Cleanup(func() {
		node.kill()
		exec.Command("umount", data).Run()
	})
	node.start()
	await(t, "the node leads", 30*time.Second, node.leads)
	p.group.Raise(alertOf("before"))
	p.awaitAll(30 * time.Second)

	ballast := filepath.Join(data, "ballast")
	fill(t, ballast)
	stop := flow(p.group)
	code, log := node.exit(60 * time.Second)
	stop()
	if code != 1 || !strings.Contains(log, "no space") {
		t.Errorf("exit code %d, and the end of the log is\n%s\nwant 1 and the reason", code, lastLines(log, 8))
	}
	node.start()
	code, log = node.exit(20 * time.Second)
	if code != 1 || !strings.Contains(log, "disk") && !strings.Contains(log, "space") {
		t.Errorf("start on a full disk: exit code %d, and the end of the log is\n%s\nwant 1 and the reason", code, lastLines(log, 5))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	node.start()
	p.awaitAll(60 * time.Second)
}

// fill writes until the file system takes no more.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := 1 << 16; block > 0; {
		if _, err := f.Write(make([]byte, block)); err != nil {
			block /= 16
		}
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
