package raftnode

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/test/pipenet"
)

// hangs is a disk on which writes of one kind hang once it is said so, until the test ends.
type hangs struct {
	op    atomic.Value // string
	begun chan struct{}
	ended chan struct{}
}

func newHangs() *hangs { return &hangs{begun: make(chan struct{}, 100), ended: make(chan struct{})} }

func (h *hangs) before(op string) error {
	if op == h.op.Load() {
		h.begun <- struct{}{}
		<-h.ended
	}
	return nil
}

// The data folder hung together with the link, or when the other node was started again. The write of identity.json had no deadline, and
// all that is known of the node was locked meanwhile: neither its page nor the end of its process ever came.
func TestIdentityThatHangsEndsTheProcess(t *testing.T) {
	for name, provoke := range map[string]func(net *pipenet.Net, restart func()){
		"the leader claims":               func(net *pipenet.Net, _ func()) { net.Cut("primary", "secondary") },
		"the other node is started again": func(_ *pipenet.Net, restart func()) { restart() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, claims, disk := pipenet.New(), &slowClaims{during: func() {}}, newHangs()
				cfg := Config{Members: two, PairTakeover: takeoverClaim, Claims: claims}
				p, s := cfg, cfg
				p.NodeID, p.Role, p.BeforeWrite = "primary", cluster.Primary, disk.before
				s.NodeID, s.Role, s.Memory = "secondary", cluster.Secondary, NewMemory()
				n, other := inMemoryWith(t, net, p), inMemoryWith(t, net, s)
				defer net.Heal("primary", "secondary")
				defer close(disk.ended)
				until(t, 10*time.Second, "both vote", func() bool { return n.term.Load() != nil && n.Health().Voters == 2 })
				time.Sleep(time.Second)
				disk.op.Store("identity")
				provoke(net, func() {
					if err := other.Close(); err != nil {
						t.Error(err)
					}
					inMemoryWith(t, net, s)
				})
				<-disk.begun
				hung := time.Now()
				if n.View().NodeID != "primary" || time.Since(hung) > 0 {
					t.Errorf("what is known of the node was to be had after %v", time.Since(hung))
				}
				select {
				case <-n.ran:
				case <-time.After(time.Minute):
					t.Fatal("Run goes on")
				}
				if took := time.Since(hung); took > DefaultWriteDeadline+time.Second {
					t.Errorf("Run returned %v after the write had begun", took)
				}
				if err := n.failedNow(); err == nil || !strings.Contains(err.Error(), "(identity) has not ended within 5s") {
					t.Errorf("Run: got %v, want the write deadline", err)
				}
				if err := n.Close(); err != nil {
					t.Log(err)
				}
				if took := time.Since(hung); took > 3*DefaultWriteDeadline {
					t.Errorf("the node was closed %v after the write had begun", took)
				}
			})
		})
	}
}

func TestStartOnADiskThatHangsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newHangs()
		defer close(disk.ended)
		disk.op.Store("identity")
		cfg := Config{NodeID: "primary", Role: cluster.Primary, Members: alone, Version: "test", Memory: NewMemory(), BeforeWrite: disk.before}
		if _, err := Open(cfg, hclog.NewNullLogger(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "the disk hangs") {
			t.Errorf("open: got %v, want the write deadline", err)
		}
	})
}
