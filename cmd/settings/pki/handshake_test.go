package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/port"
	"scomconnector/cluster/raftnode"
	"scomconnector/cmd/settings/pki"
	"scomconnector/test/logbuf"
)

// pair is a Primary and a Secondary on loopback, each with a folder of certificates. The Primary may begin alone.
type pair struct {
	t     *testing.T
	shape clustertest.Shape
	dir   string
	ports map[string]net.Listener // made first: a call to a node that has not started waits instead of failing
	bare  atomic.Bool             // the Secondary shows no certificate
	log   *logbuf.Buffer
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, shape: slices.Clone(clustertest.Pair), dir: t.TempDir(), ports: map[string]net.Listener{}, log: &logbuf.Buffer{}}
	for i := range p.shape {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p.shape[i].ClusterAddress, p.ports[p.shape[i].NodeID] = ln.Addr().String(), ln
	}
	data := filepath.Join(p.dir, "primary", "data")
	if err := errors.Join(os.MkdirAll(data, 0o700), os.WriteFile(filepath.Join(data, "bootstrap"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the nodes' log:\n%s", p.log)
		}
	})
	return p
}

// certify puts a certificate into the node's folder, in place of an earlier one.
func (p *pair) certify(nodeID string, a *pki.Authority, name string, from time.Time) {
	p.t.Helper()
	n, err := a.Issue(name, "127.0.0.1", from)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range n.Files {
		if err := os.WriteFile(p.file(nodeID, f.Name), f.Text, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *pair) file(nodeID, name string) string {
	dir := filepath.Join(p.dir, nodeID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

func (p *pair) Open(nodeID string) (clustertest.Node, error) {
	i := slices.IndexFunc(p.shape, func(m cluster.Member) bool { return m.NodeID == nodeID })
	c := raftnode.Config{
		NodeID: nodeID, Role: p.shape[i].Role, Members: p.shape, DataDir: filepath.Join(p.dir, nodeID, "data"), Version: "test",
		Timing: "lan", Listener: p.ports[nodeID],
		TLS: port.FileTLS(p.file(nodeID, pki.NodeCert), p.file(nodeID, pki.NodeKey), p.file(nodeID, pki.AuthorityCert)),
	}
	if nodeID == "secondary" {
		c.TLS = p.careless(c.TLS)
	}
	n, err := raftnode.Open(c, hclog.New(&hclog.LoggerOptions{Name: nodeID, Output: p.log, Level: hclog.Debug}), prometheus.NewRegistry())
	if err != nil {
		return nil, err // not a nil *Node in an interface
	}
	return n, nil
}

// careless shows no certificate while p is bare.
func (p *pair) careless(t port.TLS) port.TLS {
	client, server := t.Client, t.Server
	return port.TLS{
		Client: func() (*tls.Config, error) {
			cfg, err := client()
			if p.bare.Load() {
				cfg.Certificates = nil
			}
			return cfg, err
		},
		Server: func() (*tls.Config, error) {
			if p.bare.Load() {
				return nil, errors.New("there is no certificate")
			}
			return server()
		},
	}
}

func (p *pair) Crashed(string)      {}
func (p *pair) Isolate(string) bool { return false }
func (p *pair) Heal(string)         {}

// has reports whether one line of the log holds all parts.
func has(log string, parts ...string) bool {
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			return true
		}
	}
	return false
}

func authority(t *testing.T, from time.Time) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority(from)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// limit is for a busy machine; what is waited for takes a second.
const limit = 30 * time.Second

// A node whose certificate is not right is refused, with the reason in the log, and is taken in as soon as its files are
// right, without a restart of either.
func TestNodesRefuseEachOtherUntilTheFilesAreRight(t *testing.T) {
	now := time.Now()
	ours := authority(t, now.AddDate(-4, 0, 0))
	right := func(p *pair) { p.certify("secondary", ours, "secondary", now) }
	for name, c := range map[string]struct {
		wrong, mend func(p *pair)
		node, says  string // in whose log the reason stands
	}{
		"another authority's": {
			func(p *pair) { p.certify("secondary", authority(t, now), "secondary", now) }, right,
			"primary", "certificate signed by unknown authority",
		},
		"another node's": {
			func(p *pair) { p.certify("secondary", ours, "witness", now) }, right,
			"primary", "certificate is valid for witness, not secondary",
		},
		"one that has ended": {
			func(p *pair) { p.certify("secondary", ours, "secondary", now.AddDate(-3, 0, 0)) },
			func(p *pair) {
				if _, err := ours.Renew(p.file("secondary", pki.NodeCert), p.file("secondary", pki.AuthorityCert), "secondary", "", now); err != nil {
					p.t.Error(err)
				}
			},
			"primary", "certificate has expired",
		},
		"one that has not begun": {
			func(p *pair) { p.certify("secondary", ours, "secondary", now.AddDate(0, 0, 2)) }, right,
			"primary", "certificate has expired or is not yet valid",
		},
		"none": {
			func(p *pair) { right(p); p.bare.Store(true) },
			func(p *pair) { p.bare.Store(false) },
			"secondary", "certificate required",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.certify("primary", ours, "primary", now)
			c.wrong(p)
			cl := clustertest.NewOver(t, p.shape, p)
			cl.Start()
			if got := cl.Leader(limit); got != "primary" {
				t.Fatalf("%s leads", got)
			}
			cl.Eventually(limit, "the reason in the log: "+c.says, func() bool { return has(p.log.String(), c.node+": member is out of contact", c.says) })
			if v := cl.Node("primary").Health().Voters; v != 1 {
				t.Errorf("voters: got %d, want the Primary alone", v)
			}
			if v := cl.Node("secondary").View(); v.Leader != "" || v.Waiting == "" {
				t.Errorf("the Secondary: got leader %q, waiting %q, want none and a sentence", v.Leader, v.Waiting)
			}
			c.mend(p)
			cl.Voters(2, limit)
		})
	}
}

// A running node shows a renewed certificate at the very next handshake.
func TestARenewedCertificateIsUsedAtTheNextHandshake(t *testing.T) {
	now := time.Now()
	a := authority(t, now)
	p := newPair(t)
	for _, m := range p.shape {
		p.certify(m.NodeID, a, m.NodeID, now.AddDate(-1, 0, 0))
	}
	c := clustertest.NewOver(t, p.shape, p)
	c.Start()
	c.Voters(2, limit)
	for _, m := range p.shape {
		before := shown(t, m.ClusterAddress)
		r, err := a.Renew(p.file(m.NodeID, pki.NodeCert), p.file(m.NodeID, pki.AuthorityCert), m.NodeID, "127.0.0.1", now)
		if err != nil {
			t.Fatal(err)
		}
		after := shown(t, m.ClusterAddress)
		if after.SerialNumber.Cmp(before.SerialNumber) == 0 || !after.NotAfter.Equal(r.Ends.Truncate(time.Second)) {
			t.Errorf("%s shows a certificate until %v, renewed until %v", m.NodeID, after.NotAfter, r.Ends)
		}
	}
	c.Voters(2, limit)
}

// A certificate that is half copied is not used: the one before is, until the copy is whole.
func TestACertificateThatCannotBeReadLeavesTheOneBeforeInUse(t *testing.T) {
	a := authority(t, time.Now())
	p := newPair(t)
	for _, m := range p.shape {
		p.certify(m.NodeID, a, m.NodeID, time.Now())
	}
	c := clustertest.NewOver(t, p.shape, p)
	c.Start()
	c.Voters(2, limit)
	m := p.shape[1]
	before := shown(t, m.ClusterAddress)
	for _, file := range []string{pki.NodeCert, pki.NodeKey, pki.AuthorityCert} {
		if err := os.Truncate(p.file(m.NodeID, file), 100); err != nil {
			t.Fatal(err)
		}
		if now := shown(t, m.ClusterAddress); now.SerialNumber.Cmp(before.SerialNumber) != 0 {
			t.Errorf("%s: another certificate is shown", file)
		}
	}
	p.certify(m.NodeID, a, m.NodeID, time.Now())
	if now := shown(t, m.ClusterAddress); now.SerialNumber.Cmp(before.SerialNumber) == 0 {
		t.Error("the new certificate is not used once it is whole")
	}
	c.Voters(2, limit)
}

// shown is the certificate that a stranger gets to see who calls there.
func shown(t *testing.T, address string) *x509.Certificate {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
}
