package settings

import (
	"context"
	"strings"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/etcdnode"
	clusterport "scomconnector/cluster/port"
)

// checkEtcd holds what an etcd needs against what an etcd makes superfluous.
func (n *Node) checkEtcd(r *reader) {
	e := &n.Etcd
	if e.User == "" && !e.Password.IsZero() {
		r.fault("Etcd.User", "", "a Password needs a User beside it")
	}
	if e.User != "" && e.Password.IsZero() {
		r.fault("Etcd.Password", "", "a User needs a Password beside it")
	}
	if n.Coordination != "etcd" {
		return
	}
	if len(e.Endpoints) == 0 {
		r.faultAt(r.offset("Coordination"), "Etcd.Endpoints", "", "Coordination etcd needs the addresses of an etcd of yours, such as https://etcd1.contoso.com:2379")
	}
	if n.count(cluster.Witness) > 0 {
		r.fault("Members", "", "with Coordination etcd there is nothing for a Witness to do: the etcd decides; take it out")
	}
	if !strings.HasSuffix(e.Prefix, "/") {
		e.Prefix += "/"
	}
	for _, u := range e.Endpoints {
		host := strings.TrimPrefix(u, "http://")
		if host != u && !isLoopback(host) {
			r.warn("Etcd.Endpoints", "%s is not encrypted: whoever reaches that network can read and change the keys; use https://", u)
		}
	}
}

// EtcdConfig is what the settings say of the etcd.
func (n *Node) EtcdConfig(version string) etcdnode.Config {
	e := n.Etcd
	cfg := etcdnode.Config{
		NodeID: n.NodeID, Role: n.Role, Members: n.Members, ClusterAddress: n.ClusterAddress, DataDir: n.DataDir, Version: version,
		Endpoints: e.Endpoints, Prefix: e.Prefix, TTL: e.TTLSeconds, TLS: etcdnode.FileTLS(e.CaFile, e.CertFile, e.KeyFile),
		User: e.User, Password: e.Password.Resolve,
	}
	if t := n.ClusterTls; t.CertFile != "" {
		cfg.ClusterTLS = clusterport.FileTLS(t.CertFile, t.KeyFile, t.CaFile)
	}
	return cfg
}

// etcdTime bounds asking all endpoints.
const etcdTime = 20 * time.Second

// etcd asks the etcd for everything that the node will need of it.
func (c *checker) etcd(n *Node) {
	ctx, cancel := context.WithTimeout(context.Background(), etcdTime)
	defer cancel()
	findings, working := etcdnode.Look(ctx, n.EtcdConfig("")).Findings()
	for _, f := range findings {
		text := f.Text
		if f.Endpoint != "" {
			text = f.Endpoint + ": " + text
		}
		if f.Fatal {
			c.fault("Etcd.Endpoints", "%s", text)
		} else {
			c.warn("Etcd.Endpoints", "%s", text)
		}
	}
	for _, w := range working {
		c.note("etcd answers: %s", w)
	}
}
