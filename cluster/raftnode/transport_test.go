package raftnode

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// A member whose log does not go on from any snapshot it is sent was sent the same one without a pause, for as long as none reached
// beyond that log.
func TestSnapshotThatDidNotHelpIsRenewedAndNotSentAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := make(chan net.Conn)
		callee := pipes{in: calls, closed: make(chan struct{})}
		member := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: callee, MaxPool: 1, Timeout: time.Second})
		accepts := false
		go func() {
			for {
				select {
				case rpc := <-member.Consumer():
					switch rpc.Command.(type) {
					case *raft.InstallSnapshotRequest:
						_, err := io.Copy(io.Discard, rpc.Reader)
						rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, err)
					case *raft.AppendEntriesRequest:
						rpc.Respond(&raft.AppendEntriesResponse{Success: accepts, NoRetryBackoff: true}, nil)
					}
				case <-callee.closed:
					return
				}
			}
		}()
		defer member.Close() //nolint:errcheck // it has none
		renewed := 0
		leader := &transport{
			NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: pipes{out: calls, closed: make(chan struct{})}, MaxPool: 1, Timeout: time.Second}),
			await:            func(raft.ServerID, <-chan struct{}) {}, doubt: func(raft.ServerID) {}, sending: func() {}, acked: func(raft.ServerID, time.Time) {},
			renew: func() { renewed++ },
			done:  make(chan struct{}),
		}
		defer leader.Close() //nolint:errcheck // as above
		restore := func(id raft.ServerID) time.Duration {
			start := time.Now()
			var resp raft.InstallSnapshotResponse
			if err := leader.InstallSnapshot(id, "m", &raft.InstallSnapshotRequest{Size: 1}, &resp, strings.NewReader("x")); err != nil || !resp.Success {
				t.Fatalf("send a snapshot: %v, %+v", err, resp)
			}
			return time.Since(start)
		}
		entries := func() {
			var resp raft.AppendEntriesResponse
			if err := leader.AppendEntries("m", "m", &raft.AppendEntriesRequest{PrevLogEntry: 1}, &resp); err != nil || resp.Success != accepts {
				t.Fatalf("send entries: %v, %+v", err, resp)
			}
		}
		for i, c := range []struct {
			accepts bool
			pause   time.Duration
			renewed int
		}{{false, 0, 0}, {false, againSnapshot, 1}, {true, againSnapshot, 2}, {false, 0, 2}, {false, againSnapshot, 3}} {
			if got := restore("m"); got != c.pause || renewed != c.renewed {
				t.Errorf("snapshot %d: after %v and %d new ones, want %v and %d", i, got, renewed, c.pause, c.renewed)
			}
			accepts = c.accepts
			entries()
		}
		if got := restore("other"); got != 0 {
			t.Errorf("another member waited %v", got)
		}
	})
}

// pipes is a raft.StreamLayer over net.Pipe.
type pipes struct {
	in, out chan net.Conn
	closed  chan struct{}
}

func (l pipes) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	here, there := net.Pipe()
	l.out <- there
	return here, nil
}

func (l pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipes) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l pipes) Addr() net.Addr { return &net.UnixAddr{Name: "m"} }
