package clustertest

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"

	"scomconnector/cluster/raftnode"
)

// Disk is a disk in memory with a fault switch.
type Disk struct {
	data *raftnode.Memory

	mu    sync.Mutex // guards all below
	scant bool
	delay time.Duration
	err   error
	ended chan struct{} // closed and replaced when writes under way must end
	held  chan struct{} // closed when writes may go on; nil: they may
}

// errFull is what a full disk answers.
var errFull = fmt.Errorf("write: %w", diskFull())

func diskFull() syscall.Errno {
	if runtime.GOOS == "windows" {
		return 112 // ERROR_DISK_FULL
	}
	return syscall.ENOSPC
}

// errBroken is what a broken disk answers, and one whose process has ended.
var errBroken = errors.New("write: input/output error")

func newDisk() *Disk { return &Disk{data: raftnode.NewMemory(), ended: make(chan struct{})} }

// Mark puts the one-time bootstrap mark there; Marked reports whether it still is.
func (d *Disk) Mark()        { d.data.Mark() }
func (d *Disk) Marked() bool { return d.data.Marked() }

// Heal makes it a good disk again.
func (d *Disk) Heal() { d.set(0, nil) }

// Full refuses each write after the given time.
func (d *Disk) Full(after time.Duration) { d.set(after, errFull) }

// NearlyFull has the disk say that little is left of it. Writes succeed.
func (d *Disk) NearlyFull(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scant = on
}

// space is what a node asks for.
func (d *Disk) space() (raftnode.Space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.scant {
		return raftnode.Space{Free: 10 << 20, Total: 1 << 30}, nil
	}
	return raftnode.Space{Free: 1 << 29, Total: 1 << 30}, nil
}

// Break fails each write with an error that leaves open what was written.
func (d *Disk) Break() { d.set(0, errBroken) }

// Slow makes each write take that much longer.
func (d *Disk) Slow(by time.Duration) { d.set(by, nil) }

func (d *Disk) set(delay time.Duration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay, d.err = delay, err
}

// begin is the start of a process on the disk.
func (d *Disk) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = make(chan struct{})
}

// end has the writes of the process fail that are under way, and those that it still begins: it has ended.
func (d *Disk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.ended:
	default:
		close(d.ended)
	}
}

// hold has every write wait until the next release: its process stands still.
func (d *Disk) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held == nil {
		d.held = make(chan struct{})
	}
}

func (d *Disk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil {
		close(d.held)
		d.held = nil
	}
}

// Clone is a good disk with a copy of what is on this one. Its node must not be running.
func (d *Disk) Clone() *Disk { return &Disk{data: d.data.Clone(), ended: make(chan struct{})} }

func (d *Disk) beforeWrite(string) error {
	d.mu.Lock()
	delay, err, ended, held := d.delay, d.err, d.ended, d.held
	d.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ended:
			return errBroken
		}
	}
	select {
	case <-ended:
		return errBroken
	default:
	}
	if delay == 0 {
		return err
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return err
	case <-ended:
		return errBroken
	}
}
