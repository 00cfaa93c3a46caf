package raftnode

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"scomconnector/cluster/state"
)

// damage is found before a start; nothing was changed.
type damage struct {
	path string
	err  error
}

func (d *damage) Error() string { return fmt.Sprintf("%s is damaged: %v", d.path, d.err) }
func (d *damage) Unwrap() error { return d.err }

// explain adds to a damage what to do about it, which depends on whether others have the data, too.
func explain(err error, dir string, members int) error {
	var d *damage
	if !errors.As(err, &d) {
		return err
	}
	if members > 1 {
		return fmt.Errorf("%w; nothing was changed; move the folder %s away and start: the node rejoins from the others", err, dir)
	}
	return fmt.Errorf("%w; nothing was changed; restore the folder %s from a backup, or move it away and start anew: "+
		"the position then starts anew, so all open alerts are sent again, and parked entries, changed settings and close requests not yet carried out are lost", err, dir)
}

// verify reads the whole folder without changing it. It finds what a copy that was cut short, a flipped
// bit, or a well-meant deletion leaves behind.
func (d *disk) verify() error {
	_, found, err := d.load()
	if err != nil {
		return err
	}
	snaps, err := d.verifySnapshots()
	if err != nil {
		return err
	}
	used, err := d.verifyLog(snaps)
	if errors.Is(err, fs.ErrNotExist) {
		if found || snaps != (snapshots{}) {
			return &damage{d.boltPath(), errors.New("it is missing")}
		}
		return nil
	}
	if err != nil {
		return err
	}
	if !found && (used || snaps != (snapshots{})) {
		return &damage{d.identityPath(), errors.New("it is missing")}
	}
	return nil
}

// verifyLog checks the store and that no entry after the snapshot is missing; used: it has entries.
func (d *disk) verifyLog(snaps snapshots) (used bool, err error) {
	f, err := os.Open(d.boltPath())
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if err := checkBolt(f, info.Size()); err != nil {
		return false, &damage{d.boltPath(), err}
	}
	used, err = d.readLog(snaps.newest)
	if err != nil && snaps.broken != nil {
		return false, fmt.Errorf("%w, and %w", snaps.broken, err)
	}
	if err != nil {
		return false, &damage{d.boltPath(), err}
	}
	return used, nil
}

// readLog reads every entry through the store's own seals. bbolt maps the file, and a disk that
// cannot read a page then kills the process, unless it is asked to panic.
func (d *disk) readLog(newest uint64) (used bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot be read: %v", p)
		}
	}()
	b, err := openBolt(d.boltPath(), true)
	if err != nil {
		return false, err
	}
	defer b.Close() //nolint:errcheck // only read
	s := &store{logs: b, stable: b, onFault: func(error) {}}
	return checkLog(s, newest)
}

// checkLog reads all that raft would. newest is the index of the newest whole snapshot.
func checkLog(s *store, newest uint64) (used bool, err error) {
	term, err := optional(s, "CurrentTerm")
	if err != nil {
		return false, err
	}
	if _, err := optional(s, "LastVoteTerm"); err != nil {
		return false, err
	}
	if _, err := s.Get([]byte("LastVoteCand")); err != nil && !errors.Is(err, errNotFound) {
		return false, err
	}
	had, err := optional(s, string(keySnapshot))
	if err != nil {
		return false, err
	}
	if had > newest {
		return false, fmt.Errorf("the snapshot up to entry %d is missing, the newest one there ends at %d", had, newest)
	}
	first, err := s.FirstIndex()
	if err != nil {
		return false, err
	}
	last, err := s.LastIndex()
	if err != nil {
		return false, err
	}
	for i := first; i <= last && last > 0; i++ {
		var l raft.Log
		err := s.GetLog(i, &l)
		if errors.Is(err, raft.ErrLogNotFound) && i <= newest {
			continue // a snapshot was installed over older entries
		}
		if err != nil {
			return false, fmt.Errorf("entry %d: %w", i, err)
		}
		if l.Term > term {
			return false, fmt.Errorf("entry %d is of term %d, but the newest term is %d", i, l.Term, term)
		}
	}
	if last > newest && first > newest+1 {
		return false, fmt.Errorf("entries %d to %d are missing", newest+1, first-1)
	}
	return last > 0, nil
}

func optional(s *store, key string) (uint64, error) {
	v, err := s.GetUint64([]byte(key))
	if errors.Is(err, errNotFound) {
		return 0, nil
	}
	return v, err
}

// snapshots is what verifySnapshots found.
type snapshots struct {
	newest uint64 // index of the newest whole one, 0 without any
	broken error  // of one that is not whole
}

// verifySnapshots looks at every finished snapshot. A broken one is no damage by itself: a kill while
// raft removes an old one leaves half of it. It is damage if the store knows of a newer one than
// the newest whole one, or if the log does not reach back to that (checkLog). raft itself would pass
// over a broken one, and go on with an older state.
func (d *disk) verifySnapshots() (found snapshots, err error) {
	entries, err := os.ReadDir(d.snapshotPath())
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, d.unusable(err)
	}
	var newestPath string
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") {
			continue // unfinished ones are raft's to remove
		}
		path := filepath.Join(d.snapshotPath(), e.Name())
		meta, err := verifySnapshot(path)
		if err == nil && meta.ID != e.Name() {
			err = fmt.Errorf("it describes itself as %s", meta.ID)
		}
		if err != nil {
			found.broken = &damage{path, err}
			continue
		}
		if meta.Index > found.newest {
			found.newest, newestPath = meta.Index, path
		}
	}
	if found.newest == 0 {
		return found, nil
	}
	if err := tryRestore(newestPath); err != nil {
		if errors.Is(err, state.ErrUnknownCommand) {
			return found, errNewer
		}
		return found, &damage{newestPath, err}
	}
	return found, nil
}

func verifySnapshot(path string) (raft.SnapshotMeta, error) {
	var meta struct {
		raft.SnapshotMeta
		CRC []byte
	}
	data, err := os.ReadFile(filepath.Join(path, "meta.json"))
	if err != nil {
		return meta.SnapshotMeta, err
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return meta.SnapshotMeta, err
	}
	if meta.Version < raft.SnapshotVersionMin || meta.Version > raft.SnapshotVersionMax {
		return meta.SnapshotMeta, fmt.Errorf("its format %d is unknown", meta.Version)
	}
	f, err := os.Open(filepath.Join(path, "state.bin"))
	if err != nil {
		return meta.SnapshotMeta, err
	}
	defer f.Close()
	sum, head := crc64.New(crc64.MakeTable(crc64.ECMA)), make([]byte, headerBytes)
	n, err := io.Copy(sum, f)
	if err != nil {
		return meta.SnapshotMeta, err
	}
	if n != meta.Size || !slices.Equal(sum.Sum(nil), meta.CRC) {
		return meta.SnapshotMeta, errors.New("the checksum of state.bin is wrong")
	}
	if _, err := f.ReadAt(head, 0); err != nil {
		return meta.SnapshotMeta, err
	}
	m := meta.SnapshotMeta
	if string(head) != string(sealOfSnapshot(m.Index, m.Term, m.Configuration, m.ConfigurationIndex)) {
		return m, errSnapshot
	}
	return m, nil
}

// tryRestore reads the snapshot into a state that is thrown away.
func tryRestore(path string) error {
	f, err := os.Open(filepath.Join(path, "state.bin"))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(headerBytes, io.SeekStart); err != nil {
		return err
	}
	return state.New().Restore(f)
}
