package daemon

import (
	"math"

	"golang.org/x/sys/windows"
)

// diskFree is what this account may still write in a folder, its quota considered.
func diskFree(dir string) float64 {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return math.NaN()
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return math.NaN()
	}
	return float64(free)
}
