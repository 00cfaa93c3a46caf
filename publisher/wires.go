package publisher

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// wires are a destination's connections. The HTTP client goes on dialling after the request that
// asked for it has ended, so that without this list Close could not end everything.
type wires struct {
	open    func(ctx context.Context, network, addr string) (net.Conn, error)
	timeout time.Duration

	mu     sync.Mutex // guards all below
	closed bool
	conns  map[*wire]struct{}
	stop   map[*context.CancelFunc]struct{} // of dials under way
}

func newWires(open func(ctx context.Context, network, addr string) (net.Conn, error), timeout time.Duration) *wires {
	return &wires{open: open, timeout: timeout, conns: map[*wire]struct{}{}, stop: map[*context.CancelFunc]struct{}{}}
}

// dial is a DialContext with a deadline, until close.
func (s *wires) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errNoConnection)
	defer cancel()
	if !s.begin(&cancel) {
		return nil, net.ErrClosed
	}
	c, err := s.open(ctx, network, addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.stop, &cancel)
	if err != nil {
		if errors.Is(context.Cause(ctx), errNoConnection) {
			return nil, errNoConnection
		}
		return nil, err
	}
	if s.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	w := &wire{Conn: c, list: s}
	s.conns[w] = struct{}{}
	return w, nil
}

func (s *wires) begin(cancel *context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.stop[cancel] = struct{}{}
	return true
}

// close closes every connection and ends every dial; later ones fail.
func (s *wires) close() {
	s.mu.Lock()
	s.closed = true
	var conns []*wire
	for w := range s.conns {
		conns = append(conns, w)
	}
	for cancel := range s.stop {
		(*cancel)()
	}
	s.mu.Unlock()
	for _, w := range conns {
		_ = w.Close() // nobody to tell
	}
}

type wire struct {
	net.Conn
	list *wires
}

func (w *wire) Close() error {
	w.list.mu.Lock()
	delete(w.list.conns, w)
	w.list.mu.Unlock()
	return w.Conn.Close()
}
