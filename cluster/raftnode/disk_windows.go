package raftnode

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func isDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// lockFile takes the lock without waiting; it ends with the file.
func lockFile(f *os.File) (held bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// syncDir does nothing: Windows cannot flush a folder, and NTFS journals the names itself.
func syncDir(string) error { return nil }

// spaceOf is the room for this process's account.
func spaceOf(dir string) (Space, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return Space{}, err
	}
	var s Space
	err = windows.GetDiskFreeSpaceEx(path, &s.Free, &s.Total, nil)
	return s, err
}

// errReadOnly is what writing to a write-protected volume answers.
const errReadOnly = windows.ERROR_WRITE_PROTECT
