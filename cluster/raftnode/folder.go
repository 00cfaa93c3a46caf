package raftnode

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"scomconnector/cluster"
	"scomconnector/cluster/datadir"
)

// folder is where a node keeps its data: *disk or *Memory.
type folder interface {
	load() (id identity, found bool, err error)
	save(identity) error
	marked() (bool, error)
	unmark() error
	open() (raft.LogStore, raft.StableStore, raft.SnapshotStore, error)
	close() error
	// wipe closes the store and makes the folder empty but for its archives; id is what it says about itself then.
	// A kill in between is made good by the next start.
	wipe(id identity) error
	// archive keeps what write writes under the name, for good.
	archive(name string, write func(io.Writer) error) error
	archives() ([]cluster.Archive, error)
	dropArchive(name string) error
}

// disk is a DataDir.
type disk struct {
	dir  string
	log  hclog.Logger
	lock *os.File
	bolt *raftboltdb.BoltStore
}

func (d *disk) identityPath() string { return filepath.Join(d.dir, "identity.json") }
func (d *disk) markPath() string     { return filepath.Join(d.dir, "bootstrap") }
func (d *disk) raftPath() string     { return filepath.Join(d.dir, "raft") }
func (d *disk) boltPath() string     { return filepath.Join(d.dir, "raft", "raft.db") }
func (d *disk) snapshotPath() string { return filepath.Join(d.dir, "raft", "snapshots") }

// openDisk makes the folder if there is none, and locks it.
func openDisk(dir string, log hclog.Logger) (*disk, error) {
	lock, err := datadir.Lock(dir)
	if err != nil {
		return nil, err
	}
	d := &disk{dir: dir, log: log, lock: lock}
	if err := os.MkdirAll(d.raftPath(), 0o700); err != nil {
		lock.Close()
		return nil, d.unusable(err)
	}
	return d, nil
}

func (d *disk) unusable(err error) error { return datadir.Unusable(d.dir, err) }

func (d *disk) load() (identity, bool, error) {
	data, err := os.ReadFile(d.identityPath())
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, d.unusable(err)
	}
	id, err := decodeIdentity(data)
	if err != nil {
		return identity{}, false, &damage{d.identityPath(), err}
	}
	return id, true, nil
}

// Owner reads whose data the folder holds. It changes nothing and takes no lock: the node may be running.
func Owner(dir string) (datadir.Owner, error) {
	d := &disk{dir: dir}
	data, err := os.ReadFile(d.identityPath())
	if errors.Is(err, fs.ErrNotExist) {
		return datadir.Owner{}, nil
	}
	if err != nil {
		return datadir.Owner{}, err
	}
	id, err := decodeIdentity(data)
	if err != nil {
		return datadir.Owner{}, &damage{d.identityPath(), err}
	}
	return datadir.Owner{NodeID: id.NodeID, ClusterID: id.ClusterID}, nil
}

// save replaces the file at once and for good: whoever reads it finds the old one or the new one.
func (d *disk) save(id identity) error {
	data, err := id.encode()
	if err != nil {
		return err
	}
	if err := datadir.Replace(d.identityPath(), data); err != nil {
		return d.unusable(err)
	}
	return nil
}

func (d *disk) marked() (bool, error) {
	_, err := os.Stat(d.markPath())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (d *disk) unmark() error {
	if err := os.Remove(d.markPath()); err != nil {
		return fmt.Errorf("delete the one-time bootstrap mark: %w", err)
	}
	return datadir.SyncDir(d.dir)
}

// open opens the store for writing. The folder must have been checked.
func (d *disk) open() (raft.LogStore, raft.StableStore, raft.SnapshotStore, error) {
	if _, err := os.Stat(d.boltPath()); errors.Is(err, fs.ErrNotExist) {
		if err := d.create(); err != nil {
			return nil, nil, nil, d.unusable(err)
		}
	}
	b, err := openBolt(d.boltPath(), false)
	if err != nil {
		return nil, nil, nil, d.unusable(err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(d.raftPath(), 2, d.log)
	if err != nil {
		b.Close() //nolint:errcheck // nothing was written
		return nil, nil, nil, d.unusable(err)
	}
	d.bolt = b
	return b, b, snaps, nil
}

// create makes the store under another name first, so that a kill meanwhile leaves nothing that
// looks like a damaged one.
func (d *disk) create() error {
	tmp := d.boltPath() + ".new"
	os.Remove(tmp)
	b, err := openBolt(tmp, false)
	if err != nil {
		os.Remove(tmp)
		return err
	}
	if err := b.Close(); err != nil {
		return err
	}
	if err := datadir.Rename(tmp, d.boltPath()); err != nil {
		return err
	}
	return datadir.SyncDir(d.raftPath())
}

func openBolt(path string, readOnly bool) (*raftboltdb.BoltStore, error) {
	return raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{Timeout: time.Second, ReadOnly: readOnly}})
}

func (d *disk) close() error {
	var err error
	if d.bolt != nil {
		err = d.bolt.Close()
	}
	d.lock.Close()
	return err
}
