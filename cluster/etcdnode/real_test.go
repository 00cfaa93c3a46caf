package etcdnode

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/test/etcdrig"
)

// needEtcd skips the test unless real components are to be used.
func needEtcd(t testing.TB) {
	t.Helper()
	if !etcdrig.Available(t) {
		t.Skip("needs etcd-server and SCOMCONNECTOR_REAL=1")
	}
}

// realRig runs nodes over a real etcd, each behind a proxy of its own to each member.
type realRig struct {
	t       testing.TB
	etcd    *etcdrig.Etcd
	shape   clustertest.Shape
	dir     string
	prefix  string
	ttl     time.Duration
	proxies map[string][]*etcdrig.Proxy
	log     hclog.Logger
}

func newRealRig(t testing.TB, shape clustertest.Shape, e *etcdrig.Etcd, prefix string) *realRig {
	t.Helper()
	r := &realRig{t: t, etcd: e, shape: slices.Clone(shape), dir: t.TempDir(), prefix: prefix, ttl: 3 * time.Second, proxies: map[string][]*etcdrig.Proxy{}, log: hclog.NewNullLogger()}
	if testing.Verbose() {
		r.log = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}})
	}
	for i := range r.shape {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r.shape[i].ClusterAddress = ln.Addr().String()
		defer ln.Close() // not before all have one
		for _, u := range e.URLs() {
			r.proxies[r.shape[i].NodeID] = append(r.proxies[r.shape[i].NodeID], etcdrig.NewProxy(t, u))
		}
	}
	return r
}

func (r *realRig) config(nodeID string) Config {
	i := slices.IndexFunc(r.shape, func(m cluster.Member) bool { return m.NodeID == nodeID })
	var ends []string
	for _, p := range r.proxies[nodeID] {
		ends = append(ends, p.URL)
	}
	return Config{
		NodeID: nodeID, Role: r.shape[i].Role, Members: r.shape, DataDir: filepath.Join(r.dir, nodeID), Version: "test",
		Endpoints: ends, Prefix: r.prefix, TTL: r.ttl, Serve: clustertest.Answers(nodeID),
	}
}

func (r *realRig) Open(nodeID string) (clustertest.Node, error) {
	n, err := Open(r.config(nodeID), r.log.Named(nodeID), prometheus.NewRegistry())
	if err != nil {
		return nil, err // not a nil *Node in an interface
	}
	return n, nil
}

func (r *realRig) Crashed(string) {}

// Isolate cuts the node off from etcd. Its siblings still hear it, which changes nothing.
func (r *realRig) Isolate(nodeID string) bool {
	for _, p := range r.proxies[nodeID] {
		p.Hold(true)
	}
	return true
}

func (r *realRig) Heal(nodeID string) {
	for _, p := range r.proxies[nodeID] {
		p.Hold(false)
	}
}

func TestConformanceOverEtcd(t *testing.T) {
	needEtcd(t)
	e := etcdrig.Start(t, 1)
	var n atomic.Int64
	for name, shape := range map[string]clustertest.Shape{"one": clustertest.One, "pair": clustertest.Pair} {
		t.Run(name, func(t *testing.T) {
			clustertest.Conformance(t, clustertest.Suite{
				Shape: shape, Arbiter: true,
				New: func(t *testing.T) clustertest.Backend {
					return newRealRig(t, shape, e, fmt.Sprintf("/conformance/%d/", n.Add(1)))
				},
			})
		})
	}
}
