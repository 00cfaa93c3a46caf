package raftnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"scomconnector/cluster"
)

// maxCallers bounds the connections that others may hold open to this node: two members need a dozen.
const maxCallers = 256

// port is the one port of a node: it takes connections, has them greeted, and hands them on.
type port struct {
	ln   net.Listener
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	tls  TLS
	// greet is this node's greeting now; judge says why a caller goes no further, or nothing.
	greet func() greeting
	judge func(kind byte, theirs greeting) string
	// take gets each inbound connection that was greeted, and owns it from then on.
	take func(kind byte, theirs greeting, conn net.Conn)

	mu     sync.Mutex // guards conns and closed
	conns  map[*trackedConn]struct{}
	closed bool
	wg     sync.WaitGroup // accept, and one for each inbound connection until it is handed on
}

func (p *port) serve(ctx context.Context) {
	p.wg.Go(func() {
		for {
			conn, err := p.ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // too many open files: wait for some to close
				select {
				case <-time.After(100 * time.Millisecond):
					continue
				case <-ctx.Done():
					return
				}
			}
			tracked := p.track(conn)
			if tracked == nil {
				conn.Close()
				continue
			}
			p.wg.Go(func() { p.inbound(ctx, tracked) })
		}
	})
}

// inbound is the answering half of the handshake.
func (p *port) inbound(ctx context.Context, raw net.Conn) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	raw.SetDeadline(time.Now().Add(handshakeTimeout)) //nolint:errcheck // a connection that is gone fails at the next read
	kind, theirs, conn, err := p.answer(ctx, raw)
	if err != nil {
		raw.Close()
		return
	}
	raw.SetDeadline(time.Time{}) //nolint:errcheck // as above
	p.take(kind, theirs, conn)
}

func (p *port) answer(ctx context.Context, raw net.Conn) (kind byte, theirs greeting, conn net.Conn, err error) {
	conn, err = p.tls.secureIn(ctx, raw)
	if err != nil {
		return 0, theirs, nil, err
	}
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return 0, theirs, nil, err
	}
	kind = first[0]
	if kind == kindRaft {
		p.markRaft(raw)
	}
	if err := readFrame(conn, &theirs); err != nil {
		return 0, theirs, nil, err
	}
	if err := p.tls.checkName(conn, theirs.NodeID); err != nil {
		return 0, theirs, nil, err
	}
	refusal := p.judge(kind, theirs)
	if err := writeFrame(conn, nil, reply{p.greet(), refusal}); err != nil {
		return 0, theirs, nil, err
	}
	if refusal != "" {
		return 0, theirs, nil, errors.New(refusal)
	}
	return kind, theirs, conn, nil
}

// refusedError is the other side's refusal of a connection; its greeting was read all the same.
type refusedError struct {
	by     string
	reason string
}

func (e *refusedError) Error() string { return e.by + " refuses: " + e.reason }

// call connects to a member and does the asking half of the handshake.
func (p *port) call(ctx context.Context, kind byte, to cluster.Member) (net.Conn, greeting, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := p.dial(ctx, "tcp", to.ClusterAddress)
	if err != nil {
		return nil, greeting{}, err
	}
	raw := p.track(conn)
	if raw == nil {
		conn.Close()
		return nil, greeting{}, net.ErrClosed
	}
	if kind == kindRaft {
		p.markRaft(raw)
	}
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // as below
	defer stop()
	sec, theirs, err := p.ask(ctx, kind, to.NodeID, raw)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, theirs, fmt.Errorf("greet %s: %w", to.NodeID, err)
	}
	raw.SetDeadline(time.Time{}) //nolint:errcheck // a connection that is gone fails at the next read
	return sec, theirs, nil
}

func (p *port) ask(ctx context.Context, kind byte, nodeID string, raw net.Conn) (net.Conn, greeting, error) {
	conn, err := p.tls.secureOut(ctx, raw, nodeID)
	if err != nil {
		return nil, greeting{}, err
	}
	if err := writeFrame(conn, []byte{kind}, p.greet()); err != nil {
		return nil, greeting{}, err
	}
	var r reply
	if err := readFrame(conn, &r); err != nil {
		return nil, greeting{}, err
	}
	if r.Greeting.NodeID != nodeID {
		return nil, greeting{}, fmt.Errorf("%q answers at its address", r.Greeting.NodeID)
	}
	if r.Refusal != "" {
		return nil, r.Greeting, &refusedError{nodeID, r.Refusal}
	}
	// The answerer may be what this side would refuse, and not know it.
	if refusal := p.judge(kind, r.Greeting); refusal != "" {
		return nil, r.Greeting, errors.New(refusal)
	}
	return conn, r.Greeting, nil
}

// track has close end the connection; nil once closed or when there are too many.
func (p *port) track(conn net.Conn) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.conns) >= maxCallers {
		return nil
	}
	t := &trackedConn{Conn: conn, port: p}
	p.conns[t] = struct{}{}
	return t
}

type trackedConn struct {
	net.Conn
	port *port
	raft bool // carries raft's own stream; guarded by port.mu
}

// markRaft has closeRaft end the connection.
func (p *port) markRaft(t net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := t.(*trackedConn); ok {
		t.raft = true
	}
}

// closeRaft ends all connections of raft's, both ways: what they were greeted for is not so any more.
func (p *port) closeRaft() {
	p.mu.Lock()
	var conns []*trackedConn
	for c := range p.conns {
		if c.raft {
			conns = append(conns, c)
		}
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.Close() //nolint:errcheck // it is gone either way
	}
}

func (t *trackedConn) Close() error {
	t.port.mu.Lock()
	delete(t.port.conns, t)
	t.port.mu.Unlock()
	return t.Conn.Close()
}

// close ends all connections: raft's own shutdown waits for reads that have no deadline.
func (p *port) close() {
	p.mu.Lock()
	p.closed = true
	conns := p.conns
	p.conns = map[*trackedConn]struct{}{}
	p.mu.Unlock()
	if p.ln != nil {
		p.ln.Close()
	}
	for c := range conns {
		c.Conn.Close()
	}
	p.wg.Wait()
}

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
