package raftnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
)

// Config is what a node needs to know of itself and of its cluster.
type Config struct {
	NodeID         string
	Role           cluster.Role
	Members        []cluster.Member // this node among them; any order
	ClusterAddress string           // HOST:PORT as the others reach this node; empty: as in Members
	DataDir        string           // created, for its owner only
	Timing         string           // "lan" (also ""), "fast" or "relaxed"
	Version        string           // program version, shown to the others
	// WriteDeadline is how long a write to the store may take before the store is given up; 0 is
	// DefaultWriteDeadline.
	WriteDeadline time.Duration
	// TLS is required unless all members are on this machine or this is the only one.
	TLS port.TLS
	// Listener and Dial replace the network; nil is TCP.
	Listener net.Listener
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	// Memory, if not nil, is used in place of DataDir.
	Memory *Memory
	// PairTakeover says what becomes of a pair without a witness whose leader is lost: "availability" (also
	// ""), "claim" or "operator"; TakeoverAfter is availability's patience, 0 is DefaultTakeoverAfter; ClaimDir
	// is claim's folder, which both nodes reach, and Claims, if not nil, takes its place.
	PairTakeover  string
	TakeoverAfter time.Duration
	ClaimDir      string
	Claims        Claims
	// MayTakeOver is asked before this node takes over by itself; an error says why it should not: it reaches
	// neither SCOM nor a LAM, or its sibling still answers on another way. nil: it may. It must heed ctx.
	MayTakeOver func(ctx context.Context) error
	// Serve answers what other members Ask. nil: nothing is answered.
	Serve func(ctx context.Context, from string, request []byte) ([]byte, error)
	// OnHandover, if not nil, is told how each handover by this node has ended.
	OnHandover func(cause cluster.Cause, err error)
	// Wall is the machine's clock; nil is the real one. A jump against the monotonic clock tells a pause.
	Wall func() time.Time
	// Space is the room on the disk that holds DataDir; nil asks the file system.
	Space func() (Space, error)
	// BeforeWrite, if not nil, is called before each write to the data folder, in the write's own time. It
	// is a fault switch: what it returns is the write's error, and blocking in it is a slow disk.
	BeforeWrite func(op string) error
}

// DefaultTakeoverAfter is node.json's TakeoverAfter.
const DefaultTakeoverAfter = 15 * time.Second

// DefaultWriteDeadline is far above the slowest healthy disk, and short enough that a node with a
// hung one is replaced before people notice.
const DefaultWriteDeadline = 5 * time.Second

// timing is one line of the timing table. Invariant: lease <= heartbeat <= election.
type timing struct {
	heartbeat, election, lease time.Duration
	commit                     time.Duration // how soon an idle follower learns what was committed
}

// timings: measured with a black-holed leader and three voters, a new one leads after a median of
// 1.2 s (lan) and 0.6 s (fast). relaxed is for virtual machines that are stunned by snapshots.
var timings = map[string]timing{
	"lan":     {500 * time.Millisecond, 500 * time.Millisecond, 250 * time.Millisecond, 250 * time.Millisecond},
	"fast":    {300 * time.Millisecond, 300 * time.Millisecond, 150 * time.Millisecond, 100 * time.Millisecond},
	"relaxed": {2 * time.Second, 2 * time.Second, time.Second, 400 * time.Millisecond},
}

func (t timing) forRole(r cluster.Role) timing {
	if r == cluster.Witness {
		// A witness that wakes first refuses nobody its vote; one that wakes late makes the others
		// wait for it, and then wins (measured: 2.8 s and 0 of 12, against 0.9 s and 16 of 16).
		t.heartbeat /= 2
		t.lease = min(t.lease, t.heartbeat)
	}
	return t
}

