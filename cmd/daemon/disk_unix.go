//go:build !windows

package daemon

import (
	"math"

	"golang.org/x/sys/unix"
)

// diskFree is what may still be written in a folder: what is kept for root does not count.
func diskFree(dir string) float64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return math.NaN()
	}
	return float64(s.Bavail) * float64(s.Bsize)
}
