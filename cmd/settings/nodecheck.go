package settings

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"

	"scomconnector/cluster"
)

// check applies the rules between keys. Values that the table has refused are empty here and raise no second fault.
func (n *Node) check(r *reader) {
	n.checkMembers(r)
	n.checkOwnEntry(r)
	n.checkClusterAddresses(r)
	n.checkTls(r)
	n.checkEtcd(r)
	if n.Timing == "fast" && n.strictPair() {
		r.fault("Timing", "lan, relaxed", "a pair without a witness must tell a slow partner from a lost one, for which fast leaves no time")
	}
	if n.PairTakeover == "claim" && n.ClaimDir == "" && n.strictPair() {
		r.faultAt(r.offset("PairTakeover"), "ClaimDir", "", "PairTakeover claim needs a folder that both nodes reach")
	}
	if n.Log.EventLog && runtime.GOOS != "windows" {
		r.warn("Log.EventLog", "only Windows has an event log")
	}
	n.AdvertiseUrl = n.advertised()
	for i := range n.Members {
		n.Members[i].Url = strings.TrimRight(n.Members[i].Url, "/")
	}
}

// strictPair: two members, both of which must agree.
func (n *Node) strictPair() bool {
	return n.Coordination != "etcd" && len(n.Members) == 2 && n.count(cluster.Witness) == 0
}

func (n *Node) count(role cluster.Role) int {
	k := 0
	for _, m := range n.Members {
		if m.Role == role {
			k++
		}
	}
	return k
}

func (n *Node) checkMembers(r *reader) {
	if len(n.Members) == 0 {
		return
	}
	if k := n.count(cluster.Primary); k != 1 {
		r.fault("Members", "", "exactly one member must have the Role Primary, here %d have it", k)
	}
	if k := n.count(cluster.Witness); k > 1 {
		r.fault("Members", "", "at most one member can have the Role Witness, here %d have it", k)
	}
	if len(n.Members) == 2 && n.count(cluster.Witness) == 1 {
		r.warn("Members", "a witness beside one connector node makes it less safe, not safer: add a Secondary")
	}
	ids, addresses := map[string]int{}, map[string]int{}
	for i, m := range n.Members {
		n.checkTwice(r, ids, m.NodeID, i, "NodeID")
		n.checkTwice(r, addresses, m.ClusterAddress, i, "ClusterAddress")
	}
}

// checkTwice refuses a value that another member has; case does not tell machines apart.
func (n *Node) checkTwice(r *reader, seen map[string]int, value string, i int, key string) {
	if value == "" {
		return
	}
	folded := strings.ToLower(value)
	if first, twice := seen[folded]; twice {
		r.fault(fmt.Sprintf("Members[%d].%s", i, key), "", "%q is also that of Members[%d]", value, first)
		return
	}
	seen[folded] = i
}

// Self is this node's entry in Members.
func (n *Node) Self() (cluster.Member, bool) {
	i := n.selfIndex()
	if i < 0 {
		return cluster.Member{}, false
	}
	return n.Members[i], true
}

func (n *Node) selfIndex() int {
	for i, m := range n.Members {
		if m.NodeID == n.NodeID {
			return i
		}
	}
	return -1
}

func (n *Node) checkOwnEntry(r *reader) {
	if n.NodeID == "" || len(n.Members) == 0 {
		return
	}
	i := n.selfIndex()
	if i < 0 {
		r.fault("NodeID", "", "no entry of Members has the NodeID %q", n.NodeID)
		return
	}
	own := n.Members[i]
	if own.Role != "" && n.Role != "" && own.Role != n.Role {
		r.fault("Role", "", "is %s, but Members[%d].Role says %s", n.Role, i, own.Role)
	}
	if own.ClusterAddress != "" && n.ClusterAddress != "" && !strings.EqualFold(own.ClusterAddress, n.ClusterAddress) {
		r.fault("ClusterAddress", "", "is %s, but Members[%d].ClusterAddress says %s", n.ClusterAddress, i, own.ClusterAddress)
	}
}

func (n *Node) checkClusterAddresses(r *reader) {
	unusable := func(path, address string) {
		if address != "" && isUnspecified(address) {
			r.fault(path, "the machine's own name or address", "%s is no address that the other machines can call", address)
		}
	}
	unusable("ClusterAddress", n.ClusterAddress)
	for i, m := range n.Members {
		unusable(fmt.Sprintf("Members[%d].ClusterAddress", i), m.ClusterAddress)
	}
	if portOf(n.ListenAddress) != "" && portOf(n.ListenAddress) == portOf(n.ClusterAddress) {
		r.fault("ClusterAddress", "", "has the port of ListenAddress; the two need a port each")
	}
}

// checkTls refuses halves of a certificate, and nodes that would speak to each other in the clear.
func (n *Node) checkTls(r *reader) {
	both := func(path, cert, key string) {
		if (cert == "") != (key == "") {
			r.fault(path, "", "CertFile and KeyFile belong together: one of them is missing")
		}
	}
	both("Tls", n.Tls.CertFile, n.Tls.KeyFile)
	both("Etcd", n.Etcd.CertFile, n.Etcd.KeyFile)
	if n.Tls.RequireClientCert && (n.Tls.CertFile == "" || n.Tls.CaFile == "") {
		r.fault("Tls.RequireClientCert", "", "needs CertFile, KeyFile and CaFile beside it")
	}
	t := n.ClusterTls
	some, all := t.CertFile+t.KeyFile+t.CaFile != "", t.CertFile != "" && t.KeyFile != "" && t.CaFile != ""
	switch {
	case some && !all:
		r.fault("ClusterTls", "", "needs all of CertFile, KeyFile and CaFile, or none of them")
	case !all && len(n.Members) > 1 && !n.onLoopback():
		r.faultAt(r.offset("Members"), "ClusterTls", "", "several machines need CertFile, KeyFile and CaFile here, since they speak to each other over the network. "+
			"scomconnector init makes them with the files, scomconnector cert ca and cert issue for files of your own")
	}
}

// onLoopback reports whether all members are on this machine.
func (n *Node) onLoopback() bool {
	for _, m := range n.Members {
		if m.ClusterAddress != "" && !isLoopback(m.ClusterAddress) {
			return false
		}
	}
	return true
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func isUnspecified(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || (err == nil && ip.IsUnspecified())
}

func portOf(address string) string {
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return p
}

// advertised is what others call this node's API: AdvertiseUrl, else its Url in Members, else the cluster's host name with the
// API's port, since that name is one that other machines know.
func (n *Node) advertised() string {
	if n.AdvertiseUrl != "" {
		return strings.TrimRight(n.AdvertiseUrl, "/")
	}
	if own, ok := n.Self(); ok && own.Url != "" {
		return strings.TrimRight(own.Url, "/")
	}
	host, _, err := net.SplitHostPort(n.ClusterAddress)
	if err != nil || n.ListenAddress == "" {
		return ""
	}
	scheme := "http"
	if n.Tls.CertFile != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, portOf(n.ListenAddress))
}