// withDefaults fills in what may be left out and reports every fault at once.
func (c Config) withDefaults() (Config, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if c.Timing == "" {
		c.Timing = "lan"
	}
	if _, ok := timings[c.Timing]; !ok {
		fault("Timing is %q: use lan, fast or relaxed", c.Timing)
	} else if _, ok := pairTimings[c.Timing]; !ok && c.strictPair() {
		fault("Timing is %q, but a pair without a witness must tell a slow partner from a lost one: use lan or relaxed", c.Timing)
	}
	faults = append(faults, c.pairDefaults()...)
	if c.WriteDeadline == 0 {
		c.WriteDeadline = DefaultWriteDeadline
	}
	if c.WriteDeadline < 0 {
		fault("WriteDeadline is %v: it must be positive", c.WriteDeadline)
	}
	if c.DataDir == "" && c.Memory == nil {
		fault("DataDir is empty: name the folder where this node keeps its data")
	}
	if c.Space == nil {
		c.Space = Config{DataDir: c.DataDir, Memory: c.Memory}.diskSpace
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	c.Members = slices.Clone(c.Members)
	self := slices.IndexFunc(c.Members, func(m cluster.Member) bool { return m.NodeID == c.NodeID })
	if self < 0 {
		fault("Members does not list this node, NodeID %q", c.NodeID)
	} else {
		if c.ClusterAddress == "" {
			c.ClusterAddress = c.Members[self].ClusterAddress
		}
		if c.Members[self].Role != c.Role {
			fault("Role is %q, but Members says %q for %q", c.Role, c.Members[self].Role, c.NodeID)
		}
	}
	faults = append(faults, checkMembers(c.Members)...)
	if len(c.Members) > 1 && !c.TLS.Enabled() && c.Listener == nil && !port.AllLoopback(c.Members) {
		fault("the members are on several machines, and ClusterTls is not set: whoever reaches the cluster port could change the cluster; issue node-to-node certificates and set ClusterTls")
	}
	return c, errors.Join(faults...)
}

// diskSpace is the room on DataDir's disk. Memory is never full.
func (c Config) diskSpace() (Space, error) {
	if c.Memory != nil {
		return Space{Free: lowSpace, Total: lowSpace}, nil
	}
	return spaceOf(c.DataDir)
}

// pairDefaults fills in what becomes of a pair whose leader is lost.
func (c *Config) pairDefaults() (faults []error) {
	if c.PairTakeover == "" {
		c.PairTakeover = takeoverAvailability
	}
	if c.TakeoverAfter == 0 {
		c.TakeoverAfter = DefaultTakeoverAfter
	}
	if c.Wall == nil {
		c.Wall = func() time.Time { return time.Now().Round(0) }
	}
	switch c.PairTakeover {
	case takeoverAvailability, takeoverOperator:
	case takeoverClaim:
		if c.strictPair() && c.Claims == nil && c.ClaimDir == "" {
			faults = append(faults, errors.New("PairTakeover is claim, and ClaimDir is empty: name a folder that both nodes reach"))
		}
	default:
		faults = append(faults, fmt.Errorf("PairTakeover is %q: use availability, claim or operator", c.PairTakeover))
	}
	return faults
}

// How a strict pair whose leader is lost goes on.
const (
	takeoverAvailability = "availability"
	takeoverClaim        = "claim"
	takeoverOperator     = "operator"
)

func checkMembers(members []cluster.Member) (faults []error) {
	primaries, ids, addresses := 0, map[string]bool{}, map[string]bool{}
	for _, m := range members {
		if m.NodeID == "" || ids[m.NodeID] {
			faults = append(faults, fmt.Errorf("in Members, NodeID %q is empty or used twice", m.NodeID))
		}
		if len(members) > 1 && (m.ClusterAddress == "" || addresses[m.ClusterAddress]) {
			faults = append(faults, fmt.Errorf("in Members, ClusterAddress %q of %q is empty or used twice", m.ClusterAddress, m.NodeID))
		}
		ids[m.NodeID], addresses[m.ClusterAddress] = true, true
		if m.Role == cluster.Primary {
			primaries++
		}
	}
	if primaries != 1 {
		faults = append(faults, fmt.Errorf("in Members, %d have Role Primary: it must be exactly one, since only the Primary may form the cluster", primaries))
	}
	return faults
}

func (c Config) member(nodeID string) (cluster.Member, bool) {
	i := slices.IndexFunc(c.Members, func(m cluster.Member) bool { return m.NodeID == nodeID })
	if i < 0 {
		return cluster.Member{}, false
	}
	return c.Members[i], true
}

// listen opens the cluster port.
func (c Config) listen(ctx context.Context) (net.Listener, error) {
	if c.Listener != nil {
		return c.Listener, nil
	}
	return port.Listen(ctx, c.ClusterAddress)
}
