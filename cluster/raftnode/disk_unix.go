//go:build !windows

package raftnode

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// lockFile takes the lock without waiting; it ends with the file.
func lockFile(f *os.File) (held bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// spaceOf is the room for this process, which need not be root's.
func spaceOf(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, err
	}
	size := uint64(st.Bsize)                                                           //nolint:gosec,unconvert // its type is the system's; never negative
	return Space{Free: uint64(st.Bavail) * size, Total: uint64(st.Blocks) * size}, nil //nolint:unconvert // as above
}

// errReadOnly is what writing to a file system mounted read-only answers.
const errReadOnly = syscall.EROFS
