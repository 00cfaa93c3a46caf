// Package datadir holds what every backend needs of a node's data folder: that one process at a time uses it, files that are replaced
// whole, and words for a folder that cannot be used.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// lockWait is how long a process that is just ending may still hold the lock.
const lockWait = time.Second

// ErrInUse is Lock's where another process has the folder.
var ErrInUse = errors.New("is in use by another process")

// Owner is whose data a folder holds, by its own account. NodeID is empty where it is nobody's yet, ClusterID where that node has not
// found its cluster.
type Owner struct{ NodeID, ClusterID string }

// Foreign is a folder that belongs to another node than the one that would use it.
type Foreign struct{ Dir, Owner, NodeID string }

func (f *Foreign) Error() string {
	return fmt.Sprintf("the data folder %s belongs to node %q, not to %q: correct NodeID or DataDir", f.Dir, f.Owner, f.NodeID)
}

// Lock makes the folder if there is none, and takes it for this process until the file is closed or the process ends. The error says
// what to do. The same lock serves all backends, so that a folder is not used by two of them at once either.
func Lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, Unusable(dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, Unusable(dir, err)
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(50 * time.Millisecond) {
		held, err := lockFile(f)
		if err == nil && held {
			return f, nil
		}
		if err != nil || time.Now().After(end) {
			f.Close()
			if err != nil {
				return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
			}
			return nil, fmt.Errorf("the data folder %s %w: is scomconnector already running?", dir, ErrInUse)
		}
	}
}

// Unusable says what to do about a folder that cannot be written to.
func Unusable(dir string, err error) error {
	switch {
	case IsDiskFull(err):
		return fmt.Errorf("the disk of the data folder %s is full: free some space and start again; nothing is lost: %w", dir, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, ErrReadOnly):
		return fmt.Errorf("the data folder %s cannot be written to: give the account that runs scomconnector full access to it: %w", dir, err)
	}
	return fmt.Errorf("use the data folder %s: %w", dir, err)
}

// Replace replaces a file at once and for good: whoever reads it, after a kill too, finds the old one or the new one.
func Replace(path string, data []byte) error {
	tmp := path + ".new"
	if err := writeSynced(tmp, data); err != nil {
		os.Remove(tmp)
		return err
	}
	if err := Rename(tmp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// heldWait is how long somebody else may have a file open that is to be renamed. Whoever reads or scans it is done long before.
const heldWait = 2 * time.Second

// Rename is os.Rename. On Windows it waits for those who have either file open, be it to read or to scan it: nobody else may rename
// a file meanwhile, nor put one in its place.
func Rename(from, to string) error {
	for end := time.Now().Add(heldWait); ; time.Sleep(20 * time.Millisecond) {
		err := os.Rename(from, to)
		if err == nil || !isHeld(err) || time.Now().After(end) {
			return err
		}
	}
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
