//go:build !windows

package datadir

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// IsDiskFull reports whether a write failed for lack of room.
func IsDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// ErrReadOnly is what writing to a file system mounted read-only answers.
const ErrReadOnly = syscall.EROFS

// isHeld: who has a file open keeps nobody from renaming it.
func isHeld(error) bool { return false }

// lockFile takes the lock without waiting; it ends with the file.
func lockFile(f *os.File) (held bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// SyncDir has the names in a folder outlast a crash of the machine.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
