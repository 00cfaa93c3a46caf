package port

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"

	"scomconnector/cluster"
)

// Listen opens a cluster port. A host name is where others find this node, perhaps by way of an
// address that this machine does not have, or has only until tomorrow: so only a literal address
// and localhost are bound to, any other name listens on all.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("ClusterAddress %q: %w", address, err)
	}
	if host != "localhost" && net.ParseIP(host) == nil {
		host = ""
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("open the cluster port: %w", err)
	}
	return ln, nil
}

// AllLoopback reports whether all members are on this machine, as far as their addresses show it.
func AllLoopback(members []cluster.Member) bool {
	return !slices.ContainsFunc(members, func(m cluster.Member) bool {
		host, _, err := net.SplitHostPort(m.ClusterAddress)
		if err != nil {
			return true
		}
		ip := net.ParseIP(host)
		return host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}

// MembersHash is equal on two nodes whose files name the same members in any order. Url is left out:
// it is for people, and may be corrected on one node at a time.
func MembersHash(members []cluster.Member) string {
	lines := make([]string, 0, len(members))
	for _, m := range members {
		lines = append(lines, fmt.Sprintf("%q %q %q", m.NodeID, m.Role, m.ClusterAddress))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:8])
}
