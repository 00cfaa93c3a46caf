package raftnode

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// errReluctant must not read "unexpected command", which raft takes for a vote.
var errReluctant = errors.New("this node would rather not lead")

// transport is raft's own with two changes.
//
// A reluctant node asks nobody for a vote. It still may in the end: a voter that never led would
// block the cluster if it alone held the newest committed entry.
//
// Entries for a member that is away wait until it is back, in place of failing: raft backs off up
// to ten seconds, which would add to how long a restarted member stays behind. Heartbeats do not wait.
type transport struct {
	*raft.NetworkTransport
	reluctant func() bool
	// await returns once the member may be sent entries, or this transport ends; doubt is told of
	// a failure.
	await func(id raft.ServerID, done <-chan struct{})
	doubt func(id raft.ServerID)
	// acked is told of each answer, heartbeats too, and when what it answers was sent: the other node counts from no earlier.
	acked func(id raft.ServerID, sent time.Time)
	done  chan struct{}
	// named: another node was told to stand for election at once.
	named atomic.Bool
	// asked, if not nil, sees each request before raft does.
	asked func(raft.RPC)
	once  sync.Once
	rpcs  chan raft.RPC
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
	sent := time.Now()
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	switch {
	case err == nil:
		t.acked(id, sent)
	case !heartbeat:
		t.doubt(id)
	}
	return err
}
