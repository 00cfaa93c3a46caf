package doctor

import (
	"errors"
	"math"
	"os"
	"slices"
	"time"

	"scomconnector/cmd/daemon"
)

const (
	// syncs are how often a write is forced to the disk.
	syncs = 21
	// syncLimit ends that earlier: a dead disk shows in the first few.
	syncLimit = 5 * time.Second
)

// disk looks at the file system of DataDir. A file of 4 KiB is written there and removed again.
func (p *part) disk() {
	p.doing("fdatasync")
	dir := p.exam.node.DataDir
	p.of = dir
	if _, err := os.Stat(dir); err != nil {
		why := "DataDir is not there yet: the first start makes it"
		if !errors.Is(err, os.ErrNotExist) {
			why = err.Error()
		}
		p.skip(why, "space", "fdatasync")
		return
	}
	if free := daemon.DiskFree(dir); math.IsNaN(free) {
		p.add("space", notTried("the system does not say"))
	} else {
		p.add("space", judgeSpace(uint64(free)))
	}
	median, worst, err := measureSync(dir)
	if err != nil {
		p.add("fdatasync", judgeNoWrite(err))
		return
	}
	p.add("fdatasync", judgeSync(median, worst))
}

// measureSync writes and forces one page again and again, as the log of the cluster does.
func measureSync(dir string) (median, worst time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".scomconnector-doctor-")
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, 4096)
	var took []time.Duration
	begun := time.Now()
	for len(took) < syncs && time.Since(begun) < syncLimit {
		page[0]++
		if _, err := f.WriteAt(page, 0); err != nil {
			return 0, 0, err
		}
		start := time.Now()
		if err := syncData(f); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)-1], nil
}
