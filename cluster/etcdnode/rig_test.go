package etcdnode

import (
	"cmp"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/test/pipenet"
)

// rig runs nodes over the fake, and a network in memory between them.
type rig struct {
	t     testing.TB
	etcd  *fake
	net   *pipenet.Net
	shape clustertest.Shape
	dir   string
	log   hclog.Logger
	ahead sync.Map // by node: by how much its clock on the wall is ahead, a time.Duration
	wall  func(nodeID string) time.Time
	ttl   map[string]time.Duration // by node; else 5 s
}

func newRig(t testing.TB, shape clustertest.Shape) *rig {
	r := &rig{t: t, etcd: newFake(), net: pipenet.New(), shape: shape, dir: memoryDir(t), log: hclog.NewNullLogger()}
	if testing.Verbose() {
		r.log = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}})
	}
	return r
}

// memoryDir is a folder that a test in a bubble does not wait for: each node writes who it is, synced, at each start, stop and term.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "etcdnode")
	if err != nil {
		return t.TempDir() // there is none on this system
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b[:len(b)-1]))
	return len(b), nil
}

func (r *rig) Open(nodeID string) (clustertest.Node, error) {
	var m cluster.Member
	for _, o := range r.shape {
		if o.NodeID == nodeID {
			m = o
		}
	}
	ln, err := r.net.Listen(m.ClusterAddress)
	if err != nil {
		return nil, err
	}
	var wall func() time.Time
	if r.wall != nil {
		wall = func() time.Time { return r.wall(nodeID) }
	}
	n, err := Open(Config{
		Wall:   wall,
		NodeID: nodeID, Role: m.Role, Members: r.shape, DataDir: filepath.Join(r.dir, nodeID), Version: "test", TTL: cmp.Or(r.ttl[nodeID], 5*time.Second),
		Listener: ln, Dial: r.net.Dialer(nodeID), Serve: clustertest.Answers(nodeID), store: r.etcd.client(nodeID),
	}, r.log.Named(nodeID), prometheus.NewRegistry())
	if err != nil {
		ln.Close()
		return nil, err
	}
	return n, nil
}

// Crashed ends the process's connections to its siblings; a node that is closed asks etcd for nothing more by itself.
func (r *rig) Crashed(nodeID string) {
	r.net.Crash(nodeID)
}

// Isolate cuts the node off from all others and from etcd.
func (r *rig) Isolate(nodeID string) bool {
	r.etcd.setCut(nodeID, true)
	for _, m := range r.shape {
		if m.NodeID != nodeID {
			r.net.Cut(nodeID, m.NodeID)
		}
	}
	return true
}

func (r *rig) Heal(nodeID string) {
	r.etcd.setCut(nodeID, false)
	for _, m := range r.shape {
		if m.NodeID != nodeID {
			r.net.Heal(nodeID, m.NodeID)
		}
	}
}

func TestConformanceOverAFake(t *testing.T) {
	for name, shape := range map[string]clustertest.Shape{"one": clustertest.One, "pair": clustertest.Pair} {
		t.Run(name, func(t *testing.T) {
			clustertest.Conformance(t, clustertest.Suite{
				Shape: shape, Bubble: true, Arbiter: true,
				New: func(t *testing.T) clustertest.Backend { return newRig(t, shape) },
			})
		})
	}
}

// reasonOfTest is of every handover that a test asks for.
var reasonOfTest = cluster.Reason{Cause: cluster.CauseTransfer, Text: "asked for by the test"}
