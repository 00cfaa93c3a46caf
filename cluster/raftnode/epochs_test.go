package raftnode

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
	"scomconnector/test/pipenet"
)

// dialled keeps the raft connections that a node has made.
type dialled struct {
	mu   sync.Mutex // guards all below
	raft []*dialledConn
}

// dialledConn knows by its first byte what it is for.
type dialledConn struct {
	net.Conn
	of     *dialled
	begun  bool // guarded by of.mu, as what follows
	closed bool
}

func (d *dialled) by(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &dialledConn{Conn: conn, of: d}, nil
	}
}

// open are the raft connections that are not closed.
func (d *dialled) open() (list []*dialledConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.raft {
		if !c.closed {
			list = append(list, c)
		}
	}
	return list
}

func (c *dialledConn) Write(b []byte) (int, error) {
	c.of.mu.Lock()
	if !c.begun && len(b) > 0 && b[0] == port.KindRaft {
		c.of.raft = append(c.of.raft, c)
	}
	c.begun = true
	c.of.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *dialledConn) Close() error {
	c.of.mu.Lock()
	c.closed = true
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// Raft knows no epochs: over a connection from before, the node that was left behind would be given entries of the new one.
func TestRaftConnectionsEndWithTheirEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, claims, conns := pipenet.New(), &slowClaims{during: func() {}}, &dialled{}
		cfg := Config{NodeID: "primary", Role: cluster.Primary, Members: two, PairTakeover: takeoverClaim, Claims: claims}
		cfg.Dial = conns.by(net.Dialer("primary"))
		n := inMemoryWith(t, net, cfg)
		inMemoryWith(t, net, Config{NodeID: "secondary", Role: cluster.Secondary, Members: two, PairTakeover: takeoverClaim, Claims: claims})
		until(t, 10*time.Second, "the secondary votes", func() bool { return n.term.Load() != nil && suffrage(n.servers(), "secondary") == "voter" })
		time.Sleep(time.Second)
		before := conns.open()
		if len(before) == 0 {
			t.Fatal("the leader has no connection to its follower: this tests nothing")
		}
		if err := n.goOnAlone(t.Context(), n.term.Load(), n.peers["secondary"], "the test says so"); err != nil {
			t.Fatal(err)
		}
		until(t, 10*time.Second, "the epoch begins", func() bool { id := n.ident(); return id.Epoch.Number == 2 && !id.Forced.pending() })
		synctest.Wait()
		for _, c := range conns.open() {
			for _, old := range before {
				if c == old {
					t.Error("a connection of the epoch before is still open")
				}
			}
		}
	})
}

// Between the decision and the first entry of the new epoch both are still in the old one, by what they say.
func TestNoRaftConnectionWhileAnEpochIsAboutToBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := pipenet.New()
		n := inMemory(t, net, "primary", two...)
		s := inMemory(t, net, "secondary", two...)
		until(t, 10*time.Second, "both vote", func() bool { return n.Health().Voters == 2 })
		time.Sleep(time.Second)
		theirs := s.greeting()
		if got := n.judge(port.KindRaft, theirs); got != "" {
			t.Fatalf("at rest: %q", got)
		}
		theirs.Forcing = true
		if n.judge(port.KindRaft, theirs) == "" {
			t.Error("it takes a connection from a node that is about to begin an epoch")
		}
		theirs.Forcing = false
		force := func(f forced) {
			if err := n.changeIdentity(func(id *identity) { id.Forced = f }); err != nil {
				t.Fatal(err)
			}
		}
		force(forced{Epoch: state.Epoch{Number: 2, Node: "primary"}})
		if n.judge(port.KindRaft, theirs) == "" {
			t.Error("it takes a connection while it is itself about to begin an epoch")
		}
		force(forced{})
	})
}
