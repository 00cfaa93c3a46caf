//go:build !windows

package raftnode

import "golang.org/x/sys/unix"

// spaceOf is the room for this process, which need not be root's.
func spaceOf(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, err
	}
	size := uint64(st.Bsize)                                                           //nolint:gosec,unconvert // its type is the system's; never negative
	return Space{Free: uint64(st.Bavail) * size, Total: uint64(st.Blocks) * size}, nil //nolint:unconvert // as above
}
