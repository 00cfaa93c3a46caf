package raftnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
)

// Limits of the log. Together they keep the store's file, which never shrinks, in the tens of megabytes.
const (
	// snapshotBytes of log are followed by a snapshot: raft itself looks only at the number of entries,
	// and only every few seconds.
	snapshotBytes = 4 << 20
	// snapshotEntries are enough small entries for a snapshot, looked at every snapshotEvery.
	snapshotEntries = 1024
	snapshotEvery   = 10 * time.Second
	// trailingEntries stay behind a snapshot, so that a member which was away for a moment needs no
	// whole snapshot. At most 8 MiB of them.
	trailingEntries = 128
	// maxAppend entries of at most 64 KiB go in one message: 2 MiB.
	maxAppend = 32
	// rpcTimeout bounds one message of raft's between nodes; a snapshot gets as much for each snapshotScale bytes.
	rpcTimeout    = time.Second
	snapshotScale = 64 << 10
	// shutdownTimeout, and the write deadline, bound how long raft may take to end; it is left behind then.
	shutdownTimeout = time.Second
)

// instance is one life of raft in this node.
type instance struct {
	raft      *raft.Raft
	transport *transport
	stream    *stream
	started   time.Time
	notify    chan bool
	watched   chan struct{} // closed when the reader of notify has ended
	done      chan struct{} // closed to end it
}

func (n *Node) newInstance() *instance {
	i := &instance{started: time.Now(), notify: make(chan bool, 8), watched: make(chan struct{}), done: make(chan struct{})}
	i.stream = newStream(n.cfg.ClusterAddress, n.dialRaft)
	log := newRaftLog(n.log.Named("raft"))
	i.transport = &transport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			ServerAddressProvider: addresses{n.cfg},
			Logger:                log,
			Stream:                i.stream,
			MaxPool:               2,
			MaxRPCsInFlight:       1, // see the package comment
			Timeout:               n.rpcTimeout(),
		}),
		reluctant: func() bool { return n.reluctant(i) },
		await: func(id raft.ServerID, done <-chan struct{}) {
			if p := n.peers[string(id)]; p != nil {
				p.await(done)
			}
		},
		doubt: func(id raft.ServerID) {
			if p := n.peers[string(id)]; p != nil {
				p.doubt()
			}
		},
		acked: func(id raft.ServerID) {
			if p := n.peers[string(id)]; p != nil {
				p.ack()
			}
		},
		done: make(chan struct{}),
	}
	i.transport.TimeoutScale = snapshotScale
	return i
}

// rpcTimeout bounds one message. In a pair a black hole must be noticed within the lease.
func (n *Node) rpcTimeout() time.Duration {
	if n.pair != nil {
		return n.pair.rpc
	}
	return max(rpcTimeout, n.timing.election)
}

func (n *Node) raftConfig(i *instance) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.NodeID)
	c.HeartbeatTimeout = n.timing.heartbeat
	c.ElectionTimeout = n.timing.election
	c.LeaderLeaseTimeout = n.timing.lease
	c.CommitTimeout = n.timing.commit
	c.MaxAppendEntries = maxAppend
	c.ShutdownOnRemove = false // a removed node stays up, to be taken back
	c.TrailingLogs = trailingEntries
	c.SnapshotInterval = snapshotEvery
	c.SnapshotThreshold = snapshotEntries
	c.NotifyCh = i.notify
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLog(n.log.Named("raft"))
	return c
}

// startRaft starts raft on the store. Where raft panics on what it finds, that is an error here.
func (n *Node) startRaft() error {
	i := n.newInstance()
	err := guarded(func() error {
		r, err := raft.NewRaft(n.raftConfig(i), n.fsm, n.store, n.store, n.snaps, i.transport)
		i.raft = r
		return err
	})
	if err == nil && n.failedNow() != nil {
		err = n.failedNow()
	}
	if err != nil {
		i.transport.Close() //nolint:errcheck // it was not used
		return fmt.Errorf("start from the data folder: %w", err)
	}
	n.store.running.Store(true)
	go n.led.watch(i)
	n.inst.Store(i)
	return nil
}

// guarded runs f in a goroutine of its own, which f may end, and turns its panic into an error.
func guarded(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("it was given up")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("raft: %v", p)
			}
			done <- err
		}()
		err = f()
	}()
	return <-done
}

// stopRaft ends raft in bounded time. All connections must be closed: raft waits for reads
// that have no deadline.
func (n *Node) stopRaft() error {
	i := n.inst.Load()
	if i == nil {
		return nil
	}
	close(i.transport.done)
	i.transport.CloseStreams()
	i.transport.Close() //nolint:errcheck // never fails
	ended := make(chan error, 1)
	go func() { ended <- i.raft.Shutdown().Error() }()
	timer := time.NewTimer(n.cfg.WriteDeadline + shutdownTimeout)
	defer timer.Stop()
	var err error
	select {
	case err = <-ended:
	case <-timer.C:
		err = errors.New("raft has not ended in time and was left behind")
	}
	close(i.done)
	<-i.watched
	return err
}

// reluctant: a witness, until it is clear that nobody else leads; and a node that is about to stop.
func (n *Node) reluctant(i *instance) bool {
	// A vote is small and may still fit on a full disk where the start of a term does not: such a node was elected again and
	// again, for as long as it waited for space, and led nothing.
	if n.leaving.Load() || n.store.trouble() != nil {
		return true
	}
	if n.mayLead() || i.raft == nil {
		return false
	}
	last := i.raft.LastContact()
	if last.IsZero() {
		last = i.started
	}
	return time.Since(last) < 6*n.timing.election
}

// mayLead: neither a witness nor in maintenance.
func (n *Node) mayLead() bool {
	return n.cfg.Role != cluster.Witness && !n.fsm.state.InMaintenance(n.cfg.NodeID)
}

// dialRaft connects to whoever the address belongs to.
func (n *Node) dialRaft(ctx context.Context, address string) (net.Conn, error) {
	for _, m := range n.known() {
		if m.ClusterAddress != address {
			continue
		}
		conn, theirs, err := n.port.call(ctx, kindRaft, m)
		if theirs.NodeID != "" {
			n.meet(theirs)
		}
		return conn, err
	}
	return nil, fmt.Errorf("no member has the address %s", address)
}

// known lists the members of the file, then those that only raft's configuration has.
func (n *Node) known() []cluster.Member {
	list := append([]cluster.Member(nil), n.cfg.Members...)
	for _, s := range n.servers() {
		if _, ok := n.cfg.member(string(s.ID)); !ok {
			list = append(list, cluster.Member{NodeID: string(s.ID), ClusterAddress: string(s.Address)})
		}
	}
	return list
}

// servers is raft's newest configuration, empty without one.
func (n *Node) servers() []raft.Server {
	i := n.inst.Load()
	if i == nil {
		return nil
	}
	return i.raft.GetConfiguration().Configuration().Servers
}

// addresses has the file's address win over the one in raft's log, so that an address may change.
type addresses struct{ cfg Config }

func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	m, ok := a.cfg.member(string(id))
	if !ok {
		return "", errors.New("not in Members")
	}
	return raft.ServerAddress(m.ClusterAddress), nil
}
