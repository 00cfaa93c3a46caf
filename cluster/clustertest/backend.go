package clustertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
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

// Pauser is a Backend that can have a process stand still. In a bubble the node's goroutines go on all the same: what cannot
// be seen from outside does not count, and what lead does is for the watch to disregard.
type Pauser interface {
	Pause(nodeID string)
	Resume(nodeID string)
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
	// Host, if set, is the machine that every node runs on, which is not where its ClusterAddress leads: a clone.
	Host string
	// Log gets every node's lines; nil: none.
	Log hclog.Logger
	// WriteDeadline is each store's; zero: raftnode's own.
	WriteDeadline time.Duration
	// PairTakeover and TakeoverAfter are each node's; empty and zero: raftnode's own.
	PairTakeover  string
	TakeoverAfter time.Duration
	// MayTakeOver is each node's; nil: it may. It may be set again while nodes run.
	MayTakeOver func(nodeID string) error
	// Claims is the arbiter where PairTakeover is claim.
	Claims *Claims
	// OnHandover, if not nil, is told of each handover by a node.
	OnHandover func(nodeID string, cause cluster.Cause, err error)

	disks map[string]*Disk

	mu    sync.Mutex // guards ahead
	ahead map[string]time.Duration
}

// NewMemory is a Backend whose nodes have never run.
func NewMemory(shape Shape) *Memory {
	b := &Memory{Net: pipenet.New(), Shape: shape, Claims: newClaims(), disks: map[string]*Disk{}, ahead: map[string]time.Duration{}}
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
		address := m.ClusterAddress
		if b.Host != "" {
			address = b.Host + ":8086"
		}
		ln, err := b.Net.Listen(address)
		if err != nil {
			return nil, err
		}
		log := b.Log
		if log == nil {
			log = hclog.NewNullLogger()
		}
		b.disks[nodeID].begin()
		cfg := b.config(m)
		cfg.Listener = ln
		n, err := raftnode.Open(cfg, log.Named(nodeID), prometheus.NewRegistry())
		if err != nil {
			ln.Close()
			b.disks[nodeID].end() // a write may hang
			return nil, err
		}
		return n, nil
	}
	return nil, fmt.Errorf("the shape has no %q", nodeID)
}

func (b *Memory) config(m cluster.Member) raftnode.Config {
	cfg := raftnode.Config{
		NodeID: m.NodeID, Role: m.Role, Members: b.Shape, Timing: b.Timing, Version: "test",
		Dial: b.Net.Dialer(cmp.Or(b.Host, m.NodeID)), Memory: b.disks[m.NodeID].data,
		BeforeWrite: b.disks[m.NodeID].beforeWrite, Space: b.disks[m.NodeID].space, WriteDeadline: b.WriteDeadline,
		PairTakeover: b.PairTakeover, TakeoverAfter: b.TakeoverAfter, Claims: b.Claims.of(m.NodeID),
		Wall: func() time.Time { return b.wall(m.NodeID) }, Serve: Answers(m.NodeID),
		MayTakeOver: func(context.Context) error {
			if b.MayTakeOver == nil {
				return nil
			}
			return b.MayTakeOver(m.NodeID)
		},
	}
	if b.OnHandover != nil {
		cfg.OnHandover = func(cause cluster.Cause, err error) { b.OnHandover(m.NodeID, cause, err) }
	}
	return cfg
}

// Answers is what each node of a Backend must answer requests with: who it is, who asks, and what was asked.
func Answers(nodeID string) func(ctx context.Context, from string, request []byte) ([]byte, error) {
	return func(_ context.Context, from string, request []byte) ([]byte, error) {
		if len(request) == 0 {
			return nil, errors.New("an empty request was refused")
		}
		return fmt.Appendf(nil, "%s to %s: %s", nodeID, from, request), nil
	}
}

func (b *Memory) wall(nodeID string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Round(0).Add(b.ahead[nodeID])
}

// Jump moves the node's wall clock, and no other clock.
func (b *Memory) Jump(nodeID string, by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead[nodeID] += by
}

// Pause has the node's process stand still, as far as others can see it: no packet goes in or out and no write ends until Resume.
func (b *Memory) Pause(nodeID string) {
	b.Net.Freeze(nodeID)
	b.disks[nodeID].hold()
}

// Resume ends Pause.
func (b *Memory) Resume(nodeID string) {
	b.disks[nodeID].release()
	b.Net.Thaw(nodeID)
}

// Crashed closes the node's connections, as the end of a process does.
func (b *Memory) Crashed(nodeID string) {
	b.Net.Crash(cmp.Or(b.Host, nodeID))
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

// eventually waits until cond holds; the time is the bubble's if there is one.
func eventually(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
