package etcdnode

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
)

// Config is what a node needs to know of itself, of its cluster and of the etcd.
type Config struct {
	NodeID         string
	Role           cluster.Role
	Members        []cluster.Member // this node among them; any order
	ClusterAddress string           // HOST:PORT as the others reach this node; empty: as in Members
	DataDir        string           // keeps who this node is, and nothing of the state
	Version        string           // program version, shown to the others

	Endpoints []string // http:// or https://
	Prefix    string   // of all keys; ends with a slash
	TTL       time.Duration
	// TLS makes the settings for each connection to etcd; nil: those of the machine.
	TLS  func() (*tls.Config, error)
	User string
	// Password is asked for when User is set.
	Password func() (string, error)

	// ClusterTLS is for the port between the nodes; it is required unless all members are on this machine.
	ClusterTLS port.TLS
	// Listener and Dial replace the network between the nodes; nil is TCP.
	Listener net.Listener
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	// Serve answers what other members Ask. nil: nothing is answered.
	Serve func(ctx context.Context, from string, request []byte) ([]byte, error)
	// OnHandover, if not nil, is told how each handover by this node has ended.
	OnHandover func(cause cluster.Cause, err error)
	// Wall is the machine's clock; nil is the real one. A jump against the monotonic clock tells a pause.
	Wall func() time.Time

	// store replaces the etcd, for tests.
	store kv
}

// DefaultTTL and DefaultPrefix are node.json's.
const (
	DefaultTTL    = 5 * time.Second
	DefaultPrefix = "/scomconnector/"
)

// margin is how long before its lease could be given away a leader has stopped: what lead needs to notice, and what two clocks may
// differ in their pace.
func margin(ttl time.Duration) time.Duration { return max(500*time.Millisecond, ttl/10) }

func (c Config) withDefaults() (Config, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.TTL < 3*time.Second || c.TTL > time.Minute {
		fault("Etcd.TTLSeconds is %v: 3 to 60 seconds", c.TTL)
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if !strings.HasSuffix(c.Prefix, "/") {
		c.Prefix += "/"
	}
	if len(c.Endpoints) == 0 && c.store == nil {
		fault("Etcd.Endpoints is empty: name the etcd's addresses, such as https://etcd1.contoso.com:2379")
	}
	if c.DataDir == "" {
		fault("DataDir is empty: name the folder where this node keeps who it is")
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Wall == nil {
		c.Wall = func() time.Time { return time.Now().Round(0) }
	}
	c.Members = slices.Clone(c.Members)
	if m, ok := c.member(c.NodeID); !ok {
		fault("Members does not list this node, NodeID %q", c.NodeID)
	} else {
		if c.ClusterAddress == "" {
			c.ClusterAddress = m.ClusterAddress
		}
		if m.Role != c.Role {
			fault("Role is %q, but Members says %q for %q", c.Role, m.Role, c.NodeID)
		}
	}
	for _, m := range c.Members {
		if m.Role == cluster.Witness {
			fault("%s is a witness: an etcd decides here, and has its own majority; take the witness out of Members", m.NodeID)
		}
	}
	if len(c.Members) > 1 && !c.ClusterTLS.Enabled() && c.Listener == nil && !port.AllLoopback(c.Members) {
		fault("the members are on several machines, and ClusterTls is not set: issue node-to-node certificates and set ClusterTls")
	}
	return c, errors.Join(faults...)
}

func (c Config) member(nodeID string) (cluster.Member, bool) {
	for _, m := range c.Members {
		if m.NodeID == nodeID {
			return m, true
		}
	}
	return cluster.Member{}, false
}

// memberLines are what is kept of Members in etcd.
func (c Config) memberLines() []string {
	var lines []string
	for _, m := range c.Members {
		lines = append(lines, m.NodeID+" "+m.ClusterAddress)
	}
	slices.Sort(lines)
	return lines
}

// FileTLS is TLS towards etcd from PEM files that are read anew for each connection. Each may be empty: caFile for the machine's own
// authorities, certFile and keyFile where etcd asks for no certificate.
func FileTLS(caFile, certFile, keyFile string) func() (*tls.Config, error) {
	return func() (*tls.Config, error) {
		cfg := &tls.Config{MinVersion: tls.VersionTLS12}
		if caFile != "" {
			pem, err := os.ReadFile(caFile)
			if err != nil {
				return nil, fmt.Errorf("read Etcd.CaFile: %w", err)
			}
			cfg.RootCAs = x509.NewCertPool()
			if !cfg.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("read Etcd.CaFile: %s holds no certificate", caFile)
			}
		}
		if certFile != "" {
			cert, err := tls.LoadX509KeyPair(certFile, keyFile)
			if err != nil {
				return nil, fmt.Errorf("read Etcd.CertFile and KeyFile: %w", err)
			}
			cfg.Certificates = []tls.Certificate{cert}
		}
		return cfg, nil
	}
}
