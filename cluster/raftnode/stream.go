package raftnode

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stream is what raft's transport sees of the port.
type stream struct {
	address string
	dial    func(ctx context.Context, address string) (net.Conn, error)
	queue   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func newStream(address string, dial func(context.Context, string) (net.Conn, error)) *stream {
	return &stream{address: address, dial: dial, queue: make(chan net.Conn), done: make(chan struct{})}
}

func (s *stream) deliver(conn net.Conn) {
	select {
	case s.queue <- conn:
	case <-s.done:
		conn.Close()
	}
}

func (s *stream) Accept() (net.Conn, error) {
	select {
	case c := <-s.queue:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *stream) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.dial(ctx, string(address))
}

func (s *stream) Addr() net.Addr { return streamAddr(s.address) }

// streamAddr is the address others know this node by, which is not always what it listens on.
type streamAddr string

func (a streamAddr) Network() string { return "tcp" }
func (a streamAddr) String() string  { return string(a) }
