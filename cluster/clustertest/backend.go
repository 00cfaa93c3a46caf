package clustertest

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/raftnode"
	"scomconnector/test/pipenet"
)

// Node is an open node of any backend.
type Node interface {
	cluster.Coordinator
	Close() error // at once, as a crash
}

// Backend opens the nodes of one cluster and cuts their network.
type Backend interface {
	// Open starts the node on the data that earlier ones of that name have left.
	Open(nodeID string) (Node, error)
	// Crashed is called when the node's process is to look dead from outside, before it is closed.
	Crashed(nodeID string)
	// Isolate cuts the node off from all others until Heal; false: this backend cannot.
	Isolate(nodeID string) bool
	Heal(nodeID string)
}

// Shape is the list of members of a cluster.
type Shape []cluster.Member

// The shapes that are run.
var (
	One   = Shape{member("primary", cluster.Primary)}
	Pair  = Shape{member("primary", cluster.Primary), member("secondary", cluster.Secondary)}
	Three = Shape{member("primary", cluster.Primary), member("secondary", cluster.Secondary), member("witness", cluster.Witness)}
)

func member(id string, role cluster.Role) cluster.Member {
	return cluster.Member{NodeID: id, Role: role, ClusterAddress: id + ":8086", Url: "http://" + id + ":8085"}
}

// Memory is the Backend of raftnode nodes in memory.
type Memory struct {
	Net    *pipenet.Net
	Shape  Shape
	Timing string
	// Log gets every node's lines; nil: none.
	Log hclog.Logger
	// WriteDeadline is each store's; zero: raftnode's own.
	WriteDeadline time.Duration

	disks map[string]*Disk
}

// NewMemory is a Backend whose nodes have never run.
func NewMemory(shape Shape) *Memory {
	b := &Memory{Net: pipenet.New(), Shape: shape, disks: map[string]*Disk{}}
	for _, m := range shape {
		b.disks[m.NodeID] = newDisk()
	}
	return b
}

// Disk is the node's disk; Wipe replaces it.
func (b *Memory) Disk(nodeID string) *Disk { return b.disks[nodeID] }

// SetDisk puts another disk into the node. It must not be running.
func (b *Memory) SetDisk(nodeID string, d *Disk) { b.disks[nodeID] = d }

// Wipe gives the node an empty disk. It must not be running.
func (b *Memory) Wipe(nodeID string) { b.disks[nodeID] = newDisk() }

// Open starts the node.
func (b *Memory) Open(nodeID string) (Node, error) {
	for _, m := range b.Shape {
		if m.NodeID != nodeID {
			continue
		}
		ln, err := b.Net.Listen(m.ClusterAddress)
		if err != nil {
			return nil, err
		}
		log := b.Log
		if log == nil {
			log = hclog.NewNullLogger()
		}
		n, err := raftnode.Open(raftnode.Config{
			NodeID: m.NodeID, Role: m.Role, Members: b.Shape, Timing: b.Timing, Version: "test",
			Listener: ln, Dial: b.Net.Dialer(m.NodeID), Memory: b.disks[nodeID].data,
			BeforeWrite: b.disks[nodeID].beforeWrite, WriteDeadline: b.WriteDeadline,
		}, log.Named(nodeID), prometheus.NewRegistry())
		if err != nil {
			ln.Close()
			return nil, err
		}
		return n, nil
	}
	return nil, fmt.Errorf("the shape has no %q", nodeID)
}

// Crashed closes the node's connections, as the end of a process does.
func (b *Memory) Crashed(nodeID string) {
	b.Net.Crash(nodeID)
	b.disks[nodeID].end()
}

// Isolate unplugs the node's cable.
func (b *Memory) Isolate(nodeID string) bool {
	for _, m := range b.Shape {
		if m.NodeID != nodeID {
			b.Net.Cut(nodeID, m.NodeID)
		}
	}
	return true
}

// Heal plugs it in again.
func (b *Memory) Heal(nodeID string) {
	for _, m := range b.Shape {
		if m.NodeID != nodeID {
			b.Net.Heal(nodeID, m.NodeID)
		}
	}
}

// Disk is a disk in memory with a fault switch.
type Disk struct {
	data *raftnode.Memory

	mu    sync.Mutex // guards all below
	delay time.Duration
	err   error
	ended chan struct{} // closed and replaced when writes under way must end
}

// errFull is what a full disk answers.
var errFull = fmt.Errorf("write: %w", syscall.ENOSPC)

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

// Break fails each write with an error that leaves open what was written.
func (d *Disk) Break() { d.set(0, errBroken) }

// Slow makes each write take that much longer.
func (d *Disk) Slow(by time.Duration) { d.set(by, nil) }

func (d *Disk) set(delay time.Duration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay, d.err = delay, err
}

// end has the writes under way fail: their process has ended.
func (d *Disk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.ended)
	d.ended = make(chan struct{})
}

func (d *Disk) beforeWrite(string) error {
	d.mu.Lock()
	delay, err, ended := d.delay, d.err, d.ended
	d.mu.Unlock()
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

// eventually waits until cond holds; the time is the bubble's if there is one.
func eventually(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
