package raftnode

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// errReluctant must not read "unexpected command", which raft takes for a vote.
var errReluctant = errors.New("this node would rather not lead")

// transport is raft's own with three changes.
//
// A reluctant node asks nobody for a vote. It still may in the end: a voter that never led would
// block the cluster if it alone held the newest committed entry.
//
// Entries for a member that is away wait until it is back, in place of failing: raft backs off up
// to ten seconds, which would add to how long a restarted member stays behind. Heartbeats do not wait.
//
// A snapshot that did not help is not sent again at once, and a newer one is taken meanwhile. raft keeps what a member's log holds beyond
// a snapshot that it is sent. Where all of that is another history's, and the entry before it is in a snapshot only, the member finds
// nothing to go on from, and raft sends the same snapshot again, without a pause, until one reaches beyond that log.
type transport struct {
	*raft.NetworkTransport
	reluctant func() bool
	// await returns once the member may be sent entries, or this transport ends; doubt is told of
	// a failure.
	await func(id raft.ServerID, done <-chan struct{})
	doubt func(id raft.ServerID)
	// sending is called before each request to append, heartbeats too.
	sending func()
	// acked is told of each answer, heartbeats too, and when what it answers was sent: the other node counts from no earlier.
	acked func(id raft.ServerID, sent time.Time)
	done  chan struct{}
	// renew has a new snapshot taken; it does not wait for it.
	renew func()
	// named: another node was told to stand for election at once.
	named atomic.Bool
	// asked, if not nil, sees each request before raft does.
	asked func(raft.RPC)
	once  sync.Once
	rpcs  chan raft.RPC

	mu       sync.Mutex             // guards restored
	restored map[raft.ServerID]bool // members that were sent a snapshot, and have taken no entries since
}

// Consumer is where raft takes requests from; it asks once.
func (t *transport) Consumer() <-chan raft.RPC {
	if t.asked == nil {
		return t.NetworkTransport.Consumer()
	}
	t.once.Do(func() {
		t.rpcs = make(chan raft.RPC)
		go t.pump()
	})
	return t.rpcs
}

// pump ends with the transport.
func (t *transport) pump() {
	for {
		select {
		case rpc := <-t.NetworkTransport.Consumer():
			t.asked(rpc)
			select {
			case t.rpcs <- rpc:
			case <-t.done:
				rpc.Respond(nil, raft.ErrTransportShutdown)
				return
			}
		case <-t.done:
			return
		}
	}
}

func (t *transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if t.reluctant() {
		return errReluctant
	}
	return t.NetworkTransport.RequestVote(id, target, args, resp)
}

func (t *transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if t.reluctant() {
		return errReluctant
	}
	return t.NetworkTransport.RequestPreVote(id, target, args, resp)
}

func (t *transport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	t.named.Store(true)
	return t.NetworkTransport.TimeoutNow(id, target, args, resp)
}

func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	heartbeat := args.PrevLogEntry == 0 && args.PrevLogTerm == 0 && len(args.Entries) == 0 && args.LeaderCommitIndex == 0
	if !heartbeat {
		t.await(id, t.done)
	}
	t.sending()
	sent := time.Now()
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	switch {
	case err == nil:
		t.acked(id, sent)
		if !heartbeat && resp.Success {
			t.note(id, false)
		}
	case !heartbeat:
		t.doubt(id)
	}
	return err
}

// againSnapshot is the pause before a member is sent a snapshot again that has taken no entries after the last one.
const againSnapshot = 500 * time.Millisecond

func (t *transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if t.note(id, true) {
		t.renew()
		timer := time.NewTimer(againSnapshot)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-t.done:
			return raft.ErrTransportShutdown
		}
	}
	return t.NetworkTransport.InstallSnapshot(id, target, args, resp, data)
}

// note records whether the member was sent a snapshot last, and reports what was so before.
func (t *transport) note(id raft.ServerID, restored bool) (before bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before = t.restored[id]
	if t.restored == nil {
		t.restored = map[raft.ServerID]bool{}
	}
	t.restored[id] = restored
	return before
}
