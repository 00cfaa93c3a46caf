package raftnode_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/port"
	"scomconnector/cluster/raftnode"
)

// real runs nodes on real files and loopback TCP.
type real struct {
	shape  clustertest.Shape
	dir    string
	tls    func(nodeID string) port.TLS
	timing string
}

func newReal(t testing.TB, shape clustertest.Shape, tls func(string) port.TLS) *real {
	t.Helper()
	shape = slices.Clone(shape)
	for i := range shape {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		shape[i].ClusterAddress = ln.Addr().String()
		defer ln.Close() // not before all have one
	}
	r := &real{shape: shape, dir: t.TempDir(), tls: tls, timing: "fast"}
	if len(shape) == 2 { // for which a pair has no time
		r.timing = "lan"
	}
	return r
}

func (r *real) config(nodeID string) raftnode.Config {
	i := slices.IndexFunc(r.shape, func(m cluster.Member) bool { return m.NodeID == nodeID })
	c := raftnode.Config{NodeID: nodeID, Role: r.shape[i].Role, Members: r.shape, DataDir: filepath.Join(r.dir, nodeID), Version: "test", Timing: r.timing, Serve: clustertest.Answers(nodeID)}
	if r.tls != nil {
		c.TLS = r.tls(nodeID)
	}
	return c
}

func (r *real) Open(nodeID string) (clustertest.Node, error) {
	n, err := raftnode.Open(r.config(nodeID), hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		return nil, err // not a nil *Node in an interface
	}
	return n, nil
}

func (r *real) Crashed(string)      {}
func (r *real) Isolate(string) bool { return false }
func (r *real) Heal(string)         {}

func TestConformanceOnFilesAndTCP(t *testing.T) {
	for name, shape := range map[string]clustertest.Shape{"one": clustertest.One, "three": clustertest.Three} {
		t.Run(name, func(t *testing.T) {
			clustertest.Conformance(t, clustertest.Suite{
				Shape: shape,
				New:   func(t *testing.T) clustertest.Backend { return newReal(t, shape, nil) },
			})
		})
	}
}

func TestThreeNodesOverMutualTLS(t *testing.T) {
	ca := newAuthority(t)
	c := clustertest.NewOver(t, clustertest.Three, newReal(t, clustertest.Three, ca.files))
	c.Start()
	c.Leader(time.Minute)
	c.Voters(3, time.Minute)
}

func TestStrangersAndImpostorsAreRefused(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	for name, files := range map[string]func(string) port.TLS{
		"another authority":    func(id string) port.TLS { return pick(id == "secondary", other, ca).files(id) },
		"another node's name":  func(id string) port.TLS { return ca.files(strings.Replace(id, "secondary", "witness", 1)) },
		"no certificate asked": func(id string) port.TLS { return careless(ca.files(id), id == "secondary") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newReal(t, clustertest.Pair, files)
			c := clustertest.NewOver(t, clustertest.Pair, b)
			if err := os.MkdirAll(b.config("primary").DataDir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(b.config("primary").DataDir, "bootstrap"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			c.Start()
			c.Leader(time.Minute)
			c.Eventually(time.Minute, "the leader has tried", func() bool { return b.tried(t, c) })
			if got := c.Node("primary").Health().Voters; got != 1 {
				t.Errorf("voters: got %d, want the primary alone", got)
			}
			if v := c.Node("secondary").View(); v.Leader != "" || v.Waiting == "" {
				t.Errorf("the secondary: got leader %q, waiting %q, want none and a sentence", v.Leader, v.Waiting)
			}
		})
	}
}

// tried: both have seen the other's port, and nothing came of it, for as long as joining takes.
func (r *real) tried(t *testing.T, c *clustertest.Cluster) bool {
	t.Helper()
	leads := c.Leads() // none yet, if the one that began has not been noted
	return len(leads) > 0 && time.Since(leads[0].Began) > 2*time.Second
}

func pick(first bool, a, b *authority) *authority {
	if first {
		return a
	}
	return b
}

// careless is a node that shows no certificate of its own when it calls.
func careless(t port.TLS, yes bool) port.TLS {
	if !yes {
		return t
	}
	client := t.Client
	t.Client = func() (*tls.Config, error) {
		cfg, err := client()
		cfg.Certificates = nil
		return cfg, err
	}
	t.Server = func() (*tls.Config, error) { return nil, fmt.Errorf("it answers nobody") }
	return t
}

func TestSeveralMachinesNeedTLS(t *testing.T) {
	c := newReal(t, clustertest.Pair, nil).config("primary")
	c.Members = slices.Clone(c.Members)
	c.Members[1].ClusterAddress = "scomc2.contoso.com:8086"
	_, err := raftnode.Open(c, hclog.NewNullLogger(), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "ClusterTls") {
		t.Errorf("got %v, want a refusal that names ClusterTls", err)
	}
}

func TestSettingsFaultsAreReportedTogether(t *testing.T) {
	c := newReal(t, clustertest.Pair, nil).config("primary")
	c.Timing, c.DataDir, c.WriteDeadline, c.Role = "slow", "", -1, cluster.Witness
	c.Members = []cluster.Member{{NodeID: "primary", Role: cluster.Secondary}, {NodeID: "primary", Role: cluster.Secondary, ClusterAddress: "127.0.0.1:1"}}
	_, err := raftnode.Open(c, hclog.NewNullLogger(), prometheus.NewRegistry())
	for _, part := range []string{"Timing", "DataDir", "WriteDeadline", "Role is", "used twice", "is empty or", "exactly one"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the refusal lacks %q: %v", part, err)
		}
	}
}

// authority is a small CA.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t, t.TempDir(), cert, key}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// files issues a certificate that names the node.
func (a *authority) files(nodeID string) port.TLS {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{nodeID}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return port.FileTLS(a.write(nodeID+".pem", "CERTIFICATE", der), a.write(nodeID+".key", "EC PRIVATE KEY", keyDER), filepath.Join(a.dir, "ca.pem"))
}
