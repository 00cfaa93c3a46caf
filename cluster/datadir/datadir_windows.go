package datadir

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// IsDiskFull reports whether a write failed for lack of room.
func IsDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// ErrReadOnly is what writing to a write-protected volume answers.
const ErrReadOnly = windows.ERROR_WRITE_PROTECT

// isHeld reports whether a file was not renamed since somebody has it open, as far as that can be told: for one that is to be replaced
// Windows says no more than that access is denied.
func isHeld(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_USER_MAPPED_FILE)
}

// lockFile takes the lock without waiting; it ends with the file.
func lockFile(f *os.File) (held bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// SyncDir does nothing: Windows cannot flush a folder, and NTFS journals the names itself.
func SyncDir(string) error { return nil }
