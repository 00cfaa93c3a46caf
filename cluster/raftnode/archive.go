package raftnode

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/datadir"
	"scomconnector/cluster/state"
)

// keepArchives is how long a state that was put aside stays: long enough for somebody to come back from leave.
const keepArchives = 30 * 24 * time.Hour

// archiveTime is the part of an archive's name that says when.
const archiveTime = "20060102T150405Z"

// archiveName is "epoch-NUMBER-TIME-NODE.state": NODE, whose epoch it was, comes last since it may hold anything.
func archiveName(at time.Time, epoch state.Epoch) string {
	return fmt.Sprintf("epoch-%d-%s-%s.state", epoch.Number, at.UTC().Format(archiveTime), filepath.Base(epoch.Node))
}

func parseArchive(name string) (cluster.Archive, bool) {
	rest, ok := strings.CutPrefix(name, "epoch-")
	rest, state := strings.CutSuffix(rest, ".state")
	parts := strings.SplitN(rest, "-", 3)
	if !ok || !state || len(parts) != 3 {
		return cluster.Archive{}, false
	}
	number, err := strconv.ParseUint(parts[0], 10, 64)
	if err != nil {
		return cluster.Archive{}, false
	}
	at, err := time.Parse(archiveTime, parts[1])
	if err != nil {
		return cluster.Archive{}, false
	}
	a := cluster.Archive{Name: name, At: at}
	a.Epoch.Number, a.Epoch.Node = number, parts[2]
	return a, true
}

// archiveState puts the state aside as the store has it, and drops archives that are too old.
func (n *Node) archiveState() (name string, err error) {
	now := time.Now().UTC()
	held, err := n.stored()
	if err != nil {
		return "", err
	}
	name = archiveName(now, held.Token().Epoch)
	snapshot := held.Snapshot()
	err = n.folder.archive(name, func(w io.Writer) error {
		_, err := snapshot.WriteTo(w)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("put the state aside as %s: %w", name, err)
	}
	if err := n.pruneArchives(now); err != nil { // tried again daily
		n.log.Warn("old archives were not removed", "error", err)
	}
	return name, nil
}

// dropSpare drops the archive that was made for the time in which this node had nothing else.
func (n *Node) dropSpare() error {
	name := n.ident().Spare
	if name == "" {
		return nil
	}
	err := n.folder.dropArchive(name)
	if err == nil {
		err = n.pruneArchives(time.Now())
	}
	if err != nil { // it may be open in another program; it goes with its age
		n.log.Warn("an archive that is not needed any more was not removed", "archive", name, "error", err)
	}
	return n.changeIdentity(func(id *identity) { id.Spare = "" })
}

func (n *Node) pruneArchives(now time.Time) error {
	all, err := n.folder.archives()
	if err != nil {
		return err
	}
	var kept []cluster.Archive
	for _, a := range all {
		if now.Sub(a.At) > keepArchives {
			e := n.folder.dropArchive(a.Name)
			if e == nil {
				continue
			}
			err = errors.Join(err, e) // it may be open in another program
		}
		kept = append(kept, a)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.archives = kept
	return err
}

func newestFirst(list []cluster.Archive) {
	slices.SortFunc(list, func(a, b cluster.Archive) int { return b.At.Compare(a.At) })
}

func (d *disk) archivePath() string { return filepath.Join(d.dir, "archive") }

func (d *disk) archive(name string, write func(io.Writer) error) error {
	if err := os.MkdirAll(d.archivePath(), 0o700); err != nil {
		return d.unusable(err)
	}
	tmp := filepath.Join(d.archivePath(), name+".new")
	if err := writeArchive(tmp, write); err != nil {
		os.Remove(tmp)
		return d.unusable(err)
	}
	if err := datadir.Rename(tmp, filepath.Join(d.archivePath(), name)); err != nil {
		return d.unusable(err)
	}
	return errors.Join(datadir.SyncDir(d.archivePath()), datadir.SyncDir(d.dir))
}

func writeArchive(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(f)
	err = write(buf)
	if err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (d *disk) archives() ([]cluster.Archive, error) {
	entries, err := os.ReadDir(d.archivePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, d.unusable(err)
	}
	var list []cluster.Archive
	for _, e := range entries {
		if a, ok := parseArchive(e.Name()); ok {
			list = append(list, a)
		}
	}
	newestFirst(list)
	return list, nil
}

func (d *disk) dropArchive(name string) error {
	if err := os.Remove(filepath.Join(d.archivePath(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.unusable(err)
	}
	return nil
}

// wipe: the identity says first that the store is to go, so that a start which finds half of it knows why.
func (d *disk) wipe(id identity) error {
	doing := id
	doing.Wiping = true
	if err := d.save(doing); err != nil {
		return err
	}
	if d.bolt != nil {
		if err := d.bolt.Close(); err != nil {
			return err
		}
		d.bolt = nil
	}
	return d.finishWipe()
}

// finishWipe does what a wipe that has begun has left to do.
func (d *disk) finishWipe() error {
	id, found, err := d.load()
	if err != nil || !found || !id.Wiping {
		return nil //nolint:nilerr // verify says what is wrong with it
	}
	if err := os.RemoveAll(d.raftPath()); err != nil {
		return d.unusable(err)
	}
	if err := os.MkdirAll(d.raftPath(), 0o700); err != nil {
		return d.unusable(err)
	}
	if err := datadir.SyncDir(d.dir); err != nil {
		return d.unusable(err)
	}
	if err := d.create(); err != nil {
		return d.unusable(err)
	}
	id.Wiping = false
	return d.save(id)
}
