package daemon

import (
	"fmt"

	"scomconnector/cluster"
	"scomconnector/cluster/etcdnode"
	"scomconnector/cluster/port"
	"scomconnector/cluster/raftnode"
	"scomconnector/cmd/settings"
)

// backend is what decides who leads and holds the state: the nodes themselves, or an etcd.
type backend interface {
	cluster.Coordinator
	cluster.Peers
	cluster.Members
	Close() error
}

// openBackend opens the one that node.json's Coordination names.
func (n *node) openBackend() (backend, error) {
	log := n.log.Named("cluster")
	// A node that cannot show who it is would only find everybody out of contact, and advise to take over.
	if t := n.opts.Node.ClusterTls; t.CertFile != "" {
		if _, err := port.FileTLS(t.CertFile, t.KeyFile, t.CaFile).Server(); err != nil {
			return nil, fmt.Errorf("ClusterTls: %w", err)
		}
	}
	if n.opts.Node.Coordination == "etcd" {
		cfg := n.opts.Node.EtcdConfig(n.opts.Version)
		cfg.Listener, cfg.Dial = n.opts.ClusterListener, n.opts.Dial
		cfg.Serve, cfg.OnHandover = n.serveAsk, n.countHandover
		b, err := etcdnode.Open(cfg, log, n.reg)
		if err != nil {
			return nil, err // not a nil *Node in an interface
		}
		return b, nil
	}
	cfg := raftConfig(n.opts.Node, n.opts.Version)
	cfg.Listener, cfg.Dial, cfg.Memory, cfg.BeforeWrite = n.opts.ClusterListener, n.opts.Dial, n.opts.Memory, n.opts.BeforeWrite
	cfg.MayTakeOver, cfg.Serve, cfg.OnHandover = n.mayTakeOver, n.serveAsk, n.countHandover
	b, err := raftnode.Open(cfg, log, n.reg)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func raftConfig(c *settings.Node, version string) raftnode.Config {
	cfg := raftnode.Config{
		NodeID: c.NodeID, Role: c.Role, Members: c.Members, ClusterAddress: c.ClusterAddress, DataDir: c.DataDir,
		Timing: c.Timing, Version: version, PairTakeover: c.PairTakeover, TakeoverAfter: c.TakeoverAfter, ClaimDir: c.ClaimDir,
	}
	if t := c.ClusterTls; t.CertFile != "" {
		cfg.TLS = port.FileTLS(t.CertFile, t.KeyFile, t.CaFile)
	}
	return cfg
}
