package raftnode

import "golang.org/x/sys/windows"

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
