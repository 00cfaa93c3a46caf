package raftnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
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
	drainTime       = 50 * time.Millisecond
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
	needed    atomic.Int64  // unix nanoseconds when somebody with an older log last stood for election; of a witness
	stopping  atomic.Bool   // it was told to end; perhaps it has not, and was left behind
	partial   atomic.Bool   // the folder holds only a beginning of the log: see arrive.go
}

func (n *Node) newInstance() *instance {
	i := &instance{started: time.Now(), notify: make(chan bool, 8), watched: make(chan struct{}), done: make(chan struct{})}
	i.stream = newStream(n.cfg.ClusterAddress, func(ctx context.Context, address string) (net.Conn, error) { return n.dialRaft(ctx, i, address) })
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
		sending: func() { n.lookAtClocks() },
		acked: func(id raft.ServerID, sent time.Time) {
			if p := n.peers[string(id)]; p != nil {
				p.ack(sent)
			}
		},
		renew: func() {
			go i.raft.Snapshot() // its future is nobody's; that there is nothing new is no fault
		},
		done: make(chan struct{}),
	}
	if n.cfg.Role == cluster.Witness {
		i.transport.asked = func(rpc raft.RPC) {
			if n.inst.Load() == i { // raft has started
				i.lookAtVote(rpc)
			}
		}
	}
	i.transport.TimeoutScale = snapshotScale
	return i
}

// lookAtVote has a witness stand for election soon when somebody does whose log is older than its own: nobody else may be able to
// win, and it can bring the other one up to date.
func (i *instance) lookAtVote(rpc raft.RPC) {
	var term, index uint64
	switch r := rpc.Command.(type) {
	case *raft.RequestPreVoteRequest:
		term, index = r.LastLogTerm, r.LastLogIndex
	case *raft.RequestVoteRequest:
		term, index = r.LastLogTerm, r.LastLogIndex
	default:
		return
	}
	own, err := strconv.ParseUint(i.raft.Stats()["last_log_term"], 10, 64)
	if err == nil && (term < own || term == own && index < i.raft.LastIndex()) {
		i.needed.Store(time.Now().UnixNano())
	}
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
	if i.partial.Load() {
		c.HeartbeatTimeout, c.ElectionTimeout = never, never
	}
	c.NotifyCh = i.notify
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLog(n.log.Named("raft"))
	return c
}

// startRaft starts raft on the store. Where raft panics on what it finds, that is an error here.
func (n *Node) startRaft() error {
	i := n.newInstance()
	i.partial.Store(n.ident().Arrival > 0)
	n.store.running.Store(true) // for good: a goroutine of raft's may outlive its instance, in a write that hangs
	err := guarded(func() error {
		r, err := raft.NewRaft(n.raftConfig(i), n.fsm, n.store, n.store, n.snaps, i.transport)
		i.raft = r
		return err
	})
	if errors.Is(err, errGivenUp) && n.store.fault() != nil {
		err = n.store.fault()
	}
	if err == nil && n.failedNow() != nil {
		err = n.failedNow()
	}
	if err != nil {
		close(i.transport.done)
		i.transport.Close() //nolint:errcheck // it was not used
		if i.raft != nil {
			i.raft.Shutdown() // its goroutines end by themselves
		}
		return fmt.Errorf("start from the data folder: %w", err)
	}
	go n.led.watch(i)
	n.inst.Store(i)
	n.electAlone(i)
	return nil
}

// electAlone has a sole voter stand for election at once: there is nobody else whom it could hear from first.
func (n *Node) electAlone(i *instance) {
	if !n.soleVoter() || i.partial.Load() {
		return
	}
	id, address := raft.ServerID(n.cfg.NodeID), raft.ServerAddress(n.cfg.ClusterAddress)
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: i.transport.EncodePeer(id, address)}
	if err := i.transport.NetworkTransport.TimeoutNow(id, address, &raft.TimeoutNowRequest{RPCHeader: header}, &raft.TimeoutNowResponse{}); err != nil {
		n.log.Debug("the only voter waits for its election", "error", err)
	}
}

// errGivenUp: the store has ended the goroutine, and has said why.
var errGivenUp = errors.New("it was given up")

// guarded runs f in a goroutine of its own, which f may end, and turns its panic into an error.
func guarded(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errGivenUp
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
	if i == nil || !i.stopping.CompareAndSwap(false, true) {
		return nil
	}
	close(i.transport.done)
	i.transport.CloseStreams()
	i.transport.Close() //nolint:errcheck // never fails
	n.drain()
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

// drain gives raft a moment to answer what it was asked. What is on its way between raft's own goroutines when it is shut down is
// never answered, and has no deadline: whoever asked would wait for ever.
func (n *Node) drain() {
	for end := time.Now().Add(drainTime); n.asked.Load() > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
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
	if time.Since(time.Unix(0, i.needed.Load())) < 6*n.timing.election {
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

// dialRaft connects to whoever the address belongs to, this node itself included.
func (n *Node) dialRaft(ctx context.Context, i *instance, address string) (net.Conn, error) {
	if address == n.cfg.ClusterAddress {
		near, far := net.Pipe()
		go i.stream.deliver(far) // ends with the stream
		return near, nil
	}
	for _, m := range n.known() {
		if m.ClusterAddress != address {
			continue
		}
		conn, theirs, err := n.port.Call(ctx, port.KindRaft, m)
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
